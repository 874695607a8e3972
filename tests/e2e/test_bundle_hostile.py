"""Layers are somebody else's: whatever is in them, nothing outside of the bundle is touched, and what fails leaves nothing."""

import gzip
import io
import os
import signal
import subprocess
import tarfile

import pytest

from lib import containers_of_image as made
from lib import image, needs, proc
from lib.image import device, directory, file, hardlink, layer, member, symlink

REFUSED = made.refused


@pytest.fixture
def outside(work):
    """A directory beside the bundle, which must stay as it is."""
    os.makedirs(f"{work}/outside")
    with open(f"{work}/outside/file", "w") as f:
        f.write("safe\n")
    before = image.tree(f"{work}/outside")
    yield f"{work}/outside"
    assert image.tree(f"{work}/outside") == before
    assert not os.path.exists("/run/escaped") and not os.path.exists("/escaped")


def refused(work, layers, *words, **how):
    REFUSED(work, image.layout(f"{work}/image", *layers), *words, **how)


# Refused

@pytest.mark.parametrize("entries, words", [
    ([file("../escaped")], "lies outside"),
    ([file("a/../../escaped")], "lies outside"),
    ([file("a/..")], "lies outside"),
    ([file("..")], "lies outside"),
    ([hardlink("x", "../../../etc/passwd")], "lies outside"),
    ([hardlink("x", "../outside/file")], "lies outside"),
    ([hardlink("x", "not/there")], "no such file"),
    ([directory("d"), hardlink("x", "d")], "cannot link it"),
    ([symlink("l", "/"), hardlink("x", "l/run/tests")], "no such file"),
    ([file("x"), file("x/y")], "not a directory"),
    ([file("n" * 256)], "lies outside, or its name is none"),
    ([file("/".join(["d"] * 2100))], "name is none"),
    ([file("/".join(["d"] * 500))], "directories deep"),
    ([symlink("l", "l"), file("l/x")], "too many levels"),
    ([symlink("a", "b"), symlink("b", "a"), file("a/x")], "too many levels"),
    ([file(".")], "the root is no directory"),
    ([file("x", uid=1 << 32)], "is no id"),
    ([file("x", gid=(1 << 32) - 1)], "is no id"),
], ids=lambda v: None if isinstance(v, str) else "-".join(m.name[:12] or "none" for m, _ in v))
def test_entries_that_cannot_be(work, outside, entries, words):
    refused(work, [layer(*entries)], words)


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh.", "d/.wh...", "l/.wh..."])
def test_whiteouts_of_what_is_above(work, outside, name):
    base = layer(directory("d"), symlink("l", "/d"), file("keep"))
    refused(work, [base, layer(file(name))], "a whiteout of nothing")


# Taken, and kept inside

def created(work, *layers, **how):
    return made.create(work, image.layout(f"{work}/image", *layers), **how) + "/rootfs"


def test_absolute_names_are_those_of_the_root(work, outside):
    root = created(work, layer(file("/escaped", b"x"), file("//run//escaped", b"y"), hardlink("h", "/escaped")))
    assert image.contents(f"{root}/run/escaped") == b"y" and image.contents(f"{root}/h") == b"x"


@pytest.mark.parametrize("target", ["/run", "../../../../../../run", "/../run", "up/../../../run"])
def test_a_directory_that_is_a_symlink_out(work, outside, target):
    root = created(work, layer(directory("run"), directory("up"), symlink("l", target)), layer(file("l/escaped", b"x")))
    assert image.contents(f"{root}/run/escaped") == b"x"


def test_a_symlink_to_the_outside_is_replaced_and_not_written_through(work, outside):
    root = created(work, layer(symlink("passwd", f"{outside}/file"), symlink("dir", outside)),
                   layer(file("passwd", b"new"), directory("dir", mode=0o700), file("dir/file", b"new")))
    assert image.contents(f"{root}/passwd") == b"new" and image.contents(f"{root}/dir/file") == b"new"


def test_attributes_do_not_go_through_symlinks(work, outside):
    created(work, layer(symlink("l", f"{outside}/file", uid=77, mode=0o777, mtime=5), symlink("d", outside, uid=77)))


@pytest.mark.parametrize("target", ["/", "/run/tests", "../../..", "/outside", "."])
def test_whiteouts_through_symlinks_stay_inside(work, outside, target):
    base = layer(directory("outside"), file("outside/file"), directory("etc"), file("etc/passwd"), symlink("l", target),
                 symlink("abs", outside))
    root = created(work, base, layer(file("l/.wh.outside"), file("l/.wh.file"), file("abs/.wh.file"), file("l/.wh..wh..opq")))
    assert os.path.exists("/etc/passwd") and os.path.isdir(root)


def test_a_name_with_a_hundred_faces(work, outside):
    """Each kind in the place of each other; what stands last counts."""
    kinds = [directory, lambda n: file(n, b"file"), lambda n: symlink(n, f"{outside}/file"), lambda n: hardlink(n, "base"),
             lambda n: member_of_kind(n, tarfile.FIFOTYPE), lambda n: device(n, (1, 3)), lambda n: symlink(n, outside)]
    entries = [file("base", b"base")]
    for a in kinds:
        for b in kinds:
            entries += [a("x"), b("x")]
    entries += [directory("x"), file("x/inner", b"in"), file("x", b"last")]
    root = created(work, layer(*entries), layer(*entries[1:]))
    assert image.contents(f"{root}/x") == b"last" and image.contents(f"{root}/base") == b"base"


def member_of_kind(name, kind):
    return member(name, kind), b""


def test_overlay_attributes_and_labels_are_left_out(work):
    root = created(work, layer(file("x", b"x", xattrs={"trusted.overlay.redirect": "/etc", "trusted.overlay.opaque": "y",
                                                      "security.selinux": "evil", "user.good": "1", "trusted.good": "2"}),
                               directory("d", xattrs={"trusted.overlay.opaque": "y"})))
    assert sorted(n for n in os.listxattr(f"{root}/x") if n != "security.selinux") == ["trusted.good", "user.good"]
    assert os.listxattr(f"{root}/d") == []


def test_the_bundle_is_not_for_everybody(work):
    """A set-user-id program of an image must not be one of the host's."""
    root = created(work, layer(file("su", b"x", mode=0o4755)))
    assert os.stat(os.path.dirname(root)).st_mode & 0o077 == 0
    os.chmod(work, 0o755)
    assert proc.run(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "cat", f"{root}/su"], ok=None).code != 0


# Sizes

def test_a_file_that_says_it_is_huge(work):
    m = member("huge")
    m.size = 1 << 60
    REFUSED(work, image.layout(f"{work}/image", m.tobuf(tarfile.PAX_FORMAT)), "the most that is allowed here")


def test_more_than_the_limit(work):
    path = image.layout(f"{work}/image", layer(*[file(f"f{i}", os.urandom(1000)) for i in range(100)]))
    REFUSED(work, path, "more than 51200 bytes", words=["--max-size", "50k"])
    made.create(work, path, "--max-size", "1m")


def test_a_bomb(work):
    """Two GiB of zeroes in some hundred KiB; the zeroes would be holes, but what counts is what they say they are."""
    needs.program("zstd")
    with open(f"{work}/head", "wb") as f:
        m = member("zero")
        m.size = 2 << 30
        f.write(m.tobuf(tarfile.PAX_FORMAT))
    subprocess.run(["sh", "-c", f"(cat {work}/head; head -c 2G /dev/zero) | zstd -1 -q > {work}/bomb.tar.zst"], check=True, timeout=60)
    assert os.path.getsize(f"{work}/bomb.tar.zst") < 1 << 20
    mount_small(work)
    try:
        REFUSED(f"{work}/small", f"{work}/bomb.tar.zst", "the most that is allowed here", timeout=60)
    finally:
        subprocess.run(["umount", "-l", f"{work}/small"], check=True)


def mount_small(work, options="size=16m,nr_inodes=300"):
    os.makedirs(f"{work}/small", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", f"{work}/small"], check=True)


def test_a_bomb_by_its_ratio(work):
    needs.program("zstd")
    with open(f"{work}/head", "wb") as f:
        m = member("zero")
        m.size = 3 << 30
        f.write(m.tobuf(tarfile.PAX_FORMAT))
    subprocess.run(["sh", "-c", f"(cat {work}/head; head -c 3G /dev/zero) | zstd -1 -q > {work}/bomb.tar.zst"], check=True, timeout=60)
    result = REFUSED(work, f"{work}/bomb.tar.zst", timeout=60)
    assert "2000 times" in result.err or "the most that is allowed" in result.err


@pytest.mark.parametrize("spoil", ["twice", "thrice"])
def test_a_tar_packed_more_than_once(work, spoil):
    def pack(data):
        for _ in range(2 if spoil == "twice" else 3):
            data = gzip.compress(data)
        return data
    REFUSED(work, image.layout(f"{work}/image", layer(file("x")), pack=pack), "compressed more than once")


def test_more_files_than_there_is_room_for(work):
    path = image.layout(f"{work}/image", layer(*[file(f"f{i}") for i in range(5000)]))
    mount_small(work)
    try:
        REFUSED(f"{work}/small", path, "more than")
    finally:
        subprocess.run(["umount", "-l", f"{work}/small"], check=True)


def test_a_full_file_system(work):
    path = image.layout(f"{work}/image", layer(*[file(f"f{i}", os.urandom(1 << 20)) for i in range(24)]))
    mount_small(work)
    try:
        REFUSED(f"{work}/small", path, words=["--max-size", "1g"])
    finally:
        subprocess.run(["umount", "-l", f"{work}/small"], check=True)


def test_holes_of_a_sparse_file_take_no_room(work):
    needs.program("tar")
    with open(f"{work}/sparse", "wb") as f:
        f.truncate(1 << 40)
        f.seek(1 << 39)
        f.write(b"middle")
    proc.run(["tar", "--sparse", "-C", work, "-cf", f"{work}/root.tar", "sparse"])
    root = made.create(work, f"{work}/root.tar") + "/rootfs"
    st = os.stat(f"{root}/sparse")
    assert st.st_size == 1 << 40 and st.st_blocks < 100
    with open(f"{root}/sparse", "rb") as f:
        f.seek(1 << 39)
        assert f.read(6) == b"middle"


def test_many_directories_deep_and_removed_again(work):
    """390 levels, then something wrong: nothing is left of them."""
    deep = "/".join(["d"] * 390)
    refused(work, [layer(file(deep + "/x"), file("../out"))], "lies outside")


def test_deeper_than_paths_go_by_symlinks(work):
    entries = [directory("/".join(["d" * 100] * 30)), symlink("l", "/".join(["d" * 100] * 30)),
               directory("l/" + "/".join(["e" * 100] * 30))]
    result = REFUSED(work, image.layout(f"{work}/image", layer(*entries)))
    assert "too long" in result.err or "deep" in result.err


# Devices

def test_devices_of_root_are_made_and_without_privilege_left_out(work):
    path = image.layout(f"{work}/image", layer(device("null", (1, 3), mode=0o666), device("disk", (8, 0), tarfile.BLKTYPE, mode=0o600),
                                               (member("fifo", tarfile.FIFOTYPE), b"")))
    root = made.create(work, path) + "/rootfs"
    assert os.stat(f"{root}/null").st_rdev == os.makedev(1, 3) and os.stat(f"{root}/disk").st_rdev == os.makedev(8, 0)
    os.makedirs(f"{work}/user")
    os.chmod(work, 0o755)
    os.chown(f"{work}/user", 1000, 1000)
    result = proc.run(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *made.argv("create", "--rootless", path,
                                                                                              f"{work}/user/b")])
    assert "2 device nodes were left out" in result.err
    assert sorted(os.listdir(f"{work}/user/b/rootfs")) == ["fifo"]


# What is not what it says

@pytest.mark.parametrize("cut", [10, 100, 1000])
def test_truncated(work, cut):
    """A blob that was cut, and whose digest says so."""
    path = image.layout(f"{work}/image", layer(file("x", os.urandom(5000))))
    blobs = sorted((os.path.getsize(f"{path}/blobs/sha256/{n}"), n) for n in os.listdir(f"{path}/blobs/sha256"))
    os.truncate(f"{path}/blobs/sha256/{blobs[-1][1]}", blobs[-1][0] - cut)
    REFUSED(work, path)


@pytest.mark.parametrize("which, what", [(-1, ""), (0, ""), (1, "")], ids=["layer", "configuration", "manifest"])
def test_one_flipped_bit(work, which, what):
    path = image.layout(f"{work}/image", layer(file("x", b"y" * 5000)), pack=bytes, suffix="")
    names = sorted(os.listdir(f"{path}/blobs/sha256"), key=lambda n: os.path.getsize(f"{path}/blobs/sha256/{n}"))
    with open(f"{path}/blobs/sha256/{names[which]}", "r+b") as f:
        f.seek(700 if which == -1 else 5)
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte ^ 4]))
    REFUSED(work, path, "not the digest that the image says")


def test_a_layer_that_is_another_than_the_configuration_says(work):
    def change(manifest, configuration):
        configuration["rootfs"]["diff_ids"] = ["sha256:" + "0" * 64]
    REFUSED(work, image.layout(f"{work}/image", layer(file("x")), change=change), "what is packed in it", "not the digest")


def test_bytes_behind_the_end_are_part_of_the_digest(work):
    root = created(work, layer(file("x", b"1")) + b"behind")
    assert image.contents(f"{root}/x") == b"1"


@pytest.mark.parametrize("size", [-1, 1])
def test_a_size_that_is_not_so(work, size):
    def change(manifest, configuration):
        manifest["layers"][0]["size"] += size
    REFUSED(work, image.layout(f"{work}/image", layer(file("x")), change=change), "where the image says")


def spoil_layers(value):
    def change(manifest, configuration):
        manifest["layers"] = value
    return change


@pytest.mark.parametrize("change, words", [
    (spoil_layers([]), "is for 1 layers, its manifest has 0"), (spoil_layers(3), "'layers' must be an array"),
    (spoil_layers([3]), "'layers[0]' must be an object"), (spoil_layers([{}]), "'layers[0].digest' is missing"),
    (spoil_layers([{"digest": "sha256:../../etc/passwd", "size": 3}]), "64 hexadecimal digits"),
    (spoil_layers([{"digest": "md5:abc", "size": 3}]), "64 hexadecimal digits"),
    (spoil_layers([{"digest": "sha256:" + "a" * 64, "size": -3}]), "must not be negative"),
    (spoil_layers([{"digest": "sha256:" + "a" * 64, "size": 3, "mediaType": image.OCI + "layer.v1.tar+gzip"}]), "is missing in it"),
    (spoil_layers([{"digest": "sha256:" + "a" * 64, "size": 3, "mediaType": image.OCI + "layer.v1.tar+encrypted"}]), "no layer that"),
    (lambda m, c: m.update(schemaVersion=1), "'schemaVersion' must be 2"), (lambda m, c: c.pop("rootfs"), "'rootfs' is missing"),
    (lambda m, c: c["config"].update(Env=[1]), "'config.Env[0]' must be a string"),
    (lambda m, c: c["config"].update(Cmd="sh"), "'config.Cmd' must be an array"),
    (lambda m, c: c["config"].update(User="nobody-here"), "is not in its /etc/passwd"),
    (lambda m, c: c["config"].update(User="0:nogroup-here"), "is not in its /etc/group"),
    (lambda m, c: c["config"].update(User="4294967295"), "is not in its /etc/passwd"),
    (lambda m, c: c["config"].update(Labels={"a": 1}), "'config.Labels.a' must be a string"),
])
def test_documents_that_are_wrong(work, change, words):
    REFUSED(work, image.layout(f"{work}/image", layer(file("x")), change=change), words)


def test_passwd_is_what_the_image_says_and_not_the_host(work):
    path = image.layout(f"{work}/image", layer(directory("etc"), symlink("etc/passwd", "/proc/1/root/etc/passwd"),
                                               symlink("etc/group", "../../../../etc/group")), config={"User": "root"})
    REFUSED(work, path, "is not in its /etc/passwd")
    path = image.layout(f"{work}/fifo", layer(directory("etc"), (member("etc/passwd", tarfile.FIFOTYPE), b"")), config={"User": "x"})
    REFUSED(work, path, "is no regular file")


# Ended by force

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["INT", "TERM", "KILL"])
def test_interrupted(work, number):
    """`rt` gone, its helper cleans up."""
    path = image.layout(f"{work}/image", layer(*[file(f"d{i % 100}/f{i}", os.urandom(2000)) for i in range(20000)]), pack=bytes, suffix="")
    child = proc.start(made.argv("create", path, f"{work}/b"))
    proc.eventually(lambda: os.path.isdir(f"{work}/b.partial/rootfs/d50"), what="it to begin")
    child.send_signal(number)
    assert child.wait() != 0
    proc.eventually(lambda: sorted(os.listdir(work)) == ["image"], what="it to be gone")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT], ids=["INT", "TERM", "HUP", "QUIT"])
def test_the_helper_asked_to_stop(work, number):
    path = image.layout(f"{work}/image", layer(*[file(f"d{i % 100}/f{i}", os.urandom(2000)) for i in range(20000)]), pack=bytes, suffix="")
    child = proc.start(made.argv("create", path, f"{work}/b"), stderr=subprocess.PIPE)
    proc.eventually(lambda: os.path.isdir(f"{work}/b.partial/rootfs/d50"), what="it to begin")
    with open(f"/proc/{child.pid}/task/{child.pid}/children") as f:
        os.kill(int(f.read().split()[0]), number)
    assert f"interrupted by {number.name}" in child.communicate()[1].decode()
    assert child.returncode == 1 and sorted(os.listdir(work)) == ["image"]


def test_the_helper_killed(work):
    path = image.layout(f"{work}/image", layer(*[file(f"d{i % 100}/f{i}", os.urandom(2000)) for i in range(20000)]), pack=bytes, suffix="")
    child = proc.start(made.argv("create", path, f"{work}/b"))
    proc.eventually(lambda: os.path.isdir(f"{work}/b.partial/rootfs/d50"), what="it to begin")
    with open(f"/proc/{child.pid}/task/{child.pid}/children") as f:
        os.kill(int(f.read().split()[0]), signal.SIGKILL)
    assert child.wait() != 0
    assert sorted(os.listdir(work)) == ["image"]


def test_what_an_earlier_one_left_is_swept(work):
    path = image.layout(f"{work}/image", layer(file("x")))
    os.makedirs(f"{work}/b.partial/rootfs/old")
    made.create(work, path, name="b")
    assert sorted(os.listdir(work)) == ["b", "image"] and os.listdir(f"{work}/b/rootfs") == ["x"]


def test_what_another_one_makes_is_left_alone(work):
    import fcntl
    path = image.layout(f"{work}/image", layer(file("x")))
    os.makedirs(f"{work}/b.partial/rootfs/other")
    fd = os.open(f"{work}/b.partial", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        result = proc.run(made.argv("create", path, f"{work}/b"), ok=False)
        assert "is being made by somebody else" in result.err and os.path.exists(f"{work}/b.partial/rootfs/other")
    finally:
        os.close(fd)


# Archives of images

def archive(work, members):
    path = f"{work}/image.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            m = tarfile.TarInfo(name)
            m.size = len(data)
            tar.addfile(m, io.BytesIO(data))
    return path


@pytest.mark.parametrize("members, words", [
    ([("manifest.json", b"{}")], "must be an array"), ([("manifest.json", b"[]")], "there is no image"),
    ([("manifest.json", b'[{"Config": "../../../etc/passwd", "Layers": []}]')], "is missing in it"),
    ([("manifest.json", b'[{"Config": "c.json", "Layers": ["l.tar"]}]'), ("c.json", b"[]")], "must be an object"),
    ([("index.json", b"["), ("oci-layout", b"{}")], "not valid JSON"),
    ([("index.json", b'{"manifests": []}')], "there is no image in it"),
    ([("index.json", b'{"manifests": [{"mediaType": "x", "digest": "sha256:' + b"a" * 64 + b'", "size": 3}]}')], "there is no image"),
])
def test_archives_that_are_wrong(work, members, words):
    REFUSED(work, archive(work, members), words)
