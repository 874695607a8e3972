"""podman, with the runtime under test in place of its own."""

import pytest

from lib import engine, needs, proc
from lib.engine import IMAGE


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


def run_detached(podman, *words, command=("sleep", "1000")):
    """A container without a network of its own, which most tests don't need; its id."""
    return podman("run", "--detach", "--pull=never", "--network=none", *words, IMAGE,
                  *command).out.strip()


def run(podman, *words, command, **how):
    return podman("run", "--rm", "--pull=never", "--network=none", *words, IMAGE, *command, **how)


def test_run_prints_and_passes_the_exit_status_on(podman):
    assert run(podman, command=["echo", "hello"]).out == "hello\n"
    assert run(podman, command=["sh", "-c", "exit 7"], ok=None).code == 7


def test_run_tells_a_missing_program_apart(podman):
    result = run(podman, command=["/no/such/program"], ok=None)
    assert result.code == 127, result


def test_run_on_a_terminal(podman):
    with podman.on_terminal("run", "--rm", "-it", "--pull=never", "--network=none", IMAGE,
                            "sh") as session:
        session.terminal.type("tty; stty size; exit 4\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 4


def test_run_with_many_options(podman):
    command = """hostname; id -u; id -G; pwd; echo $GREETING; cat /data/x; ulimit -n
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start; grep -c . /proc/self/mountinfo >/dev/null
        touch /rootfs-is-read-only 2>/dev/null || echo read-only; touch /scratch/y && echo tmpfs"""
    podman("volume", "create", "data")
    run(podman, "--volume", "data:/data", command=["sh", "-c", "echo volume >/data/x"])
    out = run(podman, "--hostname", "named", "--user", "1000:1000", "--group-add", "500",
              "--workdir", "/tmp", "--env", "GREETING=hi", "--volume", "data:/data:ro",
              "--ulimit", "nofile=123:123", "--ulimit", "nproc=200:200",
              "--sysctl", "net.ipv4.ip_unprivileged_port_start=80",
              "--read-only", "--tmpfs", "/scratch:mode=1777", "--cap-drop", "all",
              "--security-opt", "no-new-privileges", command=["sh", "-c", command]).out
    podman("volume", "rm", "data")
    assert out.split() == ["named", "1000", "1000", "500", "/tmp", "hi", "volume", "123", "80",
                           "read-only", "tmpfs"]


def test_privileged(podman):
    out = run(podman, "--privileged", command=["grep", "CapEff", "/proc/self/status"]).out
    assert int(out.split()[1], 16) >> 21 & 1  # CAP_SYS_ADMIN


def test_exec(podman):
    name = run_detached(podman)
    assert podman("exec", name, "echo", "inside").out == "inside\n"
    assert podman("exec", "--user", "1000", "--workdir", "/tmp", "--env", "A=b", name, "sh", "-c",
                  "echo $(id -u) $(pwd) $A").out == "1000 /tmp b\n"
    assert podman("exec", name, "sh", "-c", "exit 9", ok=None).code == 9
    assert podman("exec", "-i", name, "cat", stdin="through stdin").out == "through stdin"


def test_exec_on_a_terminal(podman):
    name = run_detached(podman)
    with podman.on_terminal("exec", "-it", name, "sh") as session:
        session.terminal.type("tty; exit 5\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 5


def test_exec_detached(podman):
    name = run_detached(podman)
    podman("exec", "--detach", name, "sh", "-c", "echo there >/tmp/file")
    proc.eventually(lambda: podman("exec", name, "cat", "/tmp/file", ok=None).out == "there\n",
                    what="the detached command to have run")


def test_logs(podman):
    name = run_detached(podman, command=["sh", "-c", "echo out; echo err >&2; sleep 1000"])
    proc.eventually(lambda: podman("logs", name).out == "out\n", what="the log")
    assert podman("logs", name).err == "err\n"


def test_stop_gives_the_process_its_chance(podman):
    name = run_detached(podman, command=["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"])
    podman("stop", "--time", "20", name)
    assert podman.inspect(name, "{{.State.ExitCode}}") == "3"
    assert podman.inspect(name, "{{.State.Status}}") == "exited"


def test_kill_and_start_again(podman):
    name = run_detached(podman)
    podman("kill", name)
    assert podman("wait", name).out == "137\n"
    podman("start", name)
    assert podman.inspect(name, "{{.State.Status}}") == "running"


def test_pause(podman):
    command = ["sh", "-c", "while :; do echo x >>/tmp/beats; sleep 0.02; done"]
    name = run_detached(podman, command=command)
    podman("pause", name)
    assert podman.inspect(name, "{{.State.Status}}") == "paused"
    podman("unpause", name)
    assert podman("exec", name, "test", "-s", "/tmp/beats").code == 0


def test_stop_of_a_paused_container_after_unpause_and_force_removal_while_paused(podman):
    name = run_detached(podman)
    podman("pause", name)
    podman("rm", "--force", "--time", "0", name)
    assert podman("ps", "--all", "--quiet").out == ""


def limit(podman, name, controller, v1_file, v2_file):
    """What the cgroup of a container says, as the container sees it."""
    return podman("exec", name, "sh", "-c", f"cat /sys/fs/cgroup/{controller}/{v1_file} "
                  f"2>/dev/null || cat /sys/fs/cgroup/{v2_file}").out.strip()


def test_memory_and_pids_limits(podman):
    needs.controller("memory")
    needs.controller("pids")
    name = run_detached(podman, "--memory", "64m", "--pids-limit", "50")
    assert limit(podman, name, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(podman, name, "pids", "pids.max", "pids.max") == "50"


def test_too_many_processes_are_refused(podman):
    needs.controller("pids")
    out = run(podman, "--pids-limit", "5", command=[
        "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait"], ok=None)
    assert "can't fork" in out.err + out.out


def test_update(podman):
    needs.controller("memory")
    if podman("update", "--help", ok=None).code != 0:
        pytest.skip("this podman has no update")
    name = run_detached(podman, "--memory", "64m")
    podman("update", "--memory", "96m", name)
    assert limit(podman, name, "memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)


def test_a_user_namespace(podman):
    name = run_detached(podman, "--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536")
    assert podman("exec", name, "cat", "/proc/self/uid_map").out.split() == ["0", "200000", "65536"]
    assert podman("exec", name, "id", "-u").out == "0\n"
    assert podman("exec", name, "stat", "-c", "%u", "/etc/passwd").out == "0\n"


def test_a_pod_shares_its_network_and_ipc(podman):
    podman("pod", "create", "--name", "pod", "--network=none", "--infra-image", IMAGE,
           "--infra-command", "sleep 1000")
    for name in ("one", "two"):
        podman("run", "--detach", "--pull=never", "--pod", "pod", "--name", name, IMAGE, "sleep",
               "1000")
    inside = "cd /proc/self/ns; for ns in net ipc mnt; do readlink $ns; done"
    one = podman("exec", "one", "sh", "-c", inside).out.splitlines()
    two = podman("exec", "two", "sh", "-c", inside).out.splitlines()
    assert one[:2] == two[:2] and one[2] != two[2]
    podman("pod", "pause", "pod")
    assert podman.inspect("one", "{{.State.Status}}") == "paused"
    podman("pod", "unpause", "pod")
    podman("pod", "stop", "--time", "1", "pod")
    assert podman.inspect("two", "{{.State.Status}}") == "exited"
    podman("pod", "rm", "pod")


def test_a_bridge_network(podman):
    name = podman("run", "--detach", "--pull=never", IMAGE, "sh", "-c",
                  "mkdir /www; echo served >/www/index.html; httpd -f -p 80 -h /www").out.strip()
    address = podman.inspect(name, "{{.NetworkSettings.IPAddress}}")
    assert address
    answer = proc.eventually(
        lambda: podman.host.run(["busybox", "wget", "-q", "-O", "-", f"http://{address}/"],
                                ok=None).out, what="the container to answer")
    assert answer == "served\n"


def test_top_and_stats(podman):
    name = run_detached(podman)
    assert "sleep 1000" in podman("top", name).out
    assert podman("stats", "--no-stream", "--format", "{{.PIDs}}", name).out.strip() == "1"


def test_nothing_is_left_when_containers_are_gone(podman):
    for _ in range(3):
        run(podman, command=["true"])
    assert podman("ps", "--all", "--quiet").out == ""
    assert podman.host.run(["pgrep", "-x", "conmon"], ok=None).out == ""
