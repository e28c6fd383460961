"""keeper_ensemble [KIND] [--faults a,b,...]: kazoo's clients on an ensemble of three keepers while its members fall.

Writers set registers and append to a queue, each its own; one client holds an ephemeral and another watches, through every
fault. Faults: leader (kill -9), follower (kill -9), pause (SIGSTOP of the leader for longer than the sessions' timeout), all (kill
-9 of all at once), rolling (each member stopped in good order and started again). After each: nothing acknowledged is lost, at
any member; sessions and ephemerals are those of before, watches fire. In the end all members hold the same tree.
"""
import argparse
import logging
import signal
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, KazooException, NodeExistsError, OperationTimeoutError, SessionExpiredError
from kazoo.handlers.threading import KazooTimeoutError

from wire_keeper import Ensemble

logging.disable(logging.CRITICAL)  # kazoo tells of every connection that it loses
WRITERS = 4
TIMEOUT = 4.0  # of sessions, in seconds
UNCERTAIN = (ConnectionLoss, SessionExpiredError, OperationTimeoutError, KazooTimeoutError)


def client(hosts, **more):
    zk = KazooClient(hosts=hosts, timeout=TIMEOUT, connection_retry={"max_tries": -1, "delay": 0.02, "backoff": 1.2, "max_delay": 0.3, "max_jitter": 0.1},
                     **more)
    zk.start(timeout=40)
    return zk


def wait_for(what, check, seconds=40):
    end, problem = time.monotonic() + seconds, None
    while True:
        try:
            if check():
                return
        except (KazooException, KazooTimeoutError) as err:
            problem = err
        assert time.monotonic() < end, f"no {what} within {seconds} s" + (f" ({problem!r})" if problem else "")
        time.sleep(0.02)


class Writer(threading.Thread):
    """Sets a register to 1, 2, ... and appends each number to a queue. What was acknowledged must be there ever after."""

    def __init__(self, number):
        super().__init__(daemon=True)
        self.register, self.queue = f"/w/{number}", f"/q/{number}"
        self.zk = client(ensemble.connect)
        self.number = 0  # the last one tried
        self.acknowledged, self.appended, self.problems = 0, [], []
        self.last_ack, self.longest_gap = time.monotonic(), 0.0
        self.ending = threading.Event()
        self.sessions = [self.zk.client_id[0]]
        self.zk.create(self.register, b"0", makepath=True)
        self.zk.ensure_path(self.queue)

    def run(self):
        try:
            while not self.ending.is_set():
                self.write(self.number + 1)
                time.sleep(0.002)
        except Exception as problem:
            self.problems.append(repr(problem))

    def write(self, number):
        self.number = number
        try:
            self.zk.set(self.register, b"%d" % number)
            self.acknowledged = number
            self.acked()
            path = self.zk.create(self.queue + "/n-", b"%d" % number, sequence=True)
            self.appended.append((path, number))
            self.acked()
        except UNCERTAIN:
            time.sleep(0.02)
        if self.zk.client_id and self.zk.client_id[0] != self.sessions[-1]:
            self.sessions.append(self.zk.client_id[0])

    def acked(self):
        now = time.monotonic()
        self.longest_gap, self.last_ack = max(self.longest_gap, now - self.last_ack), now

    def check(self, zk, where):
        assert not self.problems, self.problems
        acknowledged, appended = self.acknowledged, list(self.appended)
        zk.sync("/")
        value = int(zk.get(self.register)[0])
        assert acknowledged <= value <= self.number, f"{where}: {self.register} is {value}, {acknowledged} was acknowledged"
        children = set(zk.get_children(self.queue))
        missing = [path for path, _ in appended if path.rsplit("/", 1)[1] not in children]
        assert not missing, f"{where}: {len(missing)} acknowledged znodes are gone, {missing[:3]}"
        names = [path for path, _ in appended]
        assert names == sorted(set(names)), f"{self.queue}: names not in sequence"


class Holder:
    """Has an ephemeral for ever."""

    def __init__(self):
        self.zk = client(ensemble.connect)
        self.id = self.zk.client_id[0]
        self.zk.create("/held", b"", ephemeral=True)

    def check(self, zk, where):
        wait_for("connection of the holder", lambda: self.zk.connected)
        assert self.zk.client_id[0] == self.id, f"{where}: the holder's session was lost"
        stat = zk.exists("/held")
        assert stat and stat.ephemeralOwner == self.id, f"{where}: the ephemeral is {stat and hex(stat.ephemeralOwner)}, not of {self.id:x}"


class Watcher:
    """Sees every value that stays, and what comes and goes below /flags."""

    def __init__(self):
        self.zk = client(ensemble.connect)
        self.id = self.zk.client_id[0]
        self.zk.create("/watched", b"0")
        self.zk.ensure_path("/flags")
        self.value, self.flags = None, None
        self.zk.DataWatch("/watched", self.saw_value)
        self.zk.ChildrenWatch("/flags", self.saw_flags)

    def saw_value(self, data, stat):
        self.value = data

    def saw_flags(self, children):
        self.flags = set(children)

    def check(self, zk, where):
        wait_for("connection of the watcher", lambda: self.zk.connected)
        assert self.zk.client_id[0] == self.id, f"{where}: the watcher's session was lost"
        value, flag = b"%d" % time.monotonic_ns(), f"f{time.monotonic_ns()}"
        retry(lambda: zk.set("/watched", value))
        retry(lambda: zk.create("/flags/" + flag))
        wait_for(f"event of /watched ({where})", lambda: self.value == value)
        wait_for(f"event of /flags ({where})", lambda: flag in (self.flags or ()))


def retry(call):
    for _ in range(100):
        try:
            return call()
        except NodeExistsError:
            return None
        except UNCERTAIN:
            time.sleep(0.1)
    return call()


# --- faults ---

def kill_leader():
    leader = ensemble.leader()
    leader.kill()
    wait_for("new leader", lambda: ensemble.leader())
    writes_go_on()
    leader.begin()


def kill_follower():
    member = next(m for m in ensemble.running() if m.mode() == "follower")
    member.kill()
    writes_go_on()
    member.begin()


def pause_leader():
    leader = ensemble.leader()
    leader.pause()
    wait_for("new leader", lambda: ensemble.leader())
    began = time.monotonic()
    writes_go_on()
    wait_for("longer than any session", lambda: time.monotonic() - began > TIMEOUT + 1.5)
    leader.resume()


def kill_all():
    ensemble.restart(signal.SIGKILL)


def rolling():
    for member in ensemble.members:
        member.stop()
        writes_go_on()
        member.begin()
        ensemble.wait_whole()


def writes_go_on():
    before = [len(writer.appended) for writer in writers]
    wait_for("writes", lambda: all(len(writer.appended) > count for writer, count in zip(writers, before)))


FAULTS = {"leader": kill_leader, "follower": kill_follower, "pause": pause_leader, "all": kill_all, "rolling": rolling}


# --- what must be true ---

def check(where):
    for member in ensemble.members:
        zk = client(f"{member.host}:{member.port}")
        try:
            for one in (*writers, holder, watcher):
                one.check(zk, f"{where}, keeper {member.number}")
        finally:
            zk.stop()
            zk.close()


def tree(zk, path="/"):
    """{path: (data, stat)} of everything but ZooKeeper's own."""
    found = {}
    for child in zk.get_children(path):
        full = path.rstrip("/") + "/" + child
        if full == "/zookeeper":
            continue
        found[full] = zk.get(full)
        if not found[full][1].ephemeralOwner:
            found.update(tree(zk, full))
    return found


def same_trees():
    trees = {}
    for member in ensemble.members:
        zk = client(f"{member.host}:{member.port}")
        zk.sync("/")
        trees[member.number] = tree(zk)
        zk.stop()
        zk.close()
    first = trees[1]
    for number, other in trees.items():
        different = [path for path in first.keys() | other.keys() if first.get(path) != other.get(path)]
        assert not different, f"keepers 1 and {number} differ in {different[:3]}"
    return len(first)


parser = argparse.ArgumentParser()
parser.add_argument("kind", nargs="?", default="ours")
parser.add_argument("--faults", default="leader,follower,pause,all,rolling,leader")
options = parser.parse_args()
ensemble = Ensemble(options.kind)
writers = []
try:
    ensemble.start()
    holder, watcher = Holder(), Watcher()
    writers = [Writer(number) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    writes_go_on()
    for fault in options.faults.split(","):
        for writer in writers:
            writer.longest_gap = 0.0
        began = time.monotonic()
        FAULTS[fault]()
        ensemble.wait_whole()
        writes_go_on()
        check(fault)
        gap = max(writer.longest_gap for writer in writers)
        print(f"{options.kind}, {fault}: well after {time.monotonic() - began:.1f} s, longest time without a write {gap:.2f} s, "
              f"{sum(len(w.appended) for w in writers)} appended", flush=True)
    for writer in writers:
        writer.ending.set()
        writer.join(30)
    lost = [writer.sessions for writer in writers if len(writer.sessions) > 1]
    assert not lost, f"writers lost their sessions: {lost}"
    check("in the end")
    print(f"{options.kind}: {same_trees()} znodes are the same everywhere", flush=True)
    watcher.zk.stop()
    holder.zk.stop()
    retry(lambda: writers[0].zk.sync("/"))
    assert retry(lambda: writers[0].zk.exists("/held")) is None, "the ephemeral outlived its session"
    for writer in writers:
        writer.zk.stop()
    for member in ensemble.members:
        member.stop()
except BaseException:
    print(*ensemble.tail(), sep="\n    ", flush=True)
    raise
finally:
    ensemble.kill()
