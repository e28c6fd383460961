#!/usr/bin/env python3
"""Runs real clients against a real broker.

  run.py --binary build/odradek [--quick] [--results FILE] [NAME...]

Each test is a program in this folder, listed in TESTS below. It gets a broker of its own (fresh directory, free ports) and
finds it through the environment:

  BOOTSTRAP   host:port of the broker          KEEPER   host:port of its keeper
  BINARY      the odradek program              WORK     an empty directory that is removed afterwards
  METRICS     URL of /metrics                  BROKER_PID

Exit 0 is a pass; 77 is a skip (its tools cannot be had here, and it says why).
"""
import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("ODRADEK_CACHE", pathlib.Path.home() / ".cache/odradek"))

# name, program, quick, seconds, overrides
TESTS = [
    ("kcat", "kcat.sh", True, 60, []),
    ("cli", "cli.sh", True, 60, []),
    ("hostile", "hostile.py", True, 120, []),
    ("confluent_kafka", "confluent_client.py", True, 120, []),
    ("kafka_python", "kafka_python_client.py", True, 120, []),
    ("aiokafka", "aiokafka_client.py", True, 120, []),
    ("kazoo", "keeper_kazoo.py", True, 120, []),
    ("keeper_tls", "keeper_tls.py", True, 120, []),
    ("kill9", "kill9.py", True, 180, []),
    ("keeper_ensemble", "keeper_ensemble.py --faults leader,all", True, 120, []),
    ("keeper_grow", "keeper_grow.py", True, 120, []),
    ("keeper_sasl", "keeper_sasl.py", False, 120, []),
    ("keeper_reconfig", "keeper_reconfig.py", True, 120, []),
    ("cluster_textbook", "cluster_textbook.py", True, 120, []),
    ("cluster_racks", "cluster_racks.py ours,ours ours", True, 60, []),
    ("cluster_killed", "cluster_mixed.py ours,ours,ours ours --faults stop,kill --no-java", True, 120, []),
    ("zk_cli", "zk_cli.py", False, 120, []),
    ("keeper_backup", "keeper_backup.py", False, 120, []),
    ("keeper_import", "keeper_import.py 6", False, 420, []),
    ("patroni", "keeper_patroni.py", False, 300, []),
    ("clickhouse", "keeper_clickhouse.py", False, 300, []),
    ("keeper_ensemble_falls", "keeper_ensemble.py", False, 300, []),
    ("keeper_kafka_one", "keeper_kafka.py ours", False, 420, []),
    ("keeper_kafka_three", "keeper_kafka.py ours*3", False, 420, []),
    ("coord_contract", "coord_contract.sh", False, 300, []),
    ("keeper_hostile", "keeper_hostile.py --sessions 3000", False, 240, []),
    ("keeper_zkcli", "keeper_zkcli.py", False, 120, []),
    ("keeper_curator", "keeper_curator.py", False, 420, []),
    ("keeper_c", "keeper_c.py", False, 180, []),
    ("keeper_fuzz", "keeper_fuzz.py --seconds 30", False, 120, []),
    ("keeper_fuzz_members", "keeper_fuzz.py --seconds 30 --members", False, 180, []),
    ("keeper_operators", "keeper_operators.py", False, 240, []),
    ("keeper_ensemble_words", "keeper_ensemble_words.py", False, 240, []),
    ("znodes_apache", "znodes_apache.py", False, 420, []),
    ("java_4_3", "java_clients.sh 4.3.1", False, 420, []),
    ("java_2_1", "java_clients.sh 2.1.1", False, 420, []),
    ("admin_requests", "admin_requests.sh", False, 180, ["broker.id=1"]),
    ("kafka_tools", "kafka_tools.sh", False, 600, []),
    ("go", "go_clients.sh", False, 600, []),
    ("node", "node_clients.sh", False, 300, []),
    ("dump_log_segments", "dump_log_segments.sh", False, 300, []),
    ("compression_type", "compression_type.sh", False, 300, []),
    ("storage_apache", "storage_apache.py", False, 600, []),
    ("old_python", "old_python.sh", False, 180, []),
    ("wire_door", "wire_door.py", False, 300, []),
    ("takeover", "takeover.py", False, 600, []),
    ("cluster_operators", "cluster_operators.py ours,ours,ours ours", True, 180, []),
    ("cluster_operators_apache", "cluster_operators.py apache,apache,apache ours", False, 420, []),
    ("cluster_ours", "cluster_mixed.py ours,ours,ours ours", False, 900, []),
    ("cluster_badday", "cluster_badday.py ours", False, 300, []),
    ("cluster_badday_apache", "cluster_badday.py apache", False, 300, []),
    ("cluster_one_ours", "cluster_mixed.py ours,apache,apache apache", False, 1200, []),
    ("cluster_two_ours", "cluster_mixed.py ours,ours,apache ours", False, 1200, []),
    ("cluster_racks_mixed", "cluster_racks.py ours,apache apache --java", False, 240, []),
    ("cluster_dirs_3_9", "cluster_dirs.py 3.9.2", False, 240, []),
    ("cluster_dirs_4_3", "cluster_dirs.py 4.3.1", False, 240, []),
    ("cluster_textbook_mixed", "cluster_textbook.py ours,apache apache", False, 180, []),
    ("cluster_tools_3_9", "cluster_tools.py 3.9.2 ours,ours,ours ours", False, 600, []),
    ("cluster_tools_4_3", "cluster_tools.py 4.3.1 ours,ours,ours ours", False, 600, []),
    ("cluster_tools_mixed", "cluster_tools.py 3.9.2 apache,ours,ours apache", False, 900, []),
]
STOPPERS = ("kill9", "dump_log_segments", "compression_type")  # they stop it themselves
FIRST = {"group.initial.rebalance.delay.ms": "0"}
PYTHON_PACKAGES = ["confluent-kafka", "kafka-python", "aiokafka", "kazoo"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def eventually(check, what, seconds, logs=()):
    """Until check() holds; the ends of `logs` (paths) are shown if it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.2)
    for log in logs:
        print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-12:], sep="\n")
    raise AssertionError(what)


class Broker:
    """One broker process in a directory of its own; also used by tests that stop and start it."""

    def __init__(self, binary, work, overrides=(), port=None, keeper_port=None):
        self.binary, self.work = str(binary), pathlib.Path(work)
        self.port, self.keeper_port = port or free_port(), keeper_port or free_port()
        self.metrics_port = free_port()
        self.overrides = dict(FIRST)
        self.overrides.update(item.split("=", 1) for item in overrides)
        self.process = None
        self.log = open(self.work / "broker.log", "ab")

    def start(self, seconds=20):
        settings = {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(self.work / "data"),
            "keeper.client.port": str(self.keeper_port),
            "metrics.listener": f"127.0.0.1:{self.metrics_port}",
        }
        settings.update(self.overrides)
        read_end, write_end = os.pipe()
        command = [self.binary, "server", "--ready-fd", str(write_end)]
        for key, value in settings.items():
            if value is not None:
                command += ["--override", f"{key}={value}"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, pass_fds=[write_end])
        os.close(write_end)
        import select

        ready, _, _ = select.select([read_end], [], [], seconds)
        byte = os.read(read_end, 1) if ready else b""
        os.close(read_end)
        if byte == b"":
            self.kill()
            tail = (self.work / "broker.log").read_text(errors="replace").splitlines()[-15:]
            raise RuntimeError("the broker did not become ready:\n  " + "\n  ".join(tail))
        return self

    def stop(self, seconds=20):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                return self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                return -9
        return self.process.returncode if self.process else 0

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def environment(self):
        env = dict(os.environ)
        env.update(
            BOOTSTRAP=f"127.0.0.1:{self.port}", KEEPER=f"127.0.0.1:{self.keeper_port}", BINARY=self.binary,
            WORK=str(self.work), METRICS=f"http://127.0.0.1:{self.metrics_port}/metrics",
            BROKER_PID=str(self.process.pid), ODRADEK_CACHE=str(CACHE), PYTHONPATH=str(HERE))
        return env


def python_with_clients():
    """A virtual environment with the Python clients, made once."""
    venv = CACHE / "venv"
    python = venv / "bin/python"
    stamp = venv / ("installed-" + "-".join(PYTHON_PACKAGES))
    if not stamp.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        print("interop: installing", " ".join(PYTHON_PACKAGES), flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PYTHON_PACKAGES], check=True)
        stamp.touch()
    return str(python)


def run_test(binary, name, program, seconds, overrides):
    words = program.split()
    path = HERE / words[0]
    command = [str(path), *words[1:]]
    if path.suffix == ".py":
        command = [python_with_clients(), *command]
    else:
        command = ["bash", *command]
    work = tempfile.mkdtemp(prefix=f"odradek-{name}-")
    broker = Broker(binary, work, overrides)
    began = time.monotonic()
    output, status = "", "fail"
    try:
        broker.start()
        child = subprocess.Popen(command, env=broker.environment(), cwd=work, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        try:
            raw, _ = child.communicate(timeout=seconds)
            status = {0: "ok", 77: "skip"}.get(child.returncode, "fail")
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raw, _ = child.communicate()
            raw += f"\n(no end within {seconds} s)".encode()
        output = raw.decode(errors="replace")
        if status == "ok" and broker.process.poll() is not None and name not in STOPPERS:
            status, output = "fail", output + f"\nthe broker ended with {broker.process.returncode}"
        code = broker.stop()
        if status == "ok" and code != 0 and name != "kill9":
            status, output = "fail", output + f"\nthe broker stopped with exit code {code}"
    except RuntimeError as problem:
        output = str(problem)
    finally:
        broker.kill()
    took = time.monotonic() - began
    print(f"interop {name}: {status} ({took:.1f} s)", flush=True)
    if status != "ok":
        print("    " + "\n    ".join(output.splitlines()[-40:]), flush=True)
    if status == "fail":
        log = (pathlib.Path(work) / "broker.log").read_text(errors="replace").splitlines()[-20:]
        print("  broker:\n    " + "\n    ".join(log), flush=True)
    shutil.rmtree(work, ignore_errors=True)
    return status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    counts = {"ok": 0, "fail": 0, "skip": 0}
    unknown = set(options.names) - {test[0] for test in TESTS}
    if unknown:
        parser.error("no such test: " + " ".join(sorted(unknown)))
    for name, program, is_quick, seconds, overrides in TESTS:
        if options.names and name not in options.names:
            continue
        if not options.names and options.quick and not is_quick:
            continue
        counts[run_test(os.path.abspath(options.binary), name, program, seconds, overrides)] += 1
    if options.results:
        pathlib.Path(options.results).write_text(f"{counts['ok']} {counts['fail']}\n")
    if counts["skip"]:
        print(f"interop: {counts['skip']} skipped")
    return 1 if counts["fail"] or not counts["ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
