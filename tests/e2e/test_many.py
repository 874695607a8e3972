"""A thousand containers one after the other, and two hundred at once: nothing adds up.

A leak of one small thing a container is invisible in a test of one and fatal on a host that runs
for a year. So kernel objects that no listing shows are counted as well, where the kernel counts
them.
"""

import concurrent.futures
import os
import shutil
import time

import pytest

from lib import cgroup, host, proc

THOUSAND = int(os.environ.get("RT_MANY", "1000"))
AT_ONCE = int(os.environ.get("RT_MANY_AT_ONCE", "200"))


@pytest.fixture
def bundle(container):
    """One bundle for all: c.config without a cgroup path of its own, so each gets its id's."""
    c = container(args=["sleep", "1000"])
    del c.config["linux"]["cgroupsPath"]
    c.write_config()
    return c


def lists(c):
    files = {os.path.join(d, n) for d, subs, names in os.walk(c.root) for n in names + subs}
    return {"processes": host.processes(), "mounts": host.mounts(), "files": files,
            "cgroups": cgroup.all_cgroups(), "descriptors": host.descriptors(),
            "links": set(os.listdir("/sys/class/net"))}


def kernel_counts():
    """Descriptors open on the whole machine, and cgroups that are gone but not yet freed."""
    with open("/proc/sys/fs/file-nr") as f:
        counts = {"open files": int(f.read().split()[0])}
    with open("/proc/cgroups") as f:
        for line in f.readlines()[1:]:
            name, _, number, _ = line.split()
            counts[f"{name} cgroups"] = int(number)
    return counts


def assert_nothing_more(before, counts, c, allowance):
    def more():
        now = lists(c)
        return [f"{k}: {x}" for k in now for x in sorted(now[k] - before[k], key=str)][:20]
    try:
        proc.eventually(lambda: not more(), timeout=10)
    except AssertionError:
        raise AssertionError(f"left behind: {more()}") from None

    # Others use this machine too; the kernel frees cgroups and sockets when it gets to it.
    def grown():
        now = kernel_counts()
        return {k: now[k] - counts[k] for k in counts if now[k] - counts[k] > allowance}
    proc.eventually(lambda: not grown(), timeout=30, what=f"the kernel to free {grown()}")


def create_run_delete(c, id, pid_dir):
    """The life of a container that engines give it; its processes end by being killed."""
    fd = os.open("/dev/null", os.O_WRONLY)
    try:
        pid_file = f"{pid_dir}/{id}"
        c.rt("create", "--bundle", c.dir, "--pid-file", pid_file, id, stdout=fd)
        c.rt("start", id)
        c.rt("delete", "--force", id)
        os.unlink(pid_file)
    finally:
        os.close(fd)


def test_a_thousand_containers_leave_nothing(bundle):
    pids = bundle.dir + "/pids"
    os.mkdir(pids)
    create_run_delete(bundle, "warm", pids)
    before, counts = lists(bundle), kernel_counts()
    began = time.monotonic()
    # Two by two: that is what this takes on two processors, and they may get in each other's way.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: create_run_delete(bundle, f"many-{n}", pids), range(THOUSAND)))
    print(f"{THOUSAND} containers in {time.monotonic() - began:.1f} s")
    assert_nothing_more(before, counts, bundle, THOUSAND // 5)


def test_two_hundred_at_once_leave_nothing(bundle):
    before, counts = lists(bundle), kernel_counts()
    ids = [f"all-{n}" for n in range(AT_ONCE)]
    pids = bundle.dir + "/pids"
    os.mkdir(pids)
    fd = os.open("/dev/null", os.O_WRONLY)
    began = time.monotonic()

    def start(id):
        bundle.rt("run", "--detach", "--bundle", bundle.dir, "--pid-file", f"{pids}/{id}", id,
                  stdout=fd)

    def stop(id):
        bundle.rt("delete", "--force", id)

    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(start, ids))
            listed = bundle.rt("list", "--quiet").out.split()
            assert sorted(listed) == sorted(ids)
            inits = {int(open(f"{pids}/{id}").read()) for id in ids}
            assert len(inits) == AT_ONCE and all(proc.alive(pid) for pid in inits)
            assert "alive" in bundle.rt("exec", ids[-1], "echo", "alive").out
            list(pool.map(stop, ids))
    finally:
        os.close(fd)
        for id in ids:
            if os.path.isdir(f"{bundle.root}/{id}"):
                bundle.rt("delete", "--force", id, ok=None)
        shutil.rmtree(pids)
    print(f"{AT_ONCE} at once in {time.monotonic() - began:.1f} s")
    assert_nothing_more(before, counts, bundle, AT_ONCE // 5)


def test_the_same_id_again_and_again(bundle):
    """A name is free the moment its container is deleted, not some time after."""
    for _ in range(50):
        bundle.rt("run", "--detach", "--bundle", bundle.dir, "--pid-file", bundle.pid_file,
                  "again")
        bundle.rt("delete", "--force", "again")


def test_only_one_of_many_gets_an_id(bundle):
    """Ten ask for the same id at once: one container is made, nine are refused, none is hurt."""
    before = lists(bundle)

    def ask(_):
        return bundle.rt("run", "--detach", "--bundle", bundle.dir, "wanted", ok=None)

    for _ in range(5):
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(ask, range(10)))
        assert [a.code == 0 for a in answers].count(True) == 1, answers
        assert bundle.rt("exec", "wanted", "echo", "alive").out == "alive\n"
        bundle.rt("delete", "--force", "wanted")
    assert lists(bundle)["cgroups"] == before["cgroups"]
