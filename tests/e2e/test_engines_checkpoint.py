"""Engines freeze and restore their containers through the runtime under test, with commands of their own."""

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
