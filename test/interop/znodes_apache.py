"""znodes_apache: our broker and Apache Kafka 3.9.2, both in ZooKeeper mode on one Apache ZooKeeper 3.9, each in a chroot of its own,
are asked for the same things; their znodes must be the same. Then each takes the other's chroot over.

Compared are paths, JSON with the order of its keys, data versions, and which znodes are ephemeral. What differs by nature (ids, times, ports) is replaced first.
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kazoo.client import KazooClient

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ["WORK"])
BINARY = os.environ["BINARY"]
processes = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def jars(name, *items):
    done = subprocess.run([str(HERE / "maven"), name, *items], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip() + "/*"


def spawn(name, command):
    log = open(WORK / f"{name}.log", "ab")
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=WORK)
    processes.append(process)
    return process


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
    for log in sorted(WORK.glob("*.log")):
        print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:]))
    raise SystemExit(f"no {what} within {seconds} s")


def start_zookeeper():
    port = free_port()
    (WORK / "zoo.cfg").write_text(f"tickTime=1000\ndataDir={WORK}/zk\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
                                  "admin.enableServer=false\n")
    path = jars("zookeeper-3.9.4", "org.apache.zookeeper:zookeeper:3.9.4", "io.dropwizard.metrics:metrics-core:4.1.12.1",
                "org.xerial.snappy:snappy-java:1.1.10.5")
    spawn("zookeeper", ["java", "-Xmx256m", "-cp", path, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(WORK / "zoo.cfg")])
    client = KazooClient(hosts=f"127.0.0.1:{port}", timeout=10)
    wait_for("ZooKeeper", lambda: client.start(timeout=5) or True)
    return port, client


def properties(zookeeper_port, chroot, port, data):
    return {"broker.id": "1", "listeners": f"PLAINTEXT://127.0.0.1:{port}", "log.dirs": str(data),
            "zookeeper.connect": f"127.0.0.1:{zookeeper_port}{chroot}", "zookeeper.session.timeout.ms": "6000",
            "offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "3",
            "inter.broker.protocol.version": "3.9"}


def start(kind, zookeeper_port, chroot, port, data):
    config = properties(zookeeper_port, chroot, port, data)
    if kind == "ours":
        config.pop("inter.broker.protocol.version")
        command = [BINARY, "server"]
        for key, value in config.items():
            command += ["--override", f"{key}={value}"]
    else:
        file = WORK / f"apache-{port}.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in config.items()))
        path = jars("kafka-3.9.2", "org.apache.kafka:kafka_2.13:3.9.2")
        command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", path, "kafka.Kafka", str(file)]
    process = spawn(f"{kind}{chroot.replace('/', '-')}", command)
    wait_for(f"broker ({kind})", lambda: process.poll() is not None or admin(port).describe_cluster()["controller_id"] == 1)
    if process.poll() is not None:
        wait_for(f"broker ({kind})", lambda: False, 0)
    return process


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait(40)


def admin(port):
    return KafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}", request_timeout_ms=20000)


def ask(port):
    client = admin(port)
    client.create_topics([NewTopic("plain", 1, 1), NewTopic("set.up", 3, 1, topic_configs={"retention.ms": "60000"}),
                          NewTopic("by_hand", -1, -1, replica_assignments={0: [1], 1: [1]}), NewTopic("goes", 2, 1)], timeout_ms=15000)
    client.create_partitions({"plain": NewPartitions(3)}, timeout_ms=15000)
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "plain", {"max.message.bytes": "2000", "cleanup.policy": "compact"})])
    client.alter_configs([ConfigResource(ConfigResourceType.BROKER, "1", {"log.cleaner.threads": "2"})])
    client.delete_topics(["goes"], timeout_ms=15000)
    client.close()


def tree(client, root, path=""):
    data, stat = client.get((root + path) or "/")
    yield path or "/", data, stat
    for child in sorted(client.get_children((root + path) or "/")):
        yield from tree(client, root, f"{path}/{child}")


# Order inside a hash map of Scala's, and what comes and goes by itself.
IGNORED = re.compile(r"/config/changes/.*|/consumers/.*|/zookeeper.*|/odradek.*")


def normal(path, data):
    if data is None:
        return None
    text = data.decode()
    text = re.sub(r'("timestamp":)"\d+"', r'\1"TIME"', text)
    text = re.sub(r'("(?:topic_id|id)":)"[A-Za-z0-9_-]{22}"', r'\1"ID"', text)
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST:PORT", text)
    text = re.sub(r'("port":)\d+', r"\1PORT", text)
    text = text.replace(',"odradek_shrinks_itself":true', "")  # our brokers' word to a controller of ours, which Apache's does not read
    if path == "/latest_producer_id_block" and text:
        text = re.sub(r'"\d+"', '"N"', text)
    if path.startswith("/config/") and text.startswith("{"):
        value = json.loads(text)
        value["config"] = dict(sorted(value["config"].items()))
        text = json.dumps(value, separators=(",", ":"))
    return text


def snapshot(client, chroot):
    found = {}
    for path, data, stat in tree(client, chroot):
        if IGNORED.fullmatch(path):
            continue
        found[path] = (normal(path, data), stat.version, bool(stat.ephemeralOwner))
    return found


def compare(ours, theirs):
    differences = 0
    for path in sorted(set(ours) | set(theirs)):
        a, b = ours.get(path), theirs.get(path)
        if a == b:
            continue
        differences += 1
        print(f"DIFFERS {path}\n   ours   {a}\n   theirs {b}")
    return differences


def states(client, chroot):
    return {path: json.loads(data) for path, data, _ in tree(client, chroot) if path.endswith("/state")}


def main():
    zookeeper_port, client = start_zookeeper()
    ports = {"ours": free_port(), "theirs": free_port()}
    running = {kind: start(kind, zookeeper_port, f"/{kind}", ports[kind], WORK / f"data-{kind}") for kind in ports}
    for kind in ports:
        ask(ports[kind])
        wait_for("deletion", lambda kind=kind: not client.exists(f"/{kind}/admin/delete_topics/goes"), 30)
    time.sleep(1)
    found = {kind: snapshot(client, f"/{kind}") for kind in ports}
    print(f"{len(found['ours'])} znodes of ours, {len(found['theirs'])} of Apache's")
    differences = compare(found["ours"], found["theirs"])
    notices = {kind: sorted(client.get(f"/{kind}/config/changes/{name}")[0] for name in client.get_children(f"/{kind}/config/changes"))
               for kind in ports}
    if notices["ours"] != notices["theirs"]:
        differences += 1
        print("DIFFERS /config/changes", notices)

    # Each takes over what the other wrote: same broker id, same log directories.
    before = {kind: states(client, f"/{kind}") for kind in ports}
    for process in running.values():
        stop(process)
    swapped = {"ours": "theirs", "theirs": "ours"}
    for kind, other in swapped.items():
        running[kind] = start(kind, zookeeper_port, f"/{other}", ports[kind], WORK / f"data-{other}")
        names = {t for t in admin(ports[kind]).list_topics() if not t.startswith("__")}
        if names != {"plain", "set.up", "by_hand"}:
            differences += 1
            print(f"DIFFERS {kind} on the znodes of the other sees topics {sorted(names)}")
        wait_for("leaders", lambda other=other: all(s["leader"] == 1 for s in states(client, f"/{other}").values()), 30)
        after = states(client, f"/{other}")
        if {p: s["isr"] for p, s in after.items()} != {p: s["isr"] for p, s in before[other].items()}:
            differences += 1
            print(f"DIFFERS {kind} changed ISRs: {after}")
        fresh = admin(ports[kind])
        fresh.create_topics([NewTopic("later", 2, 1)], timeout_ms=15000)
        fresh.delete_topics(["by_hand"], timeout_ms=15000)
        wait_for("deletion", lambda other=other: not client.exists(f"/{other}/brokers/topics/by_hand"), 30)
        print(f"{kind} took over what {other} wrote")
    for process in running.values():
        stop(process)
    print("differences:", differences)
    return 1 if differences else 0


if __name__ == "__main__":
    try:
        status = main()
    finally:
        for p in processes:
            if p.poll() is None:
                p.kill()
    sys.exit(status)
