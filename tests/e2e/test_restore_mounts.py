"""Mounts after a restore: what is the host's is the host's again, what is the container's has its content."""

import os

import pytest

from lib import config, frozen, needs, proc

SLEEP = ["sleep", "1000"]


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


def table(c):
    """What is mounted where and how, seen from inside; device numbers and ids are new each time."""
    found = []
    with open(f"/proc/{c.pid}/mountinfo") as f:
        for line in f:
            before, after = line.rstrip("\n").split(" - ")
            fields = before.split()
            tags = [tag.split(":")[0] for tag in fields[6:]]
            found.append((fields[4], fields[5], after.split()[0], tags))
    return sorted(found)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def with_mounts(c, *mounts):
    c.config["mounts"].extend(mounts)
    c.run_detached()
    return c


def test_binds_of_every_kind(container, work):
    write(f"{work}/dir/file", "in a directory")
    write(f"{work}/single", "a file")
    write(f"{work}/ro/file", "read only")
    write(f"{work}/below/file", "below")
    os.makedirs(f"{work}/dir/mnt")
    c = container(SLEEP)
    os.makedirs(c.host_path("/real/place"))
    os.symlink("/real/place", c.host_path("/link"))
    with_mounts(c, config.bind(f"{work}/dir", "/data"), config.bind(f"{work}/single", "/etc/single"),
                config.bind(f"{work}/ro", "/ro", "ro", "nosuid", "nodev", "noexec"), config.bind(f"{work}/below", "/data/mnt"),
                config.bind(f"{work}/single", "/etc/again"), config.bind(f"{work}/ro", "/link"))
    read = ["cat", "/data/file", "/etc/single", "/ro/file", "/data/mnt/file", "/etc/again", "/real/place/file"]
    before, contents = table(c), c.exec(*read).out
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert table(c) == before and c.exec(*read).out == contents
    assert "Read-only" in c.exec("touch", "/ro/x", ok=False).err
    write(f"{work}/single", "a file, changed on the host")
    assert c.exec("cat", "/etc/again").out == "a file, changed on the host"
    c.exec("sh", "-c", "echo from inside > /data/mnt/new")
    assert os.path.exists(f"{work}/below/new")


def test_a_file_that_is_open_on_a_bind_mount(inside, work):
    write(f"{work}/dir/log", "")
    c = inside(started=False)
    with_mounts(c, config.bind(f"{work}/dir", "/data"))
    c.do("f = open('/data/log', 'a', 1); f.write('before\\n'); held = os.open('/data', os.O_PATH); os.chdir('/data')")
    frozen.around(c)
    c.do("f.write('after\\n')")
    with open(f"{work}/dir/log") as f:
        assert f.read() == "before\nafter\n"
    assert c.do("os.getcwd()") == "/data"
    assert os.stat(f"/proc/{c.pid}/cwd").st_ino == os.stat(f"{work}/dir").st_ino


def test_an_rbind_with_mounts_below(container, work, outlives_containers):
    os.makedirs(f"{work}/top/sub")
    proc.run(["mount", "-t", "tmpfs", "-o", "size=1m", "below", f"{work}/top/sub"])
    outlives_containers.callback(proc.run, ["umount", "-l", f"{work}/top/sub"])
    write(f"{work}/top/sub/file", "on the tmpfs")
    c = container(SLEEP)
    with_mounts(c, config.mount("/data", "bind", f"{work}/top", ["rbind", "rprivate"]))
    before = table(c)
    frozen.around(c)
    assert table(c) == before and c.exec("cat", "/data/sub/file").out == "on the tmpfs"
    write(f"{work}/top/sub/file", "changed")
    assert c.exec("cat", "/data/sub/file").out == "changed"


def test_the_new_bundle_says_where_a_volume_is(container, work):
    write(f"{work}/old/file", "the same")
    write(f"{work}/new/file", "the same")
    c = container(SLEEP)
    with_mounts(c, config.bind(f"{work}/old", "/data"))
    images = frozen.checkpoint(c)
    c.config["mounts"][-1]["source"] = f"{work}/new"
    c.write_config()
    frozen.restore(c, images)
    c.exec("touch", "/data/here")
    assert os.path.exists(f"{work}/new/here") and not os.path.exists(f"{work}/old/here")


def test_a_source_that_is_gone_is_named(container, work):
    write(f"{work}/old/file", "")
    c = container(SLEEP)
    with_mounts(c, config.bind(f"{work}/old", "/data"))
    images = frozen.checkpoint(c)
    os.rename(f"{work}/old", f"{work}/away")
    error = frozen.restore(c, images, ok=False).err
    assert "/data" in error and f"{work}/old" in error and not c.exists()
    os.rename(f"{work}/away", f"{work}/old")
    frozen.restore(c, images)


def test_mount_points_are_made_where_the_new_root_lacks_them(container, work):
    write(f"{work}/vol/file", "volume")
    c = container(SLEEP)
    with_mounts(c, config.bind(f"{work}/vol", "/deep/in/there"), config.bind(f"{work}/vol/file", "/deep/a/file"))
    images = frozen.checkpoint(c)
    proc.run(["rm", "-rf", c.host_path("/deep")])
    frozen.restore(c, images)
    assert c.exec("cat", "/deep/in/there/file", "/deep/a/file").out == "volumevolume"


def test_tmpfs_with_everything_in_it(inside):
    c = inside(started=False)
    with_mounts(c, config.mount("/scratch", "tmpfs", "tmpfs", ["nosuid", "nodev", "size=16m", "mode=1770"]))
    c.do("os.makedirs('/scratch/a/b'); os.symlink('a/b', '/scratch/link'); os.mkfifo('/scratch/fifo')\n"
         "open('/scratch/a/file', 'wb').write(b'x' * 3000000); os.link('/scratch/a/file', '/scratch/hard'); os.chmod('/scratch/a', 0o2750)\n"
         "os.chown('/scratch/a/file', 12, 34); os.utime('/scratch/a/file', (1000, 2000))\n"
         "f = open('/scratch/open', 'w'); f.write('half'); f.flush(); g = open('/scratch/gone', 'w+'); g.write('removed'); g.flush(); os.unlink('/scratch/gone')")
    ask = ("[(p, oct(s.st_mode), s.st_uid, s.st_gid, s.st_size, s.st_nlink, int(s.st_mtime)) for p in ('/scratch', '/scratch/a', '/scratch/a/file',\n"
           " '/scratch/link', '/scratch/fifo', '/scratch/hard') for s in [os.lstat(p)]]")
    before = c.do(ask)
    frozen.around(c)
    after = c.do(ask)
    assert [e[:6] for e in after] == [e[:6] for e in before]
    assert [e[6] for e in after if e[0].endswith("file")] == [2000]
    c.do("f.write(' and half'); f.flush()")
    assert c.do("open('/scratch/open').read(), g.seek(0), g.read()") == ("half and half", 0, "removed")
    assert "size=16384k" in c.exec("grep", "/scratch", "/proc/mounts").out


def test_masked_and_read_only_paths(container):
    c = container(SLEEP, changes={"linux": {"maskedPaths": ["/proc/keys", "/proc/acpi", "/etc/hosts", "/home"],
                                            "readonlyPaths": ["/proc/sys", "/usr", "/etc/group"]}})
    c.run_detached()
    before = table(c)
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert table(c) == before
        assert c.exec("cat", "/proc/keys", "/etc/hosts").out == ""
        assert c.exec("ls", "/home").out == ""
        assert "Read-only" in c.exec("touch", "/usr/x", ok=False).err
        assert "Read-only" in c.exec("sh", "-c", "echo 1 > /proc/sys/vm/swappiness", ok=False).err
        assert "Read-only" in c.exec("sh", "-c", "echo >> /etc/group", ok=False).err


def test_a_read_only_root(container):
    c = container(SLEEP, changes={"root": {"readonly": True}})
    c.run_detached()
    frozen.around(c)
    assert "Read-only" in c.exec("touch", "/x", ok=False).err


def test_devices(container):
    c = container(SLEEP, changes={"linux": {"devices": [{"path": "/dev/made", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4}],
                                            "resources": {"devices": [{"allow": False, "access": "rwm"}]}}})
    c.run_detached()
    listing = ["sh", "-c", "cd /dev; for f in *; do [ -c $f ] && stat -c '%n %a %u %g %t:%T' $f; [ -L $f ] && echo $f $(readlink $f); done; true"]
    before = c.exec(*listing).out
    assert "made 640 3 4 1:5" in before
    frozen.around(c)
    assert c.exec(*listing).out == before
    assert c.exec("sh", "-c", "head -c 3 /dev/zero | wc -c; echo x > /dev/null; head -c 2 /dev/urandom | wc -c").out == "3\n2\n"


def test_an_overlay_as_the_root(container, work, outlives_containers):
    c = container(SLEEP)
    for name in ("upper", "work", "merged"):
        os.makedirs(f"{work}/{name}")
    proc.run(["mount", "-t", "overlay", "-o", f"lowerdir={c.rootfs},upperdir={work}/upper,workdir={work}/work", "overlay", f"{work}/merged"])
    outlives_containers.callback(proc.run, ["umount", f"{work}/merged"])
    c.config["root"]["path"] = f"{work}/merged"
    c.run_detached()
    c.exec("sh", "-c", "echo new > /etc/new; rm /etc/hosts")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert c.exec("cat", "/etc/new").out == "new\n"
    assert os.path.exists(f"{work}/upper/etc/new")


@pytest.mark.parametrize("propagation", ["rprivate", "rslave", "rshared"])
def test_propagation(container, work, outlives_containers, propagation):
    os.makedirs(f"{work}/top/sub")
    proc.run(["mount", "--bind", f"{work}/top", f"{work}/top"])
    outlives_containers.callback(proc.run, ["umount", "-R", "-l", f"{work}/top"])
    proc.run(["mount", "--make-shared", f"{work}/top"])
    c = container(SLEEP)
    with_mounts(c, config.mount("/data", "bind", f"{work}/top", ["rbind", propagation]))
    before = table(c)
    frozen.around(c)
    assert table(c) == before
    proc.run(["mount", "-t", "tmpfs", "later", f"{work}/top/sub"])
    assert ("/data/sub" in c.exec("cat", "/proc/mounts").out) == (propagation != "rprivate")
