"""Processes as /proc shows them."""

import re

ID = "id -u; id -g; id -G; umask"
KILL, CHOWN, BIND = 1 << 5, 1 << 0, 1 << 10  # of capabilities


def process(**fields):
    """Changes for a config: these fields of its process."""
    return {"process": fields}


def status(pid):
    """/proc/PID/status as a dict."""
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def cap_sets(text):
    return {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s*(\w+)", text, re.M)}


def read(path):
    with open(path) as f:
        return f.read()
