"""cluster_tools VERSION [KINDS] [KEEPER] [PARTS]: what people do to a cluster with Apache's own tools of 3.9.2 or 4.3.1, and what must come of it.

Topics with assignments, reassignments (generate, execute under a throttle, list, verify, cancel), preferred and unclean elections,
configs, log directories; the replica verification of 3.9.2; a reassignment of 1,000 partitions under load.
"""
import json
import re
import subprocess
import sys
import time

from confluent_kafka import Producer

from cluster import JAVA, WORK, Cluster, kafka_jars, wait_for
from cluster_load import Load

VERSION = sys.argv[1] if len(sys.argv) > 1 else "3.9.2"
KINDS = sys.argv[2].split(",") if len(sys.argv) > 2 else ["ours", "ours", "ours"]
KEEPER = sys.argv[3] if len(sys.argv) > 3 else "ours"
PARTS = sys.argv[4].split(",") if len(sys.argv) > 4 else ["reassign", "elections", "looks", "many"]
MANY = 1000


def command(cluster, name, *words):
    name = {"topics": "org.apache.kafka.tools.TopicCommand", "configs": "kafka.admin.ConfigCommand",
            "reassign": "org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "elect": "org.apache.kafka.tools.LeaderElectionCommand",
            "log-dirs": "org.apache.kafka.tools.LogDirsCommand", "verify": "org.apache.kafka.tools.ReplicaVerificationTool"}[name]
    servers = "--broker-list" if name.endswith("VerificationTool") else "--bootstrap-server"
    return [*JAVA, "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", kafka_jars(VERSION), name, servers, cluster.bootstrap,
            *map(str, words)]


def tool(cluster, name, *words, expect=""):
    done = subprocess.run(command(cluster, name, *words), capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and re.search(expect, said, re.S), f"{name} {' '.join(map(str, words))}: {done.returncode}\n{said[-1500:]}"
    return done.stdout


def file(name, content):
    (WORK / name).write_text(json.dumps(content))
    return WORK / name


def plan(topic, replicas_of):
    return file("plan.json", {"version": 1, "partitions": [{"topic": topic, "partition": number, "replicas": replicas}
                                                           for number, replicas in replicas_of.items()]})


def replicas(cluster, topic="moved"):
    return {at[1]: state[0] for at, state in cluster.states().items() if at[0] == topic}


def leaders(cluster, topic="moved"):
    return {at[1]: state[1] for at, state in cluster.states().items() if at[0] == topic}


def said(what):
    print(f"{VERSION}: {what}", flush=True)


def topics(cluster):
    tool(cluster, "topics", "--create", "--topic", "moved", "--replica-assignment", "1:2,2:3,3:1,1:3", "--config", "retention.ms=99999999",
         expect="Created topic moved")
    assert replicas(cluster) == {0: [1, 2], 1: [2, 3], 2: [3, 1], 3: [1, 3]}
    out = tool(cluster, "topics", "--describe", "--topic", "moved", expect="PartitionCount: 4.*ReplicationFactor: 2.*retention.ms=99999999")
    assert re.search(r"Partition: 1\s+Leader: 2\s+Replicas: 2,3\s+Isr: 2,3", out), out
    tool(cluster, "topics", "--alter", "--topic", "moved", "--partitions", "5", "--replica-assignment", "1:2,2:3,3:1,1:3,2:1")
    wait_for("fifth partition", lambda: leaders(cluster).get(4) == 2)
    out = tool(cluster, "topics", "--describe", "--under-replicated-partitions")
    assert out.strip() == "", out
    said("topics")


def fill(cluster, megabytes):
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 20, "log_level": 0})
    failed = []
    for i in range(megabytes * 100):
        producer.produce("moved", bytes(10000), partition=i % 5, on_delivery=lambda err, _: failed.append(err) if err else None)
        producer.poll(0)
    assert producer.flush(60) == 0 and not failed, failed[:1]


def in_progress(cluster):
    return [path for path in cluster.zk.get_children("/brokers/topics") if cluster.get(f"/brokers/topics/{path}")[0].get("adding_replicas")]


def configured(cluster, entity):
    content, _ = cluster.get(f"/config/{entity}")
    return {key for key in (content or {"config": {}})["config"] if "throttled" in key}


def reassign(cluster):
    wanted = file("topics.json", {"version": 1, "topics": [{"topic": "moved"}]})
    out = tool(cluster, "reassign", "--generate", "--topics-to-move-json-file", wanted, "--broker-list", "1,2,3", expect="Proposed partition")
    assert len(json.loads(out.strip().splitlines()[-1])["partitions"]) == 5, out

    moves = {0: [3, 2], 1: [2, 1], 2: [1, 2], 3: [2, 3], 4: [3, 2]}
    began = time.monotonic()
    tool(cluster, "reassign", "--execute", "--reassignment-json-file", plan("moved", moves), "--throttle", 1000000, expect="Successfully started")
    tool(cluster, "reassign", "--list", expect="moved-0: replicas: .*adding: 3.*removing: 1")
    assert configured(cluster, "topics/moved") == {"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"}
    assert configured(cluster, "brokers/1") >= {"leader.replication.throttled.rate", "follower.replication.throttled.rate"}
    tool(cluster, "reassign", "--verify", "--reassignment-json-file", plan("moved", moves), expect="is still in progress")
    assert in_progress(cluster) == ["moved"], "the throttle holds nothing back"
    slow = time.monotonic() - began
    tool(cluster, "reassign", "--execute", "--additional", "--reassignment-json-file", plan("moved", moves), "--throttle", 200000000)
    wait_for("end of the reassignment", lambda: not in_progress(cluster) and replicas(cluster) == moves, 60)
    tool(cluster, "reassign", "--verify", "--reassignment-json-file", plan("moved", moves), expect="Reassignment of partition moved-0 is completed")
    assert not configured(cluster, "topics/moved") and not configured(cluster, "brokers/1"), "verify leaves throttles"
    cluster.wait_in_sync()
    said(f"reassign: held back for {slow:.1f} s at 1 MB/s, done {time.monotonic() - began - slow:.1f} s after the throttle was raised")

    back = {0: [1, 2], 1: [2, 3], 2: [3, 1], 3: [1, 3], 4: [2, 1]}
    tool(cluster, "reassign", "--execute", "--reassignment-json-file", plan("moved", back), "--throttle", 100000, expect="Successfully started")
    tool(cluster, "reassign", "--cancel", "--reassignment-json-file", plan("moved", back), expect="Successfully cancelled")
    # In which order, that is left open: Apache puts the target's replicas first and keeps that.
    wait_for("old assignment", lambda: not in_progress(cluster) and {at: set(rs) for at, rs in replicas(cluster).items()} == {
        at: set(rs) for at, rs in moves.items()})
    cluster.wait_in_sync()

    def directories():
        return {(node.number, at) for node in cluster.nodes for at in moves if (node.data / f"moved-{at}").is_dir()}

    wait_for(lambda: f"directories {moves}, there are {directories()}", lambda: directories() == {(r, at) for at, rs in moves.items() for r in rs})
    said("cancel")


def elections(cluster):
    cluster.nodes[1].stop()
    cluster.nodes[1].start()
    cluster.wait_in_sync()
    preferred = {at: replicas[0] for at, replicas in replicas(cluster).items()}
    assert leaders(cluster) != preferred
    tool(cluster, "elect", "--election-type", "preferred", "--all-topic-partitions", expect="Successfully completed leader election")
    wait_for("preferred leaders", lambda: leaders(cluster) == preferred)
    tool(cluster, "elect", "--election-type", "preferred", "--topic", "moved", "--partition", "0", expect="Valid replica already elected")

    first, last = replicas(cluster)[0]
    cluster.nodes[first - 1].kill()
    wait_for("ISR of one", lambda: cluster.states()["moved", 0][2] == [last], 30)
    cluster.nodes[last - 1].kill()
    wait_for("no leader", lambda: leaders(cluster)[0] == -1, 30)
    cluster.nodes[first - 1].start()
    wait_for("the cluster's agreement", lambda: cluster.controller() is not None and cluster.registration(first), 30)
    assert leaders(cluster)[0] == -1
    tool(cluster, "elect", "--election-type", "unclean", "--topic", "moved", "--partition", "0", expect="Successfully completed leader election")
    assert leaders(cluster)[0] == first
    cluster.nodes[last - 1].start()
    cluster.wait_in_sync()
    said("elections, preferred and unclean")


def looks(cluster):
    tool(cluster, "configs", "--alter", "--entity-type", "topics", "--entity-name", "moved", "--add-config", "min.insync.replicas=1")
    tool(cluster, "configs", "--describe", "--entity-type", "topics", "--entity-name", "moved", expect="min.insync.replicas=1")
    tool(cluster, "configs", "--alter", "--entity-type", "brokers", "--entity-name", "2", "--add-config", "message.max.bytes=2000000")
    tool(cluster, "configs", "--describe", "--entity-type", "brokers", "--entity-name", "2", expect="message.max.bytes=2000000")
    tool(cluster, "configs", "--alter", "--entity-type", "brokers", "--entity-name", "2", "--delete-config", "message.max.bytes")
    out = tool(cluster, "log-dirs", "--describe", "--broker-list", "1,2,3", "--topic-list", "moved")
    found = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
    seen = {(broker["broker"], part["partition"]): part for broker in found["brokers"] for dir in broker["logDirs"] for part in dir["partitions"]}
    assert set(seen) == {(r, f"moved-{at}") for at, rs in replicas(cluster).items() for r in rs}, sorted(seen)
    assert all(part["offsetLag"] == 0 and part["size"] > 0 for part in seen.values()), seen
    said("configs, log-dirs")
    if VERSION.startswith("3."):
        process = subprocess.Popen(command(cluster, "verify", "--topics-include", "moved", "--report-interval-ms", "1000"),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            lines = []
            while sum("max lag is 0 for partition" in line for line in lines) < 2:
                line = process.stdout.readline()
                assert line and "lag is" not in line.replace("max lag is 0 for", ""), "".join(lines[-10:]) + line
                lines.append(line)
        finally:
            process.kill()
            process.wait()
        said("replica-verification: no lag")


def many(cluster):
    """1,000 partitions change their broker while a producer and a group go on."""
    assignment = ",".join("1" if number % 2 else "2" for number in range(MANY))
    tool(cluster, "topics", "--create", "--topic", "many", "--replica-assignment", assignment)
    tool(cluster, "topics", "--create", "--topic", "load", "--partitions", 3, "--replication-factor", 3, "--config", "min.insync.replicas=2")
    cluster.wait_in_sync()
    load = Load(cluster, "load", 3)
    load.start()
    wait_for("first records", lambda: load.check() or load.count > 100)
    moves = {number: [3] for number in range(MANY)}
    tool(cluster, "reassign", "--execute", "--reassignment-json-file", plan("many", moves), expect="Successfully started")
    began = time.monotonic()
    wait_for("1,000 partitions on broker 3", lambda: not in_progress(cluster) and set(leaders(cluster, "many").values()) == {3}, 240)
    took = time.monotonic() - began
    cluster.wait_in_sync()
    load.end()
    said(f"{MANY} partitions moved {took:.1f} s after the tool was done, under load: {load.count} records, longest silence {load.longest_gap:.2f} s")


with Cluster(KINDS, KEEPER, {"offsets.topic.replication.factor": 3, "min.insync.replicas": 1}) as cluster:
    cluster.start()
    topics(cluster)
    fill(cluster, 30)
    for part in PARTS:
        globals()[part](cluster)
    cluster.wait_in_sync()
    cluster.stop()
    print(f"{cluster.same_bytes()} bytes the same on all replicas")
