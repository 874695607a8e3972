"""A root filesystem whose files keep their owners on disk, and have the container's inside: a mount of it at "/" with
id mappings."""

import json
import os
import stat

import pytest

from lib import config, container as containers, frozen, needs, proc

FIRST = 100000
SLEEP = ["sleep", "1000"]


@pytest.fixture(autouse=True)
def can_map():
    needs.kernel(6, 3)  # tmpfs


def root_mount(**more):
    return {"destination": "/", "type": "bind", "source": "rootfs", "options": ["rbind", "idmap"], **more}


@pytest.fixture
def mapped(container):
    """container() in a user namespace, with a root filesystem that belongs to the host's root."""
    def make(*args, mount=None, **how):
        c = container(*args, **how)
        config.use_user_namespace(c.config, FIRST)
        config.set_capabilities(c.config, config.ENGINE_CAPABILITIES)
        c.config["mounts"].insert(0, mount or root_mount())
        return c
    return make


def owner(path):
    st = os.lstat(path)
    return st.st_uid, st.st_gid


def owners(tree):
    return {os.path.relpath(os.path.join(at, name), tree): owner(os.path.join(at, name))
            for at, dirs, files in os.walk(tree) for name in dirs + files}


def test_owners_inside_and_on_disk(mapped):
    c = mapped(["sh", "-c", "stat -c %u:%g / /bin /bin/busybox; touch /new; mkdir /dir; chown 33:44 /dir; id -u; sleep 1000"])
    before = owners(c.rootfs)
    c.run_detached()
    proc.eventually(lambda: c.output.count("\n") == 4)
    assert c.output.split() == ["0:0"] * 3 + ["0"]
    assert os.stat(f"/proc/{c.pid}").st_uid == FIRST
    after = owners(c.rootfs)
    assert {p: o for p, o in after.items() if p in before} == before
    assert after["new"] == (0, 0) and after["dir"] == (33, 44)
    assert c.exec("stat", "-c", "%u:%g", "/dir").out == "33:44\n"
    assert c.exec("touch", "/by-www", flags=["--user", "33:33"], ok=False)
    c.exec("sh", "-c", "chmod 777 /dir")
    c.exec("touch", "/dir/by-www", flags=["--user", "33:33"])
    assert owner(c.host_path("/dir/by-www")) == (33, 33)


def test_checkpoint_and_restore(mapped):
    needs.criu()
    c = mapped(["sh", "-c", "echo kept > /tmp/kept; chown 5:6 /tmp/kept; exec sleep 1000"])
    os.makedirs(c.host_path("/tmp"), exist_ok=True)
    c.run_detached()
    proc.eventually(lambda: os.path.exists(c.host_path("/tmp/kept")))
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert c.exec("stat", "-c", "%u:%g", "/", "/bin/busybox", "/tmp/kept").out.split() == ["0:0", "0:0", "5:6"]
        c.exec("touch", f"/tmp/after{turn}")
        assert owner(c.host_path(f"/tmp/after{turn}")) == (0, 0)
        assert owner(c.host_path("/tmp/kept")) == (5, 6)


def test_a_mapped_volume_is_mapped_again_after_a_restore(mapped, work):
    needs.criu()
    os.mkdir(work + "/data")
    with open(work + "/data/file", "w") as f:
        f.write("of root\n")
    c = mapped(SLEEP)
    c.config["mounts"].append({"destination": "/data", "type": "bind", "source": work + "/data", "options": ["bind", "idmap"]})
    c.run_detached()
    for turn in range(2):
        assert c.exec("stat", "-c", "%u:%g", "/data/file", "/bin/busybox").out.split() == ["0:0", "0:0"]
        c.exec("touch", f"/data/new{turn}")
        assert owner(f"{work}/data/new{turn}") == (0, 0)
        frozen.around(c, name=f"images{turn}")


def test_the_option_alone_decides_how_deep(mapped, work):
    """rbind brings what is mounted below; idmap maps the root, ridmap what is below, too."""
    c = mapped(["stat", "-c", "%u:%g", "/", "/below"])
    os.makedirs(c.host_path("/below"))
    proc.run(["mount", "-t", "tmpfs", "-o", "uid=0,gid=0,mode=755", "tmpfs", c.host_path("/below")])
    try:
        assert c.run().out.split() == ["0:0", "65534:65534"]
        c.config["mounts"][0]["options"] = ["rbind", "ridmap"]
        assert c.run().out.split() == ["0:0", "0:0"]
    finally:
        proc.run(["umount", c.host_path("/below")])


def test_maps_of_the_mounts_own_need_no_user_namespace(container):
    c = container(["sh", "-c", "stat -c %u:%g /bin/busybox; touch /new"])
    config.set_capabilities(c.config, [*config.ENGINE_CAPABILITIES, "CAP_SETFCAP"])
    one = [{"containerID": 0, "hostID": 7, "size": 65536}]
    c.config["process"]["user"] = {"uid": 7, "gid": 7}
    c.config["mounts"].insert(0, root_mount(uidMappings=one, gidMappings=one))
    assert c.run().out == "7:7\n"
    assert owner(c.host_path("/new")) == (0, 0)


def test_the_root_can_be_read_only_too(mapped):
    for change in ({"root": {"path": "rootfs", "readonly": True}}, {}):
        c = mapped(["touch", "/new"], changes=change)
        if not change:
            c.config["mounts"][0]["options"].append("ro")
        assert "Read-only" in c.run(ok=False).err


def test_a_namespace_that_is_joined_gives_its_maps(mapped):
    first = mapped(SLEEP)
    first.run_detached()
    second = mapped(["sh", "-c", "stat -c %u:%g /bin/busybox; touch /new"])
    config.set_namespace(second.config, "user", f"/proc/{first.pid}/ns/user")
    for key in ("uidMappings", "gidMappings"):
        del second.config["linux"][key]
    assert second.run().out == "0:0\n"
    assert owner(second.host_path("/new")) == (0, 0)


@pytest.mark.parametrize("mount, words", [
    (root_mount(options=["bind"]), "only of a bind mount of the root filesystem itself, with id mappings"),
    (root_mount(source="."), "only the root filesystem itself"),
    (root_mount(source="nowhere"), "no such file"),
    (root_mount(options=["bind", "idmap", "rprivate"]), "'linux.rootfsPropagation'"),
    (root_mount(type="tmpfs", options=["idmap"]), "only bind mounts can have id mappings"),
    (root_mount(uidMappings=[{"containerID": 0, "hostID": 7, "size": 1}]), "is required where there are uidMappings")])
def test_what_cannot_be_mounted_as_the_root(mapped, mount, words):
    err = mapped(SLEEP, mount=mount).run(ok=False).err
    assert words in err and err.count("\n") == 1, err


def test_it_must_come_first(mapped):
    c = mapped(SLEEP)
    c.config["mounts"].append(c.config["mounts"].pop(0))
    assert "must come first" in c.run(ok=False).err


def test_without_maps_there_is_nothing_to_map_with(container):
    c = container(SLEEP)
    c.config["mounts"].insert(0, root_mount())
    assert "'idmap' needs mappings" in c.run(ok=False).err


@pytest.fixture
def on_overlay(work):
    """A file system that can't: the kernel has no other ids for an overlay."""
    done = []

    def make(rootfs):
        for name in ("upper", "work"):
            os.mkdir(f"{work}/{name}")
        proc.run(["mount", "-t", "overlay", "-o", f"lowerdir={rootfs},upperdir={work}/upper,workdir={work}/work", "overlay", rootfs])
        done.append(rootfs)
    yield make
    for path in done:
        proc.run(["umount", path])


def test_a_file_system_that_cannot_is_refused(mapped, on_overlay):
    c = mapped(SLEEP)
    on_overlay(c.rootfs)
    err = c.run(ok=False).err
    assert "the file system can't be mounted with other ids" in err and "rootfs" in err and err.count("\n") == 1, err
    # Before anybody tries.
    told = proc.run([containers.runtime(), "spec", "validate", "--host", c.dir], ok=False).out
    assert told == "'mounts[0].source' is 'rootfs', on a file system that can't be mounted with other ids (this machine)\n"


@pytest.mark.parametrize("source, options", [("data", ["rbind"]), ("data/below", ["bind"]), (".", ["rbind"])])
def test_volumes_of_one_source_with_other_maps_cannot_be_restored(mapped, work, source, options):
    """CRIU takes volumes by their paths on the host: one path can't be two things. Said before anything is frozen, and not at the restore only."""
    needs.criu()
    os.makedirs(work + "/data/below")
    c = mapped(SLEEP)
    c.config["mounts"] += [{"destination": "/data", "type": "bind", "source": work + "/data", "options": ["bind", "idmap"]},
                           {"destination": "/plain", "type": "bind", "source": os.path.normpath(f"{work}/{source}"), "options": options}]
    c.run_detached()
    err = c.rt("checkpoint", "--image-path", f"{c.dir}/images", c.id, ok=False).err
    assert "of one source" in err and "'/plain'" in err and err.count("\n") == 1 and c.status == "running"


def test_volumes_of_one_source_with_the_same_maps(mapped, work):
    needs.criu()
    os.mkdir(work + "/data")
    c = mapped(SLEEP)
    c.config["mounts"] += [{"destination": place, "type": "bind", "source": work + "/data", "options": ["bind", "idmap", mode]}
                           for place, mode in (("/one", "rw"), ("/two", "ro"))]
    c.run_detached()
    frozen.around(c)
    assert c.exec("stat", "-c", "%u", "/one", "/two").out.split() == ["0", "0"]
    c.exec("touch", "/one/new")
    assert "Read-only" in c.exec("touch", "/two/new", ok=False).err


# rt bundle shift --idmap

SHIFT = ["--from", "0:65536", "--to", "100000:65536"]


def shift(*words, **how):
    return proc.run([containers.runtime(), "bundle", "shift", *words], **how)


@pytest.fixture
def bundle(container):
    """One that is not mapped yet, with its configuration on the disk."""
    c = container(["sh", "-c", "stat -c %u:%g /bin/busybox /suid; touch /new; cat /proc/self/uid_map; sleep 1000"])
    with open(c.host_path("/suid"), "w") as f:
        f.write("x")
    os.chown(c.host_path("/suid"), 12, 13)
    os.chmod(c.host_path("/suid"), 0o4755)
    os.chmod(c.dir, 0o700)
    c.write_config()
    return c


def load(c):
    with open(f"{c.dir}/config.json") as f:
        c.config = json.load(f)
    return c.config


def test_shift_without_a_change_of_the_files(bundle):
    c = bundle
    before, was = owners(c.rootfs), load(c)
    told = shift(c.dir, *SHIFT, "--idmap", "--check").out
    assert "12:13 -> 100012:100013" in told and "to be mounted with other ids" in told and load(c) == was

    assert "none changed" in shift(c.dir, *SHIFT, "--idmap").out
    assert owners(c.rootfs) == before
    load(c)
    assert c.config["mounts"][0] == root_mount()
    assert proc.run([containers.runtime(), "spec", "validate", "--host", c.dir], ok=None).code == 0
    c.run_detached()
    proc.eventually(lambda: c.output.count("\n") == 3)
    assert c.output.split() == ["0:0", "12:13", "0", "100000", "65536"]
    proc.eventually(lambda: os.path.exists(c.host_path("/new")))
    assert owner(c.host_path("/new")) == (0, 0)
    c.kill()
    c.wait_stopped()
    c.delete()

    assert shift(c.dir, *SHIFT, "--idmap").out == "these ids were mapped before\n"
    assert "as they are again" in shift(c.dir, "--undo").out
    assert load(c) == was and stat.S_IMODE(os.stat(c.dir).st_mode) == 0o700 and os.stat(c.dir).st_gid == 0
    assert not [name for name in os.listdir(c.dir) if "rt-shift" in name]
    assert "no shift of it is known" in shift(c.dir, "--undo", ok=False).err


def test_shift_with_idmap_is_refused_where_it_would_not_work(bundle, on_overlay):
    c = bundle
    was = load(c)
    with open(c.host_path("/far"), "w"):
        os.chown(c.host_path("/far"), 70000, 0)
    assert "owner 70000 is in none of the ranges" in shift(c.dir, *SHIFT, "--idmap", ok=False).err
    os.unlink(c.host_path("/far"))
    assert load(c) == was and "--idmap" in shift(c.dir, "--undo", "--idmap", ok=False).err

    shift(c.dir, *SHIFT)
    assert "have other ids already" in shift(c.dir, *SHIFT, "--idmap", ok=False).err
    shift(c.dir, "--undo")
    shift(c.dir, *SHIFT, "--idmap")
    assert "mounted with other ids already" in shift(c.dir, *SHIFT, ok=False).err
    assert "mounted with other ids already" in shift(c.dir, "--from", "0:10", "--to", "500:10", "--keep-others", "--idmap", ok=False).err
    shift(c.dir, "--undo")

    on_overlay(c.rootfs)
    err = shift(c.dir, *SHIFT, "--idmap", ok=False).err
    assert "the file system can't be mounted with other ids" in err and err.count("\n") == 1 and load(c) == was
    assert not [name for name in os.listdir(c.dir) if "rt-shift" in name]


def test_a_tree_without_a_config_cannot_be_mapped(work):
    os.mkdir(work + "/tree")
    err = shift(work + "/tree", *SHIFT, "--idmap", ok=False).err
    assert "config.json" in err and os.listdir(work) == ["tree"]
