"""Scripts of requests to a broker, made from a seed (broker_fuzz.py): records and topics here, groups and settings in broker_alphabet_admin.py."""
import random

import broker_wire as wire
from broker_alphabet_admin import Admin
from broker_pair import Batch

BASE = 1_700_000_000_000  # when the records of these scripts were made, in ms
ABSENT = "@absent"
EDGES = {"int8": (0, 1, 2, -1, 127), "int16": (0, 1, -1, -2, 32767, -32768), "int32": (0, 1, -1, -2, 7, 1 << 20, (1 << 31) - 1, -(1 << 31)),
         "int64": (0, 1, -1, -2, 3, 1 << 40, (1 << 63) - 1, -(1 << 63)), "uint16": (0, 65535), "uint32": (0, 1)}
BAD_NAMES = ("", ".", "..", "@a b", "@a/b", "@caf\u00e9", "x" * 250, "@" + "y" * 240, "@a\0b", "@\u65e5\u672c", "a:b")
# How often each is asked, among all that both serve; 1 for those not named.
OFTEN = {"Produce": 8, "Fetch": 6, "ListOffsets": 3, "Metadata": 3, "JoinGroup": 8, "SyncGroup": 5, "Heartbeat": 2, "LeaveGroup": 2, "OffsetCommit": 3,
         "OffsetFetch": 3, "CreateTopics": 3, "DescribeConfigs": 2, "IncrementalAlterConfigs": 3, "AlterConfigs": 2, "InitProducerId": 2}
# What only brokers ask of each other.
BROKERS_OWN = {"LeaderAndIsr", "StopReplica", "UpdateMetadata", "ControlledShutdown", "AlterPartition", "AllocateProducerIds"}
NEEDED = {wire.KEYS[name] for name in ("CreateTopics", "Metadata")}


class Script(Admin):
    """steps() makes them; a method named after an API makes a body of one."""

    def __init__(self, seed, versions, only=()):
        self.rng, self.versions = random.Random(seed), versions
        self.apis = [api for api in sorted(versions) if wire.NAMES[api] not in BROKERS_OWN and hasattr(self, wire.NAMES[api])]
        if only:
            self.apis = [api for api in self.apis if api in only]
        self.topics = ["@t", "@u.v", "@w_x"]
        self.groups = ["@g", "@h"]
        self.version, self.slot, self.conn, self.client = 0, None, 0, "fuzz"

    # --- what is drawn from ---

    def odd(self, chance):
        return self.rng.random() < chance

    def pick(self, *items):
        return self.rng.choice(items)

    def some(self, make, most=3):
        return [make() for _ in range(self.rng.choice((0, 1, 1, 1, 1, *range(2, most + 1))))]

    def topic(self):
        if self.odd(0.04):
            return self.pick(*BAD_NAMES)
        return ABSENT if self.odd(0.06) else "__consumer_offsets" if self.odd(0.01) else self.pick(*self.topics)

    def topic_id(self):
        if self.odd(0.08):
            return self.pick(bytes(15) + b"\1", b"\7" * 16)
        return {"$": f"id {self.pick(*self.topics)}", "else": b"\5" * 16}

    def name_or_id(self, name, since):
        """The field that names a topic in this version."""
        return {"TopicId": self.topic_id()} if self.version >= since else {name: self.topic()}

    def partition(self):
        return self.pick(0, 0, 0, 0, 1, 1, 2, 5, -1) if self.odd(0.3) else self.pick(0, 0, 1)

    def epoch(self):
        return self.pick(0, 1, 7, -2) if self.odd(0.2) else self.pick(-1, -1, 0)

    def offset(self):
        return self.pick(0, 0, 1, 2, 3, 4, 5, 8, 13, 100, -1, -2, -3, (1 << 63) - 1) if self.odd(0.4) else self.rng.randrange(8)

    def apart(self, items, *fields):
        """Without those that name what one before them names: most requests are maps to Apache, which ours takes as lists."""
        seen = set()
        return [item for item in items if not (key := repr([item[f] for f in fields if f in item])) in seen and not seen.add(key)]

    def topics_of(self, make, field, since=99, most=2):
        """Topics, each with what `make` makes of partitions."""
        def topic():
            return {**self.name_or_id(field, since), **make()}

        return self.apart(self.some(topic, most), field, "TopicId")

    # --- the whole ---

    def steps(self, count):
        out = [self.made(wire.KEYS["CreateTopics"], {"Topics": [{"Name": self.topics[0], "NumPartitions": 2, "ReplicationFactor": 1},
                                                                {"Name": self.topics[1], "NumPartitions": 1, "ReplicationFactor": 1,
                                                                 "Configs": self.some(self.topic_config, 2)}], "timeoutMs": 15000})]
        out.append(self.made(wire.KEYS["Metadata"], {"Topics": [{"Name": name} for name in self.topics], "AllowAutoTopicCreation": False}))
        weights = [OFTEN.get(wire.NAMES[api], 1) for api in self.apis]
        while len(out) < count:
            out.append(self.step(self.rng.choices(self.apis, weights)[0]))
        return out

    def made(self, api, body):
        version = self.versions[api][1]
        return {"api": api, "version": version, "body": body, "conn": 0}

    def step(self, api):
        first, last = self.versions[api]
        if api == 0:
            first = 3
        self.version = self.rng.choice((last, self.rng.randint(first, last)))
        self.slot, self.conn = None, self.rng.randrange(3)
        body = getattr(self, wire.NAMES[api])()
        step = {"api": api, "version": self.version, "body": body, "conn": self.conn}
        if self.slot:
            step["slot"] = self.slot
        if self.odd(0.04):
            self.spoil(api, step)
        if self.odd(0.02):
            step["harm"] = (self.pick("cut", "more", "flip", "flip", "byte", "byte", "short", "size"), self.rng.randrange(1 << 30))
        elif self.odd(0.01):
            step["version"] = self.pick(99, -1, 32767, wire.REQUESTS[api].versions[1] + 2)
        if self.odd(0.02):
            step["client"] = self.pick(None, "", "caf\u00e9", "a" * 300, "with blank")
        return step

    def spoil(self, api, step):
        """Sets one field, somewhere, to what its type has at the edges; or doubles, empties, takes away."""
        message = wire.REQUESTS[api]
        item, value = message.body, step["body"]
        for _ in range(4):
            fields = [f for f in item.fields if wire.within(step["version"], f.versions)]
            if not fields:
                return
            field = self.rng.choice(fields)
            inner = value.get(field.name)
            if field.struct and field.is_array and inner and self.odd(0.7) and isinstance(inner, list):
                item, value = field.struct, self.rng.choice(inner)
                continue
            if field.is_array:
                compact = wire.within(step["version"], message.flexible)
                long = wire.uvarint(self.pick(1 << 20, 1 << 31, (1 << 32) - 1, 0)) if compact else self.pick(b"\xff\xff\xff\xfe", b"\x7f\xff\xff\xff", b"\0\x10\0\0")
                value[field.name] = self.pick(None, [], wire.Raw(long), wire.Raw(long))
            elif field.type in wire.NUMBERS and field.type != "bool":
                value[field.name] = self.rng.choice(EDGES.get(field.type, (0, 1, -1)))
            elif field.type == "string":
                value[field.name] = self.pick(None, "", "@x" * 50, "\u00e9", wire.Raw(b"\x05\xff\xfe\xfd\xfc" if wire.within(step["version"], message.flexible) else b"\0\2\xff\xfe"))
            elif field.type in ("bytes", "records"):
                value[field.name] = self.pick(None, b"", b"\0" * 7)
            return

    # --- records ---

    def records(self, most=3):
        return [(i, self.pick(None, b"k", b"", b"key2"), self.pick(None, b"v", b"", b"value" * self.rng.randrange(1, 9)), self.pick((), (), ((b"h", b"1"), (b"h", None))))
                for i in range(self.rng.randint(1, most))]

    def good_batch(self):
        records, first = self.records(), BASE + self.rng.randrange(1000)
        made = {"records": records, "first": first, "largest": first + len(records) - 1, "attributes": self.pick(0, 0, 0, 1, 2, 3, 4)}
        if self.odd(0.3):
            name = self.pick("p", "q")
            made.update(producer={"$": f"producer {name}", "else": 4000}, producer_epoch={"$": f"producer epoch {name}", "else": 0},
                        sequence=self.pick(0, 0, 1, 2, 3, 4, 5, 6, 8))
        return made

    def batch(self):
        made = self.good_batch()
        if not self.odd(0.3):
            return made
        wrong = self.rng.randrange(20)
        count = len(made["records"])
        if wrong == 0:
            made["crc"] = 1
        elif wrong == 1:
            made["magic"] = self.pick(0, 1)
        elif wrong == 2:
            made["count"] = self.pick(count + 1, count - 1, 0, 1 << 30)
        elif wrong == 3:
            made["last_delta"] = self.pick(count, count + 4, 0)
        elif wrong == 4:
            made["crc"] = 77
        elif wrong == 5:
            made.update(records=[], count=0, last_delta=0)
        elif wrong == 6:
            made["base"] = self.pick(1, 7, 1 << 40)
        elif wrong == 7:
            made["codec"] = made["attributes"]
            made["attributes"] |= self.pick(8, 8, 64, 128)
        elif wrong == 8:
            made["first"] = made["largest"] = self.pick(-1, -2, 0, 1 << 50, (1 << 63) - 1)
        elif wrong == 9:
            made["first"] = made["largest"] = BASE + 5000
            made["records"] = made["records"][:1]
        elif wrong == 10:
            made["producer_epoch"] = self.pick(1, 5, 32767)
        elif wrong == 11:
            made["sequence"] = self.pick(-1, 77, (1 << 31) - 1)
        elif wrong == 12:
            made["records"] = [(0, None, b"x" * self.pick(19000, 19900, 20500, 30000), ())]
            made["largest"] = made["first"]
        elif wrong == 13:
            made["records"] = self.pick(b"", b"\0", b"\xff" * 5, b"\x10\0\0\0\1\1\0\0\0", wire.record(1, 0, None, b"x"), wire.record(0, 0, None, b"x") + b"z",
                                        b"\x0c\0\0\0\1\1v" + b"\1", wire.record(0, 0, b"k", b"x", ((b"n", b"v"),))[:-1])
            made["largest"] = made["first"]
        elif wrong == 14:
            made["attributes"] = self.pick(1, 2, 3, 4)
        elif wrong == 15:
            made["epoch"] = self.pick(0, 5, -2)
        elif wrong == 16:
            made["producer"] = self.pick(0, 77, -2, 1 << 40)
        elif wrong == 17:
            made["first"] = made["largest"] = BASE * 2
        return made

    def batches(self):
        if self.odd(0.06):
            return self.pick(b"", Batch(self.batch(), self.batch()))
        return Batch(self.batch())

    def Produce(self):
        def partition():
            return {"Index": self.partition(), "Records": self.batches()}

        return {"TransactionalId": None, "Acks": self.pick(0, 2, -2) if self.odd(0.08) else self.pick(1, -1, -1),
                "TimeoutMs": 5000, "TopicData": self.topics_of(lambda: {"PartitionData": self.apart(self.some(partition, 2), "Index")}, "Name", 13)}

    def Fetch(self):
        self.slot = self.pick("s", "r")
        known = self.odd(0.5)

        def partition():
            return {"Partition": self.partition(), "CurrentLeaderEpoch": self.epoch(), "FetchOffset": self.offset(), "LastFetchedEpoch": self.epoch(),
                    "LogStartOffset": -1, "PartitionMaxBytes": self.pick(0, 1, 61, 100, 200, 1 << 20, 1 << 20, 1 << 20, -1)}

        def forgotten():
            return {**self.name_or_id("Topic", 13), "Partitions": [self.partition()]}

        body = {"ReplicaId": -1 if not self.odd(0.02) else self.pick(-2, 0, 1, -3), "MaxWaitMs": self.pick(0, 0, 50, -1), "MinBytes": self.pick(0, 1, 1, 1000, -1),
                "MaxBytes": self.pick(0, 1, 100, 300, 1 << 20, 1 << 25, 1 << 25), "IsolationLevel": self.pick(0, 0, 1),
                "Topics": self.topics_of(lambda: {"Partitions": self.apart(self.some(partition, 2), "Partition")}, "Topic", 13, 3), "SessionId": 0, "SessionEpoch": self.pick(-1, -1, 0, 0)}
        if known:
            body.update(SessionId={"$": f"session {self.slot}", "else": 0}, SessionEpoch=self.pick(1, 1, 1, 2, 2, 3, 4, 0, -1, -2, (1 << 31) - 1))
            if self.odd(0.5):
                body["Topics"] = []
            if self.odd(0.3):
                body["ForgottenTopicsData"] = self.some(forgotten, 2)
        elif self.odd(0.05):
            body["SessionId"] = self.pick(1, 77, -1)
        if self.odd(0.1):
            body["RackId"] = "r"
        return body

    def ListOffsets(self):
        def partition():
            return {"PartitionIndex": self.partition(), "CurrentLeaderEpoch": self.epoch(), "MaxNumOffsets": self.pick(1, 1, 2, 5),
                    "Timestamp": self.pick(-1, -1, -2, -2, -3, -4, -5, -6, -7, 0, BASE, BASE + 500, BASE + 500, BASE + 1000, BASE + 9999, (1 << 63) - 1)}

        def topic():
            return {"Name": self.topic(), "Partitions": self.some(partition)}

        topics = self.some(topic)
        if not self.version:
            for item in topics:
                item["Partitions"] = [{**p, "Timestamp": self.pick(-1, -2), "MaxNumOffsets": 1} for p in self.apart(item["Partitions"], "PartitionIndex")]
        return {"ReplicaId": self.pick(-1, -1, -1, -2, -3, 0, 7) if self.odd(0.2) else -1, "IsolationLevel": self.pick(0, 0, 1), "Topics": topics,
                "TimeoutMs": 1000}

    def OffsetForLeaderEpoch(self):
        def partition():
            return {"Partition": self.partition(), "CurrentLeaderEpoch": self.epoch(), "LeaderEpoch": self.pick(0, 0, 1, 5, -1)}

        return {"ReplicaId": self.pick(-1, -1, -2, 0, 9), "Topics": self.topics_of(lambda: {"Partitions": self.apart(self.some(partition), "Partition")}, "Topic")}

    def DeleteRecords(self):
        def partition():
            return {"PartitionIndex": self.partition(), "Offset": self.offset()}

        return {"Topics": self.topics_of(lambda: {"Partitions": self.apart(self.some(partition), "PartitionIndex")}, "Name"), "TimeoutMs": self.pick(5000, 5000, 0)}

    def InitProducerId(self):
        self.slot = self.pick("p", "q")
        body = {"TransactionalId": "" if self.odd(0.03) else None, "TransactionTimeoutMs": self.pick(60000, 0, -1, (1 << 31) - 1)}
        if self.odd(0.4):
            body.update(ProducerId={"$": f"producer {self.slot}", "else": 7}, ProducerEpoch={"$": f"producer epoch {self.slot}", "else": 0})
            if self.odd(0.3):
                body.update(self.pick({"ProducerId": -1}, {"ProducerEpoch": -1}, {"ProducerEpoch": 5}, {"ProducerId": 1 << 50}))
        return body

    def Metadata(self):
        def topic():
            if self.version >= 12 and self.odd(0.4):
                return {"TopicId": self.topic_id(), "Name": None}
            return {"Name": self.topic()}

        if self.odd(0.2):
            self.topics.append(self.topics.pop(0))
        return {"Topics": self.apart(self.some(topic, 3) if self.odd(0.5) else [topic()], "Name") if self.version < 12 else self.some(topic, 1), "AllowAutoTopicCreation": self.odd(0.3),
                "IncludeClusterAuthorizedOperations": self.odd(0.2), "IncludeTopicAuthorizedOperations": self.odd(0.2)}

