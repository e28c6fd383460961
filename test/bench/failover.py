"""failover: how long a cluster of three is without a leader, and without a controller, when one is killed with kill -9; default configurations.

    WORK=$(mktemp -d) BINARY=build/odradek ODRADEK_BENCH=../shared/bench test/bench/failover.py [--reps 10] [--partitions 1,1000] [--heap 1g] [KIND...]

KINDs: ours (on our keeper), ours-zookeeper, apache-3.9 (on ZooKeeper), apache-4.3 (KRaft, three combined nodes). They take turns.

leader      longest time without an acknowledged produce (acks=all, RF 3, one partition) around the death of its leader
controller  from the death of the controller's process until every living broker tells clients of a living leader for each of P
            partitions (RF 3), and each new leader took a produce: this broker led a third of them; KRaft with 10,000 needs --heap 3g
            (with the 1 GB that its scripts give, its brokers end with OutOfMemoryError after a few fail-overs)
cpu         CPU seconds of all three brokers per GB produced with acks=all, 1 KB records in batches of 64, RF 3, 12 partitions
"""
import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import cluster  # noqa: E402
from cluster import Cluster, kafka_jars, metadata, stable_port, wait_for  # noqa: E402

BIN = pathlib.Path(os.environ.get("ODRADEK_CACHE", pathlib.Path.home() / ".cache/odradek")) / "bench"
JAVA = ("java", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
        "-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true")
PLAIN = {key: None for key in cluster.SETTINGS}  # every setting as it comes
KINDS = {"ours": ("ours", "ours"), "ours-zookeeper": ("ours", "apache"), "apache-3.9": ("apache", "apache"), "apache-4.3": ("kraft", None)}


class KraftNode(cluster.Node):
    """Broker and controller in one process, as a cluster of three is set up without machines for controllers alone."""

    def __init__(self, owner, number):
        super().__init__(owner, number, "apache 4.3.1")
        self.controller_port = stable_port()

    def command(self):
        file = self.directory / "server.properties"
        voters = ",".join(f"{node.number}@127.0.0.1:{node.controller_port}" for node in self.cluster.nodes)
        file.write_text(f"process.roles=broker,controller\nnode.id={self.number}\ncontroller.quorum.voters={voters}\n"
                        f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}\n"
                        f"controller.listener.names=CONTROLLER\nlog.dirs={self.data}\n")
        java = [*self.cluster.java, "-cp", kafka_jars("4.3.1")]
        if not self.data.exists():
            subprocess.run([*java, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAQACAAAAAAAAAAA", "-c", str(file)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return [*java, "kafka.Kafka", str(file)]

    def begin(self, kind=None):
        self.process = subprocess.Popen(self.command(), stdout=open(self.directory / "log", "ab"), stderr=subprocess.STDOUT,
                                        cwd=self.directory, start_new_session=True)

    def is_ready(self):
        assert self.process.poll() is None, f"broker {self} ended with {self.process.returncode}"
        return self.number in metadata(self.host, self.port)[0]


class Kraft(Cluster):
    def __init__(self, java):
        self.settings, self.java, self.namespaces = {}, java, None
        self.nodes = []
        self.nodes.extend(KraftNode(self, number) for number in (1, 2, 3))

    def start(self):
        for node in self.nodes:
            node.begin()
        for node in self.nodes:
            wait_for(f"broker {node}", node.is_ready, 90)

    def controller(self):
        done = subprocess.run(["java", "-Xmx256m", "-cp", kafka_jars("4.3.1"), "org.apache.kafka.tools.MetadataQuorumCommand", "--bootstrap-server",
                               self.bootstrap, "describe", "--status"], capture_output=True, text=True)
        found = re.search(r"LeaderId:\s+(\d+)", done.stdout)
        return int(found[1]) if found else None

    def out_of_sync(self):
        missing = []
        for node in self.nodes:
            brokers, _, partitions = metadata(node.host, node.port)
            missing += [at for at, (leader, replicas, isr) in partitions.items() if leader not in replicas or len(isr) != len(replicas)]
            if len(brokers) != len(self.nodes):
                missing.append((f"broker {node} sees brokers {sorted(brokers)}", 0))
        return [f"{at[0]}-{at[1]}" for at in missing]

    def __exit__(self, kind, problem, trace):
        for node in self.nodes:
            if problem is not None:
                print(f"--- broker {node}", *node.tail(), sep="\n    ", flush=True)
            if node.is_running():
                node.kill()


def kl(system, what, *words, begin=False, **options):
    # It creates topics at the first broker: the controller, for the others only say that they are not.
    controller = node_of(system, system.controller()) if what == "topic" else system.nodes[0]
    servers = f"{controller.host}:{controller.port},{system.bootstrap}"
    command = [str(BIN / "kl"), what, "--bootstrap", servers, *words]
    for key, value in options.items():
        command += ["--" + key.replace("_", "-"), str(value)]
    if begin:
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stderr[-500:]}"
    return values(done.stdout)


def values(text):
    return {words[0]: float(words[1]) for words in map(str.split, text.splitlines()) if len(words) >= 2 and re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", words[1])}


def node_of(system, number):
    return next(node for node in system.nodes if node.number == number)


def leader_killed(system, seconds):
    """Milliseconds."""
    gap = kl(system, "gap", topic="one", seconds=seconds, begin=True)
    leader = int(next(line for line in gap.stdout if line.startswith("leader")).split()[1])
    time.sleep(2)
    node_of(system, leader).kill()
    result = values(gap.communicate()[0])
    assert result["gap_before_end"] > 0.5, "no leader until the end of the window"
    node_of(system, leader).start()
    system.wait_in_sync(120)
    return result["max_gap"]


def controller_killed(system, count, seconds):
    number = system.controller()
    dead = node_of(system, number)
    living = [node for node in system.nodes if node is not dead]
    dead.kill()
    began = time.monotonic()

    def is_over():
        for node in living:
            brokers, _, partitions = metadata(node.host, node.port, 30)
            ours = [state[0] for (topic, _), state in partitions.items() if topic.startswith("many")]
            if len(ours) != count or number in brokers or any(leader not in brokers for leader in ours):
                return False
        return True

    wait_for("new leaders", is_over, seconds)
    took = (time.monotonic() - began) * 1000
    dead.start(seconds=300)
    system.wait_in_sync(300)
    return took


def cpu(system):
    pids = ",".join(str(node.process.pid) for node in system.nodes)
    kl(system, "topic", topic="rf3", partitions=12, rf=3)
    shape = dict(topic="rf3", size=1000, batch=64, conns=3, depth=5, acks="all")
    kl(system, "produce", warm=0, seconds=15, **shape)  # as long as a JIT needs
    return [kl(system, "produce", pid=pids, warm=1, seconds=6, **shape)["server_cpu_per_GB"] for _ in range(3)]


def measure(name, options, results):
    kind, keeper = KINDS[name]
    shutil.rmtree(cluster.WORK, ignore_errors=True)
    cluster.WORK.mkdir(parents=True)
    window = {"ours": 8, "ours-zookeeper": 26, "apache-3.9": 28, "apache-4.3": 22}[name]

    def keep(what, value):
        results.setdefault((name, what), []).append(value)
        print(f"{name} {what} {value:.1f}", flush=True)

    java = (*JAVA, f"-Xms{options.heap}", f"-Xmx{options.heap}")
    with Kraft(java) if kind == "kraft" else Cluster([kind] * 3, keeper, PLAIN, java=java) as system:
        system.start()
        kl(system, "topic", topic="one", partitions=1, rf=3)
        kl(system, "produce", topic="one", size=1000, batch=1, conns=2, acks="all", warm=0, seconds=5)
        system.wait_in_sync()
        if "leader" in options.tests:
            for _ in range(options.reps):
                keep("leader", leader_killed(system, window))
        if "cpu" in options.tests:
            for value in cpu(system):
                keep("cpu", value)
        if "controller" not in options.tests:
            return
        made = 0
        for count in map(int, options.partitions.split(",")):
            while made < count:
                more = min(count - made, 1000)
                kl(system, "topic", topic=f"many{made}", partitions=more, rf=3)
                made += more
            system.wait_in_sync(300)
            for _ in range(options.reps):
                keep(f"controller {count}", controller_killed(system, count, 120))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--reps", type=int, default=10)
    parser.add_argument("--partitions", default="1,1000")
    parser.add_argument("--tests", default="leader,cpu,controller")
    parser.add_argument("--heap", default="1g", help="of Apache's brokers")
    options = parser.parse_args()
    results = {}
    for name in options.kinds or list(KINDS):
        measure(name, options, results)
    print("\n| what | cluster | median | worst | runs |\n|---|---|---|---|---|")
    for (name, what), found in sorted(results.items(), key=lambda item: (item[0][1], item[0][0])):
        unit = "s/GB" if what == "cpu" else "ms"
        print(f"| {what} | {name} | {statistics.median(found):.1f} {unit} | {max(found):.1f} | {len(found)} |")


if __name__ == "__main__":
    main()
