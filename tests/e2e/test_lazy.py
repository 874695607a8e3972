"""Lazy restore: tasks run at once and get their memory as they touch it, from page sets (migrate/lazy.h) that lazy_driver.c fills from an ordinary
checkpoint. What the victim (lazy_victim.c) does with its memory meanwhile must not show."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from lib import container as containers
from lib import frozen, needs, proc, rootfs

DRIVER = os.path.join(os.path.dirname(containers.runtime()), "tests/e2e/lazy-driver")


@pytest.fixture(autouse=True)
def criu():
    needs.criu()
    if not os.path.exists(DRIVER):
        pytest.skip("no tests/e2e/lazy-driver beside the runtime under test")


@pytest.fixture(scope="session")
def victim(templates):
    return rootfs.compiled("lazy_victim", templates)


class Driver:
    def __init__(self, c, images, *flags):
        self.work = images + "-work"
        os.makedirs(self.work, exist_ok=True)
        self.out, self.err = self.work + "/driver.out", self.work + "/driver.err"
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.process = proc.start([DRIVER, *map(str, flags), images, self.work], stdout=out, stderr=err)

    def said(self, line):
        with open(self.out) as f:
            return line in f.read().split("\n")

    def wait_for(self, line, timeout=30):
        proc.eventually(lambda: self.said(line) or self.process.poll() is not None, timeout=timeout, what=line)
        assert self.said(line), self.error

    @property
    def error(self):
        with open(self.err) as f:
            return f.read()

    def finish(self, timeout=60):
        assert self.process.wait(timeout) == 0, self.error
        with open(self.out) as f:
            return json.loads(f.read().strip().split("\n")[-1])

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def driver():
    made = []

    def make(c, images, *flags, ready=True):
        made.append(Driver(c, images, *flags))
        if ready:
            made[-1].wait_for("ready")
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def start(container, victim):
    """A started victim."""
    def make(mib=64):
        c = container(["/victim", str(mib)])
        subprocess.run(["cp", victim, c.host_path("/victim")], check=True)
        c.run_detached()
        c.wait_output("up\n")
        return c
    return make


def go(c, text):
    with open(c.host_path("/go.new"), "w") as f:
        f.write(text)
    os.rename(c.host_path("/go.new"), c.host_path("/go"))


def lazily(c, images, driver, *flags):
    d = driver(c, images, *flags)
    frozen.restore(c, images, "--lazy-pages", "--work-path", d.work)
    return d


def flags_of_mappings(c):
    """All flags that any mapping of the container's processes has."""
    flags = set()
    for pid in json.loads(c.rt("ps", "--format", "json", c.id).out):
        with open(f"/proc/{pid}/smaps") as f:
            for line in f:
                if line.startswith("VmFlags:"):
                    flags |= set(line.split()[1:])
    assert "rd" in flags
    return flags


def said(c, pattern, timeout=60):
    """The line of the victim's output that matches; "bad" fails at once."""
    def look():
        return re.search(pattern, c.output, re.M) or re.search("^bad.*", c.output, re.M)
    found = proc.eventually(look, timeout=timeout, what=f"{pattern!r} from {c.id}").group(0)
    assert not found.startswith("bad"), found
    return found


MODES = {"all there": [], "given back": ["--release"], "post-copy": ["--post-copy", 20], "post-copy, given back": ["--post-copy", 60, "--release"]}


@pytest.mark.parametrize("mode", MODES)
def test_every_page_is_what_it_was(start, driver, mode):
    c = start()
    images = frozen.checkpoint(c)
    go(c, "check")
    d = lazily(c, images, driver, *MODES[mode])
    print(said(c, "^fine.*"))
    figures = d.finish()
    print(figures)
    assert figures["left"] == 0 and figures["pages"] >= 16384
    assert (figures["wanted"] > 0) == ("post-copy" in mode)
    # No trace is left, and so it can be dumped again.
    assert not flags_of_mappings(c) & {"um", "uw", "ui"}
    frozen.around(c, name="again")
    go(c, "check again")
    proc.eventually(lambda: c.output.count("fine") == 2, what="the check after another checkpoint")


@pytest.mark.parametrize("mode", MODES)
def test_tasks_may_do_anything_with_memory_that_has_not_come(start, driver, mode):
    c = start()
    images = frozen.checkpoint(c)
    go(c, "churn")
    d = lazily(c, images, driver, *MODES[mode])
    said(c, "^churned")
    print(d.finish())
    assert not flags_of_mappings(c) & {"um", "uw", "ui"}
    frozen.around(c, name="again")
    go(c, "check")
    said(c, "^fine.*")


def test_it_is_pushed_though_nobody_asks(start, driver):
    c = start(256)
    images = frozen.checkpoint(c)
    figures = lazily(c, images, driver).finish()
    print(f"{figures['pushed'] * 4096 / figures['pushing'] / 1e9:.2f} GB/s", figures)
    assert figures["pushed"] > 60000
    go(c, "check")
    said(c, "^fine.*")


def test_a_record_of_faults_tells_what_to_push_first(start, driver, work):
    c = start()
    images = frozen.checkpoint(c)
    go(c, "check")
    d = lazily(c, images, driver, "--record", work + "/record")
    said(c, "^fine.*")
    d.finish()
    with open(work + "/record") as f:
        lines = f.read().splitlines()
    assert lines and all(re.fullmatch("1 0x[0-9a-f]+ [0-9]+", line) for line in lines)
    images = frozen.checkpoint(c, name="again")
    d = lazily(c, images, driver, "--prefetch", work + "/record")
    assert d.finish()["left"] == 0
    go(c, "check again")
    proc.eventually(lambda: c.output.count("fine") == 2, what="the second check")


def test_a_missing_page_is_told_before_anything_runs(start, driver):
    c = start(8)
    images = frozen.checkpoint(c)
    d = driver(c, images, "--lose", ready=False)
    assert d.process.wait(20) == 1
    assert re.search("getting ready for a lazy restore: the page at 0x[0-9a-f]+ of task 1 has not come", d.error)


def test_a_restore_that_fails_ends_the_server(start, driver):
    c = start(8)
    images = frozen.checkpoint(c)
    d = driver(c, images)
    # Without the mounts and the rest that `rt restore` tells it, it can't.
    proc.run(["criu", "restore", "--images-dir", images, "--work-dir", d.work, "--lazy-pages", "--restore-detached", "--manage-cgroups=ignore"], ok=False)
    assert d.process.wait(20) == 1
    assert "CRIU ended before the tasks were restored" in d.error


def test_tasks_that_are_killed_end_the_server(start, driver):
    c = start()
    images = frozen.checkpoint(c)
    d = lazily(c, images, driver, "--post-copy", 50)
    d.wait_for("restored")
    c.kill()
    c.wait_stopped()
    d.finish()


def test_a_server_that_dies_leaves_tasks_that_can_be_killed(start, driver):
    c = start()
    images = frozen.checkpoint(c)
    d = lazily(c, images, driver, "--post-copy", 1)
    d.wait_for("restored")
    d.process.send_signal(signal.SIGKILL)
    c.kill()
    c.wait_stopped()


def first_answer(c, images, driver):
    """Seconds from the start of a lazy restore until redis answers, and the driver."""
    d = driver(c, images)
    begin = time.monotonic()
    frozen.restore(c, images, "--lazy-pages", "--work-path", d.work)
    restored = time.monotonic() - begin
    ask = ["nsenter", "--target", str(c.pid), "--net", "redis-cli", "ping"]
    proc.eventually(lambda: "PONG" in proc.run(ask, ok=None).out, what="redis to answer")
    return restored, time.monotonic() - begin, d


@pytest.mark.parametrize("mib", [64, 512])
def test_redis_answers_at_once_and_has_all_its_keys(container, driver, mib):
    c = container(kind="redis")
    c.run_detached()
    proc.eventually(lambda: "PONG" in c.exec("redis-cli", "ping", ok=None).out, what="redis")
    c.exec("redis-cli", "eval", f"for i = 1, {mib} * 16 do redis.call('set', 'k' .. i, string.rep(string.char(i % 250 + 1), 65536)) end return 1", "0", timeout=60)
    check = ["redis-cli", "eval", f"local s = '' for i = 1, {mib} * 16 do s = s .. redis.sha1hex(redis.call('get', 'k' .. i)) end return redis.sha1hex(s)", "0"]
    digest = c.exec(*check, timeout=60).out
    images = frozen.checkpoint(c)
    restored, answered, d = first_answer(c, images, driver)
    print(f"{mib} MiB: restored after {restored:.3f} s, first answer after {answered:.3f} s")
    assert c.exec(*check, timeout=60).out == digest
    print(d.finish())
    assert not flags_of_mappings(c) & {"um", "uw", "ui"}
    assert c.exec("redis-cli", "dbsize").out == f"{mib * 16}\n"
