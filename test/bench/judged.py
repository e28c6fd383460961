#!/usr/bin/env python3
"""judged.py BENCH.PY ARGS: bench.py with two tests more, made of its own windows and nothing else.

judged  the windows that docs/benchmarks.md judges, on one server after the common warm-up: about 90 seconds instead of the
        five minutes of requests,produce,consume,latency, so that three servers alternate in a quarter of an hour.
single  only the warm-up and c1_d1, three windows: what a second loop costs.
"""
import importlib.util
import os
import sys

spec = importlib.util.spec_from_file_location("bench", sys.argv.pop(1))
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
bench.HERE = os.path.dirname(os.path.abspath(spec.origin))
W, sub = bench.W, bench.sub


def touch():
    """A virtual machine gives free pages back to its host, and getting each again costs whoever writes next about a second of
    CPU a gigabyte. Pages just touched are there, for either server: as many as the faster one may write in the window and its
    warm-up, where the machine has them to spare (a broker that has run for a day has all memory touched)."""
    available = int(open("/proc/meminfo").read().split("MemAvailable:")[1].split()[0]) / (1 << 20)
    bench.sh([os.path.join(bench.A.bin, "limits"), "touch", "--gb", "%.1f" % min(10, available / 2) if not bench.A.quick else "0.5"])


@bench.test("broker")
def single(s, r):
    """produce requests of one 100-byte record, one connection, one in flight"""
    s.start()
    s.ready()
    s.warm(16)
    s.topic("r12", 12)
    for _ in range(3):
        sub(r, "c1_d1", s.kl("produce", topic="r12", size=100, batch=1, conns=1, depth=1, warm=W(1), seconds=W(3)))


@bench.test("broker")
def judged(s, r):
    """the windows of docs/benchmarks.md"""
    s.start()
    s.ready()
    s.warm(20)
    s.topic("r12", 12)
    sub(r, "c1_d1", s.kl("produce", topic="r12", size=100, batch=1, conns=1, depth=1, warm=W(1), seconds=W(3)))
    s.topic("l1", 1)
    s.kl("e2e", topic="l1", rate=5000, pconns=4, warm=0, seconds=W(4))
    sub(r, "1k_p1_acks1", s.kl("e2e", topic="l1", rate=1000, pconns=1, acks=1, size=1000, warm=W(1), seconds=W(5)))
    s.topic("t12", 12)
    base = dict(topic="t12", size=1000, conns=2, depth=5, warm=W(1.5), seconds=W(4))
    touch()
    sub(r, "1k_linger0", s.kl("produce", **dict(base, batch=1, conns=16)))
    touch()
    sub(r, "1k_64k_acks1", s.kl("produce", **dict(base, batch=64)))
    s.topic("c12", 12)
    s.kl("produce", topic="c12", size=1000, batch=64, conns=2, warm=0, seconds=W(4))
    sub(r, "catchup_1", s.kl("fetch", topic="c12", conns=1, warm=W(2), seconds=W(4)))
    sub(r, "catchup_4", s.kl("fetch", topic="c12", conns=4, warm=W(2), seconds=W(4)))


bench.main()
