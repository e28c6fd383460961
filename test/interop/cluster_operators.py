"""cluster_operators [KINDS] [KEEPER]: our command line on a cluster of Apache's brokers or of ours.

Status and troubles as brokers come and go, balance (throttled, interrupted, found again), drain and undrain, reassignments, more
replicas and fewer, cancelling, elections preferred and unclean; each checked in the znodes, not by the same program.
"""
import json
import signal
import subprocess
import sys
import time

from cluster import BINARY, WORK, Cluster, wait_for

KINDS = sys.argv[1].split(",") if len(sys.argv) > 1 else ["ours", "ours", "ours"]
KEEPER = sys.argv[2] if len(sys.argv) > 2 else "ours"
children = []


def run(*words, expect=0, given=None):
    began = time.monotonic()
    done = subprocess.run([BINARY, *words, "-b", cluster.bootstrap, "-o", "json"], input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == expect, f"{' '.join(words)}: {done.returncode}\n{done.stdout[-800:]}{done.stderr[-800:]}"
    run.seconds = time.monotonic() - began
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stderr


def start(words, **options):
    children.append(subprocess.Popen(words, **options))
    return children[-1]


def replicas(topic):
    return {at[1]: state[0] for at, state in sorted(cluster.states().items()) if at[0] == topic}


def leaders(topic):
    return {at[1]: state[1] for at, state in sorted(cluster.states().items()) if at[0] == topic}


def holds():
    counts = {node.number: 0 for node in cluster.nodes}
    for state in cluster.states().values():
        for broker in state[0]:
            counts[broker] += 1
    return counts


def status():
    return run("cluster", "status")["items"][0]


def configs(path):
    content, _ = cluster.get(path)
    return {key: value for key, value in (content or {"config": {}})["config"].items() if "throttled" in key}


def said(what):
    print(f"{','.join(KINDS)} on {KEEPER}: {what}", flush=True)


def fill(topic, partitions):
    """Every partition gets more bytes than the one fetch that a throttle lets pass."""
    for partition in range(partitions):
        lines = f"{'x' * 900}\n" * (3000 + 200 * partition)
        done = subprocess.run([BINARY, "produce", topic, "-q", "-p", str(partition), "-b", cluster.bootstrap], input=lines, text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr


def count(topic):
    return sum(item["end"] - item["start"] for item in run("topic", "describe", topic)["items"])


def create_and_balance():
    run("topic", "create", "crowd", "--assignment", "1:2,1:2,2:1,1:2,1:2,2:1", "-c", "min.insync.replicas=1")
    assert replicas("crowd") == {0: [1, 2], 1: [1, 2], 2: [2, 1], 3: [1, 2], 4: [1, 2], 5: [2, 1]}
    fill("crowd", 6)
    records = count("crowd")
    before = replicas("crowd")
    plan = run("cluster", "balance")
    assert sum(item["bytes"] for item in plan["items"]) > 0 and replicas("crowd") == before, "a dry run that is none"
    done, took = run("cluster", "balance", "--execute"), run.seconds
    assert not done["errors"], done
    cluster.wait_in_sync()
    assert set(holds().values()) == {4}, holds()
    assert sorted(leaders("crowd").values()) == [1, 1, 2, 2, 3, 3], leaders("crowd")
    assert not run("cluster", "balance")["items"] and count("crowd") == records
    said(f"balanced in {took:.2f} s, moving {sum(item['bytes'] for item in done['items'])} bytes")


def throttled_and_interrupted():
    run("topic", "reassign", "crowd", "--assignment", "1:2,1:2,2:1,1:2,1:2,2:1", "-y")
    words = [BINARY, "cluster", "balance", "--execute", "--throttle", "1MB", "-b", cluster.bootstrap]
    child = start(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for("a throttled reassignment", lambda: run("cluster", "reassignments")["items"] and configs("/config/topics/crowd"), 20)
    assert configs("/config/brokers/1") == {"leader.replication.throttled.rate": "1000000", "follower.replication.throttled.rate": "1000000"}
    moving = status()["reassignments"]
    assert moving and moving[0]["bar"] and moving[0]["adding"], moving
    child.send_signal(signal.SIGINT)
    _, why = child.communicate(timeout=20)
    assert child.returncode == 130 and "goes on" in why, (child.returncode, why)
    assert run("cluster", "reassignments")["items"], "interrupted, and the cluster did not go on"
    run("cluster", "balance", "--execute")
    assert not run("cluster", "reassignments")["items"]
    assert not configs("/config/topics/crowd") and not any(configs(f"/config/brokers/{n}") for n in (1, 2, 3)), "the throttle stayed"
    cluster.wait_in_sync()
    assert set(holds().values()) == {4}, holds()
    said("a throttled balance was interrupted, found again, and its throttle taken off")


def drain_and_undrain():
    run("broker", "drain", "1", expect=2)  # nobody to ask
    run("broker", "drain", "1", "--leaders-only", "-y")
    cluster.wait_in_sync()
    assert 1 not in leaders("crowd").values() and holds()[1] == 4
    run("broker", "undrain", "1", "-y")
    cluster.wait_in_sync()
    assert 1 in leaders("crowd").values()
    run("broker", "drain", "1", "-y")
    cluster.wait_in_sync()
    assert holds()[1] == 0, holds()
    assert [item["holds"] for item in run("broker", "list")["items"]] == [0, 6, 6]
    run("broker", "undrain", "1", "-y")
    cluster.wait_in_sync()
    assert set(holds().values()) == {4} and 1 in leaders("crowd").values(), holds()
    run("broker", "drain", "7", "-y", expect=2)
    said("broker 1 was drained, and has its share again")


def more_and_fewer():
    run("topic", "reassign", "crowd", "-r", "3", "-y")
    cluster.wait_in_sync()
    assert all(sorted(r) == [1, 2, 3] for r in replicas("crowd").values())
    run("broker", "drain", "2", "-y", expect=1)  # no room
    run("topic", "reassign", "crowd", "-r", "4", "-y", expect=1)
    run("topic", "reassign", "crowd", "-r", "2", "-y")
    cluster.wait_in_sync()
    assert all(len(r) == 2 for r in replicas("crowd").values()) and set(holds().values()) == {4}
    run("topic", "alter", "crowd", "-p", "7")
    assert len(run("topic", "describe", "crowd")["items"]) == 7
    said("three replicas, two again, a seventh partition")


def cancel():
    before = replicas("crowd")
    spare = ({1, 2, 3} - set(before[5])).pop()
    run("config", "set", "-t", "crowd", "follower.replication.throttled.replicas=*")
    run("config", "set", "--broker", str(spare), "follower.replication.throttled.rate=1000")
    words = ",".join(":".join(map(str, [spare, before[5][0]] if n == 5 else r)) for n, r in before.items())
    run("topic", "reassign", "crowd", "--assignment", words, "-y", "--no-wait")
    assert run("cluster", "reassignments", "-t", "crowd:5")["items"] and not run("cluster", "reassignments", "-t", "crowd:1")["items"]
    run("cluster", "reassignments", "--cancel", "-y")
    assert not run("cluster", "reassignments")["items"]
    run("config", "unset", "-t", "crowd", "follower.replication.throttled.replicas")
    run("config", "unset", "--broker", str(spare), "follower.replication.throttled.rate")
    cluster.wait_in_sync()
    assert replicas("crowd") == before, (before, replicas("crowd"))
    said("a reassignment was cancelled")


def troubles():
    assert run("cluster", "status", "--check")["items"][0]["healthy"]
    words = [BINARY, "cluster", "status", "--watch", "--interval", "200ms", "-o", "jsonl", "-b", cluster.bootstrap]
    out = WORK / "watch"
    watch = start(words, stdout=open(out, "w"), stderr=subprocess.DEVNULL)
    victim = cluster.nodes[cluster.controller() - 1]
    victim.kill()
    wait_for("another controller", lambda: cluster.controller() not in (None, victim.number))
    wait_for("a page about a broker that is down", lambda: status()["brokersDown"] == 1 and status()["underReplicated"] > 0, 30)
    page = run("cluster", "status", "--check", expect=1)["items"][0]
    assert page["controller"] == cluster.controller() and page["troubles"], page
    assert all(victim.number in item["replicas"] for item in page["troubles"] if item["trouble"] == "under-replicated")
    assert run("topic", "describe", "crowd", "--trouble")["items"]
    run("topic", "create", "during", "-p", "1", "-r", "1", "-c", "min.insync.replicas=1")
    victim.start()
    cluster.wait_in_sync()
    run("cluster", "elect")
    cluster.wait_in_sync()
    assert all(leader == replicas("crowd")[n][0] for n, leader in leaders("crowd").items())
    wait_for("a page on which all is well", lambda: '"healthy":true' in out.read_text().splitlines()[-1], 30)
    watch.send_signal(signal.SIGINT)
    assert watch.wait(10) == 0
    pages = [json.loads(line) for line in out.read_text().splitlines()]
    assert any(not page["healthy"] for page in pages) and not run("cluster", "elect")["items"]
    said(f"a controller died and came back; {len(pages)} pages of status")


def unclean():
    run("topic", "create", "torn", "--assignment", "1:2", "-c", "min.insync.replicas=1", "-c", "unclean.leader.election.enable=false")
    one, two = cluster.nodes[0], cluster.nodes[1]
    two.stop()
    wait_for("an ISR of one", lambda: cluster.states()["torn", 0][2] == [1])
    one.stop()
    two.start()
    offline = wait_for("a partition without a leader", lambda: [t for t in status()["troubles"] if t["topic"] == "torn" and t["leader"] < 0], 30)
    assert offline[0] == {"trouble": "offline", "topic": "torn", "partition": 0, "leader": -1, "replicas": [1, 2], "isr": [1], "minIsr": 1}
    run("cluster", "elect", "--unclean", "-t", "torn:1", "-y")
    assert leaders("torn")[0] == -1
    run("cluster", "elect", "--unclean", "-t", "torn", expect=2)
    run("cluster", "elect", "--unclean", "-t", "torn", "-y")
    wait_for("an unclean leader", lambda: leaders("torn")[0] == 2)
    one.start()
    cluster.wait_in_sync()
    said("an unclean election, when it was asked for")


with Cluster(KINDS, KEEPER) as cluster:
    try:
        cluster.start()
        for part in (create_and_balance, throttled_and_interrupted, drain_and_undrain, more_and_fewer, cancel, troubles, unclean):
            part()
        cluster.stop()
        assert cluster.same_bytes() > 0
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
                child.wait()
print("ok")
