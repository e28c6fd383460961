"""What is answered differently on purpose: docs/broker-cases.md says why, in the order of the cases here."""


def plain(value, step):
    """Without what ours may say more of than Apache's, or what Apache's cannot help saying."""
    api = step["api"]
    if isinstance(value, list):
        return [plain(item, step) for item in value if not (isinstance(item, dict) and is_idle(item, api))]
    if not isinstance(value, dict):
        return value
    drop = {"ErrorMessage"}
    if api == 20 or api == 19 and value.get("ErrorCode"):
        drop.add("TopicId")
    if api == 0 and value.get("ErrorCode"):
        drop |= {"LogStartOffset", "RecordErrors"}
    if api == 18:
        drop |= {"ApiKeys", "SupportedFeatures", "FinalizedFeatures", "FinalizedFeaturesEpoch", "ZkMigrationReady"}
    if api == 32:
        drop |= {"Synonyms", "IsDefault", "ReadOnly", "ConfigType"}
    if api == 15 and value.get("GroupState") == "Empty" and value.get("ProtocolType") == "":
        value = {**value, "GroupState": "Dead"}
    return {key: plain(item, step) for key, item in value.items() if key not in drop}


def is_idle(item, api):
    """A topic of which nothing was asked; a group of which there is nothing but its name."""
    return item.get("Partitions") == [] and "ErrorCode" not in item or api == 16 and item.get("ProtocolType") == ""


# Of several wrongs in an entry another one is told, or the same one by another of these codes.
EQUAL_CODES = {19: [{37, 38, 40}, {17, 39}], 33: [{3, 17, 40, 42}], 44: [{3, 17, 40, 42}], 45: [{3, 39, 42, 85}], 37: [{3, 17}, {37, 39}], 43: [{3, 17}],
               20: [{3, 100}]}


def alike(ours, theirs, api):
    """Equal, but for EQUAL_CODES, and that Apache's says UNKNOWN_SERVER_ERROR where ours knows what was wrong."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        pair = {ours.get("ErrorCode"), theirs.get("ErrorCode")}
        if theirs.get("ErrorCode") == -1 and ours.get("ErrorCode", 0) != 0 or len(pair) == 2 and any(pair <= codes for codes in EQUAL_CODES.get(api, ())):
            return True
        return ours.keys() == theirs.keys() and all(alike(ours[k], theirs[k], api) for k in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        by_name = [sorted(items, key=lambda item: str([item.get(k) for k in NAMING] if isinstance(item, dict) else item)) for items in (ours, theirs)]
        return len(ours) == len(theirs) and all(alike(a, b, api) for a, b in zip(*by_name))
    return ours == theirs


NAMING = ("ResourceType", "ResourceName", "Name", "Topic", "TopicName", "GroupId", "Key", "PartitionIndex", "PartitionId", "Index", "TopicId")


def scattered(answer, api):
    """A Fetch or DescribeLogDirs answer as its partitions: Apache may tell a topic in two parts; new logs go to either directory."""
    topics = answer["Responses"] if api == 1 else [topic for result in answer["Results"] for topic in result["Topics"]]
    return sorted(str((topic.get("Topic"), topic.get("Name"), topic.get("TopicId"), part)) for topic in topics for part in topic["Partitions"])


def batches(step):
    return [part for topic in step["body"].get("TopicData") or [] if isinstance(topic, dict) for partition in topic.get("PartitionData") or []
            if isinstance(partition, dict) and hasattr(partition.get("Records"), "parts") for part in partition["Records"].parts]


def is_odd_request(step):
    """What only the first of two wrongs decides, or Apache's stumbles over."""
    body, api = step["body"], step["api"]
    if api in (1, 2):
        return body.get("IsolationLevel") not in (0, 1, None)
    if api == 0:
        opened = any(isinstance(b, dict) and isinstance(b["records"], bytes) and b["attributes"] & 7 for b in batches(step))
        return body.get("Acks") not in (-1, 0, 1) or body.get("TimeoutMs", 0) < 100 or opened or len(batches(step)) > 1
    if api == 10:
        return body.get("KeyType") not in (0, -1)
    if api == 3:
        return step["version"] in (10, 11) and any(topic.get("TopicId") for topic in body.get("Topics") or [] if isinstance(topic, dict))
    return api == 22 and body.get("TransactionalId") is not None


def is_excused(step, ours, theirs):
    api = step["api"]
    if is_odd_request(step) or theirs == "nothing" and api in (0, 9, 33, 44):
        return True
    codes = [set(code_list(answer)) for answer in (ours, theirs)]
    if api == 8 and step["version"] >= 9 and 69 in codes[0] and 22 in codes[1]:
        return True
    if api in (42, 47) and {*codes[0], *codes[1]} <= {0, 3, 69} and 69 in codes[0] ^ codes[1]:
        return True
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return False
    if api in (1, 35) and scattered(ours, api) == scattered(theirs, api):
        return all(ours.get(k) == theirs.get(k) for k in ("ErrorCode", "SessionId"))
    return alike(plain(ours, step), plain(theirs, step), api)


def code_list(value):
    if isinstance(value, dict):
        return [value[key] for key in ("ErrorCode",) if key in value] + [code for item in value.values() for code in code_list(item)]
    return [code for item in value for code in code_list(item)] if isinstance(value, list) else []
