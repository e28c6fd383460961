"""cluster_badday KEEPER [--away SECONDS]: three brokers of ours under an idempotent producer and a group, on a bad day.

The ensemble goes for longer than any session lasts; a follower's and a leader's disk is full (root only: a small file system of its
own); znodes are edited by hand into nonsense. Each is said by a broker in words that name it, data keeps flowing where leaders
stand, and in the end nothing acknowledged is lost and all replicas are byte for byte the same. KEEPER is apache or ours.

By hand: WORK=$(mktemp -d) BINARY=build/odradek test/interop/cluster_badday.py ours
"""
import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import time

from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.exceptions import NoNodeError

from cluster import SESSION_MS, Cluster, wait_for
from cluster_load import Load

DISK = "256m"  # of a broker that is to run out of it


def said(cluster, since, pattern, nodes=None):
    """Lines of warning or error of these brokers, beyond where their logs ended before."""
    found = []
    for node in nodes or cluster.nodes:
        text = (node.directory / "log").read_text(errors="replace")[since[node.number]:]
        found += [line for line in text.splitlines() if re.search(r"level=(warn|error)", line) and re.search(pattern, line)]
    return found


def ends(cluster):
    return {node.number: (node.directory / "log").stat().st_size for node in cluster.nodes}


def flows(load, what, more=100, seconds=30):
    before = load.count
    wait_for(f"acknowledged records while {what}", lambda: load.check() or load.count > before + more, seconds)


def keeper_away(cluster, load, seconds):
    since, load.longest_gap = ends(cluster), 0.0
    cluster.keeper.end(signal.SIGKILL)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        flows(load, "the keeper is away")
    quiet = load.longest_gap
    cluster.keeper.start()
    cluster.wait_in_sync()
    assert quiet < 2, f"{quiet:.1f} s without an acknowledged record while the keeper was away"
    assert said(cluster, since, "no keeper has answered"), "no broker says that the keeper is away"
    print(f"the keeper was away for {seconds:.0f} s: longest silence {quiet:.1f} s; said: {said(cluster, since, 'no keeper')[0]}", flush=True)


def leader_of(cluster, topic, partition):
    return cluster.states()[topic, partition][1]


def prefer(cluster):
    """Every partition is led by its first replica again."""
    def is_preferred():
        return all(leader == replicas[0] for replicas, leader, *_ in cluster.states().values())

    if not is_preferred():
        names = sorted({topic for topic, _ in cluster.states()})
        cluster.zk.create("/admin/preferred_replica_election", json.dumps({"version": 1, "partitions": [
            {"topic": topic, "partition": partition} for topic, partition in cluster.states() if topic in names]}).encode())
    wait_for("preferred leaders", is_preferred)


def disk_full(cluster, load, node):
    """It follows two partitions and leads one: those go on, this one waits, and none is lost."""
    since = ends(cluster)
    led = [partition for partition in range(load.partitions) if leader_of(cluster, load.topic, partition) == node.number]
    assert 0 < len(led) < load.partitions, f"broker {node} leads {led}"

    def acknowledged(partitions):
        load.check()
        return sum(len(load.acknowledged[partition]) for partition in partitions)

    others = [partition for partition in range(load.partitions) if partition not in led]
    filling = node.data / "filling"
    with contextlib.suppress(OSError), open(filling, "wb") as file:
        while True:
            file.write(b"x" * 65536)
    wait_for("the word of a full disk", lambda: said(cluster, since, "no space left", [node]), 60)
    before = acknowledged(others)
    wait_for("records of partitions that have room elsewhere", lambda: acknowledged(others) > before + 100)
    assert node.is_running(), f"broker {node} ended over a full disk"
    before = acknowledged(led)
    filling.unlink()
    wait_for("records once there is room again", lambda: acknowledged(led) > before + 100)
    cluster.wait_in_sync()
    print(f"the disk of broker {node} was full; said: {said(cluster, since, 'no space left', [node])[0]}", flush=True)


def nonsense(cluster, load):
    number = 0
    for path, pattern in [("/brokers/topics/edited/partitions/0/state", "edited"), ("/brokers/topics/edited", "edited"),
                          ("/config/topics/edited", "edited"), ("/controller", "/controller"), ("/controller_epoch", "controller.epoch"),
                          ("/brokers/ids/3", "broker 3|ids/3"), ("/feature", "feature"),
                          ("/admin/reassign_partitions", "reassign_partitions"), ("/admin/preferred_replica_election", "preferred_replica"),
                          ("/config/changes/config_change_", "config_change|change")]:
        since = ends(cluster)
        is_new, made = not cluster.zk.exists(path), path
        before = None if is_new else cluster.zk.get(path)[0]
        if is_new:
            made = cluster.zk.create(path, b'{"nonsense', sequence=path.endswith("_"))
        else:
            cluster.zk.set(path, b'{"nonsense')
        time.sleep(0.5)
        # What is read only at a fail-over is read now.
        with contextlib.suppress(NoNodeError):
            if path != "/controller":
                cluster.zk.delete("/controller")
        if path == "/config/topics/edited":
            cluster.zk.create("/config/changes/config_change_", b'{"version":2,"entity_path":"topics/edited"}', sequence=True)
        flows(load, f"{path} is nonsense")
        if path == "/brokers/ids/3":
            time.sleep(1)
        with contextlib.suppress(NoNodeError):
            if is_new:
                cluster.zk.delete(made)
            else:
                cluster.zk.set(path, before)
        words = said(cluster, since, pattern)
        assert all(node.is_running() for node in cluster.nodes), f"a broker ended over {path}"
        with contextlib.suppress(NoNodeError):  # a new controller reads what was put right
            if path != "/controller_epoch":
                cluster.zk.delete("/controller")
        number += 1
        name = f"after-{number}"
        wait_for(f"a controller at work after {path}", lambda name=name: created(cluster, name), 40)
        cluster.wait_in_sync()
        flows(load, f"{path} is put right")
        print(f"{path}: {words[0] if words else 'nothing'}", flush=True)
        assert words, f"nobody says a word of {path}"


def created(cluster, name):
    try:  # librdkafka keeps to the controller that it found first
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        admin.create_topics([NewTopic(name, 1, 3)], operation_timeout=5, request_timeout=6)[name].result(8)
    except Exception as problem:  # noqa: BLE001: whatever it is, it is asked again
        return "ALREADY_EXISTS" in str(problem)
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("keeper")
    parser.add_argument("--away", type=float, default=SESSION_MS / 1000 * 3, help="seconds without a keeper")
    parser.add_argument("--only", help="keeper,disk,znodes")
    options = parser.parse_args()
    wanted = (options.only or "keeper,disk,znodes").split(",")
    with Cluster(["ours"] * 3, options.keeper) as cluster, contextlib.ExitStack() as after:
        small = cluster.nodes[1]
        has_disk = "disk" in wanted and os.geteuid() == 0
        if has_disk:
            small.data.mkdir()
            has_disk = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(small.data)], check=False).returncode == 0
        if has_disk:
            after.callback(subprocess.run, ["umount", "-l", str(small.data)], check=False)
        cluster.start()
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        admin.create_topics([NewTopic("bad", 3, 3), NewTopic("edited", 1, 3)])["bad"].result(30)
        cluster.wait_in_sync()
        load = Load(cluster, "bad", 3, rate=200)
        load.start()
        wait_for("first records", lambda: load.check() or load.count > 100)
        if "keeper" in wanted:
            keeper_away(cluster, load, options.away)
        if has_disk:
            prefer(cluster)
            disk_full(cluster, load, small)
        if "znodes" in wanted:
            nonsense(cluster, load)
        load.end(with_java=False)
        cluster.wait_in_sync()
        cluster.stop()
        total = cluster.same_bytes()
        print(f"on {options.keeper}: {load.count} records acknowledged and found, {total} bytes the same on all replicas")


if __name__ == "__main__":
    main()
