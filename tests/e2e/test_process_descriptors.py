"""Descriptors that are handed to a container or out of it, and those that must not be."""

import os
import re
import socket

import pytest

from lib import config, proc
from lib.process import read

LIST_FDS = ["sh", "-c", "ls /proc/self/fd | sort -n | tr '\\n' ' '; cat <&3; echo; env"]


@pytest.fixture
def two_files(work):
    """Descriptors 3 and 4 for a command run by `shell`."""
    for number in (3, 4):
        with open(f"{work}/file{number}", "w") as f:
            f.write(f"file {number}")
    return f"3<{work}/file3 4<{work}/file4"


def with_files(c, redirections, *words, env=""):
    """Runs the runtime by a shell that opens the descriptors."""
    command = " ".join(f"'{w}'" for w in c.argv(*words))
    return proc.run(["sh", "-c", f"{env} exec {command} {redirections}"], ok=None)


def test_no_descriptor_gets_in_unasked(container, two_files):
    c = container(["sh", "-c", "ls /proc/self/fd | sort -n | tr '\\n' ' '"])
    c.write_config()
    assert with_files(c, two_files, "run", "-b", c.dir, c.id).out == "0 1 2 3 "  # 3: ls's own


def test_preserved_descriptors_get_in(container, two_files):
    c = container(["sh", "-c", "cat <&3; echo; cat <&4"])
    c.write_config()
    assert with_files(c, two_files, "run", "--preserve-fds", "2", "-b", c.dir,
                      c.id).out == "file 3\nfile 4"


def test_only_as_many_descriptors_as_asked_for_get_in(container, two_files):
    c = container(["sh", "-c", "cat <&3; echo; cat <&4"])
    c.write_config()
    result = with_files(c, two_files, "run", "--preserve-fds", "1", "-b", c.dir, c.id)
    assert result.out == "file 3\n" and result.code != 0


def test_descriptors_that_are_not_there_cannot_be_preserved(container):
    c = container(["true"])
    assert "preserve" in c.run("--preserve-fds", "3", ok=False).err


def test_sockets_of_activation_get_in_with_their_variables(container, two_files):
    c = container(["sh", "-c", "cat <&3; echo; env | grep ^LISTEN | sort; cat <&4"])
    c.write_config()
    result = with_files(c, two_files, "run", "-b", c.dir, c.id, env="LISTEN_FDS=1")
    assert result.out.splitlines() == ["file 3", "LISTEN_FDS=1", "LISTEN_PID=1"]
    c.config["process"]["args"][2] = "cat <&3; echo; cat <&4"
    c.write_config()
    assert with_files(c, two_files, "run", "--preserve-fds", "1", "-b", c.dir, c.id,
                      env="LISTEN_FDS=1").out == "file 3\nfile 4"


def test_the_pid_of_activation_is_that_of_the_process_in_its_namespace(container, two_files):
    c = container(["sh", "-c", "echo $$; echo $LISTEN_PID"])
    config.drop_namespace(c.config, "pid")
    c.write_config()
    pid, named = with_files(c, two_files, "run", "-b", c.dir, c.id, env="LISTEN_FDS=1").out.split()
    assert pid == named


def test_exec_hands_descriptors_over(running, two_files):
    c = running()
    assert with_files(c, two_files, "exec", "--preserve-fds", "2", c.id, "sh", "-c",
                      "cat <&3; echo; cat <&4").out == "file 3\nfile 4"
    assert with_files(c, two_files, "exec", c.id, "sh", "-c",
                      "echo $(ls /proc/self/fd)").out == "0 1 2 3\n"
    pid, named, text = with_files(c, two_files, "exec", c.id, "sh", "-c",
                                  "echo $$; echo $LISTEN_PID; cat <&3",
                                  env="LISTEN_FDS=1").out.splitlines()
    assert (pid, text) == (named, "file 3")


def test_a_closed_stdin_is_no_problem(container):
    c = container(["echo", "fine"])
    c.write_config()
    command = " ".join(c.argv("run", "-b", c.dir, c.id))
    assert proc.run(["sh", "-c", f"exec {command} <&-"]).out == "fine\n"


class FdSocket:
    """A unix socket that takes one descriptor."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(path)
        self.socket.listen(1)
        self.socket.settimeout(20)

    def receive(self):
        connection, _ = self.socket.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
        return fds[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        os.unlink(self.path)


def pid_of_pidfd(fd):
    return int(re.search(r"^Pid:\s*(-?\d+)", read(f"/proc/self/fdinfo/{fd}"), re.M).group(1))


def test_pidfds_are_sent_for_init_and_for_exec(container):
    c = container(["sleep", "1000"])
    with FdSocket(c.dir + "/pidfd") as sock:
        c.run_detached("--pidfd-socket", sock.path)
        fd = sock.receive()
        assert pid_of_pidfd(fd) == c.pid
        os.close(fd)
        c.exec("sleep", "1000", flags=["--detach", "--pidfd-socket", sock.path, "--pid-file",
                                       c.dir + "/exec-pid"])
        fd = sock.receive()
        assert pid_of_pidfd(fd) == int(read(c.dir + "/exec-pid"))
        os.close(fd)
