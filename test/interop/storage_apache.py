"""storage_apache: Apache Kafka 3.9.2 (ZooKeeper mode) and storage/ take turns on one log directory, and neither misses a record.

1. What storage/ writes, DumpLogSegments of 3.9.2 and 4.3.1 reads without a complaint: batches of all codecs, transactions, both
   indexes, transaction indexes, snapshots; after a clean stop and after a kill.
2. Apache creates a topic and writes; storage/ opens the directory, shows every record, appends, closes; Apache starts on it,
   serves all, writes more; the same again with kill -9 on either side.

By hand: WORK=$(mktemp -d) BINARY=build/odradek test/interop/storage_apache.py
"""
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from confluent_kafka import Consumer, TopicPartition
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kazoo.client import KazooClient

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ["WORK"])
TOOL = pathlib.Path(os.environ["BINARY"]).resolve().parent / "test/interop/storage/storage_tool"
COMPLAINT = re.compile(r"exception|mismatch|corrupt|isvalid: false|not found|out of order", re.I)
processes = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def jars(name, *items):
    done = subprocess.run([str(HERE / "maven"), name, *items], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return pathlib.Path(done.stdout.strip())


def tool(*arguments):
    done = subprocess.run([str(TOOL), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"storage_tool {' '.join(map(str, arguments))} failed")
    return done.stdout.splitlines()


def dump(version, *arguments):
    if version.startswith("3."):
        path = jars(f"kafka-{version}", f"org.apache.kafka:kafka_2.13:{version}")
        name = "kafka.tools.DumpLogSegments"
    else:
        path = jars(f"kafka-tools-{version}", f"org.apache.kafka:kafka_2.13:{version}", f"org.apache.kafka:kafka-tools:{version}")
        name = "org.apache.kafka.tools.DumpLogSegments"
    done = subprocess.run(["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{path}/*", name, *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    complaints = [line for line in done.stdout.splitlines() if COMPLAINT.search(line)]
    if done.returncode or complaints:
        raise SystemExit(f"DumpLogSegments {version} {' '.join(arguments)}:\n" + "\n".join(complaints or done.stdout.splitlines()[-20:]))
    return done.stdout


def dumps(partition, records):
    for version in ("3.9.2", "4.3.1"):
        def files(*kinds):
            return ",".join(str(path) for path in sorted(partition.iterdir()) if path.suffix in kinds and path.stat().st_size > 0)

        shown = dump(version, "--deep-iteration", "--print-data-log", "--files", files(".log"))
        if shown.count("payload:") != records:
            raise SystemExit(f"DumpLogSegments {version} shows {shown.count('payload:')} records of {records}")
        dump(version, "--index-sanity-check", "--files", files(".index", ".timeindex"))
        dump(version, "--verify-index-only", "--files", files(".index", ".timeindex"))
        dump(version, "--files", files(".snapshot", ".txnindex"))


def wait_for(what, check, seconds=90):
    end = time.time() + seconds
    while time.time() < end:
        try:
            value = check()
            if value:
                return value
        except Exception:  # not there yet
            pass
        time.sleep(0.2)
    for log in sorted(WORK.glob("*.out")):
        print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:]))
    raise SystemExit(f"no {what} within {seconds} s")


def spawn(name, command):
    out = open(WORK / f"{name}.out", "ab")
    process = subprocess.Popen(command, stdout=out, stderr=out, cwd=WORK)
    processes.append(process)
    return process


def start_zookeeper():
    port = free_port()
    (WORK / "zoo.cfg").write_text(f"tickTime=1000\ndataDir={WORK}/zk\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
                                  "admin.enableServer=false\n")
    path = jars("zookeeper-3.9.4", "org.apache.zookeeper:zookeeper:3.9.4", "io.dropwizard.metrics:metrics-core:4.1.12.1",
                "org.xerial.snappy:snappy-java:1.1.10.5")
    spawn("zookeeper", ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{path}/*",
                        "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(WORK / "zoo.cfg")])
    client = KazooClient(hosts=f"127.0.0.1:{port}", timeout=10)
    wait_for("ZooKeeper", lambda: client.start(timeout=5) or True)
    return port, client


def start_apache(zookeeper, zookeeper_port, port, data):
    wait_for("end of the dead broker's session", lambda: not zookeeper.exists("/brokers/ids/1"))
    config = {"broker.id": 1, "listeners": f"PLAINTEXT://127.0.0.1:{port}", "log.dirs": data,
              "zookeeper.connect": f"127.0.0.1:{zookeeper_port}", "zookeeper.session.timeout.ms": 6000,
              "offsets.topic.replication.factor": 1, "offsets.topic.num.partitions": 1}
    file = WORK / "apache.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in config.items()))
    path = jars("kafka-3.9.2", "org.apache.kafka:kafka_2.13:3.9.2")
    process = spawn("apache", ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{path}/*", "kafka.Kafka", str(file)])
    wait_for("Apache broker", lambda: process.poll() is not None or
             KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}").describe_cluster()["controller_id"] == 1)
    if process.poll() is not None:
        wait_for("Apache broker", lambda: False, 0)
    return process


def stop(process, how):
    process.send_signal(how)
    process.wait(60)


def consume(port, topic, end):
    """All records below `end`, as storage_tool prints them; librdkafka knows every codec."""
    consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "none", "isolation.level": "read_uncommitted",
                         "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    lines, deadline = [], time.time() + 60
    while (not lines or int(lines[-1].split()[0]) + 1 < end) and time.time() < deadline:
        lines += [f"{m.offset()} {m.key().decode()} {m.value().decode()}" for m in consumer.consume(1000, 1) if not m.error()]
    consumer.close()
    return lines


def produce(port, topic, count, name):
    producer = KafkaProducer(bootstrap_servers=f"127.0.0.1:{port}", acks="all", linger_ms=5, compression_type="gzip", batch_size=2000)
    sent = [(producer.send(topic, key=b"k%d" % i, value=b"%s-%d" % (name.encode(), i)), i) for i in range(count)]
    lines = [f"{future.get(30).offset} k{i} {name}-{i}" for future, i in sent]
    producer.close()
    return lines


def same(what, got, want):
    if got == want:
        return
    first = next((i for i, pair in enumerate(zip(got, want)) if pair[0] != pair[1]), min(len(got), len(want)))
    raise SystemExit(f"{what}: {len(got)} records, not {len(want)}; the first that differs: {got[first:first + 1]} {want[first:first + 1]}")


def ours_for_theirs():
    for how in ([], ["crash"]):
        directory = WORK / ("crashed" if how else "clean")
        records = tool("fill", directory, "dumped", 0, 1, 300, *how)
        if how:
            same("after a kill", tool("show", directory, "dumped", 0), records)
        records += tool("fill", directory, "dumped", 0, 2, 100)
        same("after two fills", tool("show", directory, "dumped", 0), records)
        dumps(directory / "dumped-0", len(records))


def turns():
    port, data = free_port(), WORK / "shared"
    zookeeper_port, zookeeper = start_zookeeper()
    apache = start_apache(zookeeper, zookeeper_port, port, data)
    KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}").create_topics(
        [NewTopic("shared", 1, 1, topic_configs={"segment.bytes": "60000", "index.interval.bytes": "1000"})])
    records = produce(port, "shared", 3000, "first")
    stop(apache, signal.SIGTERM)
    for turn, (ours, theirs) in enumerate([("", signal.SIGTERM), ("", signal.SIGKILL), ("crash", signal.SIGKILL), ("crash", signal.SIGTERM)]):
        same(f"turn {turn}, we read Apache's", tool("show", data, "shared", 0), records)
        records += tool("fill", data, "shared", 0, 10 + turn, 120, *([ours] if ours else []))
        last = int(records[-1].split()[0])
        apache = start_apache(zookeeper, zookeeper_port, port, data)
        same(f"turn {turn}, Apache reads ours", consume(port, "shared", last + 1), records)
        records += produce(port, "shared", 500, f"turn{turn}")
        stop(apache, theirs)
    same("at the end", tool("show", data, "shared", 0), records)
    dumps(data / "shared-0", len(records))


try:
    ours_for_theirs()
    turns()
    print("ok")
finally:
    for process in processes:
        if process.poll() is None:
            process.kill()
