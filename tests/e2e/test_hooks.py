"""Hooks: which run when, where and with what on their standard input; and what a failing one does.

A hook of the host writes into a log that the test reads. Hooks that run inside the container do the
same, in the container's own root."""

import json
import os
import time

import pytest

from lib import config, proc

HOST = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
ALL = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
BEFORE_START = ("prestart", "createRuntime", "createContainer")


def shell(script, *args, **fields):
    return {"path": "/bin/sh", "args": ["sh", "-c", script, *args], **fields}


def logger(c, kind, more=""):
    """A hook that appends a line to the log: its kind, and the state it was given."""
    log = "/log" if kind == "startContainer" else c.dir + "/log"
    return shell(f'echo "{kind} $(cat)" >>{log}; {more}')


def with_hooks(c, *kinds, more=""):
    c.config["hooks"] = {kind: [logger(c, kind, more)] for kind in kinds}
    return c


def entries(path):
    """[(kind, state)] of a log."""
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [(line.split(" ", 1)[0], json.loads(line.split(" ", 1)[1])) for line in f]


def log(c):
    return entries(c.dir + "/log")


def kinds(c):
    return [kind for kind, _ in log(c)]


def assert_nothing_left(c):
    assert not c.exists()
    assert not os.path.exists(os.path.join(c.root, c.id))


# When and where

def test_each_kind_runs_at_its_time(container):
    c = with_hooks(container(["sleep", "1000"]), *ALL)
    c.create()
    assert kinds(c) == list(BEFORE_START)
    assert not os.path.exists(c.host_path("/log"))
    c.start()
    assert kinds(c) == [*BEFORE_START, "poststart"]
    assert [kind for kind, _ in entries(c.host_path("/log"))] == ["startContainer"]
    c.kill()
    c.wait_stopped()
    assert kinds(c) == [*BEFORE_START, "poststart"]
    c.delete()
    assert kinds(c) == [*BEFORE_START, "poststart", "poststop"]


def test_run_runs_them_all(container):
    c = with_hooks(container(["cat", "/log"]), *ALL)
    assert c.run().out.startswith("startContainer {")
    assert kinds(c) == list(HOST)


def test_the_state_on_standard_input(container):
    c = with_hooks(container(["sleep", "1000"], changes={"annotations": {"a": "b"}}), *ALL)
    c.run_detached()
    pid = c.pid
    c.delete("--force")
    states = {**dict(log(c)), **dict(entries(c.host_path("/log")))}
    for kind, state in states.items():
        assert state["ociVersion"] and state["id"] == c.id, kind
        assert state["bundle"] == c.dir, kind
        assert state["annotations"] == {"a": "b"}, kind
    assert {kind: state["status"] for kind, state in states.items()} == {
        "prestart": "creating", "createRuntime": "creating", "createContainer": "creating",
        "startContainer": "created", "poststart": "running", "poststop": "stopped"}
    # Those of the host see the host's pid, those of the container its own.
    assert {kind: state.get("pid") for kind, state in states.items() if kind != "poststop"} == {
        "prestart": pid, "createRuntime": pid, "createContainer": 1, "startContainer": 1,
        "poststart": pid}
    assert not states["poststop"].get("pid")


def test_hooks_of_a_kind_run_in_the_order_of_the_config(container):
    c = container(["true"])
    c.config["hooks"] = {kind: [shell(f"echo {kind}{i} >>{c.dir}/order") for i in range(3)]
                         for kind in HOST}
    c.run()
    with open(c.dir + "/order") as f:
        assert f.read().split() == [f"{kind}{i}" for kind in HOST for i in range(3)]


def test_arguments_and_environment_are_those_of_the_config(container):
    c = container(["true"])
    c.config["hooks"] = {
        "createRuntime": [shell(f'echo "$0|$1|$(env | grep -v ^PWD | grep -v ^_= | grep -v SHLVL '
                                f'| sort | tr "\\n" ,)" >>{c.dir}/seen', "zero", "two words",
                                env=["A=1", "B=x y"])]}
    proc.run(["env", "SECRET=of-the-caller", *c.argv("--version")])
    c.run(env={**os.environ, "SECRET": "of-the-caller"})
    with open(c.dir + "/seen") as f:
        assert f.read() == "zero|two words|A=1,B=x y,\n"


def test_without_arguments_the_path_is_the_only_one(container):
    c = container(["true"])
    script = c.dir + "/hook"
    with open(script, "w") as f:
        f.write(f'#!/bin/sh\necho "$# $0" >{c.dir}/seen\n')
    os.chmod(script, 0o755)
    c.config["hooks"] = {"createRuntime": [{"path": script}]}
    c.run()
    with open(c.dir + "/seen") as f:
        assert f.read() == f"0 {script}\n"


NAMESPACES = 'for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done'


def test_in_which_namespaces_each_kind_runs(container):
    c = container(["sleep", "1000"])
    c.config["hooks"] = {
        kind: [shell(f"({NAMESPACES}) >{c.dir}/ns-{kind}")] for kind in HOST}
    c.config["hooks"]["startContainer"] = [shell(f"({NAMESPACES}) >/ns")]
    c.run_detached()

    def seen(path):
        with open(path) as f:
            return f.read().split()

    def of(pid):
        return [os.readlink(f"/proc/{pid}/ns/{n}") for n in ("pid", "net", "ipc", "uts", "mnt",
                                                            "cgroup")]
    for kind in ("prestart", "createRuntime", "poststart"):
        assert seen(f"{c.dir}/ns-{kind}") == of("self"), kind
    assert seen(c.host_path("/ns")) == of(c.pid)
    # The container's, while the root is still the host's.
    assert seen(f"{c.dir}/ns-createContainer") == of(c.pid)


def test_hooks_of_the_host_find_the_namespaces_made(container):
    """What network plugins do: the namespace of the pid they were given gets a device."""
    c = container(["ip", "address", "show", "hook0"])
    c.config["hooks"] = {"createRuntime": [shell(
        'pid=$(sed -E \'s/.*"pid": ?([0-9]+).*/\\1/\');'
        'ip link add hook0 type veth peer name hook1 netns $pid && '
        'ip link set hook0 netns $pid && '
        'nsenter -t $pid -n ip address add 10.1.2.3/24 dev hook0',
        env=[f"PATH={os.environ['PATH']}"])]}
    assert "10.1.2.3/24" in c.run().out


def test_createcontainer_hooks_can_mount_into_the_root(container):
    c = container(["cat", "/mnt/file"])
    os.makedirs(c.dir + "/data")
    with open(c.dir + "/data/file", "w") as f:
        f.write("mounted by a hook\n")
    c.config["hooks"] = {"createContainer": [shell(
        f"mount --bind {c.dir}/data {c.rootfs}/mnt", env=[f"PATH={os.environ['PATH']}"])]}
    assert c.run().out == "mounted by a hook\n"
    assert os.listdir(c.host_path("/mnt")) == []


def test_startcontainer_hooks_are_programs_of_the_container(container):
    c = container(["cat", "/made"])
    with open(c.host_path("/bin/own-hook"), "w") as f:
        f.write("#!/bin/sh\necho from inside >/made\n")
    os.chmod(c.host_path("/bin/own-hook"), 0o755)
    c.config["hooks"] = {"startContainer": [{"path": "/bin/own-hook", "env": ["PATH=/bin"]}]}
    assert c.run().out == "from inside\n"


def test_poststart_comes_after_the_program_was_executed(container):
    c = container(["sleep", "1000"])
    c.config["hooks"] = {"poststart": [shell(
        f"""pid=$(sed -E 's/.*"pid": ?([0-9]+).*/\\1/'); tr '\\0' ' ' </proc/$pid/cmdline"""
        f" >{c.dir}/seen", env=[f"PATH={os.environ['PATH']}"])]}
    c.create()
    c.start()
    with open(c.dir + "/seen") as f:
        assert f.read() == "sleep 1000 "


def test_hooks_get_no_descriptors_of_ours(container):
    c = container(["true"])
    path = [f"PATH={os.environ['PATH']}"]
    c.config["hooks"] = {kind: [shell(f"ls -l /proc/self/fd >{c.dir}/fds-{kind}", env=path)]
                         for kind in HOST}
    c.run()
    for kind in HOST:
        with open(f"{c.dir}/fds-{kind}") as f:
            fds = [line.split()[-3:] for line in f if "->" in line]
        assert [fd for fd, _, _ in fds][:3] == ["0", "1", "2"], kind
        assert all("/proc/" in target for fd, _, target in fds if int(fd) > 2), (kind, fds)


# Failures

@pytest.mark.parametrize("kind", BEFORE_START)
@pytest.mark.parametrize("command", ["create", "run"])
def test_a_failure_before_start_ends_it_all(container, kind, command):
    c = with_hooks(container(["sh", "-c", "echo ran"]), *HOST)
    c.config["hooks"][kind].insert(0, shell("echo what the hook said >&2; exit 3"))
    result = getattr(c, command)(ok=False)
    assert kind in result.err and "/bin/sh" in result.err
    assert "ran" not in result.out
    assert_nothing_left(c)
    assert kinds(c) == [*BEFORE_START[:BEFORE_START.index(kind)], "poststop"]


@pytest.mark.parametrize("kind", BEFORE_START)
def test_what_a_failing_hook_said_is_told(container, kind):
    c = container(["true"])
    c.config["hooks"] = {kind: [shell("echo because of this >&2; exit 3")]}
    assert "because of this" in c.run(ok=False).err


def test_a_hook_that_is_not_there_fails(container):
    c = container(["true"])
    c.config["hooks"] = {"createRuntime": [{"path": "/no/such/hook"}]}
    assert "/no/such/hook" in c.run(ok=False).err
    assert_nothing_left(c)


def test_a_hook_ended_by_a_signal_fails(container):
    c = container(["true"])
    c.config["hooks"] = {"createRuntime": [shell("kill -KILL $$")]}
    assert "createRuntime" in c.run(ok=False).err


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_failure_at_start_destroys_the_container(container, kind):
    c = with_hooks(container(["sleep", "1000"]), "poststop")
    c.config["hooks"][kind] = [shell("exit 5"), shell("echo second >>/tmp/second")]
    c.create()
    pid = c.pid
    err = c.start(ok=False).err
    assert kind in err
    assert not proc.alive(pid)
    assert_nothing_left(c)
    assert kinds(c) == ["poststop"]
    assert not os.path.exists(c.host_path("/tmp/second")) and not os.path.exists("/tmp/second")


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
@pytest.mark.parametrize("flags", [[], ["--detach"]])
def test_a_failure_at_the_start_of_run_destroys_the_container(container, kind, flags):
    c = with_hooks(container(["sleep", "1000"]), "poststop")
    c.config["hooks"][kind] = [shell("exit 5")]
    assert kind in c.run(*flags, ok=False).err
    assert_nothing_left(c)
    assert kinds(c) == ["poststop"]


def test_failing_poststop_hooks_are_warnings_and_the_rest_runs(container):
    c = container(["true"])
    c.config["hooks"] = {"poststop": [shell("echo first >&2; exit 1"), {"path": "/no/such/hook"},
                                      logger(c, "poststop")]}
    result = c.run()
    assert "poststop" in result.err and "/no/such/hook" in result.err
    assert kinds(c) == ["poststop"]
    assert_nothing_left(c)


# Time

@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer",
                                  "poststart"])
def test_a_hook_that_takes_too_long_is_killed_and_fails(container, kind):
    c = with_hooks(container(["sleep", "1000"]), "poststop")
    c.config["hooks"][kind] = [shell("sleep 50; exit 0", timeout=1)]
    began = time.monotonic()
    err = c.run("--detach", ok=False).err
    assert 0.9 < time.monotonic() - began < 10
    assert kind in err and "took longer than" in err
    assert_nothing_left(c)
    assert kinds(c) == ["poststop"]


def test_a_hook_within_its_time_is_fine(container):
    c = container(["echo", "ran"])
    c.config["hooks"] = {"createRuntime": [shell("sleep 0.1", timeout=20)]}
    assert c.run().out == "ran\n"


def test_a_hook_that_leaves_a_process_holding_its_output_does_not_hold_us_up(container):
    c = container(["echo", "ran"])
    c.config["hooks"] = {"createRuntime": [shell(
        f"sleep 3 & echo $! >{c.dir}/left", env=[f"PATH={os.environ['PATH']}"])]}
    began = time.monotonic()
    assert c.run().out == "ran\n"
    assert time.monotonic() - began < 2.5
    with open(c.dir + "/left") as f:
        os.kill(int(f.read()), 9)


def test_a_hook_need_not_read_the_state(container):
    """A large state, which fills the pipe, and a hook that closes it at once."""
    c = container(["echo", "ran"], changes={"annotations": {"big": "x" * 200000}})
    c.config["hooks"] = {"createRuntime": [shell("exec <&-; sleep 0.1; exit 0"),
                                           shell(f"wc -c >{c.dir}/size")]}
    assert c.run().out == "ran\n"
    with open(c.dir + "/size") as f:
        assert int(f.read()) > 200000


# Wrong ones

@pytest.mark.parametrize("hook, word", [
    ({"args": ["x"]}, "path"), ({"path": "relative"}, "path"), ({"path": "/x", "timeout": 0},
                                                               "timeout"),
    ({"path": "/x", "timeout": -5}, "timeout"), ({"path": "/x", "args": "y"}, "args"), (5, "")])
def test_wrong_hooks_name_their_field(container, hook, word):
    c = container(["true"])
    c.config["hooks"] = {"poststart": [hook]}
    err = c.run(ok=False).err
    assert "hooks.poststart[0]" in err and word in err


def test_hooks_in_a_user_namespace(container):
    c = container(["cat", "/log"])
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    with open(c.dir + "/log", "w") as f:  # createContainer's runs as root of the namespace
        os.chown(f.fileno(), 100000, 100000)
    with_hooks(c, *ALL)
    assert c.run().out.startswith("startContainer {")
    assert kinds(c) == list(HOST)
