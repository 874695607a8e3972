"""Masked and read-only paths, and roots that are reached without pivot_root or are mounts themselves."""

import os

import pytest

from lib import config, proc
from lib.mounting import READ_ONLY, add, in_user_namespace, parse, source, without  # noqa: F401 (fixtures are used by their names)


def test_masked_files_are_empty_and_masked_directories_too(container):
    c = container(["sh", "-c", "cat /etc/secret; ls -A /etc/secrets; cat /proc/timer_list; "
                               "touch /etc/secrets/x"])
    c.config["linux"]["maskedPaths"] += ["/etc/secret", "/etc/secrets", "/no/such/path"]
    os.makedirs(c.host_path("/etc/secrets/inner"))
    with open(c.host_path("/etc/secret"), "w") as f:
        f.write("secret\n")
    result = c.run(ok=False)
    assert result.out == "" and READ_ONLY in result.err


def test_a_mask_does_not_trust_the_images_dev_null(container):
    c = container(["cat", "/etc/secret"])
    without(c, "/dev")
    os.symlink("/etc/hostname", c.host_path("/dev/null"))
    with open(c.host_path("/etc/secret"), "w") as f:
        f.write("secret\n")
    c.config["linux"]["maskedPaths"].append("/etc/secret")
    assert "secret" not in c.run(ok=None).out


def test_read_only_paths(container, source):
    c = container(["sh", "-c", "touch /etc/hostname && echo writable; "
                               "echo 1 >/proc/sys/net/ipv4/ip_forward; touch /data/x"])
    add(c, "/data", source, ["rbind"])
    c.config["linux"]["readonlyPaths"] += ["/data", "/no/such/path"]
    result = c.run(ok=False)
    assert "writable\n" == result.out
    assert result.err.count(READ_ONLY) >= 2


def test_masks_hold_for_exec(container):
    c = container(["sleep", "1000"])
    c.config["linux"]["maskedPaths"].append("/etc/hostname")
    c.run_detached()
    assert c.exec("cat", "/etc/hostname").out == ""
    assert READ_ONLY in c.exec("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward", ok=False).err


# The root

def test_a_read_only_root_with_writable_mounts(container, source):
    c = container(["sh", "-c", "touch /data/new && touch /x"], changes={"root": {"readonly": True}})
    add(c, "/made/data", source, ["bind"])
    add(c, "/data", source, ["bind"])
    assert READ_ONLY in c.run(ok=False).err
    assert os.path.exists(source + "/new")


@pytest.mark.parametrize("userns", [False, True])
def test_without_pivot_root(container, userns):
    c = container(["sh", "-c", "cat /../etc/hostname; ls /; cat /proc/self/mountinfo"])
    if userns:
        in_user_namespace(c)
    result = c.run("--no-pivot")
    assert result.out.startswith("container\n")
    assert c.rootfs not in [m.destination for m in parse(result.out).values()]


def test_without_a_mount_namespace_there_is_only_chroot(container):
    c = container(["sh", "-c", "ls /bin/busybox; pwd"])
    config.drop_namespace(c.config, "mount")
    c.config["mounts"] = []
    c.config["linux"]["maskedPaths"] = c.config["linux"]["readonlyPaths"] = []
    assert c.run().out == "/bin/busybox\n/\n"


def test_mounts_need_a_mount_namespace(container):
    c = container(["true"])
    config.drop_namespace(c.config, "mount")
    c.config["linux"]["maskedPaths"] = c.config["linux"]["readonlyPaths"] = []
    assert "mount namespace" in c.run(ok=False).err


def test_a_container_in_the_root_of_the_host(container):
    c = container(["/bin/sh", "-c", "cat /proc/self/mountinfo"])
    c.config["root"]["path"] = "/"
    assert parse(c.run().out)["/"].destination == "/"


def test_a_root_that_is_a_mount_point(container):
    c = container(["cat", "/etc/hostname"])
    proc.run(["mount", "--bind", c.rootfs, c.rootfs])
    try:
        assert c.run().out == "container\n"
    finally:
        proc.run(["umount", c.rootfs])


@pytest.mark.parametrize("mount, word", [
    ({"type": "tmpfs"}, "mounts[7].destination"),
    ({"destination": 5}, "mounts[7].destination"),
    ({"destination": "/x", "options": "ro"}, "mounts[7].options"),
    ({"destination": "/x", "options": [5]}, "mounts[7].options[0]"),
    ({"destination": "/x", "options": ["bind"]}, "/x"), ("x", "mounts[7]")])
def test_wrong_mounts_name_their_field(container, mount, word):
    c = container(["true"])
    c.config["mounts"].append(mount)
    assert word in c.run(ok=False).err
