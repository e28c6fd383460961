"""keeper_reconfig: a client takes the very member that it is connected to out of an ensemble: a follower, then a leader. On Apache's servers and
on ours it hears that this is done, behind what it asked before, and the others go on without the member.

    BINARY=build/odradek WORK=$(mktemp -d) keeper_reconfig.py
"""
import logging
import re
import time

from kazoo.client import KazooClient

from wire_keeper import Ensemble, same_on_both

logging.disable(logging.CRITICAL)


def client(members):
    zk = KazooClient(hosts=",".join(f"{m.host}:{m.port}" for m in members), timeout=20,
                     connection_retry={"max_tries": -1, "delay": 0.05, "max_delay": 0.3})
    zk.start(timeout=40)
    return zk


def servers_of(config):
    return len(re.findall(r"(?m)^server\.\d+=", config.decode()))


def leave(ensemble, member, what):
    inside = client([member])
    before = inside.create_async(f"/{what}", b"x")
    asked = inside.reconfig_async(None, str(member.number), None, -1)
    assert before.get(timeout=20) == f"/{what}"
    config, stat = asked.get(timeout=20)
    assert f"server.{member.number}=" not in config.decode() and stat.mzxid == int(config.decode().rsplit("=", 1)[1], 16), config
    inside.stop()
    inside.close()
    member.kill()
    rest = [m for m in ensemble.members if m.is_running()]
    outside = client(rest)
    end = time.monotonic() + 30
    while not ensemble.leader():
        assert time.monotonic() < end, "nobody leads"
        time.sleep(0.05)
    outside.create(f"/{what}/after", b"y")
    outside.sync("/")
    said = f"{what} is out: {servers_of(config)} are left, and {servers_of(outside.get('/zookeeper/config')[0])} in the znode"
    outside.stop()
    outside.close()
    return said


def session(kind):
    ensemble = Ensemble(kind, size=4, reconfigEnabled="true", skipACL="yes")
    try:
        ensemble.start()
        follower = next(m for m in ensemble.members if m.mode() == "follower")
        lines = [leave(ensemble, follower, "follower")]
        return lines + [leave(ensemble, ensemble.leader(), "leader")]
    except BaseException:
        print(*ensemble.tail(), sep="\n    ", flush=True)
        raise
    finally:
        ensemble.kill()


for line in same_on_both(session, "a client of a member that leaves"):
    print(line)
