"""cluster_racks [KINDS] [KEEPER] [--java]: what followers are to clients, of ours or of Apache's: consumers read from the replica in
their rack (KIP-392), and DeleteRecords waits for all.

Broker 1 leads from rack "a", broker 2 follows in rack "b". What each answers to a Fetch is asked byte by byte, and holds for both
kinds; then kcat and, with --java, Apache's console consumer read from rack "b": all records, none of them from the leader.
"""
import re
import socket
import struct
import subprocess
import sys
import time

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from cluster import BINARY, WORK, Cluster, kafka_jars, wait_for

ARGUMENTS = [a for a in sys.argv[1:] if not a.startswith("--")]
KINDS = ARGUMENTS[0].split(",") if ARGUMENTS else ["ours", "ours"]
KEEPER = ARGUMENTS[1] if len(ARGUMENTS) > 1 else "ours"
TOPIC, RECORDS = "racks", 500


def said(what):
    print(f"{','.join(KINDS)} on {KEEPER}: {what}", flush=True)


class Reader:
    """A consumer that knows no more than one broker."""

    def __init__(self, node):
        self.socket = socket.create_connection((node.host, node.port), 10)
        self.socket.settimeout(20)
        self.file = self.socket.makefile("rb")

    def fetch(self, offset, rack=None, version=11, session=(0, -1), wait_ms=0, min_bytes=1, leader_epoch=-1, names=True):
        """(error, high watermark, last stable offset, log start, preferred replica, bytes of records, session id); None: not named."""
        def text(value):
            return struct.pack(">h", len(value)) + value.encode()
        body = struct.pack(">hhih", 1, version, 7, -1)
        body += struct.pack(">iiiibii", -1, wait_ms, min_bytes, 1 << 20, 0, *session)
        topic = text(TOPIC) + struct.pack(">iiiqqi", 1, 0, leader_epoch, offset, -1, 1 << 20)
        body += (struct.pack(">i", 1) + topic if names else struct.pack(">i", 0)) + struct.pack(">i", 0)
        if version >= 11:
            body += text(rack or "")
        self.socket.sendall(struct.pack(">i", len(body)) + body)

        def take(form):
            size = struct.calcsize(form)
            data = self.file.read(size)
            assert len(data) == size, "the connection was closed"
            return struct.unpack(form, data)
        take(">iii")
        error, session_id, topics = take(">hii")
        assert error == 0, error
        if topics == 0:
            return None
        assert topics == 1 and self.file.read(take(">h")[0]).decode() == TOPIC and take(">i") == (1,)
        index, error, high, stable, start, aborted = take(">ihqqqi")
        assert index == 0 and aborted <= 0
        preferred = take(">i")[0] if version >= 11 else -1
        size = take(">i")[0]
        self.file.read(max(size, 0))
        return error, high, stable, start, preferred, size, session_id


def expect(what, got, error, preferred, has_records):
    assert got and (got[0], got[4], got[5] > 0) == (error, preferred, has_records), f"{what}: {got}"
    if error == 0:
        assert got[1:4] == (RECORDS, RECORDS, 0), f"{what}: {got}"


OK, OUT_OF_RANGE, NOT_LEADER, FENCED = 0, 1, 6, 74


def what_brokers_answer():
    leader, follower = Reader(cluster.nodes[0]), Reader(cluster.nodes[1])
    expect("the leader, to rack b", leader.fetch(0, "b"), OK, 2, False)
    expect("the leader, to rack b at its end", leader.fetch(RECORDS, "b", wait_ms=20000), OK, 2, False)
    began = time.monotonic()
    expect("the leader, to rack b, much to wait for", leader.fetch(0, "b", wait_ms=20000, min_bytes=1 << 20), OK, 2, False)
    assert time.monotonic() - began < 10, "the answer waited"
    expect("the leader, beyond its end", leader.fetch(RECORDS + 1, "b"), OUT_OF_RANGE, -1, False)
    expect("the leader, to its own rack", leader.fetch(0, "a"), OK, -1, True)
    expect("the leader, to a rack where nobody is", leader.fetch(0, "c"), OK, -1, True)
    expect("the leader, to no rack", leader.fetch(0), OK, -1, True)
    expect("the leader, to version 10", leader.fetch(0, version=10), OK, -1, True)
    expect("the follower, to rack b", follower.fetch(0, "b"), OK, -1, True)
    expect("the follower, to rack a", follower.fetch(0, "a"), OK, -1, True)
    expect("the follower, at its end", follower.fetch(RECORDS, "b"), OK, -1, False)
    expect("the follower, beyond its end", follower.fetch(RECORDS + 1, "b"), OUT_OF_RANGE, -1, False)
    expect("the follower, to version 10", follower.fetch(0, version=10), NOT_LEADER, -1, False)
    session = leader.fetch(0, "b", session=(0, 0))[6]
    assert session > 0
    for epoch in (1, 2):
        expect("the leader, in a session", leader.fetch(0, "b", session=(session, epoch), names=False), OK, 2, False)
    said("every Fetch was answered as Apache's brokers do")


def produce(values):
    done = subprocess.run(["kcat", "-P", "-b", cluster.bootstrap, "-t", TOPIC, "-p", "0", "-X", "acks=all", "-X", "enable.idempotence=true"],
                          input="".join(f"{v}\n" for v in values), text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


def lines(path):
    return path.read_text(errors="replace").splitlines()


class Consumer:
    """A process; what it read, and of which broker it asked how often."""

    def __init__(self, name, words, asked):
        self.out, self.log, self.asked = WORK / f"{name}.out", WORK / f"{name}.log", re.compile(asked)
        self.name = name
        self.process = subprocess.Popen(words, stdout=open(self.out, "wb"), stderr=open(self.log, "wb"))

    def fetches(self):
        found = {1: 0, 2: 0}
        for line in lines(self.log) + lines(self.out):
            match = self.asked.search(line)
            if match:
                found[int(match[1])] += 1
        return found

    def wait(self, first, end):
        want = [str(v) for v in range(first, end)]
        wait_for(lambda: f"records {first} to {end} at {self.name}; it has {len(self.read())}, fetched {self.fetches()}",
                 lambda: self.read() == want, 60)

    def read(self):
        return [line for line in lines(self.out) if line.isdigit()]

    def end(self):
        self.process.kill()
        self.process.wait()


def kcat():
    return Consumer("kcat", ["kcat", "-C", "-u", "-b", cluster.bootstrap, "-t", TOPIC, "-p", "0", "-o", "0", "-X", "client.rack=b",
                             "-X", "debug=fetch", "-X", "reconnect.backoff.max.ms=500", "-X", "topic.metadata.refresh.interval.ms=1000"],
                    rf"/([12]): Fetch topic {TOPIC} \[0\] at offset")


def java():
    logger = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.consumer.internals"
    return Consumer("java", [*cluster.java, f"{logger}=debug", "-cp", kafka_jars(), "org.apache.kafka.tools.consumer.ConsoleConsumer",
                             "--bootstrap-server", cluster.bootstrap, "--topic", TOPIC, "--partition", "0", "--offset", "earliest",
                             "--consumer-property", "client.rack=b"],
                    rf"fetch request for partition {TOPIC}-0 at position .* to node \S+ \(id: ([12]) rack: .\)")


def consume(make, goes_back):
    """librdkafka 2.0 keeps to a replica that died as long as its lease lasts, whoever the brokers are; Java's consumer goes back."""
    global RECORDS
    consumer = make()
    try:
        consumer.wait(0, RECORDS)
        before = consumer.fetches()
        for _ in range(5):  # one by one: each waits until the follower heard of the high watermark
            produce([RECORDS])
            RECORDS += 1
            consumer.wait(0, RECORDS)
        after = consumer.fetches()
        assert after[2] > before[2] and after[1] == before[1] <= 3, (before, after)
        if goes_back:
            cluster.nodes[1].kill()
            produce(range(RECORDS, RECORDS + 50))
            RECORDS += 50
            consumer.wait(0, RECORDS)
            assert consumer.fetches()[1] > after[1], consumer.fetches()
    finally:
        consumer.end()
    went = ", then went back to the leader" if goes_back else ""
    said(f"{consumer.name} fetched {after[1]} times from the leader and {after[2]} from the follower{went}")


def delete_records():
    """The answer waits for the follower's log, and not for ever."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})

    def delete(offset, seconds):
        return admin.delete_records([TopicPartition(TOPIC, 0, offset)], operation_timeout=seconds)[TopicPartition(TOPIC, 0)].result()
    assert delete(100, 20).low_watermark == 100
    starts = [Reader(node).fetch(RECORDS, rack)[3] for node, rack in zip(cluster.nodes, "ab")]
    assert starts == [100, 100], starts
    cluster.nodes[1].pause()
    try:
        began = time.monotonic()
        delete(150, 1)
        raise AssertionError("a follower that sleeps was not waited for")
    except KafkaException as problem:
        assert problem.args[0].code() == KafkaError.REQUEST_TIMED_OUT and time.monotonic() - began >= 0.9, problem
    finally:
        cluster.nodes[1].resume()
    assert delete(150, 20).low_watermark == 150
    said("DeleteRecords waited for the follower")


with Cluster(KINDS, KEEPER, {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
                             "min.insync.replicas": 1, "offsets.topic.replication.factor": 1,
                             "auto.leader.rebalance.enable": "false"}) as cluster:
    for node, rack in zip(cluster.nodes, "ab"):
        node.settings["broker.rack"] = rack
    cluster.start()
    done = subprocess.run([BINARY, "topic", "create", TOPIC, "--assignment", "1:2", "-b", cluster.bootstrap], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    cluster.wait_in_sync()
    produce(range(RECORDS))
    follower = Reader(cluster.nodes[1])
    wait_for("the high watermark at the follower", lambda: follower.fetch(RECORDS, "b")[1] == RECORDS, 20)
    what_brokers_answer()
    consume(kcat, False)
    if "--java" in sys.argv:
        consume(java, True)
        cluster.nodes[1].start()
        cluster.wait_in_sync()
    delete_records()
    cluster.stop()
