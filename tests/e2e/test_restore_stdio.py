"""Standard streams and terminals after a restore: whoever restores puts their own in the place of the old ones."""

import os
import socket
import time

import pytest

from lib import config, console, frozen, needs, proc


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


def run(c, **streams):
    c.write_config()
    c.rt("run", "--detach", "--bundle", c.dir, "--pid-file", c.pid_file, c.id, **streams)


@pytest.fixture
def fds():
    """Descriptors that are closed after the test: fds(os.pipe())."""
    kept = []

    def keep(some):
        kept.extend(some)
        return some

    yield keep
    for fd in kept:
        try:
            os.close(fd)
        except OSError:
            pass


def read_some(fd, text, timeout=10):
    """What came up to and with the text."""
    seen = b""
    os.set_blocking(fd, False)
    deadline = time.monotonic() + timeout
    while text not in seen:
        assert time.monotonic() < deadline, seen
        try:
            seen += os.read(fd, 4096)
        except BlockingIOError:
            time.sleep(0.01)
    return seen


ECHO = ["sh", "-c", "while read line; do echo got $line; echo err $line >&2; done"]


def test_three_pipes(container, fds):
    c = container(ECHO)
    pipes = [fds(os.pipe()) for _ in range(3)]
    run(c, stdin=pipes[0][0], stdout=pipes[1][1], stderr=pipes[2][1])
    os.write(pipes[0][1], b"one\n")
    assert read_some(pipes[1][0], b"\n") == b"got one\n"
    images = frozen.checkpoint(c)
    for pipe in pipes:
        for fd in pipe:
            os.close(fd)
    new = [fds(os.pipe()) for _ in range(3)]
    frozen.restore(c, images, stdin=new[0][0], stdout=new[1][1], stderr=new[2][1])
    os.write(new[0][1], b"two\n")
    assert read_some(new[1][0], b"\n") == b"got two\n"
    assert b"err two\n" in read_some(new[2][0], b"two\n")


def test_one_pipe_for_output_and_errors(container, fds):
    c = container(ECHO)
    to, of = fds(os.pipe()), fds(os.pipe())
    run(c, stdin=to[0], stdout=of[1], stderr=of[1])
    os.write(to[1], b"one\n")
    read_some(of[0], b"err one\n")
    images = frozen.checkpoint(c)
    frozen.restore(c, images, stdin=to[0], stdout=of[1], stderr=of[1])
    os.write(to[1], b"two\n")
    assert read_some(of[0], b"err two\n") == b"got two\nerr two\n"
    assert os.stat(f"/proc/{c.pid}/fd/1").st_ino == os.stat(f"/proc/{c.pid}/fd/2").st_ino == os.fstat(of[1]).st_ino


def test_a_pipe_whose_other_end_is_gone(container, fds):
    c = container(["sh", "-c", "trap '' PIPE; while :; do echo x; sleep 0.05; done"])
    of = fds(os.pipe())
    run(c, stdout=of[1])
    read_some(of[0], b"x\n")
    images = frozen.checkpoint(c)
    os.close(of[0])
    os.close(of[1])
    new = fds(os.pipe())
    frozen.restore(c, images, stdout=new[1])
    read_some(new[0], b"x\n")


def test_a_file_of_the_host_is_appended_to(container, work):
    c = container(["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"])
    log = f"{work}/log"
    with open(log, "ab") as f:
        run(c, stdout=f.fileno(), stderr=f.fileno())
    time.sleep(0.3)
    images = frozen.checkpoint(c)
    assert os.readlink("/proc/self/cwd")  # nothing of the container holds the file now
    with open(log, "ab") as f:
        frozen.restore(c, images, stdout=f.fileno(), stderr=f.fileno())
    assert os.readlink(f"/proc/{c.pid}/fd/1") == log
    with open(log) as f:
        count = len(f.read().split())
    time.sleep(0.5)
    with open(log) as f:
        numbers = f.read().split()
    assert len(numbers) > count and numbers == [str(n + 1) for n in range(len(numbers))]


def test_a_file_that_only_a_child_still_has(container):
    """The shell has turned elsewhere, as scripts that log into the container do."""
    c = container(["sh", "-c", "while :; do echo child; sleep 0.1; done & exec sleep 1000 >/dev/null 2>&1 </dev/null"])
    c.run_detached()
    c.wait_output("child")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        before = c.output.count("child")
        proc.eventually(lambda: c.output.count("child") > before + 2, what="the child to go on")


def test_input_from_a_file_goes_on_where_it_was(container, work):
    c = container(["sh", "-c", "while read line; do echo $line; sleep 0.05; done"])
    path = f"{work}/input"
    with open(path, "w") as f:
        f.write("".join(f"{n}\n" for n in range(40)))
    with open(path) as f, open(c.stdout, "ab") as out:
        run(c, stdin=f.fileno(), stdout=out.fileno())
    c.wait_output("5\n")
    images = frozen.checkpoint(c)
    with open(path) as f:
        # The reader's place in the file is that of the description it is given: ours to set.
        os.lseek(f.fileno(), len("".join(f"{n}\n" for n in range(len(c.output.split())))), os.SEEK_SET)
        frozen.restore(c, images, stdin=f.fileno())
    proc.eventually(lambda: "39\n" in c.output, what="the whole input")
    assert c.output.split() == [str(n) for n in range(40)]


@pytest.fixture
def pair():
    """Connected sockets that are closed after the test: pair() gives two."""
    made = []

    def make():
        made.extend(socket.socketpair())
        return made[-2:]

    yield make
    for sock in made:
        sock.close()


def test_sockets(container, pair):
    """They belong to the network namespace of whoever made them, which CRIU must see: the host's, here."""
    c = container(ECHO)
    config.drop_namespace(c.config, "network")
    ours, theirs = pair()
    run(c, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=theirs.fileno())
    theirs.close()
    ours.sendall(b"one\n")
    assert read_some(ours.fileno(), b"err one\n")
    images = frozen.checkpoint(c)
    ours.close()
    ours, theirs = pair()
    frozen.restore(c, images, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=theirs.fileno())
    theirs.close()
    ours.sendall(b"two\n")
    assert read_some(ours.fileno(), b"err two\n") == b"got two\nerr two\n"


def test_sockets_of_another_network_are_told(container, pair):
    c = container(ECHO)
    ours, theirs = pair()
    run(c, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=theirs.fileno())
    theirs.close()
    words = "standard stream 0 is a socket of another network namespace"
    check = c.rt("checkpoint", "--check", c.id, ok=False)
    assert words in check.out and check.code == 1
    assert words in frozen.checkpoint(c, ok=False).err
    ours.sendall(b"one\n")
    assert read_some(ours.fileno(), b"err one\n")


def test_nothing_but_null(container):
    c = container(["sh", "-c", "exec <&- ; while :; do echo x; sleep 0.05; done"])
    with open(os.devnull, "r+") as null:
        run(c, stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno())
        frozen.around(c, stdout=null.fileno(), stderr=null.fileno())
    assert not os.path.exists(f"/proc/{c.pid}/fd/0")
    assert os.readlink(f"/proc/{c.pid}/fd/1") == "/dev/null"
    assert os.stat(f"/proc/{c.pid}/fd/1").st_rdev == os.makedev(1, 3)
    assert proc.alive(c.pid)


def test_null_of_the_container(container):
    """Opened by the process itself, on its own /dev."""
    c = container(["sh", "-c", "exec </dev/null >/dev/null 2>&1; while :; do echo x; sleep 0.05; done"])
    run(c)
    time.sleep(0.2)
    frozen.around(c)
    assert os.readlink(f"/proc/{c.pid}/fd/1") == "/dev/null" and proc.alive(c.pid)


def terminal(container, script):
    c = container(["sh", "-c", script] if script else ["sh"], changes={"process": {"terminal": True, "consoleSize": {"height": 33, "width": 101}}})
    c.create()
    c.start()
    return c


def restore_on_terminal(c, images, name="tty2"):
    with console.ConsoleSocket(os.path.join(c.dir, name)) as sock:
        frozen.restore(c, images, "--console-socket", sock.path)
        c.terminal = sock.receive()


def test_a_session_on_a_terminal(container):
    c = terminal(container, None)
    c.terminal.type("stty -echo; x=42; sleep 1001 & echo re''ady\n")
    c.terminal.expect("ready")
    with open(f"/proc/{c.pid}/stat") as f:
        before = f.read().rpartition(")")[2].split()[2:6]  # pgrp, session, tty, foreground group
    settings = c.exec("sh", "-c", "stty -a -F /dev/console").out
    images = frozen.checkpoint(c)
    c.terminal.close()
    restore_on_terminal(c, images)
    with open(f"/proc/{c.pid}/stat") as f:
        after = f.read().rpartition(")")[2].split()[2:6]
    assert [before[0] == before[1], before[2]] == [after[0] == after[1], after[2]]
    assert c.exec("sh", "-c", "stty -a -F /dev/console").out == settings
    c.terminal.type("echo x is $x on $(tty); jobs\n")
    c.terminal.expect("x is 42 on /dev/pts/0")
    c.terminal.expect("sleep 1001")
    c.terminal.type("stty size\n")
    c.terminal.expect("33 101")


def test_a_restored_terminal_interrupts_stops_and_resizes(container):
    c = terminal(container, None)
    c.terminal.type("stty -echo; trap 'echo size $(stty size)' WINCH; echo re''ady\n")
    c.terminal.expect("ready")
    images = frozen.checkpoint(c)
    c.terminal.close()
    restore_on_terminal(c, images)
    c.terminal.type("echo a''gain\n")
    c.terminal.expect("again")
    c.terminal.resize(40, 90)
    c.terminal.type("stty size\n")
    c.terminal.expect("40 90")
    c.terminal.type("sleep 1002\n")
    proc.eventually(lambda: c.exec("pidof", "sleep", ok=None).code == 0, what="sleep")
    c.terminal.type("\x03")
    c.terminal.type("echo sta''tus $?\n")
    c.terminal.expect("status 130")
    c.terminal.type("sleep 1003\n")
    proc.eventually(lambda: c.exec("pidof", "sleep", ok=None).code == 0, what="sleep")
    c.terminal.type("\x1a")
    c.terminal.type("jobs; echo do''ne\n")
    assert "Stopped" in c.terminal.expect("done")


def test_a_terminal_three_times_over(container):
    c = terminal(container, None)
    c.terminal.type("stty -echo; x=0; echo re''ady\n")
    c.terminal.expect("ready")
    for turn in range(3):
        images = frozen.checkpoint(c, name=f"images{turn}")
        c.terminal.close()
        restore_on_terminal(c, images, f"tty{turn}x")
        c.terminal.type("x=$((x+1)); echo x is $x\n")
        c.terminal.expect(f"x is {turn + 1}")


def test_a_terminal_restored_in_the_foreground(container):
    c = terminal(container, None)
    c.terminal.type("stty -echo; x=43; echo re''ady\n")
    c.terminal.expect("ready")
    images = frozen.checkpoint(c)
    c.terminal.close()
    c.terminal = None
    with console.OnTerminal(c.argv("restore", "--bundle", c.dir, "--image-path", images, c.id), size=(20, 70)) as person:
        person.terminal.type("echo x is $x; stty size\n")
        person.terminal.expect("x is 43")
        person.terminal.expect("20 70")
        person.terminal.type("exit 7\n")
        assert person.wait() == 7
    assert not c.exists()


def test_a_restore_in_the_foreground_ends_with_the_container(container):
    c = container(["sh", "-c", "trap 'exit 9' TERM; while :; do echo x; sleep 0.05; done"])
    c.run_detached()
    c.wait_output("x\nx\n")
    images = frozen.checkpoint(c)
    length = len(c.output)
    with open(c.stdout, "ab") as out:
        person = proc.start(c.argv("restore", "--bundle", c.dir, "--image-path", images, c.id), stdout=out.fileno())
    try:
        proc.eventually(lambda: len(c.output) > length, what="it to run")
        time.sleep(0.2)
        person.terminate()  # passed on
        assert person.wait(10) == 9
    finally:
        if person.poll() is None:
            person.kill()
            person.wait()
    proc.eventually(lambda: not c.exists(), what="it to be deleted")


def test_a_file_that_init_gave_to_its_child_alone(container, work):
    """The child has it as streams 1 and 2, init has another file as 1 and none of the host as 2."""
    c = container(["sh", "-c", "(while :; do echo child; sleep 0.1; done) 1>&2 & exec 2>/tmp/log; while :; do echo init; sleep 0.1; done"])
    with open(f"{work}/out", "w") as out, open(f"{work}/err", "w") as err:
        run(c, stdout=out, stderr=err)
    proc.eventually(lambda: os.path.getsize(f"{work}/err") and os.path.getsize(f"{work}/out"), what="both to speak")
    images = frozen.checkpoint(c)
    with open(f"{work}/out2", "w") as out, open(f"{work}/err2", "w") as err:
        c.rt("restore", "--detach", "--bundle", c.dir, "--image-path", images, c.id, stdout=out, stderr=err)
    proc.eventually(lambda: os.path.getsize(f"{work}/err2") and os.path.getsize(f"{work}/out2"), what="both to speak again")
    assert set(open(f"{work}/out2").read().split()) == {"init"} and set(open(f"{work}/err2").read().split()) == {"child"}
