"""Two single brokers with the same settings, Apache's and ours, and what a script of requests gets from each (broker_fuzz.py).

A step is a dict: api, version, body, conn (which connection), and perhaps client, slot (under which name what the answer hands out
is kept), harm (how the frame is spoiled). In a body {"$": name} stands for what was kept under that name, and a text that
begins with "@" belongs to this run of the script alone.
"""
import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import broker_wire as wire
from run import free_port

HERE = pathlib.Path(__file__).resolve().parent
WORK = pathlib.Path(os.environ.get("WORK", "/tmp"))
BINARY = os.environ.get("BINARY", "build/odradek")
SETTINGS = {
    "offsets.topic.num.partitions": 2, "offsets.topic.replication.factor": 1, "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1, "transaction.state.log.num.partitions": 2, "group.initial.rebalance.delay.ms": 0, "log.retention.ms": -1,
    "group.min.session.timeout.ms": 1000, "log.message.timestamp.after.max.ms": 3600000, "controlled.shutdown.enable": "false",
    "message.max.bytes": 20000, "zookeeper.session.timeout.ms": 60000, "zookeeper.connection.timeout.ms": 60000, "log.cleaner.enable": "false",
    "compression.type": "producer", "offset.metadata.max.bytes": 100,
}
SLOWEST = 5  # seconds until an answer that the other has given counts as missing


def jars(name, *items):
    done = subprocess.run([str(HERE / "maven"), name, *items], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip() + "/*"


class Broker:
    def __init__(self, kind, more=()):
        self.kind, self.port, self.directory, self.processes = kind, free_port(), WORK / kind, []
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        settings = {**SETTINGS, "broker.id": 0, "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
                    "log.dirs": f"{self.directory}/logs-a,{self.directory}/logs-b", **dict(more)}
        file = self.directory / "server.properties"
        if kind == "apache":
            keeper = free_port()
            config = self.directory / "zoo.cfg"
            config.write_text(f"tickTime=1000\ndataDir={self.directory}/keeper\nclientPort={keeper}\nclientPortAddress=127.0.0.1\n"
                              "admin.enableServer=false\nmaxClientCnxns=0\nmaxSessionTimeout=120000\n")
            self.begin([BINARY, "keeper", str(config)], "keeper.log")
            settings["zookeeper.connect"] = f"127.0.0.1:{keeper}"
            command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", jars("kafka-3.9.2", "org.apache.kafka:kafka_2.13:3.9.2"),
                       "kafka.Kafka", str(file)]
        else:
            settings["keeper.client.port"] = 0
            command = [BINARY, "server", str(file)]
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self.begin(command, "broker.log")

    def begin(self, command, log):
        with open(self.directory / log, "ab") as out:
            self.processes.append(subprocess.Popen(command, stdout=out, stderr=out, cwd=self.directory))

    def wait(self):
        end = time.monotonic() + 90
        while time.monotonic() < end:
            assert all(p.poll() is None for p in self.processes), self.tail()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 2) as s:
                frame = wire.encode_request(3, 1, 1, "waits", {"Topics": []})
                s.sendall(struct.pack(">i", len(frame)) + frame)
                size = struct.unpack(">i", s.recv(4))[0]
                body = wire.decode_response(3, 1, s.recv(size)[4:])
                if body["Brokers"] and body["ControllerId"] == 0:
                    return self
            time.sleep(0.2)
        raise AssertionError(self.tail())

    def is_alive(self):
        return all(p.poll() is None for p in self.processes)

    def tail(self):
        return (self.directory / "broker.log").read_text(errors="replace")[-3000:]

    def kill(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.buffer, self.is_closed, self.correlation, self.waiting = b"", False, 0, []

    def send(self, number, api, version, frame):
        self.waiting.append((number, api, version, self.correlation))
        try:
            self.socket.settimeout(10)
            self.socket.sendall(frame)
        except OSError:
            self.is_closed = True

    def answers(self):
        """What has come, as [(number of the step, answer)]; waits for nothing."""
        with contextlib.suppress(BlockingIOError):
            self.socket.setblocking(False)
            try:
                while more := self.socket.recv(1 << 20):
                    self.buffer += more
                self.is_closed = True
            except ConnectionError:
                self.is_closed = True
        out = []
        while len(self.buffer) >= 4:
            size = struct.unpack(">i", self.buffer[:4])[0]
            if len(self.buffer) < 4 + size:
                break
            data, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
            correlation = struct.unpack(">i", data[:4])[0]
            while self.waiting and self.waiting[0][3] != correlation:  # those have no answer: acks=0
                out.append((self.waiting.pop(0)[0], "none"))
            if not self.waiting:
                out.append((-1, f"answer to {correlation}, which nobody asked"))
                continue
            number, api, version, _ = self.waiting.pop(0)
            out.append((number, self.decoded(api, version, data[4:])))
        if self.is_closed:
            out += [(number, "closed") for number, *_ in self.waiting]
            self.waiting = []
        return out

    def decoded(self, api, version, data):
        try:
            if api == 18:
                code = struct.unpack(">h", data[:2])[0]
                if code == 35:  # always of version 0
                    version = 0
            if api not in wire.RESPONSES or version > wire.RESPONSES[api].versions[1]:
                return f"bytes {len(data)}"
            return wire.decode_response(api, version, data)
        except (wire.WrongAnswer, struct.error) as problem:
            return f"undecodable: {problem}: {data.hex()}"


class Side:
    """One of the two brokers in one run of a script."""

    def __init__(self, broker, tag):
        self.broker, self.tag, self.connections, self.old, self.kept, self.names = broker, tag, {}, [], {}, {}

    def resolve(self, value):
        if isinstance(value, dict):
            if "$" in value:
                return self.kept.get(value["$"], value.get("else"))
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if isinstance(value, str):
            return value.replace("%DIR%", str(self.broker.directory)).replace("@", f"{self.tag}-")
        return self.resolve_batch(value) if isinstance(value, Batch) else value

    def resolve_batch(self, value):
        return b"".join(wire.batch(**{k: self.resolve(v) if isinstance(v, dict) else v for k, v in part.items()})
                        if isinstance(part, dict) else part for part in value.parts)

    def send(self, number, step):
        connection = self.connections.get(step["conn"])
        if connection and (connection.is_closed or connection.waiting):
            self.old.append(self.connections.pop(step["conn"]))
            connection = None
        if not connection:
            connection = self.connections[step["conn"]] = Connection(self.broker.port)
        connection.correlation += 1
        body = self.resolve(step["body"])
        frame = wire.encode_request(step["api"], step["version"], connection.correlation, step.get("client", "fuzz"), body)
        if "harm" in step:
            frame = harmed(frame, step["harm"])
        else:
            frame = struct.pack(">i", len(frame)) + frame
        connection.send(number, step["api"], step["version"], frame)

    def answers(self):
        return [pair for c in [*self.old, *self.connections.values()] for pair in c.answers()]

    def close(self):
        for connection in [*self.old, *self.connections.values()]:
            connection.socket.close()

    def keep(self, name, value):
        self.kept[name] = value

    def call(self, value, name):
        """From now on `value` is shown as `name`."""
        self.names.setdefault(value, name)


class Batch:
    """Records to be made when sent: dicts of the arguments of wire.batch, or bytes."""

    def __init__(self, *parts):
        self.parts = parts

    def __repr__(self):
        return f"Batch({', '.join(map(repr, self.parts))})"


def harmed(frame, harm):
    """The frame with its length, spoiled: harm is (how, seed)."""
    how, seed = harm
    rng = random.Random(seed)
    if how == "cut":
        frame = frame[:rng.randrange(8, max(9, len(frame)))]
    elif how == "more":
        frame += bytes(rng.randrange(1, 9))
    elif how == "flip":
        at = rng.randrange(8, len(frame))
        frame = frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1:]
    elif how == "byte":
        at = rng.randrange(8, len(frame))
        frame = frame[:at] + bytes([rng.choice((0, 1, 127, 128, 255))]) + frame[at + 1:]
    elif how == "short":  # not even a header
        frame = frame[:rng.randrange(0, 8)]
    elif how == "size":
        return struct.pack(">i", rng.choice((-1, -2147483648, 2147483647, 104857601))) + frame
    return struct.pack(">i", len(frame)) + frame
