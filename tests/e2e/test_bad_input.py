"""Whatever stands in config.json: a container, or one sentence that names the field, and nothing
left behind.

The leak check of every test (conftest.py) does half of the work here."""

import copy
import json
import os
import random
import re

import pytest

from lib import cgroup, config, proc

# What is put in the place of a value; none of it is what any field wants, but for some.
STRANGE = [None, True, 0, -1, 1.5, 2 ** 31, 2 ** 63, 2 ** 64, 1e300, "", "x", "a" * 5000, "/",
           "../..", "\n", "é",
           [], [[]], [None], {}, {"": ""}, {"a": {"b": []}}]


def full(args):
    """A configuration with something in most of its fields, so that there is something to spoil."""
    c = config.default(args)
    c["process"].update(
        user={"uid": 0, "gid": 0, "umask": 18, "additionalGids": [5]},
        consoleSize={"height": 25, "width": 80},
        rlimits=[{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}], oomScoreAdj=100,
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4},
        scheduler={"policy": "SCHED_OTHER", "nice": 1})
    c["annotations"] = {"org.example": "value"}
    c["domainname"] = "example"
    c["hooks"] = {"poststart": [{"path": "/bin/true", "args": ["true"], "env": ["A=b"],
                                 "timeout": 5}]}
    linux = c["linux"]
    linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    linux["devices"] = [{"path": "/dev/more", "type": "c", "major": 1, "minor": 3, "fileMode": 438,
                         "uid": 0, "gid": 0}]
    linux["resources"].update(pids={"limit": 50}, cpu={"shares": 512, "cpus": "0"},
                              memory={"limit": 64 << 20})
    linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                        "syscalls": [
        {"names": ["swapon"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
         "args": [{"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}]}]}
    linux["rootfsPropagation"] = "rprivate"
    linux["personality"] = {"domain": "LINUX"}
    return c


def places(value, path=()):
    """The path of every value of a document, containers included."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from places(entry, (*path, index))


def replaced(document, path, value):
    document = copy.deepcopy(document)
    if not path:
        return value
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return document


def removed(document, path):
    document = copy.deepcopy(document)
    at = document
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return document


def dotted(path):
    """As errors name a field: process.rlimits[0].type."""
    return re.sub(r"\.\[", "[", ".".join(f"[{p}]" if isinstance(p, int) else p for p in path))


def assert_container_or_sentence(c, text, field=None):
    """Runs it; the answer, if it is a refusal, is one line that names the field, or one near it."""
    mode = "wb" if isinstance(text, bytes) else "w"
    with open(c.dir + "/config.json", mode) as f:
        f.write(text)
    result = c.rt("run", "--bundle", c.dir, c.id, ok=None, timeout=30)
    what = f"{field}: {result!r}"
    assert not os.path.exists(f"{c.root}/{c.id}"), what
    if result.code == 0:
        return result
    assert result.code == 1, what  # the process of these tests ends with 0: this is ours
    sentences = [line for line in result.err.splitlines() if not line.startswith("rt: warning")]
    assert len(sentences) == 1 and sentences[0].startswith("rt: "), what
    assert len(sentences[0]) < 6000, what
    return result


def named(message, path):
    """Whether a message has the field, or one above it."""
    return any(dotted(path[:n]) in message
               for n in range(1, len(path) + 1)) if path else "config.json" in message


def test_a_full_configuration_is_fine(container):
    c = container()
    assert_container_or_sentence(c, json.dumps(full(["true"])))
    assert c.rt("run", "--bundle", c.dir, c.id).err == ""


# Every field in turn; a value drawn for each, other ones in each of several rounds.

@pytest.mark.parametrize("round", range(4))
def test_a_spoiled_field_is_named(container, round):
    c = container()
    dice = random.Random(round)
    document = full(["true"])
    unnamed = []
    for path in places(document):
        value = dice.choice(STRANGE)
        result = assert_container_or_sentence(c, json.dumps(replaced(document, path, value)),
                                              (dotted(path), value))
        if result.code and not named(result.err, path):
            unnamed.append((dotted(path), value, result.err[:300]))
    allowed = [u for u in unnamed if known_by_its_value(*u)]
    assert unnamed == allowed, "\n".join(map(str, [u for u in unnamed if u not in allowed]))


def known_by_its_value(field, value, message):
    """Where the message can't have the field, it has the thing: mounts are told by their
    destination, programs by their name, and a rootfs by its path."""
    return (field.startswith("mounts") and "mount" in message
            or field.startswith(("process.args", "process.env")) and "exec" in message
            or field.startswith("root") and ("root" in message or "exec" in message)
            or field.startswith("linux.devices") and "/dev" in message
            or field.startswith("linux.sysctl.") and field[len("linux.sysctl."):] in message
            or field.startswith("hooks") and "hook: '" in message
            or field == "linux" and "needs a" in message  # 'hostname' needs a uts namespace
            or field.startswith("linux.namespaces")
            and ("namespace" in message or "mount" in message
                                                         or "pid" in message))


def test_a_missing_field_is_named_where_it_is_needed(container):
    c = container()
    document = full(["true"])
    for path in places(document):
        if not path or isinstance(path[-1], int):
            continue
        result = assert_container_or_sentence(c, json.dumps(removed(document, path)), dotted(path))
        if result.code:
            # Or one that needs the missing one: 'hostname' needs a uts namespace.
            assert (named(result.err, path) or known_by_its_value(dotted(path), None, result.err)
                    or "needs" in result.err), (path, result.err)


# Documents that are none

DEEP = 100000
GARBAGE = {
    "nothing": b"", "a space": b" ", "a brace": b"{", "two objects": b"{}{}", "an array": b"[]",
    "a string": b'"x"', "null": b"null",
    "zeros": b"\0" * 1000, "noise": bytes(random.Random(5).randbytes(5000)),
    "a comma too many": b'{"a": 1,}',
    "bytes that are not UTF-8": b'{"ociVersion": "1.0.0\xff"}',
    "an overlong slash": b'{"ociVersion": "\xc0\xaf"}',
    "a NUL in a string": b'{"ociVersion": "1.0.0\\u0000"}',
    "half a surrogate": b'{"ociVersion": "\\ud800"}',
    "UTF-16": '{"ociVersion": "1.0.0"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"ociVersion": "1.0.0"}', "single quotes": b"{'a': 1}",
    "NaN": b'{"ociVersion": NaN}',
    "deep arrays": b"[" * DEEP, "deep objects": b'{"a":' * DEEP,
    "deep and closed": b"[" * DEEP + b"]" * DEEP,
    "a huge number": b'{"ociVersion": 1' + b"0" * 100000 + b"}",
    "more than is read": b" " * ((16 << 20) + 1),
    "a key twice": b'{"ociVersion": "1.0.0", "ociVersion": "1.0.1"}',
    "a shell script": b"#!/bin/sh\nexit 0\n", "trailing words": b"{} trailing",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_configuration_is_refused(container, name):
    c = container()
    result = assert_container_or_sentence(c, GARBAGE[name], name)
    assert result.code == 1
    assert "config.json" in result.err or "ociVersion" in result.err


def test_a_duplicate_key_anywhere_is_refused(container):
    c = container(["true"])
    text = json.dumps(c.config).replace('"cwd": "/"', '"cwd": "/", "cwd": "/tmp"')
    result = assert_container_or_sentence(c, text)
    assert result.code == 1 and "cwd" in result.err


def test_a_depth_that_is_unknown_to_us_is_nobodys_business(container):
    """Unknown fields are to be ignored, as long as they are JSON."""
    c = container(["true"],
                  changes={"unknown": {"fields": [{"are": "ignored"}] * 100}, "vm": {},
                           "windows": {"x": 1}})
    assert c.run().err == ""


def test_large_but_fine(container):
    c = container(["sh", "-c", "env | wc -l"], changes={
        "annotations": {f"key{n}": "v" * 100 for n in range(5000)}})
    c.config["process"]["env"] += [f"V{n}=x" for n in range(2000)]
    assert int(c.run().out) > 2000


def test_more_arguments_than_the_kernel_takes_are_an_error(container):
    c = container(["echo", *["x" * 1000] * 10000])
    c.config["process"]["env"] += ["PADDING=" + "x" * 140000]
    result = assert_container_or_sentence(c, json.dumps(c.config))
    assert result.code == 1 and "echo" in result.err and "too long" in result.err


@pytest.mark.parametrize("kind",
                         ["directory", "dangling link", "loop", "unreadable device", "missing"])
def test_a_config_that_is_no_file(container, kind):
    c = container()
    path = c.dir + "/config.json"
    if kind == "directory":
        os.mkdir(path)
    elif kind == "dangling link":
        os.symlink("/nowhere", path)
    elif kind == "loop":
        os.symlink("config.json", path)
    elif kind == "unreadable device":
        os.symlink("/dev/zero", path)
    result = c.rt("run", "--bundle", c.dir, c.id, ok=False, timeout=10)
    assert result.code == 1 and "config.json" in result.err and len(result.err.splitlines()) == 1


def test_a_configuration_can_come_through_a_pipe(container):
    c = container(["echo", "piped"])
    c.write_config()
    argv = " ".join(c.argv("run", "--bundle", c.dir, "--config", "/proc/self/fd/9", c.id))
    assert proc.run(["sh", "-c",
                     f"cat {c.dir}/config.json | {argv} 9<&0 </dev/null"]).out == "piped\n"


# Things that are well-formed and cannot be

CANNOT_BE = [
    ({"root": {"path": "nosuchroot"}}, "nosuchroot"),
    ({"root": {"path": "/etc/passwd"}}, "/etc/passwd"),
    ({"root": {"path": ""}}, "root.path"),
    ({"ociVersion": "2.0.0"}, "ociVersion"),
    ({"ociVersion": "one"}, "ociVersion"),
    ({"hostname": "h" * 65}, "hostname"),
    ({"process": {"cwd": "relative"}}, "process.cwd"),
    ({"process": {"cwd": "/bin/busybox"}}, "/bin/busybox"),
    ({"process": {"args": []}}, "process.args"),
    ({"process": {"args": None}}, "process.args"),
    ({"process": {"args": [""]}}, "exec"),
    ({"process": {"args": ["/etc"]}}, "/etc"),
    ({"process": {"args": ["/etc/passwd"]}}, "/etc/passwd"),
    ({"process": {"env": ["no equals sign"]}}, "process.env"),
    ({"process": {"user": {"uid": -5, "gid": 0}}}, "process.user.uid"),
    ({"process": {"user": {"uid": 4294967295, "gid": 0}}}, "process.user.uid"),
    ({"process": {"oomScoreAdj": 1001}}, "process.oomScoreAdj"),
    ({"process": {"rlimits": [{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]}},
     "process.rlimits"),
    ({"process": {"rlimits": [{"type": "RLIMIT_CORE", "soft": 5, "hard": 1}]}}, "rlimits"),
    ({"process": {"scheduler": {"policy": "SCHED_NOSUCH"}}}, "process.scheduler"),
    ({"process": {"selinuxLabel": "a:b:c:d"}}, "process.selinuxLabel"),
    ({"process": {"apparmorProfile": "nosuch"}}, "process.apparmorProfile"),
    ({"linux": {"rootfsPropagation": "sideways"}}, "linux.rootfsPropagation"),
    ({"linux": {"sysctl": {"kernel.panic": "1"}}}, "linux.sysctl"),
    ({"linux": {"sysctl": {"net.ipv4.nosuch": "1"}}}, "net.ipv4.nosuch"),
    ({"linux": {"sysctl": {"net.ipv4.ip_forward": "much"}}}, "net.ipv4.ip_forward"),
    ({"linux": {"maskedPaths": ["relative"]}}, "linux.maskedPaths"),
    ({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "linux.namespaces"),
    ({"linux": {"namespaces": [{"type": "mount"}, {"type": "uts"},
                               {"type": "network", "path": "/nosuchns"}]}}, "/nosuchns"),
    ({"linux": {"timeOffsets": {"monotonic": {"secs": 5}}}}, "linux.timeOffsets"),
    ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOSUCH"}}}, "linux.seccomp.defaultAction"),
    ({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
                            "architectures": ["SCMP_ARCH_PDP11"]}}}, "linux.seccomp"),
    ({"linux": {"devices": [{"path": "/dev/x", "type": "z"}]}}, "linux.devices[0].type"),
    ({"linux": {"devices": [{"path": "relative", "type": "c", "major": 1, "minor": 3}]}},
     "linux.devices[0].path"),
    ({"linux": {"resources": {"unified": {"../x": "1"}}}}, "unified"),
    ({"linux": {"resources": {"cpu": {"cpus": "5-1"}}}}, "linux.resources.cpu.cpus"),
    ({"linux": {"resources": {"cpu": {"period": 1}}}}, "linux.resources.cpu.period"),
    ({"linux": {"resources": {"hugepageLimits": [{"pageSize": "7XB", "limit": 1}]}}},
     "hugepageLimits"),
    ({"linux": {"cgroupsPath": ""}}, None),
    ({"linux": {"personality": {"domain": "VMS"}}}, "linux.personality"),
    ({"linux": {"intelRdt": {"closID": "../x"}}}, "linux.intelRdt"),
    ({"linux": {"memoryPolicy": {"mode": "MPOL_NOSUCH", "nodes": "0"}}}, "linux.memoryPolicy"),
    ({"linux": {"netDevices": {"nosuch0": {}}}}, "nosuch0"),
    ({"hooks": {"createRuntime": [{"path": "relative"}]}}, "hooks.createRuntime[0].path"),
    ({"hooks": {"createRuntime": [{"path": "/no/such/hook"}]}}, "/no/such/hook"),
    ({"hooks": {"createContainer": [{"path": "/bin/false"}]}}, "/bin/false"),
    ({"mounts": [{"destination": "/x", "type": "nosuchfs", "source": "x"}]}, "/x"),
    ({"mounts": [{"destination": "/x", "type": "bind", "source": "/no/such", "options": ["bind"]}]},
     "/no/such"),
    ({"mounts": [{"destination": "", "type": "tmpfs"}]}, "mounts[0].destination"),
    ({"mounts": [{"destination": "/x", "type": "tmpfs", "options": ["nosuchoption"]}]}, "/x"),
    ({"mounts": [{"destination": "/bin/busybox/x", "type": "tmpfs"}]}, "/bin/busybox"),
    ({"mounts": [{"destination": "/proc/self/x", "type": "tmpfs"}]}, None),
    ({"mounts": [{"destination": "/" + "deep/" * 900, "type": "tmpfs"}]}, None),
]


@pytest.mark.parametrize("changes, told", CANNOT_BE, ids=[json.dumps(c)[:60] for c, _ in CANNOT_BE])
def test_what_cannot_be_is_told_and_leaves_nothing(container, changes, told):
    c = container(["true"], changes=changes)
    result = assert_container_or_sentence(c, json.dumps(c.config))
    if told is None:
        return
    assert result.code == 1
    assert told in result.err
    assert not [d for d in cgroup.all_cgroups() if d.endswith("/" + c.id)]


@pytest.mark.parametrize("text, told", [
    ("", "process"), ("[]", "process"), ('{"args": []}', "args"), ('{"args": ["true"]}', "cwd"),
    ('{"args": "true", "cwd": "/"}', "args"),
    ('{"cwd": "/", "args": ["true"], "user": {"uid": "root"}}', "uid"),
    ('{"cwd": "/nosuch", "args": ["true"]}', "/nosuch"),
    ('{"cwd": "/", "args": ["nosuch"]}', "nosuch"),
    ('{"cwd": "/", "args": ["true"], "capabilities": {"bounding": 5}}', "bounding"),
])
def test_a_bad_process_file_leaves_the_container_alone(running, work, text, told):
    c = running()
    with open(work + "/process", "w") as f:
        f.write(text)
    result = c.rt("exec", "--process", work + "/process", c.id, ok=False)
    assert result.code == 255 and told in result.err and len(result.err.splitlines()) == 1
    assert c.status == "running"
    assert json.loads(c.rt("ps", "-f", "json", c.id).out) == [c.pid]
