"""keeper_grow: a keeper that stands alone becomes the first of three, and one of the three stands alone again.

As an operator does it: stop, add server lines and myid, start with two others that have nothing. A session with its ephemeral and a
sequence go on from where they were; the others have all of it, also when the first is killed. A fourth directory with data of its own, started in the
place of an empty one, holds the ensemble up and loses nothing.
"""
import logging
import shutil
import signal
import time

from kazoo.client import KazooClient

from wire_keeper import Ensemble

logging.disable(logging.CRITICAL)
ZNODES = 3000


def client(member, **more):
    zk = KazooClient(hosts=f"{member.host}:{member.port}", timeout=20, connection_retry={"max_tries": -1, "delay": 0.05, "max_delay": 0.3}, **more)
    zk.start(timeout=40)
    return zk


def without_lines(member):
    lines = member.config.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(("server.", "standaloneEnabled"))]
    return "".join(lines), "".join(kept)


def wait_mode(member, mode, seconds=40):
    end = time.monotonic() + seconds
    while member.mode() != mode:
        assert member.is_running() and time.monotonic() < end, f"keeper {member.number} is {member.mode()!r}, not {mode}: {member.tail()}"
        time.sleep(0.05)


def fill(member, count):
    zk = client(member)
    zk.ensure_path("/q")
    asked = [zk.create_async("/q/n-", b"%d" % i, sequence=True) for i in range(count)]
    names = [one.get() for one in asked]
    zk.create("/held", b"mine", ephemeral=True)
    kept = zk.client_id
    zxid = zk.get("/q")[1].pzxid
    return zk, names, kept, zxid


def check(member, names, what):
    zk = client(member)
    zk.sync("/")
    found = zk.get_children("/q")
    assert {"/q/" + name for name in found} >= set(names), f"{what}: {len(found)} of {len(names)} at keeper {member.number}"
    assert zk.get(names[-1])[0] == b"%d" % (len(names) - 1), what
    zk.stop()
    zk.close()


ensemble = Ensemble("ours", reconfigEnabled="true")
first, second, third = ensemble.members
try:
    # one alone
    several, alone = without_lines(first)
    first.config.write_text(alone)
    first.begin()
    wait_mode(first, "standalone")
    zk, names, kept, zxid = fill(first, ZNODES)
    first.end(signal.SIGKILL)

    # a second with data of its own
    second_several, second_alone = without_lines(second)
    second.config.write_text(second_alone)
    second.begin()
    wait_mode(second, "standalone")
    other, other_names, _, _ = fill(second, 10)
    other.stop()
    second.stop()
    second.config.write_text(second_several)
    first.config.write_text(several)
    for member in ensemble.members:
        member.begin()
    time.sleep(8)
    assert not any(ensemble.modes().values()), ensemble.modes()
    assert any("each have data" in line for member in (first, second) for line in member.tail(50)), first.tail() + second.tail()
    second.stop()
    shutil.rmtree(second.directory / "data")
    (second.directory / "data").mkdir()
    (second.directory / "data/myid").write_text("2\n")
    second.begin()
    began = time.monotonic()
    ensemble.wait_whole()
    print(f"three, {time.monotonic() - began:.1f} s after the last came empty", flush=True)

    # the session of before goes on, and so does the sequence
    end = time.monotonic() + 40
    while not zk.connected:
        assert time.monotonic() < end, "the client does not come back"
        time.sleep(0.05)
    assert zk.client_id == kept, f"session {kept[0]:x} became {zk.client_id[0]:x}"
    assert zk.exists("/held").ephemeralOwner == kept[0]
    name = zk.create("/q/n-", b"%d" % ZNODES, sequence=True)
    assert name > names[-1], (name, names[-1])
    assert zk.exists(name).czxid >> 32 == (zxid >> 32) + 1, "not the next epoch"
    names.append(name)
    config = zk.get("/zookeeper/config")[0].decode()
    assert all(f"server.{m.number}=" in config for m in ensemble.members), config
    for member in ensemble.members:
        check(member, names, "grown")
    first.kill()
    end = time.monotonic() + 20
    while not ensemble.leader():
        assert time.monotonic() < end, "nobody leads without the first"
        time.sleep(0.05)
    for member in (second, third):
        check(member, names, "without the first")
    zk.stop()

    # one alone again: not while another answers, nor with its lines back afterwards
    third.stop()
    third_several, third_alone = without_lines(third)
    third.config.write_text(third_alone)
    third.begin()
    assert third.process.wait(20) != 0 and any("it answers at" in line for line in third.tail()), third.tail()
    second.stop()
    third.begin()
    wait_mode(third, "standalone")
    assert any("of which nobody answers" in line for line in third.tail(50)), third.tail(50)
    check(third, names, "alone again")
    third.stop()
    third.config.write_text(third_several)
    third.begin()
    assert third.process.wait(20) != 0 and any("keeper-vote" in line for line in third.tail()), third.tail()
    print("one became three, and one of them stands alone", flush=True)
except BaseException:
    print(*ensemble.tail(), sep="\n    ", flush=True)
    raise
finally:
    ensemble.kill()
