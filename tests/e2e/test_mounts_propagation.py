"""What of the mounts of a container and its host reaches the other."""

import os

import pytest

from lib import config, ns
from lib.mounting import add, mounted, parse, source  # noqa: F401 (fixtures are used by their names)


@pytest.fixture
def shared_host(outlives_containers):
    """A mount namespace in which everything is shared, as on a host with systemd."""
    space = outlives_containers.enter_context(ns.Namespaces("mount"))
    space.run(["mount", "--make-rshared", "/"])
    return space


@pytest.mark.parametrize("propagation, expected", [
    ("shared", "shared"), ("rshared", "shared"), ("slave", "master"), ("rslave", "master"),
    ("private", ""), ("rprivate", ""), ("unbindable", "unbindable"),
    ("runbindable", "unbindable"), (None, "")])
def test_propagation_of_the_root(container, shared_host, propagation, expected):
    c = container(["cat", "/proc/self/mountinfo"], enter=shared_host.enter)
    if propagation:
        c.config["linux"]["rootfsPropagation"] = propagation
    seen = parse(c.run().out)["/"].propagation
    if propagation is None:
        assert "shared" not in seen
    else:
        assert expected in seen and bool(seen) == bool(expected)


@pytest.mark.parametrize("option, expected", [
    ("shared", "shared"), ("slave", ""), ("private", ""), ("unbindable", "unbindable"),
    ("rshared", "shared"), ("rprivate", ""), ("runbindable", "unbindable")])
def test_propagation_of_a_mount(mounted, source, option, expected):
    seen = mounted("/data", source, ["rbind", option])
    assert expected in seen["/data"].propagation
    assert bool(seen["/data"].propagation) == bool(expected)
    below = seen["/data/sub"].propagation
    assert (expected in below) if option.startswith("r") else not below or option == "slave"


def test_a_slave_gets_what_the_host_mounts_later(container, shared_host, source):
    c = container(["sh", "-c", "until grep -q /data/late /proc/self/mountinfo; do sleep 0.02; "
                               "done; echo came"], enter=shared_host.enter)
    os.makedirs(source + "/late")
    add(c, "/data", source, ["rbind", "rslave"])
    c.config["linux"]["rootfsPropagation"] = "rslave"
    c.run_detached()
    shared_host.run(["mount", "-t", "tmpfs", "late", source + "/late"])
    c.wait_output("came")


def test_a_private_mount_gets_nothing(container, shared_host, source):
    c = container(["sleep", "1000"], enter=shared_host.enter)
    os.makedirs(source + "/late")
    add(c, "/data", source, ["rbind", "rprivate"])
    c.run_detached()
    shared_host.run(["mount", "-t", "tmpfs", "late", source + "/late"])
    assert "/data/late" not in c.exec("cat", "/proc/self/mountinfo").out


def test_what_a_shared_volume_gets_comes_to_the_host(container, shared_host, source):
    c = container(["mount", "-t", "tmpfs", "late", "/data/late"], enter=shared_host.enter)
    os.makedirs(source + "/late")
    add(c, "/data", source, ["rbind", "rshared"])
    c.config["linux"]["rootfsPropagation"] = "rshared"
    config.set_capabilities(c.config, ["CAP_SYS_ADMIN"])
    c.run()
    assert source + "/late" in shared_host.run(["cat", "/proc/self/mountinfo"]).out
    shared_host.run(["umount", source + "/late"])


def test_nothing_of_a_container_is_mounted_on_a_shared_host(container, shared_host):
    c = container(["sleep", "1000"], enter=shared_host.enter)
    c.config["linux"]["rootfsPropagation"] = "rshared"
    before = len(shared_host.run(["cat", "/proc/self/mountinfo"]).out.splitlines())
    c.run_detached()
    inside = shared_host.run(["cat", "/proc/self/mountinfo"]).out
    assert "/proc" not in [m.destination for m in parse(inside).values()
                           if m.destination.startswith(c.rootfs)]
    c.delete("--force")
    assert len(shared_host.run(["cat", "/proc/self/mountinfo"]).out.splitlines()) == before
