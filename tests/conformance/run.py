#!/usr/bin/python3
"""Runs the tests of crun's Debian source package against another runtime.

    run.py SOURCE RUNTIME [NAME-PATTERN...]

SOURCE is the unpacked source, RUNTIME the program under test. Each test runs alone, on a
terminal (some want one), with a time limit, in a sandbox shared by the whole run: the caller
starts us there. The outcome is compared with the file `expected-failures`, which names each test
that cannot pass, and why; what is said there and what happens must agree both ways. Prints one
line a test that needs attention, then the totals.
"""

import contextlib
import fcntl
import fnmatch
import glob
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SLOWNESS = float(os.environ.get("RT_TEST_SLOWNESS", "1"))
TIMEOUT = 30 * SLOWNESS
TIMEOUT_EXPECTED = 8 * SLOWNESS  # of a test that is expected to fail: some do so by hanging

# Prints the names of the tests of a file instead of running them.
LISTER = """
import runpy, sys
import tests_utils
tests_utils.tests_main = lambda tests: print(*tests, sep="\\n")
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def read_expectations(path):
    """({test: reason} of what must fail here, all tests named)

    A line is `test_file.py:name: [condition] reason`; without a condition it holds anywhere."""
    found = {}
    named = set()
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            line = line.split("#", 1)[0].strip()
            if not line:
                continue
            match = re.fullmatch(r"(\S+\.py:\S+): (?:\[([^]]*)\] )?(\S.*)", line)
            if not match:
                sys.exit(f"{path}:{number}: not 'test_file.py:name: [condition] reason'")
            test, condition, reason = match.groups()
            named.add(test)
            if condition is None or holds(condition):
                found[test] = reason
    return found, named


def holds(condition):
    """Whether the machine is as a line of expected-failures says."""
    pure_v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    if condition == "cgroup1":
        return not pure_v2
    if condition == "cgroup2":
        return pure_v2
    if condition == "cgroup1-behind-cgroup2":
        with open("/proc/self/cgroup", encoding="utf-8") as f:
            return pure_v2 and len(f.readlines()) > 1
    word, _, argument = condition.partition(" ")
    if word == "cgroup2-without":
        if not pure_v2:
            return False
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="utf-8") as f:
            return argument not in f.read().split()
    return sys.exit(f"expected-failures: unknown condition '{condition}'")


def environment(source, runtime, init, directory):
    path = os.pathsep.join([os.path.join(source, "tests"), os.path.join(HERE, "stand-in")])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1",
            "OCI_RUNTIME": runtime, "INIT": init, "LANG": "C", "TMPDIR": directory}


def build_init(source, directory):
    """The tests' program for the inside of the container, static as the rootfs is empty."""
    init = os.path.join(directory, "init")
    # What the package's configure would find on a Debian machine.
    with open(os.path.join(directory, "config.h"), "w", encoding="utf-8") as f:
        f.write("#define _GNU_SOURCE\n#define HAVE_ERROR_H 1\n#define HAVE_SECCOMP 1\n"
                "#define HAVE_LINUX_IOPRIO_H 1\n")
    subprocess.run(["gcc", "-O1", "-w", "-static", "-I", directory, "-o", init,
                    os.path.join(source, "tests/init.c"), "-lseccomp"], check=True)
    return init


def list_tests(file, env, directory):
    out = subprocess.run([sys.executable, "-c", LISTER, file], env=env, cwd=directory, check=True,
                         capture_output=True, text=True).stdout
    return [name for name in out.split() if name != "1..0"]


def run_on_terminal(argv, env, directory, timeout):
    """(what it printed, whether it ended in time)"""
    master, slave = pty.openpty()
    child = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env,
                             cwd=directory, start_new_session=True,
                             preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(slave)
    deadline = time.monotonic() + timeout
    out = b""
    while time.monotonic() < deadline:
        ready, _, _ = select.select([master], [], [], 0.1)
        if not ready:
            if child.poll() is not None:
                break
            continue
        try:
            chunk = os.read(master, 65536)
        except OSError:
            break
        if not chunk:
            break
        out += chunk
    in_time = True
    try:
        child.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        in_time = False
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    os.close(master)
    return out.decode(errors="replace").replace("\r\n", "\n"), in_time


def run_test(file, name, env, directory, timeout):
    """("passed" | "skipped" | "failed", what it printed)"""
    out, in_time = run_on_terminal([sys.executable, file], {**env, "RUN_TESTS": name}, directory,
                                   timeout)
    kill_orphans()
    if not in_time:
        return "failed", out + f"\n(still running after {timeout} s)"
    # Not at the start of a line only: what a container prints may lack its newline.
    verdict = re.search(r"(not )?ok 1 - \S+( #SKIP)?$", out, re.M)
    if not verdict or verdict[1]:
        return "failed", out
    return ("skipped" if verdict[2] else "passed"), out


def kill_orphans():
    """What a test that failed left running; in the sandbox only PID 1 and we are legitimate."""
    if not os.environ.get("RT_SANDBOX"):
        return
    for pattern, value in (("**/freezer.state", "THAWED"), ("**/cgroup.freeze", "0")):
        for knob in glob.iglob("/sys/fs/cgroup/" + pattern, recursive=True):
            with contextlib.suppress(OSError), open(knob, "w", encoding="utf-8") as f:
                f.write(value)  # a frozen v1 task would not die
    keep = {1}
    pid = os.getpid()
    while pid > 1:
        keep.add(pid)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            pid = int(f.read().rpartition(")")[2].split()[1])
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in keep:
            try:
                os.kill(int(name), signal.SIGKILL)
            except ProcessLookupError:
                pass


def judge(test, outcome, expected):
    """(verdict for the totals, a line to print or None)"""
    if outcome == "failed" and test in expected:
        return "skipped", None
    if outcome == "failed":
        return "failed", f"FAILED {test}"
    if test in expected and outcome == "passed":
        return "failed", f"FAILED {test} now passes: remove it from expected-failures"
    return outcome, f"skipped by itself: {test}" if outcome == "skipped" else None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    source, runtime = (os.path.abspath(a) for a in sys.argv[1:3])
    patterns = sys.argv[3:] or ["*"]
    expected, named = read_expectations(os.path.join(HERE, "expected-failures"))
    known = set()
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    with tempfile.TemporaryDirectory(prefix="conformance-", dir="/run") as directory:
        os.chmod(directory, 0o755)  # some containers run as another user
        env = environment(source, runtime, build_init(source, directory), directory)
        files = sorted(f for f in os.listdir(os.path.join(source, "tests"))
                       if f.startswith("test_") and f.endswith(".py"))
        for file in files:
            if not any(fnmatch.fnmatch(file, p.split(":")[0]) for p in patterns):
                known.update(test for test in named if test.startswith(file + ":"))  # not looked into
                continue
            path = os.path.join(source, "tests", file)
            for name in list_tests(path, env, directory):
                test = f"{file}:{name}"
                known.add(test)
                if not any(fnmatch.fnmatch(test, p) for p in patterns):
                    continue
                outcome, out = run_test(path, name, env, directory,
                                        TIMEOUT_EXPECTED if test in expected else TIMEOUT)
                verdict, line = judge(test, outcome, expected)
                totals[verdict] += 1
                if line:
                    print(line, flush=True)
                if verdict == "failed" and outcome == "failed":
                    print("    " + "\n    ".join(out.strip().splitlines()[-15:]), flush=True)
    for test in sorted(named - known):
        totals["failed"] += 1
        print(f"FAILED {test} is in expected-failures but there is no such test")
    for test, reason in sorted(expected.items()):
        if any(fnmatch.fnmatch(test, p) for p in patterns):
            print(f"expected to fail: {test}: {reason}")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**totals))
    return 1 if totals["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
