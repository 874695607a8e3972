"""What the machine looks like, so that a test can show it left nothing behind.

The tests run in tests/setup/sandbox, so everything seen here is theirs: a process, a mount or
a cgroup that was not there before a test and is there after it was left by that test.
"""

import os
import shutil
import signal
import socket
import subprocess
import time

from . import cgroup

# What lives longer than one test by design: set up by session fixtures.
expected_pids = set()
expected_mounts = set()
expected_cgroups = set()  # with everything below them

# CRIU's cache of its kernel probe; and the fixtures' own files.
FILES_OF_NO_CONCERN = ("/run/criu.kdat", "/run/tests/")


class Snapshot:
    def __init__(self):
        self.parts = {
            "processes": processes(),
            "mounts": mounts(),
            "cgroups": cgroups(),
            "descriptors": descriptors(),
            "files": files("/run") | files("/dev/shm"),
            "network links": set(os.listdir("/sys/class/net")),
            "packet filter rules": packet_filter(),
            "host name": {socket.gethostname()},
            "System V IPC": sysv_ipc(),
        }

    def left_since(self, before):
        """["mounts: /run/x was not there before", ...]; empty if nothing changed."""
        told = []
        for name, now in self.parts.items():
            earlier = before.parts[name]
            told += [f"{name}: {x} was not there before" for x in sorted(now - earlier, key=str)]
            told += [f"{name}: {x} is gone" for x in sorted(earlier - now, key=str)]
        return told


def compare(before, patience=3.0):
    """What differs from before, once the machine has had time to settle."""
    deadline = time.monotonic() + patience
    while True:
        told = Snapshot().left_since(before)
        if not told or time.monotonic() > deadline:
            return told
        time.sleep(0.02)


def sweep(before):
    """Takes away what a test left, so that the next one is not blamed for it."""
    now = Snapshot()
    for pid, _ in now.parts["processes"] - before.parts["processes"]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for path in sorted(now.parts["mounts"] - before.parts["mounts"], key=str, reverse=True):
        subprocess.run(["umount", "-l", path[0]], stderr=subprocess.DEVNULL, check=False)
    for path in sorted(now.parts["files"] - before.parts["files"], reverse=True):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            remove_quietly(os.unlink, path)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        left = cgroups() - before.parts["cgroups"]
        if not left:
            break
        for path in sorted(left, reverse=True):
            empty_cgroup(path)
            remove_quietly(os.rmdir, path)
        time.sleep(0.02)


def empty_cgroup(path):
    for knob, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        try:
            with open(os.path.join(path, knob), "w") as f:
                f.write(value)
        except OSError:
            pass
    try:
        with open(os.path.join(path, "cgroup.procs")) as f:
            for pid in f.read().split():
                os.kill(int(pid), signal.SIGKILL)
    except OSError:
        pass


def remove_quietly(how, path):
    try:
        how(path)
    except OSError:
        pass


def processes():
    """{(pid, command)}, this process and what session fixtures run left out."""
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in expected_pids or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/stat") as f:
                stat = f.read()
        except OSError:
            continue
        found.add((int(name), stat[stat.index("("):stat.rindex(")") + 1]))
    return found


def cgroups():
    return {path for path in cgroup.all_cgroups()
            if not any(path == e or path.startswith(e + "/") for e in expected_cgroups)}


def mounts():
    found = set()
    with open("/proc/self/mountinfo") as f:
        for line in f:
            before, after = line.rstrip("\n").split(" - ")
            fields = before.split()
            if fields[4] not in expected_mounts:
                found.add((fields[4], after.split()[0], fields[5], *fields[6:7]))
    return found


def descriptors():
    """This process's, by what they are: the one that reads the directory is not among them."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} -> {os.readlink('/proc/self/fd/' + fd)}")
        except OSError:
            pass
    return found


def files(top):
    found = set()
    for directory, subdirectories, names in os.walk(top):
        subdirectories[:] = [d for d in subdirectories
                             if not no_concern(os.path.join(directory, d) + "/")]
        found.update(os.path.join(directory, n) for n in subdirectories + names)
    return {f for f in found if not no_concern(f)}


def no_concern(path):
    return any(path == f or path.startswith(f) for f in FILES_OF_NO_CONCERN)


def packet_filter():
    if not shutil.which("nft"):
        return set()
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True,
                           check=False).stdout
    return set(rules.splitlines())


def sysv_ipc():
    found = set()
    for kind in ("shm", "sem", "msg"):
        try:
            with open(f"/proc/sysvipc/{kind}") as f:
                found.update(f"{kind} {line.split()[1]}" for line in f.readlines()[1:])
        except OSError:
            pass
    return found
