"""broker_fuzz: random scripts of requests to an Apache Kafka 3.9.2 broker (ZooKeeper mode) and to ours; the same bytes, answers compared.

    WORK=$(mktemp -d) BINARY=build/odradek broker_fuzz.py [--seeds 1:1000000] [--seconds 60] [--steps 60] [--only Produce,Fetch] [--go-on]

A seed makes a script (broker_alphabet.py), whose topics and groups no other run has; both brokers live through many of them. The first
script with a difference is shortened while it still shows one, and printed. What must differ is left out by broker_compare.py; what
differs on purpose is in docs/broker-cases.md and in broker_excuses.py.
"""
import argparse
import collections
import contextlib
import os
import pprint
import sys
import time

import broker_wire as wire
from broker_alphabet import Script
from broker_compare import Run
from broker_excuses import is_excused
from broker_pair import Broker, Side

runs = 0


def shared_versions(brokers):
    """{api: (first, last)} of what both say they serve."""
    ranges = []
    for broker in brokers:
        side = Side(broker, "")
        side.send(0, {"api": 18, "version": 0, "body": {}, "conn": 0})
        found = []
        while not found:
            found = side.answers()
        ranges.append({item["ApiKey"]: (item["MinVersion"], item["MaxVersion"]) for item in found[0][1]["ApiKeys"]})
        side.close()
    ours, theirs = ranges
    return {api: (max(ours[api][0], theirs[api][0]), min(ours[api][1], theirs[api][1])) for api in ours if api in theirs}


def warm(broker):
    """Until it has producer ids to give, and the topic of offsets."""
    for api, body in ((22, {"TransactionalId": None}), (10, {"Key": "x"})):
        side, code = Side(broker, ""), -1
        while code:
            side.send(0, {"api": api, "version": 0, "body": body, "conn": 0})
            found = []
            while not found:
                found = side.answers()
            code = found[0][1]["ErrorCode"]
            time.sleep(0.1)
        side.close()


def differences(brokers, steps, limit=1, end=None):
    global runs
    runs += 1
    run = Run(brokers, f"x{os.getpid() % 1000}r{runs}", steps, is_excused)
    return run.go(limit, end), run.compared


def shortened(brokers, steps, api, seconds):
    """The script with whatever can go taken out, from the back, in halves."""
    end, size = time.monotonic() + seconds, max(1, len(steps) // 2)
    while time.monotonic() < end:
        at, before = len(steps), len(steps)
        while at > 0 and time.monotonic() < end:
            fewer = steps[:max(0, at - size)] + steps[at:]
            found, _ = differences(brokers, fewer)
            if found and fewer[found[0][0]]["api"] == api:
                steps = fewer[:found[0][0] + 1]
                at = min(at, len(steps))
            at -= size
        if size == 1 and len(steps) == before:
            break
        size = max(1, size // 2)
    return steps


def show(steps, found):
    for number, step in enumerate(steps):
        rest = {k: v for k, v in step.items() if k not in ("api", "version", "body") and (k, v) != ("conn", 0)}
        print(f"  {number}: {wire.NAMES.get(step['api'], step['api'])} v{step['version']} {step['body']} {rest or ''}")
    for number, ours, theirs in found:
        print(f"  step {number}:")
        only_different(ours, theirs, "    ")


def signature(ours, theirs, name=""):
    """Where two answers part, without the values that are numbers of offsets and the like."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [key for key in sorted({*ours, *theirs}) if ours.get(key, "absent") != theirs.get(key, "absent")]
        key = "ErrorCode" if "ErrorCode" in keys else keys[0]
        return signature(ours.get(key, "absent"), theirs.get(key, "absent"), f"{name}.{key}")
    if isinstance(ours, list) and isinstance(theirs, list):
        right = list(theirs)
        left = [item for item in ours if item not in right or right.remove(item)]
        if len(left) == len(right) or left and right:
            return signature(left[0], right[0], f"{name}[]")
        return f"{name}[]: {len(left)} only ours, {len(right)} only Apache's"
    shown = [value if isinstance(value, (int, bool, type(None))) else str(value)[:30] for value in (ours, theirs)]
    return f"{name}: ours {shown[0]}, Apache's {shown[1]}"


def survey(brokers, scripts, end):
    """All kinds of differences, the most frequent first, each with one example; no script is shortened."""
    kinds, asked = collections.defaultdict(list), 0
    with contextlib.suppress(KeyboardInterrupt):
        for steps in scripts:
            found, compared = differences(brokers, steps, 4, end)
            asked += compared
            for number, ours, theirs in found:
                step = steps[number]
                kinds[f"{wire.NAMES.get(step['api'])} {signature(ours, theirs)}"].append((step, ours, theirs))
            if time.monotonic() > end:
                break
    for kind, examples in sorted(kinds.items(), key=lambda pair: -len(pair[1])):
        step, ours, theirs = min(examples, key=lambda example: len(repr(example[0])))
        print(f"{len(examples)} {kind}\n    v{step['version']} {step['body']} { {k: v for k, v in step.items() if k in ('harm', 'client')} or ''}")
        only_different(ours, theirs, "      ")
    print(f"{asked} requests, {sum(map(len, kinds.values()))} differences of {len(kinds)} kinds")


def only_different(ours, theirs, indent, name=""):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            if ours.get(key, "absent") != theirs.get(key, "absent"):
                only_different(ours.get(key, "absent"), theirs.get(key, "absent"), indent, f"{name}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        right = list(theirs)
        left = [item for item in ours if item not in right or right.remove(item)]
        if len(left) == len(right):
            for pair in zip(left, right):
                only_different(*pair, indent, f"{name}[]")
        else:
            print(f"{indent}{name}: {len(ours)} against {len(theirs)}\n{indent}  ours only {left}\n{indent}  apache only {right}")
    else:
        print(f"{indent}{name}: ours {pprint.pformat(ours, width=140, compact=True)}, apache {pprint.pformat(theirs, width=140, compact=True)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="1:1000000")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--shorten", type=float, default=40, help="for how many seconds a script is shortened")
    parser.add_argument("--only", default="", help="names of APIs; of all others only what they need")
    parser.add_argument("--survey", action="store_true", help="tell all kinds of differences")
    parser.add_argument("--go-on", action="store_true", help="after a difference, too")
    args = parser.parse_args()
    first, last = map(int, args.seeds.split(":"))
    brokers = [Broker("ours"), Broker("apache")]
    asked, bad, counts = 0, 0, collections.Counter()
    try:
        for broker in brokers:
            broker.wait()
        for broker in brokers:
            warm(broker)
        versions = shared_versions(brokers)
        print(f"{len(versions)} APIs, {sum(b - a + 1 for a, b in versions.values())} versions of them", flush=True)
        only = {wire.KEYS[name] for name in args.only.split(",") if name}
        end = time.monotonic() + args.seconds
        if args.survey:
            return survey(brokers, (Script(seed, versions, only).steps(args.steps) for seed in range(first, last + 1)), end)
        for seed in range(first, last + 1):
            steps = Script(seed, versions, only).steps(args.steps)
            found, compared = differences(brokers, steps)
            asked += compared
            counts.update((step["api"], step["version"]) for step in steps)
            for broker in brokers:
                assert broker.is_alive(), f"seed {seed}: {broker.kind} is gone\n{broker.tail()}"
            if found:
                bad += 1
                steps = steps[:found[0][0] + 1]
                print(f"seed {seed}: {wire.NAMES.get(steps[-1]['api'])} v{steps[-1]['version']} differs", flush=True)
                fewer = shortened(brokers, steps, steps[-1]["api"], args.shorten)
                again, _ = differences(brokers, fewer)
                show(*((fewer, again) if again else (steps, found)))
                print("", end="", flush=True)
            if (found and not args.go_on) or time.monotonic() > end:
                break
        print(f"{asked} requests of {len(counts)} kinds ({len({api for api, _ in counts})} APIs), {bad} of {seed - first + 1} scripts with differences")
    finally:
        for broker in brokers:
            broker.kill()
    sys.exit(1 if bad else 0)


main()
