"""confluent-kafka (librdkafka): admin, idempotent producer, groups with rebalances, commits, delete."""
import os
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import KafkaError, TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions,
                                   NewTopic)

B = {"bootstrap.servers": os.environ["BOOTSTRAP"]}
admin = AdminClient(B)
for future in admin.create_topics([NewTopic("t", 4, 1, config={"retention.ms": "86400000"})]).values():
    future.result(10)
resource = ConfigResource(ConfigResource.Type.TOPIC, "t")
config = admin.describe_configs([resource])[resource].result(10)
assert config["retention.ms"].value == "86400000", config["retention.ms"].value
for future in admin.create_partitions([NewPartitions("t", 6)]).values():
    future.result(10)
assert len(admin.list_topics("t", timeout=10).topics["t"].partitions) == 6

delivered = []
producer = Producer({**B, "enable.idempotence": True, "linger.ms": 5})
for i in range(3000):
    producer.produce("t", key=f"k{i % 100}", value=f"v{i}", headers=[("h", b"x")],
                     on_delivery=lambda err, m: delivered.append((err, m.partition(), m.offset())))
assert producer.flush(30) == 0
assert len(delivered) == 3000 and all(err is None for err, _, _ in delivered)
assert len({d[1:] for d in delivered}) == 3000

seen, lock = {}, threading.Lock()
done = threading.Event()
consumers = []


def member(name):
    consumer = Consumer({**B, "group.id": "g", "client.id": name, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                         "session.timeout.ms": 6000})
    consumers.append(consumer)
    consumer.subscribe(["t"])
    while not done.is_set():
        message = consumer.poll(0.2)
        if message is None:
            continue
        assert not message.error(), message.error()
        with lock:
            place = (message.partition(), message.offset())
            assert place not in seen or seen[place] == message.value()
            seen[place] = message.value()
        try:
            consumer.commit(message, asynchronous=True)
        except KafkaException:
            pass
    consumer.close()


threads = [threading.Thread(target=member, args=(f"m{i}",), daemon=True) for i in range(2)]
for thread in threads:
    thread.start()
deadline = time.time() + 60
while len(seen) < 3000 and time.time() < deadline:
    time.sleep(0.1)
assert len(seen) == 3000, len(seen)
assert {v.decode() for v in seen.values()} == {f"v{i}" for i in range(3000)}
groups = admin.list_consumer_groups(request_timeout=10).result()
assert "g" in [g.group_id for g in groups.valid], groups
deadline = time.time() + 30
while True:  # the first may have read everything before the second has joined
    description = admin.describe_consumer_groups(["g"], request_timeout=10)["g"].result()
    if len(description.members) == 2 or time.time() > deadline:
        break
    time.sleep(0.1)
assert len(description.members) == 2, [m.client_id for m in description.members]
done.set()
for thread in threads:
    thread.join()

reader = Consumer({**B, "group.id": "g"})
committed = reader.committed([TopicPartition("t", p) for p in range(6)], timeout=10)
assert sum(max(c.offset, 0) for c in committed) == 3000, committed
low, high = reader.get_watermark_offsets(TopicPartition("t", 0), timeout=10)
assert low == 0
found = reader.offsets_for_times([TopicPartition("t", 0, 0)], timeout=10)
assert found[0].offset == 0, found
reader.close()
admin.delete_consumer_groups(["g"], request_timeout=10)["g"].result()


# What is configured holds for the very next record.
def alter(kind, name, **changes):
    entries = [ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET if value is not None
                           else AlterConfigOpType.DELETE) for key, value in changes.items()]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(10)


def produce_one(size):
    told = []
    producer = Producer({**B, "message.max.bytes": 10000000})
    producer.produce("t", b"x" * size, on_delivery=lambda err, m: told.append((err, m)))
    assert producer.flush(10) == 0
    return told[0]


def refused(size):
    err, _ = produce_one(size)
    return err is not None and err.code() == KafkaError.MSG_SIZE_TOO_LARGE


TOPIC, BROKER = ConfigResource.Type.TOPIC, ConfigResource.Type.BROKER
broker = str(next(iter(admin.list_topics(timeout=10).brokers)))
for kind, name, key in [(TOPIC, "t", "max_message_bytes"), (BROKER, broker, "message_max_bytes")]:
    for _ in range(20):
        assert not refused(2000)
        alter(kind, name, **{key: "1000"})
        assert refused(2000), (kind, name)
        assert not refused(100)
        alter(kind, name, **{key: None})
alter(TOPIC, "t", message_timestamp_type="LogAppendTime")
assert produce_one(10)[1].timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME

for future in admin.delete_topics(["t"]).values():
    future.result(10)
deadline = time.time() + 10
while "t" in admin.list_topics(timeout=10).topics and time.time() < deadline:
    time.sleep(0.1)
assert "t" not in admin.list_topics(timeout=10).topics
print("ok")
