"""cluster_mixed KINDS KEEPER [--faults ...]: three brokers of any mix, under an idempotent producer and a group, have every fault in turn.

KINDS is like ours,apache,apache; KEEPER is apache or ours, or an ensemble: ours*3. With the controller forced to each kind that is there, every broker is
stopped, killed, paused past its session, cut off (root only), replaced by the other kind on the same directory, and back; and the
keeper is killed under load.
At the end: every acknowledged record once, in order, at its offset, for librdkafka and for Java; all replicas byte for byte the same.

By hand: WORK=$(mktemp -d) BINARY=build/odradek test/interop/cluster_mixed.py ours,apache,apache apache
"""
import argparse
import os
import signal
import time

from confluent_kafka.admin import AdminClient, NewTopic

from cluster import SESSION_MS, Cluster, wait_for
from cluster_load import Load

OTHER = {"ours": "apache", "apache": "ours"}
FAULTS = ["stop", "kill", "pause", "cut", "replace", "keeper"]
options = None


def without_registration(cluster, node, seconds):
    """Until its session is over, and some time more."""
    before = cluster.registration(node.number)
    wait_for(f"end of the session of broker {node}", lambda: cluster.registration(node.number) != before, SESSION_MS / 1000 + 20)
    time.sleep(seconds)


def stop(cluster, node):
    node.stop()
    node.start()


def kill(cluster, node):
    node.kill()
    node.start()


def pause(cluster, node):
    node.pause()
    without_registration(cluster, node, options.pause)
    node.resume()
    wait_for(f"broker {node} back", lambda: cluster.registration(node.number))


def cut(cluster, node):
    node.cut()
    without_registration(cluster, node, options.pause)
    node.join()
    wait_for(f"broker {node} back", lambda: cluster.registration(node.number), 90)


def replace(cluster, node):
    for how in (node.stop, node.kill):
        how()
        node.start(OTHER[node.kind])
        cluster.wait_in_sync()


def keeper(cluster, node):
    """kill -9 of the keeper, for a moment and for longer than a session lasts; leaders go on meanwhile. Not the node's own fault. Of
    an ensemble first its leader alone, then all."""
    falls = [lambda: cluster.keeper.end(signal.SIGKILL)]
    if hasattr(cluster.keeper, "members"):
        falls = [lambda: cluster.keeper.leader().kill(), cluster.keeper.kill]
    for fall in falls:
        for seconds in (0, SESSION_MS / 1000 + 2):
            fall()
            time.sleep(seconds)
            cluster.keeper.start()
            cluster.wait_in_sync()


def life(cluster, load, controllers):
    for kind in controllers:
        for node in cluster.nodes:
            for fault in options.faults.split(","):
                if fault == "cut" and not cluster.namespaces:
                    continue
                same = [other for other in cluster.nodes if other.kind == kind]
                if not same:
                    continue
                # The controller itself is next in turn where it is of this kind; else another one.
                controller = node if node in same else same[0]
                cluster.elect(controller.number)
                before, began = load.count, time.monotonic()
                load.longest_gap = 0.0
                globals()[fault](cluster, node)
                settled = cluster.wait_in_sync()
                load.check()
                wait_for("acknowledged records", lambda before=before: load.count > before, 30)
                print(f"controller {controller}, {fault} {node}: {time.monotonic() - began:.1f} s, of these {settled:.1f} s until in sync; "
                      f"{load.count} acknowledged, longest silence {load.longest_gap:.1f} s", flush=True)


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds")
    parser.add_argument("keeper")
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--controllers", help="only with a controller of these kinds")
    parser.add_argument("--pause", type=float, default=10, help="seconds beyond the end of the session")
    parser.add_argument("--no-java", action="store_true", help="not even for reading what was written")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    namespaces = "cut" in options.faults and os.geteuid() == 0 and os.path.exists("/usr/sbin/ip")
    with Cluster(kinds, options.keeper, namespaces=namespaces) as cluster:
        cluster.start()
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
        admin.create_topics([NewTopic("mixed", 3, 3)])["mixed"].result(30)
        cluster.wait_in_sync()
        load = Load(cluster, "mixed", 3)
        load.start()
        wait_for("first records", lambda: load.check() or load.count > 100)
        life(cluster, load, options.controllers.split(",") if options.controllers else sorted(set(kinds)))
        load.end(with_java=not options.no_java)
        cluster.wait_in_sync()
        cluster.stop()
        total = cluster.same_bytes()
        print(f"{options.kinds} on {options.keeper}: {load.count} records acknowledged and found, {total} bytes the same on all replicas")


if __name__ == "__main__":
    main()
