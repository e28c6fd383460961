"""keeper_hostile: what nobody should send to a keeper, 15,000 sessions, readers that do not read. It must go on serving, and its resident
memory must be back within 16 MiB when they are gone.

    BINARY=build/odradek WORK=$(mktemp -d) keeper_hostile.py [--sessions 15000]
"""
import argparse
import os
import pathlib
import random
import re
import resource
import socket
import struct
import subprocess
import time

from keeper_diff import OPS, WORLD, Connection, acl, ustring, vector
from run import free_port

WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]
HOST, LIMIT_MIB = "127.0.0.1", 16
TESTS = []


def test(f):
    TESTS.append(f)
    return f


class Keeper:
    def __init__(self):
        self.port, directory = free_port(), WORK / "keeper"
        directory.mkdir()
        self.address = f"{HOST}:{self.port}"
        config = directory / "zoo.cfg"
        config.write_text(f"tickTime=1000\ndataDir={directory}/data\nclientPort={self.port}\nclientPortAddress={HOST}\nmaxClientCnxns=0\n"
                          "admin.enableServer=false\nsnapCount=1000000\n")
        self.process = subprocess.Popen([BINARY, "keeper", str(config)], stderr=open(directory / "log", "wb"))
        end = time.monotonic() + 20
        while True:
            try:
                self.connect().socket.close()
                return
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, "no keeper"
                time.sleep(0.02)

    def connect(self, **more):
        return Connection(self.address, **more)

    def resident_mib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    def connection_count(self):
        with socket.create_connection((HOST, self.port), 5) as s:
            s.sendall(b"srvr")
            answer = b"".join(iter(lambda: s.recv(4096), b""))
        return int(re.search(rb"Connections: (\d+)", answer).group(1))

    def serves(self):
        """A fresh client writes and reads, within a second."""
        begun = time.monotonic()
        client = self.connect()
        _, made = client.ask(1, OPS["create"], ustring("/probe") + ustring(b"x") + acl(WORLD) + struct.pack(">i", 1))
        assert made and struct.unpack(">i", made[12:16])[0] == 0, made
        _, got = client.ask(2, OPS["get"], ustring("/probe") + b"\0")
        assert got[16:21] == b"\0\0\0\1x", got
        client.ask(3, OPS["close"], b"")
        client.socket.close()
        assert time.monotonic() - begun < 5, "it serves slowly"


def opened(keeper, count):
    """That many sessions, many connections at a time."""
    request = struct.pack(">i", 44) + struct.pack(">iqiq", 0, 0, 4000, 0) + ustring(b"\0" * 16)
    found = []
    for begin in range(0, count, 200):
        batch = [socket.create_connection((HOST, keeper.port), 20) for _ in range(min(200, count - begin))]
        for each in batch:
            each.sendall(request)
        for each in batch:
            answer = b""
            while len(answer) < 40:
                part = each.recv(40 - len(answer))
                assert part, "no session"
                answer += part
        found += batch
    return found


@test
def lengths_and_operations(keeper, args):
    """Frames and counts that lie, operations that nobody knows, bodies that are cut or made up."""
    r = random.Random(7)
    lengths = [-1, -2, 0, 1, 4, 7, 0x7fffffff, -0x80000000, 0x100000, 0xfffff, 1 << 24]
    for length in lengths:  # before a session
        with socket.create_connection((HOST, keeper.port), 5) as s:
            s.sendall(struct.pack(">i", length) + b"\0" * 20)
    for _ in range(1500):
        client = keeper.connect()
        kind = r.random()
        op = r.choice([*OPS.values(), 0, 10, 23, 99, 102, 108, 500, 999, -1, -10, 1 << 30, -0x80000000])
        if kind < 0.3:
            body = bytes(r.randrange(256) for _ in range(r.randrange(60)))
        elif kind < 0.6:
            body = ustring("/a") + struct.pack(">i", r.choice(lengths)) + acl(WORLD) + struct.pack(">i", r.choice(lengths))
        elif kind < 0.8:
            body = struct.pack(">q", 0) + struct.pack(">i", r.choice(lengths)) + vector(["/a", "/b"])
        else:
            body = b"".join(struct.pack(">ibi", r.choice(lengths), r.choice([0, 1]), -1) for _ in range(r.randrange(6)))
        frame = struct.pack(">ii", r.choice([1, -8, -4, -2, -1, 0]), op) + body
        client.socket.sendall(struct.pack(">i", r.choice([len(frame), len(frame), len(frame), len(frame) - 1, r.choice(lengths)])) + frame)
        if r.random() < 0.5:
            client.socket.settimeout(0.002)
            try:
                client.socket.recv(1000)
            except OSError:
                pass
        client.socket.close()


@test
def long_lists(keeper, args):
    """Multis of a hundred thousand parts, ACLs and watches as long as a frame may be, 100,000 children asked for by many."""
    client = keeper.connect()
    multi = b"".join(struct.pack(">ibi", OPS["check"], 0, -1) + ustring("/") + struct.pack(">i", -1) for _ in range(50000))
    _, answer = client.ask(1, OPS["multi"], multi + struct.pack(">ibi", -1, 1, -1))
    assert struct.unpack(">i", answer[12:16])[0] == 0
    many = acl([(31, "digest", f"u{i}:x") for i in range(30000)])
    _, answer = client.ask(2, OPS["create"], ustring("/acl") + ustring(b"") + many + struct.pack(">i", 0))
    assert struct.unpack(">i", answer[12:16])[0] == 0
    _, answer = client.ask(3, OPS["getacl"], ustring("/acl"))
    assert len(answer) > 500000 or struct.unpack(">i", answer[12:16])[0] == -102
    watches = struct.pack(">q", 1 << 40) + vector([]) + vector([f"/none/{i}" for i in range(40000)]) + vector([])
    client.ask(-8, OPS["setwatches"], watches)
    client.ask(4, OPS["create"], ustring("/wide") + ustring(b"") + acl(WORLD) + struct.pack(">i", 0))
    for begin in range(0, 100000, 2000):
        parts = b"".join(struct.pack(">ibi", OPS["create"], 0, -1) + ustring(f"/wide/child-with-a-name-{i:06}") + ustring(b"") +
                         acl(WORLD) + struct.pack(">i", 0) for i in range(begin, begin + 2000))
        client.ask(5, OPS["multi"], parts + struct.pack(">ibi", -1, 1, -1))
    readers = [keeper.connect() for _ in range(20)]
    for reader in readers:  # who asks ten times and reads nothing
        ask = struct.pack(">ii", 1, OPS["children"]) + ustring("/wide") + b"\0"
        reader.socket.sendall((struct.pack(">i", len(ask)) + ask) * 10)
    keeper.serves()
    for reader in readers:
        reader.socket.close()
    for begin in range(0, 100000, 5000):
        parts = b"".join(struct.pack(">ibi", OPS["delete"], 0, -1) + ustring(f"/wide/child-with-a-name-{i:06}") + struct.pack(">i", -1)
                         for i in range(begin, begin + 5000))
        client.ask(6, OPS["multi"], parts + struct.pack(">ibi", -1, 1, -1))
    client.ask(7, OPS["delete"], ustring("/wide") + struct.pack(">i", -1))
    client.ask(8, OPS["delete"], ustring("/acl") + struct.pack(">i", -1))
    client.ask(9, OPS["close"], b"")
    client.socket.close()


@test
def a_session_with_more_ephemerals_than_fit_in_a_frame(keeper, args):
    """ZOOKEEPER-4306: closing it must work, though the list of them is longer than jute.maxbuffer."""
    client = keeper.connect()
    name = "n" * 200
    for begin in range(0, 12000, 1000):
        parts = b"".join(struct.pack(">ibi", OPS["create"], 0, -1) + ustring(f"/{name}{i}") + ustring(b"") + acl(WORLD) + struct.pack(">i", 1)
                         for i in range(begin, begin + 1000))
        _, answer = client.ask(1, OPS["multi"], parts + struct.pack(">ibi", -1, 1, -1))
        assert struct.unpack(">i", answer[12:16])[0] == 0
    _, answer = client.ask(2, OPS["close"], b"")
    assert struct.unpack(">i", answer[12:16])[0] == 0
    other = keeper.connect()
    _, answer = other.ask(1, OPS["allchildren"], ustring("/"))
    assert struct.unpack(">i", answer[16:20])[0] < 20, answer
    other.ask(2, OPS["close"], b"")
    other.socket.close()


@test
def slow_readers_of_watches(keeper, args):
    """Persistent watches on everything by clients that never read: they are cut, the others hear all."""
    slow = [keeper.connect() for _ in range(20)]
    for each in slow:
        each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.ask(1, OPS["addwatch"], ustring("/") + struct.pack(">i", 1))
    good = keeper.connect()
    good.ask(1, OPS["addwatch"], ustring("/") + struct.pack(">i", 1))
    writer = keeper.connect()
    name = "/" + "w" * 3000
    writer.ask(1, OPS["create"], ustring(name) + ustring(b"") + acl(WORLD) + struct.pack(">i", 0))
    sent, heard = 0, 0
    frame = struct.pack(">ii", 2, OPS["set"]) + ustring(name) + ustring(b"") + struct.pack(">i", -1)
    for _ in range(220):
        writer.socket.sendall((struct.pack(">i", len(frame)) + frame) * 50)
        sent += 50
        for _ in range(50):
            assert writer.receive() is not None
        while heard < sent + 1:
            assert good.receive() is not None
            heard += 1
    writer.ask(3, OPS["delete"], ustring(name) + struct.pack(">i", -1))
    end = time.monotonic() + 10  # not by reading: what the kernel holds for a window this small takes minutes
    while keeper.connection_count() > 3:
        assert time.monotonic() < end, f"{keeper.connection_count()} connections, though nobody reads"
        time.sleep(0.1)
    for each in slow:
        each.socket.close()
    for each in (writer, good):
        each.ask(4, OPS["close"], b"")
        each.socket.close()


@test
def many_sessions(keeper, args):
    """15,000 of them, each with an ephemeral and a watch; they are gone at once, and their sessions with their timeout."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(args.sessions, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets = opened(keeper, count)
    for i, each in enumerate(sockets):
        frames = [struct.pack(">ii", 1, OPS["create"]) + ustring(f"/e{i}") + ustring(b"x" * 50) + acl(WORLD) + struct.pack(">i", 1),
                  struct.pack(">ii", 2, OPS["exists"]) + ustring(f"/none{i}") + b"\1"]
        each.sendall(b"".join(struct.pack(">i", len(f)) + f for f in frames))
    print(f"  {count} sessions, {keeper.resident_mib():.1f} MiB", flush=True)
    keeper.serves()
    for each in sockets:
        each.close()
    end = time.monotonic() + 60
    while True:
        other = keeper.connect()
        _, answer = other.ask(1, OPS["allchildren"], ustring("/"))
        other.ask(2, OPS["close"], b"")
        other.socket.close()
        if struct.unpack(">i", answer[16:20])[0] < 20:
            return
        assert time.monotonic() < end, "ephemerals are left"
        time.sleep(0.5)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=int, default=15000)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    keeper = Keeper()
    try:
        for _ in range(50):
            keeper.serves()
        before = keeper.resident_mib()
        for each in TESTS:
            if args.names and each.__name__ not in args.names:
                continue
            begun = time.monotonic()
            each(keeper, args)
            keeper.serves()
            end = time.monotonic() + 15
            while keeper.resident_mib() > before + LIMIT_MIB and time.monotonic() < end:
                time.sleep(0.2)
            after = keeper.resident_mib()
            print(f"{each.__name__}: {time.monotonic() - begun:.1f} s, {before:.1f} MiB before, {after:.1f} after", flush=True)
            assert after <= before + LIMIT_MIB, f"{each.__name__} leaves {after - before:.1f} MiB behind"
    finally:
        keeper.process.kill()
        keeper.process.wait()


main()
