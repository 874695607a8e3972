"""What confines a process confines it after a restore: seccomp, capabilities, no_new_privs, ids and their maps."""

import os

import pytest

from lib import config, frozen, needs, proc

NAMES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "Uid", "Gid", "Groups")

# Each refused system call as (how it is made, what its caller sees).
CALL = ("libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(*args):\n"
        "    ctypes.set_errno(0)\n"
        "    return (libc.syscall(*args), errno.errorcode.get(ctypes.get_errno(), ''))\n")
GETCPU, GETPRIORITY, SYNC, ACCT, PERSONALITY = 309, 140, 162, 163, 135


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        found = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    return {name: found[name] for name in NAMES}


def refuse(*rules):
    return {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        dict(zip(("names", "action", "errnoRet"), (([rule[0]], *rule[1:])))) for rule in rules]}}}


def test_a_refused_system_call_is_refused_with_its_errno(inside):
    c = inside(changes=refuse(("getcpu", "SCMP_ACT_ERRNO", 95), ("sync", "SCMP_ACT_ERRNO", 13), ("acct", "SCMP_ACT_ERRNO", 1)))
    c.do(CALL)
    ask = f"[call({GETCPU}, 0, 0, 0), call({SYNC}), call({ACCT}, 0), call({GETPRIORITY}, 0, 0)[0] > 0]"
    before, outside = c.do(ask), status(c.pid)
    assert before == [(-1, "ENOTSUP"), (-1, "EACCES"), (-1, "EPERM"), True] and outside["Seccomp"] == "2"
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert c.do(ask) == before and status(c.pid) == outside
        assert c.do("threads = []; t = threading.Thread(target=lambda: threads.append(call(309, 0, 0, 0))); t.start(); t.join(); threads") == \
            [(-1, "ENOTSUP")]
        assert c.do("os.waitstatus_to_exitcode(os.waitpid(os.fork() or os._exit(call(162)[0] == -1), 0)[1])") == 1


def test_conditions_on_arguments(inside):
    c = inside(changes={"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
         "args": [{"index": 0, "value": 0x0040000, "op": "SCMP_CMP_EQ"}]}]}}})
    c.do(CALL)
    ask = f"(call({PERSONALITY}, 0x40000), call({PERSONALITY}, 0xffffffff))"
    before = c.do(ask)
    assert before == ((-1, "EINVAL"), (0, ""))
    frozen.around(c)
    assert c.do(ask) == before


@pytest.mark.parametrize("action, status", [("SCMP_ACT_KILL_PROCESS", -31), ("SCMP_ACT_KILL", -31), ("SCMP_ACT_TRAP", -31)])
def test_a_system_call_that_kills(inside, action, status):
    c = inside(changes=refuse(("getcpu", action)))
    c.do(CALL)
    ask = f"os.waitstatus_to_exitcode(os.waitpid(os.fork() or (call({GETCPU}, 0, 0, 0), os._exit(0)), 0)[1])"
    assert c.do(ask) == status
    frozen.around(c)
    assert c.do(ask) == status


def test_log_and_flags(inside):
    c = inside(changes={"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [
        {"names": ["getcpu"], "action": "SCMP_ACT_LOG"}]}}})
    c.do(CALL)
    frozen.around(c)
    assert c.do(f"call({GETCPU}, 0, 0, 0)")[0] == 0


def test_filters_that_the_process_added_itself(inside):
    """On top of the container's own; each child its own."""
    c = inside(changes=refuse(("sync", "SCMP_ACT_ERRNO", 13)))
    c.do(CALL +
         "def refuse(nr, number):\n"
         "    code = b''.join(struct.pack('HBBI', *i) for i in [(0x20, 0, 0, 0), (0x15, 0, 1, nr), (6, 0, 0, 0x50000 | number), (6, 0, 0, 0x7fff0000)])\n"
         "    program = struct.pack('HxxxxxxQ', 4, ctypes.addressof(keep := ctypes.create_string_buffer(code)))\n"
         "    return call(157, 22, 2, program)\n"
         "r, w = os.pipe()\n"
         "mine = refuse(309, 71)\n"
         "child = os.fork()\n"
         "if child == 0:\n"
         "    refuse(140, 72)\n"
         "    while True:\n"
         "        if os.path.exists('/tmp/ask'):\n"
         "            open('/tmp/said.new', 'w').write(repr([call(162), call(309, 0, 0, 0), call(140, 0, 0)])); os.rename('/tmp/said.new', '/tmp/said'); os.unlink('/tmp/ask')\n"
         "        time.sleep(0.02)\n")
    assert c.do("mine") == (0, "")
    ask = f"[call({SYNC}), call({GETCPU}, 0, 0, 0), call({GETPRIORITY}, 0, 0)[0] > 0]"
    before = c.do(ask)
    assert [b[1] for b in before[:2]] == ["EACCES", "EPROTO"] and before[2]
    frozen.around(c)
    assert c.do(ask) == before and status(c.pid)["Seccomp_filters"] == "2"
    c.do("open('/tmp/ask', 'w').close()")
    said = proc.eventually(lambda: os.path.exists(c.host_path("/tmp/said")) and open(c.host_path("/tmp/said")).read(), what="the child")
    assert [e[1] for e in eval(said)] == ["EACCES", "EPROTO", "EMULTIHOP"]


def test_capabilities_and_no_new_privileges(inside):
    sets = {"bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE"], "permitted": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"],
            "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    for no_new in (True, False):
        c = inside(changes={"process": {"capabilities": sets, "noNewPrivileges": no_new}})
        before = status(c.pid)
        assert before["NoNewPrivs"] == str(int(no_new)) and len({before[n] for n in NAMES[:5]}) > 1
        frozen.around(c)
        assert status(c.pid) == before
        assert "denied" in c.do("try: os.chroot('/')\nexcept OSError as e: said = str(e)\nsaid") or "permitted" in c.do("said")


def test_ids_and_groups(inside):
    """Of another user, who needs CAP_SYS_RESOURCE to be dumped outside of a user namespace."""
    c = inside(started=False, changes={"process": {"user": {"uid": 1000, "gid": 1000, "additionalGids": [5, 500]}}})
    config.use_user_namespace(c.config, 200000)
    proc.run(["chown", "-R", "-h", "200000:200000", c.rootfs])
    proc.run(["chown", "-R", "201000:201000", c.host_path("/agent")])
    os.chmod(os.path.dirname(c.dir), 0o711)
    c.run_detached()
    before = status(c.pid)
    frozen.around(c)
    assert status(c.pid) == before and before["Uid"].split() == ["201000"] * 4
    assert c.do("(os.getresuid(), os.getresgid(), sorted(os.getgroups()))") == ((1000,) * 3, (1000,) * 3, [5, 500])
    assert c.exec("id", "-u").out == "1000\n"


def test_a_user_namespace(inside):
    c = inside(started=False)
    config.use_user_namespace(c.config, 200000, 30000)
    for which in ("uidMappings", "gidMappings"):
        c.config["linux"][which].append({"containerID": 50000, "hostID": 300000, "size": 20000})
    proc.run(["chown", "-R", "-h", "200000:200000", c.rootfs])
    os.chmod(os.path.dirname(c.dir), 0o711)
    c.run_detached()
    maps = "(open('/proc/self/uid_map').read().split(), open('/proc/self/gid_map').read().split())"
    before = c.do(maps)
    assert before[0] == ["0", "200000", "30000", "50000", "300000", "20000"]
    c.do("child = os.fork()\nif child == 0:\n    os.setgid(33); os.setuid(33)\n    while True: time.sleep(1)\n"
         "open('/tmp/mine', 'w').close(); os.chown('/tmp/mine', 50003, 7); f = open('/tmp/mine')")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert c.do(maps) == before
        assert os.stat(f"/proc/{c.pid}").st_uid == 200000
        assert c.do("os.stat(f'/proc/{child}').st_uid") == 33
        assert os.stat(c.host_path("/tmp/mine")).st_uid == 300003
        assert c.do("(os.fstat(f.fileno()).st_uid, os.fstat(f.fileno()).st_gid)") == (50003, 7)
        assert c.do("try: open('/proc/sysrq-trigger', 'w'); said = ''\nexcept OSError as e: said = e.strerror\nsaid") != ""
    with open(f"/proc/{c.pid}/uid_map") as f:
        assert f.read().split() == before[0]
    # Nobody but root of the container may read the images, which hold its memory.
    for path in (f"{c.dir}/images0", f"{c.dir}/images0/pages-1.img"):
        stat = os.stat(path)
        assert stat.st_mode & 0o027 == 0 and (stat.st_uid, stat.st_gid) == (0, 200000)


def test_maps_that_criu_cannot_restore_are_told_before(inside):
    c = inside(started=False)
    config.use_user_namespace(c.config, 200000, 1024)
    proc.run(["chown", "-R", "-h", "200000:200000", c.rootfs])
    os.chmod(os.path.dirname(c.dir), 0o711)
    c.run_detached()
    assert "65534" in frozen.checkpoint(c, ok=False).err and c.do("1 + 1") == 2


def test_limits_and_scheduling(inside):
    c = inside(changes={"process": {"scheduler": {"policy": "SCHED_BATCH", "nice": 7}, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
                                    "rlimits": [{"type": "RLIMIT_STACK", "soft": 4 << 20, "hard": 8 << 20}]}})
    ask = "(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_STACK))"
    before = c.do(ask)
    assert before == (3, 7, (4 << 20, 8 << 20))
    frozen.around(c)
    assert c.do(ask) == before
