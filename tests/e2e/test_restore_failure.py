"""A restore that fails leaves nothing: no process, cgroup, mount, rule, descriptor, nor state. The fixture
`nothing_left_behind` looks at all of that after each test; here it is looked at before the fixtures tidy up."""

import contextlib
import glob
import json
import os
import random
import re
import signal
import subprocess
import time

import pytest

import escapes
from lib import cgroup, config, frozen, host, needs, proc

SLEEP = ["sh", "-c", "sleep 1000 & sleep 1000 & while :; do sleep 1; done"]


@pytest.fixture(autouse=True)
def criu():
    needs.program("criu")


@pytest.fixture
def dumped(container):
    """A container that has been dumped and is no more; c.images are its images."""
    def make(args=SLEEP, *flags, **how):
        c = container(args, **how)
        c.run_detached()
        c.images = frozen.checkpoint(c, *flags)
        c.before = left(c)
        return c
    return make


def left(c):
    """What a failed restore could leave."""
    return {"processes": host.processes(), "cgroups": cgroup.all_cgroups(), "mounts": host.mounts(),
            "rules": host.packet_filter(), "state": set(os.listdir(c.root))}


def assert_nothing_left(c, timeout=3):
    def more():
        now = left(c)
        return {part: now[part] - c.before[part] for part in now if now[part] - c.before[part]}
    try:
        proc.eventually(lambda: not more(), timeout=timeout)
    except AssertionError:
        raise AssertionError(f"left: {more()}") from None


def refused(c, words, *flags, **how):
    """The restore fails with these words and leaves nothing; and it works once what was wrong is right again."""
    result = frozen.restore(c, c.images, *flags, ok=False, **how)
    assert words in result.err, result.err
    assert_nothing_left(c)
    return result


def assert_restorable(c):
    frozen.restore(c, c.images)
    assert c.status == "running"


def test_another_root_filesystem(dumped):
    c = dumped()
    os.rename(c.host_path("/bin/busybox"), c.host_path("/bin/other"))
    assert "restore.log" in refused(c, "the root filesystem is not that of the checkpoint").err
    os.rename(c.host_path("/bin/other"), c.host_path("/bin/busybox"))
    assert_restorable(c)


def test_a_program_that_has_changed(dumped):
    c = dumped()
    with open(c.host_path("/bin/busybox"), "ab") as f:
        f.write(b"more")
    refused(c, "its size differs")


def test_no_root_filesystem(dumped):
    c = dumped()
    os.rename(c.rootfs, c.rootfs + "-away")
    refused(c, "root filesystem")
    os.rename(c.rootfs + "-away", c.rootfs)
    assert_restorable(c)


def test_the_source_of_a_mount_is_missing(dumped, work):
    os.makedirs(f"{work}/data")
    c = dumped(changes={"mounts": [config.mount(*m) for m in config.MOUNTS] + [config.bind(f"{work}/data", "/mnt", "rw")]})
    os.rmdir(f"{work}/data")
    refused(c, f"{work}/data")
    os.makedirs(f"{work}/data")
    assert_restorable(c)


def test_no_images(dumped, work):
    c = dumped()
    result = c.rt("restore", "--detach", "--bundle", c.dir, "--image-path", f"{work}/none", c.id, ok=False)
    assert f"{work}/none" in result.err
    assert_nothing_left(c)
    assert not os.path.exists(f"{work}/none")


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "poststart"])
def test_a_hook_fails(dumped, kind):
    c = dumped()
    c.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", "echo no luck >&2; exit 3"]}]}
    c.write_config()
    refused(c, "no luck")
    del c.config["hooks"]
    c.write_config()
    assert_restorable(c)


def test_the_id_is_taken(dumped, running):
    c = dumped()
    other = running()
    c.before = left(c)
    result = c.rt("restore", "--detach", "--bundle", c.dir, "--image-path", c.images, other.id, ok=False)
    assert "exists" in result.err
    assert_nothing_left(c)
    assert other.status == "running"


def test_nobody_at_the_console_socket(container):
    c = container(["sh"], changes={"process": {"terminal": True}})
    c.create()
    c.start()
    c.images = frozen.checkpoint(c)
    c.terminal.close()
    c.terminal = None
    c.before = left(c)
    refused(c, "nowhere.sock", "--console-socket", f"{c.dir}/nowhere.sock")
    refused(c, "console socket")


def test_the_pid_file_cannot_be_written(dumped, work):
    c = dumped()
    result = c.rt("restore", "--detach", "--bundle", c.dir, "--image-path", c.images, "--pid-file", f"{work}/none/pid", c.id,
                  ok=False)
    assert f"{work}/none" in result.err
    assert_nothing_left(c)
    assert_restorable(c)


def test_connections_that_are_neither_kept_nor_closed(inside):
    """In a joined network namespace, where CRIU's rules would stay: those of the dump are the dump's, none is added."""
    c = inside()
    c.do("s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); a = socket.socket(); a.connect(s.getsockname());"
         "b = s.accept()[0]")
    c.images = frozen.checkpoint(c, "--tcp-established")
    c.before = left(c)
    refused(c, "restore it with --tcp-established, or cut them with --tcp-close")
    frozen.restore(c, c.images, "--tcp-established")
    assert c.status == "running"


def test_a_joined_network_namespace_gets_no_rule(container, network):
    c = container(SLEEP)
    config.set_namespace(c.config, "network", network.path("net"))
    c.run_detached()
    c.images = frozen.checkpoint(c)
    network.run(["nft", "flush", "ruleset"])
    os.rename(c.host_path("/bin/busybox"), c.host_path("/bin/other"))
    c.before = left(c)
    refused(c, "root filesystem")
    assert frozen.nft_rules(network.enter) == ""
    os.rename(c.host_path("/bin/other"), c.host_path("/bin/busybox"))
    assert_restorable(c)


def test_rules_that_the_restore_added_are_removed(inside, network, work):
    """In a namespace it joins, where those of the dump are gone, as on another host. CRIU 4.2 locks none at a restore; a hook does
    what another CRIU may do, and the restore fails at its very end."""
    c = inside(started=False)
    config.set_namespace(c.config, "network", network.path("net"))
    c.run_detached()
    c.do("s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); a = socket.socket(); a.connect(s.getsockname()); b = s.accept()[0]")
    c.images = frozen.checkpoint(c, "--tcp-established")
    table = re.search(r"table inet (CRIU-[-0-9a-f]+)", frozen.nft_rules(network.enter)).group(1)
    network.run(["nft", "flush", "ruleset"])
    network.run(["nft", "add", "table", "inet", "CRIU-of-somebody-else"])
    c.before = left(c)
    add = f"nsenter --net={network.path('net')} nft add table inet {table} && touch {work}/added"
    c.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", add], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]}
    c.write_config()
    result = c.rt("restore", "--detach", "--bundle", c.dir, "--image-path", c.images, "--tcp-established", "--pid-file", f"{work}/none/pid", c.id,
                  ok=False)
    assert f"{work}/none" in result.err and os.path.exists(f"{work}/added")
    assert frozen.nft_rules(network.enter).split() == "table inet CRIU-of-somebody-else { }".split()
    assert_nothing_left(c)
    frozen.restore(c, c.images, "--tcp-established")
    assert c.do("a.send(b'x'); b.recv(1)") == b"x" and table not in frozen.nft_rules(network.enter)


def begin(c, *flags):
    """Its standard error is a file: the container's is the same, and a pipe would not end."""
    with open(f"{c.dir}/error", "w") as f:
        return proc.start(c.argv("restore", *flags, "--bundle", c.dir, "--image-path", c.images, c.id), stderr=f)


def restore_begun(c):
    process = begin(c, "--detach")
    return process, proc.eventually(lambda: frozen.criu_of(process), what="criu to start")


def test_criu_killed_at_any_moment(dumped):
    """Until it has let the tasks go; a restore that was over by then is one."""
    c = dumped()
    length = frozen.restore(c, c.images).seconds
    c.delete("--force")
    draw = random.Random(5)
    failed = 0
    for i in range(20):
        process, criu = restore_begun(c)
        time.sleep((i + draw.random()) / 20 * length)
        if process.poll() is None:
            proc.kill_quietly(criu)
        else:
            length *= 0.8  # it takes less than when it was measured: others use the machine, too
        if process.wait(30):
            failed += 1
            with open(f"{c.dir}/error") as f:
                assert "criu died of signal 9" in f.read()
        else:
            assert c.status in ("running", "stopped")
            c.delete("--force")
        assert_nothing_left(c)
    assert failed >= 8
    assert_restorable(c)


def test_the_runtime_killed_at_any_moment(dumped):
    """CRIU kills what it has restored; `delete --force` takes away the rest."""
    c = dumped()
    length = frozen.restore(c, c.images).seconds
    c.delete("--force")
    for i in range(12):
        process, _ = restore_begun(c)
        time.sleep(length * i / 12)
        process.kill()
        process.wait(30)
        proc.eventually(lambda: not [p for p in host.processes() if p[1] == "(criu)"], what="criu to end")
        c.delete("--force")
        assert_nothing_left(c)
    assert_restorable(c)


@pytest.mark.parametrize("dump, flags, times", [
    ([], ["--detach"], 30),
    ([], [], 30),
    (["--shell-job"], ["--detach", "--shell-job"], 15),  # CRIU in rt's own process group
    ([], ["--detach", "--manage-cgroups-mode", "ignore"], 15),  # the tasks in rt's own cgroup
], ids=["detached", "in the foreground", "shell job", "cgroups ignored"])
def test_the_runtime_killed_at_any_moment_and_the_container_deleted_at_once(dumped, dump, flags, times):
    """What is deleted under CRIU's hands CRIU would wait for forever: it has an end all the same, and what it began goes with it."""
    c = dumped(SLEEP, *dump)
    length = frozen.restore(c, c.images, *[f for f in flags if f != "--detach"]).seconds
    c.delete("--force")
    assert_nothing_left(c)
    draw = random.Random(11)
    for i in range(times):
        process = begin(c, *flags)
        time.sleep((i + draw.random()) / times * length)
        process.kill()
        process.wait(30)
        c.rt("delete", "--force", c.id)
        assert_nothing_left(c, timeout=5)
    frozen.restore(c, c.images, *[f for f in flags if f != "--detach"])
    assert c.status == "running"


@pytest.mark.parametrize("flags", [[], ["--shell-job"]], ids=["a group of its own", "shell job"])
def test_what_only_stands_beside_a_killed_restore_lives_on(dumped, running, flags):
    """Another container, and a process of rt's own group, which with --shell-job is CRIU's, too."""
    c = dumped(SLEEP, *flags)
    other = running()
    length = frozen.restore(c, c.images, *flags).seconds
    c.delete("--force")
    for i in range(6):
        begin = ["sh", "-c", f"sleep 1000 >/dev/null & echo $! >{c.dir}/beside; exec \"$@\"", "sh"]
        process = proc.start([*begin, *c.argv("restore", "--detach", *flags, "--bundle", c.dir, "--image-path", c.images, c.id)])
        time.sleep((i + 1) / 6 * length)
        process.kill()
        process.wait(30)
        beside = int(proc.eventually(lambda: os.path.exists(f"{c.dir}/beside") and escapes.read(f"{c.dir}/beside"), what="its pid"))
        c.rt("delete", "--force", c.id)
        proc.eventually(lambda: not [p for p in host.processes() if p[1] in ("(criu)", "(rt-guard)")], what="criu to end")
        assert proc.alive(beside) and other.status == "running"
        proc.kill_quietly(beside)
        os.unlink(f"{c.dir}/beside")


@pytest.mark.parametrize("detach", [True, False], ids=["detached", "in the foreground"])
def test_the_guard_goes_when_the_container_runs(dumped, detach):
    c = dumped()
    process = begin(c, *(["--detach"] if detach else []))
    if detach:
        assert process.wait(30) == 0
        assert not [p for p in host.processes() if p[1] == "(rt-guard)"]
    proc.eventually(lambda: c.rt("state", c.id, ok=None).code == 0 and c.status == "running", what="it to run")
    proc.eventually(lambda: not [p for p in host.processes() if p[1] == "(rt-guard)"], timeout=2, what="the guard to go")
    c.kill()
    assert process.wait(30) == (0 if detach else 137)


def until_its_pid_stands(c, process):
    """Without a pause: CRIU is done some milliseconds later."""
    while not os.path.exists(c.pid_file):
        assert process.poll() is None or os.path.exists(c.pid_file)


def test_the_runtime_and_the_restored_init_killed(dumped):
    """Around the moment when CRIU lets go: it would wait for that init forever, with nobody to see it."""
    c = dumped()
    for i in range(5):
        process = begin(c, "--detach", "--pid-file", c.pid_file)
        until_its_pid_stands(c, process)
        time.sleep(0.001 * i)
        process.kill()
        proc.kill_quietly(c.pid)
        process.wait(30)
        proc.eventually(lambda: not [p for p in host.processes() - c.before["processes"] if p[1] in ("(criu)", "(rt-guard)")], what="criu to end")
        c.delete("--force")
        os.unlink(c.pid_file)
        assert_nothing_left(c)


def stored_state(c):
    with open(f"{c.root}/{c.id}/state.json") as f:
        return json.load(f)


def killed_at(c, tool, call):
    """The restore at that system call of rt's; True: it came so far."""
    with open(f"{c.dir}/error", "w") as f:
        result = proc.run([tool, "parent", call, f"{c.dir}/killed", *c.argv("restore", "--detach", "--bundle", c.dir, "--image-path", c.images,
                           "--pid-file", c.pid_file, c.id)], ok=None, timeout=20, stderr=f)
    assert result.code == 0
    proc.eventually(lambda: not [p for p in host.processes() if p[1] == "(criu)"], what="criu to end")
    return escapes.read(f"{c.dir}/killed").split()


def test_the_runtime_killed_when_criu_has_let_go(dumped, templates):
    """It could not say so on disk any more. Whichever command comes next finds a container that runs."""
    tool = escapes.build(f"{templates}/escape-tools") + "/kill_at"
    c = dumped()
    calls = int(killed_at(c, tool, 0)[2])
    c.delete("--force")
    first = [["state"], ["list"], ["exec"], ["pause"], ["kill"], ["update"], ["checkpoint"]]
    adopted = 0
    for back in range(80):
        call = calls - back % 40  # twice: how many calls there are differs a little each time
        if adopted == len(first):
            break
        if killed_at(c, tool, call) == ["killed"] and stored_state(c)["creating"] and proc.alive(c.pid):
            adopted += 1
            try_first(c, *first[adopted % len(first)])
            assert not stored_state(c)["creating"] and "hold" not in stored_state(c)
            assert c.status == "running" and c.rt("exec", c.id, "echo", "here").out == "here\n"
        c.delete("--force")
        assert_nothing_left(c)
        os.unlink(c.pid_file)
    assert adopted >= 3


def try_first(c, verb):
    if verb == "list":
        assert "running" in [line for line in c.rt("list").out.splitlines() if line.startswith(c.id)][0]
    elif verb == "exec":
        c.rt("exec", c.id, "true")
    elif verb == "pause":
        c.pause()
        c.rt("resume", c.id)
    elif verb == "kill":
        c.rt("kill", c.id, "0")
    elif verb == "update":
        c.rt("update", "--pids-limit", "50", c.id)
    elif verb == "checkpoint":
        frozen.checkpoint(c, "--leave-running", name="again")
    else:
        assert c.status == "running"


def test_both_killed(dumped):
    """What CRIU had not let go waits for ever: that is no container, however long it lives."""
    c = dumped(["sh", "-c", "while :; do echo beat; usleep 1000; done"])
    stuck = rounds = 0
    while rounds < 8 or not stuck and rounds < 150:  # on a quick machine the moment is short
        rounds += 1
        with open(f"{c.dir}/error", "w") as f, open(c.stdout, "ab") as beats:
            process = proc.start(c.argv("restore", "--detach", "--bundle", c.dir, "--image-path", c.images, "--pid-file", c.pid_file, c.id),
                                 stdout=beats, stderr=f)
        criu = proc.eventually(lambda: frozen.criu_of(process), what="criu to start")
        until_its_pid_stands(c, process)
        with contextlib.suppress(ProcessLookupError):  # it may have been quicker
            os.kill(criu, signal.SIGSTOP)
        time.sleep(0.002 * (rounds % 8))
        process.kill()
        process.wait(30)
        proc.kill_quietly(criu)
        proc.eventually(lambda: not [p for p in host.processes() if p[1] == "(criu)"], what="criu to end")
        if proc.alive(c.pid) and stored_state(c)["creating"]:
            before = os.path.getsize(c.stdout)
            until = time.monotonic() + 1
            while os.path.getsize(c.stdout) == before and time.monotonic() < until:
                time.sleep(0.01)
            waits = os.path.getsize(c.stdout) == before
            stuck += waits
            assert c.status == ("creating" if waits else "running")
        c.delete("--force")
        assert_nothing_left(c)
        os.unlink(c.pid_file)
    assert stuck >= 1


@pytest.mark.parametrize("detach", [True, False], ids=["detached", "in the foreground"])
def test_asked_to_stop_at_any_moment(dumped, detach):
    """Until everything is restored it is all undone. From then on the container is one: a signal to rt in the foreground is for the
    container, which (a shell as its init) may well ignore it."""
    c = dumped()
    length = frozen.restore(c, c.images).seconds
    c.delete("--force")
    draw = random.Random(7)
    stopped = 0
    for i in range(24):
        process = begin(c, *(["--detach"] if detach else []))
        time.sleep((i + draw.random()) / 24 * length)
        if process.poll() is not None:
            length *= 0.8  # it takes less than when it was measured
        which = (signal.SIGTERM, signal.SIGINT)[i % 2]
        process.send_signal(which)
        if not detach:
            proc.eventually(lambda: process.poll() is not None or '"running"' in c.rt("state", c.id, ok=None).out, what="an end or a container")
            c.rt("kill", c.id, "KILL", ok=None)
        if process.wait(30) == 1:
            stopped += 1
            with open(f"{c.dir}/error") as f:
                assert f"interrupted by {which.name}" in f.read()
        elif process.returncode == -which:
            assert not c.exists()  # before rt has begun anything
        elif detach:
            assert process.returncode == 0 and c.status == "running"
            c.delete("--force")
        else:
            assert process.returncode == 137
        assert not c.exists()
        assert_nothing_left(c)
    assert stopped >= 8
    assert_restorable(c)


def test_asked_to_stop_while_an_archive_is_unpacked(running, work):
    """It is larger than what is read before the signal comes."""
    c = running(["sh", "-c", "head -c 300000000 /dev/urandom > /dev/shm/large; echo filled; while :; do sleep 1; done"])
    c.wait_output("filled", timeout=60)
    c.rt("checkpoint", "--export", f"{work}/c.tar", c.id, timeout=120)
    c.before = left(c)
    os.makedirs(f"{work}/tmp")
    process = proc.start(c.argv("restore", "--detach", "--bundle", c.dir, "--import", f"{work}/c.tar", c.id), stderr=subprocess.PIPE,
                         env={**os.environ, "TMPDIR": f"{work}/tmp"})
    proc.eventually(lambda: glob.glob(f"{work}/tmp/*/checkpoint/*"), what="the first images")
    process.terminate()
    assert b"interrupted by SIGTERM" in process.communicate(timeout=30)[1] and process.returncode == 1
    assert os.listdir(f"{work}/tmp") == [] and not c.exists()
    assert_nothing_left(c)


def test_images_stay_as_they_were(dumped):
    """A failed restore takes nothing from what it could not use."""
    c = dumped()
    before = {name: os.path.getsize(f"{c.images}/{name}") for name in os.listdir(c.images) if name.endswith(".img")}
    os.rename(c.host_path("/bin/busybox"), c.host_path("/bin/other"))
    refused(c, "root filesystem")
    assert {name: os.path.getsize(f"{c.images}/{name}") for name in os.listdir(c.images) if name.endswith(".img")} == before


def test_the_restored_init_killed_at_any_moment(dumped):
    """By somebody else, before CRIU has let it go: CRIU would wait for it forever."""
    c = dumped()
    for i in range(6):
        process = begin(c, "--detach", "--pid-file", c.pid_file)
        until_its_pid_stands(c, process)
        time.sleep(i / 6 * 0.01)
        proc.kill_quietly(c.pid)
        if process.wait(30):
            with open(f"{c.dir}/error") as f:
                assert "has ended" in f.read()
            assert not c.exists()
        else:
            c.delete("--force")
        os.unlink(c.pid_file)
        assert_nothing_left(c)
    assert_restorable(c)
