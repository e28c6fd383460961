"""kill -9 in the middle of writing, again and again: every acknowledged record is there, in order, once."""
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from run import Broker

ROUNDS = int(os.environ.get("ROUNDS", "5"))
work = pathlib.Path(os.environ["WORK"]) / "own"
work.mkdir()
broker = Broker(os.environ["BINARY"], work)
slowest = 0.0
acknowledged = []  # sequence numbers, in the order they were sent
sent = 0
chance = random.Random(7)
for round_number in range(ROUNDS):
    began = time.monotonic()
    broker.start()
    slowest = max(slowest, time.monotonic() - began)
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{broker.port}", "enable.idempotence": True, "linger.ms": 1,
                         "message.timeout.ms": 3000, "retry.backoff.ms": 20, "log_level": 0})

    def delivered(err, message):
        if err is None:
            acknowledged.append(int(message.value().split()[0]))

    killer = threading.Timer(chance.uniform(0.3, 1.2), broker.kill)
    killer.start()
    while broker.process.poll() is None:
        try:
            producer.produce("life", b"%d %s" % (sent, b"x" * chance.randrange(2000)), partition=0, on_delivery=delivered)
            sent += 1
        except BufferError:
            producer.poll(0.05)
        producer.poll(0)
    killer.join()
    producer.purge()
    producer.flush(2)
broker.start()
consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{broker.port}", "group.id": "check", "enable.auto.commit": False,
                     "auto.offset.reset": "earliest", "enable.partition.eof": True})
consumer.assign([TopicPartition("life", 0, 0)])
found = []
while True:
    message = consumer.poll(10)
    assert message is not None, "nothing more within 10 s"
    if message.error():
        break
    found.append(int(message.value().split()[0]))
consumer.close()
assert found == sorted(found), "out of order"
assert len(found) == len(set(found)), "a record twice"
missing = set(acknowledged) - set(found)
assert not missing, f"{len(missing)} acknowledged records lost, first {min(missing)}"
status = broker.stop()
assert status == 0, f"exit code {status} at the end"
check = subprocess.run([os.environ["BINARY"], "log", "verify", str(work / "data")], capture_output=True, text=True)
assert check.returncode == 0, check.stdout + check.stderr
print(f"{ROUNDS} rounds, {len(acknowledged)} acknowledged, {len(found)} found, slowest start {slowest * 1000:.0f} ms")
sys.exit(0)
