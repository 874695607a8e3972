"""User namespaces made by root: the container's ids are others on the host, and its root is nobody
there."""

import json
import os
import subprocess

import pytest

from lib import cgroup, config, proc

FIRST = 100000  # what 0 is on the host


@pytest.fixture
def shifted(container):
    """container() in a user namespace with the ids from FIRST on."""
    def make(*args, **how):
        c = container(*args, **how)
        config.use_user_namespace(c.config, FIRST)
        proc.run(["chown", "-R", "-h", f"{FIRST}:{FIRST}", c.rootfs])
        return c
    return make


def test_ids_are_shifted(shifted):
    c = shifted(["sh", "-c", "cat /proc/self/uid_map; touch /made; sleep 1000"])
    c.run_detached()
    proc.eventually(lambda: os.path.exists(c.host_path("/made")))
    assert c.output.split() == ["0", str(FIRST), "65536"]
    assert os.stat(f"/proc/{c.pid}").st_uid == FIRST
    assert os.stat(c.host_path("/made")).st_uid == FIRST
    assert c.exec("stat", "-c", "%u", "/made").out == "0\n"


def test_the_process_may_be_any_mapped_user(shifted):
    c = shifted(["sh", "-c", "id -u; id -g; id -G; cat /proc/self/setgroups"],
                changes={"process": {"user": {"uid": 1000, "gid": 1000,
                                              "additionalGids": [5, 65535]}}})
    assert c.run().out.split() == ["1000", "1000", "1000", "5", "65535", "allow"]


def test_several_ranges_can_be_mapped(container):
    c = container(["cat", "/proc/self/uid_map"])
    config.use_user_namespace(c.config)
    maps = [{"containerID": n * 10, "hostID": FIRST + n * 1000, "size": 10} for n in range(12)]
    c.config["linux"]["uidMappings"] = c.config["linux"]["gidMappings"] = maps
    proc.run(["chown", "-R", "-h", f"{FIRST}:{FIRST}", c.rootfs])
    assert c.run().out.split() == [str(n) for m in maps for n in m.values()]


def test_root_inside_has_no_power_outside(shifted):
    c = shifted(["sleep", "1000"])
    config.set_capabilities(c.config,
                            ["CAP_SYS_ADMIN", "CAP_SYS_TIME", "CAP_DAC_OVERRIDE", "CAP_CHOWN"])
    c.run_detached()
    assert "not permitted" in c.exec("date", "-s", "2030-01-01", ok=None).err
    with open(c.dir + "/outside", "w") as f:
        f.write("secret")
    os.chmod(c.dir + "/outside", 0o600)
    os.link(c.dir + "/outside", c.host_path("/linked"))
    assert "ermi" in c.exec("cat", "/linked", ok=False).err
    os.unlink(c.host_path("/linked"))


def test_exec_enters_the_user_namespace(shifted):
    c = shifted()
    c.run_detached()
    assert c.exec("id", "-u").out == "0\n"
    assert c.exec("readlink",
                  "/proc/self/ns/user").out.strip() == os.readlink(f"/proc/{c.pid}/ns/user")
    assert c.exec("id", "-u", flags=["--user", "33:33"]).out == "33\n"
    executed = proc.start(c.argv("exec", "--user", "33", c.id, "sleep", "777"))
    try:
        pid = proc.eventually(lambda: next(iter(set(json.loads(c.rt("ps", "-f", "json",
                                                                    c.id).out)) - {c.pid}), None))
        proc.eventually(lambda: os.stat(f"/proc/{pid}").st_uid == FIRST + 33)
    finally:
        executed.terminate()
        executed.wait()
        c.delete("--force")


def test_exec_as_a_user_without_a_mapping_is_an_error(shifted):
    c = shifted()
    c.run_detached()
    result = c.exec("true", flags=["--user", "70000"], ok=False)
    assert "70000" in result.err and "namespace" in result.err


def test_the_capabilities_of_exec_are_those_of_the_namespace(shifted):
    c = shifted()
    c.run_detached()
    out = c.exec("grep", "CapEff", "/proc/self/status", flags=["--cap", "CAP_SYS_ADMIN"]).out
    assert int(out.split()[1], 16) >> 21 & 1


def test_everything_of_an_ordinary_container_works(shifted):
    c = shifted(["sh", "-c",
                 "echo lost > /dev/null; touch /dev/shm/x; ls /sys/fs/cgroup; mount | wc -l; "
                             "cat /proc/timer_list | wc -c; hostname"],
                changes={"root": {"readonly": True}})
    out = c.run().out.split()
    assert out[-2:] == ["0", "container"]
    again = shifted(["touch", "/x"], changes={"root": {"readonly": True}})
    assert "Read-only file system" in again.run(ok=False).err


def test_a_terminal_belongs_to_the_user_inside(shifted):
    c = shifted(["sh", "-c", "stat -c '%u %g' $(tty); read x"], changes={"process": {
        "terminal": True, "user": {"uid": 1000, "gid": 1000}}})
    c.create()
    c.start()
    c.terminal.expect("1000 5")
    c.terminal.type("\n")


def test_bind_mounts_keep_the_hosts_ids(shifted, work):
    os.mkdir(work + "/shared")
    os.chmod(work + "/shared", 0o777)
    with open(work + "/shared/roots", "w"):
        pass
    c = shifted(["sh", "-c", "stat -c %u /shared/roots; touch /shared/made"])
    c.config["mounts"].append(config.bind(work + "/shared", "/shared"))
    assert c.run().out == "65534\n"
    assert os.stat(work + "/shared/made").st_uid == FIRST


def test_pause_kill_and_delete_reach_it(shifted):
    c = shifted()
    c.create()
    c.start()
    c.pause()
    assert c.status == "paused"
    c.resume()
    c.kill("KILL")
    c.wait_stopped()
    c.delete()


def test_sysctls_and_the_network_are_its_own(shifted):
    c = shifted(["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shm_rmid_forced"],
                changes={"linux": {"sysctl": {"net.ipv4.ip_forward": "1",
                                              "kernel.shm_rmid_forced": "1"}}})
    assert c.run().out.split() == ["1", "1"]


def test_hooks_run_with_the_hosts_rights_outside_and_the_containers_inside(shifted, work):
    c = shifted(["true"])
    script = work + "/hook"
    with open(script, "w") as f:
        f.write(f"#!/bin/sh\nid -u > {work}/$1\n")
    os.chmod(script, 0o755)
    c.config["hooks"] = {"createRuntime": [{"path": script, "args": [script, "runtime"]}],
                         "poststop": [{"path": script, "args": [script, "poststop"]}]}
    c.run()
    for name in ("runtime", "poststop"):
        with open(f"{work}/{name}") as f:
            assert f.read() == "0\n"


# Namespaces joined by path

@pytest.fixture
def user_namespace(outlives_containers):
    """A user namespace that somebody else made, with the same ids."""
    holder = subprocess.Popen(["unshare", "--user", "--kill-child", "--fork", "sleep", "infinity"],
                              stdin=subprocess.DEVNULL,
                              close_fds=True)
    outlives_containers.callback(holder.wait)
    outlives_containers.callback(holder.kill)
    own = os.readlink("/proc/self/ns/user")
    proc.eventually(lambda: os.readlink(f"/proc/{holder.pid}/ns/user") != own)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{holder.pid}/{name}", "w") as f:
            f.write(f"0 {FIRST} 65536")
    return f"/proc/{holder.pid}/ns/user"


def joining(container, path, args):
    c = container(args)
    config.set_namespace(c.config, "user", path)
    proc.run(["chown", "-R", "-h", f"{FIRST}:{FIRST}", c.rootfs])
    return c


def test_a_user_namespace_can_be_joined_with_new_others(container, user_namespace):
    c = joining(container, user_namespace, ["sh", "-c", "echo pid $$ uid $(id -u); sleep 1000"])
    c.run_detached()
    c.wait_output("pid 1 uid 0\n")
    assert os.readlink(f"/proc/{c.pid}/ns/user") == os.readlink(user_namespace)
    assert os.readlink(f"/proc/{c.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    assert os.stat(f"/proc/{c.pid}").st_uid == FIRST
    assert c.exec("id", "-u").out == "0\n"
    c.pause()
    c.resume()


def test_joining_many_times_is_as_good_as_once(container, user_namespace):
    """Whoever clones the container's process tells of it; that one must not be heard first."""
    c = joining(container, user_namespace, ["true"])
    for _ in range(30):
        c.run()


def test_a_pod_shares_its_user_namespace(shifted, container):
    first = shifted()
    first.run_detached()
    second = container(["sh", "-c",
                        "for n in user net ipc; do readlink /proc/self/ns/$n; done; sleep 1000"])
    for kind in ("user", "network", "ipc", "uts"):
        name = {"network": "net"}.get(kind, kind)
        config.set_namespace(second.config, kind, f"/proc/{first.pid}/ns/{name}")
    second.config.pop("hostname")
    proc.run(["chown", "-R", "-h", f"{FIRST}:{FIRST}", second.rootfs])
    second.run_detached()
    expected = [os.readlink(f"/proc/{first.pid}/ns/{n}") for n in ("user", "net", "ipc")]
    proc.eventually(lambda: second.output.split() == expected,
                    what=f"{expected} from {second.output}")


def test_a_joined_pid_namespace_of_a_user_namespace(shifted, container):
    first = shifted(["sleep", "1000"])
    first.run_detached()
    second = container(["sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline"])
    config.set_namespace(second.config, "user", f"/proc/{first.pid}/ns/user")
    config.set_namespace(second.config, "pid", f"/proc/{first.pid}/ns/pid")
    proc.run(["chown", "-R", "-h", f"{FIRST}:{FIRST}", second.rootfs])
    assert second.run().out.strip() == "sleep 1000"


@pytest.mark.parametrize("path, told", [
    ("/proc/self/ns/pid", "user"), ("/no/such/file", "/no/such/file"),
    ("/etc/passwd", "/etc/passwd"),
    ("/proc/self/ns/user", ""),
])
def test_what_is_no_other_user_namespace_is_refused(container, path, told):
    c = joining(container, path, ["true"])
    result = c.run(ok=False)
    assert told in result.err and len(result.err.splitlines()) == 1
    assert not os.path.exists(f"{c.root}/{c.id}")


@pytest.mark.parametrize("maps, told", [
    ([], "linux.uidMappings"),
    ([{"containerID": 1, "hostID": FIRST, "size": 10}], "process.user.uid"),
    ([{"containerID": 0, "hostID": FIRST, "size": 10},
      {"containerID": 5, "hostID": FIRST + 50, "size": 10}], "user ids"),
    ([{"containerID": 0, "hostID": 4294967290, "size": 10}], ""),
    ([{"containerID": 0, "hostID": FIRST, "size": 0}], "linux.uidMappings[0].size"),
])
def test_maps_that_cannot_be_are_refused_and_leave_nothing(shifted, maps, told):
    c = shifted(["true"])
    c.config["linux"]["uidMappings"] = maps
    result = c.run(ok=False)
    assert told in result.err and len(result.err.splitlines()) == 1
    assert not os.path.exists(f"{c.root}/{c.id}")
    assert not [d for d in cgroup.all_cgroups() if d.endswith(c.id)]
