"""Overlays, where destinations of mounts lead, and what stands at /proc, /dev, /sys and the cgroups."""

import os

import pytest

from lib import config
from lib.mounting import READ_ONLY, add, mounted, parse, refused, source, without  # noqa: F401 (fixtures are used by their names)


def test_an_overlay(mounted, work, source):
    lower = f"{work}/lower"
    os.makedirs(lower)
    with open(lower + "/other", "w") as f:
        f.write("other\n")
    seen = mounted("/data", "overlay", [f"lowerdir={source}:{lower}"], fstype="overlay",
                   script="cat /data/file /data/other")
    assert seen["text"] == "hello\nother" and seen["/data"].fstype == "overlay"


def test_an_overlay_of_many_layers(mounted, work):
    """More than the 256 bytes fsconfig takes in one string."""
    layers = []
    for i in range(8):
        layers.append(f"{work}/layer{i}" + "/." * 50)
        os.makedirs(layers[-1])
        with open(f"{work}/layer{i}/f{i}", "w"):
            pass
    seen = mounted("/data", "overlay", ["lowerdir=" + ":".join(layers), "ro", "nosuid"],
                   fstype="overlay", script="ls /data")
    assert seen["text"].split() == [f"f{i}" for i in range(8)]
    assert {"ro", "nosuid"} <= seen["/data"].options


# Destinations

def test_destinations_are_made_with_their_parents(container, source):
    c = container(["cat", "/new/deep/dir/file"])
    add(c, "/new/deep/dir", source, ["bind"])
    assert c.run().out == "hello\n"
    assert os.path.isdir(c.host_path("/new/deep/dir"))


def test_a_relative_destination_starts_at_the_root_with_a_warning(container, source):
    c = container(["cat", "/data/file"])
    add(c, "data", source, ["bind"])
    result = c.run()
    assert result.out == "hello\n" and "mounts[" in result.err and "destination" in result.err


def test_odd_destinations_are_cleaned(mounted, source):
    assert "/test/test" in mounted("/test//test/./x/..", source, ["rbind"])


def test_symlinks_in_a_destination_stay_in_the_root(container, source):
    c = container(["cat", "/real/file"])
    os.makedirs(c.host_path("/real"))
    os.symlink("/real", c.host_path("/link"))
    add(c, "/link", source, ["bind"])
    assert c.run().out == "hello\n"


def test_a_symlink_that_leads_out_leads_to_the_root(container, source):
    c = container(["ls", "/escaped/there"])
    os.symlink("../../../../escaped/there", c.host_path("/link"))
    add(c, "/link", source, ["bind"])
    assert "file" in c.run().out.split()
    assert not os.path.exists("/escaped")


def test_a_file_on_a_directory_is_an_error(refused, source):
    assert "/etc" in refused("/etc", source + "/file", ["bind"])


def test_the_root_itself_is_no_destination(refused):
    assert "/" in refused("/", "tmpfs", [], fstype="tmpfs")


def test_order_decides_what_covers_what(container, source):
    c = container(["sh", "-c", "ls /data; cat /data/sub2/file"])
    add(c, "/data", "tmpfs", [], fstype="tmpfs")
    add(c, "/data/sub2", source, ["bind"])
    assert c.run().out == "sub2\nhello\n"
    c.config["mounts"].reverse()


# /proc, /dev, /sys

@pytest.mark.parametrize("words, word", [
    (("/proc/sys", "{source}", ["bind"]), "/proc"),
    (("/proc", "tmpfs", [], "tmpfs"), "/proc"),
    (("/proc", "{source}", ["bind"]), "/proc")])
def test_nothing_but_a_procfs_on_proc(refused, source, words, word):
    destination, what, options, *fstype = words
    assert word in refused(destination, what.format(source=source), options,
                           fstype=fstype[0] if fstype else None)


def test_files_of_lxcfs_may_go_over_proc(mounted, source):
    assert mounted("/proc/uptime", source + "/file", ["bind"],
                   script="cat /proc/uptime")["text"] == "hello"


def test_the_hosts_proc_may_be_bound(container):
    c = container(["cat", "/proc/self/mountinfo"])
    without(c, "/proc")
    c.config["linux"]["maskedPaths"] = c.config["linux"]["readonlyPaths"] = []
    add(c, "/proc", "/proc", ["rbind"])
    config.drop_namespace(c.config, "pid")
    assert parse(c.run().out)["/proc"].fstype == "proc"


def test_dev_has_what_the_specification_wants(container):
    c = container(["sh", "-c", "cd /dev; for d in null zero full random urandom tty; do "
                               "stat -c '%n %a %t:%T' $d; done; for l in fd stdin stdout stderr "
                               "ptmx; do readlink $l; done; ls; echo hi >null"])
    lines = c.run().out.splitlines()
    assert lines[:6] == ["null 666 1:3", "zero 666 1:5", "full 666 1:7", "random 666 1:8",
                         "urandom 666 1:9", "tty 666 5:0"]
    assert lines[6:11] == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1",
                           "/proc/self/fd/2", "pts/ptmx"]
    assert set(lines[11:]) == {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm",
                               "stderr", "stdin", "stdout", "tty", "urandom", "zero"}


def test_without_a_mount_on_dev_the_nodes_are_made_in_the_root(container):
    c = container(["sh", "-c", "echo hi >/dev/null; stat -c %t:%T /dev/null"])
    without(c, "/dev")
    assert c.run().out == "1:3\n"


def test_the_hosts_dev_may_be_bound_and_is_left_alone(container):
    c = container(["sh", "-c", "ls /dev/null; cat /proc/self/mountinfo"])
    without(c, "/dev")
    add(c, "/dev", "/dev", ["rbind", "ro"])
    before = sorted(os.listdir("/dev"))
    out = c.run().out
    assert out.startswith("/dev/null\n") and "ro" in parse(out)["/dev"].options
    assert sorted(os.listdir("/dev")) == before


def test_sys_is_that_of_the_network_namespace(container):
    c = container(["ls", "/sys/class/net"])
    assert c.run().out == "lo\n"


def test_a_mount_of_cgroups_shows_the_containers_own(container):
    c = container(["sh", "-c", "cat /proc/self/mountinfo; touch /sys/fs/cgroup/x"])
    result = c.run(ok=False)
    assert READ_ONLY in result.err
    seen = parse(result.out)
    below = [m for m in seen.values() if m.fstype in ("cgroup", "cgroup2")]
    assert below and all(m.root == "/" and "ro" in m.options for m in below)


def test_a_mount_of_cgroups_without_their_namespace(container):
    c = container(["cat", "/proc/self/mountinfo"])
    config.drop_namespace(c.config, "cgroup")
    below = [m for m in parse(c.run().out).values() if m.fstype in ("cgroup", "cgroup2")]
    # Below what we see ourselves, which may be a cgroup of the host's.
    assert below and all(m.root.endswith("/" + c.id) for m in below)


def test_a_mount_of_cgroups_where_there_is_only_v2(container, cgroup2_only):
    for with_namespace in (True, False):
        c = container(["cat", "/proc/self/mountinfo"], enter=cgroup2_only.enter)
        if not with_namespace:
            config.drop_namespace(c.config, "cgroup")
        seen = parse(c.run().out)["/sys/fs/cgroup"]
        assert seen.fstype == "cgroup2"
        assert {"ro", "nosuid", "nodev", "noexec"} <= seen.options
