"""keeper_backup: the admin commands `snapshot` and `restore`. Apache ZooKeeper 3.9.4 and ours are asked alike, refusals included, and must answer
alike; then a snapshot of each is restored into the other, under clients' hands: znodes, stats, ACLs and sessions are those of before.

    BINARY=build/odradek WORK=$(mktemp -d) keeper_backup.py
"""
import json
import signal
import subprocess
import time
import urllib.error
import urllib.request

from kazoo.client import KazooClient
from kazoo.security import ACL, Id, make_digest_acl

from run import free_port
from wire_keeper import ADMIN_JARS, BINARY, WORK, jars, last_lines, same_on_both, word

ROOT = "digest root:secret"


class Server:
    def __init__(self, kind, name, *lines):
        self.kind, self.directory, self.port, self.admin = kind, WORK / name, free_port(), free_port()
        self.directory.mkdir()
        self.config = self.directory / "zoo.cfg"
        self.config.write_text(f"tickTime=500\ndataDir={self.directory}/data\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
                               f"admin.serverPort={self.admin}\nadmin.serverAddress=127.0.0.1\n" + "".join(line + "\n" for line in lines))
        self.command = [BINARY, "keeper", str(self.config)]
        if kind == "apache":
            self.command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", jars("zookeeper-3.9.4-admin", *ADMIN_JARS) + "/*",
                            "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self.config)]
        self.start()

    def start(self):
        log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(self.command, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while "Mode: standalone" not in word("127.0.0.1", self.port, "srvr") or self.ask("ruok")[0] != 200:
            assert self.process.poll() is None and time.monotonic() < end, self.tail()
            time.sleep(0.05)

    def tail(self):
        return last_lines(self.directory / "log", 15)

    def ask(self, command, authorization=None, method="GET", body=None, **more):
        """status, the headers that count, body"""
        headers = {"Content-Type": "application/octet-stream", **more}
        if authorization:
            headers["Authorization"] = authorization
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}/commands/{command}", method=method, headers=headers, data=body)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, {k: answer.headers[k] for k in ("Content-Type", "last_zxid", "snapshot_size") if k in answer.headers}, answer.read()
        except urllib.error.HTTPError as answer:
            return answer.code, {}, answer.read()
        except OSError:
            return 0, {}, b""

    def client(self, **more):
        zk = KazooClient(hosts=f"127.0.0.1:{self.port}", timeout=10, auth_data=[("digest", "root:secret")],
                         connection_retry={"max_tries": -1, "delay": 0.05, "max_delay": 0.2}, **more)
        zk.start(timeout=30)
        return zk

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)


def told(answer):
    status, headers, body = answer
    try:
        said = json.loads(body)
    except ValueError:
        said = f"{len(body) > 100 and body[:4]}"
    return f"{status} {headers.get('Content-Type')} {'last_zxid' in headers} {'snapshot_size' in headers} {said}"


def refusals(kind):
    """Without rights, switched off, too often."""
    server = Server(kind, f"{kind}-refusals")
    lines = []
    try:
        zk = server.client()
        zk.set_acls("/", [make_digest_acl("root", "secret", all=True), make_digest_acl("reader", "r", read=True)])
        for authorization in (None, "digest", "digest root:wrong", "digest reader:r", "ip", "x509", "nosuch a:b", "digest root:secret more"):
            for command, method in (("snapshot", "GET"), ("restore", "POST")):
                lines.append(f"{authorization} {command}: {told(server.ask(command, authorization, method, b'x' if method == 'POST' else None))}")
        lines.append("restore of rubbish: " + str(server.ask("restore", ROOT, "POST", b"no snapshot at all" * 100)[0]))
        lines.append("restore again: " + told(server.ask("rest", ROOT, "POST", b"x")))
        assert zk.exists("/"), "rubbish was taken"
        zk.stop()
        zk.close()
    finally:
        server.kill()
    server = Server(kind, f"{kind}-proxy", "IPAuthenticationProvider.usexforwardedfor=true")
    try:
        zk = server.client()
        zk.set_acls("/", [make_digest_acl("root", "secret", all=True), ACL(31, Id("ip", "10.9.9.0/24"))])
        for forwarded in ("10.8.8.8", "10.8.8.8, 10.9.9.9", " 10.9.9.9 , 10.8.8.8"):
            lines.append(f"behind a proxy, from {forwarded!r}: {server.ask('snapshot', 'ip', **{'X-Forwarded-For': forwarded})[0]}")
        zk.stop()
        zk.close()
    finally:
        server.kill()
    server = Server(kind, f"{kind}-off", "admin.snapshot.enabled=false", "admin.restore.enabled=false")
    try:
        lines.append("off: " + told(server.ask("snapshot", ROOT)))
        lines.append("off: " + told(server.ask("restore", ROOT, "POST", b"x")))
    finally:
        server.kill()
    return lines


def fill(zk):
    zk.ensure_path("/app/deep/er")
    zk.create("/app/empty", b"")
    zk.create("/app/secret", b"s", acl=[make_digest_acl("root", "secret", all=True)])
    for i in range(300):
        zk.create_async("/app/n-", b"%d" % i * 20, sequence=True)
    for i in range(7):
        zk.set("/app/deep", b"%d" % i)
    zk.delete("/app/empty")
    zk.create("/held", b"mine", ephemeral=True)
    zk.sync("/")


def tree(zk, top="/app"):
    found, todo = {}, [top]
    while todo:
        path = todo.pop()
        data, stat = zk.get(path)
        acls, _ = zk.get_acls(path)
        found[path] = (data, tuple(stat), [(a.perms, a.id.scheme, a.id.id) for a in acls])
        todo += [f"{path}/{child}" for child in zk.get_children(path)]
    return found


def across(source, target):
    """From a server of one kind to one of the other, which has something else and a client at work."""
    one = Server(source, f"{source}-one", "admin.rateLimiterIntervalInMS=0")
    other = Server(target, f"{target}-other", "admin.rateLimiterIntervalInMS=0")
    try:
        zk = one.client()
        fill(zk)
        before, session = tree(zk), zk.client_id
        held = zk.exists("/held")
        status, headers, snapshot = one.ask("snapshot", ROOT)
        assert status == 200 and len(snapshot) == int(headers["snapshot_size"]) and headers["Content-Type"] == "application/octet-stream", (status, headers)
        assert one.ask("snap?streaming=false", ROOT)[1]["last_zxid"] == headers["last_zxid"]
        last = int(headers["last_zxid"], 16)
        assert last >= held.czxid and snapshot[:4] == b"ZKSN"

        busy = other.client()
        for i in range(30):
            busy.ensure_path(f"/other/{i}")
        status, _, said = other.ask("restore", ROOT, "POST", snapshot)
        assert status == 200 and json.loads(said) == {"last_zxid": last, "command": "restore", "error": None}, (status, said, other.tail())
        after = other.client()
        assert tree(after) == before, "another tree"
        assert not after.exists("/other") and after.exists("/held").ephemeralOwner == session[0]
        assert after.create("/app/n-", sequence=True) > max(path for path in before if "/n-" in path), "the sequence went back"
        clients = [after, busy, zk]
        if source == "apache":  # whose passwords are made of the ids
            moved = KazooClient(hosts=f"127.0.0.1:{other.port}", timeout=10, client_id=session)
            moved.start(timeout=30)
            assert moved.client_id == session and moved.exists("/held").ephemeralOwner == session[0]
            clients.append(moved)
        busy.retry(busy.exists, "/app")
        for client in clients:
            client.stop()
            client.close()
        if target == "ours":  # it is on the disk; Apache's is not before its next snapshot
            other.kill()
            other.start()
            after = other.client()
            found = tree(after)
            assert {path: found[path] for path in before if path != "/app"} == {path: before[path] for path in before if path != "/app"}, "lost at a restart"
            assert not after.exists("/other")
            after.stop()
            after.close()
        print(f"{source}'s snapshot of {len(snapshot)} bytes, 0x{last:x}, is restored by {target}", flush=True)
    except BaseException:
        print(*one.tail(), *other.tail(), sep="\n    ", flush=True)
        raise
    finally:
        one.kill()
        other.kill()


if __name__ == "__main__":
    print(f"{len(same_on_both(refusals, 'admin commands'))} refusals are alike", flush=True)
    across("ours", "apache")
    across("apache", "ours")
