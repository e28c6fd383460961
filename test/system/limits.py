#!/usr/bin/env python3
"""limits.py BINARY [NAME...]: a broker at its limits: descriptors, connections, memory, time to start, disk. Figures are printed."""
import contextlib
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import threading
import time

from node import BINARY, LIMITS, answers, broker, cli, connect, consume, kcat, produce, resident_kib, run, scratch, wait_for

MIB = 1024 * 1024


class Neighbour:
    """A client that goes on beside what a test does: one record after the other by kcat, each with a connection of its own."""

    def __init__(self, port):
        self.port, self.rounds, self.slowest, self.errors = port, 0, 0.0, []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.go)

    def go(self):
        while not self.stop.is_set():
            began = time.monotonic()
            done = produce(self.port, "neighbour", [b"hello"], "-X", "message.timeout.ms=20000", check=False)
            if done.returncode:
                self.errors.append(done.stderr.decode(errors="replace"))
            self.rounds += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        assert not self.errors, f"the neighbour saw {len(self.errors)} errors, first {self.errors[0]}"


def more_files():
    """Takes all descriptors that this process may have; the broker inherits that."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def few_files():
    """With `ulimit -n 512`, 2,000 partitions take and give records beside 200 connections; also after kill -9."""
    with scratch() as work:
        wrapper = work / "limited"
        wrapper.write_text(f"#!/bin/sh\nulimit -n 512\nexec {BINARY} \"$@\"\n")
        wrapper.chmod(0o755)
        said, expected = [], {}

        def beside_connections(node, label):
            many = [connect(node.port) for _ in range(200)]
            assert all(answers(s) for s in many), "a connection is not served"
            began = time.monotonic()
            for number in range(2000):
                expected.setdefault(number, []).append(f"{label} {number}".encode())
            scatter(node.port, [(number, f"{label} {number}".encode()) for number in range(2000)])
            wrote = time.monotonic()
            lines = kcat(node.port, "-C", "-t", "many", "-e", "-q", "-f", "%p|%s\n", seconds=100).stdout.splitlines()
            found = {}
            for line in lines:
                partition, value = line.split(b"|", 1)
                found.setdefault(int(partition), []).append(value)
            assert found == expected, f"{label}: {len(lines)} records in {len(found)} partitions"
            files = len(os.listdir(f"/proc/{node.process.pid}/fd"))
            assert files <= 512
            assert all(answers(s) for s in many), "a connection was lost"
            for s in many:
                s.close()
            said.append(f"{label}: wrote in {wrote - began:.1f} s, read in {time.monotonic() - wrote:.1f} s, {files} descriptors")

        with broker(work, binary=wrapper) as node:
            began = time.monotonic()
            cli(node.port, "topic", "create", "many", "-p", "2000")
            said.append(f"created in {time.monotonic() - began:.1f} s")
            beside_connections(node, "first")
            node.kill()
            began = time.monotonic()
            node.start()
            said.append(f"ready {time.monotonic() - began:.2f} s after kill -9")
            beside_connections(node, "second")
        return "ok; " + "; ".join(said)


# --- records to chosen partitions, faster than a process for each ---------------------------------------------------

CRC32C = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
    CRC32C.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def varint(n):
    n, out = n << 1, b""
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def record_batch(value):
    """One record without key or headers (magic 2)."""
    body = b"\0" + varint(0) + varint(0) + b"\x01" + varint(len(value)) + value + varint(0)
    now = int(time.time() * 1000)
    rest = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + varint(len(body)) + body
    return struct.pack(">qiibI", 0, 9 + len(rest), -1, 2, crc32c(rest)) + rest


def produce_errors(port, topic, records, acks=1):
    """Sends (partition, value) pairs in one Produce of version 7; gives back the error of each partition."""
    name = topic.encode()
    body = struct.pack(">hhii", -1, acks, 20000, 1) + struct.pack(">h", len(name)) + name + struct.pack(">i", len(records))
    for partition, value in records:
        batch = record_batch(value)
        body += struct.pack(">ii", partition, len(batch)) + batch
    request = struct.pack(">hhih", 0, 7, 1, -1) + body
    with connect(port) as s:
        s.settimeout(40)
        s.sendall(struct.pack(">i", len(request)) + request)
        size = struct.unpack(">i", s.recv(4, socket.MSG_WAITALL))[0]
        answer = s.recv(size, socket.MSG_WAITALL)
    at, errors = 4 + 4 + 2 + len(name), []
    count, at = struct.unpack_from(">i", answer, at)[0], at + 4
    for _ in range(count):
        errors.append(struct.unpack_from(">h", answer, at + 4)[0])
        at += 4 + 2 + 8 + 8 + 8
    return errors


def scatter(port, records):
    for start in range(0, len(records), 100):
        errors = produce_errors(port, "many", records[start:start + 100])
        assert not any(errors), f"errors {sorted(set(errors))} at partitions from {start}"


# --- connections --------------------------------------------------------------------------------------------------------


def idle_crowd():
    """10,000 connections that say something once and then nothing."""
    count = min(10_000, more_files() - 1000)
    if count < 2000:
        return "skip"
    with scratch() as work, broker(work) as node:
        produce(node.port, "neighbour", [b"first"])
        before = resident_kib(node.process.pid)
        with Neighbour(node.port) as neighbour:
            crowd = []
            for _ in range(count):
                crowd.append(connect(node.port))
                assert answers(crowd[-1]), f"connection {len(crowd)} is not served"
            after, rounds = resident_kib(node.process.pid), neighbour.rounds
            wait_for("the neighbour's next record", lambda: neighbour.rounds >= rounds + 3, 30)
            assert all(answers(s) for s in crowd[::100]), "one of the crowd was lost"
            for s in crowd:
                s.close()
        assert len(consume(node.port, "neighbour")) == neighbour.rounds + 1
        return (f"ok, {count} connections cost {(after - before) * 1024 / count:.0f} bytes each ({before} KiB before, {after} KiB with them); "
                f"neighbour: {neighbour.rounds} rounds, slowest {neighbour.slowest * 1000:.0f} ms")


def half_frames():
    """1,000 connections announce 100 MiB each and send half of it, as fast as the broker takes it (at most 12 s)."""
    more_files()
    with scratch() as work, broker(work) as node:
        produce(node.port, "neighbour", [b"first"])
        pid, peak, sent = node.process.pid, 0, {}
        before = resident_kib(pid)
        head = struct.pack(">ihhih", 100 * MIB, 0, 7, 1, -1)
        chunk = memoryview(bytes(256 * 1024))
        with Neighbour(node.port) as neighbour:
            poll, sockets = select.epoll(), {}
            for _ in range(1000):
                s = connect(node.port)
                s.sendall(head)
                s.setblocking(False)
                sockets[s.fileno()] = s
                sent[s.fileno()] = len(head)
                poll.register(s.fileno(), select.EPOLLOUT)
            end, closed = time.monotonic() + 12, 0
            while time.monotonic() < end and sockets:
                for fd, _ in poll.poll(0.2, 50):
                    try:
                        sent[fd] += sockets[fd].send(chunk[:50 * MIB - sent[fd]])
                    except BlockingIOError:
                        continue
                    except OSError:
                        closed += 1
                        sent[fd] = 50 * MIB
                    if sent[fd] >= 50 * MIB:
                        poll.unregister(fd)
                peak = max(peak, resident_kib(pid))
            for s in sockets.values():
                s.close()
            end = time.monotonic() + 10
            while time.monotonic() < end and resident_kib(pid) > before + 8 * 1024:
                time.sleep(0.1)
            took = time.monotonic() - (end - 10)
        after = resident_kib(pid)
        figures = (f"{before} KiB before, {peak} at most, {after} {took:.1f} s after they closed; {sum(sent.values()) // MIB} MiB sent, "
                   f"{sum(n >= 50 * MIB for n in sent.values())} sent all their half, {closed} closed by the broker; "
                   f"neighbour: {neighbour.rounds} rounds, slowest {neighbour.slowest * 1000:.0f} ms")
        assert not LIMITS or peak < 128 * 1024, figures
        assert not LIMITS or after <= before + 8 * 1024, figures
        return "ok, " + figures


# --- starts -----------------------------------------------------------------------------------------------------------------


def starts():
    """With 100 MB of records: ready within 1 s after kill -9 and after a clean stop, and all of it there."""
    with scratch() as work, broker(work) as node:
        lines = [b"%07d " % i + b"x" * 1000 for i in range(100_000)]
        produce(node.port, "full", lines, "-X", "acks=1")
        took = {}
        for label, how in [("kill -9", signal.SIGKILL), ("a clean stop", signal.SIGTERM)]:
            node.process.send_signal(how)
            node.process.wait(20)
            began = time.monotonic()
            node.start()
            took[label] = time.monotonic() - began
            found = consume(node.port, "full")
            assert found == lines, f"after {label}: {len(found)} records"
        said = ", ".join(f"ready {seconds * 1000:.0f} ms after {label}" for label, seconds in took.items())
        assert not LIMITS or max(took.values()) < 1, said
        return "ok, " + said


# --- disk ---------------------------------------------------------------------------------------------------------------------


def full_disk():
    """A full disk: produce gets an error that clients retry, reads go on, writes go on once there is room, the process lives."""
    with scratch() as work:
        disk = work / "data"
        disk.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)], capture_output=True).returncode:
            return "skip"
        try:
            with broker(work, "log.segment.bytes=1048576") as node:
                cli(node.port, "topic", "create", "full", "-p", "2")
                ballast = disk / "ballast"
                value, stored, errors = b"x" * 200_000, 0, [0]
                assert produce_errors(node.port, "full", [(1, b"other")]) == [0]
                ballast.write_bytes(bytes(8 * MIB))
                while errors == [0] and stored < 200:
                    errors = produce_errors(node.port, "full", [(0, value)])
                    stored += errors == [0]
                assert stored < 200, "24 MiB held 40 MB"
                # Errors that every client tries again: KAFKA_STORAGE_ERROR, NOT_ENOUGH_REPLICAS, NOT_LEADER_OR_FOLLOWER and such.
                assert errors[0] in (56, 6, 7, 8, 9, 19), f"error {errors[0]}"
                again = produce_errors(node.port, "full", [(0, value)])
                assert again[0] in (56, 6, 7, 8, 9, 19), f"error {again[0]} the second time"
                assert node.process.poll() is None
                found = kcat(node.port, "-C", "-t", "full", "-e", "-q", "-f", "%p %S\n").stdout.splitlines()
                assert found.count(b"0 200000") == stored and found.count(b"1 5") == 1, f"{len(found)} records read while full, {stored} stored"
                ballast.unlink()
                began = time.monotonic()
                wait_for("writes after room was made", lambda: produce_errors(node.port, "full", [(0, value)]) == [0], 20)
                resumed = time.monotonic() - began
                stored += 1
                assert produce_errors(node.port, "full", [(1, b"other")]) == [0]
                sizes = kcat(node.port, "-C", "-t", "full", "-p", "0", "-e", "-q", "-f", "%o %S\n").stdout.splitlines()
                assert sizes == [b"%d 200000" % i for i in range(stored)], f"{len(sizes)} records, {stored} stored"
                node.kill()
                node.start()
                sizes = kcat(node.port, "-C", "-t", "full", "-p", "0", "-e", "-q", "-f", "%o %S\n").stdout.splitlines()
                assert sizes == [b"%d 200000" % i for i in range(stored)], f"{len(sizes)} records after kill -9, {stored} stored"
                with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(4096))
                stored += produce_errors(node.port, "full", [(0, value)]) == [0]
                node.kill()
                node.start()
                sizes = kcat(node.port, "-C", "-t", "full", "-p", "0", "-e", "-q", "-f", "%o %S\n").stdout.splitlines()
                assert sizes == [b"%d 200000" % i for i in range(stored)], f"{len(sizes)} records after a start without room, {stored} stored"
                again = produce_errors(node.port, "full", [(0, value)])
                assert again[0] in (56, 6, 7, 8, 9, 19), f"error {again[0]} after a start without room"
                cli(node.port, "topic", "delete", "full", "--yes")
                ballast.unlink()
            return f"ok, error {errors[0]} after {stored - 1} records of 200 kB; writes go on {resumed:.1f} s after room was made"
        finally:
            subprocess.run(["umount", "-l", str(disk)], capture_output=True)


run({f.__name__: f for f in [few_files, idle_crowd, half_frames, starts, full_disk]})
