"""Whatever SIGKILL interrupts, `delete --force` afterwards leaves nothing behind.

Each command is killed at each of its system calls, one after the other (escapes/kill_at.c), in a
fresh container each time; and at moments of the clock, which no one can enumerate. The same
container id is used all the time, so anything left would also get in the way of the next one.
"""

import os
import random
import signal
import time

import pytest

import escapes
from lib import cgroup, host, proc

# Seconds a sweep may take; if every call can't be tried in it, every second, third... is.
BUDGET = float(os.environ.get("RT_KILL_BUDGET", "8"))


@pytest.fixture(scope="session")
def kill_at(templates):
    return escapes.build(f"{templates}/escape-tools") + "/kill_at"


def everything(c):
    """What a container could leave. Files: the runtime's own directory, caches included."""
    return {"processes": host.processes(), "mounts": host.mounts(),
            "cgroups": cgroup.all_cgroups(),
            "files": {os.path.join(d, n) for d, _, names in os.walk(c.root) for n in names}
                     | {d for d, _, _ in os.walk(c.root)} | set(os.listdir("/run"))}


def assert_nothing_left(before, c, when):
    def told():
        now = everything(c)
        return [f"{part}: {x}" for part in now for x in sorted(now[part] - before[part], key=str)]
    try:
        proc.eventually(lambda: not told(), timeout=3)
    except AssertionError:
        raise AssertionError(f"left after {when}: {told()}") from None


class Sweep:
    """A command, what must be done before it, and how it is killed again and again."""

    def __init__(self, c, kill_at, prepare, words):
        self.c = c
        self.kill_at = kill_at
        self.prepare = prepare
        self.words = words
        self.result = c.dir + "/killed"
        c.write_config()
        # Once in peace: what is there afterwards (caches) may stay.
        self.run("parent", 0)
        self.clean("a run in peace")
        self.before = everything(c)

    def run(self, who, n):
        """Returns the words of the report."""
        for step in self.prepare:
            self.c.rt(*step)
        self.code = proc.run([*self.c.enter, self.kill_at, who, n, self.result,
                              *self.c.argv(*self.words)], ok=None, timeout=20).code
        return escapes.read(self.result).split()

    def clean(self, when, after_failure=False):
        result = self.c.rt("delete", "--force", self.c.id, ok=None)
        assert result.code == 0, f"after {when}: {result!r}"
        if hasattr(self, "before"):
            assert_nothing_left(self.before, self.c, when)

    def count(self, who):
        """How many system calls there are to be killed at."""
        ended = self.run(who, 0)
        self.clean("a run in peace")
        return int(ended[2])

    def over_all_calls(self, who, check=None):
        """Returns (calls there are, calls killed at)."""
        calls = self.count(who)
        began = time.monotonic()
        self.one(who, 1, check)
        step = max(1, int(calls * (time.monotonic() - began) * 1.5 / BUDGET))
        killed = 0
        # The odd numbers first, so to speak: wherever time ends, the calls tried are spread.
        for start in range(step):
            for n in range(1 + start, calls + 1, step):
                if time.monotonic() - began > BUDGET:
                    return calls, killed
                killed += self.one(who, n, check)
        return calls, killed

    def one(self, who, n, check):
        when = f"{who} of '{self.words[0]}' was killed at call {n}"
        report = self.run(who, n)
        if check:
            check(report, when)
        self.clean(when)
        return report == ["killed"]


def bundle_words(c, *words):
    return [*words, "--bundle", c.dir, c.id]


COMMANDS = {
    "create": ([], lambda c: bundle_words(c, "create")),
    "run": ([], lambda c: bundle_words(c, "run", "--detach")),
    "start": (["create"], lambda c: ["start", c.id]),
    "exec": (["create", "start"], lambda c: ["exec", c.id, "true"]),
    "pause": (["create", "start"], lambda c: ["pause", c.id]),
    "kill": (["create", "start"], lambda c: ["kill", c.id, "KILL"]),
    "delete": (["create", "start"], lambda c: ["delete", "--force", c.id]),
}


def sweep_of(container, kill_at, verb):
    c = container()
    c.config["hostname"] = "swept"
    before, words = COMMANDS[verb]
    steps = [bundle_words(c, "create") if v == "create" else [v, c.id] for v in before]
    return Sweep(c, kill_at, steps, words(c))


@pytest.mark.parametrize("verb", COMMANDS)
def test_killed_at_any_system_call(container, kill_at, verb):
    calls, killed = sweep_of(container, kill_at, verb).over_all_calls("parent")
    print(f"{verb}: killed at {killed} of {calls} calls")
    assert killed > min(calls, 20) * 0.8


@pytest.mark.parametrize("verb", ["create", "run", "exec"])
def test_the_runtimes_child_killed_at_any_system_call(container, kill_at, verb):
    """The runtime lives, so it must say that it failed, and for itself leave nothing."""
    def check(report, when):
        if report[0] == "ended":
            return
        if verb != "exec" and sweep.code == 0:
            # Killed when the runtime had heard that all was well, and was about to end itself: a container that has stopped.
            sweep.c.wait_stopped()
        elif verb != "exec":
            assert not sweep.c.exists(), f"the container is there though {when}"
            assert_nothing_left(sweep.before, sweep.c, when + ", without any delete")
    sweep = sweep_of(container, kill_at, verb)
    calls, killed = sweep.over_all_calls("child", check)
    print(f"{verb}: killed at {killed} of {calls} calls")
    assert killed > min(calls, 20) * 0.8


@pytest.mark.parametrize("verb", ["create", "run", "start", "delete"])
def test_killed_at_any_moment(container, kill_at, verb):
    sweep = sweep_of(container, kill_at, verb)
    c = sweep.c
    for step in sweep.prepare:
        c.rt(*step)
    longest = c.rt(*sweep.words).seconds
    sweep.clean("a run in peace")
    dice = random.Random(1)
    killed = 0
    for _ in range(40):
        for step in sweep.prepare:
            c.rt(*step)
        wait = dice.uniform(0, longest)
        process = proc.start(c.argv(*sweep.words))
        time.sleep(wait)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        sweep.clean(f"'{verb}' was killed after {wait * 1000:.1f} ms")
    assert killed > 5, "it was always too late"
