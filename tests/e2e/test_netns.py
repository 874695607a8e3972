"""rt-netns: networks for containers, as a hook, and the addresses it gives."""

import os
import subprocess

import pytest

from lib import config, frozen, netns, proc
from lib.netns_places import ECHO, SUBNET6, ask, bundle, host, into, place, served, state  # noqa: F401 (fixtures are used by their names)

# As a hook

def test_a_container_has_an_address_on_the_bridge_and_a_default_route(container, host):
    c = host.add_hooks(container(["sleep", "1000"]), *SUBNET6)
    c.run_detached()
    saved = host.save(c.id)
    eth0 = netns.devices(c.pid)["eth0"]
    assert eth0 == {"mac": saved["mac"], "mtu": 1500, "up": True, "addresses": {a["address"] for a in saved["addresses"]}}
    assert netns.devices(c.pid)["lo"]["up"]
    assert host.address(c.id).startswith("172.19.") and host.address(c.id, 6).startswith("fd00:19::")
    routes = proc.run([*into(c.pid), "ip", "route"]).out
    assert "default via 172.19.0.1 dev eth0" in routes
    assert "default via fd00:19::1 dev eth0" in proc.run([*into(c.pid), "ip", "-6", "route"]).out
    assert host.list()[c.id]["status"] == "up" and host.list()[c.id]["pid"] == c.pid


@pytest.mark.parametrize("kind", ("prestart", "createRuntime"))
def test_deleting_the_container_undoes_everything(container, host, kind):
    c = host.add_hooks(container(["sleep", "1000"]), *SUBNET6, "--nat", "--publish", "8080:80", kind=kind)
    c.run_detached()
    assert "rt_netns" in frozen.nft_rules() and os.path.exists("/sys/class/net/rt0")
    c.kill()
    c.wait_stopped()
    c.delete()
    host.nothing_left()
    assert frozen.nft_rules() == "" and not os.path.exists("/sys/class/net/rt0")


def test_both_hooks_before_the_start_make_one_network(container, host):
    c = host.add_hooks(container(["sleep", "1000"]))
    c.config["hooks"]["prestart"] = [host.hook()]
    c.run_detached()
    assert set(netns.devices(c.pid)) == {"lo", "eth0"}


@pytest.mark.parametrize("family", (4, 6))
def test_containers_reach_the_host_and_each_other(inside, host, family):
    a = served(inside, host, *SUBNET6)
    b = served(inside, host, *SUBNET6)
    own = {4: "172.19.0.1", 6: "fd00:19::1"}[family]
    assert ask(host.address(a.id, family), 80) == own
    assert ask(host.address(a.id, family), 80, into(b.pid)) == host.address(b.id, family)
    server = subprocess.Popen(["/usr/bin/python3", "-c", ECHO.replace("daemon=True", "daemon=False") % 81], close_fds=True)
    try:
        proc.eventually(lambda: f":{81:04X} " in open("/proc/net/tcp6").read(), what="the host's server")
        assert ask(own, 81, into(a.pid)) == host.address(a.id, family)
    finally:
        server.kill()
        server.wait()


def test_a_user_namespace_is_no_hindrance(container, host):
    c = container(["sleep", "1000"])
    config.use_user_namespace(c.config, 200000)
    proc.run(["chown", "-R", "-h", "200000:200000", c.rootfs])
    os.chmod(os.path.dirname(c.dir), 0o711)
    host.add_hooks(c).run_detached()
    assert netns.devices(c.pid)["eth0"]["up"]


def test_a_failing_hook_leaves_nothing(container, host):
    c = host.add_hooks(container(["sleep", "1000"]), "--ip", "10.0.0.1")
    result = c.run_detached(ok=False)
    assert "address 10.0.0.1 is not in 172.19.0.0/16" in result.err
    host.nothing_left()


def test_a_container_in_the_hosts_network_gets_none(container, host):
    c = container(["sleep", "1000"])
    c.config["linux"]["namespaces"] = [n for n in c.config["linux"]["namespaces"] if n["type"] != "network"]
    c.config["mounts"] = [m for m in c.config["mounts"] if m["destination"] != "/sys"]
    assert "it has no network namespace of its own" in host.add_hooks(c).run_detached(ok=False).err
    host.nothing_left()


def test_fifty_hooks_at_once_give_fifty_addresses(host, place, bundle, work):
    places = [place() for _ in range(50)]
    path = bundle()
    started = []
    for i, one in enumerate(places):
        with open(f"{work}/state{i}", "w+") as f:
            f.write(state(f"c{i}", one.pid, path))
            f.seek(0)
            started.append(proc.start(host.argv("hook", "--subnet", "172.19.0.0/24", *SUBNET6), stdin=f.fileno()))
    assert [one.wait(60) for one in started] == [0] * 50
    found = host.list()
    assert len({a["address"] for one in found.values() for a in one["addresses"]}) == 100
    assert len({one["mac"] for one in found.values()}) == 50
    assert all(one["status"] == "up" for one in found.values())
    started = [proc.start(host.argv("rm", id)) for id in found]
    assert [one.wait(60) for one in started] == [0] * 50
    host.nothing_left()
    assert not os.path.exists("/sys/class/net/rt0")


def test_poststop_of_a_container_without_a_network_is_fine(host, bundle):
    host("hook", stdin=state("ghost", 0, bundle(), "stopped"))
    host.nothing_left()


@pytest.mark.parametrize("text, sentence", [
    ("", "reading the container's state"),
    ("[]", "must be an object"),
    ('{"id": "x", "status": "creating", "bundle": "/"}', "'pid' is missing"),
    ('{"id": "x", "status": "paused", "bundle": "/", "pid": 1}', "'status' is 'paused'"),
    ('{"id": "../x", "status": "stopped", "bundle": "/"}', "'../x' cannot be a container's id"),
    ('{"status": "stopped", "bundle": "/"}', "'id' is missing"),
])
def test_a_state_that_is_none_is_refused(host, text, sentence):
    assert sentence in host.refuses("hook", stdin=text) or sentence == "reading the container's state"
    host.nothing_left()


# Addresses

def test_the_same_id_finds_the_same_address_again(host, place):
    a, b = place(), place()
    host("create", "web", "--pid", a.pid, *SUBNET6)
    before = host.save("web")
    host("rm", "web")
    host("create", "other", "--pid", a.pid, *SUBNET6)
    host("create", "web", "--pid", b.pid, *SUBNET6)
    assert host.save("web") == before


def test_options_say_what_the_container_gets(host, place):
    a = place()
    host("create", "web", "--pid", a.pid, "--bridge", "br7", "--ifname", "net1", "--subnet", "10.7.0.0/24", "--ip", "10.7.0.9", "--gateway",
         "10.7.0.254", "--ip6", "fd07::9/112", "--mac", "02:00:00:00:07:09", "--mtu", "1400", "--static-route", "10.8.0.0/16=10.7.0.8")
    assert netns.devices(a.pid)["net1"] == {"mac": "02:00:00:00:07:09", "mtu": 1400, "up": True, "addresses": {"10.7.0.9/24", "fd07::9/112"}}
    routes = proc.run([*into(a.pid), "ip", "route"]).out
    assert "default via 10.7.0.254 dev net1" in routes and "10.8.0.0/16 via 10.7.0.8 dev net1" in routes
    assert netns.devices(os.getpid())["br7"]["addresses"] == {"10.7.0.254/24", "fd07::1/112"}


def test_ipv6_alone(host, place):
    a = place()
    host("create", "web", "--pid", a.pid, "--subnet", "none", *SUBNET6)
    assert host.address("web") is None
    assert netns.devices(a.pid)["eth0"]["addresses"] == {host.address("web", 6) + "/64"}


def test_a_namespace_by_its_path(host, place):
    a = place()
    host("create", "web", "--netns", a.path("net"))
    assert "eth0" in netns.devices(a.pid)
    assert host.list()["web"]["pid"] == 0


def test_a_pool_gives_all_it_has_and_then_says_so(host, place):
    for i in range(5):
        host("create", f"c{i}", "--pid", place().pid, "--subnet", "10.9.0.0/29")
    assert "no address is left in 10.9.0.0/29" in host.refuses("create", "c5", "--pid", place().pid, "--subnet", "10.9.0.0/29")
    assert sorted(host.address(f"c{i}") for i in range(5)) == [f"10.9.0.{n}" for n in range(2, 7)]
    host("rm", "c3")
    host("create", "c5", "--pid", place().pid, "--subnet", "10.9.0.0/29")


# The bridge

def test_a_bridge_of_the_operator_stays(host, place):
    proc.run(["ip", "link", "add", "ours0", "type", "bridge"])
    try:
        proc.run(["ip", "address", "add", "10.6.0.77/24", "dev", "ours0"])
        a = place()
        host("create", "web", "--pid", a.pid, "--bridge", "ours0", "--subnet", "10.6.0.0/24")
        assert "default via 10.6.0.77" in proc.run([*into(a.pid), "ip", "route"]).out
        host("rm", "web")
        host.nothing_left()
        assert os.path.exists("/sys/class/net/ours0")
    finally:
        proc.run(["ip", "link", "delete", "ours0"])


def test_a_bridge_of_others_keeps_its_address(host, place):
    """It has the lowest of its ports': what is on its way to the host is lost whenever that changes."""
    proc.run(["ip", "link", "add", "ours0", "type", "bridge"])
    proc.run(["ip", "link", "add", "uplink0", "address", "fa:ff:ff:00:00:01", "type", "veth", "peer", "name", "uplink1"])
    try:
        proc.run(["ip", "link", "set", "uplink0", "master", "ours0", "up"])
        before = netns.devices(os.getpid())["ours0"]["mac"]
        assert before == "fa:ff:ff:00:00:01"
        a = place()
        host("create", "web", "--pid", a.pid, "--bridge", "ours0", "--hostless")
        assert netns.devices(os.getpid())["ours0"]["mac"] == before
        host("detach", "web")
        assert netns.devices(os.getpid())["ours0"]["mac"] == before
    finally:
        proc.run(["ip", "link", "delete", "uplink0"])
        proc.run(["ip", "link", "delete", "ours0"])


def test_hostless_leaves_the_host_out(host, place):
    proc.run(["ip", "link", "add", "ours0", "type", "bridge"])
    try:
        a, b = place(), place()
        for id, one in (("a", a), ("b", b)):
            host("create", id, "--pid", one.pid, "--bridge", "ours0", "--hostless")
        assert netns.devices(os.getpid())["ours0"]["addresses"] == set()
        assert "default" not in proc.run([*into(a.pid), "ip", "route"]).out
        server = proc.start([*into(a.pid), "/usr/bin/python3", "-c", ECHO.replace("daemon=True", "daemon=False") % 80])
        try:
            proc.eventually(lambda: ":0050 " in proc.run([*into(a.pid), "cat", "/proc/net/tcp6"]).out, what="the server")
            assert ask(host.address("a"), 80, into(b.pid)) == host.address("b")
        finally:
            server.kill()
            server.wait()
        for id in "ab":
            host("rm", id)
    finally:
        proc.run(["ip", "link", "delete", "ours0"])


def test_a_bridge_with_somebody_elses_port_is_not_removed(host, place):
    host("create", "web", "--pid", place().pid)
    proc.run(["ip", "link", "add", "guest0", "type", "veth", "peer", "name", "guest1"])
    try:
        proc.run(["ip", "link", "set", "guest0", "master", "rt0"])
        host("rm", "web")
        assert os.path.exists("/sys/class/net/rt0")
    finally:
        proc.run(["ip", "link", "delete", "guest0"])
    host("create", "web", "--pid", place().pid)
    host("rm", "web")
    assert not os.path.exists("/sys/class/net/rt0")
