"""Open files after a restore: locks, files that were removed, pipes, events, unix sockets."""

import os
import socket

import pytest

from lib import config, frozen, needs, proc


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


def test_positions_flags_and_sharing(inside):
    c = inside()
    c.do("open('/tmp/f', 'w').write('0123456789' * 10)\n"
         "a = os.open('/tmp/f', os.O_RDWR | os.O_APPEND); os.lseek(a, 37, 0)\n"
         "b = os.dup2(a, 77); other = os.open('/tmp/f', os.O_RDONLY); os.read(other, 5)\n"
         "fcntl.fcntl(other, fcntl.F_SETFD, 0); d = os.open('/tmp', os.O_PATH)\n"
         "child = os.fork()\n"
         "if child == 0:\n"
         "    while True:\n"
         "        if os.path.exists('/tmp/seek'): os.lseek(a, 50, 0); os.unlink('/tmp/seek')\n"
         "        time.sleep(0.01)\n")
    ask = ("[(os.lseek(fd, 0, 1), fcntl.fcntl(fd, fcntl.F_GETFL), fcntl.fcntl(fd, fcntl.F_GETFD)) for fd in (a, 77, other)]"
           " + [fcntl.fcntl(d, fcntl.F_GETFL)]")
    before = c.do(ask)
    frozen.around(c)
    assert c.do(ask) == before and before[0][0] == 37 and before[2][0] == 5
    c.do("open('/tmp/seek', 'w').close()")
    proc.eventually(lambda: c.do("os.lseek(77, 0, 1)") == 50, what="the child's seek, which is ours too")


LOCKS = ("f = open('/tmp/flock', 'w'); fcntl.flock(f, fcntl.LOCK_EX)\n"
         "p = open('/tmp/posix', 'w+b'); p.write(bytes(100)); p.flush(); fcntl.lockf(p, fcntl.LOCK_EX, 10, 5); fcntl.lockf(p, fcntl.LOCK_SH, 10, 50)\n"
         "o = open('/tmp/ofd', 'w'); fcntl.fcntl(o, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))\n"
         "l = os.open('/tmp/lease', os.O_RDONLY | os.O_CREAT); fcntl.fcntl(l, 1024, fcntl.F_RDLCK)\n")
TRY = ("def attempt(path, how):\n"
       "    pid = os.fork()\n"
       "    if pid == 0:\n"
       "        try: how(open(path, 'r+')); os._exit(0)\n"
       "        except OSError: os._exit(1)\n"
       "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
       "ex = fcntl.LOCK_EX | fcntl.LOCK_NB\n"
       "(attempt('/tmp/flock', lambda g: fcntl.flock(g, ex)), attempt('/tmp/posix', lambda g: fcntl.lockf(g, ex, 1, 7)),\n"
       " attempt('/tmp/posix', lambda g: fcntl.lockf(g, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 55)), attempt('/tmp/posix', lambda g: fcntl.lockf(g, ex, 1, 30)),\n"
       " attempt('/tmp/ofd', lambda g: fcntl.lockf(g, ex)), fcntl.fcntl(l, 1025))\n")


def test_locks_of_every_kind(inside):
    c = inside()
    c.do(LOCKS)
    assert c.do(TRY) == (1, 1, 0, 0, 1, 0)
    assert "--file-locks" in frozen.checkpoint(c, ok=False).err
    for turn in range(2):
        frozen.around(c, "--file-locks", name=f"images{turn}")
        assert c.do(TRY) == (1, 1, 0, 0, 1, 0)
    c.do("f.close()")
    assert c.do(TRY)[0] == 0


def test_files_that_were_removed(inside):
    c = inside()
    c.do("f = open('/tmp/gone', 'w+b'); f.write(b'x' * 500000); f.flush(); os.unlink('/tmp/gone')\n"
         "os.mkdir('/tmp/dir'); d = os.open('/tmp/dir', os.O_RDONLY); os.rmdir('/tmp/dir')\n"
         "g = open('/tmp/name', 'w+'); g.write('old'); g.flush(); os.unlink('/tmp/name'); open('/tmp/name', 'w').write('new')\n"
         "m = mmap.mmap(f.fileno(), 4096, mmap.MAP_SHARED); os.mkfifo('/tmp/fifo'); p = os.open('/tmp/fifo', os.O_RDWR); os.write(p, b'in'); os.unlink('/tmp/fifo')")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert c.do("(os.fstat(f.fileno()).st_nlink, os.fstat(f.fileno()).st_size, f.tell(), f.seek(0), f.read() == b'x' * 500000)") == \
            (0, 500000, 500000, 0, True)
        assert c.do("g.seek(0); (g.read(), open('/tmp/name').read())") == ("old", "new")
        assert c.do("m[:3]") == b"xxx" and c.do("os.readlink(f'/proc/self/fd/{d}')").startswith("/tmp/dir")
        assert c.do("got = os.read(p, 10); os.write(p, got); got") == b"in"
    c.do("m[:3] = b'yyy'; m.flush()")
    assert c.do("f.seek(0); f.read(3)") == b"yyy"
    # Nothing of what CRIU needed for that is left in the root filesystem.
    assert sorted(os.listdir(c.host_path("/tmp"))) == ["name"]


def test_a_removed_file_that_another_name_still_has(inside):
    c = inside()
    c.do("f = open('/tmp/one', 'w+'); f.write('text'); f.flush(); os.link('/tmp/one', '/tmp/two'); os.unlink('/tmp/one')")
    frozen.around(c, "--link-remap", restore_flags=[])
    assert c.do("f.seek(0); f.read()") == "text"
    assert c.do("os.fstat(f.fileno()).st_ino == os.stat('/tmp/two').st_ino")


def test_pipes_and_fifos_with_what_is_in_them(inside):
    c = inside()
    c.do("r, w = os.pipe(); fcntl.fcntl(w, 1031, 262144); os.write(w, b'x' * 200000)\n"
         "os.mkfifo('/tmp/fifo'); f = os.open('/tmp/fifo', os.O_RDWR | os.O_NONBLOCK); os.write(f, b'in the fifo')\n"
         "hr, hw = os.pipe(); os.write(hw, b'last words'); os.close(hw)")
    frozen.around(c)
    assert c.do("fcntl.fcntl(w, 1032)") == 262144
    assert c.do("got = b''\nwhile len(got) < 200000: got += os.read(r, 65536)\ngot == b'x' * 200000")
    assert c.do("os.read(f, 100)") == b"in the fifo"
    assert c.do("(os.read(hr, 100), os.read(hr, 100))") == (b"last words", b"")


def test_events(inside):
    c = inside()
    c.do("e = os.eventfd(5, os.EFD_NONBLOCK)\n"
         "r, w = os.pipe(); ep = select.epoll(); ep.register(r, select.EPOLLIN | select.EPOLLET); ep.register(e, select.EPOLLIN)\n"
         "libc = ctypes.CDLL(None); inotify = libc.inotify_init1(0o4000); libc.inotify_add_watch(inotify, b'/tmp', 0x100)\n"
         "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); mask = struct.pack('Q', 1 << 9); sfd = libc.signalfd(-1, mask, 0o4000)\n"
         "pidfd = os.pidfd_open(os.getpid())")
    frozen.around(c)
    assert c.do("[fd for fd, _ in ep.poll(0)] == [e] and struct.unpack('Q', os.read(e, 8))[0]") == 5
    assert c.do("os.write(w, b'x'); [fd for fd, _ in ep.poll(0)] == [r]")
    assert b"made" in c.do("open('/tmp/made', 'w').close(); os.read(inotify, 4096)")
    assert c.do("os.kill(os.getpid(), signal.SIGUSR1); struct.unpack('I', os.read(sfd, 128)[:4])[0]") == 10
    assert c.do("signal.pidfd_send_signal(pidfd, 0)") is None


TIMERS = """
libc = ctypes.CDLL(None, use_errno=True)
def timer(clock, first, every, flags=0):
    fd = libc.timerfd_create(clock, 0o4000)
    now = time.clock_gettime_ns(clock) if flags & 1 else 0
    spec = struct.pack('4q', 0, every, *divmod(now + first, 10**9))
    assert libc.timerfd_settime(fd, flags, spec, None) == 0, ctypes.get_errno()
    return fd
def read(fd):
    try: return struct.unpack('Q', os.read(fd, 8))[0]
    except BlockingIOError: return 0
"""


def test_timers(inside):
    """Also those that rang before the checkpoint and were not looked at: the kernel goes on only once somebody reads them."""
    c = inside()
    c.do(TIMERS + "ms = 10**6\n"
         "rang = [timer(time.CLOCK_MONOTONIC, 5 * ms, 30 * ms), timer(time.CLOCK_REALTIME, 5 * ms, 30 * ms, 1), timer(time.CLOCK_BOOTTIME, 5 * ms, 20 * ms)]\n"
         "once = timer(time.CLOCK_MONOTONIC, 5 * ms, 0); running = timer(time.CLOCK_MONOTONIC, 999 * ms, 999 * ms); stopped = timer(time.CLOCK_MONOTONIC, 0, 0)\n"
         "twin = os.dup(rang[0]); time.sleep(0.1)")
    flags = c.do("[open(f'/proc/self/fdinfo/{fd}').read().split('settime flags:')[1].split()[0] for fd in rang]")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert c.do("[read(fd) > 0 for fd in rang]") == [True] * 3
        proc.eventually(lambda: c.do("[read(fd) > 0 for fd in rang]") == [True] * 3, what="every timer to ring again")
        assert c.do("[open(f'/proc/self/fdinfo/{fd}').read().split('settime flags:')[1].split()[0] for fd in rang]") == flags
        assert c.do("read(stopped)") == 0
        c.do("time.sleep(0.1)")
    assert c.do("(read(once), read(once))") == (1, 0)
    proc.eventually(lambda: c.do("read(running)") > 0, what="the one that was running")


def test_unix_sockets_of_every_kind(inside):
    c = inside()
    c.do("kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]\n"
         "pairs = [socket.socketpair(socket.AF_UNIX, k) for k in kinds]\n"
         "for a, b in pairs: a.send(b'to b'); b.send(b'to a')\n"
         "lis = socket.socket(socket.AF_UNIX); lis.bind('/tmp/sock'); lis.listen(5)\n"
         "waiting = socket.socket(socket.AF_UNIX); waiting.connect('/tmp/sock')\n"
         "abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); abstract.bind('\\0name')\n"
         "sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); sender.connect('\\0name'); sender.send(b'queued')\n"
         "half = socket.socketpair(); half[0].send(b'end'); half[0].shutdown(socket.SHUT_WR)\n"
         "opt = socket.socketpair(); opt[0].setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1); opt[0].settimeout(3)")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert c.do("[(a.recv(10), b.recv(10)) for a, b in pairs]") == [(b"to a", b"to b")] * 3
        c.do("for a, b in pairs: a.send(b'to b'); b.send(b'to a')")
    assert c.do("got, _ = lis.accept(); waiting.send(b'late'); got.recv(100)") == b"late"
    assert c.do("got.send(b'reply'); waiting.recv(100)") == b"reply"
    assert c.do("abstract.recv(100)") == b"queued" and c.do("sender.send(b'more'); abstract.recv(100)") == b"more"
    assert c.do("(half[1].recv(10), half[1].recv(10))") == (b"end", b"")
    assert c.do("opt[0].getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED)") == 1
    assert c.do("n = socket.socket(socket.AF_UNIX); n.connect('/tmp/sock'); n.send(b'x'); lis.accept()[0].recv(5)") == b"x"


def test_descriptors_on_their_way_through_a_socket(inside):
    c = inside()
    c.do("a, b = socket.socketpair(); f = open('/tmp/passed', 'w+'); f.write('text'); f.flush()\n"
         "socket.send_fds(a, [b'x'], [f.fileno()]); f.close()")
    frozen.around(c)
    assert c.do("_, fds, _, _ = socket.recv_fds(b, 10, 1); os.lseek(fds[0], 0, 0); os.read(fds[0], 10)") == b"text"


@pytest.mark.parametrize("what, words", [
    ("r, w = os.pipe2(os.O_DIRECT)", "packetized mode for pipes is not supported"),
    ("l = socket.socket(socket.AF_UNIX); l.bind('/tmp/s'); l.listen(); s = socket.socket(socket.AF_UNIX); s.connect('/tmp/s'); s.send(b'x')",
     "Non-empty write queue on an in-flight socket"),
    ("s = socket.socket(socket.AF_UNIX); s.connect('/outside/s')", "unix: Dangling connection"),
], ids=["packet pipe", "data on a connection that nobody accepted", "a stream to somebody outside"])
def test_what_criu_cannot_take_along_is_told_and_runs_on(inside, work, what, words):
    listener = socket.socket(socket.AF_UNIX)
    c = inside(started=False)
    c.config["mounts"].append(config.bind(work, "/outside"))
    c.run_detached()
    listener.bind(f"{work}/s")
    listener.listen(1)
    try:
        c.do(what)
        assert words in frozen.checkpoint(c, ok=False).err
        assert c.status == "running" and c.do("1 + 1") == 2
    finally:
        listener.close()
