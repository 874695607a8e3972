"""Memory is watched from outside while a container runs (migrate/tracker.h, by the tool of tests/bench/track.c), and nothing of it stays: not in the
container, not in a checkpoint, and not when the watcher is killed."""

import contextlib
import json
import os
import random
import subprocess
import time

import pytest

from lib import config, frozen, needs, proc

TRACK = os.path.join(os.path.dirname(os.path.abspath(os.environ.get("RT", "build/rt"))), "migrate", "rt-track")
KILL = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": ["userfaultfd", "ptrace"], "action": "SCMP_ACT_KILL_PROCESS"}]}

pytestmark = pytest.mark.skipif(not os.path.exists(TRACK), reason="the runtime under test has no rt-track beside it")


@pytest.fixture
def track():
    """track(pids, *flags): the running tool; next() is its next line, say() lets it go on."""
    made = []

    class Tool:
        def __init__(self, pids, *flags):
            self.process = subprocess.Popen([TRACK, *flags, *map(str, pids)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                            close_fds=True)

        def next(self):
            return json.loads(self.process.stdout.readline())

        def say(self):
            self.process.stdin.write("\n")
            self.process.stdin.flush()

        def end(self):
            self.process.stdin.close()
            assert self.process.wait(10) == 0

        def kill(self):
            self.process.kill()
            self.process.wait(10)

    def make(pids, *flags):
        made.append(Tool(pids, *flags))
        return made[-1]

    yield make
    for tool in made:
        tool.kill()
        for pipe in (tool.process.stdin, tool.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
    # The guards end by themselves.
    proc.eventually(lambda: b"rt-guard" not in proc_names(), what="the guards to end")


def proc_names():
    names = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", "rb") as f:
                names.append(f.read().strip())
        except OSError:
            pass
    return names


def watched(pid):
    """How many mappings of a process have a userfaultfd."""
    with open(f"/proc/{pid}/smaps") as f:
        return sum(" uw " in line for line in f if line.startswith("VmFlags:"))


def uffds(pid):
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if "userfaultfd" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                found.append(fd)
    return found


def start_redis(container, **how):
    """With a filter that kills whoever calls userfaultfd."""
    c = container(kind="redis", changes={"linux": {"seccomp": KILL}}, **how)
    c.run_detached()
    proc.eventually(lambda: "PONG" in c.exec("redis-cli", "ping", ok=None).out, what="redis")
    c.exec("redis-cli", "eval", "for i = 1, 64 do redis.call('set', 'k' .. i, string.rep(string.char(i % 250 + 1), 1048576)) end return 1", "0")
    return c


@pytest.fixture
def redis(container):
    return start_redis(container)


def redis_pid(c):
    with open(f"/proc/{c.pid}/comm") as f:
        assert "redis" in f.read()
    return c.pid


def test_a_container_is_watched_and_can_be_checkpointed_then(redis, track):
    needs.criu()
    pid = redis_pid(redis)
    tool = track([pid], "--kind", "uffd-wp", "--rounds", "3", "--every", "200", "--wait-before-last")
    first, second, third = tool.next(), tool.next(), tool.next()
    assert first["whole"] == 0 and first["new"] == 1 and first["pages"] > 64 * 256
    assert first["read"] == first["pages"]
    assert second["pages"] < 1000 and third["pages"] < 1000
    assert watched(pid) > 0 and uffds(pid) == []
    assert redis.exec("redis-cli", "set", "late", "write").out == "OK\n"
    redis.pause()
    tool.say()
    last, released = tool.next(), tool.next()
    assert 1 <= last["pages"] < 1000 and last["whole"] == 0
    assert released["released"] < 500000
    assert watched(pid) == 0
    images = frozen.checkpoint(redis)
    tool.say()
    tool.end()
    frozen.restore(redis, images)
    assert redis.exec("redis-cli", "get", "late").out == "write\n"
    assert redis.exec("redis-cli", "dbsize").out == "65\n"


def test_a_container_that_is_still_watched_can_be_checkpointed(redis, track):
    """Letting go takes long for much memory, so a migration does so after the dump."""
    needs.criu()
    pid = redis_pid(redis)
    check = ["redis-cli", "eval", "local s = '' for i = 1, 64 do s = s .. redis.sha1hex(redis.call('get', 'k' .. i)) end return redis.sha1hex(s)", "0"]
    tool = track([pid], "--kind", "uffd-wp", "--rounds", "3", "--every", "100", "--wait-before-last")
    for _ in range(3):
        tool.next()
    before = redis.exec(*check).out
    redis.pause()
    assert watched(pid) > 0
    images = frozen.checkpoint(redis)
    tool.say()
    assert tool.next()["spaces"] == 0
    tool.next()
    tool.say()
    tool.end()
    frozen.restore(redis, images)
    assert watched(redis.pid) == 0
    assert redis.exec(*check).out == before


@pytest.mark.parametrize("cgroups", ["v1", "v2"])
def test_a_frozen_container_is_told_whole_and_holds_nobody_up(container, track, request, cgroups):
    """Frozen by v2, a task can be stopped, but will not go anywhere."""
    redis = start_redis(container, **({"enter": request.getfixturevalue("cgroup2_only").enter} if cgroups == "v2" else {}))
    pid = redis_pid(redis)
    redis.pause()
    began = time.monotonic()
    tool = track([pid], "--kind", "uffd-wp", "--rounds", "2", "--every", "0")
    for _ in range(2):
        line = tool.next()
        assert line["whole"] == 1 and line["pages"] > 64 * 256 and line["read"] == line["pages"]
    tool.end()
    assert time.monotonic() - began < 10
    redis.resume()
    assert redis.exec("redis-cli", "dbsize").out == "64\n"
    assert watched(pid) == 0
    tool = track([pid], "--kind", "uffd-wp", "--rounds", "2", "--every", "10")
    assert tool.next()["whole"] == 0
    assert tool.next()["pages"] < 1000
    tool.end()
    assert watched(pid) == 0


@pytest.mark.parametrize("kind", ["uffd-wp", "hash"])
def test_what_changes_is_told(container, track, kind):
    """redis puts four megabytes into one value; the round that follows tells them, and little else."""
    c = container(kind="redis")
    c.run_detached()
    proc.eventually(lambda: "PONG" in c.exec("redis-cli", "ping", ok=None).out, what="redis")
    c.exec("redis-cli", "set", "big", "x" * 100)
    tool = track([redis_pid(c)], "--kind", kind, "--rounds", "2", "--every", "300", "--wait-before-last", "--each")
    tool.next()
    tool.next()
    c.exec("redis-cli", "eval", "return redis.call('set', 'big', string.rep('y', 4194304))", "0")
    tool.say()
    line = tool.next()
    assert line["pages"] >= 1024 and line["pages"] == sum(pages for _, _, pages in line["told"])
    assert any(pages >= 1024 for _, _, pages in line["told"])
    assert tool.next()["released"] >= 0
    tool.say()
    tool.end()


def test_the_watcher_killed_at_any_moment_leaves_nothing(redis, track):
    needs.criu()
    pid = redis_pid(redis)
    dice = random.Random(4)
    for turn in range(40):
        tool = track([pid], "--kind", "uffd-wp", "--rounds", "1000", "--every", "0", "--no-read")
        time.sleep(dice.uniform(0.001, 0.03))
        tool.kill()
        assert uffds(pid) == []
        assert redis.exec("redis-cli", "incr", "turns").out == f"{turn + 1}\n"
    proc.eventually(lambda: watched(pid) == 0, what="the kernel to let go of the memory")
    proc.eventually(lambda: b"rt-guard" not in proc_names(), what="the guards to end")
    frozen.around(redis)
    assert redis.exec("redis-cli", "get", "turns").out == "40\n"
