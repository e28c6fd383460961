#!/usr/bin/env python3
"""run.py SOURCE_ROOT [NAME...]: builds broken on purpose, to see that the tests find what they are for.

Each test/mutants/NAME.patch says in its first lines which programs must catch it, each of them:

    # what is broken, in a sentence
    # caught-by: test/sim/node_life 55       a target of the build, then its arguments
    # caught-by: src/log_life_test_sim

The tree is copied and built once; then patch after patch is applied, built, run and taken back. Each program must fail within a
minute; that it passes on the unbroken tree is what the ordinary tests show.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

LIMIT = 60


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def catchers(patch):
    """Lists of words: target, arguments."""
    head = patch.read_text().splitlines()[:12]
    found = (re.match(r"#\s*caught-by:\s*(.+)", line) for line in head)
    return [match.group(1).split() for match in found if match]


def try_program(build, target, arguments):
    began = time.monotonic()
    try:
        done = run([os.path.join(build, target), *arguments], timeout=LIMIT, cwd=build)
    except subprocess.TimeoutExpired:
        return False, f"not caught by {target} within {LIMIT} s"
    if done.returncode == 0:
        return False, f"not caught by {target}"
    return True, f"caught in {time.monotonic() - began:.1f} s by {target}"


def try_mutant(tree, build, patch):
    programs = catchers(patch)
    if not programs:
        return False, "it does not say caught-by"
    done = run(["patch", "-p1", "--fuzz=0", "-d", tree, "-i", str(patch)])
    if done.returncode:
        return False, "the patch no longer applies:\n" + done.stdout
    done = run(["ninja", "-C", build, *(program[0] for program in programs)])
    if done.returncode:
        return False, "it does not build:\n" + done.stdout[-3000:]
    results = [try_program(build, program[0], program[1:]) for program in programs]
    return all(is_caught for is_caught, _ in results), ", ".join(text for _, text in results)


def main():
    source = pathlib.Path(sys.argv[1]).resolve()
    names = sys.argv[2:]
    patches = [p for p in sorted((source / "test/mutants").glob("*.patch")) if not names or p.stem in names]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="odradek-mutants-") as top:
        tree, whole, build = (os.path.join(top, name) for name in ("tree", "whole", "build"))
        os.makedirs(tree)
        for origin in source.iterdir():
            if origin.name.startswith((".", "build", "odradek-data")):
                continue
            (shutil.copytree if origin.is_dir() else shutil.copy)(origin, os.path.join(tree, origin.name))
        shutil.copytree(os.path.join(tree, "src"), whole)
        done = run(["meson", "setup", build, tree, "-Dbuildtype=debugoptimized"])
        if done.returncode:
            print("mutants: the tree does not configure:\n" + done.stdout[-3000:])
            return 1
        for patch in patches:
            is_caught, text = try_mutant(tree, build, patch)
            print(f"mutant {patch.stem}: {text}", flush=True)
            failed += not is_caught
            restore(tree, whole)
    return 1 if failed or not patches else 0


def restore(tree, whole):
    """Puts back the sources that the last patch touched, as new files, so that they are built again."""
    for base, _, files in os.walk(whole):
        for name in files:
            kept = os.path.join(base, name)
            used = os.path.join(tree, "src", os.path.relpath(kept, whole))
            if not os.path.exists(used) or pathlib.Path(used).read_bytes() != pathlib.Path(kept).read_bytes():
                shutil.copyfile(kept, used)


if __name__ == "__main__":
    sys.exit(main())
