"""What the escape tests attack with: the C programs beside this file, and how they are used."""

import contextlib
import hashlib
import os
import signal
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = ("swap", "grab", "naive", "kill_at")

# A knob of the host's kernel that no namespace separates and nobody misses: what attacks on
# procfs try to set to 77.
KNOB = "/proc/sys/kernel/printk_ratelimit_burst"
WANTED = "77"


def build(directory):
    """Compiles the programs, static, so that they run in any root; once, whoever asks."""
    if os.path.isdir(directory):
        return directory
    os.makedirs(directory)
    for name in PROGRAMS:
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-o",
                        f"{directory}/{name}", f"{HERE}/{name}.c"], check=True)
    return directory


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def read(path):
    with open(path) as f:
        return f.read()


class Canary:
    """A directory of the host that no container is given: it must stay as it is."""

    def __init__(self, directory):
        self.dir = directory
        self.secret = f"{directory}/secret"
        os.makedirs(directory)
        for name in ("secret", "ptmx", "console", "null"):
            with open(f"{directory}/{name}", "w") as f:
                f.write("canary\n")
        self.before = self.look()

    def look(self):
        return {name: (os.lstat(f"{self.dir}/{name}").st_mode, read(f"{self.dir}/{name}")
                       if os.path.isfile(f"{self.dir}/{name}") else None)
                for name in sorted(os.listdir(self.dir))}

    def assert_untouched(self):
        assert self.look() == self.before, "the host's files were changed"

    def up_from(self, depth=12):
        """The same directory for one who can only say "..": it leads to any root's top first."""
        return "../" * depth + self.dir.lstrip("/")


class Witness:
    """A createRuntime hook that writes down what is mounted in the container's mount namespace
    just before its root is switched: what has been mounted outside the root is seen only then."""

    def __init__(self, path):
        self.path = path

    def hook(self):
        script = ("pid=$(sed -n 's/.*\"pid\": *\\([0-9][0-9]*\\).*/\\1/p'); "
                  f"cat /proc/$pid/mountinfo >>{self.path}")
        return {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}

    def mount_points(self):
        if not os.path.exists(self.path):
            return []
        return [line.split()[4] for line in read(self.path).splitlines()]

    def assert_nothing_mounted_at(self, directory):
        found = [m for m in self.mount_points() if m == directory or
                 m.startswith(directory + "/")]
        assert not found, f"mounted outside of the container's root: {found}"


@contextlib.contextmanager
def swapping(tools, *pairs):
    """Names that are being exchanged the whole time; yields an object whose .count says how
    often, afterwards."""
    class Swaps:
        count = 0
    swaps = Swaps()
    names = [name for pair in pairs for name in pair]
    process = subprocess.Popen([f"{tools}/swap", *names], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, text=True, close_fds=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield swaps
    finally:
        process.send_signal(signal.SIGTERM)
        swaps.count = int(process.stdout.read() or 0)
        process.stdout.close()
        process.wait()


def repeat(attempt, seconds=3.0, most=60):
    """Calls attempt(0), attempt(1), ... within the time, until one returns something; returns
    how many there were and what the last one returned."""
    deadline = time.monotonic() + seconds
    for n in range(most):
        found = attempt(n)
        if found or time.monotonic() > deadline:
            return n + 1, found
    return most, None
