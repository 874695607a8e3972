"""`rt bundle shift`: every place where a file keeps an id, and whatever interrupts it."""

import json
import os
import random
import signal
import stat
import time

import pytest

import escapes
from lib import container as containers
from lib import config, image, proc

SHIFT = ["--from", "0:65536", "--to", "100000:65536"]
OVERLAP = ["--from", "0:65536", "--to", "1000:65536"]
BUDGET = float(os.environ.get("RT_KILL_BUDGET", "8"))


def rt(*words, **how):
    return proc.run([containers.runtime(), "bundle", "shift", *words], **how)


def make_tree(root):
    """One of each, on one file system with its journal."""
    os.makedirs(f"{root}/dir/sub")
    for name, mode, uid, gid in (("plain", 0o644, 0, 0), ("suid", 0o4755, 0, 0), ("sgid", 0o2755, 5, 7),
                                 ("both", 0o6711, 1000, 1000), ("caps", 0o755, 0, 0), ("caps3", 0o755, 3, 4),
                                 ("acl", 0o650, 10, 20), ("dir/sub/deep", 0o600, 65535, 65535)):
        with open(f"{root}/{name}", "w") as f:
            f.write(name)
        os.chown(f"{root}/{name}", uid, gid)
        os.chmod(f"{root}/{name}", mode)
    os.setxattr(f"{root}/caps", "security.capability", image.caps(0x400))
    os.setxattr(f"{root}/caps3", "security.capability", image.caps(0x2000, 77))
    os.setxattr(f"{root}/acl", "system.posix_acl_access", image.acl([10, 11], [12]))
    os.setxattr(f"{root}/dir", "system.posix_acl_default", image.acl([33], [34]))
    os.setxattr(f"{root}/plain", "user.note", b"kept")
    os.link(f"{root}/suid", f"{root}/dir/suid-again")
    os.link(f"{root}/caps", f"{root}/dir/caps-again")
    os.symlink("/etc/passwd", f"{root}/link")
    os.lchown(f"{root}/link", 8, 9)
    os.symlink("nowhere", f"{root}/dangling")
    os.mkfifo(f"{root}/fifo")
    os.mknod(f"{root}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(f"{root}/dir", 2, 3)
    os.chmod(f"{root}/dir", 0o2770)
    for path in ("plain", "dir", "."):
        os.utime(f"{root}/{path}", (1, 2))
    return root


def shifted(tree, by):
    """What a tree must be when all its ids have grown."""
    def xattr(name, value):
        if name == "security.capability":
            old = int.from_bytes(value[20:24], "little")
            bits = int.from_bytes(value[4:8], "little") | int.from_bytes(value[12:16], "little") << 32
            return image.caps(bits, old + by)
        if name.startswith("system.posix_acl"):
            users = {10: [10, 11], 33: [33]}
            first = int.from_bytes(value[16:20], "little")
            return {10: image.acl([10 + by, 11 + by], [12 + by]), 33: image.acl([33 + by], [34 + by])}[first] if first in users else value
        return value
    return {path: {**f, "owner": (f["owner"][0] + by, f["owner"][1] + by),
                   "xattrs": {n: xattr(n, v) for n, v in f["xattrs"].items()}} for path, f in tree.items()}


@pytest.fixture
def tree(work):
    root = make_tree(f"{work}/tree")
    # The default ACL of its directory came to what was made in it later.
    return root


def assert_same(root, expected):
    told = image.differences(image.tree(root), expected)
    assert not told, "\n".join(told)


def test_owners_acls_capabilities_and_bits(tree, work):
    before, passwd = image.tree(tree), os.stat("/etc/passwd")
    result = rt(tree, *SHIFT)
    assert result.out.endswith("changed, 0 outside of the ranges\n")
    assert_same(tree, shifted(before, 100000))
    assert stat.S_IMODE(os.stat(f"{tree}/suid").st_mode) == 0o4755
    assert os.getxattr(f"{tree}/caps", "security.capability") == image.caps(0x400, 100000)
    assert (os.stat("/etc/passwd").st_uid, os.stat("/etc/passwd").st_ctime_ns) == (passwd.st_uid, passwd.st_ctime_ns)
    assert sorted(os.listdir(work)) == ["tree", "tree.rt-shift"]

    assert rt(tree, *SHIFT).out == "these ids were shifted before\n"
    assert_same(tree, shifted(before, 100000))
    rt(tree, "--undo")
    assert_same(tree, before)
    assert os.listdir(work) == ["tree"]


def test_ranges_that_overlap_are_not_shifted_twice(tree):
    before = image.tree(tree)
    for _ in range(2):
        rt(tree, *OVERLAP)
        assert_same(tree, shifted(before, 1000))
    rt(tree, "--undo")
    assert_same(tree, before)


def test_one_shift_after_the_other(tree):
    before = image.tree(tree)
    rt(tree, *OVERLAP)
    rt(tree, "--from", "1000:65536", "--to", "500000:65536")
    assert_same(tree, shifted(before, 500000))
    rt(tree, "--undo")
    assert_same(tree, shifted(before, 1000))
    rt(tree, "--undo")
    assert_same(tree, before)
    assert "no shift of it is known" in rt(tree, "--undo", ok=False).err


def test_users_and_groups_in_several_ranges(tree):
    rt(tree, "--from", "0:1", "--to", "7000:1", "--from", "1:65535", "--to", "200000:65535",
       "--gid-from", "0:65536", "--gid-to", "300000:65536")
    assert (os.stat(f"{tree}/plain").st_uid, os.stat(f"{tree}/plain").st_gid) == (7000, 300000)
    assert (os.stat(f"{tree}/both").st_uid, os.stat(f"{tree}/both").st_gid) == (200999, 301000)


def test_check_tells_and_changes_nothing(tree, work):
    before, times = image.tree(tree), {p: os.lstat(f"{tree}/{p}").st_ctime_ns for p in image.tree(tree)}
    told = rt(tree, *SHIFT, "--check").out
    assert "suid: 0:0 -> 100000:100000\n" in told or "dir/suid-again: 0:0 -> 100000:100000\n" in told
    assert "acl: 10:20 -> 100010:100020, and its ACL or capabilities\n" in told
    assert told.count("suid") == 1
    result = rt(tree, "--from", "0:100", "--to", "100000:100", "--check", ok=False)
    assert "dir/sub/deep: owner 65535 is in no range\n" in result.out and "both: owner 1000 is in no range\n" in result.out
    assert_same(tree, before)
    assert times == {p: os.lstat(f"{tree}/{p}").st_ctime_ns for p in before} and os.listdir(work) == ["tree"]


@pytest.mark.parametrize("spoil, what", [
    (lambda t: os.chown(f"{t}/plain", 70000, 0), "owner 70000"), (lambda t: os.lchown(f"{t}/link", 0, 70000), "group 70000"),
    (lambda t: os.setxattr(f"{t}/acl", "system.posix_acl_access", image.acl([10, 70000])), "ACL 70000"),
    (lambda t: os.setxattr(f"{t}/dir", "system.posix_acl_default", image.acl([], [70000])), "default ACL 70000"),
    (lambda t: os.setxattr(f"{t}/caps", "security.capability", image.caps(0x400, 70000)), "capabilities 70000"),
], ids=["owner", "group", "ACL", "default ACL", "capabilities"])
def test_an_id_outside_stops_it_before_anything_is_changed(tree, work, spoil, what):
    spoil(tree)
    before = image.tree(tree)
    result = rt(tree, *SHIFT, ok=False)
    assert what in result.err and "nothing was changed" in result.err and result.err.count("\n") == 1
    assert_same(tree, before)
    assert os.listdir(work) == ["tree"]
    rt(tree, *SHIFT, "--keep-others")
    assert (os.stat(f"{tree}/suid").st_uid, os.stat(f"{tree}/suid").st_gid) == (100000, 100000)
    rt(tree, "--undo")
    assert_same(tree, before)


def test_others_among_the_target_ids_could_not_be_told_apart(tree):
    os.chown(f"{tree}/plain", 100001, 0)
    assert "owner 100001" in rt(tree, *SHIFT, "--keep-others", ok=False).err


def test_what_is_mounted_in_it_is_left_alone(tree, work):
    os.makedirs(f"{tree}/mounted")
    os.makedirs(f"{work}/other")
    proc.run(["touch", f"{work}/other/file", f"{tree}/bound", f"{work}/elsewhere"])
    proc.run(["mount", "--bind", f"{work}/other", f"{tree}/mounted"])
    proc.run(["mount", "--bind", f"{work}/elsewhere", f"{tree}/bound"])
    try:
        rt(tree, *SHIFT)
    finally:
        proc.run(["umount", f"{tree}/mounted"])
        proc.run(["umount", f"{tree}/bound"])
    assert os.stat(f"{work}/other").st_uid == os.stat(f"{work}/other/file").st_uid == os.stat(f"{work}/elsewhere").st_uid == 0


@pytest.mark.parametrize("words, what", [
    ([], "--from and --to"), (["--from", "0:10"], "needs its --to"), (["--from", "0:10", "--to", "5"], "BASE:LENGTH"),
    (["--from", "0:10", "--to", "5:11"], "not of one length"), (["--from", "0:0", "--to", "5:0"], "BASE:LENGTH"),
    (["--from", "4294967295:1", "--to", "5:1"], "BASE:LENGTH"), (["--from", "-1:1", "--to", "5:1"], "BASE:LENGTH"),
    (["--from", "0:10", "--to", "100:10", "--from", "9:1", "--to", "500:1"], "share ids"),
    (["--undo", *SHIFT], "takes no ranges"), (["--from", "0:4294967295", "--to", "1:4294967295"], "BASE:LENGTH"),
])
def test_wrong_words(tree, work, words, what):
    before = image.tree(tree)
    result = rt(tree, *words, ok=False)
    assert what in result.err and result.err.count("\n") == 1, result.err
    assert_same(tree, before)
    assert os.listdir(work) == ["tree"]


def test_what_is_no_tree(work):
    assert "cannot resolve" in rt(f"{work}/none", *SHIFT, ok=False).err
    assert "the host's own root" in rt("/", *SHIFT, ok=False).err
    with open(f"{work}/file", "w"):
        pass
    assert rt(f"{work}/file", *SHIFT, ok=False).err.count("\n") == 1


def test_a_very_deep_tree(work):
    fd = os.open(work, os.O_PATH)
    for i in range(600):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    assert rt(f"{work}/d", *SHIFT).out.startswith("600 files, 600 changed")
    assert os.stat(f"{work}" + "/d" * 500).st_uid == 100000


def test_two_at_a_time(tree):
    import fcntl
    fd = os.open(tree, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        assert "by somebody else" in rt(tree, *SHIFT, ok=False).err
    finally:
        os.close(fd)


# Interrupted

class Killed:
    """Shifts of one tree that are killed."""

    def __init__(self, tree, work, templates):
        self.tree, self.work = tree, work
        self.kill_at = escapes.build(f"{templates}/escape-tools") + "/kill_at"
        self.before = image.tree(tree)

    def run(self, n, *words):
        proc.run([self.kill_at, "parent", n, f"{self.work}/killed", containers.runtime(), "bundle", "shift", self.tree, *words],
                 ok=None, timeout=20)
        report = escapes.read(f"{self.work}/killed").split()
        os.unlink(f"{self.work}/killed")
        return report

    def at_each(self, check, *words):
        """check() after the command was killed at each of its system calls, or as many as the time allows."""
        calls = int(self.run(0, *words)[2])
        check()
        began = time.monotonic()
        check_at, step, seconds = 1, 1, 0.0
        tried = 0
        while check_at <= calls:
            assert self.run(check_at, *words)[0] == "killed", check_at
            check()
            tried += 1
            seconds = (time.monotonic() - began) / tried
            left = BUDGET - (time.monotonic() - began)
            step = max(1, round((calls - check_at) * seconds / max(left, seconds)))
            check_at += step
        return tried


@pytest.fixture
def killed(tree, work, templates):
    return Killed(tree, work, templates)


def test_killed_anywhere_and_run_again_it_ends_right(killed):
    """The ranges overlap: an owner alone does not tell whether a file was shifted."""
    after = shifted(killed.before, 1000)

    def check():
        rt(killed.tree, *OVERLAP)
        assert_same(killed.tree, after)
        rt(killed.tree, "--undo")
        assert_same(killed.tree, killed.before)
    assert killed.at_each(check, *OVERLAP) > 20


def test_killed_anywhere_it_can_be_taken_back(killed):
    def check():
        result = rt(killed.tree, "--undo", ok=None)
        assert result.code == 0 or "no shift of it is known" in result.err, repr(result)
        assert_same(killed.tree, killed.before)
    assert killed.at_each(check, *OVERLAP) > 20


def test_an_undoing_that_is_killed_anywhere(killed):
    def check():
        result = rt(killed.tree, "--undo", ok=None)
        assert result.code == 0 or "no shift of it is known" in result.err, repr(result)
        assert_same(killed.tree, killed.before)
        rt(killed.tree, *OVERLAP)
    rt(killed.tree, *OVERLAP)
    assert killed.at_each(check, "--undo") > 20
    rt(killed.tree, "--undo")


def test_killed_again_and_again(killed):
    """Each run gets a little further, or not; the last one ends."""
    draw = random.Random(5)
    after = shifted(killed.before, 1000)
    calls = int(killed.run(0, *OVERLAP)[2])
    for _ in range(6):
        rt(killed.tree, "--undo")
        assert_same(killed.tree, killed.before)
        for _ in range(4):
            killed.run(draw.randrange(calls // 3, calls), *OVERLAP)
        rt(killed.tree, *OVERLAP)
        assert_same(killed.tree, after)


def test_killed_at_moments_of_the_clock(work):
    root = f"{work}/big"
    for i in range(2500):
        os.makedirs(f"{root}/{i % 50}", exist_ok=True)
        with open(f"{root}/{i % 50}/{i}", "w"):
            pass
        os.chown(f"{root}/{i % 50}/{i}", i, 2 * i)
        os.chmod(f"{root}/{i % 50}/{i}", 0o4755)
    before, draw = image.tree(root), random.Random(6)
    after = shifted(before, 1000)
    began = time.monotonic()
    rt(root, *OVERLAP)
    whole = time.monotonic() - began
    for _ in range(8):
        rt(root, "--undo")
        child = proc.start([containers.runtime(), "bundle", "shift", root, *OVERLAP])
        time.sleep(draw.random() * whole)
        child.send_signal(signal.SIGKILL)
        child.wait()
        rt(root, *OVERLAP)
        assert_same(root, after)


def test_another_shift_has_to_wait_for_the_interrupted_one(killed):
    calls = int(killed.run(0, *OVERLAP)[2])
    rt(killed.tree, "--undo")
    killed.run(calls - 30, *OVERLAP)
    assert os.path.exists(f"{killed.tree}.rt-shift.journal")
    assert "another shift was interrupted here" in rt(killed.tree, *SHIFT, ok=False).err
    rt(killed.tree, "--undo")
    assert_same(killed.tree, killed.before)


def test_a_journal_that_is_none(tree):
    with open(f"{tree}.rt-shift.journal", "w") as f:
        f.write("something else\n")
    before = image.tree(tree)
    assert "is not the journal of a shift" in rt(tree, *SHIFT, ok=False).err
    assert_same(tree, before)


# Bundles

def test_a_bundle_that_was_shifted_runs_in_a_user_namespace(container, templates):
    c = container(["sh", "-c", "id -u; stat -c %u /bin/busybox /home/user"])
    c.write_config()
    proc.run([containers.runtime(), "bundle", "shift", c.dir, *SHIFT, "--config"])
    with open(f"{c.dir}/config.json") as f:
        c.config = json.load(f)
    assert c.config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 100000, "size": 65536}]
    assert c.run().out == "0\n0\n1000\n"
    assert os.stat(f"{c.dir}/rootfs/home/user").st_uid == 101000
    proc.run([containers.runtime(), "bundle", "shift", c.dir, "--undo", "--config"])
    with open(f"{c.dir}/config.json") as f:
        config = json.load(f)
    assert "uidMappings" not in config["linux"] and {"type": "user"} not in config["linux"]["namespaces"]
    assert os.stat(f"{c.dir}/rootfs/home/user").st_uid == 1000


@pytest.mark.parametrize("mode, group", [(0o700, 0), (0o750, 7)])
def test_a_closed_bundle_lets_the_root_of_its_container_through(container, mode, group):
    """Whoever writes the user namespace into config.json by hand finds the directory open to it, and as before after --undo."""
    c = container(["id", "-u"])
    c.write_config()
    os.chmod(c.dir, mode)
    os.chown(c.dir, 0, group)
    rt(c.dir, *SHIFT)
    st = os.stat(c.dir)
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (0, 100000, 0o710)
    config.use_user_namespace(c.config)
    assert c.run().out == "0\n"
    assert rt(c.dir, *SHIFT).out == "these ids were shifted before\n"
    rt(c.dir, "--undo")
    st = os.stat(c.dir)
    assert (st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)) == (0, group, mode)


def test_a_bundle_that_is_open_stays_as_it_is(container):
    c = container(["id", "-u"])
    c.write_config()
    os.chmod(c.dir, 0o755)
    rt(c.dir, *SHIFT)
    assert (os.stat(c.dir).st_gid, stat.S_IMODE(os.stat(c.dir).st_mode)) == (0, 0o755)
