"""keeper_sasl: `odradek zk` proves who it is by SASL (DIGEST-MD5), to Apache's server and to ours, which let in nobody else; and Apache's zkCli
does so to ours. What each is told is the same on both.

    BINARY=build/odradek WORK=$(mktemp -d) keeper_sasl.py
"""
import re
import signal
import subprocess
import sys

from wire_keeper import BINARY, HERE, Keeper, WORK, same_on_both

MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule required"
JAAS = f"""Server {{ {MODULE} user_alice="secret" user_bob="other"; }};
Client {{ {MODULE} username="alice" password="secret"; }};
Wrong {{ {MODULE} username="alice" password="other"; }};
Nobody {{ {MODULE} username="mallory" password="secret"; }};
"""


def zkcli(keeper, jaas, *words):
    jars = subprocess.run([str(HERE / "maven"), "zookeeper-cli-3.9.4", "org.apache.zookeeper:zookeeper:3.9.4", "commons-cli:commons-cli:1.5.0",
                           "io.dropwizard.metrics:metrics-core:4.1.12.1", "org.xerial.snappy:snappy-java:1.1.10.5"], stdout=subprocess.PIPE, text=True)
    if jars.returncode:
        sys.exit(jars.returncode)
    return subprocess.run(["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dzookeeper.fips-mode=false", f"-Djava.security.auth.login.config={jaas}", "-cp",
                           jars.stdout.strip() + "/*", "org.apache.zookeeper.ZooKeeperMain", "-server", keeper.connect, *words],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout


def session(kind):
    keeper = Keeper(kind)
    jaas, client = keeper.directory / "jaas.conf", keeper.directory / "client.cfg"
    jaas.write_text(JAAS)
    with open(keeper.config, "a") as config:
        config.write("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\nsessionRequireClientSASLAuth=true\n")
    if kind == "apache":
        keeper.command[1:1] = [f"-Djava.security.auth.login.config={jaas}", "-Dzookeeper.fips-mode=false"]
    else:
        with open(keeper.config, "a") as config:
            config.write(f"java.security.auth.login.config={jaas}\n")
    keeper.start()
    lines = []

    def zk(section, *words):
        client.write_text(f"java.security.auth.login.config={jaas}\nzookeeper.sasl.clientconfig={section}\n" if section else "")
        done = subprocess.run([BINARY, "zk", "--server", keeper.connect, "--timeout", "5s", "--client-configuration", str(client), *words],
                              capture_output=True, text=True, timeout=30)
        said = (done.stdout + done.stderr).replace(str(keeper.port), "PORT")
        said = re.sub(r"(?m)^([cm]time) = .*$", r"\1", said)
        lines.append(f"{section} {' '.join(words)}: {done.returncode}")
        lines.extend(sorted(said.splitlines()) if words == ("whoami",) else said.splitlines())  # Apache's stand in a hash
        return done.returncode

    try:
        assert zk("Client", "create", "/mine", "hers", "sasl:alice:cdrwa") == 0, lines
        assert zk("Client", "get", "/mine") == 0, lines
        zk("Client", "whoami")
        zk("Client", "getAcl", "/mine")
        assert zk("Wrong", "get", "/mine") == 4, lines
        assert zk("Nobody", "get", "/mine") == 4, lines
        assert zk(None, "get", "/mine") == 4, lines
        said = zkcli(keeper, jaas, "get", "/mine")
        assert "hers" in said, said
        lines.append("zkCli reads it, too")
    finally:
        keeper.end(signal.SIGKILL)
    return lines


for line in same_on_both(session, "odradek zk by SASL"):
    print(line)
