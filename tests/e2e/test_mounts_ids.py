"""Mounts of other ids: idmapped ones, and those of a container in a user namespace."""

import os

import pytest

from lib import config, needs
from lib.mounting import add, in_user_namespace, parse, refused, source, without  # noqa: F401 (fixtures are used by their names)

MAPPING = [{"containerID": 0, "hostID": 7, "size": 1}]
OTHER = [{"containerID": 0, "hostID": 8, "size": 1}]


@pytest.fixture
def owned(work):
    """A directory with a file of root, on a file system that can be id-mapped, or a skip."""
    path = f"{work}/owned"
    os.makedirs(path)
    with open(path + "/file", "w") as f:
        f.write("hello\n")
    needs.kernel(6, 3)  # tmpfs
    return path


def test_idmap_with_its_own_mapping(container, owned):
    c = container(["stat", "-c", "%u:%g", "/data/file"])
    add(c, "/data", owned, ["bind", "idmap"], uidMappings=MAPPING, gidMappings=OTHER)
    assert c.run().out == "7:8\n"


def test_mappings_alone_ask_for_an_idmap(container, owned):
    c = container(["stat", "-c", "%u:%g", "/data/file"])
    add(c, "/data", owned, ["bind"], uidMappings=MAPPING, gidMappings=OTHER)
    assert c.run().out == "7:8\n"


@pytest.mark.parametrize("option, expected", [("idmap", "0:0"), ("ridmap", "0:0"),
                                              (None, "65534:65534")])
def test_idmap_with_the_mapping_of_the_container(container, owned, option, expected):
    c = container(["stat", "-c", "%u:%g", "/data/file"])
    in_user_namespace(c)
    add(c, "/data", owned, ["bind", option] if option else ["bind"])
    assert c.run().out == expected + "\n"


@pytest.mark.parametrize("option, below", [("idmap", "65534:65534"), ("ridmap", "0:0")])
def test_ridmap_maps_what_is_mounted_below(container, source, option, below):
    needs.kernel(6, 3)
    c = container(["stat", "-c", "%u:%g", "/data/file", "/data/sub/file"])
    in_user_namespace(c)
    add(c, "/data", source, ["rbind", option])
    assert c.run().out.split() == ["0:0", below]


def test_what_is_written_through_an_idmap_belongs_to_the_hosts_id(container, owned):
    c = container(["touch", "/data/new"])
    in_user_namespace(c)
    os.chmod(owned, 0o777)
    add(c, "/data", owned, ["bind", "idmap"])
    c.run()
    assert os.stat(owned + "/new").st_uid == 0


def test_idmap_needs_mappings(refused, source):
    assert "mapping" in refused("/data", source, ["bind", "idmap"])


def test_idmap_is_for_binds(refused, source):
    assert "only bind mounts" in refused("/data", source, ["idmap"], fstype="tmpfs",
                                         uidMappings=MAPPING, gidMappings=MAPPING)


def test_one_mapping_without_the_other_is_named(refused, source):
    assert "gidMappings" in refused("/data", source, ["bind"], uidMappings=MAPPING)


# User namespaces

def test_the_usual_mounts_in_a_user_namespace(container):
    c = container(["sh", "-c", "ls -ln /dev/null; echo hi >/dev/null; cat /proc/self/mountinfo"])
    in_user_namespace(c)
    out = c.run().out
    assert out.startswith("crw-rw-rw-")
    assert {"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"} <= set(parse(out))


def test_a_source_that_the_containers_root_may_not_reach(container, work):
    os.makedirs(f"{work}/closed/in")
    with open(f"{work}/closed/in/file", "w") as f:
        f.write("hello\n")
    os.chmod(f"{work}/closed", 0)
    c = container(["cat", "/data/file"])
    in_user_namespace(c)
    add(c, "/data", f"{work}/closed/in", ["bind", "ro"])
    assert c.run().out == "hello\n"


@pytest.mark.parametrize("shared", [["network"], ["ipc", "pid"], ["cgroup"]])
def test_mounts_that_belong_to_namespaces_the_container_does_not_own(container, shared):
    c = container(["cat", "/proc/self/mountinfo"])
    in_user_namespace(c)
    for kind in shared:
        config.drop_namespace(c.config, kind)
    if "ipc" in shared and not os.path.exists("/dev/mqueue"):
        without(c, "/dev/mqueue")  # the host's would be shown, but there is none
    # A procfs can't be mounted for somebody else's processes; engines bind it then.
    if "pid" in shared:
        without(c, "/proc")
        add(c, "/proc", "/proc", ["rbind"])
    assert "/sys" in parse(c.run().out)
