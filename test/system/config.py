#!/usr/bin/env python3
"""config.py BINARY [NAME...]: settings that a running broker must keep: listeners, limits on connections, retention, creation of topics."""
import contextlib
import json
import socket
import struct
import time

from node import answers, broker, cli, connect, consume, free_port, is_closed, kcat, produce, run, scratch, wait_for


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


def listeners():
    """Two listeners that advertise different addresses: who asks at one is told that one's, IPv6 too."""
    first, second = free_port(), free_port()
    host = "[::1]" if has_ipv6() else "127.0.0.2"
    with scratch() as work, broker(
            work, f"listeners=INSIDE://127.0.0.1:{first},OUTSIDE://{host}:{second}",
            f"advertised.listeners=INSIDE://localhost:{first},OUTSIDE://{host}:{second}",
            "listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT", "inter.broker.listener.name=INSIDE"):
        for address, port, wanted in [("127.0.0.1", first, f"localhost:{first}"), (host, second, f"{host.strip('[]')}:{second}")]:
            told = json.loads(kcat(port, "-L", "-J", host=address).stdout)["brokers"][0]["name"]
            assert told in (wanted, f"{host}:{second}"), (told, wanted)
        produce(first, "both", [b"from inside"])
        produce(second, "both", [b"from outside"], host=host)
        assert consume(second, "both", host=host) == [b"from inside", b"from outside"]
        assert consume(first, "both") == [b"from inside", b"from outside"]


def many_connections():
    """max.connections: who comes when all seats are taken waits until one is free."""
    with scratch() as work, broker(work, "max.connections=5") as node:
        seats = [connect(node.port) for _ in range(5)]
        assert all(answers(s) for s in seats)
        late = connect(node.port)
        early = answers(late, 1)
        assert not early, "a sixth connection was served"
        seats.pop().close()
        if early is None:
            late = connect(node.port)
        wait_for("a seat for the one who waits", lambda: answers(late, 5), 10)
        assert all(answers(s) for s in seats), "the others lost theirs"


def connections_of_one_address():
    """max.connections.per.ip: one too many is closed; other addresses are not concerned."""
    port = free_port()
    with scratch() as work, broker(work, f"listeners=PLAINTEXT://0.0.0.0:{port}", f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}",
                                   "max.connections.per.ip=3"):
        def from_address(address):
            s = socket.socket()
            s.bind((address, 0))
            s.connect(("127.0.0.1", port))
            return s

        mine = [connect(port) for _ in range(3)]
        assert all(answers(s) for s in mine)
        assert is_closed(connect(port)), "a fourth connection stays"
        others = [from_address("127.0.0.2") for _ in range(3)]
        assert all(answers(s) for s in others)
        mine.pop().close()
        wait_for("the seat given back", lambda: answers(connect(port)), 10)


def idle_connections():
    """connections.max.idle.ms closes the silent and keeps the busy."""
    with scratch() as work, broker(work, "connections.max.idle.ms=600") as node:
        silent, busy = connect(node.port), connect(node.port)
        assert answers(silent)
        began = time.monotonic()
        silent.settimeout(0.1)
        closed_after = None
        while time.monotonic() - began < 5 and closed_after is None:
            assert answers(busy), "the busy one was closed"
            try:
                if silent.recv(1) == b"":
                    closed_after = time.monotonic() - began
            except TimeoutError:
                pass
        assert closed_after is not None, "the silent one stays"
        assert closed_after > 0.5, f"closed after {closed_after:.2f} s"
        assert answers(busy)
        return f"ok, closed after {closed_after:.2f} s"


RETENTION = ["log.retention.check.interval.ms=100", "log.segment.delete.delay.ms=50", "log.initial.task.delay.ms=0"]


def segments(work, topic):
    return sorted((work / "data" / f"{topic}-0").glob("*.log"))


def earliest(node, topic):
    return int(cli(node.port, "topic", "describe", topic, "-o", "json").stdout and
               kcat(node.port, "-Q", "-t", f"{topic}:0:-2").stdout.split()[-1])


def bytes_of(files):
    """Of those that are still there."""
    total = 0
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def retention_by_size():
    """retention.bytes: whole old segments go, what remains is the newest records without a gap."""
    with scratch() as work, broker(work, *RETENTION) as node:
        for topic, more in [("kept", []), ("cut", ["-c", "retention.bytes=100000"])]:
            cli(node.port, "topic", "create", topic, "-p", "1", "-c", "segment.bytes=50000", *more)
            for batch in range(20):
                produce(node.port, topic, [b"%d " % i + b"x" * 500 for i in range(batch * 50, batch * 50 + 50)])
        wait_for("old segments deleted", lambda: earliest(node, "cut") > 0, 15)
        wait_for("files deleted", lambda: 100_000 <= bytes_of(segments(work, "cut")) < 120_000, 15)
        found = [int(line.split()[0]) for line in consume(node.port, "cut")]
        assert found == list(range(earliest(node, "cut"), 1000)), (found[:1], len(found))
        # Read or not, what no rule takes away stays.
        assert len(consume(node.port, "kept")) == 1000 and len(consume(node.port, "kept")) == 1000
        return f"ok, {len(found)} of 1000 records left in {len(segments(work, 'cut'))} segments"


def retention_by_time():
    """retention.ms: what is too old goes, the active segment too; new records follow with the next offsets."""
    with scratch() as work, broker(work, *RETENTION) as node:
        cli(node.port, "topic", "create", "old", "-p", "1", "-c", "retention.ms=1500", "-c", "segment.bytes=50000")
        cli(node.port, "topic", "create", "kept", "-p", "1", "-c", "segment.bytes=50000")
        for topic in ("old", "kept"):
            produce(node.port, topic, [b"x" * 500] * 300, "-X", "batch.num.messages=20")
        assert len(consume(node.port, "kept")) == 300
        wait_for("all old records gone", lambda: earliest(node, "old") == 300, 15)
        produce(node.port, "old", [b"new"])
        assert kcat(node.port, "-C", "-t", "old", "-e", "-q", "-f", "%o %s\n").stdout == b"300 new\n"
        wait_for("files deleted", lambda: len(segments(work, "old")) == 1, 15)
        assert len(consume(node.port, "kept")) == 300


def creation():
    """auto.create.topics.enable, num.partitions, delete.topic.enable."""
    with scratch() as work, broker(work, "auto.create.topics.enable=false", "delete.topic.enable=false") as node:
        failed = produce(node.port, "nobody", [b"lost"], "-X", "message.timeout.ms=3000", check=False)
        assert failed.returncode != 0, "produced to a topic that nobody created"
        assert "nobody" not in cli(node.port, "topic", "list", "-o", "name").stdout
        cli(node.port, "topic", "create", "somebody")
        produce(node.port, "somebody", [b"found"])
        assert consume(node.port, "somebody") == [b"found"]
        assert cli(node.port, "topic", "delete", "somebody", "-y", check=False).returncode == 1
    with scratch() as work, broker(work, "num.partitions=3") as node:
        produce(node.port, "new", [b"found"])
        topic = json.loads(kcat(node.port, "-L", "-J", "-t", "new").stdout)["topics"][0]
        assert len(topic["partitions"]) == 3, topic


def sizes():
    """socket.request.max.bytes closes; message.max.bytes and the topic's own refuse, and the connection goes on."""
    with scratch() as work, broker(work, "socket.request.max.bytes=500000", "message.max.bytes=20000") as node:
        s = connect(node.port)
        s.sendall(struct.pack(">i", 500001))
        assert is_closed(s)
        s = connect(node.port)
        s.sendall(struct.pack(">i", 500000))
        assert not is_closed(s, 0.5), "a length within the limit was refused"
        for topic, size, fits in [("default", 19000, True), ("default", 21000, False), ("own", 40000, True), ("own", 60000, False)]:
            if topic == "own" and fits:
                cli(node.port, "topic", "create", "own", "-c", "max.message.bytes=50000")
            done = produce(node.port, topic, [b"x" * size], check=False)
            assert (done.returncode == 0) == fits, (topic, size, done.stderr)


run({f.__name__: f for f in [listeners, many_connections, connections_of_one_address, idle_connections, retention_by_size,
                             retention_by_time, creation, sizes]})
