"""cluster_textbook [KINDS] [KEEPER]: 2 brokers, a topic of 4 partitions, group A of two consumers and group B of four.

Members come and go; a fifth member of B idles until one leaves; then a broker is killed, and nobody notices but the log: every record
is delivered, and each group reads every record of each partition in order, from whoever leads.
"""
import sys
import threading
import time

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from cluster import Cluster, wait_for

PARTITIONS = 4
CLIENT = {"log_level": 0, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200, "topic.metadata.refresh.interval.ms": 2000}


class Group:
    def __init__(self, name, servers):
        self.name, self.servers, self.members, self.lock = name, servers, [], threading.Lock()
        self.seen = [[] for _ in range(PARTITIONS)]
        self.again, self.problems = 0, []

    def join(self):
        self.members.append(Member(self))

    def leave(self):
        self.members.pop(0).leave()

    def sizes(self):
        return sorted(len(member.partitions) for member in self.members)

    def wait(self, sizes):
        wait_for(lambda: f"assignment {sizes} in group {self.name}, it is {self.sizes()}",
                 lambda: self.sizes() == sizes and len(set().union(*(m.partitions for m in self.members))) == PARTITIONS, 30)
        print(f"group {self.name}: {len(self.members)} members have {self.sizes()} partitions", flush=True)

    def took(self, partition, offset, number):
        """Once and in order; again only what nobody had committed when its reader or its broker went."""
        with self.lock:
            seen = self.seen[partition]
            if offset < len(seen):
                self.again += 1
                if seen[offset] != number:
                    self.problems.append(f"partition {partition} offset {offset} was {seen[offset]}, is {number}")
            elif offset > len(seen):
                self.problems.append(f"partition {partition}: offset {offset} after {len(seen)} records")
            else:
                seen.append(number)


class Member(threading.Thread):
    def __init__(self, group):
        super().__init__(daemon=True)
        self.group, self.partitions, self.leaving = group, set(), threading.Event()
        self.start()

    def run(self):
        consumer = Consumer({"bootstrap.servers": self.group.servers, "group.id": self.group.name, "auto.offset.reset": "earliest",
                             "enable.auto.commit": True, "auto.commit.interval.ms": 500, "session.timeout.ms": 10000,
                             "heartbeat.interval.ms": 500, **CLIENT})
        consumer.subscribe(["textbook"], on_assign=self.assigned, on_revoke=self.revoked, on_lost=self.revoked)
        while not self.leaving.is_set():
            message = consumer.poll(0.1)
            if message is not None and not message.error():
                self.group.took(message.partition(), message.offset(), int(message.value()))
        consumer.close()

    def assigned(self, _, partitions):
        self.partitions = {p.partition for p in partitions}

    def revoked(self, _, partitions):
        self.partitions = self.partitions - {p.partition for p in partitions}

    def leave(self):
        self.leaving.set()
        self.join(30)
        assert not self.is_alive(), "a consumer does not close"


class Writer(threading.Thread):
    def __init__(self, servers):
        super().__init__(daemon=True)
        self.servers, self.ending, self.failed, self.count = servers, threading.Event(), [], [0] * PARTITIONS
        self.silence, self.last = 0.0, time.monotonic()
        self.start()

    def delivered(self, err, _):
        if err is not None:
            self.failed.append(err.str())
        now = time.monotonic()
        self.silence, self.last = max(self.silence, now - self.last), now

    def run(self):
        producer = Producer({"bootstrap.servers": self.servers, "enable.idempotence": True, "message.timeout.ms": 60000,
                             "retry.backoff.ms": 50, **CLIENT})
        turn = 0
        while not self.ending.is_set():
            partition = turn % PARTITIONS
            producer.produce("textbook", b"%d" % self.count[partition], partition=partition, on_delivery=self.delivered)
            self.count[partition] += 1
            turn += 1
            producer.poll(0.004)
        if producer.flush(60):
            self.failed.append("some records have no answer")


def play(cluster):
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("textbook", PARTITIONS, 2)])["textbook"].result(30)
    cluster.wait_in_sync()
    leaders = {leader for (topic, _), (_, leader, _, _) in cluster.states().items() if topic == "textbook"}
    assert len(leaders) == 2, f"all four partitions are led by {leaders}"
    writer = Writer(cluster.bootstrap)
    a, b = Group("A", cluster.bootstrap), Group("B", cluster.bootstrap)
    for group, size in ((a, 2), (b, 4)):
        for _ in range(size):
            group.join()
    a.wait([2, 2]), b.wait([1, 1, 1, 1])
    b.join()
    b.wait([0, 1, 1, 1, 1])
    b.leave()
    b.wait([1, 1, 1, 1])
    a.join()
    a.wait([1, 1, 2])
    a.leave()
    a.wait([2, 2])
    again = a.again + b.again
    assert again == 0, f"{again} records read twice although everybody left in good order"
    cluster.wait_in_sync()  # __consumer_offsets, too
    writer.silence, before = 0.0, list(writer.count)
    cluster.nodes[1].kill()
    print(f"broker {cluster.nodes[1]} killed", flush=True)

    def is_noticed_by_nobody():
        return all(len(seen) > count for group in (a, b) for seen, count in zip(group.seen, before)) and min(writer.count) > max(before) + 100

    wait_for("records through the other broker", is_noticed_by_nobody, 60)
    a.wait([2, 2]), b.wait([1, 1, 1, 1])
    silence = writer.silence
    cluster.nodes[1].start()
    cluster.wait_in_sync()
    writer.ending.set()
    writer.join(90)
    assert not writer.is_alive() and not writer.failed, writer.failed[:3]
    for group in (a, b):
        wait_for(f"all records in group {group.name}", lambda group=group: [len(seen) for seen in group.seen] == writer.count, 30)
        assert not group.problems, group.problems[:3]
        assert all(seen == list(range(len(seen))) for seen in group.seen), "a record is missing or twice"
        while group.members:
            group.leave()
    print(f"{sum(writer.count)} records to each group; longest silence when the broker died {silence:.2f} s; {a.again + b.again} read again after it")


def main():
    kinds = sys.argv[1].split(",") if len(sys.argv) > 1 else ["ours", "ours"]
    settings = {"offsets.topic.replication.factor": 2, "min.insync.replicas": 1}
    with Cluster(kinds, sys.argv[2] if len(sys.argv) > 2 else "ours", settings) as cluster:
        cluster.start()
        play(cluster)
        cluster.stop()
        print(f"{cluster.same_bytes()} bytes the same on both brokers")


if __name__ == "__main__":
    main()
