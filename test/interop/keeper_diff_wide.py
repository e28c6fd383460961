"""keeper_diff_wide: what the scripts of keeper_diff.py do not ask: four-letter words, frames that are none, connections that begin oddly,
sessions that come back in every way, SASL, schemes of auth that need a provider, operations nobody knows, ids of requests that mean
something else, and servers that are killed and come back. In the end the whole tree is walked.

`settings(seed)` says how both servers are set up for a seed, `Wide` makes the steps, `WideSide` takes them.
"""
import base64
import contextlib
import hashlib
import random
import re
import socket
import struct

from keeper_diff import CREATIONS, OPS, WORLD, Connection, Script, Side, acl, map_answer, ustring, vector
from wire_keeper import word

USERS = {"alice": "secret", "bob": "other"}
JAAS = "Server { org.apache.zookeeper.server.auth.DigestLoginModule required " + " ".join(f'user_{u}="{p}"' for u, p in USERS.items()) + "; };\n"
PROVIDERS = "org.apache.zookeeper.server.auth."
WORDS = ["ruok", "isro", "gtmk", "srvr", "stat", "cons", "conf", "dump", "wchs", "wchc", "wchp", "mntr", "hash", "crst", "srst", "stmk"]
FIGURES = ("server_state znode_count watch_count ephemerals_count global_sessions local_sessions num_alive_connections "
           "packets_received connection_rejected stale_sessions_expired").split()


class Settings:
    """lines of zoo.cfg; properties for Java; what a script must know of them."""

    def __init__(self, seed, of_ensemble=False):
        r = random.Random(f"settings {seed}")
        maybe = lambda chance: r.random() < chance
        self.enforces, self.may_restart = seed % 3 == 0, seed % 4 == 1 and not of_ensemble
        self.has_words, self.has_sasl, self.required = maybe(0.75), maybe(0.4), None
        self.names_ensemble = r.choice([None, None, "", "one", "one,two"])
        self.lines = [f"enforceQuota={'true' if self.enforces else 'false'}", f"extendedTypesEnabled={'true' if maybe(0.8) else 'false'}",
                      f"4lw.commands.whitelist={'*' if self.has_words else ' ruok, stat,wchs ,'}", "maxSessionTimeout=60000",
                      "DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4="]  # super:secret
        self.properties = {"znode.container.checkIntervalMs": "3600000"}
        providers = [("SASLAuthenticationProvider", self.has_sasl and maybe(0.8)), ("X509AuthenticationProvider", maybe(0.2)),
                     ("EnsembleAuthenticationProvider", self.names_ensemble is not None)]
        self.lines += [f"authProvider.{i}={PROVIDERS}{name}" for i, (name, is_on) in enumerate(providers, 1) if is_on]
        if self.names_ensemble:
            self.lines.append(f"ensembleAuthName={self.names_ensemble}")
        self.reconfigures = maybe(0.4)
        if self.reconfigures:
            self.lines.append("reconfigEnabled=true")
        if maybe(0.1):
            self.lines.append("skipACL=yes")
        if self.has_sasl and maybe(0.3):
            self.lines.append("allowSaslFailedClients=true")
        if self.has_sasl and maybe(0.3):
            self.lines.append("superUser=alice")
        if maybe(0.15):
            self.required = "sasl" if self.has_sasl else "digest"
            self.lines += r.choice([["sessionRequireClientSASLAuth=true"], ["enforce.auth.enabled=true", "enforce.auth.schemes=sasl"]]) if self.has_sasl \
                else ["enforce.auth.enabled=true", "enforce.auth.schemes=digest"]
            self.lines.append("minSessionTimeout=30000")  # what may not even be closed stays
        if of_ensemble and self.reconfigures:  # nobody may do it: members who change are for keeper_reconfig.py
            self.lines = [line for line in self.lines if not line.startswith(("Digest", "skipACL", "superUser"))]
        self.of_ensemble, self.frame = of_ensemble, 0xfffff
        if maybe(0.1):
            self.frame = r.choice([4096, 20000])
            self.properties["jute.maxbuffer"] = str(self.frame)

    def give(self, kind, keeper):
        """To a Keeper, or a Member of an ensemble, that has not started."""
        directory = keeper.directory
        lines, properties = list(self.lines), dict(self.properties)
        if self.has_sasl:
            (directory / "jaas.conf").write_text(JAAS)
            properties["java.security.auth.login.config"] = str(directory / "jaas.conf")
            properties["zookeeper.fips-mode"] = "false"
        if kind == "apache":
            keeper.command[1:1] = [f"-D{key}={value}" for key, value in properties.items()]
        else:
            lines += [f"{key}={value}" for key, value in properties.items() if key != "zookeeper.fips-mode"]
        with open(keeper.config, "a") as config:
            config.write("\n".join(lines) + "\n")


# --- SASL ---

def directives(challenge):
    found = {m[1].decode(): m[2].strip(b'"').decode() for m in re.finditer(rb'([a-z-]+)=("[^"]*"|[^,]*)', challenge)}
    found.setdefault("qop", "auth")
    found.setdefault("maxbuf", "65536")
    return found


def digest(user, password, nonce, begins, given):
    realm, cnonce, nc, qop, uri, authzid = given["realm"], given["cnonce"], given["nc"], given["qop"], given["digest-uri"], given.get("authzid")
    md5 = lambda data: hashlib.md5(data).digest()
    first = md5(f"{user}:{realm}:{password}".encode()) + f":{nonce}:{cnonce}".encode() + (f":{authzid}".encode() if authzid else b"")
    second = f"{begins}:{uri}" + ("" if qop == "auth" else ":" + "0" * 32)
    return md5(f"{md5(first).hex()}:{nonce}:{nc}:{cnonce}:{qop}:{md5(second.encode()).hex()}".encode()).hex()


QUOTED = {"username", "realm", "nonce", "cnonce", "digest-uri", "authzid"}


def response(challenge, user, password, changes):
    """`changes` are directives to have otherwise (None: to leave out), after the digest was computed of those that count."""
    nonce = directives(challenge).get("nonce", "")
    given = {"realm": "zk-sasl-md5", "cnonce": "c2FtZSBub25jZQ", "nc": "00000001", "qop": "auth", "digest-uri": "zookeeper/zk-sasl-md5"}
    given.update({key: value for key, value in changes.items() if key in given and value is not None})
    if changes.get("authzid"):
        given["authzid"] = changes["authzid"]
    out = {"charset": "utf-8", "username": user, "nonce": nonce, **given, "response": digest(user, password, nonce, "AUTHENTICATE", given)}
    out.update({key: value for key, value in changes.items() if not (key in given and value is not None)})
    return ",".join(f'{key}="{value}"' if key in QUOTED else f"{key}={value}" for key, value in out.items() if value is not None).encode()


def read_token(frame):
    """A SASL answer's header and token."""
    size, = struct.unpack(">i", frame[16:20]) if len(frame) >= 20 else (-2,)
    return struct.unpack(">iqi", frame[:16]), None if size < 0 else frame[20:20 + size]


# --- one server's side ---

class WideSide(Side):
    def __init__(self, address, settings, keeper=None):
        self.settings, self.keeper, self.gone, self.was_restarted = settings, keeper, [], False
        self.has_counts = settings.has_words  # what was asked of it while it started does not count, once they are reset
        super().__init__(address)
        if self.has_counts:
            self.word("srst", b"")
            self.word("crst", b"")
        for index in range(len(self.connections)):
            self.greet(index)

    def reopen(self, index):
        old = self.connections[index]
        self.gone.append((old.session, old.password))
        super().reopen(index)
        self.greet(index)

    def reattach(self, index, drops_first=False):
        how = super().reattach(index, drops_first)
        if how == "same":
            self.greet(index)
        return how

    def greet(self, index):
        """Where it is required a connection proves who it is; now and then one does not."""
        if self.settings.required == "digest" and self.next_session % 4:
            self.connections[index].ask(-4, OPS["auth"], struct.pack(">i", 0) + ustring("digest") + ustring(b"g:h"))
        elif self.settings.required == "sasl" and self.next_session % 4:
            self.sasl(index, 1, (b"", "alice", "secret", {}))

    def word(self, what, more):
        """An answer, as far as both must give the same."""
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=20) as s:
            s.sendall(what.encode() + more)
            text = b""
            with contextlib.suppress(ConnectionResetError):
                while part := s.recv(65536):
                    text += part
        ports = {c.socket.getsockname()[1]: i for i, c in enumerate(self.connections)}
        known = lambda m: str(self.sessions.get(struct.unpack(">q", struct.pack(">Q", int(m[1], 16)))[0], "other" if len(m[1]) == 15 else m[0]))
        text = re.sub(r"0x([0-9a-f]+)", known, text.decode())
        text = re.sub(r"/127\.0\.0\.1:(\d+)", lambda m: f"/{ports.get(int(m[1]), 'other')}", text)
        lines = [line for line in text.splitlines() if not re.match(r"Zookeeper version|Latency|zk_version|data|clientPort=|\d+ expire at|Session Sets|Connections Sets|Sent:|Outstanding:|.*/other", line)]
        lines = [re.sub(r"\t\d+ms$", "", line) for line in lines]
        living = {f"\tip: /{i} sessionId: {self.sessions.get(c.session)}" for i, c in enumerate(self.connections)}
        lines = [line for line in lines if not line.startswith("\tip:") or line in living]  # Apache's may still name who had the port before
        if not self.has_counts:
            lines = [re.sub(r"^(Received|Sent): .*|recved=.*", "", line) for line in lines]
        lines = [re.sub(r"est=\d+|queued=\d+|l?resp=-?\d+|(llat|minlat|avglat|maxlat)=\d+", "", line) for line in lines]
        if what == "mntr":
            lines = [line for line in lines if line.split("\t")[0].removeprefix("zk_") in FIGURES]
        if self.was_restarted:  # what ZooKeeper's server forgets then
            lines = [line for line in lines if what != "hash" and not re.match(r"\d+:$|Sessions with", line)]
        if self.settings.of_ensemble:  # ports, and what docs/keeper.md lists of /zookeeper/config
            lines = [line for line in lines if not re.match(r"serverId|electionPort|quorumPort|server\.\d|version=|1?00000000$", line.split(":")[0])]
        if what == "hash":
            lines = [line.split(":")[0] for line in lines]
            lines = [line for line, before in zip(lines, [None, *lines]) if line != before]
        return sorted(lines) if what in ("stat", "cons", "dump", "wchc", "wchp", "mntr") else lines

    def raw(self, index, data, ends):
        """Bytes on a connection that has a session. `ends`: we close it; else the server should."""
        connection = self.connections[index]
        out = []
        with contextlib.suppress(OSError):
            connection.socket.sendall(data)
        if not ends:
            while (frame := connection.receive()) is not None:
                out.append(frame)
        return [sorted(out), self.reattach(index, drops_first=True)]

    def knock(self, data):
        """Bytes on a new connection, which is closed from here when something came."""
        host, port = self.address.rsplit(":", 1)
        connection = Connection.__new__(Connection)
        connection.socket = socket.create_connection((host, int(port)), timeout=20)
        pieces = data if isinstance(data, list) else [data]
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.socket.sendall(piece)
            if pieces[-1] == b"":
                connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.receive()
        if answer and len(answer) >= 36:
            session, = struct.unpack(">q", answer[8:16])
            answer = answer[:8] + (b"id" if session else b"none") + answer[16:20] + (b"password" if session else answer[20:36]) + answer[36:]
            if session:
                _, closed = connection.ask(1, OPS["close"], b"")
                answer += closed[:4] + closed[12:] if closed else b"closed"
        connection.socket.close()
        return answer

    def attach(self, index, timeout, password, ahead, read_only, who):
        """A session comes back: this connection's own, or one that is gone."""
        old = self.connections[index]
        who = who if self.gone else "own"
        session, right = (old.session, old.password) if who == "own" else self.gone[-1]
        if who == "own":
            old.socket.close()
        given = {"right": right, "wrong": b"\1" * 16, "short": right[:15], "long": right + b"x", "none": b"", "null": None}[password]
        new = Connection(self.address, (session, given), timeout, read_only, self.zxid + 1000 if ahead else self.zxid)
        answer = new.connect_answer
        if answer and new.session == session:
            answer = answer[:8] + b"same" + answer[16:20] + (b"same" if answer[20:36] == right else b"other") + answer[36:]
        new.socket.close()
        return [answer, self.reattach(index) if who == "own" else None]

    def loose(self, index, requests):
        """Requests with whatever ids, up to the answer to one more."""
        connection = self.connections[index]
        mark = 0x5eed0000 + self.next_session
        self.next_session += 0
        frames = [struct.pack(">ii", xid, op) + body for xid, op, body in requests]
        frames.append(struct.pack(">ii", mark, OPS["exists"]) + ustring("/") + b"\0")
        with contextlib.suppress(OSError):
            connection.socket.sendall(b"".join(struct.pack(">i", len(frame)) + frame for frame in frames))
        out, todo = [], list(requests)
        while True:
            frame = connection.receive()
            if frame is None:
                out.append("closed")
                break
            xid, zxid, err = struct.unpack(">iqi", frame[:16])
            self.zxid = max(self.zxid, zxid)
            if xid == mark:
                out.append(zxid)
                break
            if xid == -1 and (len(frame) > 16 or not todo or todo[0][0] != -1):
                out.append(frame)
            else:
                out.append(map_answer(todo.pop(0)[1], frame, self.sessions))
        if out[-1] == "closed":
            connection.socket.close()
            self.reopen(index)
        return out

    def sasl(self, index, xid, exchange):
        first, user, password, changes = exchange
        connection, out = self.connections[index], []
        events, frame = connection.ask(xid, OPS["sasl"], ustring(first))
        out.append(sorted(events))
        header, token = read_token(frame) if frame else (None, None)
        if token and b"nonce" in token:
            said = directives(token)
            said["nonce"] = "nonce"
            out.append((header, sorted(said.items())))
            answer = response(token, user, password, changes) if isinstance(changes, dict) else changes
            events, frame = connection.ask(xid + 1, OPS["sasl"], ustring(answer))
            header, token = read_token(frame) if frame else (None, None)
            proof = token is not None and token.startswith(b"rspauth=") and len(token) == 40
            out += [sorted(events), (header, "proof" if proof else token)]
        else:
            out.append((header, token))
        if frame is not None and header[2] == 0:
            events, frame = connection.ask(xid + 2, OPS["whoami"], b"")
            out += [sorted(events), map_answer(OPS["whoami"], frame, self.sessions)]
        if frame is None or header[2] != 0:
            connection.socket.close()
            self.reopen(index)
        return out

    def come_back(self):
        """The server is killed and starts again; everybody comes back."""
        self.keeper.restart()
        self.was_restarted = True
        if self.has_counts:
            self.word("srst", b"")
        return [self.reattach(index) for index in range(len(self.connections))]

    def walk(self):
        """All there is, to who may read it."""
        connection = Connection(self.address)
        self.sessions[connection.session] = "walker"
        out, todo, xid = [], ["/"], 10
        connection.ask(-4, OPS["auth"], struct.pack(">i", 0) + ustring("digest") + ustring(b"super:secret"))
        if self.settings.required == "sasl":
            self.connections.append(connection)
            out.append(self.sasl(len(self.connections) - 1, 1, (b"", "alice", "secret", {})))
        while todo:
            path = todo.pop()
            for name, more in (("children2", b"\0"), ("get", b"\0"), ("getacl", b""), ("allchildren", b"")):
                xid += 1
                _, frame = connection.ask(xid, OPS[name], ustring(path) + more)
                answer = map_answer(OPS[name], frame, self.sessions)
                out.append((path, name, answer))
                if frame is None:
                    return out
                if name == "children2" and answer[2] == 0:
                    todo += [(path if path != "/" else "") + "/" + child.decode() for child in answer[3]]
        return [answer for answer in out if answer[0] != "/zookeeper/config" or not self.settings.of_ensemble]

    def run(self, step):
        kind, index, xid, _, body = step
        if kind == "word":
            return self.word(*body)
        if kind == "raw":
            return self.raw(index, *body)
        if kind == "knock":
            return [self.knock(body)]
        if kind == "attach":
            return self.attach(index, *body)
        if kind == "loose":
            return self.loose(index, body)
        if kind == "sasl":
            return self.sasl(index, xid, body)
        if kind == "restart":
            return self.come_back()
        if kind == "walk":
            return self.walk()
        return super().run(step)


# --- steps ---

class Reader:
    """A body as far as it can be read; IndexError where it cannot."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, size):
        if size < 0 or self.at + size > len(self.body):
            raise IndexError
        self.at += size
        return self.body[self.at - size:self.at]

    def number(self):
        return struct.unpack(">i", self.take(4))[0]

    def bytes(self, may_be_null=False):
        size = self.number()
        return None if size == -1 and may_be_null else self.take(size)

    def acl(self):
        count = self.number()
        if count < 0 or count > 100:
            raise IndexError
        for _ in range(count):
            self.number(), self.bytes(True), self.bytes(True)

    def write(self, op):
        self.bytes()
        if op in CREATIONS:
            self.bytes(True), self.acl()
            flags = self.number()
            if op == OPS["ttl"]:
                self.take(8)
            return flags
        if op == OPS["set"]:
            self.bytes(True)
        if op == OPS["setacl"]:
            self.acl()
        if op != OPS["deletecontainer"]:
            self.number()
        return 0

    def multi(self):
        while True:
            op, done, _ = struct.unpack(">ibi", self.take(9))
            if done:
                return
            flags = self.write(op)
            if op not in (OPS["create"], OPS["create2"], OPS["container"], OPS["delete"], OPS["set"], OPS["check"]) or not 0 <= flags <= 4:
                raise IndexError


def is_whole(op, body):
    """A write that Apache's follower takes to its leader and hears of again: of one that cannot be read its client never hears."""
    reader = Reader(body)
    try:
        if op == OPS["multi"]:
            reader.multi()
        elif op in CREATIONS or op in (OPS["set"], OPS["setacl"], OPS["delete"], OPS["deletecontainer"]):
            reader.write(op)
        elif op == OPS["reconfig"]:
            reader.bytes(True), reader.bytes(True), reader.bytes(True), reader.take(8)
    except IndexError:
        return False
    return True


class Wide(Script):
    """`settings` are the servers'. Where they may be killed there are no quotas: their figures are counted anew by Apache's server."""

    def __init__(self, seed, settings, restarts=0.0):
        super().__init__(seed, more=True, enforces=settings.enforces)
        self.reconfig = None
        self.settings, self.restarts = settings, restarts if settings.may_restart else 0

    def quota_step(self):
        return super().quota_step() if not self.settings.may_restart else ("get", self.body("get"))

    def next_xid(self, count=1):
        self.xid += count
        return self.xid - count + 1

    def path(self):
        path = super().path()
        return "/zookeeper" if path == "/zookeeper/config" and self.settings.of_ensemble else path

    NAMES = ["CN=a", "cn = a, O=b", "CN=a,", "x", "", "CN", "=a", "1.2.3=a", "OID.1.2.3=a", "foo=a", "CN=a+OU=b", 'CN="a,b"', "CN=a\\,b", "CN=a;O=b", "CN=", "CN=a,,O=b",
             "emailAddress=a@b, C=DE", "1.2.=a", "1=a", "a/b@C", "a@b@c", "alice", "a b"]

    def acl(self):
        if self.random.random() < 0.04:
            return [(31, self.random.choice(["x509", "sasl"]), self.random.choice(self.NAMES))] + self.random.choice([[], WORLD])
        return super().acl()

    def raw_step(self, index):
        r = self.random
        frame = lambda body: struct.pack(">i", len(body)) + body
        request = struct.pack(">ii", 7, OPS["exists"]) + ustring("/a") + b"\0"
        largest = self.settings.frame
        data, ends = r.choice([
            (struct.pack(">i", -1), False), (struct.pack(">i", -0x80000000), False), (struct.pack(">i", largest + 1), False), (struct.pack(">i", 0x7fffffff), False),
            (frame(b""), False), (frame(b"\0"), False), (frame(request[:4]), False), (frame(request[:7]), False), (b"ruok", False), (b"srvr", False),
            (frame(request)[:9], True), (b"\0", True), (frame(request) + b"\0\0", True), (struct.pack(">i", largest) + b"x" * 5000, True), (b"", True)])
        return ("raw", index, 0, 0, (data, ends))

    def knock_step(self, index):
        r = self.random
        frame = lambda body: struct.pack(">i", len(body)) + body
        version, timeout, session = r.choice([0, 0, 1, -1, 0x7fffffff]), r.choice([0, 5000, 30000]), r.choice([0, 0, -1, 1, -0x8000000000000000, 0x7fffffffffffffff])
        password = r.choice([b"\0" * 16, None, b"", b"x" * 15, b"x" * 17, b"x" * 300])
        whole = struct.pack(">iqiq", version, 0, timeout, session) + ustring(password) + r.choice([b"", b"\0", b"\1", b"\2", b"\xff", b"\0more"])
        kind = r.random()
        if kind < 0.5:
            return ("knock", index, 0, 0, frame(whole))
        if kind < 0.65:
            return ("knock", index, 0, 0, frame(whole[:r.randrange(28)]))
        if kind < 0.75:
            at = r.randrange(1, len(whole))
            return ("knock", index, 0, 0, [frame(whole)[:at], frame(whole)[at:]])
        if kind < 0.8:
            lies = struct.pack(">iqiqi", 0, 0, 5000, 0, r.choice([-2, 17, 0x7fffffff, -0x80000000, 1 << 21])) + b"x" * 16
            return ("knock", index, 0, 0, frame(lies))
        return ("knock", index, 0, 0, r.choice([
            b"RUOK", b"nope", b"kill", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.0\r\n\r\n", struct.pack(">i", -1), struct.pack(">i", 0), frame(b"\0" * 8),
            [b"\0\0", b""], [frame(whole)[:20], b""], struct.pack(">i", self.settings.frame + 1)]))

    def loose_step(self, index):
        r = self.random
        requests = []
        for _ in range(r.choice([1, 1, 2, 3])):
            name = r.choice(["get", "exists", "delete", "sync", "whoami", "children", "set", "ephemerals", "ping"])
            xid = r.choice([0, -1, -2, -4, -8, -9, 1, self.next_xid()])
            if xid == -1:  # as if it were an event
                name = r.choice(["delete", "checkwatches", "removewatches"])
            requests.append((xid, OPS[name], self.body(name)))
        return ("loose", index, 0, 0, requests)

    def sasl_step(self, index):
        r = self.random
        first = r.choice([b""] * 8 + [None, b"x", b"username=\"alice\"", b"\0"])
        user = r.choice(["alice", "alice", "alice", "bob", "mallory"])
        password = USERS.get(user, "x") if r.random() < 0.8 else "wrong"
        changes = r.choice([{}] * 8 + [
            {"nonce": "another"}, {"nc": "00000002"}, {"qop": "auth-int"}, {"qop": None}, {"realm": "elsewhere"}, {"realm": None}, {"digest-uri": "zookeeper/elsewhere"},
            {"digest-uri": "other/zk-sasl-md5"}, {"digest-uri": "zookeeper"}, {"digest-uri": None}, {"authzid": "alice"}, {"authzid": "bob"}, {"authzid": "root"}, {"charset": None},
            {"charset": "latin-1"}, {"cnonce": None}, {"username": None}, {"response": None}, {"response": "0" * 32}, {"nc": None}, {"maxbuf": "4096"}, {"cipher": "des"},
            {"nosuch": "thing"}, b"", None, b"rubbish", b",,,", b"username=\"alice", b"=", b"\xff\xfe"])
        return ("sasl", index, self.next_xid(3), 0, (first, user, password, changes))

    def auth_step(self, index):
        r = self.random
        scheme = r.choice(["ensemble", "ensemble", "digest", "ip", "x509", "sasl", "super", "auth", "world", "Digest", "digest ", "skip", "key"])
        secret = r.choice([b"one", b"two", b"three", b"one,two", b"", None, b" one", b"u:p", b"super:secret", b"super:wrong", b"127.0.0.1", b"alice"])
        return ("auth", index, -4, OPS["auth"], struct.pack(">i", r.choice([0, 0, 0, 5])) + ustring(scheme) + ustring(secret) + r.choice([b"", b"", b"more"]))

    def odd_step(self, index):
        r = self.random
        known = set(OPS.values()) | {OPS["close"], -10, 102}  # -10: see docs/keeper.md
        op = r.choice([n for n in list(range(-20, 40)) + list(range(95, 115)) + [500, 1000, 0x7fffffff, -0x80000000] if n not in known])
        return ("odd", index, self.next_xid(), op, r.choice([b"", b"\0" * 20, ustring("/a"), ustring("/a") + b"\0\0\0\0"]))

    def typed_step(self, index):
        """Creations of each kind with flags and times to live that do not fit it."""
        r = self.random
        name = r.choice(["create", "create2", "container", "ttl", "ttl", "ttl"])
        flags = r.choice([0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 8, -1, 0x7fffffff])
        ttl = r.choice([1, 0, 1000, (1 << 40) - 1, 1 << 40, (1 << 40) - 2, 1 << 62, 0x7fffffffffffffff] + ([-1, -2, -1 << 63] if flags in (5, 6) else []))
        body = ustring(self.path() + r.choice(["", "", "-", "/"])) + ustring(self.data()) + acl(self.acl()) + struct.pack(">i", flags)
        return (name, index, self.next_xid(), OPS[name], body + (struct.pack(">q", ttl) if name == "ttl" else b""))

    def multi_step(self, index):
        """A multi of few parts, one of them of any type."""
        r = self.random
        ops = [self.sub_op() for _ in range(r.choice([0, 1, 2]))]
        op = r.choice([-11, -10, 16, 100, 101, 102, 106, 0, 999, 3, 4, 8, 12, 9, 14, 22, 20, 7])
        ops.insert(r.randrange(len(ops) + 1), (op, r.choice([b"", ustring("/a"), ustring("/a") + b"\0", ustring("/a") + struct.pack(">i", -1)])))
        return ("multi", index, self.next_xid(), OPS["multi"], self.multi(ops))

    def reconfig_step(self, index):
        """Refused, all of them: for want of members, or of the right to do it."""
        r = self.random
        joining = r.choice([None, None, "", "server.2=h:1:2;3", "server.4=127.0.0.1:1:2:observer;3", "server.4=127.0.0.1:1:2", "junk",
                             "server.4=127.0.0.1:1:2:leader;3"])
        leaving = r.choice([None, None, "", "1", "3", "1,2", "1,2,3", "9", "1,1", " 1", "-1", ","])
        members = r.choice([None, None, None, "junk", "server.1=127.0.0.1:1:2;3\nserver.2=127.0.0.1:4:5;6", "server.1=127.0.0.1:1:2;3,server.2=127.0.0.1:4:5;6",
                            "server.1=127.0.0.1:1:2", "server.1=junk", "server.1 = 127.0.0.1:1:2;3"])
        version = r.choice([-1, -1, -1, 0, 5, 0x100000000, 0x100000001, -2])
        self.reconfig = ustring(joining) + ustring(leaving) + ustring(members) + struct.pack(">q", version)
        return ("reconfig", index, self.next_xid(), OPS["reconfig"], self.reconfig)

    def wide_step(self, index):
        r = self.random
        if self.settings.reconfigures and r.random() < 0.06:
            return self.reconfig_step(index)
        kind = r.random()
        if self.restarts and kind < self.restarts:
            return ("restart", 0, 0, 0, b"")
        if kind < 0.2:
            name = r.choice(WORDS)
            return ("word", index, 0, 0, (name, struct.pack(">q", r.choice([0, 306, -1])) if name == "stmk" else r.choice([b"", b"", b"\n", b"rest"])))
        if kind < 0.3:
            return self.raw_step(index)
        if kind < 0.42:
            return self.knock_step(index)
        if kind < 0.52:
            return ("attach", index, 0, 0, (r.choice([20000, 30000, 1 << 30, 0x7fffffff]), r.choice(["right", "right", "wrong", "short", "long", "none", "null"]), r.random() < 0.2,
                                            r.random() < 0.5, r.choice(["own", "own", "gone"])))
        if kind < 0.64:
            return self.loose_step(index)
        if kind < 0.74:
            return self.sasl_step(index) if self.settings.has_sasl or r.random() < 0.3 else self.auth_step(index)
        if kind < 0.8:
            return self.auth_step(index)
        if kind < 0.85:
            return self.odd_step(index)
        if kind < 0.95 or self.enforces:
            return self.typed_step(index)
        return self.multi_step(index)

    def step(self):
        while True:
            step = self.wide_step(self.random.randrange(3)) if self.random.random() < 0.15 else super().step()
            requests = [(step[3], step[4])] if step[0] not in ("burst", "loose") else [request[-2:] for request in step[4]]
            if self.settings.of_ensemble and self.settings.reconfigures and step[0] == "reconfig" and step[4] != self.reconfig:
                continue
            if not self.settings.of_ensemble or step[0] in ("odd", "missed") or all(is_whole(op, body) for op, body in requests):
                return step
