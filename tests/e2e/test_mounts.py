"""Mounts: every option, where destinations lead, propagation, masks, and what has to be refused.

What a test asks about is mostly the container's own /proc/self/mountinfo."""

import os
import socket

import pytest

from lib import config, needs, ns, proc

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


# Id-mapped mounts

MAPPING = [{"containerID": 0, "hostID": 7, "size": 1}]
OTHER = [{"containerID": 0, "hostID": 8, "size": 1}]


@pytest.fixture
def owned(work):
    """A directory with a file of root, on a file system that can be id-mapped, or a skip."""
    path = f"{work}/owned"
    os.makedirs(path)
    with open(path + "/file", "w") as f:
        f.write("hello\n")
    needs.kernel(6, 3)  # tmpfs
    return path


def test_idmap_with_its_own_mapping(container, owned):
    c = container(["stat", "-c", "%u:%g", "/data/file"])
    add(c, "/data", owned, ["bind", "idmap"], uidMappings=MAPPING, gidMappings=OTHER)
    assert c.run().out == "7:8\n"


def test_mappings_alone_ask_for_an_idmap(container, owned):
    c = container(["stat", "-c", "%u:%g", "/data/file"])
    add(c, "/data", owned, ["bind"], uidMappings=MAPPING, gidMappings=OTHER)
    assert c.run().out == "7:8\n"


def in_user_namespace(c):
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])


@pytest.mark.parametrize("option, expected", [("idmap", "0:0"), ("ridmap", "0:0"),
                                              (None, "65534:65534")])
def test_idmap_with_the_mapping_of_the_container(container, owned, option, expected):
    c = container(["stat", "-c", "%u:%g", "/data/file"])
    in_user_namespace(c)
    add(c, "/data", owned, ["bind", option] if option else ["bind"])
    assert c.run().out == expected + "\n"


@pytest.mark.parametrize("option, below", [("idmap", "65534:65534"), ("ridmap", "0:0")])
def test_ridmap_maps_what_is_mounted_below(container, source, option, below):
    needs.kernel(6, 3)
    c = container(["stat", "-c", "%u:%g", "/data/file", "/data/sub/file"])
    in_user_namespace(c)
    add(c, "/data", source, ["rbind", option])
    assert c.run().out.split() == ["0:0", below]


def test_what_is_written_through_an_idmap_belongs_to_the_hosts_id(container, owned):
    c = container(["touch", "/data/new"])
    in_user_namespace(c)
    os.chmod(owned, 0o777)
    add(c, "/data", owned, ["bind", "idmap"])
    c.run()
    assert os.stat(owned + "/new").st_uid == 0


def test_idmap_needs_mappings(refused, source):
    assert "mapping" in refused("/data", source, ["bind", "idmap"])


def test_idmap_is_for_binds(refused, source):
    assert "only bind mounts" in refused("/data", source, ["idmap"], fstype="tmpfs",
                                         uidMappings=MAPPING, gidMappings=MAPPING)


def test_one_mapping_without_the_other_is_named(refused, source):
    assert "gidMappings" in refused("/data", source, ["bind"], uidMappings=MAPPING)


# User namespaces

def test_the_usual_mounts_in_a_user_namespace(container):
    c = container(["sh", "-c", "ls -ln /dev/null; echo hi >/dev/null; cat /proc/self/mountinfo"])
    in_user_namespace(c)
    out = c.run().out
    assert out.startswith("crw-rw-rw-")
    assert {"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"} <= set(parse(out))


def test_a_source_that_the_containers_root_may_not_reach(container, work):
    os.makedirs(f"{work}/closed/in")
    with open(f"{work}/closed/in/file", "w") as f:
        f.write("hello\n")
    os.chmod(f"{work}/closed", 0)
    c = container(["cat", "/data/file"])
    in_user_namespace(c)
    add(c, "/data", f"{work}/closed/in", ["bind", "ro"])
    assert c.run().out == "hello\n"


@pytest.mark.parametrize("shared", [["network"], ["ipc", "pid"], ["cgroup"]])
def test_mounts_that_belong_to_namespaces_the_container_does_not_own(container, shared):
    c = container(["cat", "/proc/self/mountinfo"])
    in_user_namespace(c)
    for kind in shared:
        config.drop_namespace(c.config, kind)
    if "ipc" in shared and not os.path.exists("/dev/mqueue"):
        without(c, "/dev/mqueue")  # the host's would be shown, but there is none
    # A procfs can't be mounted for somebody else's processes; engines bind it then.
    if "pid" in shared:
        without(c, "/proc")
        add(c, "/proc", "/proc", ["rbind"])
    assert "/sys" in parse(c.run().out)


# Propagation

@pytest.fixture
def shared_host(outlives_containers):
    """A mount namespace in which everything is shared, as on a host with systemd."""
    space = outlives_containers.enter_context(ns.Namespaces("mount"))
    space.run(["mount", "--make-rshared", "/"])
    return space


@pytest.mark.parametrize("propagation, expected", [
    ("shared", "shared"), ("rshared", "shared"), ("slave", "master"), ("rslave", "master"),
    ("private", ""), ("rprivate", ""), ("unbindable", "unbindable"),
    ("runbindable", "unbindable"), (None, "")])
def test_propagation_of_the_root(container, shared_host, propagation, expected):
    c = container(["cat", "/proc/self/mountinfo"], enter=shared_host.enter)
    if propagation:
        c.config["linux"]["rootfsPropagation"] = propagation
    seen = parse(c.run().out)["/"].propagation
    if propagation is None:
        assert "shared" not in seen
    else:
        assert expected in seen and bool(seen) == bool(expected)


@pytest.mark.parametrize("option, expected", [
    ("shared", "shared"), ("slave", ""), ("private", ""), ("unbindable", "unbindable"),
    ("rshared", "shared"), ("rprivate", ""), ("runbindable", "unbindable")])
def test_propagation_of_a_mount(mounted, source, option, expected):
    seen = mounted("/data", source, ["rbind", option])
    assert expected in seen["/data"].propagation
    assert bool(seen["/data"].propagation) == bool(expected)
    below = seen["/data/sub"].propagation
    assert (expected in below) if option.startswith("r") else not below or option == "slave"


def test_a_slave_gets_what_the_host_mounts_later(container, shared_host, source):
    c = container(["sh", "-c", "until grep -q /data/late /proc/self/mountinfo; do sleep 0.02; "
                               "done; echo came"], enter=shared_host.enter)
    os.makedirs(source + "/late")
    add(c, "/data", source, ["rbind", "rslave"])
    c.config["linux"]["rootfsPropagation"] = "rslave"
    c.run_detached()
    shared_host.run(["mount", "-t", "tmpfs", "late", source + "/late"])
    c.wait_output("came")


def test_a_private_mount_gets_nothing(container, shared_host, source):
    c = container(["sleep", "1000"], enter=shared_host.enter)
    os.makedirs(source + "/late")
    add(c, "/data", source, ["rbind", "rprivate"])
    c.run_detached()
    shared_host.run(["mount", "-t", "tmpfs", "late", source + "/late"])
    assert "/data/late" not in c.exec("cat", "/proc/self/mountinfo").out


def test_what_a_shared_volume_gets_comes_to_the_host(container, shared_host, source):
    c = container(["mount", "-t", "tmpfs", "late", "/data/late"], enter=shared_host.enter)
    os.makedirs(source + "/late")
    add(c, "/data", source, ["rbind", "rshared"])
    c.config["linux"]["rootfsPropagation"] = "rshared"
    config.set_capabilities(c.config, ["CAP_SYS_ADMIN"])
    c.run()
    assert source + "/late" in shared_host.run(["cat", "/proc/self/mountinfo"]).out
    shared_host.run(["umount", source + "/late"])


def test_nothing_of_a_container_is_mounted_on_a_shared_host(container, shared_host):
    c = container(["sleep", "1000"], enter=shared_host.enter)
    c.config["linux"]["rootfsPropagation"] = "rshared"
    before = len(shared_host.run(["cat", "/proc/self/mountinfo"]).out.splitlines())
    c.run_detached()
    inside = shared_host.run(["cat", "/proc/self/mountinfo"]).out
    assert "/proc" not in [m.destination for m in parse(inside).values()
                           if m.destination.startswith(c.rootfs)]
    c.delete("--force")
    assert len(shared_host.run(["cat", "/proc/self/mountinfo"]).out.splitlines()) == before


# Masks

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
