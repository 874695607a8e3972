"""Cgroups: where a container is put, what limits it gets, and that nothing stays behind.

The tests go by what a controller's files say wherever the controller is, v1 or v2; what is special
to cgroup2 runs in a mount namespace that has nothing else.
"""

import json
import os

import pytest

from lib import cgroup, config, needs, proc

FUSE = "10 229"
DENIED = "Operation not permitted"


def limited(**resources):
    """Changes for a config: these resources."""
    return {"linux": {"resources": resources}}


def limits(c, controller, v1_file, v2_file):
    return cgroup.value(c.pid, controller, v1_file, v2_file)


# Where

def test_the_process_is_in_a_cgroup_of_its_own_in_every_hierarchy(running):
    c = running()
    for controller, path in cgroup.of_process(c.pid).items():
        assert path == "/" + c.id, controller


def test_a_path_is_made_and_taken_away_with_all_its_new_parents(container):
    c = container(changes={"linux": {"cgroupsPath": "/rt-test/a/b"}})
    c.run_detached()
    assert set(cgroup.of_process(c.pid).values()) == {"/rt-test/a/b"}
    c.delete("--force")
    assert not [d for d in cgroup.all_cgroups() if "rt-test" in d]


def test_parents_that_another_container_uses_stay(container):
    first = container(changes={"linux": {"cgroupsPath": "/rt-test/a"}})
    second = container(changes={"linux": {"cgroupsPath": "/rt-test/b"}})
    first.run_detached()
    second.run_detached()
    first.delete("--force")
    assert set(cgroup.of_process(second.pid).values()) == {"/rt-test/b"}
    # Whoever made the parent is gone: it is for us to remove.
    second.delete("--force")
    for directory in [d for d in cgroup.all_cgroups() if d.endswith("/rt-test")]:
        os.rmdir(directory)


def test_a_relative_path_starts_at_our_own_cgroup(container):
    c = container(changes={"linux": {"cgroupsPath": "rt-relative"}})
    c.run_detached()
    own = cgroup.of_process("self")
    for controller, path in cgroup.of_process(c.pid).items():
        if controller:  # v2's depends on whether it is alone
            assert path == os.path.join(own[controller], "rt-relative"), controller


@pytest.mark.parametrize("path", ["/", "/..", "..", "a/.."])
def test_a_path_that_names_no_cgroup_of_the_container_is_refused(container, path):
    c = container(changes={"linux": {"cgroupsPath": path}})
    assert "'linux.cgroupsPath'" in c.run(ok=False).err


def test_dots_do_not_lead_out(container):
    c = container(changes={"linux": {"cgroupsPath": "/../../rt-dots"}})
    c.run_detached()
    assert set(cgroup.of_process(c.pid).values()) == {"/rt-dots"}


def test_a_cgroup_with_processes_is_refused_and_left_in_peace(container):
    first = container(changes={"linux": {"cgroupsPath": "/rt-taken"}})
    first.run_detached()
    second = container(changes={"linux": {"cgroupsPath": "/rt-taken"}})
    assert "not empty" in second.run(ok=False).err
    assert first.status == "running"
    assert set(cgroup.of_process(first.pid).values()) == {"/rt-taken"}


def test_exec_lands_in_the_same_cgroup(running):
    c = running()
    out = c.exec("cat", "/proc/self/cgroup").out
    assert {line.split(":", 2)[2] for line in out.splitlines()} == {"/"}  # of its namespace
    assert len(out.splitlines()) == len(c.exec("cat", "/proc/1/cgroup").out.splitlines())


def test_exec_can_go_below(running):
    c = running()
    for controller in cgroup.of_process(c.pid):
        os.makedirs(os.path.join(cgroup.directory(c.pid, controller), "below"), exist_ok=True)
        if controller == "cpuset":
            for name in ("cpus", "mems"):
                base = cgroup.directory(c.pid, controller)
                with open(f"{base}/cpuset.{name}") as f, \
                        open(f"{base}/below/cpuset.{name}", "w") as g:
                    g.write(f.read())
    out = c.exec("cat", "/proc/self/cgroup", flags=["--cgroup", "below"]).out
    assert {line.split(":", 2)[2] for line in out.splitlines()} == {"/below"}
    assert "below2" in c.exec("true", flags=["--cgroup", "below2"], ok=False).err


# Limits

MEMORY = ("memory", "memory.limit_in_bytes", "memory.max")
PIDS = ("pids", "pids.max", "pids.max")


def test_limits_reach_the_kernel(container):
    needs.controller("memory")
    needs.controller("pids")
    needs.controller("cpu")
    c = container(changes=limited(memory={"limit": 64 << 20}, pids={"limit": 50},
                                  cpu={"shares": 1024, "quota": 50000, "period": 100000}))
    c.run_detached()
    assert limits(c, *MEMORY) == str(64 << 20)
    assert limits(c, *PIDS) == "50"
    assert limits(c, "cpu", "cpu.shares", "cpu.weight") in ("1024", "100")
    assert limits(c, "cpu", "cpu.cfs_quota_us", "cpu.max") in ("50000", "50000 100000")


def test_cpus_can_be_chosen(container):
    needs.controller("cpuset")
    c = container(["grep", "Cpus_allowed_list", "/proc/self/status"],
                  changes=limited(cpu={"cpus": "0", "mems": "0"}))
    assert c.run().out.split() == ["Cpus_allowed_list:", "0"]


def test_swap_counts_memory_and_swap(container):
    needs.controller("memory")
    c = container(changes=limited(memory={"limit": 64 << 20, "swap": 96 << 20}))
    c.run_detached()
    assert limits(c, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max") in (
        str(96 << 20), str(32 << 20))


def test_update_changes_what_it_names_and_nothing_else(container):
    needs.controller("memory")
    needs.controller("pids")
    c = container(changes=limited(memory={"limit": 64 << 20, "swap": 64 << 20},
                                  pids={"limit": 50}))
    c.run_detached()
    c.update({"memory": {"limit": 256 << 20, "swap": 256 << 20}})  # both must grow, in order
    assert limits(c, *MEMORY) == str(256 << 20)
    assert limits(c, *PIDS) == "50"
    c.update({"memory": {"limit": 32 << 20, "swap": 32 << 20}})  # and shrink
    assert limits(c, *MEMORY) == str(32 << 20)
    c.update({"pids": {"limit": -1}})
    assert limits(c, *PIDS) == "max"


def test_a_limit_below_what_is_in_use_is_refused_when_asked_to_check(running):
    needs.controller("memory")
    c = running()
    err = c.update({"memory": {"limit": 4096, "checkBeforeUpdate": True}}, ok=False).err
    assert "'linux.resources.memory.limit'" in err and "in use" in err


@pytest.mark.parametrize("resources, field", [
    ({"cpu": {"quota": 1}}, "linux.resources.cpu.quota"),
    ({"cpu": {"cpus": "9999"}}, "linux.resources.cpu.cpus"),
    ({"network": {"classID": 5}}, "linux.resources.network.classID"),
    ({"rdma": {"none0": {"hcaHandles": 3}}}, "linux.resources.rdma"),
    ({"unified": {"memory.nonsense": "1"}}, "linux.resources.unified"),
    ({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}, "linux.resources.hugepageLimits"),
])
def test_what_the_kernel_refuses_is_said_by_field_and_leaves_nothing(container, resources, field):
    c = container(changes=limited(**resources))
    result = c.run(ok=None)
    if result.code == 0:
        pytest.skip("this kernel takes it")
    assert field in result.err
    assert not [d for d in cgroup.all_cgroups() if d.endswith("/" + c.id)]


def test_more_processes_than_allowed_cannot_be(container):
    needs.controller("pids")
    c = container(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all"],
                  changes=limited(pids={"limit": 5}))
    result = c.run(ok=False)  # the shell ends with the first fork that fails
    assert "fork" in result.err and "all" not in result.out


def test_a_process_over_its_memory_is_killed_and_events_tell(container, work):
    needs.controller("memory")
    c = container(["sh", "-c", "read go < /go; tail /dev/zero"],
                  changes=limited(memory={"limit": 32 << 20, "swap": 32 << 20}))
    os.mkfifo(c.host_path("/go"))
    c.run_detached()
    path = os.path.join(work, "events")
    with open(path, "wb") as f:
        events = proc.start(c.argv("events", c.id), stdout=f.fileno())
    try:
        proc.eventually(lambda: os.path.getsize(path), what="the first statistics")
        with open(c.host_path("/go"), "w") as f:
            f.write("go\n")
        c.wait_stopped()
        events.wait(20)
    finally:
        events.kill()
        events.wait()
    with open(path) as f:
        kinds = [json.loads(line)["type"] for line in f]
    assert "stats" in kinds and "oom" in kinds


def test_statistics_have_what_engines_read(running):
    needs.controller("memory")
    needs.controller("pids")
    c = running()
    stats = json.loads(c.rt("events", "--stats", c.id).out)["data"]
    assert stats["memory"]["usage"]["usage"] > 0
    assert stats["memory"]["usage"]["limit"] > 0
    assert stats["pids"]["current"] == 1
    assert stats["cpu"]["usage"]["total"] > 0
    assert "throttling" in stats["cpu"] and "blkio" in stats


# Devices

def can_open(c, numbers="", kind="c"):
    """Makes a node in the container and opens it; the answer is all but EPERM."""
    result = c.exec("sh", "-c", f"rm -f /dev/x; mknod /dev/x {kind} {numbers} && : < /dev/x",
                    ok=None)
    return DENIED not in result.err and "mknod" not in result.err


def with_mknod(*rules):
    return {"process": {"capabilities": {kind: ["CAP_MKNOD"]
                                         for kind in ("bounding", "effective", "permitted")}},
            **limited(devices=[{"allow": False, "access": "rwm"}, *rules])}


@pytest.fixture(params=["as it is", "cgroup2"])
def placed(request, container):
    """container() on the machine as it is, and where only cgroup2 is mounted."""
    how = {}
    if request.param == "cgroup2":
        how["enter"] = request.getfixturevalue("cgroup2_only").enter

    def make(*args, **kwargs):
        return container(*args, **kwargs, **how)
    return make


def test_devices_are_denied_unless_a_rule_allows_them(placed):
    c = placed(changes=with_mknod())
    c.run_detached()
    assert not can_open(c, FUSE)
    assert can_open(c, "1 3")
    c.exec("sh", "-c", "head -c 1 /dev/urandom > /dev/null; : < /dev/zero; : < /dev/full")


def test_a_rule_allows_one_device(placed):
    c = placed(changes=with_mknod(
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}))
    c.run_detached()
    assert can_open(c, FUSE)
    assert not can_open(c, "10 228")
    assert not can_open(c, FUSE, "b")


def test_a_rule_allows_reading_alone(placed):
    c = placed(changes=with_mknod({"allow": True, "type": "c", "major": 10, "access": "r"}))
    c.run_detached()
    assert can_open(c, FUSE)
    assert DENIED in c.exec("sh", "-c", "mknod /dev/y c 10 229; : > /dev/y", ok=False).err


def test_allowing_all_and_denying_some(placed):
    c = placed(changes=with_mknod(
        {"allow": True, "access": "rwm"},
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rw"}))
    c.run_detached()
    assert not can_open(c, FUSE)
    assert can_open(c, "10 228")


def test_update_leaves_device_rules_alone(placed):
    c = placed(changes=with_mknod(
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}))
    c.run_detached()
    c.update({})
    assert can_open(c, FUSE)
    assert not can_open(c, "10 228")


# Freezing, killing

COUNT = ["sh", "-c", "while :; do echo x; sleep 0.01; done"]


def test_a_paused_container_stands_still(placed):
    c = placed(COUNT)
    c.run_detached()
    c.wait_output("x")
    c.pause()
    assert c.status == "paused"
    before = c.output
    assert not grows(c, before)
    c.resume()
    assert c.status == "running"
    proc.eventually(lambda: len(c.output) > len(before), what="it to go on")


def grows(c, before):
    try:
        return proc.eventually(lambda: len(c.output) > len(before), timeout=0.3)
    except AssertionError:
        return False


def test_a_paused_container_can_be_deleted(placed):
    c = placed(COUNT)
    c.run_detached()
    c.pause()
    c.delete("--force")
    assert not c.exists()


def test_processes_that_keep_forking_are_all_killed(placed):
    c = placed(["sh", "-c", "f() { sleep 0.01; f & f & }; trap '' TERM; f; wait"],
               changes=limited(pids={"limit": 60}) if needs.has_controller("pids") else {})
    c.config["linux"]["namespaces"] = [n for n in c.config["linux"]["namespaces"]
                                       if n["type"] != "pid"]
    if not needs.has_controller("pids"):
        pytest.skip("nothing here could stop a fork bomb")
    if c.enter and not needs.has_v2_controller("pids"):
        pytest.skip("no limit on processes without the v1 controller here")
    c.run_detached()
    directory = cgroup.directory(c.pid, "pids")
    proc.eventually(lambda: int(open(directory + "/pids.current").read()) > 20)
    c.kill("KILL", "--all")
    proc.eventually(lambda: open(directory + "/cgroup.procs").read() == "")


def test_cgroups_that_the_container_made_go_with_it(running):
    c = running()
    for controller in cgroup.of_process(c.pid):
        os.makedirs(os.path.join(cgroup.directory(c.pid, controller), "x/y/z"), exist_ok=True)
    c.delete("--force")
    assert not [d for d in cgroup.all_cgroups() if c.id in d]


# cgroup2

def test_unified_files_are_written_as_they_stand(container, cgroup2_only):
    c = container(enter=cgroup2_only.enter,
                  changes=limited(unified={"cgroup.max.depth": "7"}))
    c.run_detached()
    with open(os.path.join(cgroup.unified(), c.id, "cgroup.max.depth")) as f:
        assert f.read() == "7\n"


@pytest.mark.parametrize("name", ["../cgroup.max.depth", "a/b", "..", ""])
def test_unified_names_do_not_lead_out(container, cgroup2_only, name):
    c = container(enter=cgroup2_only.enter, changes=limited(unified={name: "7"}))
    assert "unified" in c.run(ok=False).err


@pytest.mark.parametrize("resources", [
    {"memory": {"swappiness": 10}}, {"memory": {"disableOOMKiller": True}},
    {"cpu": {"realtimeRuntime": 1000}}, {"network": {"classID": 5}},
    {"blockIO": {"leafWeight": 10}},
])
def test_what_cgroup2_has_nothing_like_is_an_error(container, cgroup2_only, resources):
    c = container(enter=cgroup2_only.enter, changes=limited(**resources))
    assert "'linux.resources." in c.run(ok=False).err
    assert not os.path.exists(os.path.join(cgroup.unified(), c.id))


def test_the_root_of_a_user_namespace_gets_its_cgroup(container, cgroup2_only):
    c = container(enter=cgroup2_only.enter)
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.run_detached()
    directory = os.path.join(cgroup.unified(), c.id)
    for name in ("", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
        assert os.stat(os.path.join(directory, name)).st_uid == 100000
    assert os.stat(os.path.join(directory, "cgroup.freeze")).st_uid == 0


def test_a_cgroup_that_hands_controllers_on_is_entered_beside_its_init(container, cgroup2_only):
    needs.cgroup_v2("hugetlb")
    c = container(enter=cgroup2_only.enter,
                  changes=limited(unified={"hugetlb.2MB.max": "0"}))
    c.run_detached()
    directory = os.path.join(cgroup.unified(), c.id)
    os.mkdir(directory + "/init")
    with open(directory + "/init/cgroup.procs", "w") as f:
        f.write(str(c.pid))
    with open(directory + "/cgroup.subtree_control", "w") as f:
        f.write("+hugetlb")
    assert "0::/init" in c.exec("cat", "/proc/self/cgroup").out
