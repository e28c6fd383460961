#!/usr/bin/env python3
"""recovery.py BENCH.PY ARGS: bench.py with one test more, recovery100: GB (default 10) in 100 partitions, then kill -9 three times.

Judged: exec to the first produce that every partition takes, at most 1/10 of Apache's. The records are batches of 100 of 1,000
bytes in segments of the default size, so nothing was ever synced and everything has to be read again; most of it is in the page
cache, for the machine stays up. Between the kills nothing is written but the probe's record for each partition.
"""
import importlib.util
import os
import signal
import sys

spec = importlib.util.spec_from_file_location("bench", sys.argv.pop(1))
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
bench.HERE = os.path.dirname(os.path.abspath(spec.origin))
GB = float(os.environ.get("GB", "10"))


@bench.test("broker")
def recovery100(s, r):
    """kill -9 with 100 partitions and 10 GB on disk, three times: time until every partition takes a produce"""
    s.start()
    s.ready()
    s.topic("big", 100)
    filled = 0.0
    while filled < GB * 1000:
        m = s.kl("produce", topic="big", size=1000, batch=100, parts_per_req=10, conns=2, warm=0, seconds=2)
        filled += m["throughput"][0] * m["window_s"][0]
    r["fill.data"] = (filled / 1000, "GB")
    for _ in range(3):
        s.signal(1, signal.SIGKILL)
        t0 = s.start()
        m = s.kl("probe", "all", topic="big", t0=t0)
        bench.sub(r, "unclean", m, keep=("first_produce", "all_produce"))
        bench.sub(r, "unclean", {"cpu": (bench.cpu(s.pid()) * 1000, "ms")}, keep=None)
    s.signal(1, signal.SIGTERM, 120)
    t0 = s.start()
    m = s.kl("probe", "all", topic="big", t0=t0)
    r["clean.first_produce"], r["clean.all_produce"] = m["first_produce"], m["all_produce"]


bench.main()
