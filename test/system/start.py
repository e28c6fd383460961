#!/usr/bin/env python3
"""start.py BINARY [--idle SECONDS] [--watch SECONDS]: how fast a broker is ready on an empty directory, and what it costs idle.

Judged: exec to `ready:` below 20 ms (median of 11), below 16 MiB resident after --idle (10 s), at most one clock tick of CPU in
the --watch after that (10 s here; --watch 60 is the strict one).
"""
import argparse
import os
import pathlib
import select
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("binary")
arguments.add_argument("--idle", type=float, default=10)
arguments.add_argument("--watch", type=float, default=10)
options = arguments.parse_args()
BINARY = os.path.abspath(options.binary)
# A sanitizer's run-time costs start-up and memory of its own; then only the behaviour is tested.
LIMITS = not os.environ.get("NO_LIMITS")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(directory):
    read_end, write_end = os.pipe()
    command = [BINARY, "server", "--ready-fd", str(write_end), "--override", f"listeners=PLAINTEXT://127.0.0.1:{free_port()}",
               "--override", f"log.dirs={directory}", "--override", "keeper.client.port=0", "--override",
               f"metrics.listener=127.0.0.1:{free_port()}"]
    began = time.monotonic()
    process = subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.PIPE)
    os.close(write_end)
    select.select([read_end], [], [], 20)
    byte = os.read(read_end, 1)
    took = (time.monotonic() - began) * 1000
    os.close(read_end)
    if not byte:
        raise SystemExit("not ready: " + process.communicate()[1].decode())
    return process, took


def ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def resident_kib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])


root = pathlib.Path(tempfile.mkdtemp(prefix="odradek-start-"))
times = []
for i in range(11):
    process, took = start(root / f"d{i}")
    times.append(took)
    process.terminate()
    status = process.wait(20)
    log = process.stderr.read().decode()
    assert status == 0, f"exit code {status}: {log}"
    assert "ready: PLAINTEXT://127.0.0.1:" in log, log
process, again = start(root / "d0")
time.sleep(options.idle)
resident, before = resident_kib(process.pid), ticks(process.pid)
time.sleep(options.watch)
used = ticks(process.pid) - before
process.terminate()
assert process.wait(20) == 0
shutil.rmtree(root, ignore_errors=True)
median = statistics.median(times)
print(f"ready in {median:.1f} ms (median of 11, {min(times):.1f} to {max(times):.1f}), a restart in {again:.1f} ms; "
      f"idle: {resident} KiB resident, {used} clock ticks in {options.watch:.0f} s")
if LIMITS:
    assert median < 20, "slower than 20 ms"
    assert resident < 16 * 1024, "more than 16 MiB"
    assert used <= 1, "more than one clock tick"
