"""Mounts of containers: making them, and reading them in the container's own /proc/self/mountinfo."""

import os
import socket

import pytest

from . import config, proc

READ_ONLY = "Read-only file system"


class Mount:
    def __init__(self, line):
        before, after = line.split(" - ")
        fields = before.split()
        self.root = fields[3]
        self.destination = fields[4]
        self.options = set(fields[5].split(","))
        self.propagation = " ".join(fields[6:])
        self.fstype, self.source, superblock = (after.split() + [""])[:3]
        self.superblock = set(superblock.split(","))


def parse(text):
    """{destination: the topmost Mount there}"""
    found = {}
    for line in text.splitlines():
        if " - " in line:
            mount = Mount(line)
            found[mount.destination] = mount
    return found


@pytest.fixture
def source(work, outlives_containers):
    """A directory of the host with a file, a directory on which another file system is mounted,
    a symlink, a FIFO and a socket."""
    path = f"{work}/source"
    os.makedirs(path + "/sub")
    proc.run(["mount", "-t", "tmpfs", "below", path + "/sub"])
    outlives_containers.callback(proc.run, ["umount", "-l", path + "/sub"])
    for name in ("file", "sub/file"):
        with open(f"{path}/{name}", "w") as f:
            f.write("hello\n")
    os.symlink("nowhere", path + "/link")
    os.symlink("source", f"{work}/to-source")
    os.mkfifo(path + "/fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path + "/socket")
    return path


def add(c, destination, source=None, options=(), fstype=None, **more):
    entry = {"destination": destination, "options": list(options), **more}
    if source is not None:
        entry["source"] = str(source)
    if fstype:
        entry["type"] = fstype
    c.config["mounts"].append(entry)


def without(c, prefix):
    c.config["mounts"] = [m for m in c.config["mounts"] if not m["destination"].startswith(prefix)]


@pytest.fixture
def mounted(container):
    """Runs a container with one more mount: its mounts, by destination."""
    def run(*words, script="", **how):
        c = container(["sh", "-c", "cat /proc/self/mountinfo; " + script])
        add(c, *words, **how)
        result = c.run(ok=None)
        assert result.code == 0, repr(result)
        found = parse(result.out)
        found["text"] = "\n".join(l for l in result.out.splitlines() if " - " not in l)
        return found
    return run


@pytest.fixture
def refused(container):
    """Runs a container with one more mount that must not work: the error."""
    def run(*words, **how):
        c = container(["true"])
        add(c, *words, **how)
        err = c.run(ok=False).err
        assert len(err.splitlines()) == 1, err
        return err
    return run


def in_user_namespace(c):
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
