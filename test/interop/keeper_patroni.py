"""keeper_patroni: Debian's Patroni keeps two PostgreSQL servers in order through our keeper: a leader, a replica, a switchover by hand, a
failover after kill -9. Needs Debian's patroni and postgresql; 77 without."""
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import run
from run import free_port

WORK, KEEPER = pathlib.Path(os.environ["WORK"]), os.environ["KEEPER"]
BIN = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
if not shutil.which("patroni") or not BIN:
    print("needs Debian's patroni and postgresql")
    sys.exit(77)
if os.getuid() == 0:
    OWNER = pwd.getpwnam("postgres")  # PostgreSQL does not run as root
    os.chmod(WORK, 0o755)


def eventually(check, what, seconds):
    run.eventually(check, what, seconds, WORK.glob("*.log"))


class Member:
    def __init__(self, name):
        self.name, self.api, self.port = name, free_port(), free_port()
        self.dir = WORK / name
        self.dir.mkdir()
        # Unix sockets have short paths.
        self.config = {
            "scope": "odradek", "namespace": "/patroni", "name": name, "restapi": {"listen": f"127.0.0.1:{self.api}", "connect_address": f"127.0.0.1:{self.api}"},
            "zookeeper": {"hosts": [KEEPER]},
            "bootstrap": {"dcs": {"ttl": 20, "loop_wait": 2, "retry_timeout": 5, "postgresql": {"use_pg_rewind": False}},
                          "initdb": [{"encoding": "UTF8"}], "pg_hba": ["host replication all 127.0.0.1/32 trust", "host all all 127.0.0.1/32 trust"]},
            "postgresql": {"listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}", "data_dir": str(self.dir / "pg"), "bin_dir": BIN[-1],
                           "pgpass": str(self.dir / "pgpass"), "authentication": {"superuser": {"username": "postgres", "password": "x"},
                                                                                  "replication": {"username": "copier", "password": "x"}},
                           "parameters": {"unix_socket_directories": "/tmp", "fsync": "off", "shared_buffers": "16MB", "max_connections": 20}},
            "watchdog": {"mode": "off"},
        }
        self.file = self.dir / "patroni.yml"
        self.file.write_text(json.dumps(self.config))  # JSON is YAML
        self.process = None
        if os.getuid() == 0:
            for path in (self.dir, self.file):
                os.chown(path, OWNER.pw_uid, OWNER.pw_gid)

    def start(self):
        more = {"user": OWNER.pw_uid, "group": OWNER.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        log = open(WORK / f"{self.name}.log", "ab")
        self.process = subprocess.Popen(["patroni", str(self.file)], stdout=log, stderr=log, cwd=self.dir, start_new_session=True,
                                        env={"PATH": os.environ["PATH"], "HOME": str(self.dir), "LANG": "C"}, **more)

    def state(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/patroni", timeout=2) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.loads(error.read() or b"{}")
        except Exception:
            return {}

    def is_leader(self):
        state = self.state()
        return state.get("role") in ("master", "primary") and state.get("state") == "running"

    def is_replica(self):
        state = self.state()
        return state.get("role") == "replica" and state.get("state") in ("running", "streaming")

    def sql(self, text):
        done = subprocess.run([f"{BIN[-1]}/psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-Atc", text],
                              capture_output=True, text=True, timeout=20, env={"PGPASSWORD": "x", "PATH": os.environ["PATH"]})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def kill(self):
        """Patroni and its PostgreSQL at once, as when the machine goes."""
        postmaster = self.dir / "pg/postmaster.pid"
        pid = int(postmaster.read_text().split()[0]) if postmaster.exists() else None
        self.process.kill()
        self.process.wait()
        if pid:
            os.kill(pid, signal.SIGQUIT)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


def main():
    one, two = Member("one"), Member("two")
    try:
        one.start()
        eventually(one.is_leader, "the first member became leader", 60)
        two.start()
        eventually(two.is_replica, "the second member became a replica", 60)
        one.sql("create table t (n int)")
        one.sql("insert into t values (1)")
        eventually(lambda: two.sql("select count(*) from pg_class where relname = 't'") == "1", "the replica follows", 20)
        print("ok a leader and a replica")
        done = subprocess.run(["patronictl", "-c", str(two.file), "switchover", "odradek", "--candidate", "two", "--force"], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        eventually(two.is_leader, "the switchover made the second one leader", 60)
        eventually(one.is_replica, "the first one follows", 60)
        two.sql("insert into t values (2)")
        print("ok switchover")
        eventually(lambda: one.sql("select count(*) from t") == "2", "the first one has caught up", 30)
        began = time.monotonic()
        two.kill()
        eventually(one.is_leader, "the first one took over", 60)
        one.sql("insert into t values (3)")
        assert one.sql("select count(*) from t") == "3"
        print(f"ok failover, {time.monotonic() - began:.1f} s after kill -9")
        done = subprocess.run(["patronictl", "-c", str(one.file), "list", "odradek", "-f", "json"], capture_output=True, text=True, timeout=30)
        assert '"one"' in done.stdout and "Leader" in done.stdout, done.stdout + done.stderr
        print("ok patronictl list")
    finally:
        two.stop()
        one.stop()


main()
