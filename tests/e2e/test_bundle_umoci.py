"""The same images unpacked by `rt bundle create` and by umoci: one tree, owners, modes, times and attributes; and images of a real
engine, in each form it can save them."""

import json
import os
import tarfile

import pytest

from lib import containers_of_image as made
from lib import engine, image, needs, proc
from lib.image import device, directory, file, hardlink, layer, member, symlink

HOME = engine.HOME


@pytest.fixture(autouse=True)
def umoci():
    needs.program("umoci")


def both(work, path, tag, *, host=None, words=(), flags=()):
    """The two bundles. umoci needs a tag."""
    run = host.run if host else proc.run
    ours, theirs = f"{work}/ours{next(made.numbers)}", f"{work}/theirs{next(made.numbers)}"
    run(made.argv("create", *words, f"{path}:{tag}", ours), timeout=120)
    run(["umoci", "unpack", *flags, "--image", f"{path}:{tag}", theirs], timeout=240)
    return ours, theirs


def config_of(bundle):
    with open(f"{bundle}/config.json") as f:
        return json.load(f)


SPECIAL = [
    layer(directory(".", mode=0o755, mtime=77), directory("d", mode=0o2750, uid=3, gid=4), file("d/suid", b"s" * 9999, mode=0o6755, uid=3, gid=4),
          hardlink("d/again", "d/suid"), symlink("l", "d", uid=9, gid=9), symlink("abs", "/d/suid"), device("null", (1, 3), mode=0o666),
          (member("fifo", tarfile.FIFOTYPE, mode=0o600, gid=5), b""), file("zero", bytes(1 << 20) + b"x"),
          file("caps", b"c", mode=0o755, xattrs={"security.capability": image.caps(0x2400)}),
          file("attributes", b"x", xattrs={"user.one": "1", "user.two": "two\n"}), file("ü ñ", b"u"), directory("sticky", mode=0o1777),
          directory("old", mtime=55), file("old/a", b"a"), file("old/b", b"b"), directory("opaque"), file("opaque/lower", b"l")),
    layer(file("old/.wh.a"), file("l/through", b"t"), directory("opaque", mtime=66), file("opaque/.wh..wh..opq"), file("opaque/upper", b"u"),
          file("d/suid", b"new", mode=0o4711), hardlink("hard", "caps"), file(".wh.zero")),
    layer(directory("old", mode=0o700, mtime=5), file("old/c", b"c"), file(".wh.null"), directory("fifo"), file("fifo/in", b"i")),
]


def test_made_by_hand(work):
    path = image.layout(f"{work}/image", *SPECIAL, tag="t", config={"User": "7", "Env": ["A=b"], "Cmd": ["x"], "Labels": {"k": "v"},
                                                                  "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT", "WorkingDir": "/d"})
    ours, theirs = both(work, path, "t")
    told = image.differences(image.tree(f"{ours}/rootfs"), image.tree(f"{theirs}/rootfs"))
    assert told == [], "\n".join(told)
    a, b = config_of(ours), config_of(theirs)
    assert a["process"]["user"] == b["process"]["user"] and a["process"]["args"] == b["process"]["args"]
    assert a["process"]["cwd"] == b["process"]["cwd"] and a["root"].get("readonly", False) == b["root"].get("readonly", False)
    # It annotates what the image doesn't say, too.
    assert a["annotations"] == {k: v for k, v in b["annotations"].items() if v and not v.startswith("0001-")}


def test_made_by_hand_with_shifted_owners(work):
    path = image.layout(f"{work}/image", *SPECIAL, tag="t")
    ours, theirs = both(work, path, "t", words=["--idroot", "100000"], flags=["--uid-map", "0:100000:65536", "--gid-map", "0:100000:65536"])
    # A capability for the host's root becomes one for the container's here, and stays the host's there.
    a, b = image.tree(f"{ours}/rootfs"), image.tree(f"{theirs}/rootfs")
    for path in ("caps", "hard"):
        assert a[path].pop("xattrs") == {"security.capability": image.caps(0x2400, 100000)}
        b[path].pop("xattrs")
    told = image.differences(a, b)
    assert told == [], "\n".join(told)


# A real engine's images

CHANGES = """set -e
mkdir -p /made/sub /opaque; echo one >/made/one; echo two >/made/two; ln /made/one /made/sub/hard; ln -s ../one /made/sub/soft
chmod 4755 /made/two; chmod 1777 /made/sub; chown 5:6 /made/one; mkfifo /made/fifo; head -c 300000 /dev/zero >/made/zero; echo l >/opaque/l"""
MORE = """set -e
rm -r /made/sub /home/user; rm /bin/vi; rm -r /opaque; mkdir /opaque; echo new >/opaque/new; echo changed >>/made/one
rm /made/fifo; mkdir /made/fifo; touch /made/fifo/file; chmod 700 /etc; touch -d @5 /made/two"""


@pytest.fixture(scope="module")
def podman(templates):
    needs.program("podman", "conmon")
    engine_host = engine.EngineHost()
    podman = engine.Podman(engine_host, templates)
    tag = engine.IMAGE
    for n, script in enumerate((CHANGES, MORE)):
        podman("run", "--name", f"c{n}", "--user=0:0", "--pull=never", "--network=none", tag, "sh", "-c", script)
        tag = f"localhost/made:{n}"
        podman("commit", "--quiet", "--format", "oci", "--change", "USER user", "--change", "LABEL a=b", "--change", "EXPOSE 80",
               "--change", "WORKDIR /made", f"c{n}", tag)
        podman("tag", tag, f"made:{n}")
    yield podman
    engine_host.close()


FORMS = ["oci-dir", "oci-archive", "docker-archive"]


@pytest.mark.parametrize("form", FORMS)
def test_images_of_podman(podman, form):
    """They are made and unpacked in the engine's sandbox, and looked at from there."""
    host, place = podman.host, f"{HOME}/save-{form}"
    podman("save", "--quiet", "--format", form, "--output", place, "localhost/made:1", timeout=60)
    host.run(made.argv("create", place, f"{place}-bundle"))
    root = f"/proc/{host.pid}/root{HOME}"
    tree = image.tree(f"{root}/save-{form}-bundle/rootfs")
    assert tree["made/one"]["owner"] == (5, 6) and tree["made/two"]["mode"].endswith("4755") and tree["made/two"]["mtime"] == 5 * 10**9
    assert "made/sub" not in tree and "bin/vi" not in tree and "home/user" not in tree and "opaque/l" not in tree
    assert "opaque/new" in tree and "made/fifo/file" in tree and tree["etc"]["mode"].endswith("700")
    config = config_of(f"{root}/save-{form}-bundle")
    assert config["process"]["user"]["uid"] == 1000 and config["process"]["cwd"] == "/made"
    assert config["annotations"]["a"] == "b" and config["annotations"]["org.opencontainers.image.exposedPorts"] == "80/tcp"
    # All forms are one image.
    if form != FORMS[0]:
        first = image.tree(f"{root}/save-{FORMS[0]}-bundle/rootfs")
        assert image.differences(first, tree) == []


def test_the_same_tree_from_umoci(podman):
    host, place = podman.host, f"{HOME}/for-umoci"
    podman("save", "--quiet", "--format", "oci-dir", "--output", place, "localhost/made:1", timeout=60)
    root = f"/proc/{host.pid}/root{HOME}"
    with open(f"{root}/for-umoci/index.json") as f:
        index = json.load(f)
    index["manifests"][0]["annotations"] = {image.NAME: "t"}
    with open(f"{root}/for-umoci/index.json", "w") as f:
        json.dump(index, f)
    both(HOME, place, "t", host=host)
    ours, theirs = (sorted(n for n in os.listdir(root) if n.startswith(w) and n[len(w):].isdigit())[-1] for w in ("ours", "theirs"))
    told = image.differences(image.tree(f"{root}/{ours}/rootfs"), image.tree(f"{root}/{theirs}/rootfs"))
    assert told == [], "\n".join(told)
