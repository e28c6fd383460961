"""keeper_c: ZooKeeper's C client (c/keeper_client.c, libzookeeper-mt-dev) on Apache's server and on ours: what it prints must be the same.

    BINARY=build/odradek WORK=$(mktemp -d) keeper_c.py
"""
import pathlib
import shutil
import subprocess
import sys

from wire_keeper import HERE, WORK, Keeper, lines_of, same_on_both


def session(kind, program):
    keeper = Keeper(kind)
    with open(keeper.config, "a") as config:
        config.write("extendedTypesEnabled=true\n")
    keeper.start()
    lines = []
    client = subprocess.Popen(["timeout", "60", program, keeper.connect], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        lines += lines_of(keeper, client)
    finally:
        code = client.wait()
        keeper.kill()
    return lines + ([f"exit {code}"] if code else [])


def main():
    if not pathlib.Path("/usr/include/zookeeper/zookeeper.h").exists() or not shutil.which("gcc"):
        print("needs gcc and libzookeeper-mt-dev")
        sys.exit(77)
    program = str(WORK / "keeper_client")
    subprocess.run(["gcc", "-std=gnu11", "-Wall", "-Wextra", "-DTHREADED", str(HERE / "c/keeper_client.c"), "-o", program, "-lzookeeper_mt", "-lpthread"], check=True)
    ours = same_on_both(lambda kind: session(kind, program), "the C client")
    assert ours[-1] == "end", ours
    print(f"ok, {len(ours)} lines")


main()
