"""wire_door: the broker with `zookeeper.connect=host:port/chroot` at Apache ZooKeeper 3.9.4, and at `odradek keeper zoo.cfg`.

At each: records in and out; kill -9 of the broker and a start at once, which must not wait for the old session to expire; the
ensemble stopped and started beneath the broker, and killed; every time, records and topics go on.
"""
import os
import pathlib
import signal
import subprocess
import sys
import time

from run import Broker
from wire_keeper import Keeper

WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]
SESSION_MS = 18000


def kcat(broker, *words, data=None):
    done = subprocess.run(["kcat", "-b", f"127.0.0.1:{broker.port}", *words], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, f"kcat {words}: {done.stderr.decode()[-800:]}"
    return done.stdout


expected = []


def round_trip(broker, label):
    """Records into the old topic, all of them back; and a new topic, which needs the controller and the ensemble."""
    lines = [f"{label} {i}" for i in range(100)]
    kcat(broker, "-P", "-t", "through", data="".join(line + "\n" for line in lines).encode())
    expected.extend(lines)
    found = kcat(broker, "-C", "-t", "through", "-e", "-q").decode().splitlines()
    assert found == expected, f"{label}: {len(found)} of {len(expected)} records"
    topic = label.replace(" ", "-")
    end = time.monotonic() + 30
    while True:
        done = subprocess.run([BINARY, "topic", "create", topic, "-b", f"127.0.0.1:{broker.port}", "-o", "name"], capture_output=True, text=True)
        if done.returncode == 0 or "TOPIC_ALREADY_EXISTS" in done.stderr:
            break
        assert time.monotonic() < end, f"{label}: {done.stderr}"
        time.sleep(0.2)
    kcat(broker, "-P", "-t", topic, data=b"x\n")
    assert kcat(broker, "-C", "-t", topic, "-e", "-q") == b"x\n"


def life(kind):
    keeper = Keeper(kind)
    keeper.start()
    work = WORK / f"{kind}-broker"
    work.mkdir()
    expected.clear()
    broker = Broker(BINARY, work, ["broker.id=5", f"zookeeper.connect=127.0.0.1:{keeper.port}/a/chroot",
                                   f"zookeeper.session.timeout.ms={SESSION_MS}"])
    try:
        broker.start()
        round_trip(broker, "first")
        said = []
        for turn in range(3):
            broker.kill()
            began = time.monotonic()
            broker.start()
            said.append(f"{(time.monotonic() - began) * 1000:.0f}")
            round_trip(broker, f"killed {turn}")
            assert time.monotonic() - began < SESSION_MS / 2000, "it waited for a session to expire"
        print(f"{kind}: ready {', '.join(said)} ms after kill -9")
        for how in (signal.SIGTERM, signal.SIGKILL):
            keeper.end(how)
            # Nobody needs the ensemble for what is settled already.
            kcat(broker, "-P", "-t", "through", data=b"without\n")
            expected.append("without")
            began = time.monotonic()
            keeper.start()
            round_trip(broker, f"keeper after {how.name}")
            print(f"{kind}: the ensemble back after {how.name}: records and a new topic {time.monotonic() - began:.1f} s after its start")
        assert broker.stop() == 0
        broker.start()
        round_trip(broker, "last")
        assert broker.stop() == 0
    except BaseException:
        print((work / "broker.log").read_text(errors="replace")[-3000:])
        raise
    finally:
        broker.kill()
        if keeper.process.poll() is None:
            keeper.process.kill()
            keeper.process.wait()


for kind in sys.argv[1:] or ["ours", "apache"]:
    life(kind)
