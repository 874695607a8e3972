"""`rt spec validate`: everything that is wrong, where `create` stops at the first."""

import json
import os

from lib import needs


def write(c, **changes):
    c.config.update(changes)
    c.write_config()


def lines(result):
    return [line for line in result.out.splitlines() if line]


def test_a_good_bundle_is_told_nothing(rt, container):
    c = container()
    c.write_config()
    for path in (c.dir, c.dir + "/config.json"):
        result = rt("spec", "validate", path)
        assert (result.out, result.err) == ("", "")
    assert rt("spec", "validate", cwd=c.dir).out == ""
    with open(c.dir + "/config.json") as f:
        assert rt("spec", "validate", "-", stdin=f.read()).out == ""


def test_every_violation_is_told_with_its_place_and_section_and_create_tells_the_first(rt, container):
    c = container()
    c.config["process"]["cwd"] = "relative"
    c.config["process"]["rlimits"] = [{"type": "RLIMIT_X", "hard": 1, "soft": 1}]
    c.config["linux"]["resources"] = {"pids": {"limit": "many"}}
    write(c, hostname=5)
    result = rt("spec", "validate", c.dir, ok=False)
    assert result.code == 1 and result.err == ""
    assert sorted(line.split("'")[1] for line in lines(result)) == [
        "hostname", "linux.resources.pids.limit", "process.cwd", "process.rlimits[0].type"]
    assert "'process.cwd' must be an absolute path, not 'relative' (config.md#process)" in lines(result)
    assert any(line.endswith("(config-linux.md#pids)") for line in lines(result))
    created = c.rt("create", "--bundle", c.dir, c.id, ok=False)
    assert len(created.err.splitlines()) == 1
    assert lines(result)[0].split(" (")[0] in created.err


def test_warnings_alone_are_no_failure(rt, container):
    c = container()
    c.config["process"]["capabilities"]["bounding"].append("CAP_OF_TOMORROW")
    c.write_config()
    result = rt("spec", "validate", c.dir)
    assert result.code == 0 and lines(result)[0].startswith("warning: 'process.capabilities.bounding[")


def test_what_is_no_configuration_is_an_error(rt, work):
    with open(work + "/config.json", "w") as f:
        f.write("{")
    for words in ([work], ["/nonexistent"], [work + "/config.json"]):
        result = rt("spec", "validate", *words, ok=False)
        assert result.out == "" and words[0] in result.err and len(result.err.splitlines()) == 1


def test_the_machine_can_run_what_the_tests_run(rt, container):
    c = container(["true"])
    c.write_config()
    assert rt("spec", "validate", "--host", c.dir).out == ""
    c.run()


def test_what_the_machine_lacks_is_told_on_request(rt, container):
    c = container()
    c.config["mounts"] += [
        {"destination": "/a", "type": "bind", "source": "/no/such/source", "options": ["bind"]},
        {"destination": "/b", "type": "bind", "source": "beside", "options": ["bind"]},
        {"destination": "/c", "type": "nosuchfs", "source": "x"}]
    os.mkdir(c.dir + "/beside")
    c.config["linux"]["namespaces"] = [n for n in c.config["linux"]["namespaces"] if n["type"] != "ipc"]
    c.config["linux"]["namespaces"].append({"type": "ipc", "path": "/no/such/ipc"})
    c.config["linux"]["sysctl"] = {"net.no.such": "1", "net.ipv4.ip_forward": "1"}
    c.config["linux"]["netDevices"] = {"nosuch0": {}}
    c.config["hooks"] = {"prestart": [{"path": "/no/such/hook"}], "startContainer": [{"path": "/in/the/container"}]}
    write(c, root={"path": "elsewhere"})
    assert rt("spec", "validate", c.dir).out == ""
    result = rt("spec", "validate", "--host", c.dir, ok=False)
    assert all(line.endswith(" (this machine)") for line in lines(result))
    assert sorted(line.split("'")[1] for line in lines(result)) == sorted([
        "root.path", f"mounts[{len(c.config['mounts']) - 3}].source", f"mounts[{len(c.config['mounts']) - 1}].type",
        "linux.namespaces", "linux.sysctl.net.no.such", "linux.netDevices", "hooks.prestart[0].path"])
    assert "/no/such/ipc" in result.out and "no such file or directory" in result.out


def test_security_modules_and_controllers_that_are_not_here(rt, container):
    c = container()
    c.config["process"].update(selinuxLabel="a:b:c:d", apparmorProfile="none-such")
    c.config["linux"]["resources"] = {"network": {"classID": 5}, "rdma": {"x": {"hcaHandles": 1}}}
    c.write_config()
    told = {line.split("'")[1] for line in lines(rt("spec", "validate", "--host", c.dir, ok=False))}
    if not os.path.exists("/sys/fs/selinux/enforce"):
        assert "process.selinuxLabel" in told
    assert "process.apparmorProfile" in told
    for name, field in (("net_cls", "linux.resources.network.classID"), ("rdma", "linux.resources.rdma")):
        assert (field in told) != needs.has_controller(name)


def test_privileges_that_are_missing(rt, container):
    c = container()
    c.config["process"]["capabilities"]["bounding"].append("CAP_SYS_RESOURCE")
    c.config["process"]["rlimits"] = [{"type": "RLIMIT_CORE", "hard": 18446744073709551615, "soft": 0},
                                      {"type": "RLIMIT_NOFILE", "hard": 1 << 40, "soft": 5}]
    c.write_config()
    has = needs.effective_capabilities() >> needs.CAPABILITIES["CAP_SYS_RESOURCE"] & 1
    result = rt("spec", "validate", "--host", c.dir, ok=None)
    assert ("CAP_SYS_RESOURCE, which whoever runs this doesn't have" in result.out) == (not has)
    assert ("raises RLIMIT_NOFILE" in result.out) == (not has)


def test_both_kinds_at_once(rt, work):
    with open(work + "/config.json", "w") as f:
        json.dump({"ociVersion": "1.0.0", "root": {"path": "none"}, "hostname": "x"}, f)
    told = [line.split("'")[1] for line in lines(rt("spec", "validate", "--host", work, ok=False))]
    assert told == ["hostname", "root.path"]
