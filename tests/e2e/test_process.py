"""The fields of `process`, and what else decides what a process is like: seen from inside, by what
it prints, and from outside, by /proc/PID."""

import json
import os
import re
import signal
import socket
import stat
import subprocess

import pytest

from lib import config, needs, proc

ID = "id -u; id -g; id -G; umask"


def process(**fields):
    """Changes for a config: these fields of its process."""
    return {"process": fields}


def status(pid):
    """/proc/PID/status as a dict."""
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def cap_sets(text):
    return {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s*(\w+)", text, re.M)}


def read(path):
    with open(path) as f:
        return f.read()


def limits(pid):
    """{name: (soft, hard)} of /proc/PID/limits."""
    found = {}
    for line in read(f"/proc/{pid}/limits").splitlines()[1:]:
        name, soft, hard = re.match(r"(.+?)\s{2,}(\S+)\s+(\S+)", line).groups()
        found[name] = (soft, hard)
    return found


# args, env, cwd

def test_arguments_arrive_as_they_are(container):
    words = ["", "two words", "*", "$HOME", "\"", "é", "-x"]
    c = container(["sh", "-c", 'for a; do echo "<$a>"; done', "sh", *words])
    assert c.run().out.splitlines() == [f"<{w}>" for w in words]


def test_the_environment_is_what_was_asked_for_and_home(container):
    c = container(["env"], changes=process(env=["PATH=/bin", "EMPTY=", "A=1=2"]))
    assert sorted(c.run().out.splitlines()) == ["A=1=2", "EMPTY=", "HOME=/root", "PATH=/bin"]


@pytest.mark.parametrize("uid, home", [(0, "/root"), (1000, "/home/user"), (4711, "/")])
def test_home_comes_from_the_containers_own_passwd(container, uid, home):
    c = container(["env"], changes=process(env=["PATH=/bin"], user={"uid": uid, "gid": 0}))
    assert f"HOME={home}\n" in c.run().out


def test_home_given_is_home(container):
    c = container(["sh", "-c", "echo $HOME"], changes=process(env=["PATH=/bin", "HOME=/elsewhere"]))
    assert c.run().out == "/elsewhere\n"


def test_the_program_is_looked_for_in_the_path_of_the_container(container):
    c = container(["tool"], changes=process(env=["PATH=/nowhere:/opt/tools"]))
    os.makedirs(c.host_path("/opt/tools"))
    with open(c.host_path("/opt/tools/tool"), "w") as f:
        f.write("#!/bin/sh\necho found\n")
    os.chmod(c.host_path("/opt/tools/tool"), 0o755)
    assert c.run().out == "found\n"


def test_a_program_that_is_not_there_is_an_error_of_create(container):
    c = container(["no-such-program"])
    err = c.create(ok=False).err
    assert "no-such-program" in err and "not found in $PATH" in err
    assert not c.exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc"])
def test_what_cannot_be_executed_is_an_error_of_create(container, path):
    assert "ermission denied" in container([path]).create(ok=False).err


def test_the_working_directory(container):
    c = container(["pwd"], changes=process(cwd="/var/log"))
    assert c.run().out == "/var/log\n"


def test_a_missing_working_directory_is_made(container):
    c = container(["sh", "-c", "pwd; stat -c %u:%a ."], changes=process(cwd="/a/b"))
    assert c.run().out.splitlines() == ["/a/b", "0:755"]


def test_a_working_directory_that_is_a_file_is_an_error(container):
    c = container(["pwd"], changes=process(cwd="/etc/passwd"))
    assert "'process.cwd'" in c.run(ok=False).err


def test_a_working_directory_only_its_user_may_enter(container):
    c = container(["sh", "-c", "pwd"],
                  changes=process(cwd="/home/user/own", user={"uid": 1000, "gid": 1000}))
    os.makedirs(c.host_path("/home/user/own"))
    os.chown(c.host_path("/home/user/own"), 1000, 1000)
    os.chmod(c.host_path("/home/user/own"), 0o700)
    assert c.run().out == "/home/user/own\n"


def test_a_working_directory_its_user_may_not_enter_is_no_error_for_root(container):
    """As in runc: root enters first."""
    c = container(["true"], changes=process(cwd="/closed", user={"uid": 1000, "gid": 1000}))
    os.makedirs(c.host_path("/closed"))
    os.chmod(c.host_path("/closed"), 0o700)
    c.run()


def test_the_exit_status_is_that_of_the_process(container):
    assert container(["sh", "-c", "exit 42"]).run(ok=False).code == 42
    by_signal = container(["sh", "-c", "sleep 1000 & kill -KILL $!; wait $!"])
    assert by_signal.run(ok=False).code == 128 + signal.SIGKILL  # the shell's own way to tell


# user

def test_user_groups_and_umask(container):
    c = container(["sh", "-c", ID], changes=process(
        user={"uid": 1000, "gid": 1001, "additionalGids": [5, 500], "umask": 0o027}))
    assert c.run().out.splitlines() == ["1000", "1001", "1001 5 500", "0027"]


def test_user_groups_and_umask_from_outside(running):
    c = running(changes=process(
        user={"uid": 1000, "gid": 1001, "additionalGids": [5, 500], "umask": 0o077}))
    seen = status(c.pid)
    assert seen["Uid"].split() == ["1000"] * 4
    assert seen["Gid"].split() == ["1001"] * 4
    assert seen["Groups"].split() == ["5", "500"]
    assert int(seen["Umask"], 8) == 0o077


def test_without_a_word_the_umask_is_the_usual_one_and_groups_are_none(running):
    c = running()
    assert int(status(c.pid)["Umask"], 8) == 0o022
    assert status(c.pid)["Groups"].strip() == ""


# capabilities

KILL, CHOWN, BIND = 1 << 5, 1 << 0, 1 << 10


def test_each_set_of_capabilities_is_set_by_itself(running):
    c = running(changes=process(capabilities={
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_CHOWN"],
        "effective": ["CAP_KILL"], "ambient": ["CAP_CHOWN"]},
        user={"uid": 1000, "gid": 1000}))
    seen = cap_sets(read(f"/proc/{c.pid}/status"))
    # execve of a program without file capabilities leaves what is ambient.
    assert seen == {"Bnd": KILL | CHOWN | BIND, "Inh": CHOWN, "Amb": CHOWN, "Prm": CHOWN,
                    "Eff": CHOWN}
    assert cap_sets(c.exec("cat", "/proc/1/status").out) == seen


def test_root_gets_its_bounding_set(container):
    c = container(["cat", "/proc/self/status"], changes=process(capabilities={
        "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}))
    seen = cap_sets(c.run().out)
    assert seen == {"Bnd": KILL, "Inh": 0, "Amb": 0, "Prm": KILL, "Eff": KILL}


def test_another_user_without_ambient_capabilities_has_none(container):
    c = container(["cat", "/proc/self/status"], changes=process(user={"uid": 1000, "gid": 1000}))
    seen = cap_sets(c.run().out)
    assert (seen["Eff"], seen["Prm"], seen["Amb"]) == (0, 0, 0)
    assert seen["Bnd"] != 0


@pytest.mark.parametrize("capabilities", [{}, {"bounding": []}])
def test_an_empty_object_takes_all_capabilities_away(container, capabilities):
    c = container(["cat", "/proc/self/status"])
    c.config["process"]["capabilities"] = capabilities
    assert set(cap_sets(c.run().out).values()) == {0}


def test_unknown_capabilities_are_warned_of(container):
    c = container(["true"], changes=process(capabilities={"bounding": ["CAP_KILL", "CAP_FLY"]}))
    assert "CAP_FLY" in c.run().err


def test_ambient_without_permitted_is_said(container):
    c = container(["true"], changes=process(capabilities={"bounding": ["CAP_KILL"],
                                                          "ambient": ["CAP_KILL"]}))
    result = c.run(ok=None)
    assert "ambient" in result.err.lower()


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges(running, wanted):
    c = running(changes=process(noNewPrivileges=wanted))
    assert status(c.pid)["NoNewPrivs"] == str(int(wanted))
    assert f"NoNewPrivs:\t{int(wanted)}\n" in c.exec("cat", "/proc/self/status").out


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


# Descriptors

LIST_FDS = ["sh", "-c", "ls /proc/self/fd | sort -n | tr '\\n' ' '; cat <&3; echo; env"]


@pytest.fixture
def two_files(work):
    """Descriptors 3 and 4 for a command run by `shell`."""
    for number in (3, 4):
        with open(f"{work}/file{number}", "w") as f:
            f.write(f"file {number}")
    return f"3<{work}/file3 4<{work}/file4"


def with_files(c, redirections, *words, env=""):
    """Runs the runtime by a shell that opens the descriptors."""
    command = " ".join(f"'{w}'" for w in c.argv(*words))
    return proc.run(["sh", "-c", f"{env} exec {command} {redirections}"], ok=None)


def test_no_descriptor_gets_in_unasked(container, two_files):
    c = container(["sh", "-c", "ls /proc/self/fd | sort -n | tr '\\n' ' '"])
    c.write_config()
    assert with_files(c, two_files, "run", "-b", c.dir, c.id).out == "0 1 2 3 "  # 3: ls's own


def test_preserved_descriptors_get_in(container, two_files):
    c = container(["sh", "-c", "cat <&3; echo; cat <&4"])
    c.write_config()
    assert with_files(c, two_files, "run", "--preserve-fds", "2", "-b", c.dir,
                      c.id).out == "file 3\nfile 4"


def test_only_as_many_descriptors_as_asked_for_get_in(container, two_files):
    c = container(["sh", "-c", "cat <&3; echo; cat <&4"])
    c.write_config()
    result = with_files(c, two_files, "run", "--preserve-fds", "1", "-b", c.dir, c.id)
    assert result.out == "file 3\n" and result.code != 0


def test_descriptors_that_are_not_there_cannot_be_preserved(container):
    c = container(["true"])
    assert "preserve" in c.run("--preserve-fds", "3", ok=False).err


def test_sockets_of_activation_get_in_with_their_variables(container, two_files):
    c = container(["sh", "-c", "cat <&3; echo; env | grep ^LISTEN | sort; cat <&4"])
    c.write_config()
    result = with_files(c, two_files, "run", "-b", c.dir, c.id, env="LISTEN_FDS=1")
    assert result.out.splitlines() == ["file 3", "LISTEN_FDS=1", "LISTEN_PID=1"]
    c.config["process"]["args"][2] = "cat <&3; echo; cat <&4"
    c.write_config()
    assert with_files(c, two_files, "run", "--preserve-fds", "1", "-b", c.dir, c.id,
                      env="LISTEN_FDS=1").out == "file 3\nfile 4"


def test_the_pid_of_activation_is_that_of_the_process_in_its_namespace(container, two_files):
    c = container(["sh", "-c", "echo $$; echo $LISTEN_PID"])
    config.drop_namespace(c.config, "pid")
    c.write_config()
    pid, named = with_files(c, two_files, "run", "-b", c.dir, c.id, env="LISTEN_FDS=1").out.split()
    assert pid == named


def test_exec_hands_descriptors_over(running, two_files):
    c = running()
    assert with_files(c, two_files, "exec", "--preserve-fds", "2", c.id, "sh", "-c",
                      "cat <&3; echo; cat <&4").out == "file 3\nfile 4"
    assert with_files(c, two_files, "exec", c.id, "sh", "-c",
                      "echo $(ls /proc/self/fd)").out == "0 1 2 3\n"
    pid, named, text = with_files(c, two_files, "exec", c.id, "sh", "-c",
                                  "echo $$; echo $LISTEN_PID; cat <&3",
                                  env="LISTEN_FDS=1").out.splitlines()
    assert (pid, text) == (named, "file 3")


def test_a_closed_stdin_is_no_problem(container):
    c = container(["echo", "fine"])
    c.write_config()
    command = " ".join(c.argv("run", "-b", c.dir, c.id))
    assert proc.run(["sh", "-c", f"exec {command} <&-"]).out == "fine\n"


# Files and sockets for whoever called

def test_the_pid_file_of_create_names_the_process(container):
    c = container(["sleep", "1000"])
    c.create()
    assert read(c.pid_file) == str(c.state()["pid"])
    assert stat.S_IMODE(os.stat(c.pid_file).st_mode) == 0o644


def test_a_pid_file_that_cannot_be_written_is_an_error_and_leaves_nothing(container):
    c = container(["sleep", "1000"])
    c.write_config()
    result = c.rt("create", "-b", c.dir, "--pid-file", c.dir + "/no/such/pid", c.id, ok=False)
    assert "no/such/pid" in result.err
    assert not c.exists()


class FdSocket:
    """A unix socket that takes one descriptor."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(1)
        self.socket.settimeout(20)

    def receive(self):
        connection, _ = self.socket.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        return fds[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        os.unlink(self.path)


def pid_of_pidfd(fd):
    return int(re.search(r"^Pid:\s*(-?\d+)", read(f"/proc/self/fdinfo/{fd}"), re.M).group(1))


def test_pidfds_are_sent_for_init_and_for_exec(container):
    c = container(["sleep", "1000"])
    with FdSocket(c.dir + "/pidfd") as sock:
        c.run_detached("--pidfd-socket", sock.path)
        fd = sock.receive()
        assert pid_of_pidfd(fd) == c.pid
        os.close(fd)
        c.exec("sleep", "1000", flags=["--detach", "--pidfd-socket", sock.path, "--pid-file",
                                       c.dir + "/exec-pid"])
        fd = sock.receive()
        assert pid_of_pidfd(fd) == int(read(c.dir + "/exec-pid"))
        os.close(fd)


def test_annotations_are_in_the_state(running):
    c = running(changes={"annotations": {"org.example.key": "value", "org.example.empty": ""}})
    assert c.state()["annotations"] == {"org.example.key": "value", "org.example.empty": ""}


def test_the_config_can_stand_elsewhere(container):
    c = container(["echo", "from the bundle"])
    c.write_config()
    c.config["process"]["args"] = ["echo", "from elsewhere"]
    with open(c.dir + "/other.json", "w") as f:
        json.dump(c.config, f)
    assert c.rt("run", "-b", c.dir, "--config", c.dir + "/other.json",
                c.id).out == "from elsewhere\n"


def test_the_bundle_is_the_working_directory_unless_named(container):
    c = container(["echo", "hello"])
    c.write_config()
    assert c.rt("run", c.id, cwd=c.dir).out == "hello\n"


def test_keyrings(container):
    keys = read("/proc/keys") if os.path.exists("/proc/keys") else ""
    if "keyring" not in keys:
        pytest.skip("this kernel has no keyrings")
    for flags, expected in (([], True), (["--no-new-keyring"], False)):
        c = container(["cat", "/proc/keys"])
        c.config["linux"]["maskedPaths"] = []
        assert (f"_ses.{c.id}" in c.run(*flags).out) == expected


# root, and its size in ways

def test_a_read_only_root(container):
    c = container(["touch", "/file"], changes={"root": {"readonly": True}})
    assert "Read-only file system" in c.run(ok=False).err


def test_a_root_elsewhere_and_by_symlink(container):
    c = container(["cat", "/etc/hostname"])
    os.rename(c.rootfs, c.dir + "/tree")
    os.symlink("tree", c.dir + "/link")
    for path in ("tree", c.dir + "/tree", "link", "./tree/../tree"):
        c.config["root"]["path"] = path
        assert c.run().out == "container\n"


@pytest.mark.parametrize("path", ["nowhere", "config.json", ""])
def test_a_root_that_is_none_is_an_error(container, path):
    c = container(["true"])
    c.config["root"]["path"] = path
    result = c.run(ok=False)
    assert "root" in result.err


# exec

def test_exec_options_change_the_process(running):
    c = running(["sleep", "1000"])
    out = c.exec("sh", "-c", ID + "; pwd; echo $MARK-$TERM", flags=[
        "--user", "1000:1001", "--additional-gids", "5", "-g", "500", "--cwd", "/var", "--env",
        "MARK=here", "-e", "TERM=dumb"]).out
    assert out.splitlines() == ["1000", "1001", "1001 5 500", "0022", "/var", "here-dumb"]


def test_variables_given_to_exec_replace_those_of_the_container(running):
    c = running()
    lines = c.exec("env", flags=["--env", "TERM=dumb", "-e", "A=1", "-e", "A=2", "-e",
                                 "PATH=/usr/bin:/bin"]).out.splitlines()
    assert sorted(lines) == ["A=2", "HOME=/root", "PATH=/usr/bin:/bin", "TERM=dumb"]


def test_exec_by_uid_alone_keeps_the_group(running):
    c = running(changes=process(user={"uid": 0, "gid": 7}))
    assert c.exec("sh", "-c", "id -u; id -g", flags=["--user", "33"]).out.split() == ["33", "7"]


@pytest.mark.parametrize("user", ["root", "1000:", ":5", "-1", "99999999999"])
def test_exec_users_that_are_none(running, user):
    result = running().exec("true", flags=["--user", user], ok=False)
    assert result.code == 255 and f"'{user}'" in result.err


def test_exec_with_one_more_capability(running):
    c = running(changes=process(noNewPrivileges=False))
    without = cap_sets(c.exec("cat", "/proc/self/status").out)
    with_it = cap_sets(c.exec("cat", "/proc/self/status", flags=["--cap", "CAP_CHOWN"]).out)
    assert with_it["Bnd"] == without["Bnd"] | CHOWN
    assert with_it["Eff"] == without["Eff"] | CHOWN
    assert cap_sets(read(f"/proc/{c.pid}/status"))["Bnd"] == without["Bnd"]


def test_exec_with_and_without_new_privileges(running):
    c = running(changes=process(noNewPrivileges=False))
    grep = ["grep", "NoNewPrivs", "/proc/self/status"]
    assert c.exec(*grep).out.split()[1] == "0"
    assert c.exec(*grep, flags=["--no-new-privs"]).out.split()[1] == "1"


def test_exec_passes_exit_statuses_on(running):
    c = running()
    assert c.exec("sh", "-c", "exit 7", ok=None).code == 7
    assert c.exec("sh", "-c", "kill -KILL $$", ok=None).code == 128 + 9
    assert c.exec("no-such-program", ok=None).code == 255


def test_exec_reads_standard_input(running):
    assert running().exec("cat", stdin="some text\n").out == "some text\n"


def test_flags_of_other_runtimes_callers(running):
    """containerd's shim writes this one with a single dash."""
    c = running()
    assert c.exec("echo", "in", flags=["-no-subreaper"]).out == "in\n"
    assert c.exec("echo", "in", flags=["--user=33", "-cwd=/etc"]).out == "in\n"


def test_exec_detached(running):
    c = running()
    c.exec("sh", "-c", "sleep 1000", flags=["-d", "--pid-file", c.dir + "/exec-pid"])
    pid = int(read(c.dir + "/exec-pid"))
    assert proc.alive(pid)
    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{c.pid}/ns/pid")


def test_exec_of_a_process_file(running):
    c = running(changes=process(capabilities={"bounding": ["CAP_CHOWN"],
                                              "permitted": ["CAP_CHOWN"],
                                              "effective": ["CAP_CHOWN"]}))
    with open(c.dir + "/process.json", "w") as f:
        json.dump({"args": ["sh", "-c", f"{ID}; pwd; echo $A; grep CapEff /proc/self/status"],
                   "env": ["PATH=/bin", "A=b"], "cwd": "/etc", "user": {"uid": 0, "gid": 3},
                   "oomScoreAdj": 900}, f)
    lines = c.rt("exec", "--process", c.dir + "/process.json", c.id).out.splitlines()
    assert lines[:3] == ["0", "3", "3"] and lines[4:6] == ["/etc", "b"]
    assert int(lines[6].split()[1], 16) == CHOWN  # silent about them: the container's


@pytest.mark.parametrize("text, word", [
    ("{", "process.json"), ("[]", "process.json"), ('{"args": ["x"]}', "cwd"),
    ('{"cwd": "/"}', "args"), ('{"cwd": "/", "args": ["x"], "user": 5}', "user")])
def test_wrong_process_files_name_what_is_wrong(running, text, word):
    c = running()
    with open(c.dir + "/process.json", "w") as f:
        f.write(text)
    result = c.rt("exec", "--process", c.dir + "/process.json", c.id, ok=False)
    assert result.code == 255 and word in result.err


def test_exec_takes_a_command_or_a_file_but_one(running):
    c = running()
    assert "nothing to execute" in c.exec(ok=False).err
    assert "exclude" in c.exec("true", flags=["--process", "x"], ok=False).err


def test_exec_in_a_paused_container(running):
    c = running()
    c.pause()
    assert "paused" in c.exec("true", ok=False).err
    child = proc.start(c.argv("exec", "--ignore-paused", c.id, "sh", "-c", "exit 5"))
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    c.resume()
    assert child.wait(20) == 5


def test_exec_in_a_container_that_is_only_created(container):
    c = container(["sleep", "1000"])
    c.create()
    assert c.exec("echo", "in").out == "in\n"
    assert c.status == "created"


def test_exec_in_a_stopped_container_is_an_error(running):
    c = running(["true"])
    c.wait_stopped()
    assert "container not running" in c.exec("true", ok=False).err


def test_exec_labels_are_errors_without_their_security_modules(running):
    c = running()
    if not os.path.exists("/sys/kernel/security/apparmor/profiles"):
        assert "pparmor" in c.exec("true", flags=["--apparmor", "p"], ok=False).err
    if not os.path.exists("/sys/fs/selinux/enforce"):
        assert "elinux" in c.exec("true", flags=["--process-label", "l"], ok=False).err


def test_exec_has_the_namespaces_of_the_container(running):
    c = running()
    mine = c.exec("sh", "-c", "for n in /proc/self/ns/*; do readlink $n; done").out.split()
    inits = c.exec("sh", "-c", "for n in /proc/1/ns/*; do readlink $n; done").out.split()
    assert mine == inits


def test_exec_leaves_no_process_of_the_runtime_to_the_container(running):
    """Nothing but init, and our own ps."""
    c = running()
    c.exec("true")
    assert len(c.exec("ps", "-o", "pid").out.split()) == 3


def test_signals_reach_the_process_through_a_foreground_run(container):
    c = container(["sh", "-c", "trap 'echo got it; exit 9' USR1; echo up; "
                               "while :; do sleep 0.05; done"])
    c.write_config()
    with open(c.stdout, "w") as out:
        child = proc.start(c.argv("run", "-b", c.dir, c.id), stdout=out.fileno())
    c.wait_output("up\n")
    child.send_signal(signal.SIGUSR1)
    assert child.wait(20) == 9
    assert c.output == "up\ngot it\n"


def signals(text):
    return {name: int(mask, 16) for name, mask in re.findall(r"^Sig(Blk|Ign):\s*(\w+)", text, re.M)}


def ignoring(c, *words, **how):
    """Runs the runtime as a caller would that ignores and blocks signals."""
    script = ("import os, signal, sys\n"
              "for s in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):\n"
              "    signal.signal(s, signal.SIG_IGN)\n"
              "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])\n"
              "os.execv(sys.argv[1], sys.argv[1:])\n")
    return proc.run(["/usr/bin/python3", "-c", script, *c.argv(*words)], **how)


def test_signals_that_the_caller_ignores_or_blocks_are_not_the_containers_affair(container):
    c = container(["cat", "/proc/self/status"])
    c.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": [
        "sh", "-c", f"cat /proc/self/status >{c.dir}/hook"], "env": ["PATH=/bin:/usr/bin"]}]}
    c.write_config()
    none = {"Blk": 0, "Ign": 0}
    assert signals(ignoring(c, "run", "-b", c.dir, c.id).out) == none
    assert signals(read(c.dir + "/hook")) == none
    c.config["process"]["args"] = ["sleep", "1000"]
    c.write_config()
    with open(c.stdout, "w") as out:
        ignoring(c, "create", "-b", c.dir, c.id, stdout=out.fileno())
    ignoring(c, "start", c.id)
    assert signals(read(f"/proc/{c.state()['pid']}/status")) == none
    assert signals(ignoring(c, "exec", c.id, "cat", "/proc/self/status").out) == none


def test_a_signal_that_the_caller_ignores_is_not_passed_on(container):
    """nohup: a hangup is no reason to end."""
    c = container(["sh", "-c", "echo up; sleep 0.5; exit 3"])
    c.write_config()
    with open(c.stdout, "w") as out:
        child = proc.start(["nohup", *c.argv("run", "-b", c.dir, c.id)], stdout=out.fileno())
    c.wait_output("up")
    child.send_signal(signal.SIGHUP)
    assert child.wait(20) == 3


def test_run_keep_leaves_the_container(container):
    c = container(["true"])
    c.run("--keep")
    assert c.status == "stopped"
    c.delete()


def test_an_orphan_of_the_container_does_not_hold_up_run(container):
    """run is a subreaper: without a PID namespace orphans come to it."""
    c = container(["sh", "-c", "sleep 1000 & echo done"])
    config.drop_namespace(c.config, "pid")
    assert c.run(timeout=20).out == "done\n"
