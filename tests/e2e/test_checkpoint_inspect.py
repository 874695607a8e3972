"""`checkpoint inspect`: what a directory or an archive holds, told from the images alone."""

import json
import os

import pytest

from lib import frozen, needs


@pytest.fixture(autouse=True)
def criu():
    needs.program("criu")


@pytest.fixture
def dumped(inside, work):
    """A process with a child, a thread, a listening and a connected socket, a removed file, and memory."""
    c = inside()
    c.do("held = mmap.mmap(-1, 4 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); held[:] = os.urandom(1 << 20) * 4")
    c.do("s = socket.socket(); s.bind(('127.0.0.1', 8080)); s.listen(); a = socket.socket(); a.connect(s.getsockname());"
         "b = s.accept()[0]; f = open('/tmp/gone', 'w'); f.write('x'); f.flush(); os.unlink('/tmp/gone')")
    c.do("threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()")
    c.do("child = subprocess.Popen(['/bin/sleep', '1000'])")
    c.rt("checkpoint", "--tcp-established", "--image-path", f"{c.dir}/images", "--export", f"{work}/c.tar.gz", c.id)
    c.images = f"{c.dir}/images"
    c.archive = f"{work}/c.tar.gz"
    return c


def document(c, path):
    return json.loads(c.rt("checkpoint", "--format", "json", "inspect", path).out)


def test_the_process_tree(dumped):
    init, = document(dumped, dumped.images)["processes"]
    child, = init["children"]
    assert (init["pid"], init["parent"], init["command"]) == (1, 0, "python3")
    assert init["threads"] == 2 and init["program"].endswith("python3.11") or "python3" in init["program"]
    assert (child["command"], child["program"], child["parent"]) == ("sleep", "/bin/busybox", 1)
    assert child["uid"] == 0 and child["noNewPrivileges"] is True


def test_memory_is_told_by_process(dumped):
    init, = document(dumped, dumped.images)["processes"]
    page = os.sysconf("SC_PAGE_SIZE")
    assert (4 << 20) // page < init["memory"]["pages"] < (64 << 20) // page
    assert init["children"][0]["memory"]["pages"] < 1000


def test_sockets_and_files(dumped):
    told = document(dumped, dumped.images)
    text = json.dumps(told["sockets"])
    assert "8080" in text and "127.0.0.1" in text
    files = [f["text"] for f in told["processes"][0]["files"]]
    assert "/dev/null" in files and any("/tmp/gone" in f for f in files)


def test_mounts_and_namespaces(dumped):
    told = document(dumped, dumped.images)
    mounts = {m["destination"]: m for m in told["mounts"]}
    assert mounts["/proc"]["type"] == "proc" and mounts["/dev/shm"]["type"] == "tmpfs"
    assert {n["type"]: n["origin"] for n in told["namespaces"]}["network"] == "new"


def test_directory_and_archive_tell_the_same(dumped):
    here, there = document(dumped, dumped.images), document(dumped, dumped.archive)
    for part in ("processes", "sockets", "mounts", "namespaces"):
        assert here[part] == there[part], part


def test_as_text(dumped):
    for path in (dumped.images, dumped.archive):
        text = dumped.rt("checkpoint", "inspect", path).out
        for words in (dumped.id, "python3", "sleep", "8080", "/dev/shm", "criu 4", "memory", "frozen"):
            assert words in text, words


def test_inspect_changes_nothing(dumped):
    before = {n: os.stat(f"{dumped.images}/{n}").st_mtime_ns for n in os.listdir(dumped.images)}
    document(dumped, dumped.images)
    assert {n: os.stat(f"{dumped.images}/{n}").st_mtime_ns for n in os.listdir(dumped.images)} == before
    frozen.restore(dumped, dumped.images, "--tcp-established")
    assert dumped.status == "running"


def test_images_of_another_runtime_have_no_manifest(dumped):
    os.unlink(dumped.images + "/manifest")
    init, = document(dumped, dumped.images)["processes"]
    assert init["command"] == "python3"


@pytest.mark.parametrize("words, told", [
    (["inspect", "/nowhere"], "/nowhere"), (["inspect", "/etc"], "inventory"),
    (["--format", "yaml", "inspect", "/etc"], "--format"),
])
def test_what_is_no_checkpoint(rt, words, told):
    result = rt("checkpoint", *words, ok=False)
    assert told in result.err and result.out == ""
