"""Terminals: of create, run and exec; over a console socket, or relayed to the person's own."""

import os
import signal
import socket
import stat
import termios
import time

import pytest

from lib import config, console, proc


def with_terminal(**process):
    return {"process": {"terminal": True, **process}}


def on_terminal(c, *flags, size=(24, 80)):
    """`run` in the foreground, as a person would type it."""
    c.write_config()
    return console.OnTerminal(c.argv("run", "--bundle", c.dir, *flags, c.id), size=size)


# Over a console socket

def test_the_process_has_a_terminal_of_its_own(container):
    c = container(["sh", "-c", "tty; tty -s && echo yes; cat /proc/self/stat | cut -d ' ' -f 7; "
                               "ls -l /dev/console"], changes=with_terminal())
    c.create()
    c.start()
    out = c.terminal.read_to_end()
    assert "/dev/pts/0" in out and "yes" in out
    number = int(out.splitlines()[2])
    assert os.major(number) == 136  # it controls the session


def test_stdin_stdout_and_stderr_are_the_terminal(container):
    c = container(["sh", "-c", "echo out; echo err >&2; read x; echo got $x"],
                  changes=with_terminal())
    c.create()
    c.start()
    c.terminal.expect("out")
    c.terminal.expect("err")
    c.terminal.type("words\n")
    c.terminal.expect("got words")


def test_dev_console_is_the_terminal(container):
    c = container(["sh", "-c", "echo through the console >/dev/console; stat -c %t /dev/console"],
                  changes=with_terminal())
    c.create()
    c.start()
    out = c.terminal.read_to_end()
    assert "through the console" in out and "88" in out


def test_the_size_is_that_of_the_config(container):
    c = container(["sh", "-c", "stty size; read x; stty size"],
                  changes=with_terminal(consoleSize={"height": 33, "width": 99}))
    c.create()
    assert c.terminal.size() == (33, 99)
    c.start()
    c.terminal.expect("33 99")
    c.terminal.resize(44, 111)
    c.terminal.type("\n")
    c.terminal.expect("44 111")


def test_the_terminal_belongs_to_the_user(container):
    c = container(["sh", "-c", "stat -L -c %u:%a /proc/self/fd/0; echo again >/proc/self/fd/1"],
                  changes=with_terminal(user={"uid": 1000, "gid": 1000}))
    c.create()
    c.start()
    out = c.terminal.read_to_end()
    assert "1000:620" in out and "again" in out


def test_a_terminal_in_a_user_namespace(container):
    c = container(["sh", "-c", "tty; echo from inside >/dev/console"], changes=with_terminal())
    config.use_user_namespace(c.config)
    proc.run(["chown", "-R", "100000:100000", c.rootfs])
    c.create()
    c.start()
    out = c.terminal.read_to_end()
    assert "/dev/pts/0" in out and "from inside" in out


def test_control_c_reaches_the_process(container):
    c = container(["sh", "-c", "trap 'echo interrupted; exit' INT; echo up; "
                               "while :; do sleep 0.05; done"], changes=with_terminal())
    c.create()
    c.start()
    c.terminal.expect("up")
    c.terminal.type("\x03")
    c.terminal.expect("interrupted")


def test_detached_run_sends_it_over_the_socket(container):
    c = container(["sh", "-c", "tty; sleep 1000"], changes=with_terminal())
    with console.ConsoleSocket(c.dir + "/tty") as sock:
        c.run_detached("--console-socket", sock.path)
        c.terminal = sock.receive()
    c.terminal.expect("/dev/pts/0")


def test_a_console_socket_with_a_long_path(container):
    """Longer than the 108 bytes of a socket's name: engines have such directories."""
    c = container(["sh", "-c", "echo here"], changes=with_terminal())
    long = c.dir + "/" + "d" * 60 + "/" + "e" * 60
    os.makedirs(long)
    here = os.open(long, os.O_PATH)
    try:
        with console.ConsoleSocket(f"/proc/self/fd/{here}/tty") as sock:
            c.write_config()
            c.rt("create", "-b", c.dir, "--console-socket", long + "/tty", c.id)
            c.terminal = sock.receive()
    finally:
        os.close(here)
    c.start()
    c.terminal.expect("here")


# On the person's own terminal

def test_run_on_a_terminal(container):
    c = container(["sh"], changes=with_terminal())
    with on_terminal(c, size=(30, 100)) as session:
        session.terminal.type("stty size; tty; exit 4\n")
        session.terminal.expect("30 100")
        session.terminal.expect("/dev/pts/0")
        assert session.wait() == 4
    assert not c.exists()


def test_the_persons_terminal_is_put_back(container):
    c = container(["sh", "-c", "echo up; read x"], changes=with_terminal())
    with on_terminal(c) as session:
        before = termios.tcgetattr(session.terminal.fd)
        session.terminal.expect("up")
        assert not termios.tcgetattr(session.terminal.fd)[3] & termios.ECHO  # raw meanwhile
        session.terminal.type("\n")
        assert session.wait() == 0
        assert termios.tcgetattr(session.terminal.fd) == before


def test_a_resize_is_passed_on(container):
    c = container(["sh", "-c", "trap 'stty size' WINCH; echo up; while :; do sleep 0.05; done"],
                  changes=with_terminal())
    with on_terminal(c) as session:
        session.terminal.expect("up")
        session.terminal.resize(41, 123)
        session.terminal.expect("41 123")
        c.kill()
        assert session.wait() == 128 + 9


def test_control_c_is_for_the_container_and_not_for_us(container):
    c = container(["sh", "-c", "trap 'echo interrupted' INT; echo up; read x; read y; exit 6"],
                  changes=with_terminal())
    with on_terminal(c) as session:
        session.terminal.expect("up")
        session.terminal.type("\x03")
        session.terminal.expect("interrupted")
        session.terminal.type("\n\n")
        assert session.wait() in (6, 128 + signal.SIGINT)


def test_much_output_arrives_whole(container):
    c = container(["sh", "-c", "seq 1 20000; echo end"], changes=with_terminal())
    with on_terminal(c) as session:
        assert session.wait() == 0
        lines = session.terminal.seen.split()
    assert lines == [*map(str, range(1, 20001)), "end"]


def test_input_that_is_no_terminal(container):
    c = container(["sh", "-c", "read x; echo got $x; tty"], changes=with_terminal())
    out = c.run(stdin="words\n").out
    assert "got words" in out and "/dev/pts/0" in out


def test_without_a_terminal_streams_are_the_callers(container):
    c = container(["sh", "-c", "cat; echo err >&2; tty"])
    result = c.run(stdin="in\n", ok=False)
    assert result.out == "in\nnot a tty\n" and result.err == "err\n"


# exec

def test_exec_on_a_terminal_has_the_size_of_ours(running):
    c = running()
    with console.OnTerminal(c.argv("exec", "--tty", c.id, "sh"), size=(21, 77)) as session:
        session.terminal.type("stty size; tty; exit 3\n")
        session.terminal.expect("21 77")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 3


def test_exec_detached_over_a_socket(running):
    c = running()
    with console.ConsoleSocket(c.dir + "/tty") as sock:
        c.exec("sh", flags=["--tty", "--detach", "--console-socket", sock.path])
        with sock.receive() as terminal:
            terminal.type("tty; echo a$((1+1))b; exit\n")
            terminal.expect("/dev/pts/")
            terminal.expect("a2b")


def test_exec_as_another_user_owns_its_terminal(running):
    c = running()
    with c.exec_on_terminal("sh", "-c", "stat -L -c %u:%a /proc/self/fd/0",
                            flags=["--user", "1000:1000"]) as session:
        session.terminal.expect("1000:620")
        assert session.wait() == 0


def test_exec_of_a_process_file_with_a_terminal(running):
    c = running()
    with open(c.dir + "/process.json", "w") as f:
        f.write('{"terminal": true, "consoleSize": {"height": 17, "width": 71}, "cwd": "/", '
                '"args": ["sh", "-c", "stty size; sleep 1000"], "env": ["PATH=/bin"]}')
    with console.ConsoleSocket(c.dir + "/tty") as sock:
        c.rt("exec", "--process", c.dir + "/process.json", "--detach", "--console-socket",
             sock.path, c.id)
        with sock.receive() as terminal:
            terminal.expect("17 71")


def test_each_exec_has_its_own_terminal(running):
    c = running()
    with c.exec_on_terminal("sh") as one, c.exec_on_terminal("sh") as two:
        names = []
        for session in (one, two):
            session.terminal.type("echo pts:$(tty):\n")
            session.terminal.expect("pts:/dev/pts/")
            names.append(session.terminal.expect(":"))
        assert len(set(names)) == 2


# Wrong uses

def test_a_terminal_needs_somebody_to_take_it(container):
    c = container(["true"], changes=with_terminal())
    c.write_config()
    assert "console socket" in c.rt("create", "-b", c.dir, c.id, ok=False).err
    assert "console socket" in c.rt("run", "-d", "-b", c.dir, c.id, ok=False).err
    c.config["process"]["terminal"] = False
    c.write_config()
    assert "console socket" in c.rt("create", "-b", c.dir, "--console-socket", "/x", c.id,
                                    ok=False).err
    assert not c.exists()


def test_a_socket_nobody_listens_on_is_an_error_and_leaves_nothing(container):
    c = container(["true"], changes=with_terminal())
    c.write_config()
    err = c.rt("create", "-b", c.dir, "--console-socket", c.dir + "/none", c.id, ok=False).err
    assert "console socket" in err
    assert not c.exists()


def test_a_terminal_needs_a_devpts(container):
    c = container(["true"], changes=with_terminal())
    c.config["mounts"] = [m for m in c.config["mounts"] if m["destination"] != "/dev/pts"]
    assert "/dev/pts" in c.run(ok=False).err


@pytest.mark.parametrize("size", [{"height": 5}, {"width": 5}, {"height": -1, "width": 5},
                                  {"height": 70000, "width": 5}])
def test_wrong_sizes_name_their_field(container, size):
    c = container(["true"], changes=with_terminal(consoleSize=size))
    assert "process.consoleSize" in c.run(ok=False).err


def test_a_size_without_a_terminal_is_ignored(container):
    c = container(["echo", "fine"],
                  changes={"process": {"consoleSize": {"height": 5, "width": 5}}})
    assert c.run().out == "fine\n"


# What becomes of streams that are no terminals

def test_streams_belong_to_the_user_of_the_process(container):
    """So that a program that isn't root can open its /dev/stdout again."""
    c = container(["sh", "-c", "echo again >/proc/self/fd/1"],
                  changes={"process": {"user": {"uid": 1000, "gid": 1000}}})
    read_end, write_end = os.pipe()
    try:
        c.run(stdout=write_end)
        assert os.read(read_end, 100) == b"again\n"
    finally:
        os.close(read_end)
        os.close(write_end)


def test_the_hosts_dev_null_keeps_its_owner(container):
    c = container(["true"], changes={"process": {"user": {"uid": 1000, "gid": 1000}}})
    before = os.stat("/dev/null").st_uid
    c.run(stdin=None)
    assert os.stat("/dev/null").st_uid == before


def test_dev_null_as_a_stream_becomes_the_containers(running):
    c = running()
    assert os.stat(f"/proc/{c.pid}/fd/0").st_dev != os.stat("/dev/null").st_dev
    assert stat.S_ISCHR(os.stat(f"/proc/{c.pid}/fd/0").st_mode)


def test_a_socket_as_stream(container):
    c = container(["sh", "-c", "read x; echo got $x"])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"words\n")
        c.run(stdin=theirs.fileno(), stdout=theirs.fileno())
        assert ours.recv(100) == b"got words\n"


def test_a_reader_that_goes_away_does_not_hang_us(container):
    c = container(["sh", "-c", "seq 1 100000; sleep 0.1"], changes=with_terminal())
    c.write_config()
    read_end, write_end = os.pipe()
    child = proc.start(c.argv("run", "-b", c.dir, c.id), stdout=write_end)
    os.close(write_end)
    os.read(read_end, 10)
    os.close(read_end)
    began = time.monotonic()
    child.wait(20)
    assert time.monotonic() - began < 15
