"""The fields of `process`, and what else decides what a process is like: seen from inside, by what
it prints, and from outside, by /proc/PID."""

import json
import os
import signal
import stat

import pytest

from lib.process import BIND, CHOWN, ID, KILL, cap_sets, process, read, status

# args, env, cwd

def test_arguments_arrive_as_they_are(container):
    words = ["", "two words", "*", "$HOME", "\"", "é", "-x"]
    c = container(["sh", "-c", 'for a; do echo "<$a>"; done', "sh", *words])
    assert c.run().out.splitlines() == [f"<{w}>" for w in words]


def test_the_environment_is_what_was_asked_for_and_home(container):
    c = container(["env"], changes=process(env=["PATH=/bin", "EMPTY=", "A=1=2"]))
    assert sorted(c.run().out.splitlines()) == ["A=1=2", "EMPTY=", "HOME=/root", "PATH=/bin"]


@pytest.mark.parametrize("uid, home", [(0, "/root"), (1000, "/home/user"), (4711, "/")])
def test_home_comes_from_the_containers_own_passwd(container, uid, home):
    c = container(["env"], changes=process(env=["PATH=/bin"], user={"uid": uid, "gid": 0}))
    assert f"HOME={home}\n" in c.run().out


def test_home_given_is_home(container):
    c = container(["sh", "-c", "echo $HOME"], changes=process(env=["PATH=/bin", "HOME=/elsewhere"]))
    assert c.run().out == "/elsewhere\n"


def test_the_program_is_looked_for_in_the_path_of_the_container(container):
    c = container(["tool"], changes=process(env=["PATH=/nowhere:/opt/tools"]))
    os.makedirs(c.host_path("/opt/tools"))
    with open(c.host_path("/opt/tools/tool"), "w") as f:
        f.write("#!/bin/sh\necho found\n")
    os.chmod(c.host_path("/opt/tools/tool"), 0o755)
    assert c.run().out == "found\n"


def test_a_program_that_is_not_there_is_an_error_of_create(container):
    c = container(["no-such-program"])
    err = c.create(ok=False).err
    assert "no-such-program" in err and "not found in $PATH" in err
    assert not c.exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc"])
def test_what_cannot_be_executed_is_an_error_of_create(container, path):
    assert "ermission denied" in container([path]).create(ok=False).err


def test_the_working_directory(container):
    c = container(["pwd"], changes=process(cwd="/var/log"))
    assert c.run().out == "/var/log\n"


def test_a_missing_working_directory_is_made(container):
    c = container(["sh", "-c", "pwd; stat -c %u:%a ."], changes=process(cwd="/a/b"))
    assert c.run().out.splitlines() == ["/a/b", "0:755"]


def test_a_working_directory_that_is_a_file_is_an_error(container):
    c = container(["pwd"], changes=process(cwd="/etc/passwd"))
    assert "'process.cwd'" in c.run(ok=False).err


def test_a_working_directory_only_its_user_may_enter(container):
    c = container(["sh", "-c", "pwd"],
                  changes=process(cwd="/home/user/own", user={"uid": 1000, "gid": 1000}))
    os.makedirs(c.host_path("/home/user/own"))
    os.chown(c.host_path("/home/user/own"), 1000, 1000)
    os.chmod(c.host_path("/home/user/own"), 0o700)
    assert c.run().out == "/home/user/own\n"


def test_a_working_directory_its_user_may_not_enter_is_no_error_for_root(container):
    """As in runc: root enters first."""
    c = container(["true"], changes=process(cwd="/closed", user={"uid": 1000, "gid": 1000}))
    os.makedirs(c.host_path("/closed"))
    os.chmod(c.host_path("/closed"), 0o700)
    c.run()


def test_the_exit_status_is_that_of_the_process(container):
    assert container(["sh", "-c", "exit 42"]).run(ok=False).code == 42
    by_signal = container(["sh", "-c", "sleep 1000 & kill -KILL $!; wait $!"])
    assert by_signal.run(ok=False).code == 128 + signal.SIGKILL  # the shell's own way to tell


# user

def test_user_groups_and_umask(container):
    c = container(["sh", "-c", ID], changes=process(
        user={"uid": 1000, "gid": 1001, "additionalGids": [5, 500], "umask": 0o027}))
    assert c.run().out.splitlines() == ["1000", "1001", "1001 5 500", "0027"]


def test_user_groups_and_umask_from_outside(running):
    c = running(changes=process(
        user={"uid": 1000, "gid": 1001, "additionalGids": [5, 500], "umask": 0o077}))
    seen = status(c.pid)
    assert seen["Uid"].split() == ["1000"] * 4
    assert seen["Gid"].split() == ["1001"] * 4
    assert seen["Groups"].split() == ["5", "500"]
    assert int(seen["Umask"], 8) == 0o077


def test_without_a_word_the_umask_is_the_usual_one_and_groups_are_none(running):
    c = running()
    assert int(status(c.pid)["Umask"], 8) == 0o022
    assert status(c.pid)["Groups"].strip() == ""


# capabilities

def test_each_set_of_capabilities_is_set_by_itself(running):
    c = running(changes=process(capabilities={
        "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_CHOWN"],
        "effective": ["CAP_KILL"], "ambient": ["CAP_CHOWN"]},
        user={"uid": 1000, "gid": 1000}))
    seen = cap_sets(read(f"/proc/{c.pid}/status"))
    # execve of a program without file capabilities leaves what is ambient.
    assert seen == {"Bnd": KILL | CHOWN | BIND, "Inh": CHOWN, "Amb": CHOWN, "Prm": CHOWN,
                    "Eff": CHOWN}
    assert cap_sets(c.exec("cat", "/proc/1/status").out) == seen


def test_root_gets_its_bounding_set(container):
    c = container(["cat", "/proc/self/status"], changes=process(capabilities={
        "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]}))
    seen = cap_sets(c.run().out)
    assert seen == {"Bnd": KILL, "Inh": 0, "Amb": 0, "Prm": KILL, "Eff": KILL}


def test_another_user_without_ambient_capabilities_has_none(container):
    c = container(["cat", "/proc/self/status"], changes=process(user={"uid": 1000, "gid": 1000}))
    seen = cap_sets(c.run().out)
    assert (seen["Eff"], seen["Prm"], seen["Amb"]) == (0, 0, 0)
    assert seen["Bnd"] != 0


@pytest.mark.parametrize("capabilities", [{}, {"bounding": []}])
def test_an_empty_object_takes_all_capabilities_away(container, capabilities):
    c = container(["cat", "/proc/self/status"])
    c.config["process"]["capabilities"] = capabilities
    assert set(cap_sets(c.run().out).values()) == {0}


def test_unknown_capabilities_are_warned_of(container):
    c = container(["true"], changes=process(capabilities={"bounding": ["CAP_KILL", "CAP_FLY"]}))
    assert "CAP_FLY" in c.run().err


def test_ambient_without_permitted_is_said(container):
    c = container(["true"], changes=process(capabilities={"bounding": ["CAP_KILL"],
                                                          "ambient": ["CAP_KILL"]}))
    result = c.run(ok=None)
    assert "ambient" in result.err.lower()


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges(running, wanted):
    c = running(changes=process(noNewPrivileges=wanted))
    assert status(c.pid)["NoNewPrivs"] == str(int(wanted))
    assert f"NoNewPrivs:\t{int(wanted)}\n" in c.exec("cat", "/proc/self/status").out


# Files and sockets for whoever called

def test_the_pid_file_of_create_names_the_process(container):
    c = container(["sleep", "1000"])
    c.create()
    assert read(c.pid_file) == str(c.state()["pid"])
    assert stat.S_IMODE(os.stat(c.pid_file).st_mode) == 0o644


def test_a_pid_file_that_cannot_be_written_is_an_error_and_leaves_nothing(container):
    c = container(["sleep", "1000"])
    c.write_config()
    result = c.rt("create", "-b", c.dir, "--pid-file", c.dir + "/no/such/pid", c.id, ok=False)
    assert "no/such/pid" in result.err
    assert not c.exists()


def test_annotations_are_in_the_state(running):
    c = running(changes={"annotations": {"org.example.key": "value", "org.example.empty": ""}})
    assert c.state()["annotations"] == {"org.example.key": "value", "org.example.empty": ""}


def test_the_config_can_stand_elsewhere(container):
    c = container(["echo", "from the bundle"])
    c.write_config()
    c.config["process"]["args"] = ["echo", "from elsewhere"]
    with open(c.dir + "/other.json", "w") as f:
        json.dump(c.config, f)
    assert c.rt("run", "-b", c.dir, "--config", c.dir + "/other.json",
                c.id).out == "from elsewhere\n"


def test_the_bundle_is_the_working_directory_unless_named(container):
    c = container(["echo", "hello"])
    c.write_config()
    assert c.rt("run", c.id, cwd=c.dir).out == "hello\n"


def test_keyrings(container):
    keys = read("/proc/keys") if os.path.exists("/proc/keys") else ""
    if "keyring" not in keys:
        pytest.skip("this kernel has no keyrings")
    for flags, expected in (([], True), (["--no-new-keyring"], False)):
        c = container(["cat", "/proc/keys"])
        c.config["linux"]["maskedPaths"] = []
        assert (f"_ses.{c.id}" in c.run(*flags).out) == expected


# root, and its size in ways

def test_a_read_only_root(container):
    c = container(["touch", "/file"], changes={"root": {"readonly": True}})
    assert "Read-only file system" in c.run(ok=False).err


def test_a_root_elsewhere_and_by_symlink(container):
    c = container(["cat", "/etc/hostname"])
    os.rename(c.rootfs, c.dir + "/tree")
    os.symlink("tree", c.dir + "/link")
    for path in ("tree", c.dir + "/tree", "link", "./tree/../tree"):
        c.config["root"]["path"] = path
        assert c.run().out == "container\n"


@pytest.mark.parametrize("path", ["nowhere", "config.json", ""])
def test_a_root_that_is_none_is_an_error(container, path):
    c = container(["true"])
    c.config["root"]["path"] = path
    result = c.run(ok=False)
    assert "root" in result.err
