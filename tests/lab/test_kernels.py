"""Containers that move between machines with different kernels: Debian 13 (6.12) and Debian 12 (6.1), with the CRIU on both that Debian 12 has to build anyway.
Linux 6.1 has no PAGEMAP_SCAN and no asynchronous write-protection, so pages are found in /proc/PID/pagemap, and changes by soft-dirty.

What goes, goes there and back.
"""

import pytest

from machines import image as images
from machines.moving import Moving


NEW, OLD = "6.12", "6.1"


@pytest.fixture
def moving(lab, request):
    """Containers begin on the kernel that the test names (NEW if none)."""
    new, old = lab.boot("a", "old", old="bookworm")
    assert kernel(new).startswith(NEW + ".") and kernel(old).startswith(OLD + ".")
    new.run(f"ln -sf {images.NEWER_CRIU} /usr/local/sbin/criu")
    made = Moving(lab, *((old, new) if getattr(request, "param", NEW) == OLD else (new, old)), same=False)
    yield made
    made.close()
    new.run("rm -f /usr/local/sbin/criu")


def begins_on(*kernels):
    return pytest.mark.parametrize("moving", kernels, indirect=True, ids=[f"begins on {kernel}" for kernel in kernels])


def kernel(guest):
    return guest.run("uname -r").out.strip()


@pytest.mark.limit(600)
@begins_on(NEW, OLD)
def test_nginx_keeps_its_connection(moving):
    c = moving.web()
    before = moving.workers(c)
    assert before == ["0", "33", "33"]
    client = moving.talk_to_web()
    for _ in range(2):
        move, c = moving.migrate(c)
        print(kernel(c.guest), move.notes, move.done["downtime"])
        assert moving.where(c) == [c.guest.name] and moving.workers(c) == before
    count, slowest = client.end()
    print(f"{count} requests over one connection, the slowest took {slowest:.2f} s")


@pytest.mark.limit(600)
@pytest.mark.parametrize("moving, mode", [(NEW, "pre-copy"), (OLD, "hybrid"), (NEW, "post-copy")], indirect=["moving"])
def test_redis_is_written_to_while_it_goes(moving, mode):
    c = moving.store()
    digest = moving.digest(c)
    client = moving.write_to_store()
    for _ in range(2):
        move, c = moving.migrate(c, "--mode", mode, *([] if mode == "post-copy" else ["--track", "soft-dirty"]))
        print(kernel(c.guest), move.notes, move.rounds, move.done["downtime"])
        assert move.done["mode"] == mode and moving.where(c) == [c.guest.name]
        if mode != "post-copy":
            assert len(move.rounds) >= 2 and move.rounds[1]["pages"] < move.rounds[0]["pages"] / 2
    count, slowest = client.end()
    print(f"{count} writes over one connection, the slowest took {slowest:.2f} s")
    assert int(moving.redis(c, "get", "count")) == count
    assert moving.digest(c) == digest


@pytest.mark.limit(600)
@begins_on(NEW, OLD)
def test_without_being_told_it_takes_what_the_source_can(moving):
    """Memory that checks itself, and no tracker asked for: that is the best that the source's kernel has."""
    c = moving.container("churn", "churn", args=["churn", "forks", "32", "300"]).run_detached()
    for _ in range(2):
        move, c = moving.migrate(c, "--mode", "pre-copy")
        print(move.notes, move.rounds)
        assert len(move.rounds) >= 2 and move.rounds[1]["pages"] < move.rounds[0]["pages"] / 2
        assert moving.where(c) == [c.guest.name]
        c.checks_itself()


# ---- what one of the two kernels has not ----

def refused(moving, c, move, *words):
    """One sentence, and nothing has happened: it runs where it was, and nothing of it is over there."""
    assert move.code != 0
    lines = [line for line in move.err.splitlines() if line]
    assert len(lines) == 1 and all(word in lines[0] for word in words), move.err
    print(lines[0])
    assert moving.where(c) == [c.guest.name] and c.status == "running"
    other = moving.other(c.guest)
    assert c.at(other).state() is None
    other.run(f"ls -d /sys/fs/cgroup/{c.id}", ok=False)


@begins_on(OLD)
def test_an_older_criu_on_the_target_is_refused(moving):
    """Debian 13's own, 4.1, can't read the images of 4.2."""
    c = moving.container("churn", "churn", args=["churn", "private", "4", "300"]).run_detached()
    target = moving.other(c.guest)
    target.run("rm /usr/local/sbin/criu")
    moving.receive(target)
    move, _ = moving.migrate(c, ok=False)
    refused(moving, c, move, "the source has criu 4.", "criu 4.1 here may not read")


@begins_on(OLD)
def test_a_tracker_that_the_source_s_kernel_has_not_is_refused(moving):
    c = moving.container("churn", "churn", args=["churn", "private", "32", "300"]).run_detached()
    move, _ = moving.migrate(c, "--mode", "pre-copy", "--track", "uffd-wp", ok=False)
    refused(moving, c, move, "uffd-wp", "Linux 6.7")


def test_a_limit_that_the_target_s_kernel_has_not_is_refused(moving):
    """Files of cgroup2 come with kernels, this one with 6.5."""
    file = "memory.swap.peak"
    c = moving.container("limit", "churn", args=["churn", "private", "32", "300"], changes={"linux": {"resources": {"unified": {file: "reset"}}}}).run_detached()
    move, _ = moving.migrate(c, "--mode", "pre-copy", ok=False)
    refused(moving, c, move, file)
    c.checks_itself()


def test_settings_of_the_target_s_kernel_count_not_the_source_s(moving):
    """Memory that comes as it is touched is for all users on the one, and for root alone on the other, as Debian has it: a container with its own root can't go there."""
    changes = {"linux": {"namespaces": [{"type": kind} for kind in ("user", "mount", "pid", "ipc", "uts", "network", "cgroup")],
                         "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}], "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]}}
    c = moving.container("own", "churn", args=["churn", "private", "32", "300"], changes=changes)
    for guest in moving.guests:
        guest.run(f"chown -R -h 100000:100000 {c.dir}/rootfs; chmod 711 $(dirname {c.dir}) {c.dir}")
    c.guest.run("sysctl -q vm.unprivileged_userfaultfd=1")
    try:
        c.run_detached()
        move, _ = moving.migrate(c, "--mode", "pre-copy", ok=False)
        refused(moving, c, move, "vm.unprivileged_userfaultfd is 0")
    finally:
        c.guest.run("sysctl -q vm.unprivileged_userfaultfd=0")
    # Set alike, it is copied as a whole, and goes.
    move, c = moving.migrate(c)
    assert moving.where(c) == [c.guest.name], move.notes
    c.checks_itself()
