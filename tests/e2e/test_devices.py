"""linux.devices: nodes and pipes in the container, and in a user namespace, where nodes can't be
made, the host's own."""

import os
import re
import stat

import pytest

from lib import config, proc

STAT = "stat -c '%n %F %a %u:%g %t:%T' "
FUSE = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}


def devices(c, *list_):
    c.config["linux"]["devices"] = list(list_)
    # Whoever may use it is the cgroup's affair, which has its own tests.
    c.config["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]


def described(c, *paths):
    c.config["process"]["args"] = ["sh", "-c", STAT + " ".join(paths)]
    return c.run().out.splitlines()


def test_devices_with_mode_and_owner(container):
    c = container()
    devices(c, {**FUSE, "fileMode": 0o640, "uid": 5, "gid": 6},
            {"path": "/dev/disk/loop", "type": "b", "major": 7, "minor": 0},
            {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 5, "fileMode": 0o600},
            {"path": "/dev/deep/pipe", "type": "p"})
    assert described(c, "/dev/fuse", "/dev/disk/loop", "/dev/unbuffered", "/dev/deep/pipe") == [
        "/dev/fuse character special file 640 5:6 a:e5",
        "/dev/disk/loop block special file 666 0:0 7:0",
        "/dev/unbuffered character special file 600 0:0 1:5",
        "/dev/deep/pipe fifo 666 0:0 0:0"]


def test_the_umask_of_the_caller_takes_nothing_away(container):
    c = container(["stat", "-c", "%a", "/dev/fuse", "/dev/null"])
    devices(c, {**FUSE, "fileMode": 0o666})
    c.write_config()
    command = " ".join(c.argv("run", "-b", c.dir, c.id))
    assert proc.run(["sh", "-c", f"umask 077; exec {command}"]).out.split() == ["666", "666"]


def test_the_type_bits_of_a_mode_are_not_minded(container):
    c = container()
    devices(c, {**FUSE, "fileMode": stat.S_IFCHR | 0o644})
    assert described(c, "/dev/fuse") == ["/dev/fuse character special file 644 0:0 a:e5"]


def test_a_usual_device_can_be_given_otherwise(container):
    c = container()
    devices(c, {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600})
    assert described(c, "/dev/zero") == ["/dev/zero character special file 600 0:0 1:5"]


def test_devices_work(container):
    c = container(["sh", "-c", "head -c 4 /dev/other-zero | wc -c; (echo through >/dev/pipe &); "
                               "cat /dev/pipe"])
    devices(c, {"path": "/dev/other-zero", "type": "c", "major": 1, "minor": 5},
            {"path": "/dev/pipe", "type": "p"})
    assert c.run().out.split() == ["4", "through"]


def test_devices_anywhere_in_the_root(container):
    c = container()
    devices(c, {**FUSE, "path": "/opt/vendor/fuse"})
    assert described(c, "/opt/vendor/fuse") == [
        "/opt/vendor/fuse character special file 666 0:0 a:e5"]
    assert described(c, "/opt/vendor/fuse")  # it is there already, and is the one


def test_something_else_in_its_place_is_an_error(container):
    c = container(["true"])
    devices(c, {**FUSE, "path": "/opt/fuse"})
    os.makedirs(c.host_path("/opt"))
    with open(c.host_path("/opt/fuse"), "w") as f:
        f.write("a file")
    assert "'/opt/fuse'" in c.run(ok=False).err


def test_a_symlink_in_its_path_stays_in_the_root(container):
    c = container()
    os.symlink("/../../../../opt", c.host_path("/link"))
    devices(c, {**FUSE, "path": "/link/fuse"})
    assert described(c, "/opt/fuse")
    assert not os.path.exists("/opt/fuse")


def test_a_device_in_proc_is_refused(container):
    c = container(["true"])
    devices(c, {**FUSE, "path": "/proc/fuse"})
    assert "/proc/fuse" in c.run(ok=False).err


def test_dev_ptmx_is_always_the_containers_own(container):
    c = container(["readlink", "/dev/ptmx"])
    devices(c, {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2})
    assert c.run().out == "pts/ptmx\n"


# In a user namespace

@pytest.fixture
def in_user_namespace(container):
    c = container()
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    return c


def test_a_user_namespace_gets_the_hosts_devices(in_user_namespace):
    c = in_user_namespace
    devices(c, {"path": "/dev/net/zero", "type": "c", "major": 1, "minor": 5},
            {"path": "/dev/pipe", "type": "p"})
    # The host has no /dev/net/zero to be shown.
    c.config["process"]["args"] = ["true"]
    assert "/dev/net/zero" in c.run(ok=False).err
    devices(c, {"path": "/dev/urandom", "type": "c", "major": 1, "minor": 9},
            {"path": "/dev/deep/pipe", "type": "p"})
    seen = described(c, "/dev/urandom", "/dev/deep/pipe", "/dev/null")
    assert [re.sub(r" \d+:\d+ ", " ", line) for line in seen] == [
        "/dev/urandom character special file 666 1:9", "/dev/deep/pipe fifo 666 0:0",
        "/dev/null character special file 666 1:3"]


def test_the_hosts_device_must_be_the_one_asked_for(in_user_namespace):
    c = in_user_namespace
    devices(c, {"path": "/dev/null", "type": "c", "major": 1, "minor": 5})
    c.config["process"]["args"] = ["true"]
    assert "/dev/null" in c.run(ok=False).err


# Wrong ones

@pytest.mark.parametrize("device, word", [
    ({"type": "c", "major": 1, "minor": 1}, "path"),
    ({"path": "/dev/x", "major": 1, "minor": 1}, "type"),
    ({"path": "/dev/x", "type": "z"}, "type"), ({"path": "/dev/x", "type": "c"}, "major"),
    ({"path": "/dev/x", "type": "c", "major": 1}, "minor"),
    ({"path": "dev/x", "type": "p"}, "path"),
    ({"path": "/dev/x", "type": "c", "major": -1, "minor": 1}, "major"),
    ({"path": "/dev/x", "type": "c", "major": 1, "minor": 1 << 20}, "minor"),
    ({"path": "/dev/x", "type": "p", "fileMode": 1 << 20}, "fileMode"),
    ({"path": "/dev/x", "type": "p", "uid": -1}, "uid")])
def test_wrong_devices_name_their_field(container, device, word):
    c = container(["true"])
    devices(c, device)
    assert f"linux.devices[0].{word}" in c.run(ok=False).err


def test_a_device_that_is_the_root_is_refused(container):
    c = container(["true"])
    devices(c, {"path": "/", "type": "p"})
    assert "'/'" in c.run(ok=False).err
