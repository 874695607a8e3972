"""The README's commands, by somebody who has nothing but a fresh Debian.

Installing and building is done on this machine's kernel, in a tree that debootstrap has made and nobody else has touched: in a guest without KVM it would
take hours. The tree is then a guest's disk, and there the same command, which finds all installed and built, shows the rest on Debian's own kernel.
"""

import os
import re
import subprocess

import pytest

from machines import guest as guests
from machines import image as images

MEASURES = {"the_bandwidth_is_shared_by_all_connections"}  # the time that it took: of no meaning where every instruction is emulated


def tail(path):
    with open(path, errors="replace") as f:
        return f.read()[-6000:]


@pytest.fixture(scope="module", params=["trixie", "bookworm"])
def suite(request):
    return request.param


@pytest.fixture(scope="module")
def tree(lab, suite):
    """A tree of its own, with the project's files and nothing built."""
    made = f"{lab.work}/fresh-{suite}"
    with images.locked():
        os.makedirs(f"{images.CACHE}/{suite}", exist_ok=True)
        images.call(["cp", "-a", images.base_tree(suite), made])
    images.copy_project(f"{made}/root/rt")
    with open("/etc/resolv.conf") as f:
        images.write(f"{made}/etc/resolv.conf", f.read())
    yield made
    subprocess.run(["rm", "-rf", "--one-file-system", made], check=True)


@pytest.fixture(scope="module")
def booted(lab, suite, tree):
    """A guest with what was installed and built in the tree as its disk."""
    assert os.path.exists(f"{tree}/root/rt/build/rt"), "nothing was built in the tree"
    images.write(f"{tree}/etc/resolv.conf", "nameserver 10.0.2.3\n")
    disk = f"{lab.work}/fresh-{suite}.img"
    images.disk(disk, tree, 12288, "root")
    with guests.Guest(f"fresh-{suite}", images.image_of(tree, disk), lab.work, accel=lab.accel) as guest:
        yield guest
    os.unlink(disk)


def shows_all(text):
    assert "'web' runs on https://" in text and text.count(", 0 failed, the slowest") == 2, text
    assert text.count("bytes over one connection, has arrived whole") == 2, text


def timed(guest, command, environment="LC_ALL=C.UTF-8"):
    """What it said, each line with the seconds since the start."""
    said = guest.run(f"export {environment}; cd /root/rt && set -o pipefail; {{ {command}; }} 2>&1 | while IFS= read -r line; do echo \"$SECONDS $line\"; done", timeout=1700, ok=None)
    print(said.out)
    assert said.code == 0, said
    return said.out


@pytest.mark.limit(2400)
def test_quickstart_installs_builds_and_shows(lab, suite, tree):
    log = f"{lab.work}/quickstart-{suite}"
    assert images.inhabit(tree, "cd /root/rt && docs/quickstart.sh", log) == 0, tail(log)
    shows_all(tail(log))


@pytest.mark.limit(3600)
def test_run_sh_passes(lab, suite, tree):
    """Its unit tests, and with Debian 13's programs and libraries its end-to-end tests; with Debian 12's CI runs those all the time."""
    log = f"{lab.work}/run-sh-{suite}"
    parts = "unit e2e" if suite == "trixie" else "unit"
    assert images.inhabit(tree, f"cd /root/rt && tests/run.sh {parts}", log) == 0, tail(log)
    assert ", 0 failed, " in tail(log).splitlines()[-2 if not tail(log).splitlines()[-1] else -1]


@pytest.mark.limit(2400)
def test_quickstart_shows_it_in_a_guest(booted):
    shows_all(timed(booted, "docs/quickstart.sh"))


@pytest.mark.limit(2400)
def test_http_is_served_in_a_guest(booted, lab):
    """Of run.sh's unit tests those of HTTP, which depend on the release's libraries and the kernel's timers most. (All of them take minutes there, and some measure seconds.)"""
    for name in ("http", "http_faults"):
        said = timed(booted, f"build/tests/unit/migrate/test-migrate-{name} || true", "CMOCKA_MESSAGE_OUTPUT=TAP")
        failed = set(re.findall(r"^\d+ not ok \d+ - (\w+)", said, re.M)) - (MEASURES if lab.accel == "tcg" else set())
        ran = len(re.findall(r"^\d+ (?:not )?ok \d+ ", said, re.M))
        assert not failed and ran == int(re.search(r"^\d+ 1\.\.(\d+)", said, re.M)[1]), said  # one that has crashed ran less
