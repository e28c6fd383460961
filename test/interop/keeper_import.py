"""keeper_import: Apache ZooKeeper 3.9's directory taken over by ours, and ours by Apache's, every znode compared byte for byte.

Per round a server of Apache's is filled with every kind of znode, loaded by several clients with a snapshot every few hundred
transactions, and killed with SIGKILL at a random moment. Apache's server then starts on one copy of its directory, `odradek keeper`
on another (importing it by itself), and both are asked for all they hold. Sessions of Apache's go on in ours. Then ours is exported,
Apache's SnapshotFormatter reads that, Apache's server starts on it, and is asked again. Rounds differ in how snapshots are packed.

    keeper_import.py [ROUNDS [SEED]]
"""
import logging
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.security import make_acl, make_digest_acl

from keeper_diff import OPS, Connection, ustring
from run import free_port

HERE = pathlib.Path(__file__).resolve().parent
WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]
SUPER = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="  # super:test
processes = []


def apache_jars():
    done = subprocess.run([str(HERE / "maven"), "zookeeper-3.9.4", "org.apache.zookeeper:zookeeper:3.9.4",
                           "io.dropwizard.metrics:metrics-core:4.1.12.1", "org.xerial.snappy:snappy-java:1.1.10.5"],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip() + "/*"


JARS = apache_jars()


def start(kind, directory, options=()):
    """The port and the process."""
    port = free_port()
    config = directory / "zoo.cfg"
    config.write_text(f"tickTime=1000\ndataDir={directory}\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
                      "maxSessionTimeout=600000\nadmin.enableServer=false\nmaxClientCnxns=0\nextendedTypesEnabled=true\n"
                      f"DigestAuthenticationProvider.superDigest={SUPER}\n4lw.commands.whitelist=*\n")
    if kind == "apache":
        command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", *options, "-cp", JARS,
                   "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]
    else:
        command = [BINARY, "keeper", str(config)]
    log = open(WORK / f"{kind}.log", "ab")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    processes.append(process)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, (WORK / f"{kind}.log").read_text(errors="replace")[-3000:]
        try:
            connection = Connection(f"127.0.0.1:{port}")
            if connection.connect_answer:
                connection.ask(1, OPS["close"], b"")
                return port, process
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{kind}: no keeper within 60 s")


def end(process, how=signal.SIGTERM):
    process.send_signal(how)
    process.wait(30)


def dump(port):
    """Everything: path -> data, Stat, ACL, children as they come over the wire."""
    connection = Connection(f"127.0.0.1:{port}", timeout=600000)
    _, answer = connection.ask(-4, OPS["auth"], struct.pack(">i", 0) + ustring("digest") + ustring(b"super:test"))
    assert struct.unpack(">i", answer[12:16])[0] == 0, "not the superuser"
    found, todo = {}, [b"/"]
    while todo:
        path = todo.pop()
        got = []
        for op, body in (("get", ustring(path) + b"\0"), ("getacl", ustring(path)), ("children", ustring(path) + b"\0")):
            _, answer = connection.ask(1, OPS[op], body)
            assert answer[12:16] == b"\0\0\0\0", (path, op, answer)
            got.append(answer[16:])
        count, at, names = struct.unpack(">i", got[2][:4])[0], 4, []
        for _ in range(count):
            size = struct.unpack(">i", got[2][at:at + 4])[0]
            names.append(got[2][at + 4:at + 4 + size])
            at += 4 + size
        if path == b"/zookeeper/config":  # each server writes its own address there
            got[0] = got[1] = bytes(68)
        found[path] = (got[0], got[1], sorted(names))
        todo += [path.rstrip(b"/") + b"/" + name for name in names]
    connection.ask(2, OPS["close"], b"")
    return found


def field(entry, at):
    """A long of a znode's Stat."""
    return struct.unpack(">q", entry[0][-68:][at:at + 8])[0]


def differences(a, b, what):
    for path in sorted(set(a) | set(b)):
        if a.get(path) != b.get(path):
            print(f"{what}: {path!r}:\n  {a.get(path)}\n  {b.get(path)}")
            return 1
    return 0


def fill(client):
    everybody = make_acl("world", "anyone", all=True)
    client.add_auth("digest", "u:p")
    client.create("/kinds")
    client.create("/kinds/null", b"")
    client.set("/kinds/null", None)
    client.create("/kinds/empty", b"")
    client.create("/kinds/unicode \u00e9\u4e2d\u6587 \u03a9", "\u2603".encode())
    client.create("/kinds/big", os.urandom(900000))
    client.create("/kinds/acl", b"x", acl=[make_digest_acl("u", "p", read=True, write=True, admin=True), make_acl("ip", "127.0.0.1", read=True)])
    client.create("/kinds/creator", b"x", acl=[make_acl("auth", "", all=True), everybody])
    client.set_acls("/kinds/empty", [make_acl("world", "anyone", read=True), make_digest_acl("u", "p", all=True)])
    for i in range(5):
        last = client.create("/kinds/sequence-", str(i).encode(), sequence=True)
        client.create("/kinds/ephemeral-", b"e", ephemeral=True, sequence=True)
    client.delete(last)
    for i in range(3):
        client.set("/kinds", str(i).encode())
    good = client.transaction()
    good.create("/kinds/multi", b"m")
    good.create("/kinds/multi/a", b"m")
    good.set_data("/kinds/multi", b"mm")
    good.check("/kinds", 3)
    good.commit()
    bad = client.transaction()
    bad.create("/kinds/never", b"m" * 500)
    bad.check("/kinds", 77)
    bad.delete("/kinds/multi/a")
    bad.commit()
    client.create("/zookeeper/quota/kinds")
    client.create("/zookeeper/quota/kinds/zookeeper_limits", b"count=1000000,bytes=-1")
    client.create("/zookeeper/quota/kinds/zookeeper_stats", b"count=0,bytes=0")


def fill_raw(port):
    """What kazoo has no words for: containers, TTL."""
    connection = Connection(f"127.0.0.1:{port}")
    world = struct.pack(">i", 1) + struct.pack(">i", 31) + ustring("world") + ustring("anyone")
    for op, path, more in (("container", "/kinds/container", struct.pack(">i", 4)), ("container", "/kinds/container/inner", struct.pack(">i", 4)),
                           ("ttl", "/kinds/ttl", struct.pack(">iq", 5, 10 ** 9)), ("ttl", "/kinds/ttl-", struct.pack(">iq", 6, 10 ** 9)),
                           ("create2", "/kinds/two", struct.pack(">i", 0))):
        _, answer = connection.ask(1, OPS[op], ustring(path) + ustring(b"d") + world + more)
        assert answer[12:16] == b"\0\0\0\0", (op, path, answer)
    connection.ask(2, OPS["close"], b"")


def load(client, seed, stop):
    rng, mine = random.Random(seed), []
    base = f"/load-{seed}"
    client.ensure_path(base)
    while not stop.is_set():
        try:
            what = rng.random()
            if what < 0.4 or not mine:
                mine.append(client.create(f"{base}/{rng.choice('abc')}-", rng.randbytes(rng.randrange(60)), sequence=True,
                                          ephemeral=rng.random() < 0.3))
            elif what < 0.6:
                client.set(rng.choice(mine), rng.randbytes(rng.randrange(200)))
            elif what < 0.7:
                client.set_acls(rng.choice(mine), [make_acl("ip", f"10.0.0.{rng.randrange(250)}", all=True), make_acl("world", "anyone", all=True)])
            elif what < 0.85:
                client.delete(mine.pop(rng.randrange(len(mine))))
            elif what < 0.95:
                t = client.transaction()
                path = f"{base}/t{rng.randrange(10 ** 9)}"
                t.create(path, b"")
                t.create(path + "/x", b"y")
                if rng.random() < 0.3:
                    t.check(base, 12345)
                t.delete(path + "/x")
                t.commit()
            else:  # a session that comes and goes with its ephemerals
                short = KazooClient(hosts=client.hosts[0][0] + f":{client.hosts[0][1]}", timeout=30)
                short.start(10)
                for i in range(3):
                    short.create(f"{base}/short-", b"", ephemeral=True, sequence=True)
                short.stop()
                short.close()
        except (KazooException, OSError, Exception):  # the server is being killed
            if stop.is_set():
                return


def one_round(number, rng):
    packing = ["", "gz", "snappy"][number % 3]
    directory = WORK / f"round-{number}"
    original, theirs, ours, back = (directory / name for name in ("original", "theirs", "ours", "back"))
    original.mkdir(parents=True)
    port, apache = start("apache", original, [f"-Dzookeeper.snapCount={rng.choice([200, 500, 2000])}", "-Dzookeeper.preAllocSize=1024",
                                              f"-Dzookeeper.snapshot.compression.method={packing}"])
    clients = [KazooClient(hosts=f"127.0.0.1:{port}", timeout=300) for _ in range(4)]
    for client in clients:
        client.start(20)
    sessions = [client.client_id for client in clients]
    fill(clients[0])
    fill_raw(port)
    stop = threading.Event()
    threads = [threading.Thread(target=load, args=(client, number * 10 + i, stop)) for i, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    time.sleep(rng.uniform(2.0, 6.0))
    apache.kill()
    apache.wait()
    stop.set()
    for client in clients:
        client.stop()
        client.close()
    for thread in threads:
        thread.join()
    shutil.copytree(original, theirs)
    shutil.copytree(original, ours)
    before = sorted(p.name for p in (ours / "version-2").iterdir())

    bad = 0
    port, apache = start("apache", theirs)
    theirs_has = dump(port)
    end(apache, signal.SIGKILL)
    port, keeper = start("ours", ours)
    ours_has = dump(port)
    bad += differences(theirs_has, ours_has, "after the import Apache has, we have")
    if sorted(p.name for p in (ours / "version-2").iterdir()) != before:
        print("import touched Apache's files")
        bad += 1
    for session, password in sessions:
        connection = Connection(f"127.0.0.1:{port}", session=(session, password), timeout=300000)
        if connection.session != session:
            print(f"session {session:x} is not known")
            bad += 1
            continue
        mine = sum(1 for entry in ours_has.values() if field(entry, 44) == session)
        _, answer = connection.ask(1, OPS["ephemerals"], ustring("/"))
        if struct.unpack(">i", answer[16:20])[0] != mine:
            print(f"session {session:x} has {answer[16:20]} ephemerals, not {mine}")
            bad += 1
    ephemerals = sum(1 for entry in ours_has.values() if field(entry, 44))
    connection = Connection(f"127.0.0.1:{port}", timeout=300000)
    _, answer = connection.ask(1, OPS["create"], ustring("/after") + ustring(b"x") + struct.pack(">i", 1) + struct.pack(">i", 31) +
                               ustring("world") + ustring("anyone") + struct.pack(">i", 2))
    zxid = struct.unpack(">q", answer[4:12])[0]
    newest = max(field(entry, 8) for entry in theirs_has.values())
    if zxid >> 32 <= newest >> 32:
        print(f"zxid {zxid:x} is not of a later epoch than {newest:x}")
        bad += 1
    ours_has = dump(port)
    end(keeper)

    done = subprocess.run([BINARY, "keeper", "export", "--from", str(ours), "--to", str(back), "-o", "json"], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr)
        return bad + 1
    snapshot = next((back / "version-2").glob("snapshot.*"))
    formatter = subprocess.run(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", JARS, "org.apache.zookeeper.server.SnapshotFormatter",
                                str(snapshot)], capture_output=True, text=True)
    lines = [line for line in formatter.stdout.splitlines() if line.startswith("/")]
    if formatter.returncode or len(lines) != len(ours_has):
        print(f"SnapshotFormatter: {formatter.returncode}, {len(lines)} znodes of {len(ours_has)}: {formatter.stderr[-500:]}")
        bad += 1
    port, apache = start("apache", back)
    bad += differences(dump(port), ours_has, "after the export Apache has, we have")
    end(apache, signal.SIGKILL)
    # What Apache made of it, back again.
    again = directory / "again"
    done = subprocess.run([BINARY, "keeper", "import", "--from", str(back), "--to", str(again)], capture_output=True, text=True)
    if done.returncode or "is that of the tree" not in done.stderr:
        print(f"imported again: {done.returncode} {done.stderr}")
        bad += 1
    damaged = directory / "damaged"
    bad += damage(original, damaged, rng)
    print(f"round {number}: {packing or 'plain'}, {len(ours_has)} znodes, {ephemerals} ephemerals, {'the same' if not bad else 'DIFFERENT'}", flush=True)
    shutil.rmtree(directory)
    return bad


def damage(original, damaged, rng):
    """A byte of the last log, anywhere before its last record, is changed: refused, with file and place named."""
    (damaged / "version-2").mkdir(parents=True)
    for path in (original / "version-2").iterdir():
        shutil.copy(path, damaged / "version-2")
    logs = sorted((damaged / "version-2").glob("log.*"), key=lambda p: int(p.name[4:], 16))
    snapshots = sorted((damaged / "version-2").glob("snapshot.*"), key=lambda p: int(p.name.split(".")[1], 16))
    start_zxid = int(snapshots[-1].name.split(".")[1], 16)
    log = [path for path in logs if int(path.name[4:], 16) <= start_zxid + 1][-1]
    content, at, places = bytearray(log.read_bytes()), 16, []
    while at + 12 < len(content):
        size = struct.unpack(">i", content[at + 8:at + 12])[0]
        if size <= 0 or content[at + 12 + size:at + 13 + size] != b"B":
            break
        places.append((at, size))
        at += 13 + size
    if len(places) < 3:
        return 0
    at, size = rng.choice(places[:-2])
    content[at + 12 + rng.randrange(size)] ^= 1 << rng.randrange(8)
    log.write_bytes(content)
    done = subprocess.run([BINARY, "keeper", "import", "--from", str(damaged), "--to", str(damaged / "to")], capture_output=True, text=True)
    if done.returncode == 0 or log.name not in done.stderr or f"byte {at}" not in done.stderr:
        print(f"damage of {log.name} at {at} went unnoticed: {done.returncode} {done.stderr}")
        return 1
    return 0


def ensemble():
    """One import, copied to three members, is where they begin; one that has another is turned away by them."""
    golden, base = HERE.parent / "golden/apache_zookeeper", WORK / "ensemble"
    numbers = [free_port() for _ in range(12)]
    servers = "".join(f"server.{i}=127.0.0.1:{numbers[i]}:{numbers[i + 4]}\n" for i in range(1, 4))
    ports, bad = {}, 0
    for name in ("plain", "gzip"):
        done = subprocess.run([BINARY, "keeper", "import", "--from", str(golden / name), "--to", str(base / name)], capture_output=True, text=True)
        if done.returncode:
            print(done.stderr)
            return 1
    first = "keeper-snapshot-00000000000000000001"
    for i in range(1, 4):
        directory = base / str(i)
        directory.mkdir(parents=True)
        (directory / "myid").write_text(f"{i}\n")
        ports[i] = numbers[(i + 8) % 12]
        (directory / "zoo.cfg").write_text(f"tickTime=1000\ninitLimit=10\nsyncLimit=5\ndataDir={directory}\nclientPort={ports[i]}\n"
                                           f"clientPortAddress=127.0.0.1\nmaxSessionTimeout=600000\nadmin.enableServer=false\n"
                                           f"DigestAuthenticationProvider.superDigest={SUPER}\n{servers}")
        shutil.copy(base / "plain" / first, directory)
    alone = base / "alone"
    shutil.copytree(golden / "plain", alone)
    port, keeper = start("ours", alone)
    want = dump(port)
    end(keeper)
    members = [subprocess.Popen([BINARY, "keeper", str(base / str(i) / "zoo.cfg")], stderr=open(base / f"{i}.log", "ab")) for i in ports]
    processes.extend(members)
    for i, port in ports.items():
        for attempt in range(100):
            try:
                connection = Connection(f"127.0.0.1:{port}")
                if connection.connect_answer and connection.ask(1, OPS["sync"], ustring("/"))[1]:
                    break
            except OSError:
                pass
            time.sleep(0.2)
        else:
            print(f"member {i}: " + (base / f"{i}.log").read_text()[-1000:])
            return 1
        bad += differences(want, dump(port), f"alone it is, on member {i}")
    end(members[2])
    shutil.rmtree(base / "3")
    (base / "3").mkdir()
    (base / "3/myid").write_text("3\n")
    (base / "3/zoo.cfg").write_text((base / "1/zoo.cfg").read_text().replace(str(base / "1"), str(base / "3")).replace(str(ports[1]), str(ports[3])))
    shutil.copy(base / "gzip" / first, base / "3")
    stranger = subprocess.Popen([BINARY, "keeper", str(base / "3/zoo.cfg")], stderr=open(base / "stranger.log", "ab"))
    processes.append(stranger)
    time.sleep(3)
    try:  # it must not serve what it has; it may come to have what they have, as a new member
        connection = Connection(f"127.0.0.1:{ports[3]}", timeout=30000)
    except (OSError, ConnectionError):
        connection = None
    if connection and connection.connect_answer and differences(want, dump(ports[3]), "alone it is, on the one with another import"):
        bad += 1
    for process in [*members[:2], stranger]:
        end(process, signal.SIGKILL)
    print(f"ensemble: {'the same on three members' if not bad else 'DIFFERENT'}", flush=True)
    shutil.rmtree(base)
    return bad


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    logging.getLogger("kazoo").setLevel(logging.CRITICAL)
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    try:
        return 1 if sum(one_round(number, rng) for number in range(rounds)) + ensemble() else 0
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()


if __name__ == "__main__":
    sys.exit(main())
