"""keeper_clickhouse: Debian's ClickHouse replicates tables through our keeper: two servers, one table, inserts on both, a merge, a
server killed -9 and back, a replica dropped. Needs Debian's clickhouse-server and clickhouse-client; 77 without."""
import os
import pathlib
import shutil
import subprocess
import sys
import time

import run
from run import free_port

WORK, KEEPER = pathlib.Path(os.environ["WORK"]), os.environ["KEEPER"]
if not shutil.which("clickhouse-server") or not shutil.which("clickhouse-client"):
    print("needs Debian's clickhouse-server and clickhouse-client")
    sys.exit(77)


def eventually(check, what, seconds=60):
    run.eventually(check, what, seconds, WORK.glob("*.log"))


class Server:
    def __init__(self, name):
        self.name, self.tcp, self.http, self.copies = name, free_port(), free_port(), free_port()
        self.dir = WORK / name
        self.dir.mkdir()
        host, port = KEEPER.rsplit(":", 1)
        (self.dir / "users.xml").write_text(
            "<yandex><profiles><default><max_memory_usage>1000000000</max_memory_usage></default></profiles>"
            "<users><default><password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></default></users>"
            "<quotas><default></default></quotas></yandex>")
        (self.dir / "config.xml").write_text(
            f"<yandex><logger><level>information</level><console>1</console></logger><http_port>{self.http}</http_port>"
            f"<tcp_port>{self.tcp}</tcp_port><interserver_http_port>{self.copies}</interserver_http_port><interserver_http_host>127.0.0.1</interserver_http_host>"
            f"<listen_host>127.0.0.1</listen_host><path>{self.dir}/data/</path><tmp_path>{self.dir}/tmp/</tmp_path><mark_cache_size>10000000</mark_cache_size>"
            f"<users_config>{self.dir}/users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>"
            f"<zookeeper><node><host>{host}</host><port>{port}</port></node><session_timeout_ms>6000</session_timeout_ms></zookeeper>"
            f"<macros><replica>{name}</replica></macros></yandex>")
        self.process = None

    def start(self):
        log = open(WORK / f"{self.name}.log", "ab")
        self.process = subprocess.Popen(["clickhouse-server", f"--config-file={self.dir}/config.xml"], stdout=log, stderr=log, cwd=self.dir)
        eventually(lambda: self.try_sql("select 1") == "1", f"{self.name} answers", 40)

    def try_sql(self, text):
        done = subprocess.run(["clickhouse-client", "--host", "127.0.0.1", "--port", str(self.tcp), "--query", text], capture_output=True, text=True,
                              timeout=60)
        self.error = done.stderr
        return done.stdout.strip() if done.returncode == 0 else None

    def sql(self, text):
        answer = self.try_sql(text)
        assert answer is not None, f"{self.name}: {text}: {self.error[-800:]}"
        return answer

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def main():
    one, two = Server("one"), Server("two")
    try:
        one.start()
        two.start()
        for server in (one, two):
            server.sql("create table t (d Date, k UInt64, v String) engine = ReplicatedMergeTree('/clickhouse/t', '{replica}', d, k, 8192)")
        one.sql("insert into t select today(), number, 'one' from system.numbers limit 1000")
        two.sql("insert into t select today(), number + 1000, 'two' from system.numbers limit 1000")
        for server in (one, two):
            eventually(lambda: server.sql("select count(), sum(k) from t") == "2000\t1999000", "both have all rows")
        print("ok inserts on either side reach the other")
        one.sql("insert into t select today(), number, 'one' from system.numbers limit 1000")
        assert one.sql("select count() from t") == "2000", "the same block again is known by its sum in the keeper"
        print("ok a block inserted twice is there once")
        one.sql("optimize table t")
        eventually(lambda: two.sql("select count() from system.parts where table = 't' and active") == "1", "the merge is done on both")
        print("ok a merge decided on one is done on the other")
        two.kill()
        one.sql("insert into t select today(), number + 2000, 'alone' from system.numbers limit 1000")
        two.start()
        eventually(lambda: two.sql("select count() from t") == "3000", "the killed one catches up")
        print("ok a server killed -9 comes back and catches up")
        two.sql("drop table t")
        eventually(lambda: one.sql("select name from system.zookeeper where path = '/clickhouse/t/replicas'") == "one", "its replica is gone from the keeper")
        print("ok a dropped replica is gone")
    finally:
        one.kill()
        two.kill()


main()
