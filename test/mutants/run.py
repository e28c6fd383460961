#!/usr/bin/env python3
"""run.py SOURCE_ROOT [NAME...]: builds broken on purpose, to see that the tests find what they are for.

Each test/mutants/NAME.patch says in its first lines which program must catch it:

    # what is broken, in a sentence
    # caught-by: test/sim/log_life 60        a target of the build, then its arguments ("60" may be left out)

The tree is copied, the patch applied, the target built and run. It must fail within a minute; that it passes on the
unbroken tree is what the ordinary tests show.
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


def try_mutant(source, patch):
    head = patch.read_text().splitlines()[:12]
    caught_by = next((re.match(r"#\s*caught-by:\s*(.+)", line).group(1).split() for line in head
                      if re.match(r"#\s*caught-by:", line)), None)
    if not caught_by:
        return False, "it does not say caught-by"
    target, arguments = caught_by[0], caught_by[1:]
    with tempfile.TemporaryDirectory(prefix="odradek-mutant-") as tree:
        for name in ("src", "schema", "tool", "test", "meson.build", "meson_options.txt"):
            origin = source / name
            (shutil.copytree if origin.is_dir() else shutil.copy)(origin, os.path.join(tree, name))
        done = run(["patch", "-p1", "--fuzz=0", "-d", tree, "-i", str(patch)])
        if done.returncode:
            return False, "the patch no longer applies:\n" + done.stdout
        build = os.path.join(tree, "build")
        done = run(["meson", "setup", build, tree, "-Dbuildtype=debugoptimized"])
        if done.returncode == 0:
            done = run(["ninja", "-C", build, target])
        if done.returncode:
            return False, "it does not build:\n" + done.stdout[-3000:]
        began = time.monotonic()
        try:
            done = run([os.path.join(build, target), *arguments], timeout=LIMIT, cwd=tree)
        except subprocess.TimeoutExpired:
            return False, f"not caught within {LIMIT} s"
        if done.returncode == 0:
            return False, "not caught"
        return True, f"caught in {time.monotonic() - began:.1f} s by {target}"


def main():
    source = pathlib.Path(sys.argv[1]).resolve()
    names = sys.argv[2:]
    patches = [p for p in sorted((source / "test/mutants").glob("*.patch")) if not names or p.stem in names]
    failed = 0
    for patch in patches:
        is_caught, text = try_mutant(source, patch)
        print(f"mutant {patch.stem}: {text}", flush=True)
        failed += not is_caught
    return 1 if failed or not patches else 0


if __name__ == "__main__":
    sys.exit(main())
