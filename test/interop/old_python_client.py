"""confluent-kafka 1.7.0 and kafka-python 2.0.2: create, produce, a group of two, commits, describe, delete."""
import os
import threading
import time

import confluent_kafka
import kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

B = os.environ["BOOTSTRAP"]
assert confluent_kafka.version()[0] == "1.7.0" and kafka.__version__ == "2.0.2", (confluent_kafka.version(), kafka.__version__)


def confluent():
    admin = AdminClient({"bootstrap.servers": B})
    for future in admin.create_topics([NewTopic("old", 3, 1, config={"retention.ms": "86400000"})]).values():
        future.result(10)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "old")
    assert admin.describe_configs([resource])[resource].result(10)["retention.ms"].value == "86400000"
    for future in admin.create_partitions([NewPartitions("old", 4)]).values():
        future.result(10)
    producer = Producer({"bootstrap.servers": B, "enable.idempotence": True, "compression.codec": "lz4", "linger.ms": 5})
    failed = []
    for i in range(2000):
        producer.produce("old", key=f"k{i % 50}", value=f"v{i}", headers={"h": b"x"}, on_delivery=lambda err, _: err and failed.append(err))
    assert producer.flush(30) == 0 and not failed, failed[:1]

    seen, positions, shares, lock, done = {}, {}, [{}, {}], threading.Lock(), threading.Event()

    def member(number):
        consumer = Consumer({"bootstrap.servers": B, "group.id": "old-g", "auto.offset.reset": "earliest",
                             "enable.auto.commit": False, "session.timeout.ms": 6000})
        consumer.subscribe(["old"])
        while not done.is_set():
            message = consumer.poll(0.2)
            shares[number] = {p.partition for p in consumer.assignment()}
            if message is None or message.error():
                continue
            with lock:
                seen[(message.partition(), message.offset())] = message.value()
            consumer.commit(message, asynchronous=False)
        consumer.close()

    threads = [threading.Thread(target=member, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    deadline = time.time() + 60
    while time.time() < deadline and not (len(seen) == 2000 and all(shares) and len(shares[0] | shares[1]) == 4):
        time.sleep(0.1)
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(seen.values()) == sorted(b"v%d" % i for i in range(2000)), len(seen)
    assert not shares[0] & shares[1] and shares[0] | shares[1] == {0, 1, 2, 3}, shares
    checker = Consumer({"bootstrap.servers": B, "group.id": "old-g"})
    committed = checker.committed([TopicPartition("old", p) for p in range(4)], timeout=10)
    assert sum(p.offset for p in committed if p.offset > 0) == 2000, committed
    low_high = [checker.get_watermark_offsets(TopicPartition("old", p), timeout=10) for p in range(4)]
    assert sum(high for _, high in low_high) == 2000, low_high
    checker.close()
    assert any(group.id == "old-g" for group in admin.list_groups(timeout=10))
    for future in admin.delete_topics(["old"]).values():
        future.result(10)


def python():
    admin = KafkaAdminClient(bootstrap_servers=B)
    admin.create_topics([kafka.admin.NewTopic("older", 2, 1)])
    for codec in (None, "gzip"):
        producer = KafkaProducer(bootstrap_servers=B, acks="all", compression_type=codec)
        sent = [producer.send("older", key=b"k%d" % (i % 7), value=b"%s %d" % (str(codec).encode(), i)) for i in range(500)]
        producer.flush(30)
        assert len({(f.get(10).partition, f.get(10).offset) for f in sent}) == 500
        producer.close()
    consumer = KafkaConsumer("older", bootstrap_servers=B, group_id="older-g", auto_offset_reset="earliest", enable_auto_commit=False,
                             consumer_timeout_ms=15000)
    values = set()
    for message in consumer:
        values.add(message.value)
        if len(values) == 1000:
            break
    assert len(values) == 1000
    consumer.commit()
    consumer.close()
    offsets = admin.list_consumer_group_offsets("older-g")
    assert sum(o.offset for o in offsets.values()) == 1000, offsets
    described = admin.describe_consumer_groups(["older-g"])[0]
    assert described.group == "older-g" and described.state in ("Empty", "Dead", "Stable"), described
    admin.delete_consumer_groups(["older-g"])
    admin.delete_topics(["older"])
    end = time.time() + 10
    while "older" in admin.list_topics():
        assert time.time() < end
        time.sleep(0.1)


confluent()
python()
print("ok")
