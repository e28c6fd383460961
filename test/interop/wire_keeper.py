"""Keepers of one's own for tests, in $WORK: Apache ZooKeeper 3.9.4 (kind "apache") or `odradek keeper` (kind "ours"); one, or an
ensemble of three ("apache*3", "ours*3"), whose members can be killed, paused and started again."""
import contextlib
import difflib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from run import free_port

HERE = pathlib.Path(__file__).resolve().parent
WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]
# With the admin server.
ADMIN_JARS = ["org.apache.zookeeper:zookeeper:3.9.4", "io.dropwizard.metrics:metrics-core:4.1.12.1", "org.xerial.snappy:snappy-java:1.1.10.5",
              "org.eclipse.jetty:jetty-server:9.4.57.v20241219", "org.eclipse.jetty:jetty-servlet:9.4.57.v20241219",
              "com.fasterxml.jackson.core:jackson-databind:2.15.2", "org.apache.zookeeper:zookeeper-prometheus-metrics:3.9.4",
              "commons-cli:commons-cli:1.5.0"]


def jars(name, *items):
    """The directory of that name, with these in it; without a way to get them the test is skipped."""
    done = subprocess.run([str(HERE / "maven"), name, *items], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip()


def command_of(kind, config):
    """How a keeper of this kind is started."""
    if kind == "ours":
        return [BINARY, "keeper", str(config)]
    path = jars("zookeeper-3.9.4", "org.apache.zookeeper:zookeeper:3.9.4", "io.dropwizard.metrics:metrics-core:4.1.12.1", "org.xerial.snappy:snappy-java:1.1.10.5")
    return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", path + "/*",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]


def word(host, port, what, seconds=2):
    """The answer to a four-letter word; "" when there is none."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((host, port), seconds) as s:
        s.settimeout(seconds)
        s.sendall(what.encode())
        while more := s.recv(65536):
            answer += more
    return answer.decode(errors="replace")


def last_lines(file, lines):
    return [line[:240] for line in file.read_text(errors="replace").splitlines()[-lines:]] if file.exists() else []


class Keeper:
    """One alone."""

    def __init__(self, kind, host="127.0.0.1", port=None):
        self.kind, self.host, self.port, self.directory = kind, host, port or free_port(), WORK / kind
        self.directory.mkdir()
        self.connect = f"{self.host}:{self.port}"
        self.config, self.process = self.directory / "zoo.cfg", None
        self.config.write_text(f"tickTime=1000\ndataDir={self.directory}/data\nclientPort={self.port}\n"
                               f"clientPortAddress={host}\nadmin.enableServer=false\nmaxClientCnxns=0\n")
        self.command = command_of(kind, self.config)

    def start(self):
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.directory / "log").read_text(errors="replace")[-2000:]
            if "Mode: standalone" in word(self.host, self.port, "srvr"):
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.kind}: no keeper within 60 s")

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait(20)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.end(signal.SIGKILL)

    def restart(self, how=signal.SIGKILL):
        self.end(how)
        self.start()

    def tail(self, lines=15):
        return [f"keeper: {line}" for line in last_lines(self.directory / "log", lines)]


class Member:
    """One of an ensemble."""

    def __init__(self, ensemble, number, host, ports):
        self.ensemble, self.number, self.host = ensemble, number, host
        self.port, self.quorum_port, self.election_port = ports
        self.directory = WORK / f"{ensemble.kind}-{number}"
        self.process, self.is_paused, self.was_ended = None, False, False

    def configure(self, lines, more):
        data = self.directory / "data"
        data.mkdir(parents=True)
        (data / "myid").write_text(f"{self.number}\n")
        settings = {"tickTime": 500, "initLimit": 20, "syncLimit": 10, "dataDir": data, "clientPort": self.port, "clientPortAddress": self.host,
                    "admin.enableServer": "false", "maxClientCnxns": 0, "4lw.commands.whitelist": "*", "standaloneEnabled": "false", **more}
        self.config = self.directory / "zoo.cfg"
        self.config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()) + "".join(lines))
        self.command = command_of(self.ensemble.kind, self.config)

    def begin(self):
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.directory)
        self.was_ended = False

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def mode(self):
        """"leader", "follower", or "" while it serves nobody."""
        found = re.search(r"Mode: (\w+)", word(self.host, self.port, "srvr"))
        return found[1] if found else ""

    def end(self, how, seconds=30):
        self.was_ended = True
        self.resume()
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def kill(self):
        if self.is_running():
            self.end(signal.SIGKILL)

    def stop(self):
        code = self.end(signal.SIGTERM)
        assert self.ensemble.kind == "apache" or code == 0, f"keeper {self.number} stopped with {code}"

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self):
        if self.is_paused and self.is_running():
            self.process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def tail(self, lines=12):
        return [f"keeper {self.number}: {line}" for line in last_lines(self.directory / "log", lines)]


class Ensemble:
    """Three of one kind. `more` are settings of zoo.cfg beyond those that are always there."""

    def __init__(self, kind, host="127.0.0.1", size=3, port_of=None, **more):
        self.kind, self.host = kind, host
        port_of = port_of or free_port
        self.members = [Member(self, number, host, [port_of() for _ in range(3)]) for number in range(1, size + 1)]
        lines = [f"server.{m.number}={m.host}:{m.quorum_port}:{m.election_port}\n" for m in self.members]
        for member in self.members:
            member.configure(lines, more)
        self.connect = ",".join(f"{m.host}:{m.port}" for m in self.members)

    def running(self):
        return [m for m in self.members if m.is_running() and not m.is_paused]

    def modes(self):
        return {m.number: m.mode() for m in self.running()}

    def leader(self):
        """The member that leads; None."""
        return next((m for m in self.running() if m.mode() == "leader"), None)

    def wait_whole(self, seconds=60):
        """Everybody who runs follows one leader."""
        end = time.monotonic() + seconds
        while True:
            for member in self.members:
                gone = member.process is not None and member.process.poll() is not None and not member.was_ended
                assert not gone, f"keeper {member.number} ended with {member.process.returncode}: {member.tail()}"
            modes = sorted(self.modes().values())
            if modes == ["follower"] * (len(modes) - 1) + ["leader"] and len(modes) * 2 > len(self.members):
                return
            assert time.monotonic() < end, f"no whole ensemble within {seconds} s: {self.modes()}"
            time.sleep(0.05)

    def start(self):
        for member in self.members:
            if not member.is_running():
                member.begin()
        self.wait_whole()

    def restart(self, how=signal.SIGKILL):
        """All of it, at once."""
        for member in self.members:
            if member.is_running():
                member.end(how)
        self.start()

    def kill(self):
        for member in self.members:
            member.kill()

    def tail(self, lines=12):
        return [line for member in self.members for line in member.tail(lines)]


def keeper_of(kind, host="127.0.0.1", port_of=None, **more):
    """"ours", "apache", "ours*3", "apache*3"."""
    name, _, size = kind.partition("*")
    if size:
        return Ensemble(name, host, int(size), port_of, **more)
    return Keeper(name, host, (port_of or free_port)())


def lines_of(keeper, client):
    """What a program prints; for a line "restart" its keeper is killed and started again, and the program told."""
    for line in client.stdout:
        yield line.rstrip()
        if line.rstrip() == "restart":
            keeper.restart(signal.SIGKILL)
            client.stdin.write("restarted\n")
            client.stdin.flush()


def same_on_both(session, who):
    """session(kind) gives lines: those on ours, once they are those on Apache's."""
    apache, ours = (session(kind) for kind in ("apache", "ours"))
    for line in difflib.unified_diff(apache, ours, "apache", "ours", lineterm=""):
        print(line)
    assert apache == ours, f"{who} tells them apart"
    return ours
