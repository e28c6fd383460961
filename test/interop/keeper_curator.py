"""keeper_curator: Apache Curator's recipes (java/CuratorRecipes.java) on Apache's server and on ours; both must do what is asked, alike.

    BINARY=build/odradek WORK=$(mktemp -d) keeper_curator.py
"""
import os
import subprocess
import sys
import threading

from wire_keeper import HERE, WORK, Keeper, lines_of, same_on_both


def jars():
    done = subprocess.run([str(HERE / "maven"), "curator-5.9.0", "org.apache.curator:curator-recipes:5.9.0", "org.apache.zookeeper:zookeeper:3.9.4"],
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout.strip() + "/*"


def session(kind, classpath):
    """What the program printed, and what else came of it."""
    keeper = Keeper(kind)
    with open(keeper.config, "a") as config:
        config.write("extendedTypesEnabled=true\nznode.container.checkIntervalMs=500\n")
    if kind == "apache":  # known as a property of its own alone
        keeper.command[1:1] = ["-Dznode.container.checkIntervalMs=500"]
    keeper.start()
    lines = []
    log = open(WORK / f"curator-{kind}.log", "w+")
    java = subprocess.Popen(["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"classes:{classpath}", "CuratorRecipes", keeper.connect], cwd=WORK,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    guard = threading.Timer(200, java.kill)
    guard.start()
    try:
        lines += lines_of(keeper, java)
    finally:
        guard.cancel()
        java.kill()
        code = java.wait()
        keeper.kill()
    if code:
        log.seek(0)
        lines.append(f"exit {code}: " + "".join(log.readlines()[-30:]))
    return lines


def main():
    classpath = jars()
    os.makedirs(WORK / "classes", exist_ok=True)
    subprocess.run(["javac", "-nowarn", "-cp", classpath, "-d", str(WORK / "classes"), str(HERE / "java/CuratorRecipes.java")], check=True)
    ours = same_on_both(lambda kind: session(kind, classpath), "Curator")
    assert ours[-1].startswith("end: "), ours[-5:]
    print(f"ok, {len(ours)} lines")


if __name__ == "__main__":
    main()
