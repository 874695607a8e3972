"""Root filesystems on their way (migrate/tree*): a program sends one directory to another through the same code that
two hosts use, and what arrives is compared with what was sent, down to holes and attributes.

tests/e2e/tree_driver.c says what the program does; the build puts it beside the unit tests."""

import contextlib
import json
import os
import stat
import struct
import subprocess
import time

import pytest

from lib import container, needs, proc, rootfs

BLOCK = 128 << 10
OF_THIS_HOST = ["security.selinux"] + ["trusted.overlay." + name for name in ("impure", "nlink", "origin", "uuid")]


def driver():
    path = os.path.join(os.path.dirname(container.runtime()), "tests/tree_driver")
    needs.skip_unless(os.path.exists(path), f"'{path}' was not built")
    return path


class Transfer:
    """The first pass at once; then a delta for every call of delta()."""

    def __init__(self, source, target, *options, **how):
        os.makedirs(target, exist_ok=True)
        self.process = subprocess.Popen([driver(), source, target, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **how)
        self.first = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        answer = json.loads(line)
        for what in ("files", "bytes", "removed"):
            assert answer[what] == answer["received_" + what]
        return answer

    def delta(self, pids=()):
        self.process.stdin.write(" ".join(map(str, pids)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()


def failure(source, target, *options, **how):
    os.makedirs(target, exist_ok=True)
    result = subprocess.run([driver(), source, target, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **how)
    assert result.returncode == 1, result
    assert result.stderr.count("\n") == 1
    return result.stderr


def extents(path, size):
    """Where a file has data, as its file system tells it."""
    found, at = [], 0
    with open(path, "rb") as f:
        while at < size:
            try:
                start = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(f.fileno(), start, os.SEEK_HOLE)
            found.append((start, at))
    return found


def content(path, size):
    """What is in it, holes left out: they may be huge."""
    with open(path, "rb") as f:
        return [(start, os.pread(f.fileno(), end - start, start)) for start, end in extents(path, size)]


def describe(root, owners=True):
    """All of a tree that must be the same after it was moved: a dict of path -> facts; inodes by the first path that leads to them."""
    tree, first = {}, {}
    stack = [(os.open(root, os.O_RDONLY | os.O_DIRECTORY), b"")]
    while stack:
        fd, path = stack.pop()
        for name in [b"."] * (path == b"") + sorted(map(os.fsencode, os.listdir(fd))):
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISSOCK(st.st_mode):
                continue
            inner = path + b"/" + name
            through = b"/proc/self/fd/%d/%s" % (fd, name)
            facts = {"mode": st.st_mode, "mtime": st.st_mtime_ns, "rdev": st.st_rdev,
                     "xattrs": {x: os.getxattr(through, x, follow_symlinks=False) for x in os.listxattr(through, follow_symlinks=False)
                                if x not in OF_THIS_HOST}}
            if owners:
                facts["owner"] = (st.st_uid, st.st_gid)
            if not stat.S_ISDIR(st.st_mode):
                facts["size"], facts["links"] = st.st_size, st.st_nlink
                facts["same as"] = first.setdefault((st.st_dev, st.st_ino), inner)
            if stat.S_ISLNK(st.st_mode):
                facts["target"] = os.readlink(name, dir_fd=fd)
            if stat.S_ISREG(st.st_mode):
                facts["content"] = content(through, st.st_size)
            if stat.S_ISDIR(st.st_mode) and name != b".":
                stack.append((os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd), inner))
            tree[inner] = facts
        os.close(fd)
    return tree


def assert_same(source, target, **how):
    a, b = describe(source, **how), describe(target, **how)
    assert sorted(a) == sorted(b)
    for path in a:
        for fact in a[path]:
            assert a[path][fact] == b[path][fact], f"{path}: {fact}"


def acl(*entries):
    """A POSIX ACL as the kernel keeps it, of (tag, rights, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NONE = 0xffffffff
ACL = acl((1, 6, NONE), (2, 4, 1000), (4, 4, NONE), (8, 6, 500), (0x10, 6, NONE), (0x20, 0, NONE))
CAPS = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service=ep


@pytest.fixture(name="root")
def strange_root(work, templates):
    """What a distribution has, and what it has not but may be there."""
    root = rootfs.make("nginx", work + "/root", templates)
    os.makedirs(root + "/strange/acls/inherits")
    os.chdir("/")
    for name, text in ((b"new\nline", "1"), ("umlaut ü 漢".encode(), "2"), (b"not utf-8 \xff\xfe", "3"), (b"n" * 255, "4"), (b" ", "5"),
                       (b"-rf", "6"), (b"\\backslash", "7"), (b"'\"$`", "8")):
        with open(root.encode() + b"/strange/" + name, "w", encoding="utf-8") as f:
            f.write(text)
    path = root + "/deep"
    for i in range(100):
        path += f"/{i}"
    os.makedirs(path)
    with open(path + "/file", "w", encoding="utf-8") as f:
        f.write("deep")
    os.mkfifo(root + "/strange/fifo", 0o620)
    os.mknod(root + "/strange/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root + "/strange/loop", stat.S_IFBLK | 0o660, os.makedev(7, 3))
    os.mknod(root + "/strange/whiteout", stat.S_IFCHR, 0)
    os.symlink("x" * 1000, root + "/strange/long link")
    os.symlink(b"\xff\n", root.encode() + b"/strange/link")
    os.lchown(root + "/strange/link", 12, 34)
    with open(root + "/strange/sparse", "wb") as f:
        os.truncate(f.fileno(), 1 << 30)
        for at in (0, 4096 * 1000, 700 << 20):
            os.pwrite(f.fileno(), os.urandom(4096), at)
    with open(root + "/strange/only a hole", "wb") as f:
        os.truncate(f.fileno(), 5 << 20)
    with open(root + "/strange/zeroes that are no hole", "wb") as f:
        f.write(bytes(1 << 20))
    for name in ("one", "two", "acls/three"):
        os.link(root + "/strange/sparse", root + "/strange/" + name)
    os.setxattr(root + "/strange/acls", "system.posix_acl_default", ACL)
    os.setxattr(root + "/strange/acls/inherits", "system.posix_acl_access", ACL)
    with open(root + "/strange/acls/file", "w", encoding="utf-8") as f:
        f.write("x")
    os.removexattr(root + "/strange/acls/file", "system.posix_acl_access")
    binary = root + "/strange/privileged"
    with open(binary, "w", encoding="utf-8") as f:
        f.write("x")
    os.chown(binary, 1000, 500)
    os.chmod(binary, 0o6755)
    os.setxattr(binary, "security.capability", CAPS)
    os.setxattr(binary, "trusted.rt", bytes(range(256)))
    os.setxattr(root + "/strange/link", "trusted.rt", b"of a symlink", follow_symlinks=False)
    for path, when in (("/strange/link", -1), ("/strange", 123456789_987654321), ("/deep/0/1", 1), ("", 10**18 + 1)):
        os.utime(root + path, ns=(when, when), follow_symlinks=False)
    return root


def test_a_root_arrives_as_it_is(root, work):
    with Transfer(root, work + "/to") as transfer:
        assert_same(root, work + "/to")
        # What was made just now is compared once more; then there is nothing left to send.
        transfer.delta()
        time.sleep(0.05)
        transfer.delta()
        assert transfer.delta()["files"] == 0
    assert_same(root, work + "/to")


def test_pieces_of_any_size_will_do(root, work):
    for size in (7, 4099):
        with Transfer(root, f"{work}/to-{size}", "-c", str(size)):
            assert_same(root, f"{work}/to-{size}")


def test_changes_of_all_kinds_follow(root, work):
    with Transfer(root, work + "/to") as transfer:
        # content
        with open(root + "/strange/sparse", "r+b") as f:
            os.pwrite(f.fileno(), b"new", 300 << 20)
        with open(root + "/etc/hosts", "a", encoding="utf-8") as f:
            f.write("10.0.0.1 new\n")
        # attributes
        os.setxattr(root + "/etc/group", "system.posix_acl_access", ACL)
        os.removexattr(root + "/strange/privileged", "trusted.rt")
        os.chown(root + "/strange/privileged", 0, 0)  # drops the bits and the capability
        os.removexattr(root + "/strange/acls/inherits", "system.posix_acl_access")
        os.lchown(root + "/strange/link", 0, 5)
        os.removexattr(root + "/strange/link", "trusted.rt", follow_symlinks=False)
        os.utime(root + "/deep/0/1/2", ns=(5, 5))
        # names
        os.unlink(root + "/strange/two")
        os.rename(root + "/strange/one", root + "/strange/0 another name")
        os.rename(root + "/deep/0", root + "/moved")
        os.unlink(root + "/strange/fifo")
        os.mkdir(root + "/strange/fifo")
        os.unlink(root + "/strange/null")
        os.symlink("/etc", root + "/strange/null")
        os.unlink(root.encode() + b"/strange/new\nline")
        os.mknod(root.encode() + b"/strange/new\nline", stat.S_IFCHR, 0)
        proc.run(["rm", "-r", root + "/strange/acls/inherits"])
        with open(root + "/strange/acls/inherits", "w", encoding="utf-8") as f:
            f.write("inherits an ACL")
        answer = transfer.delta()
        assert answer["bytes"] < 1 << 20
        assert_same(root, work + "/to")


def test_devices_are_refused_where_they_are_not_allowed(root, work):
    assert "'strange/loop': it is a device or a socket, which is not unpacked" in failure(root, work + "/to", "-n")


def test_what_is_mounted_below_the_root_stays_here(root, work):
    with contextlib.ExitStack() as stack:
        for options in (["-t", "tmpfs", "tmpfs", root + "/mnt"], ["--bind", root + "/etc", root + "/home"],
                        ["--bind", root + "/etc/passwd", root + "/etc/hostname"]):
            proc.run(["mount", *options]).check()
            stack.callback(proc.run, ["umount", options[-1]])
        with open(root + "/mnt/file", "w", encoding="utf-8") as f:
            f.write("of another file system")
        with Transfer(root, work + "/to"):
            assert os.listdir(work + "/to/mnt") == []
            assert os.listdir(work + "/to/home") == []
            assert os.path.exists(work + "/to/etc/passwd") and not os.path.exists(work + "/to/etc/hostname")


def test_a_full_disk_is_one_sentence(root, work):
    os.mkdir(work + "/small")
    proc.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", work + "/small"]).check()
    try:
        text = failure(root, work + "/small")
        assert text.startswith(f"sending the root filesystem '{root}': receiving the root filesystem: '")
        assert "more than" in text and "the most that is allowed here" in text or "No space left" in text
    finally:
        proc.run(["umount", work + "/small"])


def test_a_user_moves_what_belongs_to_them(work):
    os.makedirs(work + "/from/closed")
    with open(work + "/from/closed/file", "w", encoding="utf-8") as f:
        f.write("x")
    os.mkfifo(work + "/from/fifo")
    os.mkdir(work + "/to")
    os.chmod(work + "/from/closed", 0o555)
    proc.run(["chown", "-R", "1000:1000", work]).check()
    with Transfer(work + "/from", work + "/to", "-n", user=1000, group=1000, extra_groups=[]) as transfer:
        assert_same(work + "/from", work + "/to")
        os.chmod(work + "/from/closed/file", 0o400)
        transfer.delta()
        assert_same(work + "/from", work + "/to")


WITH_ITS_OWN_ROOT = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
os.chdir(sys.argv[1])
call(libc.unshare(0x20000))
call(libc.mount(None, b"/", None, 0x44000, None))
call(libc.syscall(155, b".", b"."))
call(libc.umount2(b".", 2))
with open("/db", "r+b") as f, mmap.mmap(f.fileno(), 0) as mapping:
    for value in range(1, 100):
        mapping[0] = value
        print(value, flush=True)
        if not sys.stdin.readline():
            break
"""


def test_mapped_files_of_a_process_are_compared(work):
    """As in a container: the overlay shows the process another inode than the one that is sent, and another path than ours."""
    needs.skip_unless(os.uname().machine == "x86_64", "the number of pivot_root is that of x86-64")
    for name in ("lower", "upper", "merged"):
        os.mkdir(f"{work}/{name}")
    with open(work + "/lower/db", "wb") as f:
        f.write(bytes(4 * BLOCK))
    overlay(work, "merged", "upper")
    with contextlib.ExitStack() as stack:
        stack.callback(proc.run, ["umount", "-l", work + "/merged"])
        process = stack.enter_context(subprocess.Popen(["/usr/bin/python3", "-c", WITH_ITS_OWN_ROOT, work + "/merged"], stdin=subprocess.PIPE,
                                                       stdout=subprocess.PIPE, text=True))
        assert process.stdout.readline() == "1\n"
        time.sleep(0.05)
        with Transfer(work + "/merged", work + "/to", "-u") as transfer:
            transfer.delta([process.pid])
            before = os.stat(work + "/upper/db")
            process.stdin.write("\n")  # the page is dirty already
            process.stdin.flush()
            assert process.stdout.readline() == "2\n"
            after = os.stat(work + "/upper/db")
            assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
            assert transfer.delta()["bytes"] == BLOCK
            assert_same(work + "/upper", work + "/to")
            assert transfer.delta()["files"] == 0
        process.stdin.close()


def overlay(work, merged, upper, options=""):
    os.makedirs(f"{work}/{merged}-work", exist_ok=True)
    proc.run(["mount", "-t", "overlay", "overlay", "-o",
              f"lowerdir={work}/lower,upperdir={work}/{upper},workdir={work}/{merged}-work,redirect_dir=on{options}",
              f"{work}/{merged}"]).check()


def test_an_overlay_moves_by_its_upper_directory(root, work):
    os.unlink(root + "/strange/whiteout")
    os.rename(root, work + "/lower")
    for name in ("upper", "merged", "to", "merged-there"):
        os.mkdir(f"{work}/{name}")
    overlay(work, "merged", "upper")
    try:
        merged = work + "/merged"
        with Transfer(merged, work + "/to", "-u") as transfer:
            os.unlink(merged + "/etc/passwd")
            proc.run(["rm", "-r", merged + "/deep/0/1"]).check()
            os.mkdir(merged + "/deep/0/1")  # opaque
            os.rename(merged + "/var", merged + "/renamed")  # a redirect
            with open(merged + "/etc/hosts", "a", encoding="utf-8") as f:
                f.write("more\n")
            with open(merged + "/new", "w", encoding="utf-8") as f:
                f.write("new\n")
            assert transfer.delta()["bytes"] < 10000
        assert os.getxattr(work + "/to/deep/0/1", "trusted.overlay.opaque") == b"y"
        assert os.getxattr(work + "/to/renamed", "trusted.overlay.redirect")
        assert stat.S_ISCHR(os.lstat(work + "/to/etc/passwd").st_mode)
        overlay(work, "merged-there", "to")
        try:
            assert_same(merged, work + "/merged-there")
        finally:
            proc.run(["umount", "-l", work + "/merged-there"])
    finally:
        proc.run(["umount", "-l", work + "/merged"])


def test_marks_of_an_overlay_stay_behind_where_they_mean_nothing(work):
    os.mkdir(work + "/from")
    os.setxattr(work + "/from", "trusted.overlay.redirect", b"/elsewhere")
    os.setxattr(work + "/from", "trusted.other", b"x")
    with Transfer(work + "/from", work + "/to"):
        assert os.listxattr(work + "/to") == ["trusted.other"]


def test_what_it_takes(work, record_property):
    """300 MiB in 10,000 files and large ones: the figures are printed (-s), and must not be absurd."""
    os.mkdir(work + "/from")
    for i in range(100):
        os.mkdir(f"{work}/from/{i}")
        for j in range(100):
            with open(f"{work}/from/{i}/{j}", "wb") as f:
                f.write(os.urandom(10 << 10))
    for i in range(4):
        with open(f"{work}/from/large-{i}", "wb") as f:
            f.write(os.urandom(51 << 20))
    time.sleep(0.1)
    with Transfer(work + "/from", work + "/to") as transfer:
        rate = transfer.first["bytes"] / transfer.first["total_ms"] / 1e3
        idle = min(transfer.delta()["total_ms"] for _ in range(5))
        with open(work + "/from/large-0", "r+b") as f:
            f.write(b"changed")
        changed = transfer.delta()
        assert changed["bytes"] == BLOCK
        record_property("rate", rate)
        print(f"\n{transfer.first['bytes'] >> 20} MiB at {rate:.0f} MB/s; nothing changed: {idle:.1f} ms for {transfer.first['files']} files; "
              f"one block of 51 MiB: {changed['total_ms']:.1f} ms")
        assert rate > 10 and idle < 1000
