"""linux.netDevices: devices of the host that move into the container."""

import json
import os

import pytest

from lib import config, proc


def ip(*words, enter=()):
    return proc.run([*enter, "ip", *words])


@pytest.fixture
def device(outlives_containers):
    """A veth in our network, whose peer stays here: device("rtdev0")."""
    made = []

    def make(name, *addresses, up=True):
        peer = name + "p"
        ip("link", "add", name, "type", "veth", "peer", "name", peer)
        made.append(peer)
        for address in addresses:
            ip("address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
        if up:
            ip("link", "set", name, "up")
        return peer

    yield make
    for peer in made:
        proc.run(["ip", "link", "delete", peer], ok=None)


def here(name):
    return os.path.exists(f"/sys/class/net/{name}")


def net_devices(c, devices):
    c.config["linux"]["netDevices"] = devices


def devices_of(pid):
    """{name: {"up": bool, "addresses": set}} of a process's network."""
    links = json.loads(ip("-j", "address", enter=["nsenter", "-t", str(pid), "-n"]).out)
    return {link["ifname"]: {"up": "UP" in link["flags"],
                             "addresses": {f"{a['local']}/{a['prefixlen']}"
                                           for a in link["addr_info"] if a["scope"] == "global"}}
            for link in links}


def test_a_device_moves_in_with_its_addresses_and_is_up(container, device):
    device("rtdev0", "10.9.0.1/24", "10.9.1.1/16", "fd00:9::1/64")
    c = container(["sleep", "1000"])
    net_devices(c, {"rtdev0": {}})
    c.run_detached()
    assert not here("rtdev0")
    seen = devices_of(c.pid)
    assert set(seen) == {"lo", "rtdev0"}
    assert seen["rtdev0"] == {"up": True,
                              "addresses": {"10.9.0.1/24", "10.9.1.1/16", "fd00:9::1/64"}}
    assert "10.9.0.1/24" in c.exec("ip", "address").out


def test_a_device_that_was_down_comes_up(container, device):
    device("rtdev0", up=False)
    c = container(["sleep", "1000"])
    net_devices(c, {"rtdev0": {}})
    c.run_detached()
    assert devices_of(c.pid)["rtdev0"]["up"]


def test_devices_are_renamed(container, device):
    device("rtdev0", "10.9.0.1/24")
    device("rtdev1", "10.9.1.1/24")
    c = container(["sleep", "1000"])
    net_devices(c, {"rtdev0": {"name": "eth0"}, "rtdev1": {"name": "lan"}})
    c.run_detached()
    seen = devices_of(c.pid)
    assert set(seen) == {"lo", "eth0", "lan"}
    assert seen["eth0"]["addresses"] == {"10.9.0.1/24"}
    assert seen["lan"]["addresses"] == {"10.9.1.1/24"}


def test_a_template_gets_the_first_free_number(container, device, network):
    for number in range(3):
        device(f"rtdev{number}", f"10.9.{number}.1/24")
    network.run(["ip", "link", "add", "eth1", "type", "veth", "peer", "name", "other"])
    c = container(["sleep", "1000"])
    config.drop_namespace(c.config, "network")
    config.set_namespace(c.config, "network", network.path("net"))
    net_devices(c, {"rtdev0": {"name": "eth%d"}, "rtdev1": {"name": "eth%d"},
                    "rtdev2": {"name": "lan%d"}})
    c.run_detached()
    seen = devices_of(c.pid)
    assert {name: seen[name]["addresses"] for name in ("eth0", "eth2", "lan0")} == {
        "eth0": {"10.9.0.1/24"}, "eth2": {"10.9.1.1/24"}, "lan0": {"10.9.2.1/24"}}


def test_packets_go_through(container, device):
    peer = device("rtdev0", "10.9.0.1/24")
    ip("address", "add", "10.9.0.2/24", "dev", peer)
    ip("link", "set", peer, "up")
    c = container(["ping", "-c", "1", "-W", "5", "10.9.0.2"])
    config.set_capabilities(c.config, ["CAP_NET_RAW"])
    net_devices(c, {"rtdev0": {"name": "eth0"}})
    assert " 0% packet loss" in c.run().out


def test_devices_are_there_when_hooks_of_the_host_run(container, device):
    device("rtdev0")
    c = container(["true"])
    net_devices(c, {"rtdev0": {}})
    c.config["hooks"] = {"createRuntime": [{
        "path": "/bin/sh", "args": ["sh", "-c", f"ip link show rtdev0 >{c.dir}/here 2>&1; true"],
        "env": [f"PATH={os.environ['PATH']}"]}]}
    c.run()
    with open(c.dir + "/here") as f:
        assert "does not exist" in f.read()


def test_into_a_joined_network(container, device, network):
    device("rtdev0", "10.9.0.1/24")
    c = container(["sleep", "1000"])
    config.drop_namespace(c.config, "network")
    config.set_namespace(c.config, "network", network.path("net"))
    net_devices(c, {"rtdev0": {}})
    c.run_detached()
    assert devices_of(network.pid)["rtdev0"]["addresses"] == {"10.9.0.1/24"}
    c.delete("--force")
    assert "rtdev0" in devices_of(network.pid)


def test_into_a_network_of_a_user_namespace(container, device):
    device("rtdev0", "10.9.0.1/24")
    c = container(["sleep", "1000"])
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    net_devices(c, {"rtdev0": {"name": "eth0"}})
    c.run_detached()
    assert devices_of(c.pid)["eth0"]["addresses"] == {"10.9.0.1/24"}


def test_a_missing_device_is_named_and_nothing_is_left(container):
    c = container(["true"])
    net_devices(c, {"rtnone": {}})
    assert "rtnone" in c.run(ok=False).err
    assert not c.exists()


def test_a_name_that_is_taken_is_an_error(container, device):
    device("rtdev0")
    c = container(["true"])
    net_devices(c, {"rtdev0": {"name": "lo"}})
    err = c.run(ok=False).err
    assert "rtdev0" in err and "'lo'" in err
    assert here("rtdev0")


def test_a_failure_later_on_does_not_lose_the_other_end(container, device):
    """A veth dies with the network it is in; its peer goes with it, and nothing of ours stays."""
    device("rtdev0")
    c = container(["true"])
    net_devices(c, {"rtdev0": {}, "rtnone": {}})
    c.run(ok=False)
    assert not c.exists()


@pytest.mark.parametrize("devices, word", [
    ({"a/b": {}}, "linux.netDevices"), ({"x" * 16: {}}, "linux.netDevices"),
    ({"eth0": {"name": "eth%s"}}, "linux.netDevices.eth0.name"),
    ({"eth0": 5}, "linux.netDevices.eth0"),
    ({"eth0": {"name": "x"}, "eth1": {"name": "x"}}, "'x'")])
def test_wrong_devices_name_their_field(container, devices, word):
    c = container(["true"])
    net_devices(c, devices)
    assert word in c.run(ok=False).err


def test_devices_need_a_network_namespace(container):
    c = container(["true"])
    config.drop_namespace(c.config, "network")
    net_devices(c, {"lo": {}})
    assert "linux.netDevices" in c.run(ok=False).err
