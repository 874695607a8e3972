"""`rt snapshot`: what is kept, and that nothing of it is ever half there."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time

import pytest

from lib import inside as agents
from lib import container as containers
from lib import needs, proc

SLEEP = ["sh", "-c", "while :; do sleep 0.05; done"]


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


class Store:
    def __init__(self, path):
        self.path = path

    def rt(self, c, verb, *words, **how):
        return c.rt("snapshot", verb, "--store", self.path, *words, **how)

    def create(self, c, name, *flags, **how):
        return self.rt(c, "create", *flags, c.id, name, **how)

    def names(self, c):
        return [row["name"] for row in json.loads(self.rt(c, "ls", "--format", "json").out)]

    def files(self):
        return sorted(os.path.join(at, name) for at, _, names in os.walk(self.path) for name in names if name != "lock")

    def chunks(self):
        return [path for path in self.files() if path.startswith(self.path + "/chunks/")]

    def is_sound(self, c):
        assert self.rt(c, "verify").out.endswith("faults: 0\n")


@pytest.fixture
def store(work):
    return Store(work + "/store")


@contextlib.contextmanager
def damaged(path, chance):
    """One bit of the file is another for a while."""
    at, bit = chance.randrange(os.path.getsize(path)), 1 << chance.randrange(8)

    def flip():
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ bit]))
    flip()
    try:
        yield
    finally:
        flip()


def test_snapshots_are_listed_shown_and_removed(inside, store):
    c = inside()
    c.do("data = os.urandom(16 << 20)")
    store.create(c, "first", "--leave-running")
    store.create(c, "second")
    assert not c.exists()
    assert store.names(c) == ["first", "second"]
    shown = json.loads(store.rt(c, "inspect", "second").out)
    assert shown["container"] == {"id": c.id, "bundle": c.dir, "rootfs": [c.rootfs]}
    assert shown["maker"]["kernel"] == os.uname().release
    # The same process, the same moment nearly: most is shared.
    assert 0 < shown["bytes"]["stored"] <= shown["bytes"]["size"] and shown["bytes"]["shared"] > shown["bytes"]["stored"] / 2
    assert "first" in store.rt(c, "ls").out
    store.rt(c, "rm", "first")
    assert store.names(c) == ["second"]
    assert "there is no snapshot 'first'" in store.rt(c, "rm", "first", ok=False).err
    assert "freed " in store.rt(c, "gc").out
    store.is_sound(c)
    store.rt(c, "rm", "second")
    store.rt(c, "gc")
    assert store.files() == []


def test_rt_finds_its_helpers_when_it_is_found_in_path(running, store, work):
    """'create' is also the word of a command that seals its binary, which loses its place by that."""
    c = running(SLEEP)
    program = os.path.abspath(containers.runtime())
    for words in (["snapshot", "create", "--store", store.path, "--leave-running", c.id, "one"], ["run", "--detach", "--store", store.path, "--from-snapshot", "one", c.id + "-two"],
                  ["delete", "--force", c.id + "-two"]):
        done = subprocess.run([os.path.basename(program), "--root", c.root, *words], env={**os.environ, "PATH": "/nowhere:" + os.path.dirname(program) + ":" + os.environ["PATH"]},
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(f"{work}/said", "wb"), check=False)
        assert done.returncode == 0, open(f"{work}/said").read()


def test_a_path_that_is_no_text_is_shown(container, store):
    """JSON has no way to say its bytes."""
    c = container(SLEEP)
    lower = os.fsencode(c.dir) + b"/r\xff\x1b"
    os.rename(c.rootfs, lower)
    for name in ("rootfs", "upper", "overlay-work"):
        os.mkdir(f"{c.dir}/{name}")
    options = b"lowerdir=" + lower + f",upperdir={c.dir}/upper,workdir={c.dir}/overlay-work".encode()
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", c.rootfs], check=True)
    try:
        c.run_detached()
        store.create(c, "odd")
    finally:
        subprocess.run(["umount", c.rootfs], check=True)
    assert json.loads(store.rt(c, "inspect", "odd").out)["container"]["rootfs"] == [c.dir + "/r\\xff\\x1b"]


def test_it_is_for_root_alone(running, store):
    c = running(SLEEP)
    store.create(c, "s")
    for at, directories, files in os.walk(store.path):
        for name in directories:
            assert os.stat(f"{at}/{name}").st_mode & 0o777 == 0o700
        for name in files:
            assert os.stat(f"{at}/{name}").st_mode & 0o777 == 0o600


def test_a_flipped_bit_is_found_anywhere(running, store):
    c = running(SLEEP)
    store.create(c, "s")
    chance = random.Random(1)
    files = store.files()
    for path in [store.path + "/index/s", *chance.sample(files, min(8, len(files)))]:
        with damaged(path, chance):
            result = store.rt(c, "verify", ok=None)
            assert result.code == 1 and "is damaged" in result.out and not result.out.endswith("faults: 0\n"), (path, result)
    store.is_sound(c)


def test_a_damaged_snapshot_does_not_start(running, store):
    c = running(SLEEP)
    store.create(c, "s")
    for path in store.chunks():
        with open(path, "r+b") as f:
            first = f.read(1)[0]
            f.seek(0)
            f.write(bytes([first ^ 1]))
    err = c.rt("run", "--detach", "--from-snapshot", "s", "--store", store.path, "x", ok=False).err
    assert "cannot start 'x' from snapshot 's'" in err and "is damaged: its digest is another" in err
    assert c.rt("state", "x", ok=None).code != 0


@pytest.mark.parametrize("call", ["mkdirat", "openat", "write", "renameat", "renameat2", "syncfs", "unlinkat"])
def test_a_kill_at_any_point_leaves_a_sound_store(running, store, call):
    needs.program("strace")
    c = running(SLEEP)
    store.create(c, "before", "--leave-running")
    for number in (1, 2, 3, 5, 8, 13, 21, 34, 55):
        result = proc.run(["strace", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}",
                           *c.argv("snapshot", "create", "--store", store.path, "--leave-running", c.id, f"n{number}")], ok=None)
        proc.eventually(lambda: c.rt("state", c.id).out and c.status == "running", what="the container to go on")
        store.is_sound(c)
        assert "before" in store.names(c)
        if result.code == 0:
            break
    for name in store.names(c):
        if name != "before":
            store.rt(c, "rm", name)
    store.rt(c, "gc")
    kept = store.files()
    assert not os.listdir(store.path + "/tmp") and store.path + "/index/before" in kept
    store.is_sound(c)


def test_gc_while_others_create_and_start(running, store):
    c = running(SLEEP)
    store.create(c, "base", "--leave-running")
    child = proc.start(["sh", "-c", 'while :; do "$@" || exit 1; done', "sh", *c.argv("snapshot", "gc", "--store", store.path)])
    try:
        for i in range(5):
            store.create(c, f"s{i}", "--leave-running")
            c.to_file("run", "--detach", "--from-snapshot", f"s{i}", "--store", store.path, "clone")
            assert json.loads(c.rt("state", "clone").out)["status"] == "running"
            c.rt("delete", "--force", "clone")
            store.rt(c, "rm", f"s{i}")
        assert child.poll() is None
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait()
    store.rt(c, "gc")
    store.is_sound(c)
    assert store.names(c) == ["base"]


def test_gc_that_was_killed_is_finished_by_the_next(running, store):
    """Killed at any moment, also in the middle of what a snapshot has in memory: the next one goes on, and starts find all or nothing."""
    c = running(SLEEP)
    store.create(c, "base", "--leave-running")
    cache = c.root + "/@snapshots"
    for i in range(12):
        store.create(c, "s", "--leave-running")
        c.to_file("run", "--detach", "--from-snapshot", "s", "--store", store.path, "clone")
        c.rt("delete", "--force", "clone")
        store.rt(c, "rm", "s")
        process = proc.start(c.argv("snapshot", "gc", "--store", store.path))
        time.sleep(0.0012 * i)
        process.kill()
        process.wait()
        for name in (name for name in os.listdir(cache) if len(name) == 32):
            assert {"images", "pages", "store"} <= set(os.listdir(f"{cache}/{name}"))
        store.rt(c, "gc")
        assert [name for name in os.listdir(cache) if name != "lock"] == []
    os.makedirs(f"{cache}/{'0' * 32}.new/images")
    store.rt(c, "gc")
    assert os.listdir(cache) == ["lock"]


def test_what_is_wrong_is_said(running, store):
    c = running(SLEEP)
    assert "'a/b' is no name of a snapshot" in store.create(c, "a/b", ok=False).err
    assert "container 'nobody' does not exist" in store.rt(c, "create", "nobody", "s", ok=False).err
    assert "there is no snapshot 's'" in store.rt(c, "inspect", "s", ok=False).err
    assert "'rt snapshot' needs a command: create, export, gc, import, inspect, ls, pull, push, rm, verify" in c.rt("snapshot", ok=False).err
    store.create(c, "s", "--leave-running")
    assert "there is a snapshot 's' already" in store.create(c, "s", ok=False).err
    assert c.status == "running" and not os.listdir(store.path + "/tmp")
    c.rt("pause", c.id)
    store.create(c, "paused", "--leave-running")
    c.rt("resume", c.id)


def test_a_snapshot_goes_to_another_store_as_one_file(inside, store, work):
    c = inside()
    c.do("data = os.urandom(8 << 20); open('/digest', 'w').write(hashlib.sha256(data).hexdigest())")
    store.create(c, "s")
    file, other = work + "/s.tar", Store(work + "/other")
    store.rt(c, "export", "s", file)
    assert os.stat(file).st_mode & 0o777 == 0o600
    other.rt(c, "import", file)
    other.rt(c, "import", file, "again")
    assert other.names(c) == ["again", "s"]
    other.is_sound(c)
    assert [os.path.basename(path) for path in other.chunks()] == [os.path.basename(path) for path in store.chunks()]
    c.to_file("run", "--detach", "--from-snapshot", "again", "--store", other.path, "clone")
    try:
        assert agents.ask(json.loads(c.rt("state", "clone").out)["pid"], "hashlib.sha256(data).hexdigest() == open('/digest').read()") is True
    finally:
        c.rt("delete", "--force", "clone")
    assert "there is a snapshot 's' already" in other.rt(c, "import", file, ok=False).err


def test_a_file_that_is_damaged_or_something_else_is_not_imported(running, store, work):
    c = running(SLEEP)
    store.create(c, "s")
    file, other = work + "/s.tar", Store(work + "/other")
    store.rt(c, "export", "s", file)
    with open(file, "rb") as f:
        whole = f.read()
    chance = random.Random(2)
    used = [at for at in range(0, len(whole), 512) if any(whole[at:at + 512])]
    for _ in range(15):
        at = chance.choice(used) + chance.randrange(512)
        with open(file, "wb") as f:
            f.write(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        # A bit that means nothing (padding, times) may be flipped.
        if other.rt(c, "import", file, ok=None).code == 0:
            other.rt(c, "verify")
            other.rt(c, "rm", "s")
        other.rt(c, "gc")
        assert other.files() == []
    for size in (0, 100, 512, len(whole) // 2):
        with open(file, "wb") as f:
            f.write(whole[:size])
        assert f"cannot import a snapshot from '{file}': " in other.rt(c, "import", file, ok=False).err
    assert other.files() == []
    assert "cannot open it" in other.rt(c, "import", work + "/nothing", ok=False).err


def test_an_encrypted_file_opens_with_its_key_alone(inside, store, work):
    c = inside()
    c.do("secret = b'swordfish' * 1000")
    store.create(c, "s")
    file, other = work + "/s.sealed", Store(work + "/other")
    keys = {}
    for name in ("right", "wrong"):
        keys[name] = f"{work}/{name}.key"
        with open(os.open(keys[name], os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
            f.write(os.urandom(32))
    store.rt(c, "export", "--encrypt", keys["right"], "s", file)
    with open(file, "rb") as f:
        whole = f.read()
    assert b"swordfish" not in whole and not any(os.path.basename(path).encode() in whole for path in store.chunks())
    assert "it was sealed with another key, or is damaged" in other.rt(c, "import", "--encrypt", keys["wrong"], file, ok=False).err
    assert "it is encrypted: its key must be given" in other.rt(c, "import", file, ok=False).err
    middle = len(whole) // 2
    with open(file, "wb") as f:
        f.write(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:])
    assert "or is damaged" in (said := other.rt(c, "import", "--encrypt", keys["right"], file, ok=False).err) or "or damaged" in said  # a piece, or tar's own
    assert other.files() == []
    with open(file, "wb") as f:
        f.write(whole)
    other.rt(c, "import", "--encrypt", keys["right"], file)
    other.is_sound(c)
    assert [os.path.basename(path) for path in other.chunks()] == [os.path.basename(path) for path in store.chunks()]
    os.chmod(keys["right"], 0o644)
    assert "is open to others than its owner (mode 0644)" in store.rt(c, "export", "--encrypt", keys["right"], "s", file, ok=False).err
    store.rt(c, "export", "s", file)
    assert "it is not encrypted" in other.rt(c, "import", "--encrypt", keys["wrong"], file, ok=False).err
