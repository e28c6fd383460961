"""keeper_fuzz: random request scripts to Apache ZooKeeper and to our keeper, answers compared byte for byte (keeper_diff.py, keeper_diff_wide.py).

    WORK=$(mktemp -d) BINARY=build/odradek keeper_fuzz.py [--seeds 1:4] [--seconds 30] [--steps 100000] [--each 15] [--restarts 0.001] [--members]

With --members there are two ensembles of three, and a follower of each is asked. From seed to seed, each on two fresh servers with settings of its own, until the time is up; a seed has `--each` seconds at most. What
differs on purpose is not asked, and listed in docs/keeper.md. The first seed with a difference ends it.
"""
import argparse
import itertools
import shutil
import struct
import sys
import time
import urllib.request

from keeper_diff import OPS, WORLD, acl, compare, ustring
from keeper_diff_wide import Settings, Wide, WideSide
from run import free_port
from wire_keeper import ADMIN_JARS, Ensemble, Keeper, jars

def alone(seed, settings):
    """Two that stand alone: who is asked, and what ends."""
    keepers = [Keeper("apache"), Keeper("ours")]
    for keeper in keepers:
        settings.give(keeper.kind, keeper)
    return keepers, lambda: keepers


def ensembles(seed, settings):
    both = [Ensemble("apache"), Ensemble("ours")]
    for ensemble in both:
        for member in ensemble.members:
            settings.give(ensemble.kind, member)
    return both, lambda: [next(m for m in ensemble.members if m.mode() == "follower") for ensemble in both]


def has_backup(seed, settings):
    """Without quotas, which Apache's counts anew, and with the right to do it."""
    return settings.may_restart and seed % 8 == 1


def give_admin(keeper):
    """An admin server to one that has not started."""
    keeper.admin = free_port()
    if keeper.kind == "apache":
        keeper.command[keeper.command.index("-cp") + 1] = str(jars("zookeeper-3.9.4-admin", *ADMIN_JARS)) + "/*"
    with open(keeper.config, "a") as config:
        config.write(f"admin.enableServer=true\nadmin.serverPort={keeper.admin}\nadmin.serverAddress=127.0.0.1\nadmin.rateLimiterIntervalInMS=0\n")


def ask_admin(keeper, command, body=None):
    headers = {"Authorization": "digest super:secret", "Content-Type": "application/octet-stream"}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{keeper.admin}/commands/{command}", headers=headers, data=body), timeout=30) as answer:
        return answer.read()


def back_up(keepers, sides):
    """The snapshot of each is restored by the other, which then has just that tree. How many differ."""
    snapshots = [ask_admin(keeper, "snapshot") for keeper in keepers]
    trees, known = [[told[:2] + told[2][2:] for told in side.walk()] for side in sides], [dict(side.sessions) for side in sides]
    different = 0
    for to in (0, 1):
        for path in ("/later", "/later/x"):  # than the snapshot
            sides[to].connections[0].ask(1, OPS["create"], ustring(path) + ustring(b"x") + acl(WORLD) + struct.pack(">i", 0))
        ask_admin(keepers[to], "restore", snapshots[1 - to])
        sides[to].sessions = known[1 - to]
        tree = [told[:2] + told[2][2:] for told in sides[to].walk()]
        for was, told in itertools.zip_longest(trees[1 - to], tree):
            if was != told:
                print(f"restored by {keepers[to].kind}: {told}\n  was at the other's: {was}", flush=True)
                different += 1
                break
    return different


def run(seed, args):
    """How many steps were answered differently, how many were asked, and in how many seconds."""
    settings = Settings(seed, args.members)
    keepers, asked = (ensembles if args.members else alone)(seed, settings)
    try:
        is_backed_up = not args.members and has_backup(seed, settings)
        for keeper in keepers:
            if is_backed_up:
                give_admin(keeper)
            keeper.start()
        began = time.monotonic()
        sides = [WideSide(f"{k.host}:{k.port}", settings, k) for k in asked()]
        script = Wide(seed, settings, args.restarts)
        differences, steps = compare(*sides, script, args.steps, limit=3, seconds=args.each, last=[("walk", 0, 0, 0, b"")])
        if is_backed_up and not differences:
            differences += back_up(keepers, sides)
        if differences:
            print("  with", *settings.lines, *settings.properties.items())
        return differences, steps, time.monotonic() - began
    except BaseException:
        print(f"seed {seed}:", *(line for keeper in keepers for line in keeper.tail()), sep="\n    ", flush=True)
        raise
    finally:
        for keeper in keepers:
            keeper.kill()
            for part in getattr(keeper, "members", [keeper]):
                shutil.rmtree(part.directory)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="1:1000000")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--each", type=float, default=15)
    parser.add_argument("--restarts", type=float, default=0.001, help="how often a step of the wider ones kills both servers")
    parser.add_argument("--members", action="store_true", help="ensembles of three, a follower of each")
    parser.add_argument("--go-on", action="store_true", help="after a difference, too")
    args = parser.parse_args()
    first, last = map(int, args.seeds.split(":"))
    end, asked, bad, fuzzed = time.monotonic() + args.seconds, 0, 0, 0
    for seed in range(first, last + 1):
        differences, steps, seconds = run(seed, args)
        asked += steps
        bad += differences > 0
        fuzzed += seconds
        print(f"seed {seed}: {steps} steps in {seconds:.1f} s, {differences} differences", flush=True)
        if (differences and not args.go_on) or time.monotonic() > end:
            break
    print(f"{asked} steps in {fuzzed:.0f} s, {bad} seeds with differences")
    sys.exit(1 if bad else 0)


main()
