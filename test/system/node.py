"""What the tests of whole programs share: a broker of one's own (test/interop/run.py), raw connections, processes' memory."""
import contextlib
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
from run import Broker, free_port  # noqa: E402,F401

BINARY = os.path.abspath(sys.argv[1])
# A sanitizer's run-time costs time and memory of its own; then only the behaviour is tested.
LIMITS = not os.environ.get("NO_LIMITS")


@contextlib.contextmanager
def scratch():
    work = pathlib.Path(tempfile.mkdtemp(prefix="odradek-system-"))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def broker(work, *overrides, binary=BINARY):
    """A running broker; at the end it must stop by itself, with exit code 0."""
    node = Broker(binary, work, overrides)
    node.start()
    try:
        yield node
        status = node.stop()
        assert status == 0, f"exit code {status}:\n{(work / 'broker.log').read_text(errors='replace')[-2000:]}"
    finally:
        node.kill()


def connect(port, host="127.0.0.1"):
    s = socket.create_connection((host, port), 10)
    s.settimeout(10)
    return s


def ask_versions(s, correlation=1):
    """Sends an ApiVersions of version 0."""
    s.sendall(struct.pack(">ihhih", 10, 18, 0, correlation, -1))


def answers(s, seconds=10):
    """Whether an ApiVersions is answered on this connection: None says that it was closed."""
    s.settimeout(seconds)
    try:
        ask_versions(s)
        head = s.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            return None
        size = struct.unpack(">i", head)[0]
        return len(s.recv(size, socket.MSG_WAITALL)) == size
    except (ConnectionResetError, BrokenPipeError):
        return None
    except TimeoutError:
        return False


def is_closed(s, seconds=10):
    s.settimeout(seconds)
    try:
        return s.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def resident_kib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("the process is gone")


def kcat(port, *words, data=None, host="127.0.0.1", seconds=60, check=True):
    done = subprocess.run(["kcat", "-b", f"{host}:{port}", *words], input=data, capture_output=True, timeout=seconds)
    if check and done.returncode:
        raise AssertionError(f"kcat {' '.join(words)}: {done.stderr.decode(errors='replace')[-1000:]}")
    return done


def produce(port, topic, lines, *words, **more):
    return kcat(port, "-P", "-t", topic, *words, data=b"".join(line + b"\n" for line in lines), **more)


def consume(port, topic, *words, **more):
    return kcat(port, "-C", "-t", topic, "-e", "-q", *words, **more).stdout.splitlines()


def cli(port, *words, check=True):
    done = subprocess.run([BINARY, *words, "-b", f"127.0.0.1:{port}"], capture_output=True, text=True, timeout=120)
    if check and done.returncode:
        raise AssertionError(f"odradek {' '.join(words)}: {done.stderr[-1000:]}")
    return done


def wait_for(what, check, seconds=20):
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def run(tests):
    """Runs the tests named after the binary on the command line, or all of them."""
    names = sys.argv[2:] or list(tests)
    failed, skipped = 0, 0
    for name in names:
        began = time.monotonic()
        try:
            said = tests[name]()
            if said == "skip":
                skipped += 1
            print(f"{name}: {said or 'ok'} ({time.monotonic() - began:.1f} s)", flush=True)
        except (AssertionError, RuntimeError, OSError, subprocess.TimeoutExpired) as problem:
            failed += 1
            print(f"{name}: FAILED ({time.monotonic() - began:.1f} s): {problem!r}", flush=True)
    sys.exit(1 if failed else 77 if skipped == len(names) else 0)
