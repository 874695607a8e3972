"""A machine loses its power in the middle of a migration: not a process that is killed, but all of them, with /run and whatever was not on the disk.

Who dies with a machine is dead; what may never be is a container that runs twice, or one that is lost though its machine lives.
"""

import pytest

from machines.moving import Moving, wait_for

LOG = "/var/log/lab-migrate"


@pytest.fixture
def moving(lab, pair):
    made = Moving(lab, pair.a, pair.b)
    yield made
    for guest in made.guests:
        if guest.process.poll() is not None:
            back(lab, made, guest)
    made.close()


def back(lab, moving, guest):
    """Its power is there again: it boots, and is set up as it was."""
    guest.kill_power()
    guest.start()
    lab.up(guest)
    moving.prepare(guest)


def begin(moving, point, *flags):
    """A migration that has come to a point: (the container on its source, the tool)."""
    c = moving.container("churn", "churn", args=["churn", "private", "32", "300"]).run_detached()
    source, target = c.guest, moving.other(c.guest)
    for guest in (source, target):
        guest.run("mkdir -p -m 700 /run/lab-pause; rm -f /run/lab-pause/*; sync")
    at = source if point.startswith(("tool", "dumper")) else target
    at.run(f"touch /run/lab-pause/{point}")
    tool = source.spawn(["env", "RT_MIGRATE_PAUSE=/run/lab-pause", *moving.command(c, "--track", "soft-dirty", *flags)], f"{moving.lab.work}/power.log")
    wait_for(lambda: at.run("ls /run/lab-pause").out.startswith(point + "."), f"the migration to come to {point}", 120)
    return c, tool


def said(moving):
    with open(f"{moving.lab.work}/power.log") as f:
        return f.read()[-3000:]


@pytest.mark.limit(900)
@pytest.mark.parametrize("point, flags", [("worker-receiving", ["--mode", "pre-copy"]), ("worker-ready", ["--mode", "pre-copy"]),
                                          ("worker-decided", ["--mode", "pre-copy"]), ("worker-decided", ["--mode", "hybrid"])],
                         ids=["while memory comes", "when all is restored", "when it has decided", "when it has decided, hybrid"])
def test_the_target_loses_its_power(lab, moving, point, flags):
    c, tool = begin(moving, point, *flags)
    target = moving.other(c.guest)
    target.kill_power()
    assert tool.wait(200) != 0
    back(lab, moving, target)
    if c.status == "paused" or point == "worker-decided":
        recovered = c.rt("migrate", "--recover", timeout=200)
        print(recovered.out, recovered.err)
    assert moving.where(c) == [c.guest.name], said(moving)
    assert c.status == "running", said(moving)
    c.checks_itself()
    # And nothing is in the way of the next try.
    _, moved = moving.migrate(c, *flags, "--track", "soft-dirty")
    assert moving.where(c) == [target.name]
    moved.checks_itself()


@pytest.mark.limit(900)
@pytest.mark.parametrize("point, lives", [("tool-memory", False), ("dumper-complete", False), ("tool-commit", False), ("worker-running", True)],
                         ids=["while memory goes", "when all was sent", "before it asks for the decision", "when it runs over there"])
def test_the_source_loses_its_power(lab, moving, point, lives):
    c, tool = begin(moving, point, "--mode", "pre-copy")
    source, target = c.guest, moving.other(c.guest)
    source.kill_power()
    tool.wait(60)
    target.run("rm -f /run/lab-pause/*")
    if lives:
        wait_for(lambda: c.at(target).status == "running", "it to run on the target", 60)
        c.at(target).checks_itself()
    else:
        wait_for(lambda: c.at(target).state() is None, "the target to give it up", 180)
    back(lab, moving, source)
    assert source.run("/rt/build/rt list -q").out == ""
    c.rt("migrate", "--recover", ok=None)
    assert moving.where(c) == ([target.name] if lives else [])
    # The machine that was off takes part again.
    if lives:
        _, home = moving.migrate(c.at(target), "--mode", "pre-copy")
        home.checks_itself()
    else:
        c.run_detached()
        moving.migrate(c, "--mode", "pre-copy")
        assert moving.where(c) == [target.name]
