"""What is answered differently on purpose (docs/broker-cases.md says why)."""


def plain(value, step):
    """Without what ours may say more of than Apache's: texts beside an error, topics of which nothing was asked."""
    if isinstance(value, list):
        return [plain(item, step) for item in value if not (isinstance(item, dict) and item.get("Partitions") == [] and "ErrorCode" not in item)]
    if not isinstance(value, dict):
        return value
    drop = {"ErrorMessage"}
    if step["api"] == 20:
        drop.add("TopicId")
    if step["api"] == 0 and value.get("ErrorCode") in (87, 32):
        drop |= {"LogStartOffset", "RecordErrors"}
    return {key: plain(item, step) for key, item in value.items() if key not in drop}


def alike(ours, theirs):
    """Equal, but that Apache's says UNKNOWN_SERVER_ERROR where ours knows what was wrong."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if theirs.get("ErrorCode") == -1 and ours.get("ErrorCode", 0) != 0:
            return True
        return ours.keys() == theirs.keys() and all(alike(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    return ours == theirs


def merged(answer):
    """A Fetch answer as its partitions: Apache may tell a topic in two parts."""
    return sorted(str((topic.get("Topic"), topic.get("TopicId"), part)) for topic in answer["Responses"] for part in topic["Partitions"])


def is_excused(step, ours, theirs):
    body, api = step["body"], step["api"]
    if api in (1, 2) and body.get("IsolationLevel") not in (0, 1, None):
        return True
    if api == 0 and (body.get("Acks") not in (-1, 0, 1) or body.get("TimeoutMs", 0) < 100):
        return True
    if api == 22 and body.get("TransactionalId") is not None:
        return True
    if api == 8 and step["version"] >= 9 and "'ErrorCode': 69" in str(ours):  # as 4.x
        return True
    if theirs == "nothing" and api in (0, 9, 33, 44):  # it stumbles, and never answers
        return True
    if api in (33, 44) and "'ErrorCode': 3," in str(ours) and "'ErrorCode': 40" in str(theirs):  # both are true of it
        return True
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return False
    if api == 1 and merged(ours) == merged(theirs):
        return {k: v for k, v in ours.items() if k != "Responses"} == {k: v for k, v in theirs.items() if k != "Responses"}
    return alike(plain(ours, step), plain(theirs, step))
