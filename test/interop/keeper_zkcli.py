"""keeper_zkcli: a session of ZooKeeper's own zkCli, on Apache's server and on ours: what it prints must be the same.

    BINARY=build/odradek WORK=$(mktemp -d) keeper_zkcli.py
"""
import re
import signal
import subprocess
import sys

from wire_keeper import HERE, Keeper, same_on_both

COMMANDS = """create /a one
create -s /a/s- x
create -e /a/e y
create -c /cont z
create -t 100000 /ttl t
create /a dup
ls /
ls -R /a
ls -s /a
get /a
get -s /a
set /a two
set -v 7 /a bad
set -v 1 /a three
stat /a
getAcl /a
addauth digest u:p
setAcl /a auth:u:p:cdrwa
getAcl -s /a
create /acl v digest:u:nOPvPMdO0qUKKxlLhPUn3vgAYaU=:r
get /acl
delete /a
deleteall /a
getAllChildrenNumber /
getEphemerals /
create /q 1
setquota -n 3 /q
setquota -B 100 /q
listquota /q
create /q/1 a
create /q/2 a
listquota /q
delquota -n /q
listquota /q
setquota -N 3 /q
create /q/3 b
create /q/4 b
listquota /q
whoami
sync /
removewatches /q
addWatch /q
set /q 5
get -w /q
set /q 6
create /q/x/y z
config
reconfig -remove 1
close
quit
"""


def session(kind, jars):
    keeper = Keeper(kind)
    with open(keeper.config, "a") as config:
        config.write("extendedTypesEnabled=true\nenforceQuota=true\n")
    keeper.start()
    try:
        out = subprocess.run(["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", jars + "/*", "org.apache.zookeeper.ZooKeeperMain",
                              "-server", f"{keeper.host}:{keeper.port}"], input=COMMANDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, timeout=90).stdout
    finally:
        keeper.end(signal.SIGKILL)
    out = re.sub(r"(?m)^([cm]time) = .*$", r"\1", out)
    return re.sub(r"SLF4J.*\n", "", out).replace(str(keeper.port), "PORT").splitlines()


def main():
    done = subprocess.run([str(HERE / "maven"), "zookeeper-cli-3.9.4", "org.apache.zookeeper:zookeeper:3.9.4", "commons-cli:commons-cli:1.5.0",
                           "io.dropwizard.metrics:metrics-core:4.1.12.1", "org.xerial.snappy:snappy-java:1.1.10.5"],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    ours = same_on_both(lambda kind: session(kind, done.stdout.strip()), "zkCli")
    assert len(ours) > 90, ours
    print(f"ok, {len(ours)} lines")


main()
