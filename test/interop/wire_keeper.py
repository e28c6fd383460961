"""A keeper of one's own for tests: Apache ZooKeeper 3.9.4 (kind "apache") or `odradek keeper` (kind "ours"), in $WORK."""
import os
import pathlib
import socket
import subprocess
import sys
import time

from run import free_port

HERE = pathlib.Path(__file__).resolve().parent
WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]


class Keeper:
    def __init__(self, kind, host="127.0.0.1", port=None):
        self.kind, self.host, self.port, self.directory = kind, host, port or free_port(), WORK / kind
        self.directory.mkdir()
        self.config, self.process = self.directory / "zoo.cfg", None
        self.config.write_text(f"tickTime=1000\ndataDir={self.directory}/data\nclientPort={self.port}\n"
                               f"clientPortAddress={host}\nadmin.enableServer=false\nmaxClientCnxns=0\n")
        if kind == "apache":
            done = subprocess.run([str(HERE / "maven"), "zookeeper-3.9.4", "org.apache.zookeeper:zookeeper:3.9.4",
                                   "io.dropwizard.metrics:metrics-core:4.1.12.1", "org.xerial.snappy:snappy-java:1.1.10.5"],
                                  stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(done.returncode)
            self.command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", done.stdout.strip() + "/*",
                            "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.config)]
        else:
            self.command = [BINARY, "keeper", str(self.config)]

    def start(self):
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.directory / "log").read_text(errors="replace")[-2000:]
            try:
                with socket.create_connection((self.host, self.port), 2) as s:
                    s.sendall(b"srvr")
                    if b"Mode: standalone" in s.recv(4096):
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.kind}: no keeper within 60 s")

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait(20)
