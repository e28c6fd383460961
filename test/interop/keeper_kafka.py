"""keeper_kafka [KEEPER] [KINDS]: three brokers, Apache Kafka 3.9.2 unless told otherwise, on keepers: "ours" is one, "ours*3" an ensemble.

One producer and one group work all the while. A topic is created and its replicas are moved, a broker is killed (kill -9) and comes
back, the keepers' leader is killed and comes back, all keepers are restarted, then all of it, brokers and keepers at once. After each
every ISR must be whole, and in the end nothing acknowledged is lost or doubled, and all replicas have the same bytes.
"""
import signal
import subprocess
import sys
import time

from cluster import BINARY, Cluster, wait_for
from cluster_load import Load
from wire_keeper import Ensemble

KEEPER = sys.argv[1] if len(sys.argv) > 1 else "ours*3"
KINDS = sys.argv[2].split(",") if len(sys.argv) > 2 else ["apache", "apache", "apache"]
PARTITIONS = 3


def run(*words):
    done = subprocess.run([BINARY, *words, "-b", cluster.bootstrap], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout[-800:]}{done.stderr[-800:]}"


def replicas(topic):
    return {at[1]: state[0] for at, state in sorted(cluster.states().items()) if at[0] == topic}


def goes_on(what):
    before = load.count
    wait_for(f"answers after {what}", lambda: load.count > before + 20, 60)
    took = cluster.wait_in_sync(90)
    load.check()
    print(f"{','.join(KINDS)} on {KEEPER}: {what}; whole again after {took:.1f} s, {load.count} records, longest gap {load.longest_gap:.2f} s", flush=True)
    load.longest_gap = 0.0


def move():
    run("topic", "create", "moved", "--assignment", "1:2,2:3,3:1", "-c", "min.insync.replicas=1")
    assert replicas("moved") == {0: [1, 2], 1: [2, 3], 2: [3, 1]}
    run("topic", "reassign", "moved", "--assignment", "2:3,3:1,1:2", "-y")
    wait_for("end of the reassignment", lambda: replicas("moved") == {0: [2, 3], 1: [3, 1], 2: [1, 2]}, 60)
    goes_on("a topic is created and moved")


def kill_broker():
    node = cluster.nodes[1]
    node.kill()
    wait_for("end of its session", lambda: not cluster.registration(node.number), 30)
    node.start()
    goes_on("a broker was killed")


def kill_keepers_leader():
    if not isinstance(cluster.keeper, Ensemble):
        cluster.keeper.restart(signal.SIGKILL)
        goes_on("the keeper was killed")
        return
    leader = cluster.keeper.leader()
    leader.kill()
    wait_for("new leader of the keepers", cluster.keeper.leader, 30)
    goes_on("the keepers' leader was killed")
    leader.begin()
    cluster.keeper.wait_whole()


def restart_keepers():
    epochs = [cluster.registration(node.number)[0] for node in cluster.nodes]
    cluster.keeper.restart(signal.SIGKILL)
    goes_on("all keepers were killed")
    assert [cluster.registration(node.number)[0] for node in cluster.nodes] == epochs, "brokers had to register again"


def restart_everything():
    for node in cluster.nodes:
        node.process.send_signal(signal.SIGKILL)
    cluster.keeper.restart(signal.SIGKILL)
    for node in cluster.nodes:
        node.process.wait()
    for node in cluster.nodes:
        node.begin()
    for node in cluster.nodes:
        wait_for(f"broker {node}", node.is_ready, 90)
    goes_on("brokers and keepers were killed")


began = time.monotonic()
with Cluster(KINDS, KEEPER) as cluster:
    cluster.start()
    run("topic", "create", "work", "-p", str(PARTITIONS), "-r", "3")
    load = Load(cluster, "work", PARTITIONS, rate=150)
    load.start()
    goes_on("a topic is created")
    for step in (move, kill_broker, kill_keepers_leader, restart_keepers, restart_everything):
        step()
    load.end(with_java=False)
    cluster.wait_in_sync()
    cluster.stop()
    print(f"{','.join(KINDS)} on {KEEPER}: {cluster.same_bytes()} bytes are the same on all replicas; {time.monotonic() - began:.0f} s", flush=True)
