"""`rt spec import` without an engine: what it reads, and what it says of wrong input. test_engines_import.py has the engines."""

import json
import os
import shutil
import stat

import pytest

from lib import proc
from lib.container import runtime


def inspected(**changes):
    """What inspect says of a small container."""
    config = {"Hostname": "web", "Cmd": ["id"], **changes.pop("config", {})}
    host = {"NetworkMode": "none", **changes.pop("host", {})}
    return {"Id": "abc", "Name": "/web", "Config": config, "HostConfig": host, **changes}


@pytest.fixture
def imported(rt, work):
    """imported(document, words ...): the Result; with a bundle at work + "/b"."""
    os.makedirs(work + "/b/rootfs/etc")

    def call(document, *words, **how):
        text = document if isinstance(document, str) else json.dumps(document)
        return rt("spec", "import", *words, "-", stdin=text, cwd=work, **how)
    return call


def put(work, name, text):
    with open(f"{work}/b/rootfs/etc/{name}", "w") as f:
        f.write(text)


def test_it_runs(imported, container):
    c = container()
    path = c.dir + "/config.json"
    imported([inspected(config={"User": "user", "Cmd": ["sh", "-c", "id -un; hostname"]})], "--output", path)
    with open(path) as f:
        c.config = json.load(f)
    assert c.config["root"]["path"] == "rootfs"
    assert c.run().out == "user\nweb\n"


def test_the_root_filesystem_is_relative_inside_of_the_bundle_and_absolute_outside(imported, work):
    os.makedirs(work + "/elsewhere")
    for words, expected in ((["--output", "b/config.json", "--rootfs", "b/rootfs"], "rootfs"),
                            (["--output", "b/config.json"], "rootfs"),
                            (["--output", "b/config.json", "--rootfs", "elsewhere"], work + "/elsewhere")):
        imported(inspected(), *words)
        with open(work + "/b/config.json") as f:
            assert json.load(f)["root"]["path"] == os.path.realpath(expected) if expected[0] == "/" else expected


def test_users_are_looked_up_inside_of_the_root_whatever_its_links_say(imported, work):
    document = inspected(config={"User": "daemon"})
    # Absolute links are those of the container; a way out of it leads nowhere.
    os.symlink("/etc/real", work + "/b/rootfs/etc/passwd")
    put(work, "real", "daemon:x:4321:4322::/:\n")
    user = json.loads(imported(document, "--rootfs", "b/rootfs").out)["process"]["user"]
    assert (user["uid"], user["gid"]) == (4321, 4322)
    os.unlink(work + "/b/rootfs/etc/passwd")
    os.symlink("../../../../../../../../etc/shadow", work + "/b/rootfs/etc/passwd")
    os.unlink(work + "/b/rootfs/etc/real")
    result = imported(document, "--rootfs", "b/rootfs", ok=False)
    assert "'Config.User'" in result.err and len(result.err.splitlines()) == 1


def test_a_passwd_that_is_no_file_does_not_hang(imported, work):
    os.mkfifo(work + "/b/rootfs/etc/passwd")
    result = imported(inspected(config={"User": "web"}), "--rootfs", "b/rootfs", ok=False)
    assert "is no file" in result.err
    os.unlink(work + "/b/rootfs/etc/passwd")


def test_the_network_hook(imported, work):
    """It is looked for beside the runtime and in libexec."""
    os.makedirs(work + "/bin")
    shutil.copy(runtime(), work + "/bin/rt")
    text = json.dumps(inspected(host={"NetworkMode": "host"}))
    result = proc.run([work + "/bin/rt", "spec", "import", "--netns", "-"], stdin=text, ok=None)
    if result.code != 0:
        assert "rt-netns' is not installed" in result.err
    with open(work + "/bin/rt-netns", "w") as f:
        f.write("#!/bin/sh\n")
    os.chmod(work + "/bin/rt-netns", stat.S_IRWXU)
    config = json.loads(proc.run([work + "/bin/rt", "spec", "import", "--netns", "-"], stdin=text).out)
    hook = config["hooks"]["createRuntime"][0]
    assert os.path.basename(hook["path"]) == "rt-netns" and hook["args"][1:] == ["hook"]
    assert config["hooks"]["poststop"] == [hook]
    assert {"type": "network"} in config["linux"]["namespaces"]


def test_what_is_written_replaces_the_old_file_and_only_when_it_is_valid(imported, work):
    with open(work + "/b/config.json", "w") as f:
        f.write("mine")
    result = imported(inspected(config={"WorkingDir": "relative"}), "--output", "b/config.json", ok=False)
    assert "'process.cwd'" in result.err
    with open(work + "/b/config.json") as f:
        assert f.read() == "mine"
    imported(inspected(), "--output", "b/config.json")
    with open(work + "/b/config.json") as f:
        assert json.load(f)["hostname"] == "web"
    assert sorted(os.listdir(work + "/b")) == ["config.json", "rootfs"]


@pytest.mark.parametrize("words, named", [
    ([], "needs a file"),
    (["/nonexistent"], "/nonexistent"),
    (["/etc/passwd"], "/etc/passwd"),
    (["--docker", "web", "-"], "not both"),
    (["--idlen", "5", "-"], "'--idlen'"),
    (["--idroot", "5", "--idlen", "0", "-"], "'--idlen'"),
    (["--idroot", "many", "-"], "--idroot"),
    (["--rootfs", "/nonexistent", "-"], "/nonexistent"),
    (["--rootfs", "/etc/passwd", "-"], "/etc/passwd"),
    (["--hook", "never:/bin/true", "-"], "--hook"),
    (["--hook", "poststop", "-"], "--hook"),
    (["--hook", "poststop:no-such-program", "-"], "no-such-program"),
    (["--hook", "poststop:rel/program", "-"], "rel/program"),
    (["--container", "nobody", "-"], "'nobody'"),
    (["--output", "/nonexistent/config.json", "-"], "/nonexistent"),
])
def test_wrong_words_are_named_in_one_sentence(rt, words, named):
    result = rt("spec", "import", *words, stdin=json.dumps(inspected()), ok=False)
    assert result.code == 1 and result.out == "" and named in result.err
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("text, named", [
    ("", "not valid JSON"), ("{", "not valid JSON"), ("[]", "no container"), ("[1]", "must be an object"), ("{}", "'Config'"),
    ('[{"Id": "sha256:1", "RepoTags": [], "Config": {}}]', "'HostConfig'"),
    ('{"Config": {"Cmd": ["a"]}, "HostConfig": {"Memory": "much"}}', "'HostConfig.Memory'"),
    ('{"Config": {"Cmd": [5]}, "HostConfig": {}}', "'Config.Cmd[0]'"),
    ('{"Config": {"Cmd": ["a"]}, "HostConfig": {"Devices": [{"PathOnHost": "/nonexistent"}]}}', "/nonexistent"),
    ('{"Config": {"Cmd": ["a"]}, "HostConfig": {"Devices": [{"PathOnHost": "/etc/passwd"}]}}', "is no device"),
    ('{"Config": {"Cmd": ["a"]}, "HostConfig": {"SecurityOpt": ["seccomp=/nonexistent"]}}', "/nonexistent"),
])
def test_a_document_that_is_no_container_is_said_to_be_none(imported, text, named):
    result = imported(text, ok=False)
    assert result.out == "" and named in result.err and len(result.err.splitlines()) == 1
