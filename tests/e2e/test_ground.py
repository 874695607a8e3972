"""The ground the other tests stand on: if one of these fails, don't trust the rest."""

import os
import socket
import subprocess

import pytest

from lib import cgroup, config, host, ns, proc


def test_a_container_prints_and_ends(container):
    result = container(args=["echo", "hello"]).run()
    assert result.out == "hello\n"


def test_a_created_container_starts_runs_commands_and_is_deleted(container):
    c = container(args=["sh", "-c", "echo started; sleep 1000"])
    c.create()
    assert c.status == "created"
    assert c.output == ""
    c.start()
    c.wait_output("started\n")
    assert c.state()["pid"] == c.pid
    assert c.exec("hostname").out == "container\n"
    c.kill()
    c.wait_stopped()
    c.delete()
    assert not c.exists()


def test_the_terminal_comes_over_the_console_socket(container):
    c = container(args=["sh"], changes={"process": {"terminal": True}})
    c.create()
    c.start()
    c.terminal.type("echo a$((1+1))b\n")
    c.terminal.expect("a2b")


def test_exec_on_a_terminal(running):
    c = running()
    with c.exec_on_terminal("sh") as session:
        session.terminal.type("tty; exit 3\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 3


def test_only_cgroup2(container, cgroup2_only):
    c = container(enter=cgroup2_only.enter)
    c.run_detached()
    assert cgroup.of_process(c.pid)[""].endswith(c.id)


def test_the_link_of_two_networks_carries_packets(work):
    with ns.Link() as link:
        link.a.run(["busybox", "ping", "-c", "1", "-W", "2", "10.99.0.2"])


def test_nginx_answers(container, network):
    c = container(kind="nginx")
    config.set_namespace(c.config, "network", network.path("net"))
    c.run_detached()
    fetch = [*network.enter, "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/hello"]
    answer = proc.eventually(lambda: proc.run(fetch, ok=None).out, what="nginx to answer")
    assert answer == "hello from nginx\n"


def test_redis_answers(container):
    c = container(kind="redis")
    c.run_detached()
    proc.eventually(lambda: "PONG" in c.exec("redis-cli", "ping", ok=None).out,
                    what="redis to answer")


def test_what_a_test_leaves_behind_is_seen_and_swept(work):
    before = host.Snapshot()
    child = subprocess.Popen(["sleep", "1000"])
    os.makedirs("/run/left")
    proc.run(["mount", "-t", "tmpfs", "tmpfs", "/run/left"])
    os.mkdir(cgroup.hierarchies()[0].mountpoint + "/left")
    proc.run(["ip", "link", "add", "left", "type", "veth", "peer", "name", "left2"])
    sock = socket.socket()
    told = "\n".join(host.compare(before, patience=0))
    for word in ("processes: ", "mounts: ", "cgroups: ", "files: ", "descriptors: ",
                 "network links: left"):
        assert word in told
    sock.close()
    proc.run(["ip", "link", "delete", "left"])
    host.sweep(before)
    child.wait()
    assert host.compare(before) == []


def test_a_command_that_hangs_fails_the_test():
    with pytest.raises(AssertionError, match="still running after 0.2 s"):
        proc.run(["sleep", "1000"], timeout=0.2)
