"""Docker's daemon with the runtime under test added (`dockerd --add-runtime`)."""

import pytest

from lib import engine, needs, proc
from lib.engine import IMAGE


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


def run_detached(docker, *words, command=("sleep", "1000")):
    return docker("run", "--detach", "--network=none", *words, IMAGE, *command).out.strip()


def run(docker, *words, command, **how):
    return docker("run", "--rm", "--network=none", *words, IMAGE, *command, **how)


def test_the_daemon_knows_the_runtime(docker):
    assert docker("info", "--format", "{{.DefaultRuntime}}").out == "tested\n"


def test_run_prints_and_passes_the_exit_status_on(docker):
    assert run(docker, command=["echo", "hello"]).out == "hello\n"
    assert run(docker, command=["sh", "-c", "exit 7"], ok=None).code == 7


def test_run_tells_a_missing_program_apart(docker):
    assert run(docker, command=["/no/such/program"], ok=None).code == 127


def test_run_on_a_terminal(docker):
    with docker.on_terminal("run", "--rm", "-it", "--network=none", IMAGE, "sh") as session:
        session.terminal.type("tty; exit 4\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 4


def test_exec(docker):
    name = run_detached(docker)
    assert docker("exec", name, "echo", "inside").out == "inside\n"
    assert docker("exec", "--user", "1000", "--workdir", "/tmp", name, "sh", "-c",
                  "echo $(id -u) $(pwd)").out == "1000 /tmp\n"
    assert docker("exec", name, "sh", "-c", "exit 9", ok=None).code == 9


def test_exec_on_a_terminal(docker):
    name = run_detached(docker)
    with docker.on_terminal("exec", "-it", name, "sh") as session:
        session.terminal.type("tty; exit 5\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 5


def test_logs(docker):
    name = run_detached(docker, command=["sh", "-c", "echo out; echo err >&2; sleep 1000"])
    proc.eventually(lambda: docker("logs", name).out == "out\n", what="the log")
    assert docker("logs", name).err == "err\n"


def test_stop_gives_the_process_its_chance(docker):
    name = run_detached(docker, command=["sh", "-c",
                                         "trap 'exit 3' TERM; while :; do sleep 0.1; done"])
    docker("stop", "--time", "20", name)
    assert docker.inspect(name, "{{.State.ExitCode}}") == "3"


def test_kill_and_start_again(docker):
    name = run_detached(docker)
    docker("kill", name)
    assert docker("wait", name).out == "137\n"
    docker("start", name)
    assert docker.inspect(name, "{{.State.Status}}") == "running"


def test_pause(docker):
    name = run_detached(docker)
    docker("pause", name)
    assert docker.inspect(name, "{{.State.Status}}") == "paused"
    docker("unpause", name)
    assert docker("exec", name, "true").code == 0


def limit(docker, name, controller, v1_file, v2_file):
    return docker("exec", name, "sh", "-c", f"cat /sys/fs/cgroup/{controller}/{v1_file} "
                  f"2>/dev/null || cat /sys/fs/cgroup/{v2_file}").out.strip()


def test_limits_and_their_update(docker):
    needs.controller("memory")
    needs.controller("pids")
    name = run_detached(docker, "--memory", "64m", "--memory-swap", "-1", "--pids-limit", "50")
    assert limit(docker, name, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(docker, name, "pids", "pids.max", "pids.max") == "50"
    docker("update", "--memory", "96m", "--memory-swap", "-1", "--pids-limit", "60", name)
    assert limit(docker, name, "memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert limit(docker, name, "pids", "pids.max", "pids.max") == "60"


def test_top_and_stats(docker):
    name = run_detached(docker)
    assert "sleep 1000" in docker("top", name).out
    assert docker("stats", "--no-stream", "--format", "{{.Container}}", name).code == 0


def test_many_options(docker):
    command = """hostname; id -u; pwd; echo $GREETING; ulimit -n
        touch /x 2>/dev/null || echo read-only; touch /scratch/y && echo tmpfs"""
    out = run(docker, "--hostname", "named", "--user", "1000", "--workdir", "/tmp", "--env",
              "GREETING=hi", "--ulimit", "nofile=123:123", "--read-only", "--tmpfs", "/scratch",
              "--cap-drop", "all", "--security-opt", "no-new-privileges",
              command=["sh", "-c", command]).out
    assert out.split() == ["named", "1000", "/tmp", "hi", "123", "read-only", "tmpfs"]


def test_a_bridge_network(docker):
    name = docker("run", "--detach", IMAGE, "sh", "-c",
                  "mkdir /www; echo served >/www/index.html; httpd -f -p 80 -h /www").out.strip()
    address = docker.inspect(name, "{{.NetworkSettings.IPAddress}}")
    assert address
    answer = proc.eventually(
        lambda: docker.host.run(["busybox", "wget", "-q", "-O", "-", f"http://{address}/"],
                                ok=None).out, what="the container to answer")
    assert answer == "served\n"
