"""Fixtures of the end-to-end tests. They run as root, in tests/setup/sandbox: plain
`pytest tests/e2e` enters it by itself, and RT names the runtime under test."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import container as containers  # noqa: E402
from lib import host, needs, ns, proc  # noqa: E402
from lib import hosts as hosts_module  # noqa: E402
from lib import inside as insides  # noqa: E402

SANDBOX = os.path.normpath(os.path.join(os.path.dirname(__file__), "../setup/sandbox"))
WORK = "/run/tests"  # on the sandbox's tmpfs; short, as socket paths must be
TEMPLATES = WORK + "/templates"

numbers = itertools.count(1)

# `rt run` leaves signals alone that its caller ignores; whoever runs the tests may ignore some (nohup, a job in the background).
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Becomes this same pytest once more, inside the sandbox, unless we are there already."""
    if os.environ.get("RT_SANDBOX") or config.option.collectonly or config.option.help:
        return None
    if os.geteuid() != 0:
        raise pytest.UsageError("the end-to-end tests must run as root")
    os.execv(SANDBOX, [SANDBOX, sys.executable, "-m", "pytest",
                       *config.invocation_params.args])


@pytest.fixture(scope="session", autouse=True)
def templates():
    os.makedirs(TEMPLATES, exist_ok=True)
    return TEMPLATES


@pytest.fixture(scope="session", autouse=True)
def programs_for_all_users(templates):
    """A checkout in root's home is closed to the users whose containers some tests start: then the programs are seen in another place, too."""
    directory, seen = os.path.dirname(containers.runtime()), "/srv"  # the sandbox's own; hosts have it, too
    above = [directory]
    while above[-1] != "/":
        above.append(os.path.dirname(above[-1]))
    if all(os.stat(path).st_mode & 0o001 for path in above):
        return
    proc.run(["mount", "--bind", directory, seen])
    os.environ["RT"] = f"{seen}/{os.path.basename(containers.runtime())}"


@pytest.fixture(scope="session", autouse=True)
def loaded_lazily():
    """What Python opens the first time it is used must not look like a test's leak."""
    os.urandom(1)
    proc.run(["true"])


@pytest.fixture(autouse=True)
def nothing_left_behind(templates, programs_for_all_users, loaded_lazily):
    """Every test ends with the machine as it found it, or fails."""
    before = host.Snapshot()
    yield
    left = host.compare(before)
    if left:
        host.sweep(before)
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture
def work(nothing_left_behind):
    """A directory with a short name, gone after the test."""
    path = f"{WORK}/{next(numbers)}"
    os.makedirs(path)
    yield path
    subprocess.run(["rm", "-rf", "--one-file-system", path], check=False)


@pytest.fixture
def pipe_size():
    """pipe_size(bytes) sets fs.pipe-max-size, which is the whole machine's; it is put back."""
    path = "/proc/sys/fs/pipe-max-size"
    with open(path) as f:
        before = f.read()

    def set_to(size):
        try:
            with open(path, "w") as f:
                f.write(str(size))
        except OSError as e:
            pytest.skip(f"fs.pipe-max-size can't be set here: {e.strerror}")

    yield set_to
    if open(path).read() != before:
        set_to(before)


@pytest.fixture
def outlives_containers(work):
    """An ExitStack for what containers stand on: it is undone after they are deleted, in
    whatever order a test names its fixtures."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def container(work, templates, outlives_containers):
    """Makes containers: container(args=[...], kind="nginx", changes={...}, enter=ns.enter).
    They share one --root, and are deleted after the test whatever state they are in."""
    made = []

    def make(args=None, *, id=None, root=None, **how):
        number = len(made)
        id = id or f"t{os.getpid()}-{next(numbers)}"
        c = containers.Container(id, f"{work}/b{number}", root or f"{work}/root",
                                 args=args, templates=templates, **how)
        made.append(c)
        return c

    yield make
    for c in reversed(made):
        c.cleanup()


@pytest.fixture
def running(container):
    """Like `container`, but the container has been started, detached."""
    def make(*args, **how):
        c = container(*args, **how)
        c.run_detached()
        return c
    return make


@pytest.fixture
def inside(container):
    """Like `running`, but the container's process does what the test tells it: c.do("x = 1")."""
    def make(*, started=True, **how):
        c = container(kind="python", **how)
        c.do = lambda text, **more: insides.do(c, text, **more)
        if started:
            c.run_detached()
        return c
    return make


@pytest.fixture
def rt():
    """The runtime itself, for commands that need no container: rt("--version")."""
    def call(*words, **how):
        return proc.run([containers.runtime(), *words], **how)
    return call


@pytest.fixture
def cgroup2_only(outlives_containers):
    """A mount namespace where cgroup2 is all there is: container(enter=cgroup2_only.enter)."""
    return outlives_containers.enter_context(ns.cgroup2_only())


@pytest.fixture
def network(outlives_containers):
    """A network namespace with lo up."""
    return outlives_containers.enter_context(ns.network())


@pytest.fixture
def hosts(work, templates):
    """Two hosts, .a and .b (lib/hosts.py), gone after the test with all that is on them."""
    needs.criu()
    made = hosts_module.Hosts(work, templates)
    yield made
    made.close()
