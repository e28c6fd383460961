"""keeper_failover: how long an ensemble of three keepers takes no write when its leader is killed with kill -9; ours beside Apache ZooKeeper.

    WORK=$(mktemp -d) BINARY=build/odradek test/bench/keeper_failover.py [--reps 5] [KIND...]       KINDs: ours, apache

Both read the same zoo.cfg (tickTime 2000, initLimit 10, syncLimit 5, every write synced) and take turns in one run. Three clients write
all the while, one request at a time, each to whichever member takes it; they go to another member as soon as their connection ends, or
when it has said nothing for 300 ms. Printed is the longest time without an acknowledged write by anybody around the death of
the leader, and the same for those writers alone that were not connected to it.
"""
import argparse
import os
import pathlib
import random
import socket
import statistics
import struct
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))
os.environ.setdefault("WORK", tempfile.mkdtemp(prefix="odradek-keeper-failover-"))

from wire_keeper import Ensemble  # noqa: E402

SILENCE = 0.3


class Writer(threading.Thread):
    """ZooKeeper's wire by hand: one setData after the other, with one session as long as it lives."""

    def __init__(self, ensemble, number):
        super().__init__(daemon=True)
        self.members, self.at = ensemble.members, number
        self.path = b"/failover-%d" % number
        self.session, self.password, self.zxid, self.xid = 0, bytes(16), 0, 0
        self.acks, self.ending = [], threading.Event()
        self.socket = None

    def frame(self, body):
        self.socket.sendall(struct.pack(">i", len(body)) + body)

    def take(self):
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack(">i", data[:4])[0]:
            more = self.socket.recv(4096)
            if not more:
                raise OSError("closed")
            data += more
        return data[4:]

    def connect(self):
        member = self.members[self.at % len(self.members)]
        self.socket = socket.create_connection((member.host, member.port), SILENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(SILENCE)
        self.frame(struct.pack(">iqiqi16s?", 0, self.zxid, 10000, self.session, 16, self.password, False))
        answer = self.take()
        timeout, self.session = struct.unpack(">iq", answer[4:16])
        self.password = answer[20:36] if timeout else bytes(16)
        if not timeout:
            raise OSError("the session is over")
        if not self.acks:
            acl = struct.pack(">ii", 1, 31) + struct.pack(">i", 5) + b"world" + struct.pack(">i", 6) + b"anyone"
            self.call(1, struct.pack(">i", len(self.path)) + self.path + struct.pack(">i", 0) + acl + struct.pack(">i", 0))

    def call(self, op, body):
        self.xid += 1
        self.frame(struct.pack(">ii", self.xid, op) + body)
        xid, zxid, err = struct.unpack(">iqi", self.take()[:16])
        assert xid == self.xid and err in (0, -110), (xid, self.xid, err)
        self.zxid = zxid

    def run(self):
        body = struct.pack(">i", len(self.path)) + self.path + struct.pack(">i", 64) + bytes(64) + struct.pack(">i", -1)
        while not self.ending.is_set():
            try:
                if not self.socket:
                    self.connect()
                self.call(5, body)
                self.acks.append((time.monotonic(), self.at % len(self.members)))
            except OSError:
                if self.socket:
                    self.socket.close()
                self.socket = None
                self.at += 1
                time.sleep(0.005)
            time.sleep(0.001)


def longest_gap(times, begin, end):
    """The longest time without one of these between begin and end, counted from the last before."""
    times = sorted(t for t in times if begin <= t <= end)
    return max((after - before for before, after in zip(times, times[1:])), default=end - begin)


def wait(what, check, seconds=60):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"no {what} within {seconds} s"
        time.sleep(0.02)


def one(ensemble):
    writers = [Writer(ensemble, number) for number in range(3)]
    for writer in writers:
        writer.start()
    wait("writes", lambda: all(len(w.acks) > 20 for w in writers))
    time.sleep(0.5 + random.random() * 0.5)
    leader = ensemble.leader()
    far = [w for w in writers if w.members[w.at % 3] is not leader]
    killed = time.monotonic()
    leader.kill()
    wait("writes after it", lambda: all(w.acks[-1][0] > killed + 0.05 for w in writers))
    begin, end = killed - 0.2, time.monotonic()
    time.sleep(0.3)
    gaps = longest_gap([t for w in writers for t, _ in w.acks], begin, end + 0.3), \
        longest_gap([t for w in far for t, _ in w.acks], begin, end + 0.3)
    for writer in writers:
        writer.ending.set()
        writer.join(5)
    leader.begin()
    ensemble.wait_whole()
    return gaps


parser = argparse.ArgumentParser()
parser.add_argument("kinds", nargs="*", default=["ours", "apache"])
parser.add_argument("--reps", type=int, default=5)
options = parser.parse_args()
kinds = options.kinds or ["ours", "apache"]
ensembles = {kind: Ensemble(kind, tickTime=2000, initLimit=10, syncLimit=5) for kind in kinds}
found = {kind: [] for kind in kinds}
try:
    for ensemble in ensembles.values():
        ensemble.start()
    for _ in range(options.reps):
        for kind, ensemble in ensembles.items():
            found[kind].append(one(ensemble))
            print(f"{kind}: {found[kind][-1][0] * 1000:.0f} ms without a write (writers at other members: {found[kind][-1][1] * 1000:.0f} ms)", flush=True)
    medians = {kind: statistics.median(gap for gap, _ in gaps) for kind, gaps in found.items()}
    print(", ".join(f"{kind} {median * 1000:.0f} ms" for kind, median in medians.items()), end="")
    print(f": {medians['ours'] / medians['apache']:.2f} of Apache's" if len(medians) == 2 else "", flush=True)
finally:
    for ensemble in ensembles.values():
        ensemble.kill()
