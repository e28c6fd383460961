"""cluster: brokers side by side on one machine, each Apache Kafka 3.9.2 in ZooKeeper mode or ours, on one ensemble (tests import this).

    cluster = Cluster(["ours", "apache", "apache"], keeper="apache")     # brokers 1, 2, 3; a directory and a port each
    cluster.start()
    cluster.nodes[0].kill(); cluster.nodes[0].start("apache")            # the other kind on the same directory
    cluster.elect(2)                                                     # broker 2 is the controller now
    cluster.wait_in_sync()                                               # every ISR is whole, and every broker says so

Nothing here waits for a time to pass: it waits for znodes and for what brokers answer, and says what it missed. Both kinds
read the same server.properties. With namespaces=True (root only) each broker has a network namespace and an address of
its own, and node.cut() takes its cable out.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from wire_keeper import keeper_of

HERE = pathlib.Path(__file__).resolve().parent
WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
SESSION_MS = 6000
SETTINGS = {
    "zookeeper.session.timeout.ms": SESSION_MS, "group.initial.rebalance.delay.ms": 0,
    "offsets.topic.replication.factor": 3, "offsets.topic.num.partitions": 3, "min.insync.replicas": 2,
    "auto.create.topics.enable": "false",
}


def jars(name, *items):
    """The class path of these Maven artifacts; Java says on standard output what it logs."""
    done = subprocess.run([str(HERE / "maven"), name, *items], stdout=subprocess.PIPE, text=True)
    logger = subprocess.run([str(HERE / "maven"), "slf4j-simple-1.7.36", "org.slf4j:slf4j-simple:1.7.36"], stdout=subprocess.PIPE, text=True)
    if done.returncode or logger.returncode:
        sys.exit(done.returncode or logger.returncode)
    simple = [str(p) for p in pathlib.Path(logger.stdout.strip()).glob("slf4j-simple*.jar")]
    return ":".join(simple + [str(p) for p in sorted(pathlib.Path(done.stdout.strip()).glob("*.jar")) if "slf4j-nop" not in p.name])


def kafka_jars(version="3.9.2"):
    return jars(f"kafka-tools-{version}", f"org.apache.kafka:kafka_2.13:{version}", f"org.apache.kafka:kafka-tools:{version}")


def stable_port():
    """A port below those the kernel gives to connections, so that nobody takes it while its broker is down."""
    first = int(os.environ.get("CLUSTER_PORTS", 0)) or 21000 + os.getpid() % 1000 * 8
    for port in range(max(first, stable_port.next), first + 4000):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                stable_port.next = port + 1
                return port
    raise AssertionError("no free port")


stable_port.next = 0


def wait_for(what, check, seconds=60):
    """The first true value of check(), which may fail as long as what it asks is not there yet."""
    end, problem = time.monotonic() + seconds, None
    while True:
        try:
            value = check()
            if value:
                return value
        except (KazooException, OSError, EOFError) as err:
            problem = err
        if time.monotonic() > end:
            raise AssertionError(f"no {what() if callable(what) else what} within {seconds} s" + (f" ({problem!r})" if problem else ""))
        time.sleep(0.05)


def metadata(host, port, seconds=3):
    """What this very broker says (Metadata v1): brokers, controller, {(topic, partition): (leader, replicas, isr)}."""
    with socket.create_connection((host, port), seconds) as s:
        s.settimeout(seconds)
        body = struct.pack(">hhih", 3, 1, 7, -1) + struct.pack(">i", -1)
        s.sendall(struct.pack(">i", len(body)) + body)
        file = s.makefile("rb")

        def take(form):
            size = struct.calcsize(form)
            data = file.read(size)
            if len(data) < size:
                raise EOFError("connection closed")
            return struct.unpack(form, data)[0]

        def text():
            size = take(">h")
            return None if size < 0 else file.read(size).decode()

        def ids():
            return [take(">i") for _ in range(take(">i"))]

        take(">i"), take(">i")
        brokers = {}
        for _ in range(take(">i")):
            number = take(">i")
            brokers[number] = (text(), take(">i"), text())
        controller, partitions = take(">i"), {}
        for _ in range(take(">i")):
            take(">h")
            topic = text()
            take(">b")
            for _ in range(take(">i")):
                take(">h")
                number = take(">i")
                partitions[topic, number] = (take(">i"), ids(), ids())
    return brokers, controller, partitions


class Node:
    """One broker id with its port and its directory, which change hands between kinds."""

    def __init__(self, cluster, number, kind):
        self.cluster, self.number, self.kind = cluster, number, kind
        self.host, self.port = "127.0.0.1", stable_port()
        self.process, self.is_paused, self.is_cut = None, False, False
        self.settings = {}  # its own, beside the cluster's
        self.directory = WORK / f"node-{number}"
        self.data = self.directory / "data"
        self.directory.mkdir()
        self.namespace = None
        if cluster.namespaces:
            self.namespace, self.host = cluster.namespaces.add(number)

    def __str__(self):
        return f"{self.number} ({self.kind})"

    def command(self):
        settings = {**SETTINGS, **self.cluster.settings, "broker.id": self.number, "log.dirs": self.data,
                    "listeners": f"PLAINTEXT://{self.host}:{self.port}", "zookeeper.connect": self.cluster.connect, **self.settings}
        file = self.directory / "server.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items() if value is not None))
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        if self.kind == "ours":
            return [*inside, BINARY, "server", str(file)]
        return [*inside, *self.cluster.java, "-Dorg.slf4j.simpleLogger.showDateTime=true",
                "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-cp", kafka_jars(), "kafka.Kafka", str(file)]

    def begin(self, kind=None):
        """Starts the process, and waits for nothing but the end of the registration that a dead Apache broker trips over."""
        assert not self.is_running()
        before, self.kind = self.cluster.registration(self.number), kind or self.kind
        if before and self.kind == "apache":
            wait_for(f"end of the session of broker {self.number}", lambda: not self.cluster.registration(self.number))
        self.before = before
        self.process = subprocess.Popen(self.command(), stdout=open(self.directory / "log", "ab"), stderr=subprocess.STDOUT,
                                        cwd=self.directory, start_new_session=True)

    def is_ready(self):
        assert self.process.poll() is None, f"broker {self} ended with {self.process.returncode}"
        now = self.cluster.registration(self.number)
        return now and (not self.before or now[0] != self.before[0]) and self.number in metadata(self.host, self.port)[0]

    def start(self, kind=None, seconds=90):
        began = time.monotonic()
        self.begin(kind)
        wait_for(f"broker {self}", self.is_ready, seconds)
        return time.monotonic() - began

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def end(self, how, seconds=90):
        self.resume()
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def stop(self):
        """A controlled shutdown. Both kinds leave with a clean marker; a JVM ends with 143, ours with 0."""
        code = self.end(signal.SIGTERM)
        assert code == (0 if self.kind == "ours" else 143), f"broker {self} stopped with {code}"

    def kill(self):
        self.end(signal.SIGKILL)

    def pause(self):
        """Until every thread stands still: one of a JVM that runs on for a moment is enough to win an election."""
        self.process.send_signal(signal.SIGSTOP)
        self.is_paused = True

        def stands():
            tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/stat")
            return all(stat.read_text().rpartition(")")[2].split()[0] in "Tt" for stat in tasks)

        wait_for(f"stop of {self}", stands, 10)

    def resume(self):
        if self.is_paused and self.is_running():
            self.process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def cut(self):
        self.cluster.namespaces.cable(self.number, "down")

    def join(self):
        self.cluster.namespaces.cable(self.number, "up")

    def partitions(self):
        """The log directories, each with the bytes of all its segments, in order."""
        found = {}
        for directory in sorted(self.data.iterdir()):
            if directory.is_dir() and not directory.name.endswith(("-delete", "-future", "-stray")):
                found[directory.name] = b"".join(p.read_bytes() for p in sorted(directory.glob("*.log")))
        return found

    def tail(self, lines=15):
        log = self.directory / "log"
        return [line[:240] for line in log.read_text(errors="replace").splitlines()[-lines:]] if log.exists() else []


class Namespaces:
    """A bridge with one network namespace for each broker: 10.213.PID-made.N. Only root may."""

    def __init__(self):
        self.tag = f"o{os.getpid() % 10000}"
        self.net = f"10.{200 + os.getpid() // 256 % 50}.{os.getpid() % 256}"
        self.added = []
        self.ip("link", "add", self.tag, "type", "bridge")
        self.ip("addr", "add", f"{self.net}.254/24", "dev", self.tag)
        self.ip("link", "set", self.tag, "up")
        self.address = f"{self.net}.254"

    def ip(self, *words):
        subprocess.run(["ip", *words], check=True)

    def add(self, number):
        name, inner, address = f"{self.tag}-{number}", f"{self.tag}i{number}", f"{self.net}.{number}"
        self.ip("netns", "add", name)
        self.added.append(number)
        self.ip("link", "add", name, "type", "veth", "peer", "name", inner)
        self.ip("link", "set", inner, "netns", name)
        self.ip("link", "set", name, "master", self.tag, "up")
        for words in (["addr", "add", f"{address}/24", "dev", inner], ["link", "set", inner, "up"], ["link", "set", "lo", "up"]):
            self.ip("-n", name, *words)
        return name, address

    def cable(self, number, state):
        self.ip("link", "set", f"{self.tag}-{number}", state)

    def close(self):
        for number in self.added:
            subprocess.run(["ip", "netns", "del", f"{self.tag}-{number}"], check=False)
        subprocess.run(["ip", "link", "del", self.tag], check=False)


class Cluster:
    def __init__(self, kinds, keeper="apache", settings=None, java=(*JAVA, "-Xmx256m"), namespaces=False):
        self.settings, self.java = settings or {}, java  # a setting that is None is left to its default
        self.namespaces = Namespaces() if namespaces else None
        self.keeper = keeper_of(keeper, self.namespaces.address if namespaces else "127.0.0.1", stable_port)
        self.connect = self.keeper.connect
        self.zk = KazooClient(hosts=self.connect, timeout=10)
        self.nodes = [Node(self, number, kind) for number, kind in enumerate(kinds, 1)]

    def start(self):
        self.keeper.start()
        self.zk.start(timeout=30)
        took = [node.start() for node in self.nodes]
        print("started: " + ", ".join(f"{node} in {seconds:.1f} s" for node, seconds in zip(self.nodes, took)), flush=True)

    @property
    def bootstrap(self):
        return ",".join(f"{node.host}:{node.port}" for node in self.nodes)

    def get(self, path):
        try:
            data, stat = self.zk.get(path)
            return (json.loads(data) if data else None), stat
        except NoNodeError:
            return None, None

    def registration(self, number):
        """(broker epoch, content) or None."""
        content, stat = self.get(f"/brokers/ids/{number}")
        return (stat.czxid, content) if content else None

    def controller(self):
        content, _ = self.get("/controller")
        return content["brokerid"] if content else None

    def states(self):
        """{(topic, partition): (replicas, leader, isr, leader epoch)} as the znodes have it; leader None before there is a state."""
        found = {}
        for topic in self.zk.get_children("/brokers/topics"):
            content, _ = self.get(f"/brokers/topics/{topic}")
            for number, replicas in (content or {"partitions": {}})["partitions"].items():
                state, _ = self.get(f"/brokers/topics/{topic}/partitions/{number}/state")
                state = state or {"leader": None, "isr": [], "leader_epoch": -1}
                found[topic, int(number)] = (replicas, state["leader"], state["isr"], state["leader_epoch"])
        return found

    def elect(self, number):
        """Makes broker `number` the controller: nobody else is awake when the place falls vacant."""
        if self.controller() != number:
            others = [node for node in self.nodes if node.number != number and node.is_running()]
            for node in others:
                node.pause()
            try:
                with contextlib.suppress(NoNodeError):
                    self.zk.delete("/controller")
                wait_for(f"election of broker {number}", lambda: self.controller() == number, 5)
            finally:
                for node in others:
                    node.resume()
        self.wait_in_sync()

    def out_of_sync(self):
        """What is missing until every ISR is whole, each partition has a leader, and every broker says the same."""
        missing = []
        states = self.states()
        for at, (replicas, leader, isr, _) in states.items():
            if sorted(isr) != sorted(replicas) or leader not in replicas:
                missing.append(f"{at[0]}-{at[1]} replicas {replicas} leader {leader} isr {isr}")
        for node in self.nodes:
            if missing or not node.is_running():
                continue
            brokers, controller, partitions = metadata(node.host, node.port)
            if set(brokers) != {other.number for other in self.nodes if other.is_running()}:
                missing.append(f"broker {node} sees brokers {sorted(brokers)}")
            if controller != self.controller():
                missing.append(f"broker {node} sees controller {controller}, not {self.controller()}")
            for at, (replicas, leader, isr, _) in states.items():
                seen = partitions.get(at)
                if not seen or seen[0] != leader or sorted(seen[2]) != sorted(isr):
                    missing.append(f"broker {node} sees {at[0]}-{at[1]} as {seen}, not leader {leader} isr {isr}")
        return missing

    def wait_in_sync(self, seconds=60):
        began = time.monotonic()
        wait_for(lambda: "whole ISRs everywhere: " + "; ".join(self.out_of_sync()[:4]), lambda: not self.out_of_sync(), seconds)
        return time.monotonic() - began

    def stop(self):
        for node in self.nodes:
            if node.is_running():
                node.stop()

    def same_bytes(self):
        """After a stop: every replica of a partition holds the same bytes. Returns how many bytes that were."""
        logs, total = {node.number: node.partitions() for node in self.nodes}, 0
        for (topic, partition), (replicas, *_) in sorted(self.states().items()):
            name = f"{topic}-{partition}"
            bytes_of = {number: logs[number].get(name) for number in replicas}
            total += len(bytes_of[replicas[0]] or b"")
            if len(set(bytes_of.values())) != 1:
                sizes = {number: len(data) if data is not None else None for number, data in bytes_of.items()}
                raise AssertionError(f"the replicas of {name} differ: {sizes} bytes; first at {first_difference(list(bytes_of.values()))}")
        return total

    def __enter__(self):
        return self

    def __exit__(self, kind, problem, trace):
        if problem is not None:
            with contextlib.suppress(Exception):
                print("out of sync:", *self.out_of_sync()[:8], sep="\n    ")
            print("---", *self.keeper.tail(), sep="\n    ")
            for node in self.nodes:
                print(f"--- broker {node}, {'running' if node.is_running() else 'not running'}", *node.tail(), sep="\n    ", flush=True)
            time.sleep(float(os.environ.get("CLUSTER_HOLD", "0")))  # for somebody who wants to look
        for node in self.nodes:
            if node.is_running():
                node.end(signal.SIGKILL)
        with contextlib.suppress(Exception):
            self.zk.stop()
        self.keeper.kill()
        if self.namespaces:
            self.namespaces.close()


def first_difference(many):
    shortest = min(len(data or b"") for data in many)
    return next((i for i in range(shortest) if len({data[i] for data in many}) != 1), shortest)
