"""Processes after a restore: the tree, its threads, their memory, and what the kernel knows of each."""

import re

import pytest

from lib import frozen, needs, proc

MIB = 1 << 20


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


def status(pid, *names):
    with open(f"/proc/{pid}/status") as f:
        found = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    return {name: found[name] for name in names}


def seen_inside(c):
    """[(pid, ppid, pgid, sid, state, name)] as the container has them, without what looks."""
    script = ("found = []\n"
              "for p in filter(str.isdigit, os.listdir('/proc')):\n"
              "    text = open(f'/proc/{p}/stat').read()\n"
              "    name = text[text.index('(') + 1:text.rindex(')')]\n"
              "    rest = text[text.rindex(')') + 2:].split()\n"
              "    found.append((int(p), *map(int, rest[1:4]), rest[0] if p != '1' else '', name))\n"
              "sorted(found)")
    return c.do(script)


def test_a_tree_of_processes(inside):
    c = inside()
    c.do("def child(then):\n"
         "    pid = os.fork()\n"
         "    if pid == 0:\n"
         "        then()\n"
         "        while True: signal.pause()\n"
         "    return pid\n"
         "def group(): os.setpgid(0, 0); child(lambda: child(lambda: None))\n"
         "def session(): os.setsid(); child(lambda: os.setpgid(0, 0))\n"
         "pids = [child(lambda: None), child(group), child(session)]\n"
         "stopped = child(lambda: None); time.sleep(0.3); os.kill(stopped, signal.SIGSTOP)\n"
         "zombie = os.fork() or os._exit(7)\n"
         "time.sleep(0.3)")
    before = seen_inside(c)
    assert len(before) == 9 and {"T", "Z"} <= {p[4] for p in before}
    frozen.around(c)
    assert seen_inside(c) == before
    assert c.do("os.waitstatus_to_exitcode(os.waitpid(zombie, 0)[1])") == 7
    c.do("os.kill(stopped, signal.SIGCONT); os.kill(stopped, signal.SIGTERM)")
    assert c.do("os.waitstatus_to_exitcode(os.waitpid(stopped, 0)[1])") == -15


def test_threads_go_on_under_their_ids_and_names(inside):
    c = inside()
    c.do("turns = [0] * 8; ids = {}\n"
         "def turn(n):\n"
         "    ids[n] = threading.get_native_id()\n"
         "    open('/proc/thread-self/comm', 'w').write(f'turn{n}')\n"
         "    while True: turns[n] += 1; time.sleep(0.01)\n"
         "for n in range(8): threading.Thread(target=turn, args=[n], daemon=True).start()\n"
         "time.sleep(0.3)")
    names = "{t: open(f'/proc/self/task/{t}/comm').read().strip() for t in os.listdir('/proc/self/task')}"
    before, turns = c.do(names), c.do("turns")
    frozen.around(c)
    assert c.do(names) == before and len(before) == 9
    c.do("time.sleep(0.3)")
    assert all(now > then for now, then in zip(c.do("turns"), turns))
    assert c.do("threading.Lock().acquire()")
    assert int(status(c.pid, "Threads")["Threads"]) == 9


def test_what_the_kernel_knows_of_a_process(inside):
    c = inside(changes={"process": {"oomScoreAdj": 300, "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 600},
                                                                   {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096}]}})
    c.do("os.chdir('/home'); os.umask(0o027); os.nice(5); os.environ['MADE'] = 'here'\n"
         "open('/proc/self/comm', 'w').write('a new name')\n"
         "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # a subreaper\n"
         "os.sched_setaffinity(0, [0])")
    ask = ("(os.getcwd(), os.umask(0o027), os.nice(0), os.environ['MADE'], open('/proc/self/comm').read(),\n"
           " open('/proc/self/cmdline').read(), os.readlink('/proc/self/exe'), resource.getrlimit(resource.RLIMIT_NOFILE),\n"
           " resource.getrlimit(resource.RLIMIT_CORE), open('/proc/self/oom_score_adj').read(), open('/proc/self/environ').read(),\n"
           " os.sched_getaffinity(0), os.getgroups(), open('/proc/self/auxv', 'rb').read(), open('/proc/self/timerslack_ns').read())")
    before = c.do(ask)
    assert before[0] == "/home" and before[7] == (500, 600) and before[9] == "300\n"
    outside = status(c.pid, "Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    frozen.around(c)
    after = c.do(ask)
    # The processors a process may use are the new host's and the cgroup's affair: CRIU does not carry them.
    assert after[:11] == before[:11] and after[12:] == before[12:]
    assert status(c.pid, *outside) == outside


def test_signals_handled_blocked_ignored_and_pending(inside):
    c = inside()
    c.do("got = []\n"
         "signal.signal(signal.SIGUSR1, lambda n, f: got.append(n))\n"
         "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
         "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\n"
         "signal.signal(signal.SIGUSR2, lambda n, f: got.append(n))\n"
         "os.kill(os.getpid(), signal.SIGUSR2)")
    names = ("SigBlk", "SigIgn", "SigCgt", "ShdPnd")
    before = status(c.pid, *names)
    frozen.around(c)
    assert status(c.pid, *names) == before and int(before["ShdPnd"], 16) == 1 << 11
    c.kill("USR1")
    c.kill("HUP")
    proc.eventually(lambda: c.do("got") == [10], what="SIGUSR1")
    c.do("signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])")
    assert c.do("got") == [10, 12]


def test_timers_go_on(inside):
    c = inside()
    c.do("rang = []\n"
         "signal.signal(signal.SIGALRM, lambda n, f: rang.append(time.monotonic()))\n"
         "signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)\n"
         "libc = ctypes.CDLL(None)\n"
         "tfd = libc.timerfd_create(1, 0o4000)\n"
         "libc.timerfd_settime(tfd, 0, struct.pack('4q', 0, 100000000, 1, 500000000), None)")
    frozen.around(c)
    count = c.do("time.sleep(1.6); os.read(tfd, 8); len(rang)")
    proc.eventually(lambda: c.do("len(rang)") > count + 2, what="the timer to ring")
    c.do("time.sleep(0.3)")
    assert c.do("struct.unpack('Q', os.read(tfd, 8))[0]") >= 2


def digest(c):
    return c.do("[hashlib.sha256(m).hexdigest() for m in memory]")


def test_memory_of_every_kind(inside):
    c = inside()
    c.do("A, S, P = mmap.MAP_ANONYMOUS, mmap.MAP_SHARED, mmap.MAP_PRIVATE\n"
         "memory = [mmap.mmap(-1, 8 << 20, S | A), mmap.mmap(-1, 8 << 20, P | A)]\n"
         "open('/tmp/file', 'wb').write(os.urandom(1 << 20))\n"
         "for flags in S, P:\n"
         "    fd = os.open('/tmp/file', os.O_RDWR); memory.append(mmap.mmap(fd, 1 << 20, flags)); os.close(fd)\n"
         "memfd = os.memfd_create('a name', os.MFD_ALLOW_SEALING); os.ftruncate(memfd, 1 << 20)\n"
         "memory.append(mmap.mmap(memfd, 1 << 20, S))\n"
         "for m in memory: m[:] = os.urandom(len(m))\n"
         "memory[1][:4 << 20] = bytes(4 << 20)\n"
         "fcntl.fcntl(memfd, 1033, 0x4)  # F_SEAL_GROW\n"
         "libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_void_p\n"
         "shm = libc.shmget(0x4711, 65536, 0o1600); at = libc.shmat(shm, None, 0)\n"
         "ctypes.memmove(at, b'System V', 8)\n"
         "child = os.fork()\n"
         "if child == 0:\n"
         "    while True:\n"
         "        if memory[0][:4] == b'ping': memory[0][:4] = b'pong'\n"
         "        time.sleep(0.01)\n")
    before = digest(c)
    frozen.around(c)
    assert digest(c) == before
    assert c.do("ctypes.string_at(at, 8)") == b"System V"
    assert c.do("libc.shmget(0x4711, 0, 0) == shm")
    assert c.do("fcntl.fcntl(memfd, 1034)") == 0x4
    # Shared is still shared: with the child, and with the file on the host.
    c.do("memory[0][:4] = b'ping'")
    proc.eventually(lambda: c.do("memory[0][:4]") == b"pong", what="the child to answer through shared memory")
    c.do("memory[2][:5] = b'there'; memory[2].flush(); memory[3][:4] = b'here'")
    with open(c.host_path("/tmp/file"), "rb") as f:
        assert f.read(5) == b"there"


def test_256_mib_that_only_the_process_has(inside):
    c = inside()
    c.do("big = mmap.mmap(-1, 256 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
         "piece = os.urandom(1 << 20)\n"
         "for n in range(256): big[n << 20:(n + 1) << 20] = struct.pack('Q', n) + piece[8:]\n"
         "memory = [big]", timeout=60)
    before = c.do("[hashlib.sha1(big).hexdigest()]", timeout=60)
    resident = int(status(c.pid, "RssAnon")["RssAnon"].split()[0])
    frozen.around(c)
    assert c.do("[hashlib.sha1(big).hexdigest()]", timeout=60) == before
    assert abs(int(status(c.pid, "RssAnon")["RssAnon"].split()[0]) - resident) < 8 * 1024


def test_protections_and_advice_of_mappings(inside):
    c = inside()
    c.do("libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n"
         "at = libc.mmap(None, 1 << 20, 3, 0x22, -1, 0)\n"
         "libc.mprotect(ctypes.c_void_p(at), 4096, 0); libc.mprotect(ctypes.c_void_p(at + 8192), 4096, 1)\n"
         "libc.madvise(ctypes.c_void_p(at + 65536), 65536, 16)  # MADV_DONTDUMP\n"
         "ctypes.memset(at + 65536, 7, 65536)")

    def mappings():
        """[(address range, permissions, name, advice)] but for what the kernel puts where it likes."""
        with open(f"/proc/{c.pid}/smaps") as f:
            text = f.read()
        found = re.findall(r"^([0-9a-f]+-[0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$(?:\n(?!VmFlags).*)*\nVmFlags: (.*)$", text, re.M)
        return [(where, how, name, flags.split()) for where, how, name, flags in found
                if name not in ("[vvar]", "[vdso]", "[vsyscall]", "[vvar_vclock]")]

    before = mappings()
    frozen.around(c)
    after = mappings()
    assert [m[:3] for m in after] == [m[:3] for m in before]
    assert ["dd" in m[3] for m in after] == ["dd" in m[3] for m in before]


def test_what_exec_put_in_is_no_part_of_the_tree(inside):
    """Its parent is outside, and so is whoever waits for it: it is not harmed, but does not come back."""
    c = inside()
    c.rt("exec", "--detach", c.id, "sleep", "4711")
    before = c.exec("pidof", "sleep").out
    images = frozen.checkpoint(c, "--leave-running")
    assert c.exec("pidof", "sleep").out == before != ""
    c.delete("--force")
    frozen.restore(c, images)
    assert seen_inside(c) == [(1, 0, 1, 1, "", "python3")]
