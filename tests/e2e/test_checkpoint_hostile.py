"""Images and archives are somebody else's: whatever is in them, the answer is one clear error (or a restore
that is a restore), and nothing is written where it should not be."""

import io
import os
import random
import shutil
import subprocess
import tarfile

import pytest

from lib import config, frozen, needs

SLEEP = ["sh", "-c", "while :; do sleep 1; done"]


@pytest.fixture(autouse=True)
def criu():
    needs.program("criu")


@pytest.fixture
def dumped(running, work):
    c = running(SLEEP)
    c.images = frozen.checkpoint(c, "--export", f"{work}/good.tar")
    return c


def copy_of(c, name="bad"):
    path = f"{c.dir}/{name}"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(c.images, path, symlinks=True)
    return path


def assert_refused(c, result, *words):
    assert result.code not in (0, 134, 136, 139) and result.code > 0, repr(result)
    assert result.err.count("\n") == 1 and result.err.startswith("rt: "), result.err
    for word in words:
        assert word in result.err, result.err
    assert not c.exists()


def restored(c, images, **how):
    return frozen.restore(c, images, ok=None, **how)


@pytest.mark.parametrize("spoil, words", [
    (lambda d: os.truncate(f"{d}/core-1.img", 30), "core-1.img"),
    (lambda d: os.unlink(f"{d}/mm-1.img"), "mm-1.img"),
    (lambda d: os.truncate(f"{d}/pages-1.img", 4096), "pages-1.img"),
    (lambda d: shutil.copy(f"{d}/core-1.img", f"{d}/core-77.img"), "core-77.img"),
    (lambda d: (os.unlink(f"{d}/fs-1.img"), os.symlink("/etc/passwd", f"{d}/fs-1.img")), "fs-1.img"),
    (lambda d: (os.unlink(f"{d}/fs-1.img"), os.mkfifo(f"{d}/fs-1.img")), "fs-1.img"),
    (lambda d: (os.unlink(f"{d}/manifest"), os.symlink("/etc/passwd", f"{d}/manifest")), "manifest"),
    (lambda d: (os.unlink(f"{d}/manifest"), os.mkdir(f"{d}/manifest")), "manifest"),
    (lambda d: os.truncate(f"{d}/manifest", 100), "manifest"),
    (lambda d: os.truncate(f"{d}/inventory.img", 0), "inventory.img"),
    (lambda d: os.truncate(f"{d}/manifest", 1 << 40), "manifest"),
], ids=["truncated", "missing", "cut pages", "one too many", "symlink", "fifo", "manifest a symlink", "manifest a directory",
        "manifest truncated", "empty inventory", "manifest of a terabyte"])
def test_a_directory_that_was_tampered_with(dumped, spoil, words):
    bad = copy_of(dumped)
    spoil(bad)
    assert_refused(dumped, restored(dumped, bad), words)


def test_flipped_bits_in_small_images_are_seen(dumped):
    draw = random.Random(1)
    names = sorted(n for n in os.listdir(dumped.images) if n.endswith(".img"))
    for name in names:
        bad = copy_of(dumped)
        size = os.path.getsize(f"{bad}/{name}")
        if size == 0:
            continue
        with open(f"{bad}/{name}", "r+b") as f:
            at = draw.randrange(size)
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1 << draw.randrange(8)]))
        assert_refused(dumped, restored(dumped, bad), name)


def test_flipped_bits_in_the_manifest(dumped):
    """It vouches for the images, and nothing for it: it is refused, or what it says then is harmless."""
    draw = random.Random(2)
    for _ in range(40):
        bad = copy_of(dumped)
        with open(f"{bad}/manifest", "r+b") as f:
            text = bytearray(f.read())
            for _ in range(3):
                text[draw.randrange(len(text))] ^= 1 << draw.randrange(8)
            f.seek(0)
            f.write(text)
        result = restored(dumped, bad)
        assert result.code in (0, 1), repr(result)
        dumped.delete("--force")
        assert dumped.rt("checkpoint", "inspect", bad, ok=None).code in (0, 1)


@pytest.mark.parametrize("text", [b"", b"\xff" * 64, b"\x0a" * 5000, b"\x0a\xff\xff\xff\xff\x0f", bytes(4096)])
def test_broken_protobuf_without_a_manifest_to_tell(dumped, text):
    """Images as of another runtime: nobody has digests. inspect reads them all."""
    for name in ("pstree.img", "core-1.img", "inventory.img", "files.img"):
        bad = copy_of(dumped)
        os.unlink(f"{bad}/manifest")
        with open(f"{bad}/{name}", "r+b") as f:
            head = f.read(8)
            f.seek(0)
            f.write(head + text)
            f.truncate()
        assert dumped.rt("checkpoint", "inspect", bad, ok=None).code in (0, 1)
        assert_refused(dumped, restored(dumped, bad))


# Archives

def repacked(c, work, change):
    """The archive, with its members through change(tar, member, bytes) -> list of (member, bytes)."""
    path = f"{work}/bad.tar"
    with tarfile.open(f"{work}/good.tar") as old, tarfile.open(path, "w") as new:
        for member in old.getmembers():
            content = old.extractfile(member).read() if member.isfile() else b""
            for m, data in change(member, content):
                m.size = len(data) if m.isfile() else 0
                new.addfile(m, io.BytesIO(data) if m.isfile() else None)
    return path


def member(name, kind=tarfile.REGTYPE, link=""):
    m = tarfile.TarInfo(name)
    m.type = kind
    m.linkname = link
    m.mode = 0o644
    return m


def adding(*more):
    """Further members before all others."""
    pending = list(more)

    def change(m, data):
        first, pending[:] = list(pending), []
        return [*first, (m, data)]
    return change


def imported(c, path, *flags, **how):
    return c.rt("restore", "--detach", "--bundle", c.dir, "--import", path, *flags, c.id, ok=None, **how)


def varint(number):
    text = bytearray()
    while number > 127:
        text.append(number & 127 | 128)
        number >>= 7
    return bytes(text + bytes([number]))


def field(number, value):
    """As protobuf has it: a number, or bytes after their length. What is appended to a message counts as part of it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def add_to_container(images, number, message):
    with open(f"{images}/manifest", "ab") as f:
        f.write(field(7, field(number, message)))


def test_a_manifest_cannot_pass_on_what_is_open_in_rt(dumped):
    c = dumped
    for fd in (3, 5, 7, 57):
        bad = copy_of(c)
        with open(f"{bad}/manifest", "r+b") as f:
            text = f.read()
            stdout = field(1, 1) + field(2, 3) + b"\x1a"  # of a Stream: descriptor 1, a file, and then its key
            assert text.count(stdout) == 1
            f.seek(0)
            f.write(text.replace(stdout, field(1, fd) + stdout[2:]))
        assert_refused(c, restored(c, bad), f"descriptor {fd} as a standard stream")


def test_a_manifest_with_more_namespaces_than_there_are(dumped, network):
    c = dumped
    config.set_namespace(c.config, "network", network.path("net"))
    c.write_config()
    bad = copy_of(c)
    for i in range(100):
        add_to_container(bad, 10, field(1, 4) + field(2, 2) + field(5, b"key"))
    assert_refused(c, restored(c, bad), "the manifest names more namespaces and streams than a container has")


def test_a_manifest_cannot_bind_what_the_config_does_not(dumped, work):
    c = dumped
    os.makedirs(f"{work}/secret")
    for source in ("/etc", f"{work}/secret", "/dev/../etc", c.dir + "/.."):
        bad = copy_of(c)
        add_to_container(bad, 9, field(1, b"/mnt") + field(2, source.encode()) + field(3, b"/mnt") + field(7, 1))
        assert_refused(c, restored(c, bad), f"its source '{source}' of the checkpoint is in no mount of this configuration")


@pytest.mark.parametrize("extra", [
    (member("checkpoint/../../../../escaped"), b"x"), (member("../escaped"), b"x"), (member("/run/escaped"), b"x"),
    (member("checkpoint/fs-1.img", tarfile.SYMTYPE, "/run/escaped"), b""),
    (member("checkpoint/core-9.img", tarfile.LNKTYPE, "/etc/passwd"), b""),
    (member("checkpoint/core-9.img", tarfile.CHRTYPE), b""), (member("checkpoint/core-9.img", tarfile.FIFOTYPE), b""),
    (member("checkpoint/core-1.img"), b"twice"),
    (member("checkpoint/core-9.img"), b"not in the manifest"),
], ids=["..", ".. at the top", "absolute", "symlink", "hard link", "device", "fifo", "twice", "one too many"])
def test_an_archive_that_wants_out(dumped, work, extra):
    os.makedirs(f"{work}/tmp")
    before = set(os.listdir("/run"))
    path = repacked(dumped, work, adding(extra))
    result = imported(dumped, path, env={**os.environ, "TMPDIR": f"{work}/tmp"})
    assert_refused(dumped, result, path)
    assert set(os.listdir("/run")) == before and os.listdir(f"{work}/tmp") == []
    assert not os.path.exists(f"{work}/escaped")


@pytest.mark.parametrize("extra", [(member("checkpoint", tarfile.SYMTYPE, "/run"), b""), (member("checkpoint/a/b.img"), b"x"),
                                   (member("volumes/escaped"), b"x")], ids=["symlink", "deeper", "volume"])
def test_names_that_are_not_of_the_layout_are_skipped(dumped, work, extra):
    """Engines put more into their archives. Nothing is made of it, a link where a directory belongs included."""
    before = set(os.listdir("/run"))
    assert imported(dumped, repacked(dumped, work, adding(extra))).code == 0
    assert set(os.listdir("/run")) == before
    assert "escaped" not in os.listdir(dumped.dir)


@pytest.mark.parametrize("spoil", [
    lambda path: os.truncate(path, os.path.getsize(path) // 2), lambda path: os.truncate(path, 0),
    lambda path: os.truncate(path, 700), lambda path: open(path, "wb").write(os.urandom(100000)),
    lambda path: subprocess.run(["sh", "-c", f"gzip -c {path} | head -c 3000 > {path}.gz; mv {path}.gz {path}"], check=True),
], ids=["half", "empty", "a piece", "noise", "half a gzip"])
def test_an_archive_that_is_none(dumped, work, spoil):
    shutil.copy(f"{work}/good.tar", f"{work}/bad.tar")
    spoil(f"{work}/bad.tar")
    assert_refused(dumped, imported(dumped, f"{work}/bad.tar"), "bad.tar")
    assert dumped.rt("checkpoint", "inspect", f"{work}/bad.tar", ok=None).code == 1


def test_a_bomb(dumped, work):
    """Ten GiB of zeros in ten MiB."""
    needs.program("zstd")
    script = ("import sys, tarfile;"
              "m = tarfile.TarInfo('checkpoint/pages-9.img'); m.size = 10 << 30;"
              "sys.stdout.buffer.write(m.tobuf())")
    with open(f"{work}/head", "wb") as f:
        subprocess.run(["/usr/bin/python3", "-c", script], stdout=f, check=True)
    subprocess.run(["sh", "-c", f"(cat {work}/head; head -c 10G /dev/zero) | zstd -1 -q > {work}/bomb.tar.zst"], check=True,
                   timeout=120)
    os.makedirs(f"{work}/tmp")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", f"{work}/tmp"], check=True)
    try:
        result = imported(dumped, f"{work}/bomb.tar.zst", env={**os.environ, "TMPDIR": f"{work}/tmp"}, timeout=60)
        assert_refused(dumped, result, "bomb.tar.zst")
        assert os.listdir(f"{work}/tmp") == []
    finally:
        subprocess.run(["umount", "-l", f"{work}/tmp"], check=True)


@pytest.mark.parametrize("extra, outside", [
    ([(member("etc/evil", tarfile.SYMTYPE, "/run"), b""), (member("etc/evil/escaped"), b"x")], "/run/escaped"),
    ([(member("../../../run/escaped"), b"x")], "/run/escaped"), ([(member("/run/escaped"), b"x")], "/run/escaped"),
    ([(member("tmp/up", tarfile.SYMTYPE, "../../.."), b""), (member("tmp/up/escaped"), b"x")], None),
], ids=["through a symlink", "..", "absolute", "through a relative symlink"])
def test_changes_of_the_root_filesystem_that_want_out(dumped, work, extra, outside):
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as tar:
        for m, data in extra:
            m.size = len(data) if m.isfile() else 0
            tar.addfile(m, io.BytesIO(data) if m.isfile() else None)
    path = repacked(dumped, work, adding((member("rootfs-diff.tar"), inner.getvalue())))
    assert_refused(dumped, imported(dumped, path), path)
    assert not outside or not os.path.exists(outside)
    for directory in (work, dumped.dir, "/run"):
        assert "escaped" not in os.listdir(directory)


@pytest.mark.parametrize("text", [b'["/../../../etc/passwd"]', b'["../x"]', b"[1, 2]", b"{", b'[""]', b'["/"]'])
def test_deletions_that_want_out(dumped, work, text):
    passwd = os.stat("/etc/passwd")
    path = repacked(dumped, work, adding((member("deleted.files"), text)))
    assert imported(dumped, path).code in (0, 1)
    dumped.delete("--force")
    assert os.stat("/etc/passwd").st_ino == passwd.st_ino
    assert os.path.exists(dumped.host_path("/bin/busybox"))
