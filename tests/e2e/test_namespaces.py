"""Namespaces, made and joined; what is set in them: host name, domain name, time offsets,
sysctls; and user namespaces with their mappings."""

import os
import re

import pytest

from lib import config, ns, proc

FILES = {"pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts", "user": "user",
         "cgroup": "cgroup", "time": "time"}
JOINABLE = ["pid", "network", "ipc", "uts", "cgroup", "time"]
HOLDERS = {"network": "net"}  # what lib.ns calls it, where that differs


def of(pid):
    return {kind: os.readlink(f"/proc/{pid}/ns/{file}") for kind, file in FILES.items()}


def read(path):
    with open(path) as f:
        return f.read()


@pytest.fixture
def holder(outlives_containers):
    """holder("uts", "ipc"): a process in new namespaces of these kinds."""
    return lambda *kinds: outlives_containers.enter_context(
        ns.Namespaces(*[HOLDERS.get(k, k) for k in kinds]))


def join(c, space, *kinds):
    for kind in kinds:
        config.drop_namespace(c.config, kind)
        config.set_namespace(c.config, kind, space.path(HOLDERS.get(kind, kind)))


def needs_time():
    if not os.path.exists("/proc/self/ns/time"):
        pytest.skip("this kernel has no time namespaces")


# Made, shared, joined

def test_what_is_listed_is_made_and_the_rest_is_shared(running):
    c = running()
    mine, theirs = of("self"), of(c.pid)
    assert {kind for kind in FILES if mine[kind] != theirs[kind]} == {
        "pid", "network", "ipc", "uts", "mount", "cgroup"}


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_what_is_not_listed_is_shared(running, container, kind):
    c = container(["sleep", "1000"])
    config.drop_namespace(c.config, kind)
    c.config.pop("hostname")
    c.run_detached()
    mine, theirs = of("self"), of(c.pid)
    assert mine[kind] == theirs[kind]


def test_all_eight_can_be_made(container):
    needs_time()
    c = container(["sleep", "1000"])
    config.use_user_namespace(c.config)
    config.set_namespace(c.config, "time")
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.run_detached()
    mine, theirs = of("self"), of(c.pid)
    assert not [kind for kind in FILES if mine[kind] == theirs[kind]]


@pytest.mark.parametrize("kind", JOINABLE)
def test_one_is_joined_by_its_path(container, holder, kind):
    if kind == "time":
        needs_time()
    space = holder(kind)
    c = container(["sleep", "1000"])
    join(c, space, kind)
    c.config.pop("hostname")
    c.run_detached()
    mine, theirs, joined = of("self"), of(c.pid), of(space.pid)
    assert theirs[kind] == joined[kind] != mine[kind]
    assert [k for k in FILES if theirs[k] == joined[k]] == [
        k for k in FILES if k in (kind, "user", "time")]
    # exec comes to the same ones, and delete leaves the joined one alone.
    assert f"{FILES[kind]}:" in c.exec("readlink", f"/proc/self/ns/{FILES[kind]}", ok=None).out
    c.delete("--force")
    assert proc.alive(space.pid)


def test_several_are_joined_at_once(container, holder):
    kinds = ["network", "ipc", "uts", "pid"]
    space = holder(*kinds)
    c = container(["sleep", "1000"])
    join(c, space, *kinds)
    c.config.pop("hostname")
    c.run_detached()
    theirs, joined = of(c.pid), of(space.pid)
    assert all(theirs[k] == joined[k] for k in kinds)
    assert c.exec("ps").out.count("sleep") >= 2  # the holder is seen


def test_a_mount_namespace_is_joined(container, holder):
    space = holder("mount")
    c = container(["sleep", "1000"])
    join(c, space, "mount")
    c.run_detached()
    assert of(c.pid)["mount"] == of(space.pid)["mount"]
    assert c.exec("cat", "/etc/hostname").out == "container\n"


def test_the_namespaces_of_another_container_are_joined(container):
    """A pod: one holds them, the other comes in."""
    first = container(["sleep", "1000"])
    first.run_detached()
    second = container(["sleep", "1000"])
    second.config.pop("hostname")
    for kind in ("pid", "network", "ipc", "uts"):
        config.drop_namespace(second.config, kind)
        config.set_namespace(second.config, kind, f"/proc/{first.pid}/ns/{FILES[kind]}")
    second.run_detached()
    one, two = of(first.pid), of(second.pid)
    assert [k for k in FILES if one[k] == two[k]] == [
        "pid", "network", "ipc", "uts", "user", "time"]
    assert second.exec("hostname").out == "container\n"
    # Its own processes end with it, though the namespace they are in lives on.
    second.exec("sleep", "2000", flags=["-d"])
    second.delete("--force")
    assert "2000" not in first.exec("ps", "-o", "args").out
    assert first.status == "running"


def test_a_joined_namespace_may_be_a_bind_mount(container, holder, work):
    space = holder("uts")
    space.run(["hostname", "bound"])
    path = f"{work}/uts"
    with open(path, "w"):
        pass
    proc.run(["mount", "--bind", space.path("uts"), path])
    try:
        c = container(["hostname"])
        c.config.pop("hostname")
        config.drop_namespace(c.config, "uts")
        config.set_namespace(c.config, "uts", path)
        assert c.run().out == "bound\n"
    finally:
        proc.run(["umount", path])


def with_maps(space):
    """Gives the holder's user namespace mappings: 0.. to 100000.."""
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{space.pid}/{name}", "w") as f:
            f.write("0 100000 65536")
    return space


def test_a_user_namespace_is_joined(container, holder):
    space = with_maps(holder("user"))
    c = container(["sleep", "1000"])
    join(c, space, "user")
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.run_detached()
    assert of(c.pid)["user"] == of(space.pid)["user"]
    assert os.stat(f"/proc/{c.pid}").st_uid == 100000
    assert c.exec("id", "-u").out == "0\n"


def test_a_user_namespace_is_joined_with_namespaces_it_owns(container, holder):
    """What the rest of a pod with a user namespace does."""
    space = with_maps(holder("user", "net", "ipc", "uts"))
    c = container(["sleep", "1000"])
    c.config.pop("hostname")
    join(c, space, "user", "network", "ipc", "uts")
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.run_detached()
    theirs, joined = of(c.pid), of(space.pid)
    assert [k for k in FILES if theirs[k] == joined[k]] == ["network", "ipc", "uts", "user", "time"]


def test_a_new_user_namespace_with_a_joined_network_of_the_host(container, holder):
    space = holder("network")
    c = container(["sleep", "1000"])
    config.use_user_namespace(c.config)
    join(c, space, "network")
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.run_detached()
    assert of(c.pid)["network"] == of(space.pid)["network"]


@pytest.mark.parametrize("path, word", [("/no/such/namespace", "/no/such/namespace"),
                                        ("/etc/passwd", "/etc/passwd"),
                                        ("/proc/self/ns/net", "/proc/self/ns/net")])
def test_a_path_that_is_no_such_namespace_is_named(container, path, word):
    c = container(["true"])
    c.config.pop("hostname")
    config.drop_namespace(c.config, "uts")
    config.set_namespace(c.config, "uts", path)
    assert word in c.run(ok=False).err


@pytest.mark.parametrize("namespaces, word", [
    ([{"type": "pod"}], "linux.namespaces[0].type"), ([{}], "linux.namespaces[0].type"),
    ([{"type": "pid"}, {"type": "pid"}], "linux.namespaces[1]"),
    ([{"type": "pid", "path": "relative"}], "linux.namespaces[0].path")])
def test_wrong_namespaces_name_their_field(container, namespaces, word):
    c = container(["true"])
    c.config["linux"]["namespaces"] = namespaces
    assert word in c.run(ok=False).err


# PID namespaces

def test_init_is_process_1(container):
    assert container(["sh", "-c", "echo $$"]).run().out == "1\n"


def test_orphans_end_with_init(running):
    c = running(["sh", "-c", "sleep 3000 & echo up; exec sleep 1000"])
    c.wait_output("up")
    # The shell says "up" while its child may not have become the sleeper yet.
    children = proc.eventually(lambda: [pid for pid in os.listdir("/proc") if pid.isdigit() and proc.alive(pid) and
                                        "3000" in read(f"/proc/{pid}/cmdline").split("\0")], what="the child")
    c.kill()
    c.wait_stopped()
    proc.eventually(lambda: not any(proc.alive(pid) for pid in children))


# Networks

def test_a_new_network_has_its_loopback_up(container):
    c = container(["sh", "-c", "ip -o link; ping -c 1 -W 1 127.0.0.1"])
    config.set_capabilities(c.config, ["CAP_NET_RAW"])
    out = c.run().out
    assert re.search(r"lo: <LOOPBACK,UP", out) and " 0% packet loss" in out


def test_a_joined_network_is_left_as_it_is(container, holder):
    space = holder("network")  # its lo is down
    c = container(["ip", "-o", "link", "show", "lo"])
    join(c, space, "network")
    assert "UP" not in c.run().out


# Names

def test_names_of_the_host(container):
    c = container(["sh", "-c", "hostname; cat /proc/sys/kernel/domainname"],
                  changes={"hostname": "web1", "domainname": "example.org"})
    assert c.run().out == "web1\nexample.org\n"
    assert read("/proc/sys/kernel/hostname") != "web1\n"


def test_without_names_they_are_the_hosts(container):
    c = container(["hostname"], changes={"hostname": None})
    assert c.run().out == read("/proc/sys/kernel/hostname")


@pytest.mark.parametrize("field", ["hostname", "domainname"])
def test_names_need_a_uts_namespace_and_have_a_length(container, field):
    c = container(["true"], changes={"hostname": None, field: "x" * 65})
    assert f"'{field}'" in c.run(ok=False).err
    c.config[field] = "x"
    config.drop_namespace(c.config, "uts")
    assert f"'{field}'" in c.run(ok=False).err


# Time

def test_offsets_of_a_time_namespace(container):
    needs_time()
    c = container(["sh", "-c", "cat /proc/uptime; cat /proc/self/timens_offsets"],
                  changes={"linux": {"timeOffsets": {
                      "monotonic": {"secs": 100000, "nanosecs": 5},
                      "boottime": {"secs": 1000000}}}})
    config.set_namespace(c.config, "time")
    lines = c.run().out.splitlines()
    assert float(lines[0].split()[0]) > float(read("/proc/uptime").split()[0]) + 900000
    assert {line.split()[0]: line.split()[1:] for line in lines[1:]} == {
        "monotonic": ["100000", "5"], "boottime": ["1000000", "0"]}


def test_exec_is_in_the_time_namespace(container):
    needs_time()
    c = container(["sleep", "1000"], changes={"linux": {"timeOffsets": {
        "boottime": {"secs": -100}}}})
    config.set_namespace(c.config, "time")
    c.config["linux"]["timeOffsets"]["boottime"]["secs"] = 1000000
    c.run_detached()
    assert float(c.exec("cat", "/proc/uptime").out.split()[0]) > 1000000
    assert of(c.pid)["time"] != of("self")["time"]


def test_exec_is_in_a_joined_time_namespace(container, holder):
    needs_time()
    space = holder("time")
    c = container(["sleep", "1000"])
    join(c, space, "time")
    c.run_detached()
    assert c.exec("readlink", "/proc/self/ns/time").out.strip() == of(space.pid)["time"]


@pytest.mark.parametrize("offsets, namespace, word", [
    ({"monotonic": {"secs": 1}}, None, "linux.timeOffsets"),
    ({"realtime": {"secs": 1}}, "time", "linux.timeOffsets.realtime"),
    ({"boottime": {"nanosecs": 1000000000}}, "time", "linux.timeOffsets.boottime.nanosecs"),
    ({"boottime": {"secs": "x"}}, "time", "linux.timeOffsets.boottime.secs"),
    ({"boottime": {"secs": -(1 << 62)}}, "time", "linux.timeOffsets.boottime")])
def test_wrong_offsets_name_their_field(container, offsets, namespace, word):
    needs_time()
    c = container(["true"], changes={"linux": {"timeOffsets": offsets}})
    if namespace:
        config.set_namespace(c.config, namespace)
    assert word in c.run(ok=False).err


# User namespaces

def mapped(container, *args, uids, gids=None, owner=100000):
    c = container(*args)
    config.set_namespace(c.config, "user")
    c.config["linux"]["uidMappings"] = uids
    c.config["linux"]["gidMappings"] = gids or uids
    proc.run(["chown", "-R", f"{owner}:{owner}", c.rootfs])
    return c


def mapping(inside, outside, size):
    return {"containerID": inside, "hostID": outside, "size": size}


def test_mappings_are_as_asked_for(container):
    c = mapped(container, ["sleep", "1000"], uids=[mapping(0, 100000, 1000),
                                                   mapping(1000, 5000, 1)],
               gids=[mapping(0, 100000, 500), mapping(600, 7000, 10)])
    c.run_detached()
    maps = [[line.split() for line in read(f"/proc/{c.pid}/{name}").splitlines()]
            for name in ("uid_map", "gid_map")]
    assert maps == [[["0", "100000", "1000"], ["1000", "5000", "1"]],
                    [["0", "100000", "500"], ["600", "7000", "10"]]]
    assert os.stat(f"/proc/{c.pid}").st_uid == 100000


def test_other_users_in_a_user_namespace(container):
    c = mapped(container, ["sleep", "1000"], uids=[mapping(0, 100000, 65536)])
    c.config["process"]["user"] = {"uid": 33, "gid": 44, "additionalGids": [55]}
    c.run_detached()
    status = read(f"/proc/{c.pid}/status")
    assert re.search(r"^Uid:\s+100033\s", status, re.M)
    assert re.search(r"^Gid:\s+100044\s", status, re.M)
    assert re.search(r"^Groups:\s+100055\s", status, re.M)
    assert c.exec("id", "-G").out == "44 55\n"


def test_a_mapping_without_root_needs_a_user_that_is_mapped(container):
    c = mapped(container, ["id", "-u"], uids=[mapping(1000, 100000, 10)])
    c.config["process"]["user"] = {"uid": 0, "gid": 0}
    assert c.run(ok=False).err
    c.config["process"]["user"] = {"uid": 5000, "gid": 5000}
    assert c.run(ok=False).err


def test_a_user_outside_of_the_mapping_is_an_error(container):
    c = mapped(container, ["true"], uids=[mapping(0, 100000, 10)])
    c.config["process"]["user"] = {"uid": 10, "gid": 0}
    assert "process.user.uid" in c.run(ok=False).err


@pytest.mark.parametrize("changes, word", [
    ({"uidMappings": []}, "linux.uidMappings"), ({"gidMappings": []}, "linux.gidMappings"),
    ({"uidMappings": [{"containerID": 0, "hostID": 1}]}, "linux.uidMappings[0].size"),
    ({"uidMappings": [{"containerID": 0, "hostID": 1, "size": 0}]}, "linux.uidMappings[0].size")])
def test_wrong_mappings_name_their_field(container, changes, word):
    c = container(["true"])
    config.use_user_namespace(c.config)
    c.config["linux"].update(changes)
    assert word in c.run(ok=False).err


def test_mappings_need_a_user_namespace(container):
    c = container(["true"])
    c.config["linux"]["uidMappings"] = [mapping(0, 0, 1)]
    assert "linux.uidMappings" in c.run(ok=False).err


def test_mappings_the_kernel_refuses_are_an_error(container):
    c = mapped(container, ["true"], uids=[mapping(0, 100000, 10), mapping(5, 200000, 10)])
    assert "map" in c.run(ok=False).err.lower()


# sysctl

def test_sysctls_are_set_inside_and_only_there(container):
    before = read("/proc/sys/net/ipv4/ip_forward"), read("/proc/sys/kernel/msgmax")
    c = container(["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax",
                   "/proc/sys/net/ipv4/conf/lo/forwarding", "/proc/sys/fs/mqueue/msg_max"],
                  changes={"linux": {"sysctl": {
                      "net.ipv4.ip_forward": "1", "kernel.msgmax": "1234",
                      "net/ipv4/conf/lo/forwarding": "1", "fs.mqueue.msg_max": "7"}}})
    assert c.run().out.split() == ["1", "1234", "1", "7"]
    assert (read("/proc/sys/net/ipv4/ip_forward"), read("/proc/sys/kernel/msgmax")) == before


def test_sysctls_in_a_user_namespace(container):
    c = mapped(container, ["cat", "/proc/sys/net/ipv4/ip_forward"],
               uids=[mapping(0, 100000, 65536)])
    c.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert c.run().out == "1\n"


def test_sysctls_need_no_writable_proc_in_the_container(container):
    c = container(["cat", "/proc/sys/net/ipv4/ip_forward"],
                  changes={"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}})
    for mount in c.config["mounts"]:
        if mount["destination"] == "/proc":
            mount["options"] = ["ro"]
    assert c.run().out == "1\n"


@pytest.mark.parametrize("key, value", [
    ("net.no.such", "1"), ("kernel.msgmax", "many"), ("vm.swappiness", "1"),
    ("kernel.hostname", "x"), ("net..x", "1"), ("../x", "1"), ("net/../kernel/x", "1")])
def test_sysctls_that_cannot_be_are_named(container, key, value):
    c = container(["true"], changes={"linux": {"sysctl": {key: value}}})
    assert key in c.run(ok=False).err


@pytest.mark.parametrize("key, kind", [("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc"),
                                       ("kernel.domainname", "uts")])
def test_sysctls_need_their_namespace(container, key, kind):
    c = container(["true"], changes={"hostname": None, "linux": {"sysctl": {key: "1"}}})
    config.drop_namespace(c.config, kind)
    assert key in c.run(ok=False).err
