"""What an operator reads of a keeper: Apache ZooKeeper 3.9.4 and ours are brought to the same state, then asked every four-letter word,
every command of the admin server, /metrics, and for their audit log. Keys, shapes and lines must be the same, but for what is listed here.
Then zkServer.sh's verbs on ours, through a shim of two lines."""
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request

from run import free_port

HERE = pathlib.Path(__file__).resolve().parent
WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]
exec((HERE / "keeper_diff.py").read_text().split("class Side:")[0])  # its wire

WORDS = "ruok isro gtmk srvr stat cons conf envi dump wchs wchc wchp dirs mntr hash crst srst nope lead".split()
COMMANDS = ("configuration conf config connections cons dirs dump environment env envi get_trace_mask gtmk hash initial_configuration icfg is_read_only "
            "isro last_snapshot lsnp leader lead monitor mntr observers obsr observer_connection_stat_reset orst ruok server_stats srvr set_trace_mask "
            "set_trace_mask?traceMask=306 set_trace_mask?traceMask=x stats stat system_properties sysp voting_view watch_summary wchs watches wchc "
            "watches_by_path wchp zabstate connection_stat_reset crst stat_reset srst nosuch RUOK stats/x").split()
# Ours are only numbers that exist here: not those of ZooKeeper's threads, caches and Java.
NOT_HERE = re.compile(r"(_processor|commitproc|commit_proc|final_proc|prep_process|sync_process_time|_session_queue|session_queues|netty|jvm|"
                      r"dead_watcher|response_packet|ensemble_auth|throttle|stale_re|unsuccessful_handshake|insecure_admin|tls_handshake_exceeded|"
                      r"connection_drop_count|connection_token|outstanding_changes|_per_namespace|proposal|propagation|quorum_ack|learner|election|"
                      r"leader|looking|diff_count|snap_count|commit_count|commit_queued|commit_process|unavailable|follower|observer|revalidate_count|"
                      r"disloyal|digest_mismatches|socket_closing|cnxn_closed|write_batch|"
                      r"concurrent_request|local_write|server_write|requests_not_forwarded|close_session_prep|request_commit|throttled_ops|"
                      r"ack_latency|reads_|skip_)")


class Server:
    def __init__(self, kind):
        self.kind, self.directory = kind, WORK / kind
        self.directory.mkdir()
        self.port, self.admin, self.metrics = free_port(), free_port(), free_port()
        self.config, self.log = self.directory / "zoo.cfg", self.directory / "log"
        self.config.write_text(
            f"tickTime=2000\ndataDir={self.directory}/data\ndataLogDir={self.directory}/txn\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            f"admin.serverPort={self.admin}\nadmin.serverAddress=127.0.0.1\n4lw.commands.whitelist=*\nextendedTypesEnabled=true\n"
            "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\nmetricsProvider.httpHost=127.0.0.1\n"
            f"metricsProvider.httpPort={self.metrics}\naudit.enable=true\n")

    def command(self):
        if self.kind == "ours":
            return [BINARY, "keeper", str(self.config)]
        jars = maven("zookeeper-3.9.4-admin", "org.apache.zookeeper:zookeeper:3.9.4", "io.dropwizard.metrics:metrics-core:4.1.12.1",
                     "org.xerial.snappy:snappy-java:1.1.10.5", "org.eclipse.jetty:jetty-server:9.4.57.v20241219",
                     "org.eclipse.jetty:jetty-servlet:9.4.57.v20241219", "com.fasterxml.jackson.core:jackson-databind:2.15.2",
                     "org.apache.zookeeper:zookeeper-prometheus-metrics:3.9.4", "commons-cli:commons-cli:1.5.0")
        logger = maven("slf4j-simple-2.0.13", "org.slf4j:slf4j-simple:2.0.13")
        path = [str(j) for j in sorted(jars.glob("*.jar")) if "slf4j-nop" not in j.name]
        path += [str(j) for j in logger.glob("slf4j-simple*.jar")]
        return ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dzookeeper.audit.enable=true", "-cp", ":".join(path),
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.config)]

    def start(self):
        log = open(self.log, "ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        wait(lambda: "Mode: standalone" in self.word("srvr") and self.get("/commands/ruok")[0] == 200, self)

    def word(self, word, more=b""):
        data = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as s:
                s.settimeout(10)
                s.sendall(word.encode() + more)
                while part := s.recv(65536):
                    data += part
        except ConnectionRefusedError:
            pass
        except ConnectionResetError:
            pass
        return data.decode()

    def get(self, path, port=None, method="GET"):
        try:
            with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port or self.admin}{path}", method=method), timeout=10) as r:
                return r.status, r.headers.get("Content-Type"), r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, None, ""
        except OSError:
            return 0, None, ""

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def maven(name, *items):
    done = subprocess.run([str(HERE / "maven"), name, *items], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return pathlib.Path(done.stdout.strip())


def wait(condition, server):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if condition():
            return
        assert server.process.poll() is None, server.log.read_text(errors="replace")[-2000:]
        time.sleep(0.05)
    raise AssertionError(f"{server.kind}: nothing within 60 s")


def bring(server):
    """Sessions, znodes, ephemerals, watches of each kind; and every change that is audited, done and refused."""
    address = f"127.0.0.1:{server.port}"
    writer, watching = Connection(address), Connection(address)
    xid = [0]

    def ask(connection, op, body):
        xid[0] += 1
        return connection.ask(xid[0], OPS[op], body)

    def create(path, flags=0, op="create", more=b""):
        return ask(writer, op, ustring(path) + ustring(b"x") + acl(WORLD) + struct.pack(">i", flags) + more)

    for path, flags in (("/a", 0), ("/a/b", 0), ("/e", 1), ("/e2", 1), ('/sé"q', 1), ("/a", 0), ("/s-", 2), ("/es-", 3), ("bad", 0)):
        create(path, flags)
    create("/c", 4, "container")
    create("/t", 5, "ttl", struct.pack(">q", 100000))
    for path, version in (("/a", -1), ("/a", 77), ("/nope", -1)):
        ask(writer, "set", ustring(path) + ustring(b"y") + struct.pack(">i", version))
    writer.ask(-4, OPS["auth"], struct.pack(">i", 0) + ustring("digest") + ustring("u:p"))
    ask(writer, "setacl", ustring("/a/b") + acl([(31, "world", "anyone"), (3, "digest", "u:x"), (16, "ip", "1.2.3.4")]) + struct.pack(">i", -1))
    ask(writer, "setacl", ustring("/nope") + acl(WORLD) + struct.pack(">i", -1))
    ask(writer, "delete", ustring("/a") + struct.pack(">i", -1))
    part = lambda op, body: struct.pack(">ibi", OPS[op], 0, -1) + body
    end = struct.pack(">ibi", -1, 1, -1)
    made = lambda path, flags=0: part("create", ustring(path) + ustring(b"x") + acl(WORLD) + struct.pack(">i", flags))
    ask(writer, "multi", made("/m") + made("/m/e", 1) + part("set", ustring("/m") + ustring(b"y") + struct.pack(">i", -1))
        + part("check", ustring("/m") + struct.pack(">i", -1)) + part("delete", ustring("/m/e") + struct.pack(">i", -1)) + end)
    ask(writer, "multi", made("/n") + made("/m") + end)
    ask(writer, "reconfig", ustring(None) * 3 + struct.pack(">q", -1))
    for op, path in (("get", "/a"), ("children", "/a"), ("exists", "/nope"), ("exists", "/e")):
        ask(watching, op, ustring(path) + b"\1")
    ask(watching, "addwatch", ustring("/m") + struct.pack(">i", 0))
    ask(watching, "addwatch", ustring("/c") + struct.pack(">i", 1))
    for _ in range(150):  # past a digest
        ask(writer, "set", ustring("/m") + ustring(b"z") + struct.pack(">i", -1))
    watching.ask(-2, OPS["ping"], b"")
    return writer, watching


def blur(text):
    text = re.sub(r"\b3\.9\.[45]-\S+, built on", "VERSION, built on", text)
    text = re.sub(r'("?dataL?o?g?Dir"?=).*', r"\1PATH", text)
    text = re.sub(r"expire at .*:", "expire at DATE:", text)
    return re.sub(r"0x[0-9a-f]+|-?\d+(\.\d+)?", "N", text)


def lines_of(word, text):
    """What of an answer must be equal: all of it, in an order where ZooKeeper has none."""
    if word in ("mntr", "envi"):
        return sorted(l.split("\t")[0].split("=")[0] for l in text.splitlines())
    lines = blur(re.sub(r"^0 expire at .*\n", "", text, flags=re.M)).splitlines()  # a bucket that all have left
    if word in ("cons", "stat", "dump", "wchc", "wchp"):
        lines.sort()
    return lines + [repr(text[-1:])] if word not in ("gtmk", "isro", "ruok") else [text]


def plain_names(names):
    """Of mntr with the Prometheus provider of Apache's: zk_x{quantile="0.5"}, zk_x_count; ours are zk_p50_x, zk_cnt_x."""
    out = set()
    for name in names:
        name = re.sub(r"\{.*", "", name.removeprefix("zk_"))
        name = re.sub(r"_(count|sum)$", "", name) if re.sub(r"_(count|sum)$", "", name) + "_sum" in {n.removeprefix("zk_") for n in names} else name
        out.add(re.sub(r"^(avg|min|max|cnt|sum|p\d+)_(?!latency|file|client)", "", name))
    return {n for n in out if not NOT_HERE.search(n) and not n.startswith("process_")}


def shape(value):
    """JSON without its values: keys in order, types."""
    if isinstance(value, dict):
        keys = [(re.sub(r"^-?\d+$", "N", k), shape(v)) for k, v in value.items()]
        is_bean = "provider_null" in value  # its order is that of Java's reflection, another in each run
        return sorted(set(map(repr, keys))) if is_bean or any(k == "N" for k, _ in keys) else keys
    if isinstance(value, list):
        return sorted(set(repr(shape(v)) for v in value))
    return type(value).__name__


differences = []


def same(what, apache, ours):
    if apache != ours:
        if isinstance(apache, list) and isinstance(ours, list):  # the first that differs, and what surrounds it
            at = next((i for i, (a, b) in enumerate(zip(apache, ours)) if a != b), min(len(apache), len(ours)))
            what, apache, ours = f"{what} [{at}]", apache[at:at + 2], ours[at:at + 2]
        elif isinstance(apache, (set, dict)) and isinstance(ours, (set, dict)):
            apache, ours = set(apache) - set(ours), set(ours) - set(apache)
        differences.append(f"{what}\n    Apache's: {apache}\n    ours:     {ours}")


def compare_admin(apache, ours):
    for name in COMMANDS:
        a, b = apache.get("/commands/" + name), ours.get("/commands/" + name)
        same(f"status of {name}", a[:2], b[:2])
        left, right = json.loads(a[2]), json.loads(b[2])
        if name == "dump":
            left["expiry_time_to_session_ids"] = {k: v for k, v in left["expiry_time_to_session_ids"].items() if v}
        same(f"error of {name}", left["error"], right["error"]) if "traceMask=x" not in name else None
        if right["command"] in ("monitor", "system_properties"):
            continue
        if "watches" in right["command"]:  # by path: the same paths
            key = list(right)[0]
            same(name, sorted(map(str, left[key] if "path" in key[:4] else left[key].values())),
                 sorted(map(str, right[key] if "path" in key[:4] else right[key].values()))) if key[:4] == "path" else None
            same(name, sorted(sorted(v) for v in left[key].values()) if key[:4] != "path" else None,
                 sorted(sorted(v) for v in right[key].values()) if key[:4] != "path" else None)
        elif right["command"] == "hash":
            same(name, [(d["zxid"], d["digest_version"]) for d in left["digests"]], [(d["zxid"], d["digest_version"]) for d in right["digests"]])
        else:
            same(f"shape of {name}", shape(left), shape(right))
        # the way it is printed, for people grep it
        tidy = lambda text: [re.sub(r"[\d.]+", "N", l) for l in text.splitlines() if "version" not in l and "dir" not in l and "configuration" not in l]
        if name in ("ruok", "is_read_only", "leader", "voting_view", "watch_summary", "observers", "zabstate", "dirs", "connections", "nosuch"):
            same(f"text of {name}", tidy(a[2]), tidy(b[2]))
    links = [set(re.findall(r'href="([^"]+)"', s.get("/commands")[2])) for s in (apache, ours)]
    same("links", links[0], links[1])
    same("PUT", apache.get("/commands/ruok", method="PUT")[0], ours.get("/commands/ruok", method="PUT")[0])
    same("HEAD", apache.get("/commands/ruok", method="HEAD")[0], ours.get("/commands/ruok", method="HEAD")[0])
    same("elsewhere", apache.get("/x")[0], ours.get("/x")[0])
    values = [json.loads(s.get("/commands/monitor")[2]) for s in (apache, ours)]
    for key in ("znode_count", "ephemerals_count", "watch_count", "global_sessions", "num_alive_connections", "local_sessions"):
        same(f"value of {key}", float(values[0][key]), float(values[1][key]))


def families(text):
    return {m[1]: m[2] for m in re.finditer(r"^# TYPE (\S+) (\S+)$", text, re.M) if not re.match(r"jvm_|process_|odradek_", m[1])}


def compare_metrics(apache, ours):
    a, b = (s.get("/metrics", s.metrics) for s in (apache, ours))
    same("status of /metrics", a[0], b[0])
    left, right = families(a[2]), families(b[2])
    same("families", {k: v for k, v in left.items() if not NOT_HERE.search(k)}, {k: v for k, v in right.items() if not NOT_HERE.search(k)})
    same("types", {k: left[k] for k in right}, right)
    for line in b[2].splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) .*|\w+(\{\w+="[^"]*"\})? (-?[\d.e+-]+|NaN)', line), line
    quantiles = lambda text: set(re.findall(r'^((?:read|update)latency\{quantile="[\d.]+")', text, re.M))
    same("quantiles", quantiles(a[2]), quantiles(b[2]))


def audit_of(server):
    lines = []
    for line in server.log.read_text(errors="replace").splitlines():
        m = re.search(r"(INFO|ERROR) \S*audit\.Slf4jAuditLogger(?: - |: )(.*)", line)
        if m:
            fields = dict(f.split("=", 1) for f in m[2].split("\t"))
            fields["user"] = ",".join(sorted(fields["user"].split(",")))
            fields.pop("session", None)
            lines.append((m[1], tuple(fields.items())))
    gone = [l for l in lines if "ephemeralZNode" in str(l)]  # in the order of a Java set
    return [l for l in lines if l not in gone] + sorted(gone)


def zkserver():
    """A harness that knows nothing but zkServer.sh."""
    site = WORK / "site"
    (site / "bin").mkdir(parents=True)
    (site / "conf").mkdir()
    script, port = site / "bin/zkServer.sh", free_port()
    script.write_text(f'#!/bin/sh\nexec {BINARY} zkserver "$@"\n')
    script.chmod(0o755)
    (site / "conf/zoo.cfg").write_text(f"tickTime=2000\ndataDir={site}/data\nclientPort={port}\nadmin.enableServer=false\n")
    environment = dict(os.environ, ZOOCFGDIR=str(site / "conf"), SERVER_JVMFLAGS="-Xmx1g -Dzookeeper.4lw.commands.whitelist=ruok", USER="me")

    def verb(*words):
        done = subprocess.run([str(script), *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        assert "Using config: " in done.stderr or words[0] == "version", done.stderr
        return done.returncode, done.stdout

    def ruok():
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            s.sendall(b"ruok")
            return s.recv(100)

    found = f"Client port found: {port}. Client address: localhost. Client SSL: false.\n"
    pid = site / "data/zookeeper_server.pid"
    assert verb("status") == (1, found + "Error contacting service. It is probably not running.\n"), verb("status")
    assert verb("stop") == (0, f"Stopping zookeeper ... no zookeeper to stop (could not find file {pid})\n")
    assert verb("start") == (0, "Starting zookeeper ... STARTED\n")
    try:
        assert ruok() == b"imok"  # the whitelist came through SERVER_JVMFLAGS
        number = pid.read_text()
        assert verb("start") == (1, f"Starting zookeeper ... already running as process {number}.\n")
        assert verb("status", "zoo.cfg") == (0, found + "Mode: standalone\n")
        assert verb("restart") == (0, "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED\n")
        assert pid.read_text() != number and ruok() == b"imok"
    finally:
        stopped = verb("stop")
    assert stopped == (0, "Stopping zookeeper ... STOPPED\n") and not pid.exists(), stopped
    assert verb("status")[0] == 1
    assert re.search(r"version \d+\.\d+\.\d+", verb("version")[1])
    assert "start-foreground" in verb("print-cmd")[1]
    (site / "conf/bad.cfg").write_text(f"dataDir={site}/data\nclientPort=x\n")
    assert verb("start", "bad.cfg") == (1, "Starting zookeeper ... FAILED TO START\n")
    foreground = subprocess.Popen([str(script), "start-foreground", str(site / "conf/zoo.cfg")], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert any("ready:" in line for line in foreground.stderr)
        assert ruok() == b"imok"
    finally:
        foreground.terminate()
        assert foreground.wait(20) == 0


def main():
    apache, ours = Server("apache"), Server("ours")
    for server in (apache, ours):
        server.start()
    try:
        kept = [bring(server) for server in (apache, ours)]
        for word in WORDS:
            a, b = apache.word(word), ours.word(word)
            if word == "mntr":
                same("names of mntr", plain_names([l.split("\t")[0] for l in a.splitlines()]), plain_names([l.split("\t")[0] for l in b.splitlines()]))
            else:
                same(f"word {word}", lines_of(word, a), lines_of(word, b))
        same("stmk", apache.word("stmk", struct.pack(">q", 306)), ours.word("stmk", struct.pack(">q", 306)))
        compare_metrics(apache, ours)
        compare_admin(apache, ours)
        for writer, watching in kept:
            assert writer.ask(9999, OPS["close"], b"")[1]
            watching.socket.close()
    finally:
        for server in (apache, ours):
            server.stop()
    same("audit log", audit_of(apache), audit_of(ours))
    for difference in differences:
        print(difference)
    assert not differences, f"{len(differences)} differences"
    zkserver()
    print(f"{len(WORDS) + 1} words, {len(COMMANDS)} commands, metrics and audit log alike; zkServer.sh's verbs work")


main()
