"""import: real directories of Apache ZooKeeper 3.9.4 (test/golden/apache_zookeeper), imported by the program as it is used.

    import.py ODRADEK GOLDEN

Each was killed under load, so its snapshot is fuzzy; how they are packed differs. All of them must come out with the digest that
ZooKeeper left in the last record. With any byte changed they are refused, or come out the same (that byte was of no consequence).
"""
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

BINARY, GOLDEN = sys.argv[1], pathlib.Path(sys.argv[2])
FLIPS = 40


def run(*arguments):
    done = subprocess.run([BINARY, "keeper", *map(str, arguments), "-o", "json"], capture_output=True, text=True, timeout=60)
    answer = json.loads(done.stdout)
    return done, answer["items"][0] if answer["items"] else None


def main():
    rng = random.Random(7)
    work = pathlib.Path(tempfile.mkdtemp())
    try:
        for source in sorted(path for path in GOLDEN.iterdir() if path.is_dir()):
            done, whole = run("import", "--from", source, "--to", work / "whole")
            assert done.returncode == 0, done.stderr
            assert whole["verified_zxid"] == whole["last_zxid"] and whole["problems"] == 0, whole
            assert whole["next_zxid"] >> 32 == (whole["last_zxid"] >> 32) + 1, whole
            done, exported = run("export", "--from", work / "whole", "--to", work / "back")
            assert done.returncode == 0 and exported["znodes"] == whole["znodes"], done.stderr
            done, again = run("import", "--from", work / "back" / "version-2", "--to", work / "again")
            assert done.returncode == 0 and again["verified_zxid"] == whole["next_zxid"], done.stderr
            assert (again["znodes"], again["sessions"]) == (whole["znodes"], whole["sessions"])
            refused = 0
            for _ in range(FLIPS):
                hurt = work / "hurt"
                shutil.copytree(source, hurt)
                path = rng.choice(sorted((hurt / "version-2").iterdir()))
                content = bytearray(path.read_bytes())
                used = len(content.rstrip(b"\0"))
                at = rng.randrange(used)
                content[at] ^= 1 << rng.randrange(8)
                path.write_bytes(content)
                done, item = run("import", "--from", hurt, "--to", work / "to")
                if done.returncode == 0:
                    same = ("znodes", "sessions", "last_zxid", "verified_zxid")
                    # the length of the last record looks like that of an unfinished one
                    is_shorter = item["last_zxid"] < whole["last_zxid"] and "unfinished record" in done.stderr
                    assert is_shorter or all(item[name] == whole[name] for name in same), (path.name, at, item, done.stderr)
                else:
                    refused += 1
                    assert str(work) in done.stderr or "zxid" in done.stderr, done.stderr  # what is wrong is named
                shutil.rmtree(hurt)
                shutil.rmtree(work / "to", ignore_errors=True)
            assert refused > FLIPS // 4, refused
            print(f"{source.name}: {whole['znodes']} znodes; {refused} of {FLIPS} changed bytes refused, the others without effect")
            for name in ("whole", "back", "again"):
                shutil.rmtree(work / name)
    finally:
        shutil.rmtree(work)


main()
