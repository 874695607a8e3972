"""Mounts: binds and file systems, each with every option, and what has to be refused.

What a test asks about is mostly the container's own /proc/self/mountinfo."""

import os

import pytest

from lib import proc
from lib.mounting import READ_ONLY, add, mounted, parse, refused, source  # noqa: F401 (fixtures are used by their names)

# Binds

def test_a_bind_shows_the_source(mounted, source):
    seen = mounted("/data", source, ["bind"], script="cat /data/file; ls /data/sub")
    assert seen["text"] == "hello"  # not what is mounted below the source
    assert "rw" in seen["/data"].options and "/data/sub" not in seen


def test_a_recursive_bind_shows_what_is_mounted_below_too(mounted, source):
    seen = mounted("/data", source, ["rbind"], script="cat /data/sub/file")
    assert seen["text"] == "hello" and "/data/sub" in seen


def test_a_bind_of_a_file(mounted, source):
    seen = mounted("/etc/added", source + "/file", ["bind", "nosuid", "noexec"],
                   script="cat /etc/added")
    assert seen["text"] == "hello"
    assert {"nosuid", "noexec"} <= seen["/etc/added"].options


def test_a_bind_of_a_fifo_and_of_a_socket(mounted, source):
    assert mounted("/made/fifo", source + "/fifo", ["bind", "rro"],
                   script="test -p /made/fifo && echo yes")["text"] == "yes"
    assert mounted("/made/socket", source + "/socket", ["bind"],
                   script="test -S /made/socket && echo yes")["text"] == "yes"


def test_the_type_bind_is_a_bind_even_without_the_option(mounted, source):
    assert mounted("/data", source, [], fstype="bind", script="cat /data/file")["text"] == "hello"


def test_the_option_bind_wins_over_any_type(mounted, source):
    assert mounted("/data", source, ["rbind"], fstype="none",
                   script="cat /data/file")["text"] == "hello"


def test_a_relative_source_starts_at_the_bundle(container):
    c = container(["cat", "/data/file"])
    os.makedirs(c.dir + "/beside")
    with open(c.dir + "/beside/file", "w") as f:
        f.write("beside\n")
    add(c, "/data", "beside", ["bind"])
    assert c.run().out == "beside\n"


def test_a_symlink_as_source_is_followed(mounted, work, source):
    assert mounted("/data", f"{work}/to-source", ["bind"],
                   script="cat /data/file")["text"] == "hello"


def test_a_symlink_as_source_is_itself_bound_where_asked(container, work, source):
    c = container(["readlink", "/data"])
    add(c, "/data", f"{work}/to-source", ["bind", "src-nofollow"])
    assert c.run().out == "source\n"


def test_a_symlink_as_destination_is_itself_covered_where_asked(container, source):
    c = container(["cat", "/link"])
    os.symlink("/etc/hostname", c.host_path("/link"))
    add(c, "/link", source + "/file", ["bind", "dest-nofollow"])
    assert c.run().out == "hello\n"
    c.config["process"]["args"] = ["cat", "/etc/hostname"]
    assert c.run().out == "container\n"


def test_copy_symlink_makes_the_link(container, source):
    c = container(["readlink", "/a/b/link"])
    add(c, "/a/b/link", source + "/link", ["rbind", "copy-symlink"])
    assert c.run().out == "nowhere\n"
    assert c.run().out == "nowhere\n"  # it is there already


def test_a_missing_source_is_named(refused, source):
    assert source + "/missing" in refused("/data", source + "/missing", ["bind"])


@pytest.mark.parametrize("option, recursive, writable_below", [
    ("ro", False, True), ("rro", True, False)])
def test_read_only_and_recursively_so(container, source, option, recursive, writable_below):
    c = container(["sh", "-c", "touch /data/x; touch /data/sub/x && echo below"])
    add(c, "/data", source, ["rbind", option])
    result = c.run(ok=None)
    assert "/data/x: " + READ_ONLY in result.err
    assert (result.out == "below\n") == writable_below
    assert not os.path.exists(source + "/x")


ATTRIBUTES = ["nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow", "ro"]


@pytest.mark.parametrize("option", ATTRIBUTES)
def test_attributes_of_binds(mounted, source, option):
    seen = mounted("/data", source, ["rbind", option])
    assert option in seen["/data"].options
    if option != "relatime":
        assert option not in seen["/data/sub"].options


@pytest.mark.parametrize("option", ATTRIBUTES)
def test_recursive_attributes_of_binds(mounted, source, option):
    seen = mounted("/data", source, ["rbind", "r" + option])
    assert option in seen["/data"].options and option in seen["/data/sub"].options


@pytest.mark.parametrize("option, cleared", [
    ("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"), ("atime", "noatime"),
    ("diratime", "nodiratime"), ("symfollow", "nosymfollow"), ("rw", "ro"),
    ("strictatime", "relatime")])
def test_attributes_can_be_cleared(mounted, source, option, cleared):
    """What the source has is not asked for again by the option's opposite."""
    proc.run(["mount", "-o", f"remount,bind,{cleared}", source + "/sub"])
    seen = mounted("/data", source + "/sub", ["bind", option])
    assert cleared not in seen["/data"].options
    seen = mounted("/data", source, ["rbind", "r" + option])
    assert cleared not in seen["/data/sub"].options


def test_the_last_of_two_that_contradict_each_other_counts(mounted, source):
    assert "ro" in mounted("/data", source, ["bind", "rw", "ro"])["/data"].options
    assert "rw" in mounted("/data", source, ["bind", "ro", "rw"])["/data"].options


def test_recursive_and_plain_attributes_together(mounted, source):
    seen = mounted("/data", source, ["rbind", "rnosuid", "rnoatime", "nodev", "strictatime"])
    assert {"nosuid", "nodev"} <= seen["/data"].options
    assert {"nosuid", "noatime"} <= seen["/data/sub"].options
    assert "noatime" not in seen["/data"].options and "nodev" not in seen["/data/sub"].options


def test_a_remount_changes_a_bind(container, source):
    c = container(["touch", "/data/x"])
    add(c, "/data", source, ["bind"])
    add(c, "/data", source, ["bind", "remount", "ro"])
    assert READ_ONLY in c.run(ok=False).err


# Other file systems

def test_a_tmpfs_with_its_own_options(mounted):
    seen = mounted("/data", "tmpfs", ["noexec", "mode=1711,size=1m"], fstype="tmpfs",
                   script="stat -c %a /data")
    assert seen["text"] == "1711"
    assert seen["/data"].fstype == "tmpfs" and "noexec" in seen["/data"].options
    assert "size=1024k" in seen["/data"].superblock


def test_a_tmpfs_takes_the_mode_of_the_directory_it_covers(container):
    c = container(["stat", "-c", "%a", "/mnt"])
    os.chmod(c.host_path("/mnt"), 0o712)
    add(c, "/mnt", "tmpfs", [], fstype="tmpfs")
    assert c.run().out == "712\n"


@pytest.mark.parametrize("word", ["sync", "dirsync", "lazytime", "ro"])
def test_options_of_the_superblock(mounted, word):
    seen = mounted("/data", "tmpfs", [word], fstype="tmpfs")["/data"]
    assert word in seen.superblock | seen.options


@pytest.mark.parametrize("options", [
    ["async", "nolazytime", "defaults", "silent", "loud", "rw"], ["mand"], ["nomand"],
    ["iversion"], ["noiversion"], ["acl"], ["noacl"], ["norelatime"], ["nostrictatime"]])
def test_options_that_ask_for_nothing_special_are_taken(mounted, options):
    assert mounted("/data", "tmpfs", options, fstype="tmpfs")["/data"].fstype == "tmpfs"


def test_a_read_only_tmpfs_can_hold_further_mounts(container, source):
    c = container(["sh", "-c", "cat /data/in/file; touch /data/x"])
    add(c, "/data", "tmpfs", ["ro"], fstype="tmpfs")
    add(c, "/data/in", source, ["bind"])
    result = c.run(ok=False)
    assert result.out == "hello\n" and READ_ONLY in result.err


def test_options_the_file_system_does_not_know_are_named(refused):
    assert "bogus" in refused("/data", "tmpfs", ["bogus=1"], fstype="tmpfs")


def test_a_file_system_that_does_not_exist_is_named(refused):
    assert "nosuchfs" in refused("/data", "x", [], fstype="nosuchfs")


def test_a_remount_of_a_tmpfs(container):
    c = container(["cat", "/proc/self/mountinfo"])
    add(c, "/data", "tmpfs", [], fstype="tmpfs")
    add(c, "/data", "tmpfs", ["remount", "size=2m", "nosuid"], fstype="tmpfs")
    seen = parse(c.run().out)["/data"]
    assert "nosuid" in seen.options and "size=2048k" in seen.superblock


def test_tmpcopyup_takes_the_content_along(container):
    c = container(["sh", "-c", "cd /mnt; cat d/f; readlink ln; stat -c '%a %u %g' d/f; test -p ff;"
                               "touch new"])
    os.makedirs(c.host_path("/mnt/d"))
    with open(c.host_path("/mnt/d/f"), "w") as f:
        f.write("copied\n")
    os.chown(c.host_path("/mnt/d/f"), 5, 6)
    os.chmod(c.host_path("/mnt/d/f"), 0o4755)
    os.symlink("d/f", c.host_path("/mnt/ln"))
    os.mkfifo(c.host_path("/mnt/ff"))
    add(c, "/mnt", "tmpfs", ["tmpcopyup"], fstype="tmpfs")
    assert c.run().out.splitlines() == ["copied", "d/f", "4755 5 6"]
    assert not os.path.exists(c.host_path("/mnt/new"))


def test_tmpcopyup_and_read_only(container):
    c = container(["sh", "-c", "cat /mnt/f; touch /mnt/x"])
    with open(c.host_path("/mnt/f"), "w") as f:
        f.write("copied\n")
    add(c, "/mnt", "tmpfs", ["tmpcopyup", "ro"], fstype="tmpfs")
    result = c.run(ok=False)
    assert result.out == "copied\n" and READ_ONLY in result.err


@pytest.mark.parametrize("options, word", [
    (["tmpcopyup", "bind"], "tmpcopyup"), (["copy-symlink"], "copy-symlink"),
    (["src-nofollow"], "src-nofollow"), (["bind", "idmap", "remount"], "idmap")])
def test_options_that_contradict_each_other_are_named(refused, source, options, word):
    err = refused("/data", source, options, fstype="tmpfs" if "bind" not in options else None)
    assert word in err and "/data" in err
