"""What two brokers answered to one script, without what must differ: addresses, ids, times, the texts of errors (broker_fuzz.py)."""
import hashlib
import json
import struct
import time

from broker_pair import SLOWEST, Side
from broker_wire import KEYS, Reader, WrongAnswer

HIDDEN = {"ThrottleTimeMs", "TotalBytes", "UsableBytes", "NodeEndpoints"}
PRESENT = {"Host", "ClientHost", "ClusterId", "ErrorMessage", "BatchIndexErrorMessage"}  # only whether there is one
TIMES = {"LogAppendTimeMs", "Timestamp", "LastTimestamp"}
# Asked again while the answers differ: what was written before may not be everywhere yet.
READS = {KEYS[name] for name in ("Metadata", "ListOffsets", "DescribeConfigs", "DescribeGroups", "ListGroups", "OffsetFetch", "DescribeLogDirs",
                                 "DescribeCluster", "FindCoordinator", "OffsetForLeaderEpoch", "DescribeProducers", "ListPartitionReassignments")
         if name in KEYS}
HELD = {KEYS[name] for name in ("JoinGroup", "SyncGroup", "Fetch")}  # may stay without an answer for long


def shown_records(data):
    """Batches as what they say, without what each broker puts in."""
    out, reader = [], Reader(data)
    try:
        while reader.at < len(data):
            base, size = struct.unpack(">qi", reader.take(12))
            part = Reader(reader.take(size))
            epoch, magic, _ = struct.unpack(">ibI", part.take(9))
            attributes, last, first, largest, producer, producer_epoch, sequence, count = struct.unpack(">hiqqqhii", part.take(40))
            appended = attributes & 8
            rest = hashlib.md5(part.data[part.at:]).hexdigest()[:8]
            out.append([base, epoch, magic, attributes, last, first, "now" if appended else largest, producer >= 0, producer_epoch, sequence,
                        count, rest])
    except (WrongAnswer, struct.error):
        out.append(f"and {len(data) - reader.at} bytes")
    return out


class Shower:
    def __init__(self, side):
        self.side, self.prefix, self.directory = side, f"{side.tag}-", str(side.broker.directory)

    def text(self, value):
        if value in self.side.names:
            return self.side.names[value]
        return value.replace(self.directory, "%DIR%").replace(self.prefix, "@")

    def value(self, key, value):
        if isinstance(value, dict):
            return {k: self.value(k, v) for k, v in value.items() if k not in HIDDEN}
        if isinstance(value, list):
            items = [self.value(key, item) for item in value]
            if key == "Configs":  # without what only one of them knows
                items = [item for item in items if not isinstance(item, dict) or item.get("Name") is not None]
            return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
        if isinstance(value, bytes):
            if key == "Records":
                return shown_records(value)
            if key.endswith(("Id", "Ids")):
                return self.side.names.get(value, "no id" if value == bytes(16) else "an id")
            return value.hex()
        if key in PRESENT:
            return value if value is None or value == "" else "..."
        if key == "Port":
            return "..." if value > 0 else value
        if key == "SessionId" and value > 0 or key == "ProducerId" and value >= 0:
            return self.side.names.get((key, value), "...")
        if key in TIMES and isinstance(value, int) and value > 1_750_000_000_000:
            return "now"
        if isinstance(value, str):
            shown = self.text(value)
            if key in ("MemberId", "Leader") and shown == value and len(value) > 36 and value[-37] == "-":
                return value[:-36] + "..."
            return shown
        return value


def keep(side, step, answer):
    """What later steps may refer to."""
    api, slot = step["api"], step.get("slot")

    def topics(item):
        if isinstance(item, dict):
            name, uuid = item.get("Name"), item.get("TopicId")
            if name and uuid and uuid != bytes(16):
                side.call(uuid, f"id of {name.replace(side.tag + '-', '@')}")
                side.keep(f"id {name.replace(side.tag + '-', '@')}", uuid)
            for part in item.values():
                topics(part)
        elif isinstance(item, list):
            for part in item:
                topics(part)

    topics(answer)
    if not slot:
        return
    if api == 11:
        if answer.get("MemberId"):
            side.call(answer["MemberId"], f"member {slot}")
            side.keep(f"member {slot}", answer["MemberId"])
        if answer["ErrorCode"] == 0:
            side.keep(f"generation {slot[:slot.index('/')]}", answer["GenerationId"])
    elif api == 22 and answer["ErrorCode"] == 0:
        side.call(("ProducerId", answer["ProducerId"]), f"producer {slot}")
        side.keep(f"producer {slot}", answer["ProducerId"])
        side.keep(f"producer epoch {slot}", answer["ProducerEpoch"])
    elif api == 1 and answer.get("SessionId"):
        side.call(("SessionId", answer["SessionId"]), f"session {slot}")
        side.keep(f"session {slot}", answer["SessionId"])


class Run:
    """One script at both brokers; differences are [(number of the step, of which side, answer, of which, answer)]."""

    def __init__(self, brokers, tag, steps, excuse):
        self.sides = [Side(broker, tag) for broker in brokers]
        self.steps, self.excuse = steps, excuse
        self.got, self.differences, self.compared = [{}, {}], [], 0

    def collect(self):
        for side, got in zip(self.sides, self.got):
            for number, answer in side.answers():
                if isinstance(answer, dict):
                    keep(side, self.steps[number], answer)
                    answer = Shower(side).value("", answer)
                got[number] = answer

    def both(self, number):
        return all(number in got for got in self.got)

    def wait(self, number, patience):
        """For both answers when there is one, and for the first `patience` seconds."""
        began = time.monotonic()
        while True:
            self.collect()
            waited = time.monotonic() - began
            if self.both(number):
                return
            if any(number in got for got in self.got):
                if waited > SLOWEST:
                    return
            elif waited > patience:
                return
            time.sleep(0.0005 if waited < 0.02 else 0.005)

    def judge(self, number, patience):
        """Compares what has come of one step; False while nothing has."""
        if not any(number in got for got in self.got):
            return False
        if not self.both(number):
            self.wait(number, patience)
        pair = [got.get(number, "nothing") for got in self.got]
        if pair[0] != pair[1] and not self.excuse(self.steps[number], *pair):
            self.differences.append((number, *pair))
        self.compared += 1
        return True

    def do(self, number):
        step = self.steps[number]
        for side in self.sides:
            side.send(number, step)
        is_held = step["api"] in HELD or "harm" in step or step["api"] == 0 and step["body"].get("Acks") == 0
        self.wait(number, 0.25 if is_held else SLOWEST)

    def go(self, limit=1, end=None):
        waiting = set()
        for number, step in enumerate(self.steps):
            if end and time.monotonic() > end:
                break
            self.do(number)
            for _ in range(8 if step["api"] in READS else 0):
                pair = [got.get(number, "nothing") for got in self.got]
                if pair[0] == pair[1] or self.excuse(step, *pair) or "closed" in pair or "nothing" in pair or "harm" in step:
                    break
                time.sleep(0.25)
                for got in self.got:
                    got.pop(number, None)
                self.do(number)
            waiting.add(number)
            self.end(waiting, SLOWEST)
            if len(self.differences) >= limit or not all(side.broker.is_alive() for side in self.sides):
                break
        time.sleep(0.3 if waiting else 0)
        self.collect()
        self.end(waiting, SLOWEST)
        for side in self.sides:
            side.close()
        return self.differences

    def end(self, waiting, patience):
        self.collect()
        for number in sorted(waiting):
            if self.judge(number, patience):
                waiting.discard(number)
