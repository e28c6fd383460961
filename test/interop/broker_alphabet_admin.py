"""Groups, topics' making and settings for the scripts of broker_alphabet.py."""

CONFIGS = {
    "retention.ms": ("1000000000", "-1", "-2", "soon", "", None), "cleanup.policy": ("compact", "delete", "compact,delete", "shred", "", "delete,delete", None),
    "max.message.bytes": ("1000", "0", "-1", "20000", "1e3"), "message.timestamp.type": ("LogAppendTime", "CreateTime", "createtime", ""),
    "compression.type": ("gzip", "producer", "uncompressed", "lz4", "zstd", "snappy", "brotli"), "min.insync.replicas": ("1", "2", "0"),
    "segment.bytes": ("14", "13", "1000", "1048576"), "flush.messages": ("1", "0", "9223372036854775807"), "no.such.key": ("1", None),
    "message.timestamp.difference.max.ms": ("1000", "-1"), "message.timestamp.before.max.ms": ("1000", "9223372036854775807", "-1"),
    "message.timestamp.after.max.ms": ("1000", "9223372036854775807"), "min.cleanable.dirty.ratio": ("0.5", "1.5", "-1", "half"),
    "unclean.leader.election.enable": ("true", "TRUE", "yes", ""), "leader.replication.throttled.replicas": ("0:0", "*", "none", "0:0,1:0", "x:y", ""),
    "index.interval.bytes": ("0", "-1", "4096"), "message.downconversion.enable": ("false", "maybe"), "preallocate": ("true", "false"),
    "delete.retention.ms": ("0", "-1", "100"), "segment.ms": ("0", "1", "100000"), "min.compaction.lag.ms": ("10", "0"), "max.compaction.lag.ms": ("5", "0", "100"),
    "remote.storage.enable": ("false", "true"), "retention.bytes": ("-1", "100", "x"),
    "local.retention.ms": ("-2", "5", "-3"), "file.delete.delay.ms": ("60000", "-1", "0"), "segment.jitter.ms": ("0", "-1"),
    "segment.index.bytes": ("3", "1000"), "flush.ms": ("1000", "-1"), "follower.replication.throttled.replicas": ("*", "0"),
}
BROKER_CONFIGS = {
    "log.cleaner.threads": ("2", "0", "x"), "background.threads": ("5", "100", "1", "0"), "log.retention.hours": ("5",), "log.retention.ms": ("-1", "5000000000", "0"),
    "message.max.bytes": ("20000", "-1"), "num.io.threads": ("4", "0", "8"), "broker.id": ("1",), "max.connections": ("1000", "-1"),
    "log.segment.bytes": ("1000000", "1"), "follower.replication.throttled.rate": ("1000000", "-1", "0"), "auto.create.topics.enable": ("false",),
    "compression.type": ("producer", "zip"), "log.cleanup.policy": ("delete",), "ssl.keystore.password": ("secret",), "min.insync.replicas": ("1", "0"),
    "leader.replication.throttled.rate": ("5000", ""), "max.connections.per.ip.overrides": ("127.0.0.1:1000", "x"), "log.message.timestamp.type": ("CreateTime", "z"),
    "unclean.leader.election.enable": ("false",), "log.cleaner.io.buffer.load.factor": ("0.9",), "metric.reporters": ("", "x.Y"), "zookeeper.connect": ("a:1",),
}
OFFSETS_ONLY = ("@o", "@o2")  # groups that nobody joins
PROTOCOLS = (("range", b"\0\1one"), ("sticky", b"\0\1two"), ("range", b""), ("other", b"x"))


class Admin:
    # --- groups ---

    def group(self):
        return self.pick("", "@nogroup", "@g h") if self.odd(0.05) else self.pick(*self.groups)

    def member(self, group):
        """A slot of a member of the group, and its reference."""
        number = self.pick(0, 0, 1, 2)
        return f"{group}/{number}", {"$": f"member {group}/{number}", "else": "" if self.odd(0.5) else "nobody"}

    def generation(self, group):
        return self.pick(-1, 0, 1, 2, 3) if self.odd(0.15) else {"$": f"generation {group}", "else": 1}

    def instance(self, slot):
        return f"@i{slot[-1]}" if slot[-1] == "2" and not self.odd(0.05) else self.pick("@i2", "@none", "", "bad id") if self.odd(0.03) else None

    def apart_names(self, protocols):
        return [*{name: (name, data) for name, data in protocols}.values()]

    def JoinGroup(self):
        group = self.group()
        self.slot, member = self.member(group)
        if self.odd(0.2):
            member = self.pick("", "nobody", {"$": f"member {group}/1", "else": ""})
        self.conn = 10 + int(self.slot[-1])
        protocols = self.apart_names(self.rng.sample(PROTOCOLS, self.rng.randint(1, 3))) if self.odd(0.3) else list(PROTOCOLS[:2])
        if self.odd(0.04):
            protocols = self.pick([], [("", b"")], [PROTOCOLS[3]])
        return {"GroupId": group, "SessionTimeoutMs": self.pick(0, 999, 1800001, -1) if self.odd(0.04) else 60000,
                "RebalanceTimeoutMs": self.pick(-1, 0) if self.odd(0.03) else 60000, "MemberId": member, "GroupInstanceId": self.instance(self.slot),
                "ProtocolType": self.pick("", "connect") if self.odd(0.04) else "consumer",
                "Protocols": [{"Name": n, "Metadata": d} for n, d in protocols], "Reason": self.pick(None, "because", "")}

    def SyncGroup(self):
        group = self.group()
        slot, member = self.member(group)
        self.conn = 10 + int(slot[-1])
        assignments = [{"MemberId": {"$": f"member {group}/{n}", "else": f"none{n}"}, "Assignment": f"for {n}".encode()} for n in range(3)]
        if self.odd(0.5):
            assignments = self.rng.sample(assignments, self.rng.randint(0, 2))
        return {"GroupId": group, "GenerationId": self.generation(group), "MemberId": member, "GroupInstanceId": self.instance(slot),
                "ProtocolType": self.pick("connect", "") if self.odd(0.05) else self.pick("consumer", "consumer", None),
                "ProtocolName": self.pick("other", "") if self.odd(0.05) else self.pick("range", "range", None), "Assignments": assignments}

    def Heartbeat(self):
        group = self.group()
        slot, member = self.member(group)
        return {"GroupId": group, "GenerationId": self.generation(group), "MemberId": member, "GroupInstanceId": self.instance(slot)}

    def LeaveGroup(self):
        group = self.group()

        def identity():
            slot, member = self.member(group)
            return {"MemberId": member if not self.odd(0.2) else "", "GroupInstanceId": self.instance(slot), "Reason": self.pick(None, "done")}

        return {"GroupId": group, "MemberId": self.member(group)[1], "Members": self.some(identity)}

    def OffsetCommit(self):
        is_simple = self.odd(0.5)
        group = self.pick(*OFFSETS_ONLY, self.group()) if is_simple else self.group()
        slot, member = self.member(group)

        def partition():
            return {"PartitionIndex": self.partition(), "CommittedOffset": self.offset(), "CommittedLeaderEpoch": self.epoch(),
                    "CommittedMetadata": self.pick(None, "", "m", "m" * 100, "m" * 101), "CommitTimestamp": self.pick(-1, 5)}

        return {"GroupId": group, "GenerationIdOrMemberEpoch": -1 if is_simple else self.generation(group), "MemberId": "" if is_simple else member,
                "GroupInstanceId": None if is_simple else self.instance(slot), "RetentionTimeMs": self.pick(-1, -1, 0, 1 << 40),
                "Topics": self.topics_of(lambda: {"Partitions": self.apart(self.some(partition), "PartitionIndex")}, "Name", 10)}

    def OffsetFetch(self):
        def topics():
            if self.odd(0.3) and self.version >= 2:
                return None
            return self.topics_of(lambda: {"PartitionIndexes": [*{*self.some(self.partition)}]}, "Name", 10)

        def group():
            name = self.pick(*OFFSETS_ONLY, self.group())
            return {"GroupId": name, "MemberId": self.pick(None, None, "", self.member(name)[1]), "MemberEpoch": self.pick(-1, -1, 0, 3), "Topics": topics()}

        return {"GroupId": self.group(), "Topics": topics(), "Groups": self.apart(self.some(group) or [group()], "GroupId"), "RequireStable": self.odd(0.2)}

    def DescribeGroups(self):
        return {"Groups": self.some(self.group), "IncludeAuthorizedOperations": self.odd(0.3)}

    def ListGroups(self):
        return {"StatesFilter": self.some(lambda: self.pick("Stable", "stable", "Empty", "Dead", "PreparingRebalance", "CompletingRebalance", "x", "")),
                "TypesFilter": self.some(lambda: self.pick("classic", "Classic", "consumer", "share", "x", "")) if self.odd(0.3) else []}

    def DeleteGroups(self):
        return {"GroupsNames": sorted({*self.some(self.group)})}

    def OffsetDelete(self):
        return {"GroupId": self.pick(*OFFSETS_ONLY, "@nogroup"), "Topics": self.topics_of(lambda: {"Partitions": self.apart(self.some(lambda: {"PartitionIndex": self.partition()}), "PartitionIndex")}, "Name")}

    def FindCoordinator(self):
        return {"Key": self.group(), "KeyType": self.pick(0, 0, 0, -1), "CoordinatorKeys": self.some(self.group)}

    # --- topics ---

    def topic_config(self):
        name = self.pick(*CONFIGS)
        return {"Name": name, "Value": self.pick(*CONFIGS[name])}

    def new_topic(self):
        name = self.topic() if self.odd(0.5) else f"@n{self.rng.randrange(6)}"
        if self.odd(0.1):
            name = self.pick("@u_v", "@w.x", "@u.v")
        item = {"Name": name, "NumPartitions": self.pick(1, 1, 2, 3, -1, 0, -2), "ReplicationFactor": self.pick(1, 1, 1, -1, 0, -2, 2),
                "Configs": self.some(self.topic_config) if self.odd(0.4) else []}
        if self.odd(0.15):
            item["Assignments"] = [{"PartitionIndex": self.pick(i, i, i, 0, 7, -1), "BrokerIds": self.pick([0], [0], [0], [0, 0], [0, 1])}
                                   for i in range(self.rng.randint(1, 3))]
            if self.odd(0.8):
                item.update(NumPartitions=-1, ReplicationFactor=-1)
        return item

    def CreateTopics(self):
        return {"Topics": self.some(self.new_topic), "timeoutMs": 15000 if not self.odd(0.03) else self.pick(0, -1), "validateOnly": self.odd(0.3)}

    def DeleteTopics(self):
        def state():
            return {"Name": None, "TopicId": self.topic_id()} if self.odd(0.4) else {"Name": f"@n{self.rng.randrange(6)}" if self.odd(0.6) else self.topic()}

        return {"Topics": self.some(state, 1), "TopicNames": sorted({*self.some(lambda: f"@n{self.rng.randrange(6)}" if self.odd(0.6) else self.topic())}), "TimeoutMs": 15000}

    def CreatePartitions(self):
        def topic():
            return {"Name": self.topic(), "Count": self.pick(2, 3, 3, 4, 1, 0, -1),
                    "Assignments": None if self.odd(0.7) else self.some(lambda: {"BrokerIds": self.pick([0], [0], [1], [0, 0], [], [-1])})}

        return {"Topics": self.apart(self.some(topic), "Name"), "TimeoutMs": 15000 if not self.odd(0.03) else self.pick(0, -1), "ValidateOnly": self.odd(0.4)}

    def ElectLeaders(self):
        return {"ElectionType": self.pick(0, 0, 1, 2, -1), "TimeoutMs": 5000,
                "TopicPartitions": self.topics_of(lambda: {"Partitions": [*{*self.some(self.partition)}]}, "Topic")}

    def AlterPartitionReassignments(self):
        def partition():
            return {"PartitionIndex": self.partition(), "Replicas": self.pick(None, [0], [0], [0, 0], [1], [0, 1], [], [-1])}

        return {"TimeoutMs": 5000, "Topics": self.topics_of(lambda: {"Partitions": self.apart(self.some(partition), "PartitionIndex")}, "Name")}

    def ListPartitionReassignments(self):
        return {"TimeoutMs": 5000, "Topics": None if self.odd(0.3) else self.topics_of(lambda: {"PartitionIndexes": [*{*self.some(self.partition)}]}, "Name")}

    # --- settings ---

    def resource(self):
        kind = self.pick(2, 2, 4)
        if kind == 4:
            return {"ResourceType": 4, "ResourceName": self.pick("0", "0", "", "1", "x", "-1")}
        if kind == 8:
            return {"ResourceType": 8, "ResourceName": self.pick("0", "1", "")}
        return {"ResourceType": kind, "ResourceName": self.topic()}

    def keys_for(self, resource):
        return BROKER_CONFIGS if resource["ResourceType"] == 4 else CONFIGS

    def DescribeConfigs(self):
        def resource():
            item = self.resource()
            known = [*self.keys_for(item)]
            return {**item, "ConfigurationKeys": None if self.odd(0.2) and item["ResourceType"] == 2 else self.rng.sample(known, self.rng.randint(1, 4))}

        return {"Resources": self.apart(self.some(resource), "ResourceType", "ResourceName"), "IncludeSynonyms": self.odd(0.5), "IncludeDocumentation": False}

    def settings_resource(self):
        item = self.resource()
        return {"ResourceType": 0, "ResourceName": "x"} if item["ResourceType"] == 8 else item

    def AlterConfigs(self):
        def resource():
            item = self.settings_resource()
            values = self.keys_for(item)
            names = [self.pick(*values) for _ in range(self.rng.choice((0, 1, 1, 2, 3)))]
            return {**item, "Configs": [{"Name": n, "Value": self.pick(*values[n])} for n in names]}

        return {"Resources": self.apart(self.some(resource), "ResourceType", "ResourceName"), "ValidateOnly": self.odd(0.3)}

    def IncrementalAlterConfigs(self):
        def resource():
            item = self.settings_resource()
            values = self.keys_for(item)
            names = [self.pick(*values, "cleanup.policy", "leader.replication.throttled.replicas") for _ in range(self.rng.choice((0, 1, 1, 2, 3)))]
            return {**item, "Configs": [{"Name": n, "ConfigOperation": self.pick(0, 0, 0, 1, 2, 3, 2, 3, 4, -1) if self.odd(0.6) else 0,
                                         "Value": self.pick(*(values.get(n) or CONFIGS[n]))} for n in names]}

        return {"Resources": self.apart(self.some(resource), "ResourceType", "ResourceName"), "ValidateOnly": self.odd(0.3)}

    def DescribeLogDirs(self):
        return {"Topics": self.topics_of(lambda: {"Partitions": [*{*self.some(self.partition)}]}, "Topic")}

    def AlterReplicaLogDirs(self):
        return {"Dirs": self.apart(self.some(lambda: {"Path": self.pick("%DIR%/logs-a", "%DIR%/logs-b", "%DIR%/logs-b", "/nowhere", "relative", ""),
                                           "Topics": self.topics_of(lambda: {"Partitions": [*{*self.some(self.partition)}]}, "Name", 99, 1)}, 1), "Path")}

    # --- the cluster ---

    def DescribeCluster(self):
        return {"IncludeClusterAuthorizedOperations": self.odd(0.5), "EndpointType": self.pick(1, 1, 2, 0, 3), "IncludeFencedBrokers": self.odd(0.2)}

    def ApiVersions(self):
        return {"ClientSoftwareName": self.pick("fuzz", "a-b.c", "", "-a", "a b", "caf\u00e9", "x" * 300, "a-"), "ClientSoftwareVersion": self.pick("1.0", "", " ", "1-", "v/1")}

    def DescribeTopicPartitions(self):
        return {"Topics": self.some(lambda: {"Name": self.topic()}), "ResponsePartitionLimit": self.pick(2000, 1, 0, -1),
                "Cursor": {"TopicName": self.topic(), "PartitionIndex": self.partition()} if self.odd(0.3) else None}

    def ListConfigResources(self):
        return {"ResourceTypes": self.some(lambda: self.pick(2, 4, 16, 0))}
