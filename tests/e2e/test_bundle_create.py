"""`rt bundle create`: every form of an image to the same bundle, layers as the image specification has them, and what
config.json becomes. test_bundle_umoci.py compares with another tool, test_bundle_hostile.py has the images nobody wants."""

import bz2
import gzip
import io
import json
import lzma
import os
import platform
import stat
import subprocess
import tarfile

import pytest

from lib import containers_of_image as made
from lib import container as containers
from lib import image, needs, proc, rootfs
from lib.image import device, directory, file, hardlink, layer, member, symlink

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001:Bob:/home/bob:/bin/sh\n1234:x:7:8::/seven:\nhalf:x:\n"
GROUP = b"root:x:0:\nbobs:x:1001:\nextra:x:44:alice,bob\nmore:x:45:bob\nrooty:x:46:root\n"
USERS = [directory("etc"), file("etc/passwd", PASSWD), file("etc/group", GROUP)]


def created(work, *layers, words=(), **how):
    return made.create(work, image.layout(f"{work}/image{next(made.numbers)}", *layers, **how), *words)


def config_of(bundle):
    with open(f"{bundle}/config.json") as f:
        return json.load(f)


def names(directory_name):
    return sorted(os.path.relpath(os.path.join(d, n), directory_name)
                  for d, subdirectories, files in os.walk(directory_name) for n in subdirectories + files)


# What is in a layer

def test_one_of_each_kind(work):
    caps = image.caps(0x400)
    bundle = created(work, layer(
        directory("d", mode=0o1770, uid=1, gid=2, mtime=1111111111), file("d/f", b"content", mode=0o4751, uid=3, gid=4, mtime=222),
        hardlink("d/h", "d/f"), symlink("l", "d/f", uid=5, gid=6, mtime=333), symlink("lost", "/no/where"),
        device("c", (1, 7), mode=0o620, gid=5), device("b", (7, 1), tarfile.BLKTYPE, mode=0o660),
        (member("p", tarfile.FIFOTYPE, mode=0o622, uid=9, mtime=444), b""), file("x", b"x", xattrs={"user.a": "1", "user.empty": ""}),
        file("caps", b"c", mode=0o755, xattrs={"security.capability": caps}), file("süß/dateiname ü", b"u"), file("n" * 255, b"long"),
        file("/".join(["deep" * 10] * 50), b"deep"), directory("ro", mode=0o000), file("ro/f", b"in")))
    root = f"{bundle}/rootfs"
    tree = image.tree(root)
    assert tree["d"]["mode"] == oct(stat.S_IFDIR | 0o1770) and tree["d"]["owner"] == (1, 2)
    assert tree["d"]["mtime"] == 1111111111 * 10**9
    assert tree["d/f"]["mode"] == oct(stat.S_IFREG | 0o4751) and tree["d/f"]["owner"] == (3, 4) and tree["d/f"]["mtime"] == 222 * 10**9
    assert tree["d/f"]["names"] == ["d/f", "d/h"]
    assert tree["l"]["owner"] == (5, 6) and tree["l"]["mtime"] == 333 * 10**9 and tree["lost"]["target"] == "/no/where"
    assert tree["c"]["device"] == os.makedev(1, 7) and tree["b"]["mode"] == oct(stat.S_IFBLK | 0o660)
    assert tree["p"]["mode"] == oct(stat.S_IFIFO | 0o622) and tree["p"]["owner"] == (9, 0) and tree["p"]["mtime"] == 444 * 10**9
    assert tree["x"]["xattrs"] == {"user.a": b"1", "user.empty": b""}
    assert tree["caps"]["xattrs"] == {"security.capability": caps}
    assert tree["süß/dateiname ü"]["content"] == image.sha256(b"u") and "n" * 255 in tree and tree["ro"]["mode"] == oct(stat.S_IFDIR)


def test_names_that_are_not_utf8(work):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        m = member("fa\xe7ade")
        m.size = 1
        tar.addfile(m, io.BytesIO(b"x"))
    bundle = created(work, out.getvalue())
    assert os.listdir(f"{bundle}/rootfs".encode()) == [b"fa\xe7ade"]


def test_parents_that_no_entry_names(work):
    bundle = created(work, layer(file("a/b/c", b"x", uid=5)), words=["--idroot", "100000"])
    st = os.stat(f"{bundle}/rootfs/a/b")
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o755, 100000, 100000)


def test_zeroes_become_holes(work):
    data = b"a" + bytes(4 << 20) + b"b" + bytes(1 << 20)
    bundle = created(work, layer(file("f", data)))
    assert image.contents(f"{bundle}/rootfs/f") == data
    assert os.stat(f"{bundle}/rootfs/f").st_blocks * 512 < 1 << 20


def test_a_file_told_twice_is_there_once(work):
    """As tar packs what it was told twice."""
    bundle = created(work, layer(file("f", b"x"), hardlink("f", "f")))
    assert image.contents(f"{bundle}/rootfs/f") == b"x"


def test_an_image_without_layers_and_one_with_empty_ones(work):
    assert names(f"{created(work)}/rootfs") == []
    assert names(f"{created(work, layer(), bytes(1024), b'')}/rootfs") == []


# Layers over layers

BASE = [directory("d", mode=0o750, uid=3, mtime=5), file("d/a", b"a"), file("d/b", b"b"), directory("d/s"), file("d/s/x", b"x"),
        file("d/s/y", b"y"), file("top", b"top"), symlink("l", "d"), directory("e"), file("e/f", b"f")]


@pytest.mark.parametrize("upper, expected", [
    ([file("d/.wh.a")], ["d", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "l", "top"]),
    ([file("d/.wh.s"), file(".wh.top")], ["d", "d/a", "d/b", "e", "e/f", "l"]),
    ([file(".wh.d")], ["e", "e/f", "l", "top"]),
    ([file(".wh.l")], ["d", "d/a", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "top"]),
    ([file("l/.wh.a")], ["d", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "l", "top"]),
    ([file(".wh.nothing"), file("no/.wh.thing"), file("top/.wh.x")], ["d", "d/a", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "l", "top"]),
    ([file("d/.wh..wh..opq"), file("d/new")], ["d", "d/new", "e", "e/f", "l", "top"]),
    ([file("d/new"), file("d/.wh..wh..opq")], ["d", "d/new", "e", "e/f", "l", "top"]),
    ([file("d/s/new"), file("d/.wh..wh..opq")], ["d", "d/s", "d/s/new", "e", "e/f", "l", "top"]),
    ([file("d/.wh..wh..opq"), file("d/s/new")], ["d", "d/s", "d/s/new", "e", "e/f", "l", "top"]),
    ([file("l/new"), file("l/.wh..wh..opq")], ["d", "d/new", "e", "e/f", "l", "top"]),
    ([file(".wh..wh..opq"), file("e/f2")], ["e", "e/f2"]),
    ([file("d/a", b"2"), file("d/.wh.a")], ["d", "d/a", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "l", "top"]),
    ([file("d/.wh.a"), file("d/a", b"2")], ["d", "d/a", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "l", "top"]),
    ([file("d", b"now a file")], ["d", "e", "e/f", "l", "top"]),
    ([directory("top"), file("top/x")], ["d", "d/a", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "l", "top", "top/x"]),
    ([directory("l"), file("l/x")], ["d", "d/a", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "l", "l/x", "top"]),
    ([symlink("e", "d")], ["d", "d/a", "d/b", "d/s", "d/s/x", "d/s/y", "e", "l", "top"]),
    ([hardlink("e/h", "d/s/x"), file(".wh.d")], ["e", "e/f", "e/h", "l", "top"]),
    ([file(".wh..wh.plnk"), file(".wh..wh.aufs")], ["d", "d/a", "d/b", "d/s", "d/s/x", "d/s/y", "e", "e/f", "l", "top"]),
], ids=lambda v: ",".join(m.name for m, _ in v) if isinstance(v[0], tuple) else None)
def test_whiteouts(work, upper, expected):
    bundle = created(work, layer(*BASE), layer(*upper))
    assert names(f"{bundle}/rootfs") == expected


def test_what_was_hidden_is_gone_for_good(work):
    bundle = created(work, layer(*BASE), layer(file(".wh.d")), layer(directory("d"), file("d/new")))
    assert names(f"{bundle}/rootfs/d") == ["new"]


def test_whiteouts_in_the_first_layer_hide_nothing(work):
    bundle = created(work, layer(file("a", b"x"), file(".wh.a"), file(".wh..wh..opq")))
    assert names(f"{bundle}/rootfs") == ["a"]


def test_directories_keep_their_times(work):
    bundle = created(work, layer(*BASE), layer(file("d/.wh.a"), file("e/new")), layer(file("d/s/more")))
    tree = image.tree(f"{bundle}/rootfs")
    assert tree["d"]["mtime"] == 5 * 10**9 and tree["e"]["mtime"] == tree["d/s"]["mtime"] == 10**18
    assert tree["d"]["mode"] == oct(stat.S_IFDIR | 0o750) and tree["d"]["owner"] == (3, 0)


def test_attributes_of_a_directory_are_those_of_the_last_layer(work):
    acl = image.acl([10])
    bundle = created(work, layer(directory("d", xattrs={"user.a": "1", "user.b": "2", "system.posix_acl_access": acl}), file("d/f"),
                                 directory("e", xattrs={"system.posix_acl_default": acl}), file("e/f")),
                     layer(directory("d", xattrs={"user.b": "3"}), file("e/g")))
    tree = image.tree(f"{bundle}/rootfs")
    assert tree["d"]["xattrs"] == {"user.b": b"3"}
    assert tree["e"]["xattrs"] == {"system.posix_acl_default": acl}
    assert tree["e/f"]["xattrs"] == tree["e/g"]["xattrs"] == {}, "files of an image do not inherit"


# Forms of images

def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


PACKINGS = {"plain": (bytes, ""), "gzip": (gzip.compress, "+gzip"), "xz": (lzma.compress, "+xz"), "bzip2": (bz2.compress, "+bzip2"),
            "zstd": (zstd, "+zstd"), "gzip in two parts": (lambda d: gzip.compress(d[:700]) + gzip.compress(d[700:]), "+gzip")}
SMALL = [*USERS, directory("bin"), file("bin/sh", b"#!", mode=0o755), file("gone", b"x")]
SECOND = [file(".wh.gone"), file("bin/more", b"m")]
RESULT = ["bin", "bin/more", "bin/sh", "etc", "etc/group", "etc/passwd"]
SETTINGS = {"Cmd": ["/bin/sh"], "Env": ["A=1"], "User": "bob"}


@pytest.mark.parametrize("name", PACKINGS)
def test_packings_of_layers(work, name):
    if name == "zstd":
        needs.program("zstd")
    pack, suffix = PACKINGS[name]
    assert names(created(work, layer(*SMALL), layer(*SECOND), pack=pack, suffix=suffix) + "/rootfs") == RESULT


def tar_of(path, output, *words):
    proc.run(["tar", "-C", path, "-cf", output, *words])
    return output


def docker_archive(path, layers, tags=("localhost/a:latest",), *, legacy=False, first="json"):
    configuration = json.dumps({"architecture": ARCHITECTURE, "os": "linux", "config": SETTINGS, "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + image.sha256(data) for data in layers]}}).encode()
    name = image.sha256(configuration) + ".json"
    paths = [f"{image.sha256(data)}/layer.tar" if legacy else image.sha256(data) + ".tar" for data in layers]
    members = [(name, configuration), ("manifest.json", json.dumps([{"Config": name, "RepoTags": list(tags), "Layers": paths}]).encode()),
               *zip(paths, layers)]
    with tarfile.open(path, "w") as tar:
        for n, data in members if first == "json" else reversed(members):
            m = tarfile.TarInfo(n)
            m.size = len(data)
            tar.addfile(m, io.BytesIO(data))
    return path


def check_small(bundle):
    assert names(f"{bundle}/rootfs") == RESULT
    assert config_of(bundle)["process"]["user"] == {"uid": 1000, "gid": 1001, "additionalGids": [44, 45]}


@pytest.mark.parametrize("form", ["layout", "oci:", "oci-archive", "oci-archive, members in another order", "oci-archive gzipped",
                                  "oci-archive: with xz", "docker-archive", "docker-archive, layers first", "docker-archive gzipped",
                                  "docker-archive as of old"])
def test_forms(work, form):
    layers = [layer(*SMALL), layer(*SECOND)]
    if "docker" in form:
        path = docker_archive(f"{work}/i.tar", layers, legacy="old" in form, first="layers" if "first" in form else "json")
    else:
        path = image.layout(f"{work}/image", *layers, config=SETTINGS, tag="v1")
        if "archive" in form:
            order = ["index.json", "oci-layout", "blobs"] if "order" in form else ["blobs", "index.json", "oci-layout"]
            path = tar_of(path, f"{work}/i.tar", *order)
    if "gzipped" in form or "xz" in form:
        packed = gzip.compress if "gzip" in form else lzma.compress
        with open(path + ".packed", "wb") as f:
            f.write(packed(image.contents(path)))
        path += ".packed"
    prefix = form.split(":")[0] + ":" if ":" in form else ""
    check_small(made.create(work, prefix + path))
    assert [n for n in os.listdir(work) if "partial" in n or "notes" in n] == []


def test_layers_that_two_images_share(work):
    """docker save as of old: the second one is a link to the first."""
    data = layer(*SMALL)
    path = docker_archive(f"{work}/i.tar", [data], legacy=True)
    name = f"{image.sha256(data)}/layer.tar"
    with tarfile.open(path) as old, tarfile.open(f"{work}/links.tar", "w") as new:
        for m in old.getmembers():
            if m.name == name:
                m.name = "0" * 64 + "/layer.tar"
            new.addfile(m, old.extractfile(m))
        m = tarfile.TarInfo(name)
        m.type, m.linkname = tarfile.SYMTYPE, "../" + "0" * 64 + "/layer.tar"
        new.addfile(m)
    assert "gone" in names(made.create(work, f"{work}/links.tar") + "/rootfs")


def test_tags(work):
    layout = image.Layout(f"{work}/image")
    for tag in ("v1", "v2", "localhost/a:latest"):
        layout.add([layer(file(tag.replace("/", "-")))], tag=tag)
    layout.finish()
    assert names(made.create(work, f"{work}/image:v2") + "/rootfs") == ["v2"]
    assert names(made.create(work, f"oci:{work}/image:localhost/a:latest") + "/rootfs") == ["localhost-a:latest"]
    made.refused(work, f"{work}/image", "there are several images in it", "v1, v2, localhost/a:latest")
    made.refused(work, f"{work}/image:v3", "there is no image with the tag 'v3'", "v1, v2")
    path = docker_archive(f"{work}/d.tar", [layer(*SMALL)], tags=["docker.io/library/a:1"])
    for tag in ("docker.io/library/a:1", "library/a:1", "a:1", "1"):
        made.create(work, f"{path}:{tag}")
    made.refused(work, f"{path}:a:2", "there is no image with the tag a:2")


def test_platforms(work):
    layout = image.Layout(f"{work}/image")
    inner = [dict(layout.image([layer(*USERS, file(a))], architecture=a), platform={"os": "linux", "architecture": a})
             for a in ("s390x", ARCHITECTURE, "riscv64")]
    inner.append(dict(layout.image([layer(*USERS, file("arm-v6"))], architecture="arm"),
                      platform={"os": "linux", "architecture": "arm", "variant": "v6"}))
    inner.append(dict(layout.image([layer(file("att"))]), platform={"os": "unknown", "architecture": "unknown"}))
    layout.manifests.append(layout.json({"schemaVersion": 2, "manifests": inner}, image.OCI + "index.v1+json"))
    layout.finish()
    assert ARCHITECTURE in names(made.create(work, layout.path) + "/rootfs")
    assert "riscv64" in names(made.create(work, layout.path, "--platform", "linux/riscv64") + "/rootfs")
    assert "arm-v6" in names(made.create(work, layout.path, "--platform", "linux/arm/v7") + "/rootfs")
    made.refused(work, layout.path, "there is no image for linux/mips64le in it", "linux/s390x", "linux/arm/v6",
                 words=["--platform", "linux/mips64le"])
    made.refused(work, layout.path, "is no platform", words=["--platform", "arm64"])


def test_the_only_image_is_for_another_machine(work):
    path = image.layout(f"{work}/image", layer(*SMALL), architecture="s390x")
    result = proc.run(made.argv("create", path, f"{work}/b"))
    assert "the image is for linux/s390x, this machine is linux/" + ARCHITECTURE in result.err
    assert sorted(os.listdir(f"{work}/b")) == ["config.json", "rootfs"]
    made.refused(work, path, "it is for linux/s390x, not for linux/arm64", words=["--platform", "linux/arm64"])


# Root filesystems that are no image

@pytest.fixture
def plain(work):
    root = f"{work}/plain"
    os.makedirs(f"{root}/etc")
    for name, mode, owner in (("etc/passwd", 0o644, 0), ("su", 0o4755, 0), ("his", 0o600, 1000), (".wh.kept", 0o644, 0)):
        with open(f"{root}/{name}", "w") as f:
            f.write(name)
        os.chown(f"{root}/{name}", owner, owner)
        os.chmod(f"{root}/{name}", mode)
    os.link(f"{root}/su", f"{root}/etc/su2")
    os.symlink("su", f"{root}/link")
    os.mkfifo(f"{root}/fifo")
    os.mknod(f"{root}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(f"{root}/his", "user.a", b"1")
    os.setxattr(f"{root}/su", "security.capability", image.caps(0x400))
    os.setxattr(f"{root}/his", "system.posix_acl_access", image.acl([40010], [40020]))
    os.setxattr(f"{root}/etc", "system.posix_acl_default", image.acl([40030]))
    os.chmod(f"{root}/su", 0o4755)
    for name in ("etc", "link", "."):
        os.utime(f"{root}/{name}", (1, 1000), follow_symlinks=False)
    return root


def test_a_directory(work, plain):
    bundle = made.create(work, plain)
    assert image.differences(image.tree(f"{bundle}/rootfs"), image.tree(plain)) == []
    assert config_of(bundle)["process"]["args"] == ["sh"]
    made.refused(work, f"rootfs:{plain}:tag", "is a root filesystem, and has no tag")
    result = proc.run(made.argv("create", plain, f"{plain}/inside"), ok=False)
    assert "is inside of the root filesystem" in result.err and image.tree(plain) == image.tree(f"{bundle}/rootfs")


@pytest.mark.parametrize("flags", [[], ["--gzip"], ["--xz"], ["--bzip2"], ["--zstd"]], ids=str)
def test_a_tar_of_one(work, plain, flags):
    if flags == ["--zstd"]:
        needs.program("zstd")
    proc.run(["tar", *flags, "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", plain, "-cf", f"{work}/root.tar", "."])
    bundle = made.create(work, f"{work}/root.tar")
    assert image.differences(image.tree(f"{bundle}/rootfs"), image.tree(plain), ignore=["mtime"]) == []
    assert ".wh.kept" in os.listdir(f"{bundle}/rootfs")


def test_acls_of_a_tar_that_name_users(work, plain):
    """As GNU tar writes them, for users that it knows."""
    os.setxattr(f"{plain}/his", "system.posix_acl_access", image.acl([0]))
    proc.run(["tar", "--acls", "-C", plain, "-cf", f"{work}/root.tar", "."])
    result = proc.run(made.argv("create", f"{work}/root.tar", f"{work}/b"))
    assert "1 ACLs were left out: they name users instead of ids" in result.err
    assert os.listxattr(f"{work}/b/rootfs/his") == []


def test_sockets_are_passed_over(work, plain):
    import socket
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{plain}/socket")
        assert "socket" not in os.listdir(made.create(work, plain) + "/rootfs")


# Owners

def test_idroot_shifts_all_ids_and_the_configuration(work):
    acl = image.acl([10, 11], [12])
    bundle = created(work, layer(*USERS, file("f", b"x", uid=5, gid=6, mode=0o4755), symlink("l", "f", uid=65535),
                                 device("c", (1, 3), uid=1), file("caps", b"c", xattrs={"security.capability": image.caps(0x400)}),
                                 file("acl", b"c", mode=0o750, xattrs={"system.posix_acl_access": acl})),
                     words=["--idroot", "200000"], config={"User": "bob"})
    tree = image.tree(f"{bundle}/rootfs")
    assert tree["f"]["owner"] == (200005, 200006) and tree["f"]["mode"] == oct(stat.S_IFREG | 0o4755)
    assert tree["l"]["owner"] == (265535, 200000) and tree["c"]["owner"] == (200001, 200000) and tree["."]["owner"] == (200000, 200000)
    assert tree["caps"]["xattrs"]["security.capability"] == image.caps(0x400, 200000)
    assert tree["acl"]["xattrs"]["system.posix_acl_access"] == image.acl([200010, 200011], [200012])
    assert (stat.S_IMODE(os.stat(bundle).st_mode), os.stat(bundle).st_uid, os.stat(bundle).st_gid) == (0o710, 0, 200000)
    config = config_of(bundle)
    assert config["linux"]["uidMappings"] == config["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 200000, "size": 65536}]
    assert {"type": "user"} in config["linux"]["namespaces"] and config["process"]["user"]["uid"] == 1000


@pytest.mark.parametrize("entry, what", [
    (file("x", uid=1000), "owner 1000"), (file("x", gid=1000), "group 1000"), (symlink("x", "y", uid=1000), "owner 1000"),
    (file("x", xattrs={"security.capability": image.caps(1, 1000)}), "the id 1000 in its 'security.capability'"),
    (file("x", xattrs={"security.capability": b"bad!"}), "is damaged"),
], ids=str)
def test_ids_that_the_container_has_not(work, entry, what):
    made.refused(work, image.layout(f"{work}/image", layer(entry)), what, words=["--idroot", "100000", "--idlen", "1000"])


def as_user(*words, **how):
    return proc.run(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *words], **how)


def test_rootless(work):
    path = image.layout(f"{work}/image", layer(directory("ro", mode=0o500, uid=7), file("ro/f", b"x", mode=0o4400, uid=5, xattrs={"user.a": "1"}),
                                               file("caps", b"", xattrs={"security.capability": image.caps(0x400)})),
                        layer(file("ro/g", b"y"), file("ro/.wh.f2")), config={"User": "17"})
    os.makedirs(f"{work}/home")
    os.chown(f"{work}/home", 1000, 1000)
    os.chmod(work, 0o755)
    result = as_user(*made.argv("create", path, f"{work}/home/b"), ok=False)
    assert "--rootless keeps them yours" in result.err
    as_user(*made.argv("create", "--rootless", path, f"{work}/home/b"))
    tree = image.tree(f"{work}/home/b/rootfs")
    assert {f["owner"] for f in tree.values()} == {(1000, 1000)}
    assert tree["ro"]["mode"] == oct(stat.S_IFDIR | 0o500) and tree["ro/f"]["mode"] == oct(stat.S_IFREG | 0o4400)
    assert tree["ro/f"]["xattrs"] == {"user.a": b"1"} and tree["caps"]["xattrs"] == {} and "ro/g" in tree
    config = config_of(f"{work}/home/b")
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}] and config["process"]["user"]["uid"] == 0
    assert "take one" in as_user(*made.argv("create", "--rootless", "--idroot", "1", path, f"{work}/home/c"), ok=False).err
    assert os.listdir(f"{work}/home") == ["b"]


# The configuration

@pytest.mark.parametrize("user, expected", [
    (None, {"uid": 0, "gid": 0, "additionalGids": [46]}), ("", {"uid": 0, "gid": 0, "additionalGids": [46]}),
    ("root", {"uid": 0, "gid": 0, "additionalGids": [46]}), ("bob", {"uid": 1000, "gid": 1001, "additionalGids": [44, 45]}),
    ("1000", {"uid": 1000, "gid": 1001, "additionalGids": [44, 45]}), ("bob:extra", {"uid": 1000, "gid": 44}),
    ("bob:7", {"uid": 1000, "gid": 7}), ("4000", {"uid": 4000, "gid": 0}), ("4000:5000", {"uid": 4000, "gid": 5000}),
    ("1234", {"uid": 7, "gid": 8}), (":extra", {"uid": 0, "gid": 44}), ("bob:", {"uid": 1000, "gid": 1001, "additionalGids": [44, 45]}),
])
def test_users(work, user, expected):
    settings = {} if user is None else {"User": user}
    assert config_of(created(work, layer(*USERS), config=settings))["process"]["user"] == expected


def test_settings(work):
    bundle = created(work, layer(*USERS), config={
        "User": "bob", "Env": ["PATH=/bin", "EMPTY=", "HOME=/elsewhere"], "Entrypoint": ["/e", "1"], "Cmd": ["2"], "WorkingDir": "/w",
        "Labels": {"a.b": "c", "org.opencontainers.image.stopSignal": "label wins"}, "StopSignal": "SIGQUIT",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}}, "Healthcheck": {"Test": ["x"]}})
    config = config_of(bundle)
    process = config["process"]
    assert process["args"] == ["/e", "1", "2"] and process["cwd"] == "/w" and process["terminal"] is False
    assert process["env"] == ["PATH=/bin", "EMPTY=", "HOME=/elsewhere"]
    annotations = config["annotations"]
    assert annotations["a.b"] == "c" and annotations["org.opencontainers.image.stopSignal"] == "label wins"
    assert sorted(annotations["org.opencontainers.image.exposedPorts"].split(",")) == ["53/udp", "80/tcp"]
    assert annotations["org.opencontainers.image.os"] == "linux" and annotations["org.opencontainers.image.architecture"] == "amd64"
    assert config["root"] == {"path": "rootfs", "readonly": False}
    assert [m["options"] for m in config["mounts"] if m["destination"] == "/data"] == [["nosuid", "nodev", "rprivate", "tmpcopyup"]]
    assert proc.run(made.argv("create", "--help")).out.count("--idroot")


def test_the_home_of_the_user(work):
    env = config_of(created(work, layer(*USERS), config={"User": "bob"}, words=["--terminal"]))["process"]["env"]
    assert env == ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOME=/home/bob"]
    assert "HOME=/" in config_of(created(work, layer(*USERS), config={"User": "99"}))["process"]["env"]


# The command line

@pytest.mark.parametrize("words, what", [
    (["--idlen", "5"], "--idlen needs --idroot"), (["--idroot", "x"], "takes a number"),
    (["--idroot", "5", "--idlen", "0"], "there are no 0 ids"), (["--max-size", "0"], "--max-size takes"),
    (["--max-size", "x"], "--max-size takes"), (["--rootless", "--idroot", "5"], "take one"),
])
def test_wrong_words(work, words, what):
    path = image.layout(f"{work}/image", layer(file("x")))
    result = proc.run(made.argv("create", *words, path, f"{work}/b"), ok=False)
    assert what in result.err and os.listdir(work) == ["image"]


def test_places_that_cannot_be(work):
    path = image.layout(f"{work}/image", layer(file("x")))
    made.refused(work, f"{work}/none", "there is no ")
    made.refused(work, "/dev/null", "neither a file nor a directory")
    made.refused(work, f"docker-archive:{path}", "is not what 'docker-archive:' says")
    for directory_name in (f"{work}/no/where", "/proc/x", f"{path}/index.json"):
        result = proc.run(made.argv("create", path, directory_name), ok=False)
        assert result.err.count("\n") == 1, result.err
    os.makedirs(f"{work}/full/something")
    assert "exists, and is not empty" in proc.run(made.argv("create", path, f"{work}/full"), ok=False).err
    os.makedirs(f"{work}/empty")
    proc.run(made.argv("create", path, f"{work}/empty/"))
    assert names(f"{work}/empty/rootfs") == ["x"]


def test_what_is_no_archive(work):
    with open(f"{work}/noise", "wb") as f:
        f.write(os.urandom(5000))
    made.refused(work, f"{work}/noise")
    with open(f"{work}/noise", "wb") as f:
        f.write(gzip.compress(b"hello" * 1000))
    made.refused(work, f"{work}/noise")


# It runs

@pytest.mark.parametrize("words, uid", [([], "0"), (["--idroot", "100000"], "100000")], ids=["as root", "in a user namespace"])
def test_a_bundle_runs(container, work, templates, words, uid):
    rootfs.make("busybox", f"{work}/tree", templates)
    path = image.layout(f"{work}/image", image.contents(rootfs.tar(f"{work}/tree", f"{work}/l.tar")), config={
        "User": "user", "Cmd": ["sh", "-c", "id; pwd; stat -c %U:%G /bin /home/user; echo $HOME $A; touch /tmp/x; sleep 0.3"],
        "WorkingDir": "/home/user", "Env": ["A=b"]})
    c = container()
    bundle = made.create(work, path, *words)
    assert c.rt("run", "--bundle", bundle, c.id).out == (
        "uid=1000(user) gid=1000(user) groups=500(extra)\n/home/user\nroot:root\nuser:user\n/home/user b\n")
    assert os.stat(f"{bundle}/rootfs/bin").st_uid == int(uid)


def test_a_bundle_of_a_user_runs_as_that_user(work, templates):
    rootfs.make("busybox", f"{work}/tree", templates)
    path = image.layout(f"{work}/image", image.contents(rootfs.tar(f"{work}/tree", f"{work}/l.tar")),
                        config={"Cmd": ["sh", "-c", "id -u; stat -c %u /bin/busybox /home/user; touch /made"], "User": "user"})
    os.makedirs(f"{work}/home")
    os.chown(f"{work}/home", 1000, 1000)
    os.chmod(work, 0o755)
    as_user(*made.argv("create", "--rootless", path, f"{work}/home/b"))
    state = ["env", f"XDG_RUNTIME_DIR={work}/home"]
    assert as_user(*state, containers.runtime(), "run", "--bundle", f"{work}/home/b", f"u{os.getpid()}").out == "0\n0\n0\n"
    assert os.stat(f"{work}/home/b/rootfs/made").st_uid == 1000


def test_a_bundle_that_is_shifted_later_runs_too(container, work, templates):
    rootfs.make("busybox", f"{work}/tree", templates)
    bundle = made.create(work, f"{work}/tree")
    proc.run(made.argv("shift", "--from", "0:65536", "--to", "300000:65536", "--config", bundle))
    c = container()
    assert c.rt("run", "--bundle", bundle, c.id, stdin="id -u; stat -c %u /home/user\n").out == "0\n1000\n"


def test_nginx_runs_as_root_of_a_user_namespace(container, work, templates):
    """It becomes somebody else: that takes the capabilities that engines give."""
    rootfs.make("nginx", f"{work}/tree", templates)
    path = image.layout(f"{work}/image", image.contents(rootfs.tar(f"{work}/tree", f"{work}/l.tar")),
                        config={"Cmd": rootfs.COMMANDS["nginx"]})
    bundle = made.create(work, path, "--idroot", "200000")
    c = container()
    c.rt("run", "--detach", "--bundle", bundle, c.id, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid = c.state()["pid"]
    page = proc.eventually(lambda: c.exec("wget", "-q", "-O", "-", "http://127.0.0.1/hello", ok=None).out, what="nginx to answer")
    assert page == "hello from nginx\n"
    assert os.stat(f"/proc/{pid}").st_uid == 200000
