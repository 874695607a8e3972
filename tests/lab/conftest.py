"""The lab's fixtures. Guests are booted when the first test of a part wants them, and serve all tests of that part.

`guest` is one machine, `pair` two of them (.a and .b) with a network where this machine stands as the third; `lab` makes more. A test has a time limit,
@pytest.mark.limit(seconds), since nothing in a guest without KVM is quick, and what hangs there would hang for ever.
"""

import os
import shutil
import signal
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.normpath(os.path.join(HERE, "../e2e"))]

from machines import guest as guests  # noqa: E402
from machines import image as images  # noqa: E402
from machines import network as networks  # noqa: E402

LIMIT = 300
# What comes first when all is run; a part that is not named comes last.
ORDER = ["readme", "boot", "quick", "features", "systemd", "podman", "cri", "migrate", "kernels", "power"]


def pytest_configure(config):
    config.addinivalue_line("markers", "limit(seconds): how long the test may take")


def pytest_collection_modifyitems(items):
    def place(item):
        part = item.module.__name__.rpartition(".")[2].removeprefix("test_")
        return ORDER.index(part) if part in ORDER else len(ORDER)
    items.sort(key=place)


# ---- time limits ----

class OutOfTime(Exception):
    pass


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """One limit for a test and what it sets up. Building images and booting guests has limits of its own, and stops this clock."""
    mark = item.get_closest_marker("limit")
    seconds = mark.args[0] if mark else LIMIT

    def over(*_):
        raise OutOfTime(f"not done after {seconds} s")
    signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    yield
    signal.alarm(0)


class clock_stopped:
    def __enter__(self):
        self.left = signal.alarm(0)

    def __exit__(self, *_):
        signal.alarm(self.left)


# ---- machines ----

class Lab:
    """The guests of a part by name and their network; the run's disks with the project, and its directory."""

    def __init__(self, work):
        self.work = work
        self.guests = {}
        self.projects = {}
        self.network = None
        self.accel = guests.accelerator()

    def project(self, suite):
        if suite not in self.projects:
            self.projects[suite] = f"{self.work}/project-{suite}.img"
            images.project(suite, self.projects[suite])
        return self.projects[suite]

    def boot(self, *names, memory=2048, **suites):
        """Guests of these names, at the network: 10.99.0.1 for the first. Several boot at once. Debian 13, or what is said: boot("a", "old", old="bookworm")."""
        with clock_stopped():
            if not self.network:
                self.network = networks.Network()
            new = [name for name in names if name not in self.guests]
            for name in new:
                suite = suites.get(name, "trixie")
                image, project = images.image(suite), self.project(suite)
                self.guests[name] = guests.Guest(name, image, self.work, project, memory, [self.network.wire()], self.accel)
                self.guests[name].address = f"10.99.0.{self.network.count}"
                self.guests[name].number = self.network.count
                self.guests[name].suite = suite
                self.guests[name].start()
            try:
                for name in new:
                    self.up(self.guests[name])
            except guests.GuestError:
                for name in new:  # for the next test, which may have better luck
                    self.guests.pop(name).kill_power()
                raise
        return [self.guests[name] for name in names]

    def up(self, guest):
        with clock_stopped():
            guest.wait_up()
            guest.run(f"ip link set eth1 up; ip address add {guest.address}/24 dev eth1")
        return guest

    def close(self):
        for guest in self.guests.values():
            guest.kill_power()
        self.guests = {}
        if self.network:
            self.network.close()
            self.network = None


@pytest.fixture(scope="session")
def lab():
    runs = f"{images.CACHE}/runs"
    os.makedirs(runs, exist_ok=True)
    for name in os.listdir(runs):  # of runs that were killed
        if not os.path.exists(f"/proc/{name}"):
            shutil.rmtree(f"{runs}/{name}")
    work = f"{runs}/{os.getpid()}"
    os.makedirs(work)
    made = Lab(work)
    yield made
    made.close()
    shutil.rmtree(work)


@pytest.fixture(scope="module", autouse=True)
def machines_of_its_own(lab):
    """What a part has done to its guests is nothing to the next."""
    yield
    lab.close()


@pytest.fixture
def guest(lab):
    """Debian 13 with everything, for one test after the other."""
    return lab.boot("a")[0]


class Pair:
    def __init__(self, lab):
        self.a, self.b = lab.boot("a", "b")
        self.network = lab.network
        self.lab = lab


@pytest.fixture
def pair(lab):
    return Pair(lab)


# ---- the end of a run ----

started = time.monotonic()


outcomes = {}


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = (report.outcome, report.duration)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """What was shown, one line a test, and the totals in the words of tests/run.sh."""
    if config.option.collectonly or not outcomes:
        return
    print()
    for name, (outcome, seconds) in outcomes.items():
        print(f"   {outcome:8} {seconds:6.1f} s  {name.split('::', 1)[-1]}")
    kinds = [kind for kind, _ in outcomes.values()]
    print(f"   ({time.monotonic() - started:.0f} s, {guests.accelerator()})\n")
    print(f"{kinds.count('passed')} passed, {kinds.count('failed')} failed, {kinds.count('skipped')} skipped")
