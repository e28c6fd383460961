"""cluster_load: one idempotent producer with acks=all and one group reading, both all the while; then what must be true of it.

Every record carries its partition's own number, 0, 1, 2, ...; an acknowledged record must be found once, at the offset that the
producer heard, behind the one before it.
"""
import subprocess
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from cluster import JAVA, WORK, kafka_jars

RETRY = {"log_level": 0, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 5000}


class Load:
    def __init__(self, cluster, topic, partitions, rate=400):
        self.servers, self.topic, self.partitions, self.rate = cluster.bootstrap, topic, partitions, rate
        self.acknowledged = [[] for _ in range(partitions)]  # [partition]: (number, offset), in the order of the answers
        self.sent = [0] * partitions
        self.seen = [[] for _ in range(partitions)]  # what the group read, by offset
        self.problems, self.fatal = [], threading.Event()
        self.longest_gap, self.last_ack = 0.0, 0.0
        self.ending, self.is_written = threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=self.guard, args=(run,), daemon=True) for run in (self.produce, self.consume)]

    def guard(self, run):
        try:
            run()
        except BaseException as problem:  # told to the test by check()
            self.problems.append(f"{run.__name__}: {problem!r}")

    def start(self):
        for thread in self.threads:
            thread.start()

    @property
    def count(self):
        return sum(map(len, self.acknowledged))

    def check(self):
        assert not self.problems, self.problems[:3]

    def delivered(self, err, message):
        if err is not None:
            self.problems.append(f"record not delivered: {err.str()} (partition {message.partition()})")
            return
        now = time.monotonic()
        if self.last_ack:
            self.longest_gap = max(self.longest_gap, now - self.last_ack)
        self.last_ack = now
        number, offset = int(message.value().split()[0]), message.offset()
        # "Was written already", said after five batches more, names no offset.
        self.acknowledged[message.partition()].append((number, -1 if offset is None else offset))

    def produce(self):
        producer = Producer({"bootstrap.servers": self.servers, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
                             "message.timeout.ms": 180000, "retry.backoff.ms": 50, "socket.timeout.ms": 10000,
                             "queue.buffering.max.messages": 4000, **RETRY})
        began, total = time.monotonic(), 0
        while not self.ending.is_set():
            partition = total % self.partitions
            try:
                number = self.sent[partition]
                producer.produce(self.topic, b"%d %s" % (number, b"x" * (number * 37 % 900)), partition=partition, on_delivery=self.delivered)
                self.sent[partition] += 1
                total += 1
            except BufferError:
                began += 0.1
                producer.poll(0.1)
            producer.poll(max(0, began + total / self.rate - time.monotonic()))
        left = producer.flush(120)
        if left:
            self.problems.append(f"{left} records without an answer at the end")

    def consume(self):
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "readers", "auto.offset.reset": "earliest",
                             "auto.commit.interval.ms": 1000, "session.timeout.ms": 10000, **RETRY})
        consumer.subscribe([self.topic])
        while not self.is_written.is_set() or (self.behind() and not self.problems and time.monotonic() < self.deadline):
            message = consumer.poll(0.2)
            if message is None or message.error():
                continue
            seen, offset = self.seen[message.partition()], message.offset()
            value = int(message.value().split()[0])
            if offset < len(seen):
                assert seen[offset] == value, f"partition {message.partition()} offset {offset} was {seen[offset]}, is {value}"
            else:
                assert offset == len(seen), f"partition {message.partition()}: offset {offset} after {len(seen)} records"
                seen.append(value)
        consumer.close()

    def behind(self):
        """A group that lost a commit would go on from the wrong place; one that is too slow shows here."""
        return any(len(acknowledged) > len(seen) for acknowledged, seen in zip(self.acknowledged, self.seen))

    def end(self, with_java=True):
        """Stops both; checks all that was acknowledged against the group, a new consumer and Apache's own."""
        self.ending.set()
        for thread in self.threads:
            thread.join(200)
            assert not thread.is_alive(), "a client does not end"
            self.deadline = time.monotonic() + 60
            self.is_written.set()
        self.check()
        all_found = []
        for partition, acknowledged in enumerate(self.acknowledged):
            assert [n for n, _ in acknowledged] == list(range(self.sent[partition])), f"partition {partition}: answers out of order or missing"
            found = self.read(partition)
            all_found += [f"{partition} {offset} {number}" for offset, number in enumerate(found)]
            for number, offset in acknowledged:
                assert offset < 0 or offset < len(found) and found[offset] == number, \
                    f"partition {partition}: record {number} was acknowledged at {offset}, where {found[offset] if offset < len(found) else 'nothing'} is"
            assert found == list(range(self.sent[partition])), f"partition {partition}: {len(found)} records, some twice, missing or out of order"
            assert self.seen[partition] == found, f"partition {partition}: the group read {len(self.seen[partition])} of {len(found)} records"
        if not with_java:
            return
        apache = self.read_java(len(all_found))
        assert apache == sorted(all_found), f"Apache's consumer sees {len(apache)} records, not {len(all_found)}"

    def read(self, partition):
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "check", "enable.auto.commit": False,
                             "enable.partition.eof": True, **RETRY})
        consumer.assign([TopicPartition(self.topic, partition, 0)])
        found = []
        while True:
            message = consumer.poll(20)
            assert message is not None, f"partition {partition}: nothing within 20 s after {len(found)} records"
            if message.error():
                consumer.close()
                return found
            assert message.offset() == len(found), f"partition {partition}: offset {message.offset()} after {len(found)} records"
            found.append(int(message.value().split()[0]))

    def read_java(self, count):
        done = subprocess.run([*JAVA, "-Xmx256m", "-cp", kafka_jars(), "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server",
                               self.servers, "--topic", self.topic, "--from-beginning", "--timeout-ms", "15000", "--max-messages", str(count),
                               "--property", "print.partition=true", "--property", "print.offset=true"],
                              stdout=subprocess.PIPE, stderr=open(WORK / "console-consumer.log", "ab"), text=True, timeout=120)
        lines = [line.replace("Partition:", "").replace("Offset:", "").split() for line in done.stdout.splitlines() if line.startswith("Partition:")]
        return sorted(" ".join(words[:3]) for words in lines)
