"""keeper: our keeper beside Apache ZooKeeper 3.9.4, both with fsync, in one run; prints the rows of docs/benchmarks.md.

    keeper.py BINARY [--rounds 3] [--seconds 3] [--count 1000000] [--port 40800] [WINDOW...]

get, set     16 connections, 64 requests each in flight, znodes of 100 bytes
set1         one connection, one request in flight: every write waits for its own sync
million      a million znodes of 100 bytes; then kill -9 and start again: to the first session, and to the first write

The servers take turns window by window and live side by side; each is warmed up first for as long. Apache's runs as zkServer.sh starts
it (-Xmx1000m). CPU is the server's own user and system time. Needs the load generators (../shared/bench, or $ODRADEK_BENCH), java, mvn.
"""
import argparse
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("ODRADEK_CACHE", pathlib.Path.home() / ".cache/odradek"))
BENCH = pathlib.Path(os.environ.get("ODRADEK_BENCH", HERE.parents[1] / "../shared/bench"))
ZKL = CACHE / "bench/zkl"
WINDOWS = {"get": dict(op="get", conns=16, depth=64), "set": dict(op="set", conns=16, depth=64), "set1": dict(op="set", conns=1, depth=1)}


class Server:
    def __init__(self, kind, command, port, root):
        self.kind, self.port, self.directory, self.process = kind, port, root / kind, None
        self.directory.mkdir()
        config = self.directory / "zoo.cfg"
        config.write_text(f"tickTime=2000\ndataDir={self.directory}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
                          "admin.enableServer=false\nmaxClientCnxns=0\n")
        self.command = [*command, str(config)]

    def start(self):
        begun = time.monotonic_ns()
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.directory)
        return self.load("probe", t0=begun)

    def load(self, command, **options):
        line = [str(ZKL), command, "--server", f"127.0.0.1:{self.port}", "--pid", str(self.process.pid)]
        for key, value in options.items():
            line += [f"--{key}", str(value)]
        out = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout
        found = {}
        for words in map(str.split, out.splitlines()):
            if len(words) >= 2:
                found[words[0]] = float(words[1])
        assert not found.get("errors"), f"{self.kind}: {found}"
        return found

    def resident_mib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()


def spread(values):
    def show(value):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{show(statistics.median(values))} [{show(min(values))} .. {show(max(values))}]" if len(values) > 1 else show(values[0])


class Table:
    def __init__(self):
        self.cells = {}

    def add(self, kind, window, measure, value):
        self.cells.setdefault((window, measure), {}).setdefault(kind, []).append(value)

    def print(self):
        print("| window | measure | Apache ZooKeeper 3.9.4 | Odradek | ratio |\n|---|---|---|---|---|")
        for (window, measure), by_kind in self.cells.items():
            apache, ours = by_kind.get("apache", [0]), by_kind.get("ours", [0])
            ratio = statistics.median(ours) / statistics.median(apache) if statistics.median(apache) else 0
            print(f"| {window} | {measure} | {spread(apache)} | {spread(ours)} | {ratio:.3g} |")


def operations(servers, names, args, table):
    for server in servers:
        server.start()
        for window in WINDOWS.values() if names else ():
            server.load("bench", **{**window, "warm": 0, "seconds": args.seconds})
    for _ in range(args.rounds):
        for name in names:
            for server in servers:
                got = server.load("bench", **{**WINDOWS[name], "warm": 0.5, "seconds": args.seconds})
                table.add(server.kind, name, "requests/s", got["ops"])
                table.add(server.kind, name, "CPU µs/request", got["server_cpu_per_Mop"])
                table.add(server.kind, name, "p50 µs", got["op_p50"])
                table.add(server.kind, name, "p99 µs", got["op_p99"])
    for server in servers:
        server.kill()


def million(servers, args, table):
    for server in servers:
        server.start()
        before = server.resident_mib()
        got = server.load("fill", count=args.count)
        time.sleep(1)
        table.add(server.kind, "million", "creates/s", got["creates"])
        table.add(server.kind, "million", "resident MiB", server.resident_mib())
        table.add(server.kind, "million", "of which before", before)
        server.kill()
        got = server.start()
        time.sleep(1)
        table.add(server.kind, "million", "after kill -9: first session, ms", got["first_session"])
        table.add(server.kind, "million", "after kill -9: first write, ms", got["first_write"])
        table.add(server.kind, "million", "resident MiB then", server.resident_mib())
        server.kill()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--count", type=int, default=1000000)
    parser.add_argument("--port", type=int, default=40800)
    parser.add_argument("--only", choices=("apache", "ours"), help="only this server")
    parser.add_argument("windows", nargs="*", default=[*WINDOWS, "million"])
    args = parser.parse_intermixed_args()
    subprocess.run(["make", "-s", "-C", str(BENCH), f"OUT={CACHE}/bench"], check=True)
    jars = subprocess.run([str(HERE.parent / "interop/maven"), "zookeeper-3.9.4", "org.apache.zookeeper:zookeeper:3.9.4",
                           "io.dropwizard.metrics:metrics-core:4.1.12.1", "org.xerial.snappy:snappy-java:1.1.10.5"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    commands = {"apache": ["java", "-Xmx1000m", "-cp", jars + "/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain"],
                "ours": [os.path.abspath(args.binary), "keeper"]}
    table = Table()
    names = [name for name in args.windows if name in WINDOWS]
    rounds = [names] if names else []
    for step in rounds + (["million"] if "million" in args.windows else []):
        root = pathlib.Path(tempfile.mkdtemp(prefix="keeper-bench-", dir=os.environ.get("DATA")))
        servers = [Server(kind, command, args.port + i, root) for i, (kind, command) in enumerate(commands.items())
                   if args.only in (None, kind)]
        try:
            million(servers, args, table) if step == "million" else operations(servers, step, args, table)
        finally:
            for server in servers:
                server.kill()
            shutil.rmtree(root, ignore_errors=True)
    table.print()


main()
