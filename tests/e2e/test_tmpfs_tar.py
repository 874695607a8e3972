"""The `tar` that CRIU finds first: what it packs GNU tar unpacks, and the other way round, entry by entry; images of anybody."""

import gzip
import hashlib
import io
import os
import random
import shutil
import socket
import stat
import tarfile

import pytest

from lib import config, frozen, needs, proc
from lib.container import runtime

CREATE = ["--create", "--gzip", "--no-unquote", "--no-wildcards", "--one-file-system", "--check-links", "--preserve-permissions", "--sparse",
          "--numeric-owner", "--directory", "/proc/self/fd/0", "."]
EXTRACT = ["--extract", "--gzip", "--no-unquote", "--no-wildcards", "--directory"]
GNU = "/usr/bin/tar"


@pytest.fixture(scope="module")
def ours():
    beside = os.path.dirname(runtime())
    found = [p for p in (f"{beside}/checkpoint/criu-tools/tar", os.path.normpath(f"{beside}/../libexec/rt/criu-tools/tar")) if os.path.exists(p)]
    if not found:
        pytest.skip("the runtime under test has no tar of its own")
    return found[0]


@pytest.fixture
def tmpfs(work, outlives_containers):
    """Makes empty file systems."""
    made = []

    def make(name):
        path = f"{work}/{name}"
        os.mkdir(path)
        proc.run(["mount", "-t", "tmpfs", "-o", "size=64m", "test", path])
        made.append(path)
        return path

    yield make
    for path in made:
        proc.run(["umount", path])


def pack(program, directory, image, **how):
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    with open(image, "wb") as f:
        try:
            return proc.run([program, *CREATE], stdin=fd, stdout=f.fileno(), **how)
        finally:
            os.close(fd)


def unpack(program, image, directory, **how):
    with open(image, "rb") as f:
        return proc.run([program, *EXTRACT, directory], stdin=f.fileno(), **how)


def write(path, content, mode=0o644):
    with open(path, "wb") as f:
        f.write(content)
    os.chmod(path, mode)


def sparse(path, size, *parts):
    with open(path, "wb") as f:
        f.truncate(size)
        for offset, content in parts:
            f.seek(offset)
            f.write(content)


def fill(root, hard_nodes=True):
    """Everything that a tmpfs can hold and a tar as well, with names of every kind. GNU tar makes two of a FIFO or device with two names."""
    root = os.fsencode(root)
    at = lambda name: root + b"/" + name  # noqa: E731
    os.makedirs(at(b"deep/" + b"/".join([b"d"] * 200)))
    os.mkdir(at(b"empty"), 0o700)
    os.mkdir(at(b"sticky"))
    os.chmod(at(b"sticky"), 0o3777)
    write(at(b"nothing"), b"")
    write(at(b"set-user-id"), b"#!/bin/sh\n", 0o6751)
    write(at(b"no-mode"), b"secret", 0)
    write(at(b"big"), random.Random(1).randbytes(3000001), 0o600)
    write(at(b"zeroes"), bytes(100000))
    sparse(at(b"holes"), 1 << 20, (0, b"first"), (300000, b"second" * 2000))
    sparse(at(b"hole-first"), 500001, (500000, b"."))
    sparse(at(b"only-hole"), 1 << 20)
    sparse(at(b"many-holes"), 4 << 20, *((i * 8192, b"%d" % i) for i in range(500)))
    for name in (b"new\nline", b"\xff\xfe not utf-8", "ünïcödé".encode(), b"a b\\c*?[x]'\"", b"-rf", b"x" * 255, b"y" * 101, "é".encode() * 120):
        write(at(name), b"named " + name)
    long = b"/".join([b"l" * 200] * 6)
    os.makedirs(at(long))
    write(at(long + b"/file"), b"far")
    os.symlink(b"nowhere", at(b"dangling"))
    os.symlink(b"/etc/passwd", at(b"absolute"))
    os.symlink(b"t" * 300 + b"\xff\n", at(b"long-target"))
    os.symlink(b"empty", at(b"to-directory"))
    os.link(at(b"big"), at(b"sticky/hard"))
    os.link(at(b"big"), at(b"hard"))
    os.link(at(b"dangling"), at(b"hard-symlink"), follow_symlinks=False)
    os.mkfifo(at(b"fifo"), 0o622)
    for name, kind, number, mode in ((b"null", stat.S_IFCHR, os.makedev(1, 3), 0o666), (b"whiteout", stat.S_IFCHR, 0, 0), (b"block", stat.S_IFBLK, os.makedev(259, 70000), 0o640),
                                     (b"high", stat.S_IFCHR, os.makedev(4000, 1 << 19), 0o600)):
        os.mknod(at(name), kind | mode, number)
        os.chmod(at(name), mode)
    if hard_nodes:
        os.link(at(b"null"), at(b"hard-null"))
        os.link(at(b"fifo"), at(b"hard-fifo"))
    write(at(b"owned"), b"x", 0o4755)
    os.setxattr(at(b"owned"), b"trusted.test", b"not packed")
    for number, name in enumerate((b"owned", b"empty", b"dangling", b"fifo", b"whiteout", b"big")):
        os.lchown(at(name), 1000 + number, (1 << 31) + number)
    os.chmod(at(b"owned"), 0o4755)
    for number, name in enumerate((b"owned", b"nothing", b"absolute", b"fifo", b"null", b"sticky", b"deep", b"new\nline")):
        os.utime(at(name), ns=(0, (1 + number * 100000000) * 10**9 + 123456789), follow_symlinks=False)
    os.utime(at(b"zeroes"), ns=(0, -86400 * 10**9))
    os.chown(root, 77, 88)
    os.chmod(root, 0o1731)
    os.utime(root, (5, 12345))


def describe(root, times):
    """{path: what is told of it}; hard links by the least of their names."""
    found, names = {}, {}
    root = os.fsencode(root)
    paths = [root] + [os.path.join(d, n) for d, below, files in os.walk(root) for n in below + files]
    for path in sorted(paths):
        st = os.lstat(path)
        content = None
        if stat.S_ISLNK(st.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(st.st_mode):
            with open(path, "rb") as f:
                content = st.st_size, st.st_blocks, hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(f.read()).hexdigest()
        first = names.setdefault(st.st_ino, path[len(root):])
        found[path[len(root):]] = (oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev, st.st_nlink, first, content, st.st_mtime_ns // times,
                                   [n for n in os.listxattr(path, follow_symlinks=False) if n.startswith(("user.", "trusted."))])
    return found


def compare(before, after):
    assert sorted(after) == sorted(before)
    for path, known in before.items():
        assert after[path][:8] == known[:8], path
        assert after[path][8] == [], path


@pytest.mark.parametrize("packer, unpacker", [("ours", "gnu"), ("gnu", "ours"), ("ours", "ours"), ("gnu", "gnu")])
def test_everything_comes_back(ours, tmpfs, work, packer, unpacker):
    needs.capability("CAP_MKNOD")
    programs = {"ours": ours, "gnu": GNU}
    # GNU tar's format has whole seconds.
    times = 1 if packer == "ours" else 10**9
    source, target = tmpfs("source"), tmpfs("target")
    fill(source, hard_nodes=packer == "ours")
    before = describe(source, times)
    pack(programs[packer], source, f"{work}/image")
    assert describe(source, times) == before
    said = unpack(programs[unpacker], f"{work}/image", target).err
    assert unpacker == "gnu" or said == ""
    compare(before, describe(target, times))


def test_gnu_tar_in_pax_format_is_read_as_well(ours, tmpfs, work):
    source, target = tmpfs("source"), tmpfs("target")
    fill(source, hard_nodes=False)
    for locale in ("C", "C.UTF-8"):
        proc.run([GNU, "--format=pax", "--sparse", "-czf", f"{work}/image", "-C", source, "."], env={"PATH": os.environ["PATH"], "LC_ALL": locale})
        unpack(ours, f"{work}/image", target)
        compare(describe(source, 1), describe(target, 1))


def test_an_empty_directory_is_a_few_bytes(ours, tmpfs, work):
    source, target = tmpfs("source"), tmpfs("target")
    os.chmod(source, 0o1777)
    pack(ours, source, f"{work}/image")
    assert os.path.getsize(f"{work}/image") < 400
    unpack(ours, f"{work}/image", target)
    compare(describe(source, 1), describe(target, 1))


@pytest.mark.parametrize("packer, unpacker", [("ours", "gnu"), ("gnu", "ours")])
def test_a_file_over_8_gib(ours, tmpfs, work, packer, unpacker):
    programs = {"ours": ours, "gnu": GNU}
    source, target = tmpfs("source"), tmpfs("target")
    size = 9 << 30
    sparse(f"{source}/huge", size, (0, b"first"), (size - 4, b"last"))
    pack(programs[packer], source, f"{work}/image")
    unpack(programs[unpacker], f"{work}/image", target, timeout=60)
    st = os.stat(f"{target}/huge")
    assert (st.st_size, st.st_blocks) == (size, os.stat(f"{source}/huge").st_blocks)
    with open(f"{target}/huge", "rb") as f:
        assert f.read(6) == b"first\0"
        f.seek(size - 5)
        assert f.read() == b"\0last"


def test_files_of_nothing_take_no_time(ours, tmpfs, work):
    source, target = tmpfs("source"), tmpfs("target")
    size = 1 << 50
    for number in range(3):
        sparse(f"{source}/{number}", size, (size // 2, b"middle"))
    assert pack(ours, source, f"{work}/image").seconds < 5
    assert unpack(ours, f"{work}/image", target).seconds < 5
    assert [os.stat(f"{target}/{number}").st_size for number in range(3)] == [size] * 3
    os.truncate(f"{source}/1", size + 1)
    result = pack(ours, source, f"{work}/image", ok=None)
    assert result.code == 2 and result.err == f"Error (tar): packing './1': it says that it has {size + 1} bytes: file too large\n"


def test_sockets_and_links_from_elsewhere_are_told(ours, tmpfs, work):
    source, target = tmpfs("source"), tmpfs("target")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{source}/so\nket")
    write(f"{source}/outer", b"x")
    os.mkdir(f"{source}/inner")
    os.link(f"{source}/outer", f"{source}/inner/file")
    said = pack(ours, f"{source}/inner", f"{work}/image").err
    assert said == "tar: 1 of the links to './file' are elsewhere\n"
    said = pack(ours, source, f"{work}/image").err
    assert said == "tar: './so?ket' is a socket, which is left out\n"
    unpack(ours, f"{work}/image", target)
    assert sorted(os.listdir(target)) == ["inner", "outer"]


def test_other_file_systems_are_left_out(ours, tmpfs, work):
    source, target = tmpfs("source"), tmpfs("target")
    write(f"{source}/file", b"x")
    proc.run(["mount", "--mkdir", "-t", "tmpfs", "test", f"{source}/mount"])
    write(f"{source}/mount/hidden", b"x")
    said = pack(ours, source, f"{work}/image").err
    proc.run(["umount", f"{source}/mount"])
    assert said == "tar: './mount' is another file system, which is left out\n"
    unpack(ours, f"{work}/image", target)
    assert sorted(os.listdir(target)) == ["file", "mount"] and os.listdir(f"{target}/mount") == []


def test_what_could_not_be_unpacked_is_not_packed(ours, tmpfs, work):
    source = tmpfs("source")
    here = os.open(source, os.O_RDONLY)
    for _ in range(402):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    result = pack(ours, source, f"{work}/image", ok=None)
    assert result.code == 2 and result.err.startswith("Error (tar): packing './d/d/") and result.err.endswith(": it is more than 400 directories deep\n")


def test_a_full_image_file_is_told(ours, tmpfs):
    source = tmpfs("source")
    write(f"{source}/file", random.Random(2).randbytes(1 << 20))
    result = pack(ours, source, "/dev/full", ok=None)
    assert result.code == 2 and "no space left on device" in result.err.lower() and len(result.err.splitlines()) == 1


def test_a_full_file_system_is_told(ours, tmpfs, work):
    source, target = tmpfs("source"), tmpfs("target")
    proc.run(["mount", "-o", "remount,size=64k", target])
    write(f"{source}/file", random.Random(2).randbytes(1 << 20))
    pack(ours, source, f"{work}/image")
    result = unpack(ours, f"{work}/image", target, ok=None)
    assert result.code == 2 and result.err.startswith("Error (tar): unpacking './file': ") and result.err.lower().endswith("no space left on device\n")


# ---- images of anybody ----

def entry(name, kind=tarfile.REGTYPE, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(content), 0o755
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def image(path, *entries, cut=None, change=lambda raw: raw):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    packed = change(gzip.compress(raw.getvalue()))
    with open(path, "wb") as f:
        f.write(packed[:cut])


HOSTILE = {
    "a name with ..": [entry("../victim", content=b"bad")],
    "a name with .. in the middle": [entry("d", tarfile.DIRTYPE), entry("d/../../victim", content=b"bad")],
    "an absolute name": [entry("/{work}/victim", content=b"bad")],
    "through a symlink": [entry("l", tarfile.SYMTYPE, linkname=".."), entry("l/victim", content=b"bad")],
    "through an absolute symlink": [entry("l", tarfile.SYMTYPE, linkname="/{work}"), entry("l/victim", content=b"bad")],
    "through a symlink that was there": [entry("there/victim", content=b"bad")],
    "a directory through a symlink that was there": [entry("there/new", tarfile.DIRTYPE)],
    "a hard link out of it": [entry("h", tarfile.LNKTYPE, linkname="../victim"), entry("h", content=b"bad")],
    "a hard link to an absolute name": [entry("h", tarfile.LNKTYPE, linkname="/{work}/victim")],
    "a hard link through a symlink": [entry("l", tarfile.SYMTYPE, linkname=".."), entry("h", tarfile.LNKTYPE, linkname="l/victim")],
    "a root that is a symlink": [entry("./", tarfile.SYMTYPE, linkname="..")],
    "a root that is a file": [entry(".", content=b"bad")],
    "no name": [entry("x", linkname=""), entry("a//b")],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_outside_is_reached(ours, work, case):
    os.makedirs(f"{work}/in")
    os.symlink("..", f"{work}/in/there")
    write(f"{work}/victim", b"safe")
    entries = []
    for info, content in HOSTILE[case]:
        # tarfile would strip nothing; the work directory is known only here.
        info.name, info.linkname = info.name.replace("/{work}", work), info.linkname.replace("/{work}", work)
        entries.append((info, content))
    image(f"{work}/image", *entries)
    result = unpack(ours, f"{work}/image", f"{work}/in", ok=None)
    assert result.code == 2 and len(result.err.splitlines()) == 1 and result.err.startswith("Error (tar): "), result
    st = os.stat(f"{work}/victim")
    with open(f"{work}/victim") as f:
        assert f.read() == "safe" and st.st_nlink == 1 and sorted(os.listdir(work)) == ["image", "in", "victim"]


def test_a_symlink_in_the_way_is_replaced_not_followed(ours, work):
    os.makedirs(f"{work}/in")
    write(f"{work}/victim", b"safe")
    for name in ("file", "directory", "fifo"):
        os.symlink("../victim", f"{work}/in/{name}")
    image(f"{work}/image", entry("file", content=b"new"), entry("directory", tarfile.DIRTYPE), entry("fifo", tarfile.FIFOTYPE))
    unpack(ours, f"{work}/image", f"{work}/in")
    with open(f"{work}/victim") as f, open(f"{work}/in/file") as g:
        assert (f.read(), g.read()) == ("safe", "new")
    assert os.path.isdir(f"{work}/in/directory") and stat.S_ISFIFO(os.lstat(f"{work}/in/fifo").st_mode)


DAMAGED = {
    "cut": {"cut": 60},
    "without its end": {"cut": -4},
    "with another sum": {"change": lambda raw: raw[:-8] + bytes([raw[-8] ^ 1]) + raw[-7:]},
    "not of gzip": {"change": gzip.decompress},
    "with something behind": {"change": lambda raw: raw + b"more"},
    "of nothing": {"change": lambda raw: gzip.compress(b"")},
    "of zeroes": {"change": lambda raw: gzip.compress(bytes(10240))},
    "of noise": {"change": lambda raw: gzip.compress(random.Random(3).randbytes(10240))},
    "with half an entry": {"change": lambda raw: gzip.compress(gzip.decompress(raw)[:700])},
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_image_is_an_error(ours, work, case):
    os.makedirs(f"{work}/in")
    image(f"{work}/image", entry("file", content=b"content" * 100), **DAMAGED[case])
    result = unpack(ours, f"{work}/image", f"{work}/in", ok=None)
    assert result.code == 2 and len(result.err.splitlines()) == 1 and result.err.startswith("Error (tar): "), result


def test_padding_and_several_members_are_as_gzip_has_them(ours, work):
    os.makedirs(f"{work}/in")
    image(f"{work}/image", entry("file", content=b"content"), change=lambda raw: gzip.compress(b"") + raw + bytes(1000))
    unpack(ours, f"{work}/image", f"{work}/in")
    assert os.listdir(f"{work}/in") == ["file"]


# ---- as what it stands in PATH ----

def test_all_other_calls_go_to_the_next_tar(ours, work):
    os.makedirs(f"{work}/a")
    os.makedirs(f"{work}/b")
    for copy in "ab":
        shutil.copy(ours, f"{work}/{copy}/tar")
    write(f"{work}/file", b"x")
    env = {"PATH": f"relative:{work}/a::{work}/b:{work}/none:/usr/bin:/bin"}
    said = proc.run([f"{work}/a/tar", "--version"], env=env).out
    assert said.startswith("tar (GNU tar)")
    for words in (["-cf", f"{work}/out.tar", "-C", work, "file"], [*CREATE[:-1], "..", "-f", f"{work}/out.tar"], [*EXTRACT, work, "--anything"]):
        gnu = proc.run([GNU, *words], ok=None, env=env)
        result = proc.run([f"{work}/a/tar", *words], ok=None, env=env)
        assert (result.code, result.out) == (gnu.code, gnu.out)
    result = proc.run([ours, "--version"], env={"PATH": f"{os.path.dirname(ours)}:{work}/none"}, ok=None)
    assert result.code == 2 and "there is no other after it in PATH" in result.err


def made_by_us(images):
    """By the level in the head of gzip: rt's is the quickest, which GNU tar doesn't ask for."""
    heads = []
    for name in os.listdir(images):
        if name.startswith("tmpfs-dev-"):
            with open(f"{images}/{name}", "rb") as f:
                heads.append(f.read(10))
    assert heads
    return all(head[8] == 4 and head[4:8] == bytes(4) for head in heads)


FILL = r"""
os.makedirs('/dev/shm/a/b', 0o2755); os.chmod('/dev/shm/a', 0o2750); os.symlink('/etc/passwd', '/dev/shm/link'); os.mkfifo('/dev/shm/fifo')
open('/dev/shm/a/file', 'wb').write(b'x' * 3000000); os.link('/dev/shm/a/file', '/dev/shm/hard'); os.chown('/dev/shm/a/file', 12, 34)
os.chmod('/dev/shm/a/file', 0o4751)
f = open('/dev/shm/sparse', 'wb'); f.truncate(1 << 24); f.seek(1 << 23); f.write(b'middle'); f.close()
open(b'/dev/shm/\xff\n' + b'n' * 200, 'w').close()
os.mknod('/dev/shm/whiteout', 0o20000, 0)
os.utime('/dev/shm/a', ns=(1, 1234567890123456789))
os.chmod('/dev/shm', 0o1757)
"""
ASK = r"""
[(p, oct(s.st_mode), s.st_uid, s.st_gid, s.st_rdev, s.st_size, s.st_blocks, s.st_nlink, s.st_mtime_ns, os.readlink(p) if os.path.islink(p) else None)
 for d, below, files in sorted(os.walk(b'/dev')) for n in sorted([b''] + below + files) for p in [d + b'/' + n] for s in [os.lstat(p)]
 if not p.startswith((b'/dev/pts', b'/dev/mqueue', b'/dev/fd', b'/dev/std'))]
"""


@pytest.mark.parametrize("userns", [False, True], ids=["host", "user-namespace"])
def test_a_container_finds_its_tmpfs_as_it_was(ours, inside, userns):
    needs.criu()
    c = inside(started=False)
    if userns:
        config.use_user_namespace(c.config, 200000, 65536)
        proc.run(["chown", "-R", "-h", "200000:200000", c.rootfs])
        os.chmod(os.path.dirname(c.dir), 0o711)
    config.set_capabilities(c.config, ["CAP_CHOWN", "CAP_MKNOD", "CAP_FOWNER", "CAP_FSETID", "CAP_DAC_OVERRIDE"])
    c.run_detached()
    c.do(FILL)
    before = c.do(ASK)
    for turn in range(2):
        images = frozen.checkpoint(c, name=f"images{turn}")
        assert made_by_us(images)
        frozen.restore(c, images)
        assert c.do(ASK) == before


def test_the_container_runs_on_when_its_tmpfs_cannot_be_packed(ours, inside):
    needs.criu()
    c = inside()
    c.do("here = os.open('/dev/shm', os.O_RDONLY)\nfor i in range(402):\n    os.mkdir('d', dir_fd=here); there = os.open('d', os.O_RDONLY, dir_fd=here); os.close(here); here = there\n"
         "os.close(here)")
    result = frozen.checkpoint(c, ok=False)
    assert "more than 400 directories deep" in result.err and len(result.err.splitlines()) == 1
    assert c.status == "running" and c.do("1 + 1") == 2
