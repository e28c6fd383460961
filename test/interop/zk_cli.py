"""zk_cli: `odradek zk` against Apache ZooKeeper 3.9 and against ours: the same words, the same output, byte for byte (but times), and the same
exit codes. Then its shell on a terminal: completion, history, events at the prompt, the session kept while nobody types."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

from wire_keeper import BINARY, WORK, Keeper

SCRIPT = """
ls /
create /a hello
create -s /a/n- x
create -s /a/n- '{"k": [1, 2]}'
create -c /a/box
create /a/secret s digest:u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=:cdrwa
create /a/null
create /a
create /nope/x
create -e -c /a/wrong
ls -s /a
ls -R /a
get -s /a/n-0000000001
get /a/null
get /a/secret
get /nope
get -s /a -o json
stat /a
stat /nope
set -v 5 /a x
set -s -v 0 /a 'hello again'
set /a -5
getAcl /a
getAcl -s /a/n-0000000000
setAcl /a/n-0000000000 world:anyone:r,ip:127.0.0.1:cdrwa
getAcl /a/n-0000000000 -o json
setAcl /a/n-0000000000 nonsense
tree /a
count /a -o json
setquota -n 10 -B 1000 /a
setquota -b 500 /a
listquota /a
delquota -B /a
listquota /a -o json
delquota /a
listquota /a
ls -R /zookeeper
whoami
getEphemerals
sync /a
delete /a
delete -v 7 /a/null
delete /a/null
export /a/n-0000000001
removewatches /a
addWatch /a
removewatches /a
reconfig -add server.9=127.0.0.1:1:2 -members x
ls relative
ls -q /
bogus
deleteall /a/box
deleteall /nope
ls /a -o jsonl
"""


def zk(port, *words, stdin=None, seconds=30):
    done = subprocess.run([BINARY, "zk", "--server", f"127.0.0.1:{port}", *words], input=stdin, capture_output=True, text=True, timeout=seconds)
    return done.returncode, done.stdout, done.stderr


def mapped(text, port):
    text = re.sub(r"(?m)^([cm]time) = .*", r"\1 = T", text)
    text = re.sub(r'"([cm]time)":\d+', r'"\1":T', text)
    return text.replace(str(port), "PORT")


def same(what, a, b):
    if a != b:
        print(f"{what}:\n--- apache\n{a}\n--- ours\n{b}")
    return a == b


def verbs(apache, ours):
    good, lines = True, 0
    for line in SCRIPT.strip().splitlines():
        answers = []
        for keeper in (apache, ours):
            # through the words of a shell line, and one session each
            code, out, err = zk(keeper.port, stdin=line + "\n")
            answers.append((code, mapped(out, keeper.port), mapped(err, keeper.port)))
        good &= same(line, *answers)
        lines += 1
    print(f"{lines} lines, {'the same' if good else 'DIFFERENT'}")
    return good


def subtrees(apache, ours):
    """Exported from Apache, imported into ours; no difference; then one."""
    good = True
    exported = WORK / "export.json"
    code, out, err = zk(apache.port, "--auth", "digest:u:p", "export", "/a")
    exported.write_text(out)
    good &= same("export", (code, err), (0, ""))
    code, out, err = zk(ours.port, "--auth", "digest:u:p", "import", "/copy", str(exported))
    good &= same("import", (code, err), (0, ""))
    sides = [f"127.0.0.1:{apache.port}/a", f"127.0.0.1:{ours.port}/copy"]
    diff = [BINARY, "zk", "--auth", "digest:u:p", "diff", *sides]
    done = subprocess.run(diff, capture_output=True, text=True, timeout=30)
    good &= same("diff of equals", (done.returncode, done.stdout, done.stderr), (0, "", ""))
    zk(ours.port, "set", "/copy/n-0000000001", "other")
    zk(ours.port, "create", "/copy/more")
    done = subprocess.run(diff, capture_output=True, text=True, timeout=30)
    good &= same("diff", (done.returncode, done.stdout), (1, "+ /more\n! /n-0000000001  data\n"))
    done = subprocess.run([BINARY, "zk", "diff", *sides], capture_output=True, text=True, timeout=30)
    good &= same("diff without being allowed to", done.returncode, 4)
    code, _, _ = zk(1, "--timeout", "2s", "ls", "/")
    good &= same("nobody there", code, 3)
    print("subtrees:", "good" if good else "BAD")
    return good


def watching(keeper):
    process = subprocess.Popen([BINARY, "zk", "--server", f"127.0.0.1:{keeper.port}", "watch", "/", "-o", "jsonl"], stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 20
    lines = []
    while time.monotonic() < end and not lines:  # the watch is there when its first event comes
        zk(keeper.port, "set", "/a", "seen")
        if select.select([process.stdout], [], [], 0.5)[0]:
            lines.append(process.stdout.readline())
    zk(keeper.port, "create", "/a/new")
    zk(keeper.port, "delete", "/a/new")
    while '"deleted"' not in lines[-1]:
        lines.append(process.stdout.readline())
    process.kill()
    process.wait()
    want = ['{"event":"created","path":"/a/new"}\n', '{"event":"deleted","path":"/a/new"}\n']
    return same(f"watch on {keeper.kind}", lines[-2:], want)


class Terminal:
    def __init__(self, port):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="vt100", HOME=str(WORK))
            os.execv(BINARY, [BINARY, "zk", "--server", f"127.0.0.1:{port}", "--session-timeout", "2s"])
        self.seen = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, what, seconds=10):
        end = time.monotonic() + seconds
        while what not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"no {what!r} in {self.seen!r}")
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        self.seen = self.seen[self.seen.index(what) + len(what):]


def shell(keeper):
    terminal = Terminal(keeper.port)
    terminal.expect(f"[zk: 127.0.0.1:{keeper.port}(CONNECTED) 0] ")
    terminal.type("cou\t")
    terminal.expect("nt ")
    terminal.type("/a\n")
    terminal.expect("znodes")
    terminal.expect(" 1] ")
    terminal.type("get /a/n-\t")  # two of them: the common part, then both
    terminal.expect("000000000")
    terminal.type("\t")
    terminal.expect("n-0000000000  n-0000000001")
    terminal.type("0\n")
    terminal.expect("x")
    terminal.expect(" 2] ")
    terminal.type("create -e /mine 1\n")
    terminal.expect("Created /mine")
    terminal.expect(" 3] ")
    time.sleep(5)  # longer than twice the session's timeout, and nobody types
    terminal.type("get /mine\n")
    terminal.expect("1")
    terminal.expect(" 4] ")
    terminal.type("addWatch /mine\n")
    terminal.expect(" 5] ")
    zk(keeper.port, "set", "/mine", "2")
    terminal.expect("changed\t/mine")
    terminal.type("history\n")
    terminal.expect("create -e /mine 1")
    terminal.expect(" 6] ")
    keeper.end(signal.SIGKILL)
    keeper.start()
    terminal.type("get /mine\n")  # the same session, at the server that is back
    terminal.expect(" 7] ")
    terminal.type("get /mine\n")
    terminal.expect("2")
    terminal.type("quit\n")
    _, status = os.waitpid(terminal.pid, 0)
    os.close(terminal.fd)
    code, out, _ = zk(keeper.port, "stat", "/mine")
    return same("after quit, its ephemeral", (os.waitstatus_to_exitcode(status), code), (0, 1))


def main():
    apache, ours = Keeper("apache"), Keeper("ours")
    for keeper in (apache, ours):
        keeper.start()
    try:
        good = verbs(apache, ours)
        good &= subtrees(apache, ours)
        for keeper in (apache, ours):
            good &= watching(keeper)
            good &= shell(keeper)
            print(f"shell on {keeper.kind}: {'good' if good else 'BAD'}")
    finally:
        for keeper in (apache, ours):
            keeper.end(signal.SIGKILL)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
