"""Snapshots that are encrypted in the store: nothing of them is to be read without the key, and nothing can be changed unnoticed."""

import hashlib
import json
import os
import random

import pytest

from lib import inside as agents
from lib import needs, proc, registry
from test_snapshot_store import SLEEP, Store, damaged


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


@pytest.fixture
def store(work):
    return Store(work + "/store")


def make_key(path, mode=0o600):
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, mode), "wb") as f:
        f.write(os.urandom(32))
    os.chmod(path, mode)
    return path


@pytest.fixture
def key(work):
    return make_key(work + "/key")


def start(c, store, name, id, key, **how):
    flags = ["--key", key] if key else []
    if how:
        return c.rt("run", "--detach", "--from-snapshot", name, "--store", store.path, *flags, id, **how)
    return c.to_file("run", "--detach", "--from-snapshot", name, "--store", store.path, *flags, id)


def ask(c, id, text):
    return agents.ask(json.loads(c.rt("state", id).out)["pid"], text)


def everything(path):
    """Every byte below it, names included."""
    for at, directories, files in os.walk(path):
        yield from (name.encode() for name in directories + files)
        for name in files:
            with open(f"{at}/{name}", "rb") as f:
                yield f.read()


def test_a_root_that_is_no_tmpfs_is_told(running, store, key, work):
    c = running(SLEEP)
    assert "is not in memory" not in store.create(c, "one", "--leave-running", "--encrypt", key).err
    for name in ("lower", "upper", "more"):
        os.mkdir(f"{work}/{name}")
    # What an overlay lies on can't be known.
    proc.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={work}/lower,upperdir={work}/upper,workdir={work}/more", c.root + "/@snapshots"])
    try:
        err = store.create(c, "two", "--leave-running", "--encrypt", key).err
        assert f"'{c.root}/@snapshots/dump-" in err and "is not in memory" in err
        assert os.listdir(work + "/upper") == ["lock"]
    finally:
        proc.run(["umount", c.root + "/@snapshots"])


def test_nothing_of_it_is_to_be_read_without_the_key(inside, store, key, work):
    c = inside(changes={"hostname": "swordfish-host"})
    c.do("secret = b'swordfish' * 100000; data = os.urandom(4 << 20); open('/changed', 'w').write('swordfish')")
    c.do("open('/digest', 'w').write(hashlib.sha256(data).hexdigest())")
    plain = Store(work + "/plain")
    plain.create(c, "s", "--leave-running")
    assert any(b"swordfish" in data for data in everything(plain.path))
    store.create(c, "s", "--leave-running", "--encrypt", key)
    store.create(c, "again", "--encrypt", key)
    for data in everything(store.path):
        assert b"swordfish" not in data and c.id.encode() not in data and c.rootfs.encode() not in data
    # Not even that a chunk is one that is known.
    names = {os.path.basename(path) for path in store.chunks()}
    assert names.isdisjoint(os.path.basename(path) for path in plain.chunks())
    assert os.listdir(c.root + "/@snapshots") == ["lock"]

    shown = json.loads(store.rt(c, "inspect", "s").out)
    assert shown["encrypted"] and shown["container"] == {"id": None, "bundle": None, "rootfs": []}
    assert shown["bytes"]["shared"] > shown["bytes"]["stored"] / 2
    shown = json.loads(store.rt(c, "inspect", "--key", key, "s").out)
    assert shown["encrypted"] and shown["container"]["id"] == c.id
    assert "(encrypted)" in store.rt(c, "ls").out and store.names(c) == ["again", "s"]

    assert "it is encrypted: its key must be given ('--key')" in start(c, store, "s", "x", None, ok=False).err
    for name in ("s", "again"):
        start(c, store, name, "clone", key)
        try:
            assert ask(c, "clone", "hashlib.sha256(data).hexdigest() == open('/digest').read() and secret[:9]") == b"swordfish"
            # What is in memory now opens to nobody without it.
            assert "its key must be given" in start(c, store, name, "x", None, ok=False).err
            assert "sealed with another key" in start(c, store, name, "x", make_key(work + "/other"), ok=False).err
        finally:
            c.rt("delete", "--force", "clone")
    store.rt(c, "rm", "s", "again")
    store.rt(c, "gc")
    assert store.files() == [] and os.listdir(c.root + "/@snapshots") == ["lock"]


def test_it_is_verified_with_and_without_the_key(running, store, key, work):
    c = running(SLEEP)
    store.create(c, "s", "--leave-running", "--encrypt", key)
    store.create(c, "plain")
    store.is_sound(c)
    assert store.rt(c, "verify", "s").out.endswith("faults: 0\n")
    assert store.rt(c, "verify", "--key", key, "s").out.endswith("faults: 0\n")
    assert "it was sealed with another key, or is damaged" in store.rt(c, "verify", "--key", make_key(work + "/other"), "s", ok=False).out
    assert "snapshot 'plain': it is not encrypted: leave '--key' out" in store.rt(c, "verify", "--key", key, "plain", ok=False).err
    assert "'--key' needs the name of a snapshot" in store.rt(c, "verify", "--key", key, ok=False).err
    assert "it is not encrypted: leave '--key' out" in start(c, store, "plain", "x", key, ok=False).err
    assert "snapshot 'plain': it is not encrypted" in store.rt(c, "inspect", "--key", key, "plain", ok=False).err
    chance = random.Random(3)
    for path in [store.path + "/index/s", *chance.sample(store.chunks(), 6)]:
        with damaged(path, chance):
            result = store.rt(c, "verify", ok=None)
            assert result.code == 1 and "is damaged" in result.out, (path, result)
    store.is_sound(c)


def fields(data):
    """Of a protobuf message: its fields as they stand, the number of each before."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                return value, at

    at = 0
    while at < len(data):
        tag, value = varint(at)
        length, end = varint(value)
        end = end + length if tag & 7 == 2 else end
        yield tag >> 3, data[at:end]
        at = end


def test_who_can_write_to_the_store_can_change_nothing_unnoticed(running, store, key):
    """An index with a digest as it should be, made by somebody without the key."""
    c = running(SLEEP)
    store.create(c, "s", "--encrypt", key)
    path = store.path + "/index/s"
    with open(path, "rb") as f:
        whole = f.read()
    assert hashlib.sha256(whole[32:]).digest() == whole[:32]
    parts = list(fields(whole[32:]))
    images = [index for index, (number, _) in enumerate(parts) if number == 7]

    def put(changed):
        message = b"".join(data for _, data in changed)
        with open(path, "wb") as f:
            f.write(hashlib.sha256(message).digest() + message)

    def swap(a, b):
        changed = list(parts)
        changed[a], changed[b] = parts[b], parts[a]
        return changed

    digests = [bytes.fromhex(os.path.basename(chunk)) for chunk in store.chunks()]
    other = [(number, data.replace(digests[0], digests[1]) if number == 7 else data) for number, data in parts]
    assert other != parts
    for changed, words in [
            (swap(images[0], images[1]), "sealed with another key, or is damaged"),
            (other, "sealed with another key, or is damaged"),
            ([part for part in parts if part != parts[images[0]]], "sealed with another key, or is damaged"),
            ([part for part in parts if part[0] != 11], "one half of it is encrypted"),
            ([part for part in parts if part[0] != 1] + [(1, b"\x08\x01")], "one half of it is encrypted"),
            ([(1, b"\x08\x01"), *[part for part in parts if part[0] not in (1, 11)]], "it is not encrypted: leave '--key' out")]:
        put(changed)
        assert words in start(c, store, "s", "x", key, ok=False).err
        assert c.rt("state", "x", ok=None).code != 0
    put(parts)
    assert store.rt(c, "verify", "--key", key, "s").out.endswith("faults: 0\n")


def test_it_stays_encrypted_wherever_it_goes(inside, store, key, work):
    c = inside()
    c.do("secret = b'swordfish' * 1000")
    store.create(c, "s", "--encrypt", key)
    other, third, fourth = Store(work + "/other"), Store(work + "/third"), Store(work + "/fourth")
    store.rt(c, "export", "s", work + "/s.tar")
    with open(work + "/s.tar", "rb") as f:
        assert b"swordfish" not in f.read()
    other.rt(c, "import", work + "/s.tar", "renamed")
    other.is_sound(c)
    with registry.Fake() as there:
        third.rt(c, "import", work + "/s.tar")
        third.rt(c, "push", "s", there.host + "/web:tag")
        assert not any(b"swordfish" in data for data in there.blobs.values())
        fourth.rt(c, "pull", there.host + "/web:tag")
        fourth.is_sound(c)
        assert "it is encrypted already: leave '--encrypt' out" in third.rt(c, "push", "--encrypt", key, "s", there.host + "/web:tag", ok=False).err
    for place, name in ((other, "renamed"), (fourth, "s")):
        assert {os.path.basename(path) for path in place.chunks()} == {os.path.basename(path) for path in store.chunks()}
        start(c, place, name, "clone", key)
        try:
            assert ask(c, "clone", "secret[:9]") == b"swordfish"
        finally:
            c.rt("delete", "--force", "clone")


def test_one_that_is_not_encrypted_here_can_be_there(inside, store, key, work):
    c = inside()
    c.do("secret = b'swordfish' * 1000")
    store.create(c, "s", "--leave-running")
    other = Store(work + "/other")
    with registry.Fake() as there:
        store.rt(c, "push", "--encrypt", key, "s", there.host + "/web:tag")
        assert not any(b"swordfish" in data for data in there.blobs.values())
        assert "of which 0 were new" in store.rt(c, "push", "--encrypt", key, "s", there.host + "/web:again").out
        other.rt(c, "pull", there.host + "/web:tag")
    other.is_sound(c)
    store.is_sound(c)
    assert not json.loads(store.rt(c, "inspect", "s").out)["encrypted"]
    assert other.rt(c, "verify", "--key", key, "s").out.endswith("faults: 0\n")
    start(c, other, "s", "clone", key)
    try:
        assert ask(c, "clone", "secret[:9]") == b"swordfish"
    finally:
        c.rt("delete", "--force", "clone")
    # What is encrypted elsewhere with the same key shares chunks with it.
    other.create(c, "more", "--encrypt", key)
    shown = json.loads(other.rt(c, "inspect", "more").out)
    assert shown["bytes"]["shared"] > shown["bytes"]["stored"] / 2


def test_a_key_that_is_none_is_said_and_not_shown(running, store, key, work):
    c = running(SLEEP)
    open_key = make_key(work + "/open", 0o640)
    with open(os.open(work + "/short", os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
        f.write(b"swordfish")
    os.mkdir(work + "/directory")
    for path, words in {open_key: "is open to others than its owner (mode 0640): make it 0600", work + "/short": "must be a file of 32 bytes",
                        work + "/directory": "must be a file of 32 bytes", work + "/none": "cannot open the key file"}.items():
        err = store.create(c, "s", "--leave-running", "--encrypt", path, ok=False).err
        assert words in err and "swordfish" not in err
        assert words in start(c, store, "s", "x", path, ok=False).err
    assert c.status == "running" and store.files() == []
    assert "'--key' needs '--from-snapshot'" in c.rt("run", "--key", key, "x", ok=False).err


@pytest.mark.parametrize("call", ["mkdir", "openat", "write", "renameat", "flock"])
def test_a_kill_leaves_nothing_that_gc_does_not_take(running, store, key, call):
    needs.program("strace")
    c = running(["sh", "-c", "x=swordfish; while :; do sleep 0.05; done"])
    for number in (1, 3, 8, 21, 55):
        result = proc.run(["strace", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}",
                           *c.argv("snapshot", "create", "--store", store.path, "--leave-running", "--encrypt", key, c.id, f"n{number}")], ok=None)
        proc.eventually(lambda: c.rt("state", c.id).out and c.status == "running", what="the container to go on")
        store.is_sound(c)
        assert not any(b"swordfish" in data for data in everything(store.path))
        if result.code == 0:
            break
    for name in store.names(c):
        assert store.rt(c, "verify", "--key", key, name).out.endswith("faults: 0\n")
        store.rt(c, "rm", name)
    store.rt(c, "gc")
    assert store.files() == []
    assert [name for name in os.listdir(c.root + "/@snapshots") if name != "lock"] == []
