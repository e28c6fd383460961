"""takeover: an Apache Kafka 3.9.2 broker in ZooKeeper mode and ours take turns as broker 0 of one cluster: same ensemble, same log.dirs.

Each finds every record (all codecs, an idempotent producer's too) and every committed offset of the other; after clean stops and
after kill -9 of each.
"""
import os
import pathlib
import signal
import subprocess
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient

from run import free_port
from wire_keeper import Keeper

HERE = pathlib.Path(__file__).resolve().parent
WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]
PORT = free_port()
TOPICS = {"none": 1, "gzip": 2, "snappy": 1, "lz4": 3, "zstd": 1}
SERVERS = {"bootstrap.servers": f"127.0.0.1:{PORT}", "log_level": 0}
written = {}  # (topic, partition): values in order
committed = {}  # (topic, partition): offset


def jars(name, *items):
    done = subprocess.run([str(HERE / "maven"), name, *items], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip() + "/*"


def start(kind, keeper):
    file = WORK / f"{kind}.properties"
    file.write_text(f"broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{PORT}\nlog.dirs={WORK}/logs-a,{WORK}/logs-b\n"
                    f"zookeeper.connect=127.0.0.1:{keeper.port}\nzookeeper.session.timeout.ms=6000\noffsets.topic.num.partitions=4\n"
                    "offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
                    "group.initial.rebalance.delay.ms=0\nlog.segment.bytes=200000\n")
    if kind == "apache":
        command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", jars("kafka-3.9.2", "org.apache.kafka:kafka_2.13:3.9.2"),
                   "kafka.Kafka", str(file)]
    else:
        command = [BINARY, "server", str(file)]
    log = open(WORK / f"{kind}.log", "ab")
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=WORK)
    while True:
        assert process.poll() is None and time.monotonic() - began < 90, \
            f"{kind} did not start:\n" + (WORK / f"{kind}.log").read_text(errors="replace")[-3000:]
        try:
            metadata = AdminClient(SERVERS).list_topics(timeout=2)
            if 0 in metadata.brokers and all(p.leader == 0 for t in metadata.topics.values() for p in t.partitions.values()):
                break
        except Exception:  # not there yet
            pass
        time.sleep(0.2)
    print(f"{kind}: ready after {time.monotonic() - began:.1f} s", flush=True)
    return process


def write(label, idempotent):
    for topic, partitions in TOPICS.items():
        producer = Producer({**SERVERS, "compression.type": topic, "enable.idempotence": idempotent, "linger.ms": 2,
                             "batch.num.messages": 50, "message.timeout.ms": 30000})
        failed = []
        for i in range(600):
            value = f"{label} {i} ".encode() + os.urandom(20).hex().encode() * 4
            producer.produce(topic, value, partition=i % partitions, headers={"label": label},
                             on_delivery=lambda err, _: failed.append(err) if err else None)
            written.setdefault((topic, i % partitions), []).append(value)
        assert producer.flush(60) == 0 and not failed, failed[:1]


def read(label):
    for (topic, partition), values in written.items():
        consumer = Consumer({**SERVERS, "group.id": "checks", "enable.auto.commit": False, "enable.partition.eof": True})
        consumer.assign([TopicPartition(topic, partition, 0)])
        found = []
        while True:
            message = consumer.poll(20)
            assert message is not None, f"{label}: {topic}-{partition}: nothing within 20 s after {len(found)} records"
            if message.error():
                break
            found.append(message.value())
        consumer.close()
        assert found == values, f"{label}: {topic}-{partition} has {len(found)} records, not {len(values)}"


def group(label):
    """The committed offsets are those the last broker was told; the group goes on from there to the end."""
    consumer = Consumer({**SERVERS, "group.id": "readers", "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    if committed:
        asked = [TopicPartition(*at) for at in committed]
        end = time.monotonic() + 30
        while True:
            try:
                got = {(p.topic, p.partition): p.offset for p in consumer.committed(asked, timeout=20)}
                break
            except Exception:  # its coordinator is loading
                assert time.monotonic() < end
                time.sleep(0.2)
        assert got == committed, f"{label}: committed {got}, not {committed}"
    wanted = {at: len(values) for at, values in written.items()}
    consumer.subscribe(list(TOPICS))
    position, end = dict(committed), time.monotonic() + 60
    while position != wanted:
        assert time.monotonic() < end, f"{label}: the group is at {position}, not {wanted}"
        message = consumer.poll(1)
        if message is None or message.error():
            continue
        at = (message.topic(), message.partition())
        assert message.offset() == position.get(at, 0), f"{label}: {at} goes on at {message.offset()}, not {position.get(at, 0)}"
        position[at] = message.offset() + 1
    # The last commit stays behind by a few, so that the next broker has something to give.
    behind = {at: max(0, offset - 7) for at, offset in position.items()}
    consumer.commit(offsets=[TopicPartition(*at, offset) for at, offset in behind.items()], asynchronous=False)
    consumer.close()
    committed.clear()
    committed.update(behind)


def end(process, how):
    process.send_signal(how)
    process.wait(60)


def wait_for_expiry(keeper):
    """Apache gives up when its id is still registered by the session of a broker that was killed; ours takes over at once."""
    client = KazooClient(hosts=f"127.0.0.1:{keeper.port}")
    client.start(timeout=20)
    deadline = time.monotonic() + 30
    while client.exists("/brokers/ids/0"):
        assert time.monotonic() < deadline, "the session of a killed broker does not expire"
        time.sleep(0.2)
    client.stop()


keeper = Keeper("apache")
keeper.start()
running = None
try:
    running = start("apache", keeper)
    admin = AdminClient(SERVERS)
    for future in admin.create_topics([NewTopic(t, n, 1) for t, n in TOPICS.items()]).values():
        future.result(30)
    time.sleep(0.5)
    write("apache first", True)
    write("apache plain", False)
    group("apache first")
    turns = [("ours", signal.SIGTERM), ("apache", signal.SIGTERM), ("ours", signal.SIGKILL), ("apache", signal.SIGKILL),
             ("ours", signal.SIGKILL), ("apache", signal.SIGTERM), ("ours", signal.SIGTERM)]
    how = signal.SIGTERM
    for number, (kind, after) in enumerate(turns):
        end(running, how)
        label = f"turn {number} {kind} after {how.name}"
        if kind == "apache":
            wait_for_expiry(keeper)
        running = start(kind, keeper)
        read(label)
        group(label)
        write(label, True)
        read(label + ", with its own")
        print(f"{label}: {sum(map(len, written.values()))} records, {len(committed)} offsets", flush=True)
        how = after
    end(running, how)
    for name in ("logs-a", "logs-b"):
        check = subprocess.run([BINARY, "log", "verify", str(WORK / name)], capture_output=True, text=True)
        assert check.returncode == 0, check.stdout[-2000:] + check.stderr[-2000:]
    print("ok")
except BaseException:
    for name in ("ours.log", "apache.log"):
        if (WORK / name).exists():
            print(f"--- {name}\n" + "\n".join((WORK / name).read_text(errors="replace").splitlines()[-25:]))
    raise
finally:
    for process in (running, keeper.process):
        if process and process.poll() is None:
            process.kill()
            process.wait()
