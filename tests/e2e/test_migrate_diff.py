"""rt migrate --rootfs diff: the target has the base, what the source's overlay holds on top of it follows."""

import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from lib import container as containers
from lib import needs, proc


class Target:
    """`rt receive` on the loopback, with a --root of its own."""

    def __init__(self, work):
        helper = os.path.join(os.path.dirname(containers.runtime()), "rt-migrate")
        if not os.path.exists(helper):
            pytest.skip("no rt-migrate was built: libcurl, libmicrohttpd or GnuTLS is missing")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.root, self.bundles, self.log = work + "/target-root", work + "/bundles", work + "/receive.log"
        self.url = f"http://127.0.0.1:{port}"
        os.mkdir(self.bundles)
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([containers.runtime(), "--root", self.root, "receive", "--listen", f"127.0.0.1:{port}", "--bundles", self.bundles,
                                             "--state-dir", work + "/receive"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, close_fds=True)
        for _ in range(100):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(open(self.log).read())

    def rt(self, *words, **how):
        return proc.run([containers.runtime(), "--root", self.root, *words], **how)

    def bundle(self, id, config, base):
        """The operator's: a configuration and the base."""
        path = os.path.join(self.bundles, id)
        os.mkdir(path)
        proc.run(["cp", "-a", base, path + "/rootfs"])
        config = json.loads(json.dumps(config))
        config["linux"]["cgroupsPath"] = "/" + id
        with open(path + "/config.json", "w") as f:
            json.dump(config, f)
        return path + "/rootfs"

    def close(self):
        for line in self.rt("list", "--quiet", ok=None).out.split():
            self.rt("delete", "--force", line, ok=None)
        self.process.terminate()
        self.process.wait()


@pytest.fixture
def target(work, outlives_containers):
    needs.criu()
    one = Target(work)
    outlives_containers.callback(one.close)
    return one


@pytest.fixture
def layered(container, outlives_containers, target):
    """A container whose root filesystem is an overlay; .base is its lower directory."""
    c = container(args=["sleep", "1000"], changes={"root": {"readonly": False}})
    c.base, upper, work = c.rootfs + ".base", c.rootfs + ".upper", c.rootfs + ".work"
    os.rename(c.rootfs, c.base)
    for name in (upper, work, c.rootfs):
        os.mkdir(name)
    for name, text in (("etc/kept", "base"), ("etc/removed", "base"), ("etc/changed", "base"), ("srv/old/inside", "base"), ("srv/remade/hidden", "base")):
        os.makedirs(os.path.dirname(f"{c.base}/{name}"), exist_ok=True)
        with open(f"{c.base}/{name}", "w") as f:
            f.write(text)
    proc.run(["mount", "-t", "overlay", "-o", f"lowerdir={c.base},upperdir={upper},workdir={work}", "overlay", c.rootfs])
    outlives_containers.callback(proc.run, ["umount", "-l", c.rootfs], ok=None)
    null = os.open(os.devnull, os.O_RDWR)
    c.run_detached(stdout=null, stderr=null)
    os.close(null)
    return c


CHANGE = ("rm /etc/removed; echo upper > /etc/changed; echo upper > /new; rm -r /srv/old; rm -r /srv/remade; mkdir /srv/remade; "
          "echo upper > /srv/remade/file; ln /new /new2")


def migrate(c, target, *options, **how):
    return c.rt("migrate", "--rootfs", "diff", "--new-id", "moved", *options, c.id, target.url, **how)


def listing(root):
    found = {}
    for path, directories, files in os.walk(root):
        for name in directories + files:
            one = os.path.join(path, name)
            st = os.lstat(one)
            content = open(one).read() if os.path.isfile(one) and not os.path.islink(one) and st.st_size < 10000 else None
            found[os.path.relpath(one, root)] = (st.st_mode, st.st_uid, content, st.st_nlink if not os.path.isdir(one) else 0)
    return found


def test_what_the_overlay_holds_goes_onto_the_base(layered, target):
    c = layered
    root = target.bundle("moved", c.config, c.base)
    c.exec("sh", "-c", CHANGE)
    expected = listing(c.rootfs)
    migrate(c, target)
    assert listing(root) == expected
    assert json.loads(target.rt("state", "moved").out)["status"] == "running"
    assert target.rt("exec", "moved", "cat", "/srv/remade/file").out == "upper\n"
    assert c.rt("state", c.id, ok=False)


def test_a_target_whose_base_is_an_overlay_too(layered, target, outlives_containers):
    """As an engine would have it: what comes becomes whiteouts and copies of the target's own overlay."""
    c = layered
    root = target.bundle("moved", c.config, c.base)
    os.rename(root, root + ".base")
    for name in (root, root + ".upper", root + ".work"):
        os.mkdir(name)
    proc.run(["mount", "-t", "overlay", "-o", f"lowerdir={root}.base,upperdir={root}.upper,workdir={root}.work", "overlay", root])
    outlives_containers.callback(proc.run, ["umount", "-l", root], ok=None)
    before = listing(root + ".base")
    c.exec("sh", "-c", CHANGE)
    expected = listing(c.rootfs)
    migrate(c, target)
    assert listing(root) == expected
    assert listing(root + ".base") == before


def test_without_a_base_it_is_refused_and_runs_on(layered, target):
    c = layered
    root = target.bundle("moved", c.config, c.base)
    shutil.rmtree(root)
    assert f"--rootfs diff needs the base of its root filesystem at '{root}'" in migrate(c, target, ok=False).err
    assert c.status == "running"


def test_a_root_filesystem_that_is_no_overlay_is_refused(running, target):
    c = running()
    target.bundle("moved", c.config, c.rootfs)
    assert "needs a root filesystem that is an overlay" in migrate(c, target, ok=False).err
    assert c.status == "running"


def test_after_a_failure_the_base_is_known_to_be_changed(layered, target):
    """It must be renewed: a second diff would not know what the first one left."""
    c = layered
    root = target.bundle("moved", c.config, c.base)
    c.exec("sh", "-c", "echo upper > /new")
    # A hook of the target fails once the files are there.
    with open(os.path.join(target.bundles, "moved/config.json")) as f:
        config = json.load(f)
    config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    with open(os.path.join(target.bundles, "moved/config.json"), "w") as f:
        json.dump(config, f)
    result = migrate(c, target, ok=False)
    assert "is changed by what came, and must be renewed" in result.out, repr(result)
    assert c.status == "running" and os.path.exists(root + "/new")
    assert "is no base any more: renew it and remove" in migrate(c, target, ok=False).err
    # As the sentence says.
    shutil.rmtree(root)
    proc.run(["cp", "-a", c.base, root])
    os.unlink(os.path.join(target.bundles, "moved/rootfs.changed"))
    del config["hooks"]
    with open(os.path.join(target.bundles, "moved/config.json"), "w") as f:
        json.dump(config, f)
    migrate(c, target)
    assert json.loads(target.rt("state", "moved").out)["status"] == "running"
