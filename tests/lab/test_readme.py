"""The README's commands, by somebody who has nothing but a fresh Debian.

Installing and building is done on this machine's kernel, in a tree that debootstrap has made and nobody else has touched: in a guest without KVM it would
take hours. The tree is then a guest's disk, and there the same command, which finds all installed and built, shows the rest on Debian's own kernel.
"""

import os
import subprocess

import pytest

from machines import guest as guests
from machines import image as images

SUITES = ["trixie", "bookworm"]


def tail(path):
    with open(path, errors="replace") as f:
        return f.read()[-6000:]


@pytest.fixture(scope="module")
def fresh(lab):
    """fresh(suite): a tree of its own, with the project's files and nothing built."""
    made = {}

    def make(suite):
        if suite not in made:
            with images.locked():
                os.makedirs(f"{images.CACHE}/{suite}", exist_ok=True)
                base = images.base_tree(suite)
                made[suite] = f"{lab.work}/fresh-{suite}"
                images.call(["cp", "-a", base, made[suite]])
            images.copy_project(f"{made[suite]}/root/rt")
        return made[suite]
    yield make
    for tree in made.values():
        subprocess.run(["rm", "-rf", "--one-file-system", tree], check=True)


def shows_all(text):
    assert "'web' runs on https://" in text and text.count(", 0 failed, the slowest") == 2, text
    assert text.count("bytes over one connection, has arrived whole") == 2, text


@pytest.mark.limit(2400)
@pytest.mark.parametrize("suite", SUITES)
def test_quickstart_installs_builds_and_shows(fresh, lab, suite):
    tree = fresh(suite)
    with open("/etc/resolv.conf") as f:
        images.write(f"{tree}/etc/resolv.conf", f.read())
    log = f"{lab.work}/quickstart-{suite}"
    assert images.inhabit(tree, "cd /root/rt && docs/quickstart.sh", log) == 0, tail(log)
    shows_all(tail(log))


@pytest.mark.limit(2400)
@pytest.mark.parametrize("suite", SUITES)
def test_run_sh_passes_its_unit_tests(fresh, lab, suite):
    log = f"{lab.work}/run-sh-{suite}"
    assert images.inhabit(fresh(suite), "cd /root/rt && tests/run.sh unit", log) == 0, tail(log)
    assert ", 0 failed, " in tail(log).splitlines()[-2 if not tail(log).splitlines()[-1] else -1]


@pytest.mark.limit(2400)
@pytest.mark.parametrize("suite", SUITES)
def test_quickstart_shows_it_in_a_guest(fresh, lab, suite):
    tree = fresh(suite)
    assert os.path.exists(f"{tree}/root/rt/build/rt"), "nothing was built in the tree"
    images.write(f"{tree}/etc/resolv.conf", "nameserver 10.0.2.3\n")
    disk = f"{lab.work}/fresh-{suite}.img"
    images.disk(disk, tree, 12288, "root")
    with guests.Guest(f"fresh-{suite}", images.image_of(tree, disk), lab.work, memory=2048, accel=lab.accel) as guest:
        shows_all(guest.run("cd /root/rt && docs/quickstart.sh 2>&1", timeout=1500).out)
    os.unlink(disk)
