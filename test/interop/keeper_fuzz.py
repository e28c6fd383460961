"""keeper_fuzz: random request scripts to Apache ZooKeeper and to our keeper, answers compared byte for byte (keeper_diff.py).

    WORK=$(mktemp -d) BINARY=build/odradek keeper_fuzz.py [--seeds 1:4] [--seconds 30] [--steps 3000]

From seed to seed, each on two fresh servers, until the time is up; every third seed with quotas enforced. What differs on purpose is
not asked, and listed in docs/keeper.md. The first seed with a difference ends it.
"""
import argparse
import os
import shutil
import signal
import sys
import time

from keeper_diff import Script, compare
from wire_keeper import Keeper

SUPER = "super:lK75jTNcA+U9vtVEw5vB51mj/w4="  # super:secret


def run(seed, steps):
    keepers = [Keeper("apache"), Keeper("ours")]
    try:
        for keeper in keepers:
            with open(keeper.config, "a") as config:
                config.write(f"extendedTypesEnabled=true\nDigestAuthenticationProvider.superDigest={SUPER}\n"
                             f"enforceQuota={'true' if seed % 3 == 0 else 'false'}\n")
            keeper.start()
        script = Script(seed, more=True, enforces=seed % 3 == 0)
        return compare([f"{k.host}:{k.port}" for k in keepers], script, steps, limit=3)
    finally:
        for keeper in keepers:
            if keeper.process:
                keeper.process.send_signal(signal.SIGKILL)
                keeper.process.wait()
            shutil.rmtree(keeper.directory)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="1:1000000")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--go-on", action="store_true", help="after a difference, too")
    args = parser.parse_args()
    first, last = map(int, args.seeds.split(":"))
    end, asked, bad = time.monotonic() + args.seconds, 0, 0
    for seed in range(first, last + 1):
        differences, steps = run(seed, args.steps)
        asked += steps
        bad += differences > 0
        print(f"seed {seed}: {steps} steps, {differences} differences", flush=True)
        if (differences and not args.go_on) or time.monotonic() > end:
            break
    print(f"{asked} steps, {bad} seeds with differences")
    sys.exit(1 if bad else 0)


main()
