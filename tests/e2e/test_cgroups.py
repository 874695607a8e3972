"""Every field of linux.resources, written and read back; updates; where containers' cgroups may be.

test_cgroup.py is about what a cgroup does to the container, this file about what stands in its
files. A field whose controller a machine lacks, or has without the file, is skipped there."""

import contextlib
import json
import os

import pytest

from lib import cgroup, config, needs, proc
from test_cgroup import FUSE, can_open, with_mknod

MIB = 1 << 20

# field, its resources, controller, file and value in v1, file and value in v2 (None: it has none)
FIELDS = [
    ("memory.limit", {"memory": {"limit": 64 * MIB}}, "memory",
     ("memory.limit_in_bytes", str(64 * MIB)), ("memory.max", str(64 * MIB))),
    ("memory.limit unlimited", {"memory": {"limit": -1}}, "memory",
     ("memory.limit_in_bytes", "9223372036854771712"), ("memory.max", "max")),
    ("memory.reservation", {"memory": {"reservation": 32 * MIB}}, "memory",
     ("memory.soft_limit_in_bytes", str(32 * MIB)), ("memory.low", str(32 * MIB))),
    ("memory.swap", {"memory": {"limit": 64 * MIB, "swap": 80 * MIB}}, "memory",
     ("memory.memsw.limit_in_bytes", str(80 * MIB)), ("memory.swap.max", str(16 * MIB))),
    ("memory.swap unlimited", {"memory": {"limit": 64 * MIB, "swap": -1}}, "memory",
     ("memory.memsw.limit_in_bytes", "9223372036854771712"), ("memory.swap.max", "max")),
    ("memory.swappiness", {"memory": {"swappiness": 7}}, "memory", ("memory.swappiness", "7"),
     None),
    ("memory.disableOOMKiller", {"memory": {"disableOOMKiller": True}}, "memory",
     ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 0"), None),
    ("memory.useHierarchy", {"memory": {"useHierarchy": True}}, "memory",
     ("memory.use_hierarchy", "1"), None),
    ("memory.kernelTCP", {"memory": {"kernelTCP": 8 * MIB}}, "memory",
     ("memory.kmem.tcp.limit_in_bytes", str(8 * MIB)), None),
    ("cpu.shares", {"cpu": {"shares": 512}}, "cpu", ("cpu.shares", "512"), ("cpu.weight", "59")),
    ("cpu.quota", {"cpu": {"quota": 20000}}, "cpu", ("cpu.cfs_quota_us", "20000"),
     ("cpu.max", "20000 100000")),
    ("cpu.period", {"cpu": {"period": 50000}}, "cpu", ("cpu.cfs_period_us", "50000"),
     ("cpu.max", "max 50000")),
    ("cpu.quota and period", {"cpu": {"quota": 20000, "period": 40000}}, "cpu",
     ("cpu.cfs_period_us", "40000"), ("cpu.max", "20000 40000")),
    ("cpu.burst", {"cpu": {"quota": 20000, "burst": 10000}}, "cpu",
     ("cpu.cfs_burst_us", "10000"), ("cpu.max.burst", "10000")),
    ("cpu.idle", {"cpu": {"idle": 1}}, "cpu", ("cpu.idle", "1"), ("cpu.idle", "1")),
    ("cpu.realtimePeriod", {"cpu": {"realtimePeriod": 500000}}, "cpu",
     ("cpu.rt_period_us", "500000"), None),
    ("cpu.cpus", {"cpu": {"cpus": "0"}}, "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ("cpu.mems", {"cpu": {"mems": "0"}}, "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    ("pids.limit", {"pids": {"limit": 42}}, "pids", ("pids.max", "42"), ("pids.max", "42")),
    ("pids.limit unlimited", {"pids": {"limit": -1}}, "pids", ("pids.max", "max"),
     ("pids.max", "max")),
    ("hugepageLimits", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}, "hugetlb",
     ("hugetlb.2MB.limit_in_bytes", str(4 * MIB)), ("hugetlb.2MB.max", str(4 * MIB))),
    ("hugepageLimits reserved", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
     "hugetlb",
     ("hugetlb.2MB.rsvd.limit_in_bytes", str(4 * MIB)), ("hugetlb.2MB.rsvd.max", str(4 * MIB))),
    ("network.classID", {"network": {"classID": 0x100001}}, "net_cls",
     ("net_cls.classid", "1048577"), None),
    ("blockIO.weight", {"blockIO": {"weight": 500}}, "blkio", ("blkio.bfq.weight", "500"),
     ("io.bfq.weight", None)),
]
THROTTLES = [
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
]


def a_file(v2_or_v1, controller):
    """The file and value for this machine, or a skip."""
    v1, v2 = v2_or_v1
    entry = v1 if cgroup.v1(controller) else v2
    needs.skip_unless(entry and entry[1], "this version of cgroups has no such limit")
    base = cgroup.v1(controller) or cgroup.unified()
    there = any(entry[0] in names for _, _, names in os.walk(base))
    if not there:  # the root of a hierarchy lacks some files that its children have
        probe = os.path.join(base, "rt-probe")
        os.mkdir(probe)
        there = os.path.exists(os.path.join(probe, entry[0]))
        os.rmdir(probe)
    needs.skip_unless(there, f"this kernel has no {entry[0]}")
    return entry


def read_limit(c, controller, file):
    with open(os.path.join(cgroup.directory(c.pid, controller), file)) as f:
        return f.read().strip()


@pytest.mark.parametrize("name, resources, controller, v1, v2", FIELDS, ids=[f[0] for f in FIELDS])
@pytest.mark.parametrize("when", ["create", "update"])
def test_what_is_asked_for_stands_in_the_file(container, when, name, resources, controller, v1, v2):
    needs.controller(controller)
    file, value = a_file((v1, v2), controller)
    c = container(changes={"linux": {"resources": resources if when == "create" else {}}})
    c.run_detached()
    if when == "update":
        c.update(resources)
    assert read_limit(c, controller, file) == value


@pytest.mark.parametrize("field, v1_file, v2_key", THROTTLES, ids=[t[0] for t in THROTTLES])
def test_a_disk_can_be_throttled(container, field, v1_file, v2_key):
    needs.controller("blkio")
    disks = [open(f"/sys/block/{d}/dev").read().strip() for d in os.listdir("/sys/block")
             if os.path.exists(f"/sys/block/{d}/device")]
    needs.skip_unless(disks, "no disk on this machine")
    major, minor = map(int, disks[0].split(":"))
    resources = {"blockIO": {field: [{"major": major, "minor": minor, "rate": 1048576}]}}
    c = container(changes={"linux": {"resources": resources}})
    c.run_detached()
    if cgroup.v1("blkio"):
        assert read_limit(c, "blkio", v1_file) == f"{disks[0]} 1048576"
        resources["blockIO"][field][0]["rate"] = 0
        c.update(resources)
        assert read_limit(c, "blkio", v1_file) == ""
    else:
        assert f"{v2_key}=1048576" in read_limit(c, "blkio", "io.max")


# update

FLAGS = [
    (["--memory", "64m"], "memory", "memory.limit_in_bytes", "memory.max", str(64 * MIB)),
    (["--memory=67108864"], "memory", "memory.limit_in_bytes", "memory.max", str(64 * MIB)),
    (["--memory", "64MiB", "--memory-reservation", "32M"], "memory", "memory.soft_limit_in_bytes",
     "memory.low",
     str(32 * MIB)),
    (["--pids-limit", "33"], "pids", "pids.max", "pids.max", "33"),
    (["--pids-limit", "-1"], "pids", "pids.max", "pids.max", "max"),
    (["--cpu-share", "512"], "cpu", "cpu.shares", "cpu.weight", ("512", "59")),
    (["--cpu-quota", "20000", "--cpu-period", "50000"], "cpu", "cpu.cfs_quota_us", "cpu.max",
     ("20000", "20000 50000")),
    (["--cpu-idle", "1"], "cpu", "cpu.idle", "cpu.idle", "1"),
    (["--cpuset-cpus", "0"], "cpuset", "cpuset.cpus", "cpuset.cpus", "0"),
    (["--cpuset-mems", "0"], "cpuset", "cpuset.mems", "cpuset.mems", "0"),
]


@pytest.mark.parametrize("flags, controller, v1_file, v2_file, value", FLAGS,
                         ids=[" ".join(f[0]) for f in FLAGS])
def test_update_takes_limits_as_options(running, flags, controller, v1_file, v2_file, value):
    needs.controller(controller)
    c = running()
    c.update(None, *flags)
    assert cgroup.value(c.pid, controller, v1_file, v2_file) in ((value,)
                                                                 if isinstance(value,
                                                                               str) else value)


def test_update_keeps_what_it_does_not_name(container):
    for name in ("memory", "pids", "cpu"):
        needs.controller(name)
    c = container(changes={"linux": {"resources": {
        "memory": {"limit": 64 * MIB, "reservation": 16 * MIB}, "pids": {"limit": 50},
        "cpu": {"shares": 512, "quota": 20000}}}})
    c.run_detached()

    def now():
        return {f: cgroup.value(c.pid, n, f, v2) for n, f, v2 in (
            ("memory", "memory.limit_in_bytes", "memory.max"),
            ("memory", "memory.soft_limit_in_bytes", "memory.low"),
            ("pids", "pids.max", "pids.max"), ("cpu", "cpu.shares", "cpu.weight"),
            ("cpu", "cpu.cfs_quota_us", "cpu.max"))}
    before = now()
    c.update({"cpu": {"shares": 1024}})
    after = now()
    assert {k for k in before if before[k] != after[k]} == {"cpu.shares"}
    c.update({})
    assert now() == after
    # A later command, a restore say, goes by the limits in force.
    with open(f"{c.root}/{c.id}/limits.json") as f:
        resources = json.load(f)
    assert resources["cpu"] == {"shares": 1024, "quota": 20000}
    assert resources["memory"]["limit"] == 64 * MIB


@pytest.mark.parametrize("text, field", [
    ("", "standard input"), ("[]", "must be a JSON object"), ("{", "standard input"),
    ('{"memory": {"limit": "much"}}', "memory.limit"), ('{"memory": 5}', "memory"),
    ('{"pids": {"limit": 1.5}}', "pids.limit"), ('{"cpu": {"shares": -1}}', "cpu.shares"),
    ('{"cpu": {"cpus": "zero"}}', "cpu.cpus"),
])
def test_an_update_that_is_wrong_is_refused_and_changes_nothing(running, text, field):
    needs.controller("pids")
    c = running()
    result = c.rt("update", "--resources", "-", c.id, stdin=text, ok=False)
    assert field in result.err and result.code == 1
    assert cgroup.value(c.pid, "pids", "pids.max", "pids.max") == "max"
    assert c.status == "running"


def test_an_update_from_a_file(running, work):
    needs.controller("pids")
    c = running()
    with open(work + "/resources", "w") as f:
        json.dump({"pids": {"limit": 21}}, f)
    c.rt("update", "--resources", work + "/resources", c.id)
    assert cgroup.value(c.pid, "pids", "pids.max", "pids.max") == "21"
    assert work + "/none" in c.rt("update", "-r", work + "/none", c.id, ok=False).err


# Where

def test_a_frozen_cgroup_is_refused(container):
    needs.cgroup_v1("freezer")
    c = container()
    directory = os.path.join(cgroup.v1("freezer"), c.id)
    os.mkdir(directory)
    try:
        with open(directory + "/freezer.state", "w") as f:
            f.write("FROZEN")
        assert "frozen" in c.run(ok=False, timeout=20).err
        assert open(directory + "/freezer.state").read() == "FROZEN\n"
    finally:
        os.rmdir(directory)


def test_an_empty_cgroup_that_is_there_is_taken(container):
    c = container(["true"])
    made = [os.path.join(h.mountpoint, c.id) for h in cgroup.hierarchies()]
    for directory in made:
        os.mkdir(directory)
    c.run()
    for directory in made:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(directory)


def test_deep_paths_are_made_and_removed(container):
    path = "/" + "/".join(f"level{n}" for n in range(8))
    c = container(["cat", "/proc/self/cgroup"], changes={"linux": {"cgroupsPath": path}})
    config.drop_namespace(c.config, "cgroup")
    out = c.run().out
    assert all(line.endswith(path) for line in out.splitlines())
    assert not [d for d in cgroup.all_cgroups() if "level" in d]


def test_without_a_path_the_cgroup_bears_the_id(container):
    c = container(changes={"linux": {"cgroupsPath": None}})
    c.run_detached()
    assert all(path.endswith("/" + c.id) for path in cgroup.of_process(c.pid).values())


def test_without_cgroups_the_container_stays_in_ours(container):
    c = container(globals=["--cgroup-manager=disabled"])
    c.run_detached()
    assert cgroup.of_process(c.pid) == cgroup.of_process("self")
    assert json.loads(c.rt("ps", "--format", "json", c.id).out) == [c.pid]
    for verb in (["pause"], ["update", "--pids-limit", "5"], ["events", "--stats"]):
        assert "cgroup" in c.rt(*verb, c.id, ok=False).err
    c.kill("KILL", "--all")
    c.wait_stopped()


@pytest.fixture(params=["as it is", "cgroup2"])
def placed(request, container):
    """container() on the machine as it is, and where only cgroup2 is mounted."""
    how = {}
    if request.param == "cgroup2":
        how["enter"] = request.getfixturevalue("cgroup2_only").enter
    return lambda *args, **kwargs: container(*args, **kwargs, **how)


def test_processes_in_cgroups_below_are_the_containers_too(placed):
    c = placed(["sh", "-c", "sleep 1001 & sleep 1002 & wait"])
    config.drop_namespace(c.config, "pid")
    c.run_detached()
    c.rt("ps", c.id)
    proc.eventually(lambda: len(pids(c)) == 3)
    base = cgroup.unified() if c.enter else cgroup.v1("freezer") or cgroup.unified()
    below = os.path.join(base, c.id, "below/deeper")
    os.makedirs(below)
    moved = [p for p in pids(c) if p != c.pid][0]
    with open(below + "/cgroup.procs", "w") as f:
        f.write(str(moved))
    all_of_them = pids(c)
    assert len(all_of_them) == 3 and moved in all_of_them
    c.pause()
    assert c.status == "paused"
    c.resume()
    c.delete("--force")
    proc.eventually(lambda: not any(proc.alive(p) for p in all_of_them), what="all to end")
    assert not os.path.exists(os.path.join(base, c.id))


def pids(c):
    return json.loads(c.rt("ps", "--format", "json", c.id).out)


def test_update_can_change_device_rules(placed):
    c = placed(changes=with_mknod({"allow": True, "type": "c", "major": 10, "minor": 229,
                                   "access": "rw"}))
    c.run_detached()
    assert can_open(c, FUSE)
    c.update({"devices": [{"allow": False, "access": "rwm"},
                          {"allow": True, "type": "c", "major": 10, "minor": 228, "access": "rw"}]})
    assert not can_open(c, FUSE)
    assert can_open(c, "10 228")
    assert can_open(c, "1 3")


# exec --cgroup

@pytest.fixture
def with_subgroups(running):
    """A container with the cgroups a and b below its own in every hierarchy, ready to enter."""
    c = running()
    for controller in cgroup.of_process(c.pid):
        base = cgroup.directory(c.pid, controller)
        for name in ("a", "b"):
            os.makedirs(f"{base}/{name}", exist_ok=True)
            if controller == "cpuset":
                for file in ("cpuset.cpus", "cpuset.mems"):
                    with open(f"{base}/{file}") as f, open(f"{base}/{name}/{file}", "w") as g:
                        g.write(f.read())
    return c


def places(text):
    return {line.split(":", 2)[1]: line.split(":", 2)[2] for line in text.splitlines()}


def test_exec_can_choose_a_cgroup_for_each_controller(with_subgroups):
    needs.cgroup_v1("pids")
    needs.cgroup_v1("memory")
    out = with_subgroups.exec("cat", "/proc/self/cgroup",
                              flags=["--cgroup", "pids:a", "--cgroup=memory:b"]).out
    assert places(out)["pids"] == "/a" and places(out)["memory"] == "/b"
    assert set(places(out).values()) == {"/", "/a", "/b"}


def test_exec_can_name_several_controllers_at_once(with_subgroups):
    needs.cgroup_v1("pids")
    needs.cgroup_v1("memory")
    found = places(with_subgroups.exec("cat", "/proc/self/cgroup",
                                       flags=["--cgroup", "pids,memory:a"]).out)
    assert [k for k, v in found.items() if v == "/a"] == sorted(["pids", "memory"],
                                                                key=list(found).index)


@pytest.mark.parametrize("flags, told", [
    (["--cgroup", "nosuch:a"], "nosuch"),
    (["--cgroup", "a", "--cgroup", "pids:b"], "controller"),
    (["--cgroup", "pids:a", "--cgroup", "pids:b"], "pids"),
    (["--cgroup", "pids:nosuch"], "nosuch"),
    (["--cgroup", "nosuch"], "nosuch"),
    (["--cgroup", "../.."], "cgroup"),
    (["--cgroup", "pids:a/../../.."], "cgroup"),
])
def test_a_cgroup_that_cannot_be_entered_is_told(with_subgroups, flags, told):
    needs.cgroup_v1("pids")
    c = with_subgroups
    result = c.exec("cat", "/proc/self/cgroup", flags=flags, ok=None)
    if result.code == 0:  # dots that stay within are no failure, but never lead out
        assert all(path.startswith("/") and ".." not in path
                   for path in places(result.out).values())
    else:
        assert result.code == 255 and told in result.err


def test_dots_never_lead_exec_out_of_the_containers_cgroup(with_subgroups):
    c = with_subgroups
    for text in ("../..", "a/../../..", "/..", "./../x"):
        result = c.exec("cat", "/proc/self/cgroup", flags=["--cgroup", text], ok=None)
        if result.code == 0:
            assert "/.." not in result.out
        else:
            assert "--cgroup" in result.err
