"""linux.seccomp: what a filter answers, for whom, and where its programs and listeners go.

Most tests let `call` (call.c) make one system call in a container: umask mostly, which does no harm
and takes one argument."""

import array
import errno
import fcntl
import json
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import threading

import pytest

from lib import config, needs, proc

HERE = os.path.dirname(os.path.abspath(__file__))
SIGSYS = 128 + signal.SIGSYS
UMASK = {"x86_64": 95, "aarch64": 166}.get(platform.machine())
GETPID_I386, UMASK_I386 = 20, 60
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}.get(platform.machine())

pytestmark = pytest.mark.skipif(UMASK is None, reason="the tests know the numbers of x86_64 and "
                                                      "aarch64 only")


@pytest.fixture(scope="session")
def call_program(templates):
    path = templates + "/call"
    if not os.path.exists(path):
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-o", path,
                        HERE + "/call.c"], check=True)
    return path


def rule(action, *names, args=None, **more):
    entry = {"names": list(names), "action": "SCMP_ACT_" + action, **more}
    if args is not None:
        entry["args"] = [{"index": i, "value": value, "op": "SCMP_CMP_" + op,
                          **({"valueTwo": rest[0]} if rest else {})}
                         for i, op, value, *rest in args]
    return entry


def profile(*rules, default="ALLOW", **more):
    return {"defaultAction": "SCMP_ACT_" + default, "syscalls": list(rules), **more}


@pytest.fixture
def filtered(container, call_program):
    """A container with the filter, in which `call` can be run."""
    def make(seccomp, args=("sleep", "1000"), **how):
        c = container(list(args), **how)
        proc.run(["cp", call_program, c.host_path("/bin/call")])
        c.config["linux"]["seccomp"] = seccomp
        return c
    return make


@pytest.fixture
def answer(filtered):
    """What one call gets in a container with the filter."""
    def ask(seccomp, *words):
        result = filtered(seccomp, ["call", *map(str, words)]).run(ok=None)
        return result.out.strip() if result.code == 0 else result.code
    return ask


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


# Actions

@pytest.mark.parametrize("action, more, expected", [
    ("ERRNO", {}, str(errno.EPERM)), ("ERRNO", {"errnoRet": 42}, "42"),
    ("ERRNO", {"errnoRet": 0}, "ok 0"), ("KILL", {}, SIGSYS), ("KILL_THREAD", {}, SIGSYS),
    ("KILL_PROCESS", {}, SIGSYS), ("TRAP", {}, SIGSYS),
    ("TRACE", {}, str(errno.ENOSYS)),  # where nobody traces
    ("TRACE", {"errnoRet": 5}, str(errno.ENOSYS)), ("LOG", {}, "ok 18"), ("ALLOW", {}, "ok 18")])
def test_actions(answer, action, more, expected):
    assert answer(profile(rule(action, "umask", **more)), UMASK, 0o77) == expected


# All that a static `call` needs, and its start.
NEEDED = ["execve", "exit_group", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "prlimit64",
          "set_tid_address", "set_robust_list", "rseq", "readlink", "readlinkat", "getrandom",
          "fstat", "newfstatat", "write", "uname", "ioctl", "rt_sigaction", "rt_sigprocmask"]


@pytest.mark.parametrize("default, more, expected", [
    ("ERRNO", {}, str(errno.EPERM)), ("ERRNO", {"defaultErrnoRet": 38}, "38"),
    ("KILL_PROCESS", {}, SIGSYS), ("KILL", {}, SIGSYS), ("TRAP", {}, SIGSYS), ("LOG", {}, "ok 18")])
def test_default_actions(answer, default, more, expected):
    assert answer(profile(rule("ALLOW", *NEEDED), default=default, **more), UMASK, 0) == expected


def test_syscalls_newer_than_the_profile_get_enosys_not_the_default(answer):
    """A program can then fall back to an older one, as on an older kernel."""
    seccomp = profile(rule("ALLOW", *NEEDED), default="ERRNO")
    assert answer(seccomp, UMASK, 0) == str(errno.EPERM)
    assert answer(seccomp, 5000) == str(errno.ENOSYS)


def test_names_nobody_knows_are_passed_over(answer):
    assert answer(profile(rule("ERRNO", "no_such_syscall", "umask", errnoRet=7)), UMASK, 0) == "7"


# Arguments

@pytest.mark.parametrize("op, value, refused", [
    ("EQ", 3, {3}), ("NE", 3, {0, 1, 2, 4, 5, 6, 7}), ("LT", 3, {0, 1, 2}),
    ("LE", 3, {0, 1, 2, 3}), ("GT", 3, {4, 5, 6, 7}), ("GE", 3, {3, 4, 5, 6, 7})])
def test_comparisons(filtered, op, value, refused):
    assert refused_masks(filtered, [(0, op, value)]) == refused


def refused_masks(filtered, *arguments):
    """Which of umask(0) to umask(7) the rules with these arguments refuse."""
    c = filtered(profile(*[rule("ERRNO", "umask", args=args, errnoRet=99) for args in arguments]),
                 ["sh", "-c", f"for i in 0 1 2 3 4 5 6 7; do call {UMASK} $i; done"])
    lines = c.run().out.splitlines()
    assert len(lines) == 8
    return {i for i, line in enumerate(lines) if line == "99"}


def test_masked_comparisons(filtered):
    assert refused_masks(filtered, [(0, "MASKED_EQ", 5, 4)]) == {4, 6}


def test_several_rules_of_one_syscall_are_alternatives(filtered):
    assert refused_masks(filtered, [(0, "EQ", 1)], [(0, "EQ", 6)]) == {1, 6}


def test_several_conditions_on_one_argument_are_alternatives(filtered):
    """As in runc, whatever the specification's words: profiles in use rely on it."""
    assert refused_masks(filtered, [(0, "EQ", 1), (0, "EQ", 6)]) == {1, 6}


def test_conditions_on_several_arguments_must_all_hold(filtered):
    c = filtered(profile(rule("ERRNO", "kill", args=[(0, "EQ", 1), (1, "EQ", 0)], errnoRet=99)),
                 ["sh", "-c", "sleep 100 & kill -0 1; echo $?; kill -0 $! && echo other; "
                              "kill -CONT 1 && echo signal; kill $!"])
    assert c.run().out.split() == ["1", "other", "signal"]


def test_values_of_64_bits(answer):
    big = (1 << 63) + 5
    seccomp = profile(rule("ERRNO", "umask", args=[(0, "EQ", big)], errnoRet=99))
    assert answer(seccomp, UMASK, big) == "99"
    assert answer(seccomp, UMASK, 5) == "ok 18"


# Who has the filter

def test_the_filter_is_seen_from_outside_and_privileges_stay_as_they_were(filtered):
    for no_new_privileges in (True, False):
        c = filtered(profile(rule("ERRNO", "umask")))
        c.config["process"]["noNewPrivileges"] = no_new_privileges
        c.run_detached()
        seen = status_of(c.pid)
        assert seen["Seccomp"] == "2"
        assert seen["NoNewPrivs"] == str(int(no_new_privileges))
        assert not int(seen["CapEff"], 16) >> 21 & 1  # CAP_SYS_ADMIN was for the loading only
        assert not int(seen["CapBnd"], 16) >> 21 & 1


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_another_user_has_it_too(filtered, no_new_privileges):
    c = filtered(profile(rule("ERRNO", "umask", errnoRet=99)), ["call", str(UMASK), "0"])
    c.config["process"]["noNewPrivileges"] = no_new_privileges
    c.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    assert c.run().out == "99\n"


def test_in_a_user_namespace(filtered):
    c = filtered(profile(rule("ERRNO", "umask", errnoRet=99)), ["call", str(UMASK), "0"])
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.config["process"]["noNewPrivileges"] = False
    assert c.run().out == "99\n"


def test_exec_has_the_filter(filtered):
    c = filtered(profile(rule("ERRNO", "umask", errnoRet=99)))
    c.run_detached()
    assert c.exec("call", UMASK, 0).out == "99\n"
    assert c.exec("call", UMASK, 0, flags=["--user", "1000"]).out == "99\n"


def test_a_filter_that_forbids_what_starting_takes_still_starts(filtered):
    """All that rt does itself after the fork, but for execve."""
    forbidden = ["mount", "setns", "unshare", "pivot_root", "chroot", "setuid", "setresuid",
                 "setgroups", "capset", "prctl", "seccomp", "accept", "accept4", "recvmsg",
                 "sendmsg", "chdir", "openat", "open", "close_range", "setrlimit"]
    c = filtered(profile(rule("KILL_PROCESS", *forbidden)), ["call", str(UMASK), "0"])
    assert c.run().out == "ok 18\n"
    c.create()
    c.start()
    proc.eventually(lambda: c.status == "stopped")
    assert c.output == "ok 18\n"


@pytest.mark.parametrize("seccomp", [None, {}, {"syscalls": []}])
def test_no_filter_is_no_filter(filtered, seccomp):
    c = filtered(seccomp)
    if seccomp is None:
        del c.config["linux"]["seccomp"]
    c.run_detached()
    assert status_of(c.pid)["Seccomp"] == "0"


# Architectures

def i386_works(call_program):
    if platform.machine() != "x86_64":
        return False
    result = subprocess.run([call_program, "--i386", str(GETPID_I386)], capture_output=True,
                            text=True, check=False)
    return result.stdout.startswith("ok")


def test_architectures_that_are_not_listed_are_shut(answer, call_program):
    if not i386_works(call_program):
        pytest.skip("no 32-bit system calls here")
    seccomp = profile(rule("ERRNO", "umask", errnoRet=99), architectures=["SCMP_ARCH_X86_64"])
    assert answer(seccomp, "--i386", GETPID_I386) == SIGSYS
    assert answer(seccomp, UMASK, 0) == "99"


def test_rules_hold_for_each_architecture(answer, call_program):
    if not i386_works(call_program):
        pytest.skip("no 32-bit system calls here")
    seccomp = profile(rule("ERRNO", "umask", errnoRet=99),
                      architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
    assert answer(seccomp, "--i386", UMASK_I386, 0) == "99"
    assert answer(seccomp, "--i386", GETPID_I386) == "ok 1"
    assert answer(seccomp, UMASK, 0) == "99"


def test_the_native_architecture_need_not_be_listed(answer):
    assert answer(profile(rule("ERRNO", "umask", errnoRet=99), architectures=["SCMP_ARCH_ARM"]),
                  UMASK, 0) == "99"


# Flags

@pytest.mark.parametrize("flags", [[], ["LOG"], ["SPEC_ALLOW"], ["TSYNC"],
                                   ["LOG", "SPEC_ALLOW", "TSYNC"]])
def test_flags(answer, flags):
    seccomp = profile(rule("ERRNO", "umask", errnoRet=99),
                      flags=["SECCOMP_FILTER_FLAG_" + flag for flag in flags])
    assert answer(seccomp, UMASK, 0) == "99"


def test_a_flag_of_listeners_without_one_is_warned_of(filtered):
    c = filtered(profile(rule("ERRNO", "umask"),
                         flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), ["true"])
    assert "WAIT_KILLABLE_RECV" in c.run().err


def test_features_tell_what_there_is(rt):
    features = json.loads(rt("features").out)["linux"]["seccomp"]
    assert features["enabled"]
    assert {"SCMP_ACT_NOTIFY", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS"} <= set(features["actions"])
    assert NATIVE in features["archs"]
    assert "SECCOMP_FILTER_FLAG_LOG" in features["supportedFlags"]


# The cache of programs

def cached(c):
    directory = c.root + "/@seccomp"
    return {name: os.stat(f"{directory}/{name}") for name in os.listdir(directory)}


def test_the_second_start_compiles_nothing(filtered):
    seccomp = profile(rule("ERRNO", "umask", errnoRet=99))
    first = filtered(seccomp, ["call", str(UMASK), "0"])
    assert first.run().out == "99\n"
    before = cached(first)
    assert len(before) == 1
    second = filtered(seccomp, ["call", str(UMASK), "0"])
    assert second.run().out == "99\n"
    after = cached(second)
    assert [(s.st_ino, s.st_mtime_ns) for s in before.values()] == [
        (s.st_ino, s.st_mtime_ns) for s in after.values()]


def test_the_program_in_the_cache_is_the_one_that_is_loaded(filtered):
    """Shown by exchanging two of them."""
    runs = {value: filtered(profile(rule("ERRNO", "umask", errnoRet=value)),
                            ["call", str(UMASK), "0"]) for value in (98, 99)}
    names = {}
    for value, c in runs.items():
        known = set(cached(c)) if names else set()
        assert c.run().out == f"{value}\n"
        names[value] = (set(cached(c)) - known).pop()
    directory = runs[98].root + "/@seccomp"
    os.rename(f"{directory}/{names[98]}", directory + "/x")
    os.rename(f"{directory}/{names[99]}", f"{directory}/{names[98]}")
    os.rename(directory + "/x", f"{directory}/{names[99]}")
    c = runs[98]
    assert c.run().out == "99\n"
    c.config["process"]["args"] = ["sleep", "1000"]
    c.run_detached()
    assert c.exec("call", UMASK, 0).out == "99\n"


@pytest.mark.parametrize("harm", ["truncate", "scribble", "permit"])
def test_a_harmed_program_is_compiled_again(filtered, harm):
    c = filtered(profile(rule("ERRNO", "umask", errnoRet=99)), ["call", str(UMASK), "0"])
    c.run()
    path = c.root + "/@seccomp/" + next(iter(cached(c)))
    with open(path, "r+b") as f:
        if harm == "truncate":
            f.truncate(50)
        elif harm == "scribble":
            f.seek(-8, os.SEEK_END)
            f.write(struct.pack("HBBI", 6, 0, 0, 0x7fff0000))  # return ALLOW
        else:
            os.fchmod(f.fileno(), 0o666)
    assert c.run().out == "99\n"
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_the_cache_is_ours_alone_and_no_container(filtered):
    c = filtered(profile(rule("ERRNO", "umask")), ["true"])
    c.run()
    assert os.stat(c.root + "/@seccomp").st_mode & 0o777 == 0o700
    assert c.rt("list", "-q").out == ""


# Listeners

RECEIVE, SEND, NOTIFICATION, RESPONSE = 0xC0502100, 0xC0182101, 80, 24
CONTINUE = 1


class Agent:
    """Who listens at listenerPath, in a thread: takes one listener after the other and answers
    every call with `reply(nr, args)`: (value, error, flags)."""

    def __init__(self, path, reply):
        self.path = path
        self.reply = reply
        self.messages = []
        self.calls = []
        self.failure = None
        self.fds = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(4)
        self.stop_read, self.stop_write = os.pipe()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            while self.serve_one():
                pass
        except Exception as e:  # told to the test, which waits for something else
            self.failure = e

    def serve_one(self):
        ready, _, _ = select.select([self.socket, self.stop_read, *self.fds], [], [])
        if self.stop_read in ready:
            return False
        for one in ready:
            if one is self.socket:
                self.accept()
            else:
                self.answer(one)
        return True

    def accept(self):
        connection, _ = self.socket.accept()
        with connection:
            fds = array.array("i")
            data, ancillary, _, _ = connection.recvmsg(1 << 20, socket.CMSG_SPACE(4 * fds.itemsize))
            for _, _, payload in ancillary:
                fds.frombytes(payload)
        self.messages.append(json.loads(data))
        assert len(fds) == 1
        self.fds.append(fds[0])

    def answer(self, fd):
        buffer = bytearray(NOTIFICATION)
        try:
            fcntl.ioctl(fd, RECEIVE, buffer)
        except OSError:  # everybody who had the filter is gone
            self.fds.remove(fd)
            os.close(fd)
            return
        cookie, _pid, _flags, number, _arch, _ip, *args = struct.unpack("QIIiIQ6Q", buffer)
        self.calls.append((number, args))
        value, error, flags = self.reply(number, args)
        fcntl.ioctl(fd, SEND, bytearray(struct.pack("QqiI", cookie, value, -error, flags)))

    def close(self):
        os.write(self.stop_write, b"x")
        self.thread.join(10)
        for fd in (self.stop_read, self.stop_write, *self.fds):
            os.close(fd)
        self.socket.close()
        os.unlink(self.path)
        assert self.failure is None, self.failure

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def notify(path, **more):
    return profile(rule("NOTIFY", "umask"), listenerPath=path, **more)


@pytest.mark.parametrize("reply, expected", [
    ((77, 0, 0), "ok 77"), ((0, errno.EBUSY, 0), str(errno.EBUSY)), ((0, 0, CONTINUE), "ok 18")])
def test_an_agent_answers(filtered, work, reply, expected):
    needs.kernel(5, 5)
    with Agent(work + "/agent", lambda number, args: reply) as agent:
        c = filtered(notify(agent.path), ["call", str(UMASK), "63"])
        assert c.run().out.strip() == expected
        assert [(number, args[0]) for number, args in agent.calls] == [(UMASK, 63)]


def test_what_the_agent_is_told(filtered, work):
    with Agent(work + "/agent", lambda *_: (0, 0, CONTINUE)) as agent:
        c = filtered(notify(agent.path, listenerMetadata="for the agent"),
                     changes={"annotations": {"a": "b"}})
        c.create()
        message, = agent.messages
        assert message["ociVersion"]
        assert message["fds"] == ["seccompFd"]
        assert message["pid"] == c.pid
        assert message["metadata"] == "for the agent"
        state = message["state"]
        assert (state["id"], state["status"], state["pid"]) == (c.id, "creating", c.pid)
        assert state["bundle"] == c.dir and state["annotations"] == {"a": "b"}
        c.delete("--force")


def test_exec_has_a_listener_of_its_own(filtered, work):
    with Agent(work + "/agent", lambda *_: (55, 0, 0)) as agent:
        c = filtered(notify(agent.path))
        c.run_detached()
        assert c.exec("call", UMASK, 0).out == "ok 55\n"
        assert len(agent.messages) == 2
        assert agent.messages[1]["state"]["status"] == "running"
        assert agent.messages[1]["state"]["pid"] == c.pid != agent.messages[1]["pid"]
        c.delete("--force")


def test_much_of_what_starting_takes_may_be_the_agents(filtered, work):
    """The agent waits for the listener, so nothing it must answer can come before it has that."""
    seccomp = profile(rule("NOTIFY", "umask", "openat", "close", "mkdir", "mkdirat", "execve",
                           "read", "accept4", "sendto", "chdir"), listenerPath=work + "/agent",
                      flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]
                      if kernel_at_least(5, 19) else [])
    with Agent(work + "/agent", lambda *_: (0, 0, CONTINUE)):
        c = filtered(seccomp, ["call", str(UMASK), "0"])
        assert c.run().out == "ok 18\n"


def kernel_at_least(major, minor):
    return tuple(int(x) for x in platform.release().split(".")[:2]) >= (major, minor)


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_listener_for_an_ordinary_user(filtered, work, no_new_privileges):
    with Agent(work + "/agent", lambda *_: (33, 0, 0)) as agent:
        c = filtered(notify(agent.path), ["call", str(UMASK), "0"])
        c.config["process"]["user"] = {"uid": 1000, "gid": 1000}
        c.config["process"]["noNewPrivileges"] = no_new_privileges
        assert c.run().out == "ok 33\n"


def test_without_an_agent_there_is_no_container(filtered, work):
    c = filtered(notify(work + "/nobody"), ["true"])
    assert "linux.seccomp.listenerPath" in c.run(ok=False).err
    assert not c.exists()


# Wrong ones

@pytest.mark.parametrize("seccomp, word", [
    (profile(default="PERHAPS"), "linux.seccomp.defaultAction"),
    ({"syscalls": [rule("ERRNO", "umask")]}, "linux.seccomp.defaultAction"),
    (profile(default="NOTIFY", listenerPath="/x"), "linux.seccomp.defaultAction"),
    (profile(rule("PERHAPS", "umask")), "linux.seccomp.syscalls[0].action"),
    (profile(rule("ERRNO")), "linux.seccomp.syscalls[0].names"),
    (profile({"action": "SCMP_ACT_ERRNO"}), "linux.seccomp.syscalls[0].names"),
    (profile(rule("KILL", "umask", errnoRet=1)), "linux.seccomp.syscalls[0].errnoRet"),
    (profile(rule("ERRNO", "umask", errnoRet=1 << 20)), "linux.seccomp.syscalls[0].errnoRet"),
    (profile(rule("ERRNO", "umask", args=[(6, "EQ", 1)])),
     "linux.seccomp.syscalls[0].args[0].index"),
    (profile(rule("ERRNO", "umask", args=[(0, "IS", 1)])), "linux.seccomp.syscalls[0].args[0].op"),
    (profile(rule("NOTIFY", "umask")), "linux.seccomp.listenerPath"),
    (profile(rule("NOTIFY", "write"), listenerPath="/x"), "linux.seccomp.syscalls[0].action"),
    (profile(listenerMetadata="x"), "linux.seccomp.listenerMetadata"),
    (profile(architectures=["SCMP_ARCH_PDP11"]), "linux.seccomp.architectures[0]"),
    (profile(flags=["SECCOMP_FILTER_FLAG_FAST"]), "linux.seccomp.flags[0]")])
def test_wrong_filters_name_their_field(filtered, seccomp, word):
    c = filtered(seccomp, ["true"])
    assert word in c.run(ok=False).err
    assert not c.exists()


def test_the_profile_of_an_engine(filtered):
    """A long allow list with hundreds of names and some arguments, as engines write them."""
    names = sorted({line.split()[1][len("__NR_"):] for line in syscall_header()
                    if line.startswith("#define __NR_")})
    c = filtered(profile(rule("ALLOW", *[n for n in names if n not in ("umask", "personality")]),
                         *[rule("ALLOW", "personality", args=[(0, "EQ", value)])
                           for value in (0, 8, 0x20000, 0x20008, 0xffffffff)],
                         default="ERRNO", defaultErrnoRet=1,
                         architectures=[NATIVE]), ["call", str(UMASK), "0"])
    assert len(names) > 200
    assert c.run().out == "1\n"


def syscall_header():
    source = "#include <asm/unistd.h>\n"
    return subprocess.run(["gcc", "-E", "-dM", "-"], input=source, capture_output=True, text=True,
                          check=True).stdout.splitlines()
