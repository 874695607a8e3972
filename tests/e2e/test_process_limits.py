"""What a process may use of the machine, and how: resource limits, scheduling, affinity, labels, caches, memory policies."""

import os
import re
import subprocess

import pytest

from lib import needs, proc
from lib.process import process, read


def limits(pid):
    """{name: (soft, hard)} of /proc/PID/limits."""
    found = {}
    for line in read(f"/proc/{pid}/limits").splitlines()[1:]:
        name, soft, hard = re.match(r"(.+?)\s{2,}(\S+)\s+(\S+)", line).groups()
        found[name] = (soft, hard)
    return found


# rlimits

def test_limits_of_resources(running):
    c = running(changes=process(rlimits=[
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NPROC", "soft": 30, "hard": 40},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 2 << 20}]))
    seen = limits(c.pid)
    assert seen["Max open files"] == ("100", "200")
    assert seen["Max core file size"] == ("0", "0")
    assert seen["Max processes"] == ("30", "40")
    assert seen["Max stack size"] == (str(1 << 20), str(2 << 20))
    assert c.exec("sh", "-c", "ulimit -n; ulimit -Hn").out.split() == ["100", "200"]


def test_limits_for_an_ordinary_user(running):
    """Without CAP_SYS_RESOURCE nobody may set those of a process of another user."""
    c = running(changes=process(user={"uid": 1000, "gid": 1000}, rlimits=[
        {"type": "RLIMIT_FSIZE", "soft": 1 << 20, "hard": 1 << 20},
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]))
    assert limits(c.pid)["Max file size"] == (str(1 << 20), str(1 << 20))
    assert limits(c.pid)["Max open files"] == ("100", "200")
    assert c.exec("sh", "-c", "ulimit -n; ulimit -Hn").out.split() == ["100", "200"]


EVERY_LIMIT = ["AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE",
               "NOFILE", "NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK"]


def test_every_kind_of_limit_is_known(container):
    """Each at what it is already, which needs no right."""
    import resource
    number = {"AS": 9, "CORE": 4, "CPU": 0, "DATA": 2, "FSIZE": 1, "LOCKS": 10, "MEMLOCK": 8,
              "MSGQUEUE": 12, "NICE": 13, "NOFILE": 7, "NPROC": 6, "RSS": 5, "RTPRIO": 14,
              "RTTIME": 15, "SIGPENDING": 11, "STACK": 3}
    rlimits = []
    for name in EVERY_LIMIT:
        soft, hard = (v % (1 << 64) for v in resource.getrlimit(number[name]))
        rlimits.append({"type": "RLIMIT_" + name, "soft": soft, "hard": hard})
    container(["true"], changes=process(rlimits=rlimits)).run()


def test_a_limit_that_cannot_be_raised_is_named(container):
    if needs.effective_capabilities() >> needs.CAPABILITIES["CAP_SYS_RESOURCE"] & 1:
        pytest.skip("this root may raise limits")
    c = container(["true"], changes=process(
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]))
    assert "RLIMIT_NOFILE" in c.run(ok=False).err


@pytest.mark.parametrize("entry, field", [
    ({"type": "RLIMIT_NONE", "soft": 1, "hard": 1}, "rlimits[0].type"),
    ({"type": "RLIMIT_CORE", "soft": 2, "hard": 1}, "rlimits[0].soft"),
    ({"type": "RLIMIT_CORE", "soft": 2}, "rlimits[0].hard")])
def test_wrong_limits_name_their_field(container, entry, field):
    assert field in container(["true"], changes=process(rlimits=[entry])).run(ok=False).err


# How it is scheduled, and when it is killed

def test_oom_score_adj(running):
    c = running(changes=process(oomScoreAdj=345))
    assert read(f"/proc/{c.pid}/oom_score_adj") == "345\n"
    assert c.exec("cat", "/proc/self/oom_score_adj").out == "345\n"


def test_without_oom_score_adj_it_is_the_callers(running):
    assert read(f"/proc/{running().pid}/oom_score_adj") == read("/proc/self/oom_score_adj")


def scheduling(pid):
    return proc.run(["chrt", "-p", pid]).out


def nice_of(pid):
    return int(read(f"/proc/{pid}/stat").rpartition(")")[2].split()[16])


@pytest.mark.parametrize("policy", ["SCHED_BATCH", "SCHED_IDLE", "SCHED_OTHER"])
def test_scheduler(running, policy):
    c = running(changes=process(scheduler={"policy": policy, "nice": 5}))
    assert policy in scheduling(c.pid)
    if policy != "SCHED_IDLE":
        assert nice_of(c.pid) == 5


def test_the_scheduler_of_realtime(container):
    probe = subprocess.run(["chrt", "-f", "7", "true"], capture_output=True, check=False)
    c = container(["sleep", "1000"], changes=process(
        scheduler={"policy": "SCHED_FIFO", "priority": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}))
    if probe.returncode == 0 and c.run_detached(ok=None).code == 0:
        seen = scheduling(c.pid)
        assert "SCHED_FIFO" in seen and "SCHED_RESET_ON_FORK" in seen
        assert re.search(r"priority: 7$", seen, re.M)
    else:  # no right to it, or no time for it in its cgroup
        assert "'process.scheduler'" in c.run(ok=False).err


@pytest.mark.parametrize("scheduler, word", [
    ({"policy": "SCHED_SOON"}, "process.scheduler.policy"),
    ({"policy": "SCHED_OTHER", "nice": 20}, "process.scheduler.nice"),
    ({"policy": "SCHED_FIFO", "priority": 100}, "process.scheduler.priority"),
    ({"policy": "SCHED_OTHER", "flags": ["X"]}, "process.scheduler.flags"),
    ({"policy": "SCHED_BATCH", "runtime": 1000}, "process.scheduler"),
    ({}, "process.scheduler.policy")])
def test_wrong_schedulers_name_their_field(container, scheduler, word):
    assert word in container(["true"], changes=process(scheduler=scheduler)).run(ok=False).err


@pytest.mark.parametrize("name, seen", [("IOPRIO_CLASS_BE", "best-effort: prio 3"),
                                        ("IOPRIO_CLASS_IDLE", "idle"),
                                        ("IOPRIO_CLASS_RT", "realtime: prio 3")])
def test_io_priority(container, name, seen):
    c = container(changes=process(ioPriority={"class": name, "priority": 3}))
    if name == "IOPRIO_CLASS_RT" and proc.run(["ionice", "-c", "1", "true"], ok=None).code:
        assert "'process.ioPriority'" in c.run(ok=False).err
        return
    c.run_detached()
    assert seen in proc.run(["ionice", "-p", c.pid]).out


def allowed_cpus(text):
    return re.search(r"Cpus_allowed_list:\s*(\S+)", text).group(1)


def test_the_affinity_of_exec_is_not_for_the_init_process(running):
    c = running(changes=process(execCPUAffinity={"initial": "0", "final": "0"}))
    assert allowed_cpus(read(f"/proc/{c.pid}/status")) == allowed_cpus(read("/proc/self/status"))
    assert allowed_cpus(c.exec("cat", "/proc/self/status").out) == "0"


def test_an_affinity_that_cannot_be_had_is_an_error_of_exec(running):
    for which in ("initial", "final"):
        c = running(changes=process(execCPUAffinity={which: "1000"}))
        assert "'process.execCPUAffinity'" in c.exec("true", ok=False).err


def test_a_list_of_cpus_that_is_none_names_its_field(container):
    c = container(["true"], changes=process(execCPUAffinity={"initial": "a-b"}))
    assert "process.execCPUAffinity.initial" in c.run(ok=False).err


# Labels, where there is nothing to give them

def test_an_apparmor_profile_is_an_error_without_apparmor(container):
    if os.path.exists("/sys/kernel/security/apparmor/profiles"):
        pytest.skip("AppArmor is enabled here")
    c = container(["true"], changes=process(apparmorProfile="some-profile"))
    assert "'process.apparmorProfile'" in c.run(ok=False).err


def test_an_selinux_label_is_an_error_without_selinux(container):
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("SELinux is enabled here")
    c = container(["true"], changes=process(selinuxLabel="system_u:system_r:container_t:s0"))
    assert "'process.selinuxLabel'" in c.run(ok=False).err


def test_a_mount_label_is_an_error_without_selinux(container):
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("SELinux is enabled here")
    c = container(["true"], changes={"linux": {"mountLabel": "system_u:object_r:container_t:s0"}})
    assert "linux.mountLabel" in c.run(ok=False).err


def test_cache_allocation_is_an_error_without_resctrl(container):
    if "resctrl" in read("/proc/mounts"):
        pytest.skip("resctrl is mounted here")
    c = container(["true"], changes={"linux": {"intelRdt": {"l3CacheSchema": "L3:0=1"}}})
    assert "linux.intelRdt" in c.run(ok=False).err
    assert not c.exists()


# linux.personality, linux.memoryPolicy: of the process, too

def test_personality(container):
    c = container(["sh", "-c", "cat /proc/self/personality; uname -m"],
                  changes={"linux": {"personality": {"domain": "LINUX32"}}})
    persona, machine = c.run().out.split()
    assert int(persona, 16) == 8
    assert machine != "x86_64"


def test_exec_has_the_personality_of_the_container(running):
    c = running(changes={"linux": {"personality": {"domain": "LINUX32"}}})
    assert int(read(f"/proc/{c.pid}/personality"), 16) == 8
    assert int(c.exec("cat", "/proc/self/personality").out, 16) == 8


def has_memory_policies():
    return os.path.exists("/proc/self/numa_maps")


@pytest.mark.parametrize("policy, seen", [
    ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
    ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
    ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
    ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
    ({"mode": "MPOL_LOCAL"}, "local"),
    ({"mode": "MPOL_DEFAULT"}, "default")])
def test_memory_policy(container, policy, seen):
    c = container(["cat", "/proc/self/numa_maps"] if has_memory_policies() else ["true"],
                  changes={"linux": {"memoryPolicy": policy}})
    if has_memory_policies():
        assert f" {seen} " in c.run().out
    elif c.run(ok=None).code:
        assert "'linux.memoryPolicy'" in c.run(ok=False).err


@pytest.mark.parametrize("policy, word", [
    ({"mode": "MPOL_BIND"}, "linux.memoryPolicy.nodes"),
    ({"mode": "MPOL_LOCAL", "nodes": "0"}, "linux.memoryPolicy.nodes"),
    ({"mode": "MPOL_BIND", "nodes": "1023"}, "linux.memoryPolicy"),
    ({"mode": "MPOL_NONE"}, "linux.memoryPolicy.mode"),
    ({"nodes": "0"}, "linux.memoryPolicy.mode")])
def test_wrong_memory_policies_name_their_field(container, policy, word):
    c = container(["true"], changes={"linux": {"memoryPolicy": policy}})
    assert word in c.run(ok=False).err
