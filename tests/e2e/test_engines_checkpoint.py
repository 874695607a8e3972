"""Engines freeze and restore their containers through the runtime under test, with commands of their own."""

import json
import os
import select
import shlex
import subprocess
import time

import pytest

from lib import container, engine, needs, proc, rootfs
from lib.engine import HOME, IMAGE

COUNTER = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"]


@pytest.fixture(scope="module", autouse=True)
def criu():
    needs.program("criu")
    # Engines set limits unasked.
    for name in ("cpu", "memory", "pids"):
        needs.controller(name)


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
    podman("container", "checkpoint", "--export", f"{HOME}/counter.tar.gz", "--compress", "gzip", name)
    before = count(podman, name)
    podman("rm", "--force", name)
    podman("container", "restore", "--import", f"{HOME}/counter.tar.gz", "--name", "again")
    wait_count(podman, "again", before + 3)
    assert podman("exec", "again", "cat", "/etc/changed").out == "changed\n"


def test_podman_export_carries_what_was_removed_and_survives_a_second_time(podman):
    name = start_counting(podman, "--pull=never")
    podman("exec", name, "rm", "-r", "/home/user", "/etc/nsswitch.conf")
    for turn in ("one", "two"):
        archive = f"{HOME}/{turn}.tar.zst"
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


def test_podman_exports_and_imports_with_a_user_namespace(podman):
    name = start_counting(podman, "--pull=never", "--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536")
    podman("exec", name, "sh", "-c", "echo changed >/etc/changed")
    podman("container", "checkpoint", "--export", f"{HOME}/userns.tar", "--compress", "none", name)
    before = count(podman, name)
    podman("rm", "--force", "--time", "0", name)
    podman("container", "restore", "--import", f"{HOME}/userns.tar")
    wait_count(podman, name, before + 3)
    assert podman("exec", name, "stat", "-c", "%u", "/etc/changed").out == "0\n"


def test_podman_exports_a_volume_with_it(podman):
    podman("volume", "create", "data")
    name = start_counting(podman, "--pull=never", "--volume", "data:/data")
    podman("exec", name, "sh", "-c", "echo kept >/data/file")
    podman("container", "checkpoint", "--export", f"{HOME}/volume.tar", "--compress", "none", name)
    before = count(podman, name)
    podman("rm", "--force", name)
    podman("volume", "rm", "data")
    podman("container", "restore", "--import", f"{HOME}/volume.tar")
    wait_count(podman, name, before + 2)
    assert podman("exec", name, "cat", "/data/file").out == "kept\n"
    podman("rm", "--force", "--time", "0", name)
    podman("volume", "rm", "data")


def test_podman_restores_into_the_namespaces_of_a_pod(podman):
    podman("pod", "create", "--name", "pod", "--network=none", "--infra-image", IMAGE, "--infra-command", "sleep 1000")
    podman("run", "--detach", "--name", "counter", "--pull=never", "--pod", "pod", IMAGE, *COUNTER)
    wait_count(podman, "counter", 3)
    podman("container", "checkpoint", "--export", f"{HOME}/pod.tar", "--compress", "none", "counter")
    before = count(podman, "counter")
    podman("rm", "--force", "--time", "0", "counter")
    pod = podman("pod", "inspect", "--format", "{{.ID}}", "pod").out.strip()
    podman("container", "restore", "--import", f"{HOME}/pod.tar", "--pod", pod)
    wait_count(podman, "counter", before + 3)
    infra = podman("pod", "inspect", "--format", "{{.InfraContainerID}}", "pod").out.strip()
    for kind in ("net", "ipc", "uts"):
        ours, theirs = (podman("exec", name, "readlink", f"/proc/self/ns/{kind}").out for name in ("counter", infra))
        assert ours == theirs


def test_podman_exports_from_a_running_container_and_into_an_image(podman):
    name = start_counting(podman, "--pull=never")
    podman("container", "checkpoint", "--leave-running", "--file-locks", "--export", f"{HOME}/copy.tar", name)
    podman("container", "checkpoint", "--create-image", "checkpoint:1", name)
    before = count(podman, name)
    podman("rm", "--force", "--time", "0", name)
    podman("container", "restore", "checkpoint:1")
    podman("container", "restore", "--import", f"{HOME}/copy.tar", "--name", "copy")
    wait_count(podman, name, before + 3)
    wait_count(podman, "copy", before + 3)
    podman("rmi", "--force", "checkpoint:1")


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


def rt(engine_under_test, *words, **how):
    """The runtime under test by hand, on the engine's host."""
    return engine_under_test.host.run([container.runtime(), *words], **how)


def test_podman_imports_an_archive_that_the_runtime_exported(podman):
    # podman looks for the image; the runtime knows it only from annotations.
    image = podman("inspect", "--type", "image", "--format", "{{.Id}}", IMAGE).out.strip()
    name = start_counting(podman, "--pull=never", "--annotation", f"io.kubernetes.cri-o.ImageName={IMAGE}",
                          "--annotation", f"io.kubernetes.cri-o.ImageRef={image}")
    podman("exec", name, "sh", "-c", "echo changed >/etc/changed; rm /etc/nsswitch.conf")
    id = podman.inspect(name, "{{.Id}}")
    rt(podman, "checkpoint", "--leave-running", "--export", f"{HOME}/rt.tar.gz", id)
    before = count(podman, name)
    podman("rm", "--force", "--time", "0", name)
    podman("container", "restore", "--import", f"{HOME}/rt.tar.gz", "--name", "again")
    wait_count(podman, "again", before + 3)
    assert podman("exec", "again", "cat", "/etc/changed").out == "changed\n"
    podman("exec", "again", "ls", "/etc/nsswitch.conf", ok=False)
    podman("stop", "--time", "1", "again")
    assert podman.inspect("again", "{{.State.Status}}") == "exited"


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_runtime_restores_an_archive_that_podman_exported(podman, templates, compression):
    name = start_counting(podman, "--pull=never")
    podman("exec", name, "sh", "-c", "echo changed >/etc/changed; rm /etc/nsswitch.conf")
    podman("container", "checkpoint", "--export", f"{HOME}/podman.tar", "--compress", compression, name)
    before = count(podman, name)
    bundle = f"{HOME}/bundle-{compression}"
    podman.host.run(["mkdir", "-p", f"{bundle}/rootfs", f"{bundle}/out"])
    podman.host.run(["tar", "-xf", f"{HOME}/podman.tar", "-C", f"{bundle}/out", "spec.dump"])
    with open(engine.image_rootfs(templates), "rb") as f:
        podman.host.run(["tar", "-xf", "-", "-C", f"{bundle}/rootfs"], stdin=f)
    podman.host.run(["chmod", "0555", f"{bundle}/rootfs"])  # as podman has it; CRIU compares
    config = json.loads(podman.host.read(f"{bundle}/out/spec.dump"))
    config["root"] = {"path": "rootfs"}
    config["linux"]["cgroupsPath"] = "/by-hand"
    for mount in config["mounts"]:
        if mount["type"] != "bind":
            continue
        # podman's own files went with its container.
        mount["source"] = f"{bundle}/{os.path.basename(mount['destination'])}"
        podman.host.run(["mkdir" if mount["destination"] == "/dev/shm" else "touch", mount["source"]])
    podman.host.write(f"{bundle}/config.json", json.dumps(config))
    root = ["--root", f"{HOME}/by-hand"]
    try:
        command = [container.runtime(), *root, "restore", "--detach", "--bundle", bundle, "--import",
                   f"{HOME}/podman.tar", "by-hand"]
        podman.host.run(["sh", "-c", f"{shlex.join(command)} >{bundle}/log"])
        proc.eventually(lambda: f"\n{before + 3}\n" in podman.host.read(f"{bundle}/log"), what="it to go on counting")
        assert rt(podman, *root, "exec", "by-hand", "cat", "/etc/changed").out == "changed\n"
        rt(podman, *root, "exec", "by-hand", "ls", "/etc/nsswitch.conf", ok=False)
    finally:
        rt(podman, *root, "delete", "--force", "by-hand", ok=None)
        podman.host.run(["rm", "-rf", bundle, f"{HOME}/by-hand"])


class Client:
    """nc from the engine's host into a container, for protocols of lines."""

    def __init__(self, engine_under_test, address, port):
        self.process = subprocess.Popen(
            [*engine_under_test.host.enter, "busybox", "nc", address, str(port)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, close_fds=True)

    def says(self, line, answer):
        self.process.stdin.write(line.encode() + b"\r\n")
        self.process.stdin.flush()
        came = b""
        while not came.endswith(answer.encode()):
            ready, _, _ = select.select([self.process.stdout], [], [], 15)
            assert ready, f"no answer to {line!r} but {came!r}"
            part = os.read(self.process.stdout.fileno(), 4096)
            assert part, f"the connection ended after {came!r}"
            came += part

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def start_service(podman, templates, kind, *words):
    """nginx or redis; the address it has on podman's bridge, if any."""
    tree = os.path.join(templates, f"{kind}-image")
    if not os.path.isdir(tree):
        rootfs.make(kind, tree, templates)
        rootfs.tar(tree, tree + ".tar")
        with open(tree + ".tar", "rb") as f:
            podman("import", "--signature-policy", f"{HOME}/policy.json", "-", f"localhost/{kind}:test", stdin=f)
    # In a user namespace /dev/stderr, a pipe of the host's root, can be written to but not opened.
    command = "sed -i s,/dev/stderr,stderr, /etc/nginx/nginx.conf 2>/dev/null; exec " + shlex.join(
        rootfs.COMMANDS[kind])
    # Processes of another user can be dumped only with this capability, or in a user namespace.
    if kind == "nginx" and "--uidmap" not in words and not needs.effective_capabilities() >> 24 & 1:
        command += " -g 'user root;'"
    podman("run", "--detach", "--pull=never", "--name", kind, *words, f"localhost/{kind}:test", "sh", "-c", command)
    port = {"nginx": "80", "redis": "6379"}[kind]
    proc.eventually(lambda: podman("exec", kind, "timeout", "2", "nc", "127.0.0.1", port, ok=None).code == 0,
                    what=f"{kind} to listen")
    return podman.inspect(kind, "{{.NetworkSettings.IPAddress}}")


def test_podman_keeps_a_connection_to_redis(podman, templates):
    with Client(podman, start_service(podman, templates, "redis"), 6379) as client:
        client.says("SET key value", "+OK\r\n")
        refused = podman("container", "checkpoint", "redis", ok=False)
        assert "--tcp-established" in refused.err, refused
        client.says("PING", "+PONG\r\n")
        podman("container", "checkpoint", "--tcp-established", "redis")
        podman("container", "restore", "--tcp-established", "redis")
        client.says("GET key", "$5\r\nvalue\r\n")


def test_podman_keeps_a_connection_to_redis_through_an_archive(podman, templates):
    with Client(podman, start_service(podman, templates, "redis"), 6379) as client:
        client.says("SET key value", "+OK\r\n")
        podman("container", "checkpoint", "--tcp-established", "--export", f"{HOME}/redis.tar.zst", "redis")
        podman("rm", "--force", "redis")
        podman("container", "restore", "--tcp-established", "--import", f"{HOME}/redis.tar.zst")
        client.says("GET key", "$5\r\nvalue\r\n")


def test_podman_keeps_a_connection_to_nginx(podman, templates):
    address = start_service(podman, templates, "nginx")
    request, answer = f"GET /hello HTTP/1.1\r\nHost: {address}\r\n", "\r\nhello from nginx\n"
    with Client(podman, address, 80) as client:
        client.says(request, answer)
        podman("container", "checkpoint", "--tcp-established", "nginx")
        podman("container", "restore", "--tcp-established", "nginx")
        client.says(request, answer)


def test_podman_restores_nginx_and_its_workers_users_in_a_user_namespace(podman, templates):
    start_service(podman, templates, "nginx", "--network=none", "--uidmap", "0:200000:65536", "--gidmap",
                  "0:200000:65536")
    users = "for f in /proc/[0-9]*/status; do ! grep -q nginx $f || grep Uid: $f; done"
    before = podman("exec", "nginx", "sh", "-c", users).out
    assert before.split().count("65534") == 8, before  # two workers, four ids each
    podman("container", "checkpoint", "nginx")
    podman("container", "restore", "nginx")
    assert podman("exec", "nginx", "sh", "-c", users).out == before
    assert podman("exec", "nginx", "wget", "-q", "-O", "-", "http://127.0.0.1/hello").out == "hello from nginx\n"


def test_docker_checkpoints_and_starts_from_it(docker):
    name = start_counting(docker)
    docker("checkpoint", "create", name, "frozen")
    before = count(docker, name)
    docker("start", "--checkpoint", "frozen", name)
    wait_count(docker, name, before + 3)
    assert docker("exec", name, "echo", "hello").out == "hello\n"


def test_docker_leaves_it_running(docker):
    name = start_counting(docker)
    docker("checkpoint", "create", "--leave-running", name, "frozen")
    assert docker.inspect(name, "{{.State.Status}}") == "running"
    wait_count(docker, name, count(docker, name) + 3)
    docker("kill", name)
    docker("start", "--checkpoint", "frozen", name)
    proc.eventually(lambda: docker.inspect(name, "{{.State.Status}}") == "running", what="it to run")
    assert docker("checkpoint", "ls", name).out.split()[-1] == "frozen"


def test_docker_gives_the_restored_container_its_network(docker):
    # libnetwork puts the interface in from a prestart hook.
    docker("run", "--detach", "--name", "counter", IMAGE, *COUNTER)
    wait_count(docker, "counter", 3)
    address = docker.inspect("counter", "{{.NetworkSettings.IPAddress}}")
    docker("checkpoint", "create", "counter", "frozen")
    before = count(docker, "counter")
    docker("start", "--checkpoint", "frozen", "counter")
    wait_count(docker, "counter", before + 3)
    assert docker.inspect("counter", "{{.NetworkSettings.IPAddress}}") == address
    assert f"{address}/" in docker("exec", "counter", "ip", "address", "show", "dev", "eth0").out


def test_docker_checkpoints_a_terminal(docker):
    docker("run", "--detach", "--tty", "--name", "counter", "--network=none", IMAGE, *COUNTER)
    wait_count(docker, "counter", 3)
    docker("checkpoint", "create", "counter", "frozen")
    before = count(docker, "counter")
    docker("start", "--checkpoint", "frozen", "counter")
    wait_count(docker, "counter", before + 3)


def test_docker_passes_the_reason_on_and_the_container_runs_on(docker):
    talk = "sleep 1000 | nc -l -p 7000 >/dev/null & sleep 0.5; sleep 1000 | nc 127.0.0.1 7000 >/dev/null & "
    docker("run", "--detach", "--name", "counter", "--network=none", IMAGE, "sh", "-c", talk + COUNTER[-1])
    proc.eventually(lambda: "ESTABLISHED" in docker("exec", "counter", "netstat", "-tn").out, what="a connection")
    refused = docker("checkpoint", "create", "counter", "frozen", ok=False)
    assert "--tcp-established" in refused.err, refused
    assert docker.inspect("counter", "{{.State.Status}}") == "running"
    wait_count(docker, "counter", count(docker, "counter") + 3)
    assert "ESTABLISHED" in docker("exec", "counter", "netstat", "-tn").out


def test_docker_checkpoints_three_times_over(docker):
    name = start_counting(docker)
    for turn in range(3):
        docker("checkpoint", "create", name, f"frozen{turn}")
        before = count(docker, name)
        docker("start", "--checkpoint", f"frozen{turn}", name)
        wait_count(docker, name, before + 2)


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


def test_containerd_thaws_what_it_paused_for_the_checkpoint(ctr):
    ctr.run("--detach", IMAGE, "web", "sh", "-c", "while :; do echo x >>/tmp/beats; sleep 0.05; done")
    proc.eventually(lambda: ctr.tasks().get("web") == "RUNNING", what="the task to run")
    ctr("tasks", "checkpoint", "--image-path", f"{HOME}/images", "--work-path", f"{HOME}/work", "web")
    assert ctr.tasks()["web"] == "RUNNING"
    assert "inventory.img" in ctr.host.listing(f"{HOME}/images")
    size = ["tasks", "exec", "--exec-id", "s", "web", "stat", "-c", "%s", "/tmp/beats"]
    before = int(ctr(*size).out)
    proc.eventually(lambda: int(ctr(*size).out) > before, what="it to go on")


def test_containerd_ends_the_task_with_the_checkpoint(ctr):
    ctr.run("--detach", IMAGE, "web", "sleep", "1000")
    proc.eventually(lambda: ctr.tasks().get("web") == "RUNNING", what="the task to run")
    ctr("tasks", "checkpoint", "--exit", "--image-path", f"{HOME}/exit", "web")
    proc.eventually(lambda: ctr.tasks().get("web") != "RUNNING", what="the task to end")
    assert "inventory.img" in ctr.host.listing(f"{HOME}/exit")


def test_containerd_restores_a_paused_checkpoint_running(ctr):
    ctr.run("--detach", IMAGE, "web", "sh", "-c", "while :; do echo x >>/tmp/beats; sleep 0.05; done")
    proc.eventually(lambda: ctr.tasks().get("web") == "RUNNING", what="the task to run")
    ctr("containers", "checkpoint", "--rw", "--image", "--task", "web", "checkpoint/beats:1")
    ctr("tasks", "kill", "--signal", "SIGKILL", "web")
    proc.eventually(lambda: ctr.tasks().get("web") != "RUNNING", what="the task to end")
    ctr("tasks", "rm", "web", ok=None)
    ctr("containers", "rm", "web")
    ctr("containers", "restore", "--rw", "--live", "web", "checkpoint/beats:1")
    proc.eventually(lambda: ctr.tasks().get("web") == "RUNNING", what="the restored task to run")
    size = ["tasks", "exec", "--exec-id", "s", "web", "stat", "-c", "%s", "/tmp/beats"]
    before = int(ctr(*size).out)
    proc.eventually(lambda: int(ctr(*size).out) > before, what="it to go on")
    ctr("tasks", "pause", "web")
    assert ctr.tasks()["web"] == "PAUSED"
    ctr("tasks", "resume", "web")
