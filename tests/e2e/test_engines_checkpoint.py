"""Engines freeze and restore their containers through the runtime under test, with commands of their own."""

import select
import subprocess
import time

import pytest

from lib import engine, needs, proc
from lib.engine import IMAGE

COUNTER = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"]


@pytest.fixture(scope="module", autouse=True)
def criu():
    needs.program("criu")


@pytest.fixture(scope="module")
def podman_host(templates):
    needs.program("podman", "conmon")
    engine_host = engine.EngineHost()
    yield engine.Podman(engine_host, templates)
    engine_host.close()


@pytest.fixture
def podman(podman_host):
    yield podman_host
    podman_host.remove_everything()
    assert podman_host.host.runtime_processes() == []


@pytest.fixture(scope="module")
def docker_host(templates):
    needs.program("/usr/sbin/dockerd", "/usr/bin/docker")
    engine_host = engine.EngineHost()
    yield engine.Docker(engine_host, templates)
    engine_host.close()


@pytest.fixture
def docker(docker_host):
    yield docker_host
    docker_host.remove_everything()
    assert docker_host.host.runtime_processes() == []


@pytest.fixture(scope="module")
def containerd_host(templates):
    needs.program("containerd", "ctr", "containerd-shim-runc-v2")
    engine_host = engine.EngineHost()
    yield engine.Containerd(engine_host, templates)
    engine_host.close()


@pytest.fixture
def ctr(containerd_host):
    yield containerd_host
    containerd_host.remove_everything()
    assert containerd_host.host.runtime_processes() == []


def start_counting(engine_under_test, *words):
    name = "counter"
    engine_under_test("run", "--detach", "--name", name, "--network=none", *words, IMAGE, *COUNTER)
    wait_count(engine_under_test, name, 3)
    return name


def count(engine_under_test, name):
    lines = engine_under_test("logs", name).out.split()
    return int(lines[-1]) if lines else 0


def wait_count(engine_under_test, name, at_least):
    proc.eventually(lambda: count(engine_under_test, name) >= at_least, what=f"{name} to count to {at_least}")


def test_podman_checkpoints_and_restores(podman):
    name = start_counting(podman, "--pull=never")
    podman("container", "checkpoint", name)
    assert podman.inspect(name, "{{.State.Status}}").strip() in ("exited", "stopped")
    before = count(podman, name)
    time.sleep(0.5)
    assert count(podman, name) == before
    podman("container", "restore", name)
    wait_count(podman, name, before + 3)
    assert podman("exec", name, "echo", "hello").out == "hello\n"


def test_podman_leaves_it_running(podman):
    name = start_counting(podman, "--pull=never")
    podman("container", "checkpoint", "--leave-running", name)
    assert podman.inspect(name, "{{.State.Status}}").strip() == "running"
    wait_count(podman, name, count(podman, name) + 3)


def test_podman_prints_statistics_and_keeps_the_files(podman):
    name = start_counting(podman, "--pull=never")
    out = podman("container", "checkpoint", "--print-stats", "--keep", name).out
    assert "memdump_time" in out
    out = podman("container", "restore", "--print-stats", "--keep", name).out
    assert "restore_time" in out


def test_podman_exports_and_imports_under_another_name(podman):
    name = start_counting(podman, "--pull=never")
    podman("exec", name, "sh", "-c", "echo changed > /etc/changed")
    podman("container", "checkpoint", "--export", "/run/engine/counter.tar.gz", "--compress", "gzip", name)
    before = count(podman, name)
    podman("rm", "--force", name)
    podman("container", "restore", "--import", "/run/engine/counter.tar.gz", "--name", "again")
    wait_count(podman, "again", before + 3)
    assert podman("exec", "again", "cat", "/etc/changed").out == "changed\n"


def test_podman_export_carries_what_was_removed_and_survives_a_second_time(podman):
    name = start_counting(podman, "--pull=never")
    podman("exec", name, "rm", "-r", "/home/user", "/etc/nsswitch.conf")
    for turn in ("one", "two"):
        archive = f"/run/engine/{turn}.tar.zst"
        podman("container", "checkpoint", "--export", archive, name)
        before = count(podman, name)
        podman("rm", "--force", "--time", "0", name)
        name = turn
        podman("container", "restore", "--import", archive, "--name", name)
        wait_count(podman, name, before + 2)
    assert podman("exec", name, "ls", "/home", "/etc/nsswitch.conf", ok=False).out == "/home:\n"


def test_podman_restores_twice_from_kept_files(podman):
    name = start_counting(podman, "--pull=never")
    for _ in range(3):
        podman("container", "checkpoint", "--keep", name)
        before = count(podman, name)
        podman("container", "restore", "--keep", name)
        wait_count(podman, name, before + 2)


def test_podman_restores_limits_and_pauses_again(podman):
    needs.controller("pids")
    name = start_counting(podman, "--pull=never", "--pids-limit", "50", "--memory", "64m")
    podman("container", "checkpoint", name)
    podman("container", "restore", name)
    limits = "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max"
    assert podman("exec", name, "sh", "-c", limits).out == "50\n"
    podman("pause", name)
    assert podman.inspect(name, "{{.State.Status}}") == "paused"
    podman("unpause", name)
    wait_count(podman, name, count(podman, name) + 2)
    podman("stop", "--time", "1", name)
    assert podman.inspect(name, "{{.State.Status}}") == "exited"


def test_podman_checkpoints_a_terminal(podman):
    podman("run", "--detach", "--tty", "--name", "counter", "--pull=never", "--network=none", IMAGE, *COUNTER)
    wait_count(podman, "counter", 3)
    podman("container", "checkpoint", "counter")
    before = count(podman, "counter")
    podman("container", "restore", "counter")
    wait_count(podman, "counter", before + 3)
    assert "/dev/pts/" in podman("exec", "counter", "readlink", "/proc/1/fd/1").out or \
        podman("exec", "counter", "readlink", "/proc/1/fd/1").out == "/dev/console\n"


def test_podman_checkpoints_with_a_user_namespace(podman):
    name = start_counting(podman, "--pull=never", "--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536")
    podman("container", "checkpoint", name)
    before = count(podman, name)
    podman("container", "restore", name)
    wait_count(podman, name, before + 3)
    assert podman("exec", name, "cat", "/proc/1/uid_map").out.split() == ["0", "200000", "65536"]


def test_podman_exports_a_volume_with_it(podman):
    podman("volume", "create", "data")
    name = start_counting(podman, "--pull=never", "--volume", "data:/data")
    podman("exec", name, "sh", "-c", "echo kept >/data/file")
    podman("container", "checkpoint", "--export", "/run/engine/volume.tar", "--compress", "none", name)
    before = count(podman, name)
    podman("rm", "--force", name)
    podman("volume", "rm", "data")
    podman("container", "restore", "--import", "/run/engine/volume.tar")
    wait_count(podman, name, before + 2)
    assert podman("exec", name, "cat", "/data/file").out == "kept\n"
    podman("rm", "--force", "--time", "0", name)
    podman("volume", "rm", "data")


def test_podman_is_told_what_a_pre_checkpoint_lacks(podman):
    name = start_counting(podman, "--pull=never")
    result = podman("container", "checkpoint", "--pre-checkpoint", name, ok=None)
    if result.code != 0:
        assert "does not track written memory" in result.err or "memory track" in result.err, result
        assert podman.inspect(name, "{{.State.Status}}") == "running"
        wait_count(podman, name, count(podman, name) + 3)
        return
    podman("container", "checkpoint", "--with-previous", name)
    before = count(podman, name)
    podman("container", "restore", name)
    wait_count(podman, name, before + 3)


class Client:
    """nc from the engine's host into a container: a line out, a line back."""

    def __init__(self, engine_under_test, address, port):
        self.process = subprocess.Popen(
            [*engine_under_test.host.enter, "busybox", "nc", address, str(port)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, close_fds=True, text=True)

    def says(self, line, answer=None):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], 15)
        assert ready, f"no answer to {line!r}"
        assert self.process.stdout.readline().rstrip("\r\n") == (line if answer is None else answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def start_echo(podman):
    podman("run", "--detach", "--pull=never", "--name", "echo", IMAGE, "nc", "-ll", "-p", "7000", "-e", "cat")
    address = podman.inspect("echo", "{{.NetworkSettings.IPAddress}}")
    assert address
    proc.eventually(lambda: podman("exec", "echo", "nc", "-z", "127.0.0.1", "7000", ok=None).code == 0, what="the echo")
    return address


def test_podman_keeps_an_established_connection(podman):
    with Client(podman, start_echo(podman), 7000) as client:
        client.says("before")
        refused = podman("container", "checkpoint", "echo", ok=False)
        assert "tcp" in refused.err.lower(), refused
        client.says("still there")
        podman("container", "checkpoint", "--tcp-established", "echo")
        podman("container", "restore", "--tcp-established", "echo")
        client.says("after")


def test_podman_keeps_an_established_connection_through_an_archive(podman):
    with Client(podman, start_echo(podman), 7000) as client:
        client.says("before")
        podman("container", "checkpoint", "--tcp-established", "--export", "/run/engine/echo.tar", "--compress", "none",
               "echo")
        podman("rm", "--force", "echo")
        podman("container", "restore", "--tcp-established", "--import", "/run/engine/echo.tar")
        client.says("after")


def test_docker_checkpoints_and_starts_from_it(docker):
    name = start_counting(docker)
    docker("checkpoint", "create", name, "frozen")
    before = count(docker, name)
    docker("start", "--checkpoint", "frozen", name)
    wait_count(docker, name, before + 3)
    assert docker("exec", name, "echo", "hello").out == "hello\n"


def test_containerd_checkpoints_and_restores(ctr):
    ctr.run("--detach", IMAGE, "web", "sleep", "1000")
    proc.eventually(lambda: ctr.tasks().get("web") == "RUNNING", what="the task to run")
    ctr("containers", "checkpoint", "--rw", "--image", "--task", "web", "checkpoint/web:1")
    assert ctr.tasks()["web"] == "RUNNING"  # it was paused meanwhile
    ctr("tasks", "kill", "--signal", "SIGKILL", "web")
    proc.eventually(lambda: ctr.tasks().get("web") != "RUNNING", what="the task to end")
    ctr("tasks", "rm", "web", ok=None)
    ctr("containers", "rm", "web")
    ctr("containers", "restore", "--rw", "--live", "web", "checkpoint/web:1")
    proc.eventually(lambda: ctr.tasks().get("web") == "RUNNING", what="the restored task to run")
    assert ctr("tasks", "exec", "--exec-id", "e", "web", "echo", "hello").out == "hello\n"
