"""Checkpoints go from runc to rt and back, as both give external things the same names."""

import os

import pytest

from lib import config, frozen, needs, proc

RUNC = "/usr/sbin/runc"


@pytest.fixture(autouse=True)
def criu():
    needs.criu()
    needs.program(RUNC)


class Runc:
    """runc's verbs on the bundle of a container made by a fixture."""

    def __init__(self, c):
        self.c = c
        self.root = c.root + "-runc"
        self.id = c.id + "-r"

    def rt(self, *words, **how):
        return proc.run([RUNC, "--root", self.root, *words], **how)

    def run(self):
        self.c.write_config()
        with open(self.c.stdout, "ab") as f:
            self.rt("run", "--detach", "--bundle", self.c.dir, self.id, stdout=f.fileno(), stderr=f.fileno())

    def close(self):
        self.rt("delete", "--force", self.id, ok=None)
        proc.run(["rm", "-rf", self.root])


@pytest.fixture
def pair(inside, work):
    """(a container not started, the same for runc)"""
    made = []

    def make(**how):
        c = inside(started=False, **how)
        os.makedirs(f"{work}/volume", exist_ok=True)
        c.config["mounts"].append(config.bind(f"{work}/volume", "/data"))
        made.append(Runc(c))
        return c, made[-1]

    yield make
    for one in made:
        one.close()


def quiet(c, *words):
    """With streams that runc can checkpoint and restore: a file of the host is none."""
    with open(os.devnull, "r+") as null:
        return proc.run(words, stdout=null.fileno(), stderr=null.fileno())


def test_runc_s_checkpoint_is_restored_by_rt(pair):
    c, runc = pair()
    c.write_config()
    quiet(c, RUNC, "--root", runc.root, "run", "--detach", "--bundle", c.dir, runc.id)
    c.do("x = 'of runc'; f = open('/data/file', 'w', 1)")
    images = c.dir + "/images"
    runc.rt("checkpoint", "--image-path", images, "--work-path", c.dir, runc.id)
    with open(os.devnull, "r+") as null:
        frozen.restore(c, images, stdout=null.fileno())
    assert c.do("f.write('y\\n'); x") == "of runc"
    assert c.exec("cat", "/data/file").out == "y\n"
    assert c.exec("cat", "/proc/keys").out == "" and "UP" in c.exec("ip", "link", "show", "lo").out
    with open(os.devnull, "r+") as null:
        frozen.around(c, name="again", stdout=null.fileno())
    assert c.do("x") == "of runc"


def test_rt_s_checkpoint_is_restored_by_runc(pair):
    c, runc = pair()
    # runc has no name for a cgroup2 that stands beside v1.
    c.config["mounts"] = [m for m in c.config["mounts"] if m["type"] != "cgroup"]
    c.write_config()
    quiet(c, *c.argv("run", "--detach", "--bundle", c.dir, "--pid-file", c.pid_file, c.id))
    c.do("x = 'of rt'")
    images = frozen.checkpoint(c)
    quiet(c, RUNC, "--root", runc.root, "restore", "--detach", "--bundle", c.dir, "--image-path", images, "--work-path", c.dir, runc.id)
    assert c.do("x") == "of rt"
    assert runc.rt("exec", runc.id, "ls", "/data").code == 0


def test_pipes_of_runc_s_container(pair, work):
    c, runc = pair()
    c.config["process"]["args"] = ["sh", "-c", "while read line; do echo got $line; done"]
    c.write_config()
    to, of = os.pipe(), os.pipe()
    proc.run([RUNC, "--root", runc.root, "run", "--detach", "--bundle", c.dir, runc.id], stdin=to[0], stdout=of[1], stderr=of[1])
    images = c.dir + "/images"
    runc.rt("checkpoint", "--image-path", images, "--work-path", c.dir, runc.id)
    try:
        c.rt("restore", "--detach", "--bundle", c.dir, "--image-path", images, c.id, stdin=to[0], stdout=of[1])
        os.write(to[1], b"one\n")
        assert os.read(of[0], 100) == b"got one\n"
    finally:
        c.delete("--force", ok=None)
        for fd in (*to, *of):
            os.close(fd)
