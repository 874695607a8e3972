"""Namespaces after a restore: new ones are made like the old, joined ones are joined again and never made."""

import os

import pytest

from lib import config, frozen, needs, ns, proc

SLEEP = ["sleep", "1000"]
KINDS = ["pid", "net", "ipc", "uts", "mnt", "cgroup"]


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


def inode(pid, kind):
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def inside_pid(pid):
    """The process's number in its own PID namespace."""
    with open(f"/proc/{pid}/status") as f:
        return next(line for line in f if line.startswith("NSpid")).split()[-1]


def test_each_is_the_container_s_own(running):
    c = running(SLEEP)
    frozen.around(c)
    assert not [kind for kind in KINDS if inode(c.pid, kind) == inode("self", kind)]
    assert inode(c.pid, "user") == inode("self", "user")


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "pid", "cgroup"])
def test_the_host_s_stays_the_host_s(container, kind):
    c = container(["sh", "-c", "while :; do sleep 1; done"])
    config.drop_namespace(c.config, kind)
    if kind in ("uts",):
        del c.config["hostname"]
    if kind == "ipc":
        c.config["mounts"] = [m for m in c.config["mounts"] if m["destination"] != "/dev/mqueue"]
    if kind == "network":
        c.config["mounts"] = [m for m in c.config["mounts"] if not m["destination"].startswith("/sys")]
    c.run_detached()
    file = {"network": "net"}.get(kind, kind)
    assert inode(c.pid, file) == inode("self", file)
    pid = c.pid
    frozen.around(c)
    assert inode(c.pid, file) == inode("self", file) and (kind != "pid" or c.pid == pid)


def test_host_and_domain_name_and_ipc(inside):
    c = inside(changes={"domainname": "example", "linux": {"sysctl": {"kernel.shmmax": "123456", "net.ipv4.ip_forward": "1"}}})
    ask = ("(os.uname().nodename, open('/proc/sys/kernel/domainname').read(), open('/proc/sys/kernel/shmmax').read(),\n"
           " open('/proc/sys/net/ipv4/ip_forward').read())")
    before = c.do(ask)
    assert before == ("container", "example\n", "123456\n", "1\n")
    frozen.around(c)
    assert c.do(ask) == before


def test_the_loopback_is_up_and_works(inside):
    c = inside()
    c.do("l = socket.create_server(('127.0.0.1', 7001))")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert "inet 127.0.0.1" in c.exec("ip", "addr", "show", "lo").out and "UP" in c.exec("ip", "link", "show", "lo").out
        assert c.do("s = socket.create_connection(('127.0.0.1', 7001)); a, _ = l.accept(); s.sendall(b'through'); a.recv(100)") == b"through"
        c.do("s.close(); a.close()")


@pytest.mark.parametrize("kind, file", [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("time", "time")])
def test_one_joined_by_its_path_is_joined_again(container, outlives_containers, kind, file):
    holder = outlives_containers.enter_context(ns.Namespaces(file))
    c = container(SLEEP)
    config.set_namespace(c.config, kind, holder.path(file))
    if kind == "uts":
        del c.config["hostname"]
        holder.run(["hostname", "joined"])
    if kind == "ipc":
        # An mqueue of a namespace that others live in is theirs.
        c.config["mounts"] = [m for m in c.config["mounts"] if m["destination"] != "/dev/mqueue"]
    c.run_detached()
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert inode(c.pid, file) == inode(holder.pid, file)
    if kind == "uts":
        assert c.exec("hostname").out == "joined\n"


def test_another_one_may_be_joined_at_the_restore(container, outlives_containers):
    first, second = (outlives_containers.enter_context(ns.network()) for _ in range(2))
    c = container(SLEEP)
    config.set_namespace(c.config, "network", first.path("net"))
    c.run_detached()
    images = frozen.checkpoint(c)
    config.set_namespace(c.config, "network", second.path("net"))
    c.write_config()
    frozen.restore(c, images)
    assert inode(c.pid, "net") == inode(second.pid, "net")


def test_a_joined_pid_namespace(container, work, outlives_containers):
    """A pod's: its init takes in whoever is orphaned, and the ids the container had are free."""
    holder = container(["sh", "-c", "sleep 1000 & while :; do sleep 0.1; done"])
    holder.run_detached()
    c = container(["sh", "-c", "while :; do sleep 1; done"])
    config.set_namespace(c.config, "pid", f"/proc/{holder.pid}/ns/pid")
    c.run_detached()
    before = inside_pid(c.pid)
    frozen.around(c)
    assert inode(c.pid, "pid") == inode(holder.pid, "pid") and inside_pid(c.pid) == before


@pytest.mark.parametrize("kind", ["user", "mount"])
def test_those_that_criu_cannot_join_are_told_before(container, outlives_containers, kind):
    holder = outlives_containers.enter_context(ns.Namespaces("user", "net") if kind == "user" else ns.Namespaces("mount"))
    c = container(["sh", "-c", "while :; do sleep 1; done"])
    if kind == "user":
        for which in ("uid_map", "gid_map"):
            with open(f"/proc/{holder.pid}/{which}", "w") as f:
                f.write("0 200000 65536")
        config.set_namespace(c.config, "network", holder.path("net"))
        proc.run(["chown", "-R", "-h", "200000:200000", c.rootfs])
        os.chmod(os.path.dirname(c.dir), 0o711)
    config.set_namespace(c.config, kind, holder.path(kind))
    c.run_detached()
    words = f"joined the {kind} namespace '{holder.path(kind)}'"
    assert words in frozen.checkpoint(c, ok=False).err and c.status == "running"
    assert words in c.rt("checkpoint", "--check", c.id, ok=False).out


def test_the_clocks_of_a_time_namespace_do_not_go_back(inside):
    c = inside(started=False, changes={"linux": {"timeOffsets": {"boottime": {"secs": 1000000, "nanosecs": 0}, "monotonic": {"secs": 2000000, "nanosecs": 5}}}})
    config.set_namespace(c.config, "time")
    c.run_detached()
    ask = "(time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime(time.CLOCK_BOOTTIME))"
    before = c.do(ask)
    assert before[0] > 2000000 and before[1] > 1000000
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        after = c.do(ask)
        assert all(0 < now - then < 60 for now, then in zip(after, before)), (before, after)
        assert inode(c.pid, "time") != inode("self", "time")


def test_a_namespace_that_is_gone_is_named(container, outlives_containers):
    holder = outlives_containers.enter_context(ns.network())
    c = container(SLEEP)
    config.set_namespace(c.config, "network", holder.path("net"))
    c.run_detached()
    images = frozen.checkpoint(c)
    config.set_namespace(c.config, "network", "/run/nowhere")
    c.write_config()
    assert "/run/nowhere" in frozen.restore(c, images, ok=False).err and not c.exists()
    config.set_namespace(c.config, "network")
    c.write_config()
    assert "had joined a net namespace" in frozen.restore(c, images, ok=False).err and not c.exists()
