"""cluster_dirs [VERSION] [KINDS] [KEEPER]: replicas move between the log directories of their brokers, with Apache's own tools.

Each broker has two directories. While records are written with acks=all: a leader and a follower move under a throttle, one broker is
killed in the middle of it and goes on after its start, a move is cancelled by moving back, and one goes on when its throttle is taken
off. In the end each partition lies where it was sent, in one place, and every record is there once and in order.
"""
import json
import re
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from cluster import BINARY, JAVA, WORK, Cluster, kafka_jars, wait_for

VERSION = sys.argv[1] if len(sys.argv) > 1 else "3.9.2"
KINDS = sys.argv[2].split(",") if len(sys.argv) > 2 else ["ours", "ours"]
KEEPER = sys.argv[3] if len(sys.argv) > 3 else "ours"
TOPIC, PARTITIONS = "dirs", 2
SLOW, FAST = 100000, 1000000000


def said(what):
    print(f"{VERSION} on {','.join(KINDS)}: {what}", flush=True)


def tool(name, *words, expect=""):
    name = {"reassign": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "log-dirs": "org.apache.kafka.tools.LogDirsCommand"}[name]
    done = subprocess.run([*JAVA, "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", kafka_jars(VERSION), name,
                           "--bootstrap-server", cluster.bootstrap, *map(str, words)], capture_output=True, text=True, timeout=120)
    out = done.stdout + done.stderr
    assert done.returncode == 0 and re.search(expect, out, re.S), f"{name} {words}: {done.returncode}\n{out[-1500:]}"
    return done.stdout


class Load(threading.Thread):
    """Numbers to every partition, each once and in order."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sent, self.failed, self.over = 0, [], threading.Event()
        self.producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5,
                                  "log_level": 0, "reconnect.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 1000})

    def write(self, size):
        for partition in range(PARTITIONS):
            self.producer.produce(TOPIC, f"{self.sent} ".encode().ljust(size, b"x"), partition=partition,
                                  on_delivery=lambda err, _: self.failed.append(err) if err else None)
        self.sent += 1
        self.producer.poll(0)

    def run(self):
        while not self.over.wait(0.002):
            self.write(200)

    def end(self):
        self.over.set()
        self.join()
        assert self.producer.flush(60) == 0 and not self.failed, self.failed[:1]


def check_records(count):
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "check", "enable.auto.commit": False, "log_level": 0})
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    seen = [0] * PARTITIONS
    end = time.monotonic() + 60
    while min(seen) < count:
        assert time.monotonic() < end, f"{seen} of {count} records were read"
        for message in consumer.consume(1000, 1):
            assert not message.error(), message.error()
            number, partition = int(message.value().split()[0]), message.partition()
            assert number == seen[partition], f"partition {partition}: {number} after {seen[partition] - 1}"
            seen[partition] += 1
    consumer.close()


def directory(number, letter):
    return str(cluster.nodes[number - 1].directory / letter)


def where(number):
    """{partition: (directory, bytes, is it on its way)} of all places, as broker `number` tells."""
    out = tool("log-dirs", "--describe", "--broker-list", number, "--topic-list", TOPIC)
    found = {}
    for dirs in json.loads(out.strip().splitlines()[-1])["brokers"][0]["logDirs"]:
        assert dirs["error"] is None, dirs
        for entry in dirs["partitions"]:
            found.setdefault(int(entry["partition"].rsplit("-", 1)[1]), []).append((dirs["logDir"], entry["size"], entry["isFuture"]))
    return found


def on_disk(number):
    """{directory name without its unique part: letters}"""
    found = {}
    for letter in "ab":
        for path in (cluster.nodes[number - 1].directory / letter).iterdir():
            if path.is_dir():
                found.setdefault(re.sub(r"\.[0-9a-f]{32}", "", path.name), []).append(letter)
    return found


def other(number, partition):
    return "b" if on_disk(number)[f"{TOPIC}-{partition}"] == ["a"] else "a"


def move(places, rate):
    """places: {partition: {broker: letter}}"""
    plan = [{"topic": TOPIC, "partition": partition, "replicas": [1, 2],
             "log_dirs": [directory(n, letters[n]) if n in letters else "any" for n in (1, 2)]} for partition, letters in places.items()]
    (WORK / "plan.json").write_text(json.dumps({"version": 1, "partitions": plan}))
    tool("reassign", "--execute", "--additional", "--reassignment-json-file", WORK / "plan.json", "--replica-alter-log-dirs-throttle", rate,
         expect="Successfully started")


def wait_moved(places):
    def arrived():
        for partition, letters in places.items():
            for number, letter in letters.items():
                names = on_disk(number)
                if names.get(f"{TOPIC}-{partition}") != [letter] or f"{TOPIC}-{partition}-future" in names:
                    return False
        return True
    began = time.monotonic()
    wait_for(lambda: f"replicas at {places}: {on_disk(1)}, {on_disk(2)}", arrived, 60)
    out = tool("reassign", "--verify", "--preserve-throttles", "--reassignment-json-file", WORK / "plan.json")
    for partition, letters in places.items():
        for number in letters:
            assert re.search(rf"Reassignment of replica {TOPIC}-{partition}-{number} completed successfully", out), out
    return time.monotonic() - began


with Cluster(KINDS, KEEPER, {"min.insync.replicas": 1, "offsets.topic.replication.factor": 2, "log.segment.bytes": 4000000,
                             "auto.leader.rebalance.enable": "false",
                             "log.segment.delete.delay.ms": 1000}) as cluster:
    for node in cluster.nodes:
        node.settings["log.dirs"] = f"{node.directory / 'a'},{node.directory / 'b'}"
    cluster.start()
    done = subprocess.run([BINARY, "topic", "create", TOPIC, "--assignment", "1:2,1:2", "-b", cluster.bootstrap], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    cluster.wait_in_sync()
    load = Load()
    for i in range(1000):
        load.write(10000)
    load.start()

    places = {0: {1: other(1, 0), 2: other(2, 0)}}
    move(places, SLOW)
    told = {number: where(number)[0] for number in (1, 2)}
    for number, entries in told.items():
        assert [is_future for *_, is_future in sorted(entries, key=lambda e: e[2])] == [False, True], entries
        assert f"{TOPIC}-0-future" in on_disk(number)
    tool("reassign", "--verify", "--preserve-throttles", "--reassignment-json-file", WORK / "plan.json", expect="is still in progress")
    said("a leader and a follower are on their way, under a throttle")
    for number in (2, 1):
        cluster.nodes[number - 1].kill()
        assert f"{TOPIC}-0-future" in on_disk(number), "moved in spite of the throttle"
        cluster.nodes[number - 1].start()
        cluster.wait_in_sync()
    said("each was killed on the way")
    move(places, FAST)
    took = wait_moved(places)
    said(f"without the throttle both arrived within {took:.1f} s")

    home = {n: on_disk(n)[f"{TOPIC}-1"][0] for n in (1, 2)}
    move({1: {n: other(n, 1) for n in (1, 2)}}, SLOW)
    assert all(f"{TOPIC}-1-future" in on_disk(n) for n in (1, 2))
    move({1: home}, FAST)
    wait_moved({1: home})
    said("moving back gave the move up")

    for round in range(4):
        places = {p: {n: other(n, p) for n in (1, 2)} for p in range(PARTITIONS)}
        move(places, FAST)
        wait_moved(places)
    said("both partitions of both brokers went back and forth under load")
    load.end()
    check_records(load.sent)
    for number in (1, 2):
        wait_for(lambda: f"an end of what was left: {on_disk(number)}", lambda: not [name for name in on_disk(number) if name.endswith(("-future", "-delete"))], 20)
        found = where(number)
        assert all(len(entries) == 1 and not entries[0][2] for entries in found.values()), found
    cluster.wait_in_sync()
    cluster.stop()
    for number in (1, 2):
        assert not list((cluster.nodes[number - 1].directory).glob("?/*/moved-here")), "a mark was left"
    for node in cluster.nodes:
        node.start()
    cluster.wait_in_sync()
    check_records(load.sent)
    cluster.stop()
    said(f"{load.sent} records of each partition, each once and in order, also after a restart")
