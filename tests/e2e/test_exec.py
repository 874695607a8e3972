"""`rt exec`: further processes in a container."""

import json
import os
import subprocess

import pytest

from lib import proc
from lib.process import CHOWN, ID, cap_sets, process, read


def test_exec_options_change_the_process(running):
    c = running(["sleep", "1000"])
    out = c.exec("sh", "-c", ID + "; pwd; echo $MARK-$TERM", flags=[
        "--user", "1000:1001", "--additional-gids", "5", "-g", "500", "--cwd", "/var", "--env",
        "MARK=here", "-e", "TERM=dumb"]).out
    assert out.splitlines() == ["1000", "1001", "1001 5 500", "0022", "/var", "here-dumb"]


def test_variables_given_to_exec_replace_those_of_the_container(running):
    c = running()
    lines = c.exec("env", flags=["--env", "TERM=dumb", "-e", "A=1", "-e", "A=2", "-e",
                                 "PATH=/usr/bin:/bin"]).out.splitlines()
    assert sorted(lines) == ["A=2", "HOME=/root", "PATH=/usr/bin:/bin", "TERM=dumb"]


def test_exec_by_uid_alone_keeps_the_group(running):
    c = running(changes=process(user={"uid": 0, "gid": 7}))
    assert c.exec("sh", "-c", "id -u; id -g", flags=["--user", "33"]).out.split() == ["33", "7"]


@pytest.mark.parametrize("user", ["root", "1000:", ":5", "-1", "99999999999"])
def test_exec_users_that_are_none(running, user):
    result = running().exec("true", flags=["--user", user], ok=False)
    assert result.code == 255 and f"'{user}'" in result.err


def test_exec_with_one_more_capability(running):
    c = running(changes=process(noNewPrivileges=False))
    without = cap_sets(c.exec("cat", "/proc/self/status").out)
    with_it = cap_sets(c.exec("cat", "/proc/self/status", flags=["--cap", "CAP_CHOWN"]).out)
    assert with_it["Bnd"] == without["Bnd"] | CHOWN
    assert with_it["Eff"] == without["Eff"] | CHOWN
    assert cap_sets(read(f"/proc/{c.pid}/status"))["Bnd"] == without["Bnd"]


def test_exec_with_and_without_new_privileges(running):
    c = running(changes=process(noNewPrivileges=False))
    grep = ["grep", "NoNewPrivs", "/proc/self/status"]
    assert c.exec(*grep).out.split()[1] == "0"
    assert c.exec(*grep, flags=["--no-new-privs"]).out.split()[1] == "1"


def test_exec_passes_exit_statuses_on(running):
    c = running()
    assert c.exec("sh", "-c", "exit 7", ok=None).code == 7
    assert c.exec("sh", "-c", "kill -KILL $$", ok=None).code == 128 + 9
    assert c.exec("no-such-program", ok=None).code == 255


def test_exec_reads_standard_input(running):
    assert running().exec("cat", stdin="some text\n").out == "some text\n"


def test_flags_of_other_runtimes_callers(running):
    """containerd's shim writes this one with a single dash."""
    c = running()
    assert c.exec("echo", "in", flags=["-no-subreaper"]).out == "in\n"
    assert c.exec("echo", "in", flags=["--user=33", "-cwd=/etc"]).out == "in\n"


def test_exec_detached(running):
    c = running()
    c.exec("sh", "-c", "sleep 1000", flags=["-d", "--pid-file", c.dir + "/exec-pid"])
    pid = int(read(c.dir + "/exec-pid"))
    assert proc.alive(pid)
    assert os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{c.pid}/ns/pid")


def test_exec_of_a_process_file(running):
    c = running(changes=process(capabilities={"bounding": ["CAP_CHOWN"],
                                              "permitted": ["CAP_CHOWN"],
                                              "effective": ["CAP_CHOWN"]}))
    with open(c.dir + "/process.json", "w") as f:
        json.dump({"args": ["sh", "-c", f"{ID}; pwd; echo $A; grep CapEff /proc/self/status"],
                   "env": ["PATH=/bin", "A=b"], "cwd": "/etc", "user": {"uid": 0, "gid": 3},
                   "oomScoreAdj": 900}, f)
    lines = c.rt("exec", "--process", c.dir + "/process.json", c.id).out.splitlines()
    assert lines[:3] == ["0", "3", "3"] and lines[4:6] == ["/etc", "b"]
    assert int(lines[6].split()[1], 16) == CHOWN  # silent about them: the container's


@pytest.mark.parametrize("text, word", [
    ("{", "process.json"), ("[]", "process.json"), ('{"args": ["x"]}', "cwd"),
    ('{"cwd": "/"}', "args"), ('{"cwd": "/", "args": ["x"], "user": 5}', "user")])
def test_wrong_process_files_name_what_is_wrong(running, text, word):
    c = running()
    with open(c.dir + "/process.json", "w") as f:
        f.write(text)
    result = c.rt("exec", "--process", c.dir + "/process.json", c.id, ok=False)
    assert result.code == 255 and word in result.err


def test_exec_takes_a_command_or_a_file_but_one(running):
    c = running()
    assert "nothing to execute" in c.exec(ok=False).err
    assert "exclude" in c.exec("true", flags=["--process", "x"], ok=False).err


def test_exec_in_a_paused_container(running):
    c = running()
    c.pause()
    assert "paused" in c.exec("true", ok=False).err
    child = proc.start(c.argv("exec", "--ignore-paused", c.id, "sh", "-c", "exit 5"))
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    c.resume()
    assert child.wait(20) == 5


def test_exec_in_a_container_that_is_only_created(container):
    c = container(["sleep", "1000"])
    c.create()
    assert c.exec("echo", "in").out == "in\n"
    assert c.status == "created"


def test_exec_in_a_stopped_container_is_an_error(running):
    c = running(["true"])
    c.wait_stopped()
    assert "container not running" in c.exec("true", ok=False).err


def test_exec_labels_are_errors_without_their_security_modules(running):
    c = running()
    if not os.path.exists("/sys/kernel/security/apparmor/profiles"):
        assert "pparmor" in c.exec("true", flags=["--apparmor", "p"], ok=False).err
    if not os.path.exists("/sys/fs/selinux/enforce"):
        assert "elinux" in c.exec("true", flags=["--process-label", "l"], ok=False).err


def test_exec_has_the_namespaces_of_the_container(running):
    c = running()
    mine = c.exec("sh", "-c", "for n in /proc/self/ns/*; do readlink $n; done").out.split()
    inits = c.exec("sh", "-c", "for n in /proc/1/ns/*; do readlink $n; done").out.split()
    assert mine == inits


def test_exec_leaves_no_process_of_the_runtime_to_the_container(running):
    """Nothing but init, and our own ps."""
    c = running()
    c.exec("true")
    assert len(c.exec("ps", "-o", "pid").out.split()) == 3
