"""`rt run --from-snapshot`: containers that begin where that of a snapshot stood, each one its own."""

import glob
import json
import os
import re
import signal
import subprocess

import pytest

from lib import config as configs
from lib import inside as agents
from lib import host, needs, proc

COUNT = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done"


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


@pytest.fixture
def store(work):
    return work + "/store"


@pytest.fixture
def clones(store):
    """clones(c, "x") starts the container "x" from the snapshot "s"; they are deleted after the test."""
    made = []

    def start(c, id, *flags, name="s", **how):
        made.append((c, id))
        return c.to_file("run", "--detach", "--from-snapshot", name, "--store", store, *flags, id, **how)

    yield start
    for c, id in made:
        c.rt("delete", "--force", id, ok=None)
        c.rt("snapshot", "rm", "--store", store, "s", ok=None)
        c.rt("snapshot", "gc", "--store", store, ok=None)


def snapshot(c, store, *flags, name="s", **how):
    return c.rt("snapshot", "create", "--store", store, *flags, c.id, name, **how)


def state(c, id):
    return json.loads(c.rt("state", id).out)


def read_inside(c, id, path):
    return c.rt("exec", id, "cat", path).out


def counter(running):
    c = running(["sh", "-c", COUNT])
    proc.eventually(lambda: os.path.exists(c.host_path("/count")), what="counting")
    return c


def number(text):
    return int(text.strip() or 0)


def test_a_clone_goes_on_where_the_original_stood(running, store, clones):
    c = counter(running)
    snapshot(c, store)
    assert not c.exists()
    stood = number(open(c.host_path("/count")).read())
    clones(c, "one")
    assert state(c, "one")["status"] == "running"
    proc.eventually(lambda: number(read_inside(c, "one", "/count")) > stood + 2, what="the clone to count on")
    # It writes into its own root filesystem.
    assert number(open(c.host_path("/count")).read()) == stood


def test_clones_do_not_see_each_other(running, store, clones):
    c = counter(running)
    snapshot(c, store, "--leave-running")
    assert c.status == "running"
    for id in ("one", "two"):
        clones(c, id, "--hostname", "host-" + id)
    for id in ("one", "two"):
        c.rt("exec", id, "sh", "-c", f"echo {id} > /mine")
    for id in ("one", "two"):
        assert read_inside(c, id, "/mine").strip() == id
        assert c.rt("exec", id, "hostname").out.strip() == "host-" + id
        assert state(c, id)["pid"] != c.pid
    assert not os.path.exists(c.host_path("/mine"))
    # Another cgroup, another network namespace.
    pids = [c.pid, state(c, "one")["pid"], state(c, "two")["pid"]]
    assert len({os.readlink(f"/proc/{pid}/ns/net") for pid in pids}) == 3
    assert len({open(f"/proc/{pid}/cgroup").read() for pid in pids}) == 3


def test_it_is_told_that_it_is_a_clone(running, store, clones):
    c = running(["sh", "-c", COUNT], changes={
        "annotations": {"org.rt.snapshot-resume": json.dumps(["sh", "-c", "cp /run/rt-clone /resumed"])}})
    snapshot(c, store)
    told = {}
    for id in ("one", "two"):
        clones(c, id)
        told[id] = json.loads(read_inside(c, id, "/run/rt-clone"))
        assert json.loads(read_inside(c, id, "/resumed")) == told[id]
        assert told[id]["id"] == id and told[id]["snapshot"] == "s"
        assert re.fullmatch("[0-9a-f]{32}", told[id]["generation"]) and re.fullmatch("[0-9a-f]{64}", told[id]["seed"])
    assert told["one"]["seed"] != told["two"]["seed"] and told["one"]["generation"] != told["two"]["generation"]


def test_a_resume_hook_that_fails_ends_the_clone(running, store, clones):
    c = running(["sh", "-c", COUNT], changes={"annotations": {"org.rt.snapshot-resume": json.dumps(["sh", "-c", "exit 3"])}})
    snapshot(c, store)
    result = clones(c, "one", ok=False)
    assert "cannot start 'one' from snapshot 's': its resume hook 'sh' has failed" in result.err
    assert c.rt("state", "one", ok=None).code != 0


def test_many_at_once(running, store, clones):
    c = counter(running)
    snapshot(c, store)
    for i in range(1, 7):
        clones(c, f"many-{i}", "--version", ok=None)
    c.to_file("run", "--detach", "--from-snapshot", "s", "--store", store, "--count", "6", "many")
    for i in range(1, 7):
        assert state(c, f"many-{i}")["status"] == "running"


def test_in_the_foreground_its_status_is_the_containers(running, store, clones):
    c = running(["sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; exit 7"])
    snapshot(c, store)
    open(c.host_path("/go"), "w").close()
    result = c.rt("run", "--from-snapshot", "s", "--store", store, "front", ok=None)
    assert result.code == 7, result
    clones(c, "front", "--version", ok=None)
    assert c.rt("state", "front", ok=None).code != 0


def test_memory_comes_back_as_it_was(inside, store, clones):
    c = inside()
    c.do("data = os.urandom(1 << 20) * 48; digest = hashlib.sha256(data).hexdigest(); open('/digest', 'w').write(digest)")
    snapshot(c, store)
    for id in ("one", "two"):  # the second one with a record of what the first one touched
        clones(c, id)
        assert agents.ask(state(c, id)['pid'], "hashlib.sha256(data).hexdigest() == digest") is True
        if id == "one":
            record = proc.eventually(lambda: glob.glob(c.root + "/@snapshots/*/record"), what="a record of the pages it touched")
            assert re.match("1 0x[0-9a-f]+ [0-9]+\n", open(record[0]).read())


def test_what_the_original_changed_in_its_root_comes_along(container, store, clones):
    c = container(["sh", "-c", "rm -r /gone; echo new > /made; echo changed > /changed; " + COUNT])
    for name in ("upper", "work", "merged", "lower"):
        os.mkdir(f"{c.dir}/{name}")
    os.mkdir(c.rootfs + "/gone")
    for path in ("/gone/file", "/changed"):
        with open(c.host_path(path), "w") as f:
            f.write("old\n")
    # lower, with everything; the container's root is an overlay of it
    os.rmdir(c.dir + "/lower")
    os.rename(c.rootfs, c.dir + "/lower")
    os.mkdir(c.rootfs)
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={c.dir}/lower,upperdir={c.dir}/upper,workdir={c.dir}/work", c.rootfs], check=True)
    try:
        c.run_detached()
        proc.eventually(lambda: os.path.exists(c.host_path("/count")), what="counting")
        snapshot(c, store)
    finally:
        subprocess.run(["umount", c.rootfs], check=True)
    clones(c, "one")
    assert read_inside(c, "one", "/made") == "new\n" and read_inside(c, "one", "/changed") == "changed\n"
    assert c.rt("exec", "one", "ls", "/gone", ok=False)
    assert open(c.dir + "/lower/changed").read() == "old\n"


def test_connections_of_the_original_are_closed(inside, store, clones):
    c = inside()
    c.do("l = socket.create_server(('127.0.0.1', 7000)); a = socket.create_connection(('127.0.0.1', 7000)); b, _ = l.accept()")
    snapshot(c, store)
    clones(c, "one")
    answer = agents.ask(state(c, "one")["pid"],
                        "r = a.recv(1)\nd = socket.create_connection(('127.0.0.1', 7000))\ne, _ = l.accept()\nd.send(b'x')\n(r, e.recv(1))")
    # The listener goes on; the old connection tells its end.
    assert answer == (b"", b"x")


def test_what_is_wrong_is_said(running, store, clones):
    c = counter(running)
    assert f"there is no snapshot 's' in '{store}'" in clones(c, "one", ok=False).err
    snapshot(c, store)
    assert "'--count' needs '--detach'" in c.rt("run", "--from-snapshot", "s", "--store", store, "--count", "2", "x", ok=False).err
    assert "'--hostname' needs '--from-snapshot'" in c.rt("run", "--hostname", "x", "x", ok=False).err
    os.rename(c.rootfs, c.rootfs + "-away")
    try:
        err = clones(c, "one", ok=False).err
        assert f"the root filesystem '{c.rootfs}' it stands on: no such file or directory" in err
    finally:
        os.rename(c.rootfs + "-away", c.rootfs)
    clones(c, "one")
    assert "container with id 'one' exists" in clones(c, "one", ok=False).err
    assert state(c, "one")["status"] == "running"


def test_a_start_that_is_killed_leaves_what_gc_takes_away(running, store, clones):
    c = counter(running)
    snapshot(c, store)
    before = host.processes()

    def crius():
        return [pid for pid, name in host.processes() - before if name == "(criu)"]

    for delay in (0.01, 0.03, 0.05, 0.08, 0.1, 0.15, 0.2):
        child = proc.start(c.argv("run", "--from-snapshot", "s", "--store", store, "killed"))
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
        proc.eventually(lambda: c.rt("delete", "--force", "killed", ok=None).code == 0, what="killed to be deleted")
        proc.eventually(lambda: not crius(), timeout=5, what="CRIU to end")
        c.rt("snapshot", "gc", "--store", store)
        assert not os.path.exists(c.root + "/@clones/killed")
    clones(c, "killed")
    assert state(c, "killed")["status"] == "running"
