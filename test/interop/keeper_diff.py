"""keeper_diff: the same request scripts to two ZooKeepers (one of them Apache's), answers compared byte for byte.

    keeper_diff.py HOST:PORT HOST:PORT [SEED [STEPS]]

Both must be fresh: then even the zxids are equal. What may differ is mapped first: times, session ids, the order
of children, of ids and of the events of one change. Not asked is what we do otherwise on purpose: paths that are not UTF-8
or beyond U+FFFF (Java changes the bytes, we keep them), writes in a multiRead, -10 from a client. Prints each difference and exits with 1.
keeper_fuzz.py starts both and goes from seed to seed.
"""
import contextlib
import itertools
import random
import socket
import struct
import sys
import time

OPS = {"create": 1, "delete": 2, "exists": 3, "get": 4, "set": 5, "getacl": 6, "setacl": 7, "children": 8, "sync": 9,
       "ping": 11, "children2": 12, "check": 13, "multi": 14, "create2": 15, "reconfig": 16, "checkwatches": 17,
       "removewatches": 18, "container": 19, "deletecontainer": 20, "ttl": 21, "multiread": 22, "auth": 100,
       "setwatches": 101, "sasl": 102, "ephemerals": 103, "allchildren": 104, "setwatches2": 105, "addwatch": 106, "whoami": 107,
       "close": -11}
CREATIONS = {OPS[name] for name in ("create", "create2", "container", "ttl")}
WORLD = [(31, "world", "anyone")]


def ustring(s):
    if s is None:
        return struct.pack(">i", -1)
    b = s if isinstance(s, bytes) else s.encode("utf-8", "surrogatepass")
    return struct.pack(">i", len(b)) + b


def acl(entries):
    if entries is None:
        return struct.pack(">i", -1)
    return struct.pack(">i", len(entries)) + b"".join(struct.pack(">i", p) + ustring(s) + ustring(i) for p, s, i in entries)


def vector(paths):
    return struct.pack(">i", len(paths)) + b"".join(ustring(p) for p in paths)


class Connection:
    def __init__(self, address, session=(0, b"\0" * 16), timeout=30000, read_only=True, zxid=0):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        body = struct.pack(">iqiq", 0, zxid, timeout, session[0]) + ustring(session[1]) + (b"\0" if read_only else b"")
        self.send(body)
        answer = self.receive()
        self.connect_answer = answer
        self.session, self.password, self.timeout = 0, b"", 0
        if answer:
            self.timeout, self.session = struct.unpack(">iq", answer[4:16])
            self.password = answer[20:36]

    def send(self, body):
        with contextlib.suppress(ConnectionError):  # of who was cut: nothing comes
            self.socket.sendall(struct.pack(">i", len(body)) + body)

    def exactly(self, n):
        data = b""
        while len(data) < n:
            try:
                part = self.socket.recv(n - len(data))
            except ConnectionResetError:
                return None
            if not part:
                return None
            data += part
        return data

    def receive(self):
        size = self.exactly(4)
        return self.exactly(struct.unpack(">i", size)[0]) if size else None

    def ask(self, xid, op, body):
        """The events that came first, and the answer (None: closed)."""
        self.send(struct.pack(">ii", xid, op) + body)
        events = []
        while True:
            frame = self.receive()
            if frame is None:
                return events, None
            if struct.unpack(">i", frame[:4])[0] == -1 and xid != -1:
                events.append(frame)
                continue
            return events, frame


def map_stat(stat, sessions):
    fields = list(struct.unpack(">qqqqiiiqiiq", stat))
    fields[2] = fields[3] = 0
    if fields[7] in sessions:
        fields[7] = sessions[fields[7]]
    return tuple(fields)


def strings(body):
    count, = struct.unpack(">i", body[:4])
    at, found = 4, []
    for _ in range(max(count, 0)):
        size, = struct.unpack(">i", body[at:at + 4])
        found.append(body[at + 4:at + 4 + size])
        at += 4 + size
    return sorted(found), body[at:]


def map_multi(body, sessions):
    at, found = 0, []
    while True:
        op, done, err = struct.unpack(">ibi", body[at:at + 9])
        at += 9
        found.append((op, done, err))
        if done:
            return tuple(found) + (body[at:],)
        if op == -1:
            found.append(body[at:at + 4])
            at += 4
        elif op in (1, 15, 4):
            size, = struct.unpack(">i", body[at:at + 4])
            found.append(body[at:at + 4 + max(size, 0)])
            at += 4 + max(size, 0)
            if op != 1:
                found.append(map_stat(body[at:at + 68], sessions))
                at += 68
        elif op == 5:
            found.append(map_stat(body[at:at + 68], sessions))
            at += 68
        elif op == 8:
            children, rest = strings(body[at:])
            found.append(tuple(children))
            at = len(body) - len(rest)


def map_answer(op, frame, sessions):
    if frame is None:
        return "closed"
    xid, zxid, err = struct.unpack(">iqi", frame[:16])
    body = frame[16:]
    head = (xid, zxid, err)
    if err or not body:
        return head + (body,)
    if op in (OPS["multi"], OPS["multiread"]):
        return head + (map_multi(body, sessions),)
    if op in (OPS["children"], OPS["children2"], OPS["ephemerals"]):
        children, rest = strings(body)
        return head + (tuple(children), map_stat(rest, sessions) if op == OPS["children2"] else rest)
    if op == OPS["getacl"]:  # "auth" becomes all ids, in the order of a Java set
        count, at, entries = struct.unpack(">i", body[:4])[0], 4, []
        for _ in range(count):
            begin, at = at, at + 4
            for _ in range(2):
                at += 4 + max(struct.unpack(">i", body[at:at + 4])[0], 0)
            entries.append(body[begin:at])
        return head + (tuple(sorted(entries)), map_stat(body[at:], sessions))
    if op == OPS["whoami"]:
        parts, _ = strings(struct.pack(">i", 2 * struct.unpack(">i", body[:4])[0]) + body[4:])
        return head + (tuple(parts),)
    if op in (OPS["exists"], OPS["set"], OPS["setacl"]):
        return head + (map_stat(body, sessions),)
    if op in (OPS["get"], OPS["getacl"], OPS["create2"], OPS["container"], OPS["ttl"]):
        return head + (body[:-68], map_stat(body[-68:], sessions))
    return head + (body,)


class Side:
    def __init__(self, address):
        self.address, self.zxid = address, 0
        self.connections = [Connection(address), Connection(address), Connection(address)]
        self.sessions = {c.session: i + 1 for i, c in enumerate(self.connections)}
        self.next_session = len(self.connections) + 1

    def reopen(self, index):
        self.connections[index] = Connection(self.address)
        self.sessions[self.connections[index].session] = self.next_session
        self.next_session += 1

    def reattach(self, index, drops_first=False):
        old = self.connections[index]
        if drops_first:
            old.socket.close()
        self.connections[index] = Connection(self.address, (old.session, old.password))
        if self.connections[index].session == 0:
            self.reopen(index)
            return "expired"
        return "same" if self.connections[index].session == old.session else "other"

    def stranger(self, index, timeout, wants_session, good_password, zxid_ahead, read_only):
        other = self.connections[index]
        # Nobody's session: of a living one Apache's server closes the connection before it looks at the password.
        session = (other.session ^ 1 << 40 if wants_session else 0, other.password if good_password else b"\1" * 16)
        new = Connection(self.address, session, timeout, read_only, self.zxid + 100 if zxid_ahead else 0)
        answer = new.connect_answer
        if answer and new.session:
            answer = answer[:8] + b"id" + answer[16:20] + b"password" + answer[36:]
            _, closed = new.ask(1, OPS["close"], b"")
            answer += closed[:4] + closed[12:]
        new.socket.close()
        return answer

    def burst(self, index, requests):
        connection, out, closed = self.connections[index], [], False
        frames = [struct.pack(">ii", xid, op) + body for _, xid, op, body in requests]
        connection.socket.sendall(b"".join(struct.pack(">i", len(frame)) + frame for frame in frames))
        for _, xid, op, _ in requests:
            events, frame = [], None
            while (frame := connection.receive()) and struct.unpack(">i", frame[:4])[0] == -1:
                events.append(frame)
            out.append((sorted(events), map_answer(op, frame, self.sessions)))
            closed = frame is None or op == OPS["close"] or out[-1][1][2:3] == (-124,)
            if frame is not None:
                self.zxid = max(self.zxid, struct.unpack(">q", frame[4:12])[0])
            if closed:
                break
        if closed:
            connection.socket.close()
            self.reopen(index)
        return out

    def run(self, step):
        kind, index, xid, op, body = step
        if kind in ("reattach", "return"):
            return [self.reattach(index, kind == "return")]
        if kind == "burst":  # many requests in one packet: their answers come in their order
            return self.burst(index, body)
        if kind == "stranger":  # a connection that is refused, or has a timeout to negotiate
            return [self.stranger(index, *body)]
        if kind == "missed":  # what changed since a moment that both sides know by its zxid
            body = struct.pack(">q", self.zxid - xid) + body
            xid = -8
        answer = self.connections[index].ask(xid, op, body)
        if answer[1] is not None:
            self.zxid = max(self.zxid, struct.unpack(">q", answer[1][4:12])[0])
        out = [sorted(answer[0]), map_answer(op, answer[1], self.sessions)]
        is_refused = out[1][2:3] in ((-115,), (-124,)) or (out[1][2:3] == (-6,) and op not in CREATIONS | {OPS["reconfig"]})
        if answer[1] is None or op == OPS["close"] or is_refused:
            if answer[1] is not None and op != OPS["close"]:  # is it cut?
                out.append(self.is_cut(index))
            self.connections[index].socket.close()
            self.reopen(index)
            out.append("reopened")
        for other, connection in enumerate(self.connections):
            events, pong = connection.ask(-2, OPS["ping"], b"")
            out.append((other, sorted(events), map_answer(OPS["ping"], pong, self.sessions)))
            if pong is None or pong[12:16] != b"\0\0\0\0":  # it was cut, or will be
                connection.socket.close()
                self.reopen(other)
        return out

    def is_cut(self, index):
        """Does the server close it within a second?"""
        connection = self.connections[index].socket
        connection.settimeout(1)
        try:
            return "says more" if connection.recv(1) else "cut"
        except ConnectionResetError:
            return "cut"
        except TimeoutError:
            return "stays"


class Script:
    """With `more`: quotas, unknown operations, damaged frames, strangers and clients that come back; both servers then have the
    superuser super:secret. Where quotas are enforced (`enforces`) there are no multis: Apache's checks its parts against what was
    before the multi, ours against what the parts before it made."""

    def __init__(self, seed, more=False, enforces=False):
        self.random = random.Random(seed)
        self.xid, self.more, self.enforces, self.tame = 0, more, enforces, False

    def more_step(self, index):
        r = self.random
        self.xid += 1
        kind = r.random()
        if kind < 0.55:
            name, body = self.quota_step()
            return (name, index, self.xid, OPS[name], body)
        if kind < 0.6:
            return ("odd", index, self.xid, r.choice([0, 10, 23, 99, 108, 200, 500, -2, -12, 1 << 30]), r.choice([b"", b"\0" * 20]))
        if kind < 0.7:
            return ("return", index, 0, 0, b"")
        if kind < 0.8:
            return ("stranger", index, 0, 0, (r.choice([0, 1, 4000, 30000, 1 << 30, -1]), r.random() < 0.3, r.random() < 0.5,
                                             r.random() < 0.1, r.random() < 0.5))
        if kind < 0.92:
            lists = [[self.path() for _ in range(r.choice([0, 1, 3]))] for _ in range(5)]
            return ("missed", index, r.choice([0, 1, 3, 10, 50]), OPS["setwatches2"], b"".join(vector(l) for l in lists))
        name = r.choice(["create", "set", "delete", "get", "children2", "setacl", "exists", "multi", "setwatches", "addwatch",
                         "removewatches", "sync", "ephemerals", "create2", "multiread", "getacl", "allchildren"])
        body = self.body(name)
        if name == "multi" and self.enforces:
            name, body = "get", self.body("get")
        damage = struct.pack(">i", r.choice([-1, -2, 0, 1, 0x7fffffff, -0x80000000, 1 << 24, 255]))
        where = r.random()
        if where < 0.4:
            body = damage + body[4:]
        elif where < 0.7 and name in ("create", "create2", "set", "delete", "setacl", "addwatch", "removewatches"):  # not in a path
            body = body[:-4] + damage
        else:
            body += damage
        return (name, index, {"setwatches": -8}.get(name, self.xid), OPS[name], body)

    def rare_step(self, index):
        """What the other steps seldom or never send: bursts, long multis, odd ids of requests, long names, large data."""
        r = self.random
        kind = r.random()
        if kind < 0.35:
            requests = []
            self.tame = True  # of a multi that fails with -5 Apache's keeps what its first parts would have done, for those who come with it
            for _ in range(r.choice([2, 3, 5, 8])):
                name = r.choice(["create", "create", "set", "delete", "get", "exists", "children", "children2", "sync", "multi", "getacl", "whoami",
                                 "create2", "setacl", "multiread", "addwatch", "removewatches", "setwatches2", "allchildren", "ephemerals", "ping"])
                if self.enforces and name in ("create", "create2", "set", "delete", "multi"):
                    name = "get"  # Apache's may count a change before or after the one that comes with it
                self.xid += 1
                requests.append((name, {"setwatches2": -8, "ping": -2}.get(name, self.xid), OPS[name], self.body(name)))
            self.tame = False
            if r.random() < 0.05:
                requests.append(("close", self.xid + 1, OPS["close"], b""))
            return ("burst", index, 0, 0, requests)
        if kind < 0.5 and not self.enforces:  # one that fails in a chosen place, or nowhere
            size = r.choice([1, 2, 4, 9, 20])
            ops = [(OPS["create"], ustring(f"/m/{i}") + ustring(b"m") + acl(WORLD) + struct.pack(">i", r.choice([0, 1, 2]))) for i in range(size)]
            bad = r.choice([(OPS["check"], ustring("/m") + struct.pack(">i", 77)), (OPS["delete"], ustring("/nothere") + struct.pack(">i", -1)),
                            (OPS["set"], ustring("/m") + ustring(b"") + struct.pack(">i", 5)), (OPS["create"], ustring("/m") + ustring(b"") + acl([]) + struct.pack(">i", 0)),
                            (OPS["create"], ustring("/m/0/x") + ustring(b"") + acl(WORLD) + struct.pack(">i", 9)), (OPS["delete"], ustring("/m") + struct.pack(">i", -1))])
            if r.random() < 0.7:
                ops.insert(r.randrange(size + 1), bad)
            ops += [(OPS["delete"], ustring(f"/m/{i}") + struct.pack(">i", -1)) for i in range(size) if r.random() < 0.8]
            if r.random() < 0.6:
                ops.insert(0, (OPS["create"], ustring("/m") + ustring(b"") + acl(WORLD) + struct.pack(">i", 0)))
            body = self.multi(ops)
            if r.random() < 0.1:  # headers that say something else than they should
                body = struct.pack(">ibi", *r.choice([(1, 0, 0), (-1, 0, -1), (2, 0, 7)])) + body[9:]
            return ("multi", index, self.xid, OPS["multi"], body)
        if kind < 0.6:
            reads = [(OPS[name], self.body(name)) for name in (r.choice(["get", "children"]) for _ in range(r.choice([1, 5, 20])))]
            if r.random() < 0.2:
                reads.insert(r.randrange(len(reads)), r.choice([(OPS["exists"], self.body("exists")), (OPS["children2"], self.body("children2"))]))
            return ("multiread", index, self.xid, OPS["multiread"], self.multi(reads))
        if kind < 0.7:
            name = r.choice(["get", "set", "exists", "create", "sync", "delete"])
            return (name, index, r.choice([0, -3, -5, -100, 0x7fffffff, -0x80000000, self.xid]), OPS[name], self.body(name))
        if kind < 0.8:
            path = "/" + r.choice(["n" * 1000, "deep/" * 30 + "er", "a/" + "b" * 300, "\u4e2d\u6587" * 40])
            name = r.choice(["create", "create2", "exists", "delete", "children2", "get"])
            body = {"create": ustring(path) + ustring(self.data()) + acl(WORLD) + struct.pack(">i", r.choice([0, 2])), "delete": ustring(path) + struct.pack(">i", -1),
                    "exists": ustring(path) + b"\1"}
            return (name, index, self.xid, OPS[name], body.get({"create2": "create"}.get(name, name), body["exists"]))
        if kind < 0.86:
            size = r.choice([100_000, 900_000, 1_048_000, 1_048_400])
            return ("set", index, self.xid, OPS["set"], ustring(r.choice(["/a", "/b", "/d"])) + ustring(b"z" * size) + struct.pack(">i", -1))
        if kind < 0.92:
            name = r.choice(["checkwatches", "removewatches", "addwatch"])
            return (name, index, self.xid, OPS[name], ustring(self.path()) + struct.pack(">i", r.choice([-1, 0, 6, 7, 100])))
        if kind < 0.96:
            return ("auth", index, -4, OPS["auth"], struct.pack(">i", r.choice([0, 1, -1])) + ustring(r.choice(["digest", "", None, "super", "auth", "sasl", "x509"]))
                    + ustring(r.choice([b"", None, b"u:p", "é:ü".encode()])))
        return ("reconfig", index, self.xid, OPS["reconfig"], b"".join(ustring(r.choice([None, "", "server.2=h:1:2;3", "1"])) for _ in range(3)) + struct.pack(">q", r.choice([-1, 0, 5])))

    QUOTAS = ["/a", "/a/b", "/b"]

    def figures(self):
        r = self.random
        n = lambda: r.choice([-1, -1, 0, 1, 2, 3, 5, 10, 400])
        return f"count={n()},bytes={n()}" + r.choice(["", "", f"=;byteHardLimit={n()};countHardLimit={n()}", f"=;countHardLimit={n()}"])

    def quota_step(self):
        """A step of setquota, or of taking a quota away; stats are only written with figures, for Apache's server dies of others."""
        r = self.random
        base = r.choice(self.QUOTAS)
        top = "/zookeeper/quota" + base
        kind = r.random()
        if kind < 0.3:
            return "create", ustring(top) + ustring(b"") + acl(WORLD) + struct.pack(">i", 0)
        leaf = top + "/" + r.choice(["zookeeper_limits", "zookeeper_limits", "zookeeper_stats"])
        if kind < 0.65:
            name = r.choice(["create", "create2"])
            return name, ustring(leaf) + ustring(self.figures()) + acl(WORLD) + struct.pack(">i", 0)
        if kind < 0.75:
            return "delete", ustring(leaf) + struct.pack(">i", -1)
        if kind < 0.85:
            return "set", ustring(leaf) + ustring(self.figures()) + struct.pack(">i", -1)
        return "get", ustring(top + "/zookeeper_stats") + b"\0"

    def path(self):
        r = self.random
        odd = r.random()
        if odd < 0.06:
            return r.choice(["", "/", "a", "//", "/a/", "/a//b", "/./a", "/a/..", "/a/../b", "/\x01", "/\x7f",
                             "/\uf8ff", "/\ufffe", "/a\0b", "/zookeeper", "/zookeeper/quota", "/zookeeper/config",
                             "/zookeeper/quota/a", "/é", "/a b", "/q/", "/..", "/.", "/a/.", "/...",
                             "/\u00a0", "/\ufff0", "/\uffef", "/\u009f"])
        return "".join("/" + r.choice("abcd") for _ in range(r.choice([1, 1, 2, 2, 3])))

    def acl(self):
        r = self.random
        if self.tame or r.random() < 0.75:
            return WORLD
        return r.choice([
            None, [], [(1, "world", "anyone")], [(31, "auth", "")], [(31, "digest", "u:hash")], [(31, "digest", "bad")],
            [(31, "ip", "127.0.0.1")], [(31, "ip", "127.0.0.0/8")], [(31, "ip", "10.0.0.0/8")], [(31, "ip", "x")],
            [(31, "ip", "127.0.0.1/33")], [(31, "nosuch", "x")], [(31, "world", "someone")], WORLD + WORLD,
            [(1, "world", "anyone"), (2, "world", "anyone")], [(15, "world", "anyone")], [(31, "digest", "a:b:c")],
            [(31, "digest", ":b")], [(31, "digest", "a:")], [(31, "ip", "::1")], [(31, "ip", "1.2.3")], [(0, "world", "anyone")],
            [(31, None, "x")], [(31, "world", None)], [(27, "digest", "u:hash"), (4, "auth", "")], [(31, "super", "x")],
            [(31, "auth", "x"), (1, "world", "anyone")], [(31, "sasl", "x")], [(31, "x509", "x")], [(31, "ip", "127.0.0.1/0")]])

    def version(self):
        return self.random.choice([-1, -1, -1, 0, 0, 1, 2, -2])

    def flags(self):
        r = self.random
        return r.choice([0, 0, 0, 0, 1, 1, 2, 3, 4]) if r.random() < 0.95 else r.choice([5, 6, 7, -1, 100])

    def data(self):
        return self.random.choice([b"", b"x", b"hello", None, b"y" * 300])

    def create_body(self):
        return ustring(self.path()) + ustring(self.data()) + acl(self.acl()) + struct.pack(">i", self.flags())

    def sub_op(self):
        r = self.random
        op = r.choice(["create", "create", "delete", "set", "check", "create2", "container"])
        if r.random() < 0.02 and not self.tame:
            op = r.choice(["ttl", "setacl", "get", "sync", "deletecontainer", "multi", "ping"])
        body = self.body(op)
        if op in ("container", "ttl"):  # with the flags of an ephemeral Apache's later parts take it for one, which it is not
            flags = struct.unpack(">i", body[-4:])[0] if op == "container" else 0
            body = body[:-4] + struct.pack(">i", 4) if flags in (1, 3) else body
        return OPS[op], body

    def multi(self, ops):
        out = b""
        for op, body in ops:
            out += struct.pack(">ibi", op, 0, -1) + body
        return out + struct.pack(">ibi", -1, 1, -1)

    def body(self, name):
        r = self.random
        flag = lambda: struct.pack(">b", r.choice([0, 1]))
        if name in ("create", "create2", "container"):
            return self.create_body()
        if name == "ttl":
            return self.create_body() + struct.pack(">q", r.choice([0, 1, 1000, 1 << 40]))  # -1 kills Apache's server
        if name in ("delete", "check"):
            return ustring(self.path()) + struct.pack(">i", self.version())
        if name == "set":
            return ustring(self.path()) + ustring(self.data()) + struct.pack(">i", self.version())
        if name == "setacl":
            return ustring(self.path()) + acl(self.acl()) + struct.pack(">i", self.version())
        if name in ("exists", "get", "children", "children2"):
            return ustring(self.path()) + flag()
        if name in ("getacl", "sync", "ephemerals", "allchildren", "deletecontainer"):
            return ustring(self.path() if r.random() < 0.8 else "/")
        if name == "multi":
            return self.multi([self.sub_op() for _ in range(r.choice([0, 1, 2, 3, 5]))])
        if name == "multiread":
            return self.multi([(OPS[o], self.body(o)) for o in (r.choice(["get", "children"]) for _ in range(r.choice([0, 1, 3])))])
        if name == "addwatch":
            return ustring(self.path()) + struct.pack(">i", r.choice([0, 1, 0, 1, 2]))
        if name in ("checkwatches", "removewatches"):
            return ustring(self.path()) + struct.pack(">i", r.choice([1, 2, 3, 4, 5]))
        if name in ("setwatches", "setwatches2"):
            lists = [[self.path() for _ in range(r.choice([0, 1, 2]))] for _ in range(3 if name == "setwatches" else 5)]
            return struct.pack(">q", r.choice([0, 5, 50, 1 << 40])) + b"".join(vector(l) for l in lists)
        if name == "auth":
            return struct.pack(">i", 0) + ustring(r.choice(["digest", "digest", "digest", "ip", "nosuch", "world"])) + ustring(
                r.choice([b"u:p", b"v:q", b"nocolon", b"w:x:y", b":", b"super:secret"] if self.more else [b"u:p", b"v:q", b"nocolon"]))
        if name == "reconfig":
            return ustring(None) * 3 + struct.pack(">q", -1)
        return b""

    def step(self):
        r = self.random
        index = r.randrange(3)
        if r.random() < 0.01:
            return ("reattach", index, 0, 0, b"")
        if self.more and r.random() < 0.15:
            return self.more_step(index)
        if self.more and r.random() < 0.12:
            self.xid += 1
            return self.rare_step(index)
        name = r.choices(
            ["create", "create2", "container", "ttl", "delete", "set", "setacl", "exists", "get", "getacl", "children",
             "children2", "sync", "ephemerals", "allchildren", "multi", "multiread", "addwatch", "checkwatches",
             "removewatches", "setwatches", "setwatches2", "auth", "whoami", "close", "check", "deletecontainer", "reconfig"],
            [20, 5, 2, 1, 12, 12, 5, 8, 8, 4, 6, 6, 2, 2, 2, 10, 3, 4, 3, 3, 2, 2, 2, 1, 1, 0.3, 2, 0.5])[0]
        if name == "multi" and self.enforces:
            name = "get"
        self.xid += 1
        xid = {"auth": -4, "setwatches": -8, "setwatches2": -8}.get(name, self.xid)
        body = self.body(name)
        if r.random() < 0.01:
            body = body[:r.randrange(len(body) + 1)]
        return (name, index, xid, OPS[name], body)


def compare(left, right, script, steps, limit=10, seconds=15, last=()):
    """How many steps were answered differently by the two sides, each printed; and how many were asked, with those of `last` at the end.
    After a minute each server has its own moment to delete containers."""
    end = time.monotonic() + seconds
    differences, asked = 0, 0
    made = itertools.takewhile(lambda _: time.monotonic() < end, (script.step() for _ in range(steps)))
    for step in itertools.chain(made, last):
        a, b = left.run(step), right.run(step)
        asked += 1
        if a != b:
            differences += 1
            print(f"step {asked} {str(step)[:2000]}", flush=True)
            for side, answer in ((left, a), (right, b)):
                print(f"  {side.address}: {excerpt(answer, a, b)}", flush=True)
            if differences >= limit:
                break
    return differences, asked


def excerpt(answer, a, b):
    """What differs, of long lists."""
    if isinstance(answer, list) and len(answer) > 30 and isinstance(a, list) and isinstance(b, list):
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        return f"[{at}] {answer[at:at + 3]} of {len(answer)}"
    return answer


def main():
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    differences, steps = compare(*map(Side, sys.argv[1:3]), Script(seed), int(sys.argv[4]) if len(sys.argv) > 4 else 5000)
    print(f"{steps} steps, seed {seed}: {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
