"""containerd's runc shim, calling the runtime under test (`ctr run --runc-binary`)."""

import pytest

from lib import engine, needs, proc
from lib.engine import HOME, IMAGE


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
    # The runtime's state of each container went with it.
    assert containerd_host.host.listing(f"{HOME}/runc-root/default") == []


@pytest.fixture
def web(ctr):
    """A container that runs, "web"."""
    ctr.run("--detach", IMAGE, "web", "sleep", "1000")
    proc.eventually(lambda: ctr.tasks().get("web") == "RUNNING", what="the task to run")
    return "web"


def test_run_prints_and_passes_the_exit_status_on(ctr):
    assert ctr.run("--rm", IMAGE, "one", "echo", "hello").out == "hello\n"
    assert ctr.run("--rm", IMAGE, "two", "sh", "-c", "exit 7", ok=None).code == 7


def test_run_says_that_a_program_is_missing(ctr):
    result = ctr.run("--rm", IMAGE, "missing", "/no/such/program", ok=False)
    assert "no such file or directory" in result.err.lower(), result


def test_run_on_a_terminal(ctr):
    with ctr.on_terminal(*ctr.run_words("--rm", "-t", IMAGE, "term", "sh")) as session:
        session.terminal.type("tty; exit 4\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 4


def test_exec(ctr, web):
    assert ctr("tasks", "exec", "--exec-id", "a", web, "echo", "inside").out == "inside\n"
    assert ctr("tasks", "exec", "--exec-id", "b", web, "sh", "-c", "exit 9", ok=None).code == 9
    assert ctr("tasks", "exec", "--exec-id", "c", "--user", "1000", web, "id", "-u").out == "1000\n"


def test_exec_on_a_terminal(ctr, web):
    with ctr.on_terminal("tasks", "exec", "-t", "--exec-id", "tty", web, "sh") as session:
        session.terminal.type("tty; exit 5\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 5


def test_pause_and_resume(ctr, web):
    ctr("tasks", "pause", web)
    assert ctr.tasks()[web] == "PAUSED"
    ctr("tasks", "resume", web)
    assert ctr.tasks()[web] == "RUNNING"


def test_stop_and_remove(ctr, web):
    ctr("tasks", "kill", "--signal", "SIGKILL", web)
    proc.eventually(lambda: ctr.tasks().get(web) == "STOPPED", what="the task to stop")
    assert ctr("tasks", "rm", web, ok=None).code in (0, 137)  # ctr exits as the task did
    ctr("containers", "rm", web)


def test_kill_of_all_processes(ctr, web):
    ctr("tasks", "exec", "--detach", "--exec-id", "more", web, "sleep", "2000")
    assert len(ctr("tasks", "ps", web).out.splitlines()) == 3  # a heading and two processes
    ctr("tasks", "kill", "--all", "--signal", "SIGKILL", web)
    proc.eventually(lambda: ctr.tasks().get(web) == "STOPPED", what="the task to stop")


def test_metrics(ctr, web):
    needs.controller("memory")
    assert "memory" in ctr("tasks", "metrics", web).out


def test_a_memory_limit(ctr):
    needs.controller("memory")
    # Containers of ctr see no cgroups; the path is containerd's choice.
    ctr.run("--detach", "--memory-limit", str(64 << 20), IMAGE, "limited", "sleep", "1000")
    command = "cat /sys/fs/cgroup/memory/default/limited/memory.limit_in_bytes 2>/dev/null || " \
              "cat /sys/fs/cgroup/default/limited/memory.max"
    assert ctr.host.run(["sh", "-c", command]).out.strip() == str(64 << 20)


def test_a_read_only_root_with_a_bind_mount(ctr):
    command = "touch /x 2>/dev/null || echo read-only; cat /data/file"
    ctr.host.write(f"{HOME}/data/file", "from outside")
    result = ctr.run("--rm", "--read-only", "--mount",
                     f"type=bind,src={HOME}/data,dst=/data,options=rbind:ro", IMAGE, "ro", "sh", "-c",
                     command)
    assert result.out == "read-only\nfrom outside"
