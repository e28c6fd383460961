"""Bytes that no client sends: the broker answers or closes, keeps serving others, and gives its memory back."""
import os
import random
import socket
import struct
import subprocess
import threading
import time

HOST, PORT = os.environ["BOOTSTRAP"].rsplit(":", 1)
PID = int(os.environ["BROKER_PID"])


def connect():
    s = socket.create_connection((HOST, int(PORT)), 5)
    s.settimeout(10)
    return s


def resident_kib():
    for line in open(f"/proc/{PID}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("the broker is gone")


def frame(key, version, correlation, body=b"", client=b"hostile"):
    head = struct.pack(">hhih", key, version, correlation, len(client)) + client
    return struct.pack(">i", len(head) + len(body)) + head + body


def read_frame(s):
    size = b""
    while len(size) < 4:
        part = s.recv(4 - len(size))
        if not part:
            return None
        size += part
    left, parts = struct.unpack(">i", size)[0], []
    while left:
        part = s.recv(left)
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def closes(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True


stop, errors, rounds = threading.Event(), [], [0]


def neighbour():
    while not stop.is_set():
        done = subprocess.run(["kcat", "-b", f"{HOST}:{PORT}", "-P", "-t", "neighbour"], input=b"hello\n", capture_output=True)
        if done.returncode:
            errors.append(done.stderr)
        rounds[0] += 1


thread = threading.Thread(target=neighbour)
thread.start()
try:
    # KIP-511: an ApiVersions nobody knows is answered in version 0 with error 35.
    s = connect()
    s.sendall(frame(18, 99, 9, b"\x00"))
    answer = read_frame(s)
    assert answer == bytes.fromhex("00000009 0023 00000001 0012 0000 0004".replace(" ", "")), answer
    s.sendall(frame(18, 0, 10))
    assert read_frame(s)[:6] == bytes.fromhex("0000000a0000")
    s.close()

    for name, raw in [
        ("unknown key", frame(999, 0, 1)), ("version out of range", frame(3, 99, 1)), ("frame of 0", b"\x00\x00\x00\x00"),
        ("negative length", b"\xff\xff\xff\xff"), ("2 GB length", b"\x7f\xff\xff\xff"), ("http", b"GET / HTTP/1.1\r\n\r\n"),
        ("short body", frame(3, 1, 1, b"\x00\x00")), ("array longer than the frame", frame(3, 1, 1, b"\x7f\xff\xff\xff")),
        ("null array that may not be null", frame(19, 0, 1, b"\xff\xff\xff\xff\x00\x00\x00\x00")),
    ]:
        s = connect()
        s.sendall(raw)
        assert closes(s), name
        s.close()

    # One request byte by byte, and two in one segment.
    s = connect()
    whole = frame(18, 0, 5)
    for i in range(len(whole)):
        s.sendall(whole[i:i + 1])
    assert read_frame(s)[:4] == b"\x00\x00\x00\x05"
    s.sendall(frame(18, 0, 6) + frame(3, 0, 7, b"\x00\x00\x00\x00"))
    assert read_frame(s)[:4] == b"\x00\x00\x00\x06" and read_frame(s)[:4] == b"\x00\x00\x00\x07"
    s.close()

    chance = random.Random(1)
    for _ in range(500):
        s = connect()
        try:
            raw = chance.randbytes(chance.randrange(1, 200))
            if chance.random() < 0.7:
                key = chance.randrange(0, 93)
                raw = frame(key, chance.randrange(0, 14), 1, chance.randbytes(chance.randrange(0, 150)))
            s.sendall(raw)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass
        except OSError:
            pass
        s.close()

    before = resident_kib()
    many = []
    for _ in range(1000):
        s = connect()
        s.setblocking(False)
        try:
            s.send(struct.pack(">i", 100 * 1024 * 1024) + struct.pack(">hhih", 0, 7, 1, 1) + b"x")
        except BlockingIOError:
            pass
        many.append(s)
    peak, end = 0, time.time() + 6
    chunk = b"\x00" * 262144
    while time.time() < end:
        for s in many:
            try:
                s.send(chunk)
            except OSError:
                pass
        peak = max(peak, resident_kib())
    assert peak < 128 * 1024, f"{peak} KiB resident with 1,000 connections that announce 100 MiB each"
    for s in many:
        s.close()
    deadline = time.time() + 10
    while resident_kib() > before + 8 * 1024 and time.time() < deadline:
        time.sleep(0.2)
    after = resident_kib()
    assert after <= before + 8 * 1024, f"resident {before} KiB before, {after} KiB 10 s after"
    print(f"resident: {before} KiB before, {peak} at most, {after} after")
finally:
    stop.set()
    thread.join()
assert not errors, errors[0]
print(f"neighbour: {rounds[0]} rounds without an error")
