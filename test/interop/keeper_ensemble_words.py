"""keeper_ensemble_words: srvr, stat, mntr, conf and isro of a leader, two followers and an observer, on Apache's servers and on ours: the same lines, and
the same values where they are no measurement.

    BINARY=build/odradek WORK=$(mktemp -d) keeper_ensemble_words.py
"""
import re
import sys
import time

from kazoo.client import KazooClient

from wire_keeper import Ensemble, word

# What both must have, or lack, in each role; values of the first line are compared as well.
EXACT = ("server_state peer_state quorum_size learners synced_followers synced_non_voting_followers synced_observers pending_syncs znode_count ephemerals_count "
         "watch_count num_alive_connections global_sessions local_sessions outstanding_requests").split()
NAMES = ("version avg_latency max_latency min_latency packets_received packets_sent approximate_data_size open_file_descriptor_count max_file_descriptor_count uptime "
         "leader_uptime last_client_response_size last_proposal_size max_proposal_size min_proposal_size proposal_count "
         "connection_rejected stale_sessions_expired bytes_received_count").split()


def with_observer(ensemble):
    """The last member is one."""
    last = ensemble.members[-1]
    line = f"server.{last.number}={last.host}:{last.quorum_port}:{last.election_port}"
    for member in ensemble.members:
        text = member.config.read_text().replace(line, line + ":observer")
        member.config.write_text(text + ("peerType=observer\n" if member is last else ""))


def up(ensemble):
    for member in ensemble.members:
        member.begin()
    end = time.monotonic() + 90
    while sorted(ensemble.modes().values()) != ["follower", "follower", "leader", "observer"]:
        assert time.monotonic() < end, (ensemble.modes(), ensemble.tail())
        time.sleep(0.1)
    return {mode: next(m for m in ensemble.members if m.mode() == mode) for mode in ("leader", "follower", "observer")}


def lines_of(text):
    """The names of the lines of srvr and stat; clients with their addresses blurred."""
    text = re.sub(r"/[0-9.:\[\]a-f]+\[\d\]\(.*\)", "/CLIENT", text)
    return [line if "Mode" in line or "CLIENT" in line else line.split(":")[0] for line in text.splitlines()]


def mntr(text):
    values = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    found = {name: values.get("zk_" + name) for name in EXACT}
    # As floats where the provider of metrics makes them.
    found = {name: value if value is None or not re.fullmatch(r"\d+(\.0)?", value) else int(float(value)) for name, value in found.items()}
    return found | {name: "there" if "zk_" + name in values else None for name in NAMES}


def conf(text):
    """The names of its lines, the membership without ports; ours names the founder's client port as well."""
    return [re.sub(r"\d+\.\d+\.\d+\.\d+:\d+:\d+|;.*$", "", line) if line.startswith("server.") else line.split("=")[0] for line in text.splitlines()]


def told(kind):
    ensemble = Ensemble(kind, size=4)
    with_observer(ensemble)
    try:
        roles = up(ensemble)
        first = ensemble.members[0]
        zk = KazooClient(hosts=f"{first.host}:{first.port}", timeout=10)
        zk.start(timeout=20)
        zk.create("/a", b"1")
        zk.create("/e", b"", ephemeral=True)
        if zk.get("/a", watch=lambda event: None):
            zk.sync("/a")
        clients = [KazooClient(hosts=f"{m.host}:{m.port}", timeout=10) for m in roles.values()]
        for client in clients:
            client.start(timeout=20)
            client.sync("/")
        time.sleep(1)  # sessions and pings have been counted everywhere
        found = {}
        for role, member in roles.items():
            ask = lambda what: word(member.host, member.port, what, 5)
            found[role, "isro"] = ask("isro")
            found[role, "srvr"] = lines_of(ask("srvr"))
            found[role, "stat"] = [line for line in lines_of(ask("stat")) if "CLIENT" not in line]
            found[role, "mntr"] = mntr(ask("mntr"))
            found[role, "conf"] = conf(ask("conf"))
        for client in [zk, *clients]:
            client.stop()
            client.close()
        return found
    finally:
        ensemble.kill()


def main():
    apache, ours = told("apache"), told("ours")
    differences = 0
    for key in apache:
        a, b = apache[key], ours[key]
        if isinstance(a, dict):  # where our first member is may be another role's than Apache's, and with it one client and one watch
            a, b = ({k: v for k, v in d.items() if k not in ("num_alive_connections", "watch_count")} for d in (a, b))
            wrong = {name: (a[name], b[name]) for name in a if a[name] != b[name]}
        else:
            wrong = None if a == b else (a, b)
        if wrong:
            differences += 1
            print("DIFFERS", *key, wrong)
    assert not differences, f"{differences} differences"
    print(f"ok, {len(apache)} answers of a leader, a follower and an observer")


sys.exit(main())
