"""kafka-python: its own protocol code, admin, producer, group consumer."""
import os

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

B = os.environ["BOOTSTRAP"]
admin = KafkaAdminClient(bootstrap_servers=B)
admin.create_topics([NewTopic(name="kp", num_partitions=3, replication_factor=1)])
assert "kp" in admin.list_topics()

producer = KafkaProducer(bootstrap_servers=B, acks="all", compression_type="gzip")
futures = [producer.send("kp", key=b"k%d" % (i % 10), value=b"v%d" % i, headers=[("a", b"b")]) for i in range(1000)]
producer.flush(30)
offsets = {(f.get(10).partition, f.get(10).offset) for f in futures}
assert len(offsets) == 1000

consumer = KafkaConsumer("kp", bootstrap_servers=B, group_id="kpg", auto_offset_reset="earliest", enable_auto_commit=False,
                         consumer_timeout_ms=15000)
values = set()
for message in consumer:
    assert message.headers == [("a", b"b")]
    values.add(message.value)
    if len(values) == 1000:
        break
assert values == {b"v%d" % i for i in range(1000)}, len(values)
consumer.commit()
ends = consumer.end_offsets([TopicPartition("kp", p) for p in range(3)])
assert sum(ends.values()) == 1000
assert sum(consumer.committed(TopicPartition("kp", p)) or 0 for p in range(3)) == 1000
consumer.close()
admin.delete_topics(["kp"])
print("ok")
