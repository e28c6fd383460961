"""keeper_tls: clients with TLS against `odradek keeper`: kazoo and, where java is, ZooKeeper's own client. Needs openssl."""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

from kazoo.client import KazooClient
from kazoo.security import make_acl

from run import Broker, free_port

WORK, BINARY = pathlib.Path(os.environ["WORK"]), os.environ["BINARY"]
HERE = pathlib.Path(__file__).resolve().parent


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def certificates(at):
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", at / "ca.key", "-out", at / "ca.pem", "-days", "2",
        "-subj", "/CN=test ca")
    (at / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    for name in ("server", "client", "root"):
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", at / f"{name}.key", "-out", at / f"{name}.csr", "-subj",
            f"/O=Odradek/CN={name}")
        run("openssl", "x509", "-req", "-in", at / f"{name}.csr", "-CA", at / "ca.pem", "-CAkey", at / "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", at / "names", "-out", at / f"{name}.pem")
        run("openssl", "pkcs12", "-export", "-inkey", at / f"{name}.key", "-in", at / f"{name}.pem", "-passout", "pass:secret", "-name",
            "k", "-out", at / f"{name}.p12")


def client(port, at, name="client", tls=True):
    more = dict(use_ssl=True, certfile=str(at / f"{name}.pem"), keyfile=str(at / f"{name}.key"), ca=str(at / "ca.pem"),
                verify_certs=True) if tls else {}
    zk = KazooClient(hosts=f"127.0.0.1:{port}", timeout=6.0, **more)
    zk.start(timeout=10)
    return zk


def refused(port, at):
    """A client without a certificate gets no session."""
    zk = KazooClient(hosts=f"127.0.0.1:{port}", timeout=6.0, use_ssl=True, ca=str(at / "ca.pem"), verify_certs=True)
    try:
        zk.start(timeout=2)
    except Exception:
        return
    finally:
        zk.stop()
        zk.close()
    raise AssertionError("a session without a certificate")


def java(port, at):
    if not shutil.which("java") or not shutil.which("mvn"):
        print("no java: only kazoo")
        return
    jars = run(HERE / "maven", "kafka-3.9.2", "org.apache.kafka:kafka_2.13:3.9.2").strip()  # ZooKeeper's client and what it needs
    flags = {"clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty", "client.secure": "true", "ssl.keyStore.location": at / "client.p12",
             "ssl.keyStore.password": "secret", "ssl.trustStore.location": at / "ca.pem", "ssl.trustStore.type": "PEM"}
    said = run("timeout", "60", "java", *(f"-Dzookeeper.{key}={value}" for key, value in flags.items()), "-cp", f"{jars}/*" if os.path.isdir(jars)
               else jars, "org.apache.zookeeper.ZooKeeperMain", "-server", f"localhost:{port}", "get", "/for-client")
    assert "hers" in said, said
    print("ok ZooKeeper's own client reads what only its certificate may")


def command_line(port, plain, at):
    """`odradek zk` with the client properties that zkCli takes."""
    def zk(text, *words, port=port):
        (at / "client.cfg").write_text(text)
        done = subprocess.run([BINARY, "zk", "--server", f"127.0.0.1:{port}", "--timeout", "3s", "--client-configuration", str(at / "client.cfg"), *words],
                              capture_output=True, text=True, timeout=30)
        return done.returncode, done.stdout, done.stderr

    secure = "zookeeper.client.secure=true\nzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty\n"
    stores = f"zookeeper.ssl.keyStore.location={at}/client.p12\nzookeeper.ssl.keyStore.password=secret\nssl.trustStore.location={at}/ca.pem\n"
    answer = zk(secure + stores, "get", "/for-client")
    assert answer == (0, "hers\n", ""), answer
    assert zk(secure + stores, "get", "/for-client", port=plain)[:2] == (0, "hers\n")  # both on one port
    assert zk(secure + stores, "diff", f"127.0.0.1:{port}/a", f"127.0.0.1:{port}/a")[0] == 0
    code, _, said = zk(stores, "get", "/for-client", port=plain)  # not asked for: in the clear
    assert code == 4, (code, said)
    code, _, said = zk(secure + f"ssl.trustStore.location={at}/ca.pem\n", "ls", "/")  # without a certificate of its own
    assert code == 3, (code, said)
    code, _, said = zk(secure + f"ssl.keyStore.location={at}/client.p12\nssl.keyStore.password=secret\nssl.trustStore.location={at}/server.pem\n", "ls", "/", port=port)
    assert code == 0, (code, said)  # the very certificate is as good as who signed it
    code, _, said = zk(secure + f"ssl.keyStore.location={at}/client.p12\nssl.keyStore.password=secret\nssl.trustStore.location={at}/root.pem\n", "ls", "/")
    assert code == 3 and "TLS" in said, (code, said)
    for text, wanted in ((secure + f"ssl.keyStore.location={at}/nosuch\n", "nosuch"), ("sasl.client=true\n", "no java.security.auth.login.config says who we are"),
                         (secure + stores.replace("secret", "wrong"), "client.p12")):
        code, _, said = zk(text, "ls", "/")
        assert code == 2 and wanted in said, (code, said)
    assert "client.cfg:1: nosuch has no effect here" in zk("nosuch=1\n", "ls", "/", port=plain)[2]
    print("ok odradek zk over TLS")


def broker(port, at):
    """A broker of ours with its session over TLS."""
    (WORK / "two").mkdir()
    one = Broker(BINARY, WORK / "two", [
        f"zookeeper.connect=127.0.0.1:{port}/kafka", "zookeeper.ssl.client.enable=true", f"zookeeper.ssl.keystore.location={at}/client.p12",
        "zookeeper.ssl.keystore.password=secret", f"zookeeper.ssl.truststore.location={at}/ca.pem", "zookeeper.ssl.truststore.type=PEM"])
    one.overrides["keeper.client.port"] = None
    try:
        one.start()
        run(BINARY, "topic", "create", "t", "-b", f"127.0.0.1:{one.port}")
        print("ok a broker of ours registers and creates a topic over TLS")
    finally:
        assert one.stop() == 0


def members(at):
    """Three members with TLS among them; who comes without is not heard, and who comes with another authority's certificate neither."""
    ports = [(free_port(), free_port(), free_port()) for _ in range(3)]
    lines = "".join(f"server.{i + 1}=127.0.0.1:{quorum}:{election}\n" for i, (_, quorum, election) in enumerate(ports))
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", at / "other.key", "-out", at / "other.pem", "-days", "2", "-subj", "/CN=other",
        "-addext", "subjectAltName=IP:127.0.0.1")
    (at / "other.all.pem").write_text((at / "other.key").read_text() + (at / "other.pem").read_text())

    def start(number, store):
        home = at / f"m{number}"
        home.mkdir(exist_ok=True)
        (home / "myid").write_text(str(number))
        (home / "zoo.cfg").write_text(
            f"dataDir={home}\nclientPort={ports[number - 1][0]}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\nsslQuorum=true\n"
            f"ssl.quorum.keyStore.location={store}\nssl.quorum.keyStore.password=secret\nssl.quorum.trustStore.location={at}/ca.pem\n{lines}")
        return subprocess.Popen([BINARY, "keeper", str(home / "zoo.cfg")], stderr=open(home / "log", "a"))

    running = [start(number, at / "server.p12") for number in (1, 2)]
    try:
        zk = KazooClient(hosts=",".join(f"127.0.0.1:{port}" for port, _, _ in ports[:2]), timeout=6.0)
        zk.start(timeout=20)
        zk.create("/m", b"1")
        stranger = start(3, at / "other.all.pem")
        time.sleep(3)
        assert "ready" not in (at / "m3/log").read_text(), "a member with a strange certificate was let in"
        stranger.kill()
        stranger.wait()
        running.append(start(3, at / "server.p12"))
        for _ in range(100):
            if "ready" in (at / "m3/log").read_text():
                break
            time.sleep(0.1)
        third = KazooClient(hosts=f"127.0.0.1:{ports[2][0]}", timeout=6.0)
        third.start(timeout=20)
        third.sync("/m")
        assert third.get("/m")[0] == b"1"
        third.stop()
        zk.stop()
        print("ok members with TLS among them; a stranger's certificate is refused")
    finally:
        for process in running:
            process.terminate()
        for process in running:
            assert process.wait(15) == 0


def main():
    at = WORK / "tls"
    at.mkdir()
    certificates(at)
    plain, secure = free_port(), free_port()
    (at / "zoo.cfg").write_text(f"""dataDir={at}/data
clientPort={plain}
clientPortAddress=127.0.0.1
client.portUnification=true
secureClientPort={secure}
secureClientPortAddress=127.0.0.1
admin.enableServer=false
ssl.keyStore.location={at}/server.p12
ssl.keyStore.password=secret
ssl.trustStore.location={at}/ca.pem
authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider
X509AuthenticationProvider.superUser=CN=root,O=Odradek
""")
    keeper = subprocess.Popen([BINARY, "keeper", str(at / "zoo.cfg")], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", secure)) == 0:
                    break
            time.sleep(0.05)
        for port, tls in ((secure, True), (plain, True), (plain, False)):
            zk = client(port, at, tls=tls)
            zk.ensure_path("/a")
            zk.set("/a", b"x" * 300000)
            assert zk.get("/a")[0] == b"x" * 300000
            zk.stop()
            zk.close()
        print("ok a large znode over both ports, with and without TLS on the unified one")
        zk = client(secure, at)
        zk.create("/for-client", b"hers", acl=[make_acl("x509", "CN=client,O=Odradek", all=True)])
        assert zk.get("/for-client")[0] == b"hers"
        zk.stop()
        for name, tls, may in (("server", True, False), ("client", False, False), ("root", True, True)):
            other = client(secure if tls else plain, at, name, tls)
            try:
                other.get("/for-client")
                assert may, name
            except Exception as error:
                assert not may and type(error).__name__ == "NoAuthError", (name, error)
            other.stop()
        print("ok an ACL of scheme x509 lets in who it names, and the super user")
        refused(secure, at)
        print("ok a client without a certificate is refused")
        members(at)
        command_line(secure, plain, at)
        broker(secure, at)
        java(secure, at)
    finally:
        keeper.terminate()
        assert keeper.wait(10) == 0


if not shutil.which("openssl"):
    print("needs openssl")
    sys.exit(77)
main()
