"""Real services from the distribution, as one would run them: with namespaces, a terminal, limits
and a seccomp filter; started, entered, paused, updated, deleted."""

import json
import os
import subprocess

import pytest

from lib import cgroup, config, needs, proc

MIB = 1 << 20

# What a server needs not do. The rest of the profile of engines is of the same kind, only longer.
FORBIDDEN = ["mount", "umount2", "pivot_root", "reboot", "swapon", "swapoff", "init_module",
             "finit_module",
             "delete_module", "kexec_load", "bpf", "ptrace", "keyctl", "add_key", "request_key",
             "settimeofday",
             "clock_settime", "unshare", "setns", "open_by_handle_at", "perf_event_open",
             "userfaultfd"]
SECCOMP = {"defaultAction": "SCMP_ACT_ALLOW",
           "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
           "syscalls": [{"names": FORBIDDEN, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
LIMITS = {"memory": {"limit": 256 * MIB, "reservation": 64 * MIB}, "pids": {"limit": 64},
          "cpu": {"shares": 512, "quota": 80000, "period": 100000}}


def service(container, network, kind, terminal):
    c = container(kind=kind, changes={
        "process": {"terminal": terminal,
                    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]},
        "linux": {"resources": LIMITS, "seccomp": SECCOMP}})
    config.set_namespace(c.config, "network", network.path("net"))
    return c


class Nginx:
    kind = "nginx"

    @staticmethod
    def ask(network):
        return proc.run([*network.enter, "timeout", "2", "busybox", "wget", "-q", "-O", "-",
                         "http://127.0.0.1/hello"], ok=None)

    answer = "hello from nginx\n"
    workers = 2


class Redis:
    kind = "redis"

    @staticmethod
    def ask(network):
        return proc.run([*network.enter, "timeout", "2", "sh", "-c",
                         "printf 'PING\\r\\nQUIT\\r\\n' | busybox nc 127.0.0.1 6379"],
                        ok=None)

    answer = "+PONG\r\n+OK\r\n"
    workers = 0


@pytest.fixture(params=[Nginx, Redis], ids=lambda s: s.kind)
def kind(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["files", "terminal"])
def up(request, kind, container, network):
    """The service, answering."""
    for name in ("memory", "pids", "cpu"):
        needs.controller(name)
    c = service(container, network, kind.kind, request.param)
    c.create()
    assert c.status == "created"
    assert kind.ask(network).code != 0, "it must not run before start"
    c.start()
    answers(kind, network)
    return c


def answers(kind, network):
    proc.eventually(lambda: kind.ask(network).out.replace("\r", "") == kind.answer.replace("\r",
                                                                                           ""),
                    what=f"{kind.kind} to answer")


def test_the_life_of_a_service(up, kind, network):
    c = up
    if c.config["process"]["terminal"] and kind is Redis:
        c.terminal.expect("Ready to accept connections")

    # It is what its configuration says.
    with open(f"/proc/{c.pid}/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
    assert cgroup.value(c.pid, "memory", "memory.limit_in_bytes", "memory.max") == str(256 * MIB)
    assert cgroup.value(c.pid, "pids", "pids.max", "pids.max") == "64"
    with open(f"/proc/{c.pid}/limits") as f:
        assert "1024                 1024                 files" in f.read()
    pids = json.loads(c.rt("ps", "--format", "json", c.id).out)
    assert len(pids) == 1 + kind.workers

    # Entered.
    assert c.exec("hostname").out == "container\n"
    assert "1" in c.exec("pidof", "nginx" if kind is Nginx else "redis-server").out.split()
    assert "denied" in c.exec("mount", "-t", "tmpfs", "none", "/mnt", ok=False).err
    with c.exec_on_terminal("sh") as session:
        session.terminal.type("echo on $(tty); exit 5\n")
        session.terminal.expect("on /dev/pts/")
        assert session.wait() == 5

    # Paused: connections are taken by the kernel, answered by nobody, until it goes on.
    c.pause()
    assert c.status == "paused"
    with_timeout = kind.ask(network)
    assert kind.answer not in with_timeout.out
    assert "paused" in c.exec("true", ok=False).err
    c.resume()
    answers(kind, network)

    # Updated.
    c.update(None, "--memory", "128m", "--memory-swap", "128m", "--pids-limit", "32", "--cpu-share",
             "256")
    assert cgroup.value(c.pid, "memory", "memory.limit_in_bytes", "memory.max") == str(128 * MIB)
    assert cgroup.value(c.pid, "pids", "pids.max", "pids.max") == "32"
    answers(kind, network)
    stats = json.loads(c.rt("events", "--stats", c.id).out)["data"]
    assert stats["memory"]["usage"]["limit"] == 128 * MIB
    assert stats["pids"]["current"] >= len(pids)  # it counts threads

    # Ended.
    c.kill("QUIT" if kind is Nginx else "TERM")
    c.wait_stopped()
    c.delete()
    assert not c.exists()
    assert not any(proc.alive(pid) for pid in pids)
    assert kind.ask(network).code != 0


def test_a_reloaded_nginx_keeps_serving(container, network):
    c = service(container, network, "nginx", False)
    c.run_detached()
    answers(Nginx, network)
    before = set(json.loads(c.rt("ps", "-f", "json", c.id).out)) - {c.pid}
    c.kill("HUP")
    proc.eventually(lambda: not before & set(json.loads(c.rt("ps", "-f", "json", c.id).out)),
                    what="new workers")
    answers(Nginx, network)


def test_a_connection_outlives_a_pause(container, network):
    c = service(container, network, "redis", False)
    c.run_detached()
    answers(Redis, network)
    script = ("import socket, sys\ns = socket.create_connection(('127.0.0.1', 6379))\n"
              "for line in sys.stdin:\n s.sendall(line.encode())\n"
              " print(s.recv(100).decode().strip(), flush=True)\n")
    client = subprocess.Popen([*network.enter, "/usr/bin/python3", "-c", script],
                              stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        def say(text):
            client.stdin.write(text + "\n")
            client.stdin.flush()
        say("SET key value")
        assert client.stdout.readline() == "+OK\n"
        c.pause()
        say("INCR counter")
        c.resume()
        assert client.stdout.readline() == ":1\n"
    finally:
        client.stdin.close()
        client.wait(10)
        client.stdout.close()


def test_redis_keeps_its_data_on_a_volume(container, network, work):
    os.mkdir(work + "/data")
    for run in ("first", "second"):
        c = service(container, network, "redis", False)
        c.config["mounts"].append(config.bind(work + "/data", "/data", "rw", "nosuid", "nodev"))
        c.config["process"]["args"] = ["redis-server", "--dir", "/data", "--save", "",
                                       "--appendonly", "yes",
                                       "--appendfsync", "always"]
        c.run_detached()
        proc.eventually(lambda: "PONG" in c.exec("redis-cli", "ping", ok=None).out, what="redis")
        if run == "first":
            c.exec("redis-cli", "set", "kept", "yes")
        else:
            assert c.exec("redis-cli", "get", "kept").out == "yes\n"
        c.kill("KILL")
        c.wait_stopped()
        c.delete()


def test_a_service_in_a_user_namespace(container, network):
    """Its network is the container's own, as one of the host's would not be its root's to use."""
    c = container(kind="nginx")
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "-h", "100000:100000", c.rootfs])
    # What root of the host opened for us can be written to, but not be opened again as /dev/stderr.
    with open(c.host_path("/etc/nginx/nginx.conf"), "r+") as f:
        text = f.read().replace("/dev/stderr", "stderr")
        f.seek(0)
        f.write(text)
        f.truncate()
    c.run_detached()
    fetch = ["nsenter", "--net", "--target", str(c.pid), "busybox", "wget", "-q", "-O", "-",
             "http://127.0.0.1/hello"]
    assert proc.eventually(lambda: proc.run(fetch, ok=None).out,
                           what="nginx to answer") == "hello from nginx\n"
    users = {os.stat(f"/proc/{p}").st_uid for p in json.loads(c.rt("ps", "-f", "json", c.id).out)}
    assert users == {100000, 165534} or users == {100000, 100033}
