"""Each obstacle to a checkpoint, made and then read about: by `checkpoint --check`, one line each and
status 1, and by `checkpoint` itself, which has frozen nothing then and leaves the container running."""

import os
import re
import subprocess
import sys
import time

import pytest

from lib import config, frozen, needs, proc

NOTHING = "nothing stands in the way"

# proto/criu_rpc.proto: the number of the request, and the field of the answer.
VERSION_REQUEST = 10
VERSION_FIELD = 10

# A criu of another age: it answers the question for its version, and nothing else.
OLD_CRIU = """#!/usr/bin/python3
import socket, sys
conversation = socket.socket(fileno=int(sys.argv[2]))
while conversation.recv(65536):
    conversation.send(bytes([8, VERSION_REQUEST, 16, 1, TAG, 4, 8, 3, 16, 17]))
"""


@pytest.fixture(autouse=True)
def criu():
    needs.program("criu")


def obstacles(c, *flags, **how):
    """What --check says, line by line; the container was not touched by it."""
    result = c.rt("checkpoint", "--check", *flags, c.id, ok=None, **how)
    lines = result.out.splitlines()
    assert result.code == (0 if NOTHING in result.out else 1), repr(result)
    assert lines and result.err == ""
    assert c.status == "running"
    return [] if NOTHING in result.out else lines


def assert_stands_in_the_way(c, words, *flags, **how):
    """By --check alone on its line, and by a checkpoint, before anything is frozen."""
    found = obstacles(c, *flags, **how)
    assert len([line for line in found if re.search(words, line)]) == 1, found
    result = frozen.checkpoint(c, *flags, ok=False, **how)
    assert re.search(words, result.err) and result.err.startswith("rt: cannot checkpoint")
    assert c.status == "running"
    assert not os.path.exists(f"{c.dir}/images/dump.log"), "CRIU was asked all the same"
    return found


def assert_no_more(c, *flags):
    """With the option the sentence names, nothing stands in the way and the checkpoint works."""
    assert obstacles(c, *flags) == []
    frozen.checkpoint(c, "--leave-running", *flags, name="allowed")


def test_an_ordinary_container_has_none(running):
    c = running()
    assert obstacles(c) == []


def put_in(c, *words, **how):
    """A process by `rt exec`, its host pid."""
    c.rt("exec", "--detach", "--pid-file", f"{c.dir}/guest", c.id, *words, **how)
    with open(f"{c.dir}/guest") as f:
        return int(f.read())


def test_what_exec_put_in_is_told_and_stands_in_nobodys_way(running):
    """It is no child of init, which is all that CRIU takes along: it runs on, or ends with the container, and does not come back."""
    c = running(["sh", "-c", "while :; do sleep 1; done"])
    guest = put_in(c, "sh", "-c", "sleep 777; :")
    proc.eventually(lambda: "sleep 777" in c.rt("ps", c.id).out, what="its child")
    told = rf"a restore will not bring back what 'rt exec' put in, .*: processes ({guest} \(sh\), )?\d+ \(sleep\)(, {guest} \(sh\))?"
    check = c.rt("checkpoint", "--check", c.id)
    assert re.search(rf"note: {told}, which end with it\n", check.out) and NOTHING in check.out
    assert not re.search("exec", c.rt("checkpoint", "--check", "--pre-dump", c.id, ok=None).out)
    result = c.rt("checkpoint", "--leave-running", "--image-path", f"{c.dir}/first", c.id)
    assert re.search(rf"{told}$", result.err.strip()) and proc.alive(guest)
    result = c.rt("checkpoint", "--image-path", f"{c.dir}/images", c.id)
    assert re.search("which end with it", result.err)
    proc.eventually(lambda: not proc.alive(guest), what="its end")
    frozen.restore(c, f"{c.dir}/images")
    assert "sleep 777" not in c.rt("ps", c.id).out and "while" in c.rt("ps", c.id).out


def test_what_exec_put_in_may_do_what_criu_cannot_take_along(running, work):
    """A file lock, a removed file, a stream on another file of the host: none of that is dumped."""
    c = running()
    with open(f"{work}/other", "w") as other:
        guest = put_in(c, "sh", "-c", "exec 7>/tmp/lock; flock 7; rm /tmp/lock; echo said; exec sleep 1000", stdout=other)
    proc.eventually(lambda: open(f"{work}/other").read() == "said\n", what="its word")
    assert obstacles(c) == [] and proc.alive(guest)
    frozen.around(c)


def test_an_orphan_of_what_exec_put_in_comes_back(running):
    """Once its parent has ended it is a child of init's."""
    c = running(["sh", "-c", "while :; do sleep 1; done"])
    c.rt("exec", c.id, "sh", "-c", "sleep 776 > /dev/null 2>&1 < /dev/null & :")
    assert "exec" not in c.rt("checkpoint", "--check", c.id).out
    frozen.around(c)
    assert "776" in c.rt("ps", c.id).out


def test_io_uring(inside):
    c = inside()
    c.do("libc = ctypes.CDLL(None); ring = libc.syscall(425, 4, ctypes.create_string_buffer(200)); assert ring > 0")
    assert_stands_in_the_way(c, r"process \d+ \(python3\) uses io_uring \(descriptor \d+\)")


@pytest.mark.parametrize("make, words", [
    ("held = libc.syscall(323, 0o2000000)", "a userfaultfd"),
    ("held = libc.syscall(447, 0)", "secret memory"),
    ("held = libc.syscall(444, ctypes.byref(ctypes.c_uint64(1)), 8, 0)", "a Landlock rule set"),
    ("held = libc.syscall(298, b'\\1\\0\\0\\0' + b'\\x70\\0\\0\\0' + bytes(104), 0, -1, -1, 0)", "a perf event"),
])
def test_descriptors_criu_does_not_know(inside, make, words):
    c = inside()
    held = c.do(f"libc = ctypes.CDLL(None, use_errno=True); {make}; (held, ctypes.get_errno())")
    if held[0] < 0:
        pytest.skip(f"{words} cannot be had here: {os.strerror(held[1])}")
    assert_stands_in_the_way(c, words)


def test_an_eventfd_that_is_a_semaphore(inside):
    c = inside()
    c.do("e = os.eventfd(3, os.EFD_SEMAPHORE); plain = os.eventfd(3)")
    assert_stands_in_the_way(c, r"holds an eventfd that is a semaphore \(EFD_SEMAPHORE, descriptor \d+\)")
    c.do("os.close(e)")
    assert c.rt("checkpoint", "--check", c.id).code == 0


def test_a_large_removed_file(inside):
    c = inside()
    c.do("f = open('/tmp/large', 'wb'); f.write(b'x' * 3000000); f.flush(); os.unlink('/tmp/large')")
    assert_stands_in_the_way(c, r"holds the removed file '/tmp/large' of 3000000 bytes .*--ghost-limit")
    assert_no_more(c, "--ghost-limit", "4000000")


def test_a_file_removed_under_one_name(inside):
    c = inside()
    c.do("f = open('/tmp/one', 'w'); os.link('/tmp/one', '/tmp/other'); os.unlink('/tmp/one')")
    assert_stands_in_the_way(c, r"'/tmp/one', removed under this name .*--link-remap")
    assert_no_more(c, "--link-remap")


@pytest.mark.parametrize("lock", ["fcntl.flock(f, fcntl.LOCK_EX)", "fcntl.lockf(f, fcntl.LOCK_EX)"])
def test_a_file_lock(inside, lock):
    c = inside()
    c.do(f"f = open('/tmp/f', 'w'); {lock}")
    assert_stands_in_the_way(c, "holds a file lock .*--file-locks")
    assert_no_more(c, "--file-locks")


@pytest.mark.parametrize("family, address", [("AF_INET", "127.0.0.1"), ("AF_INET6", "::1")])
def test_an_established_connection(inside, family, address):
    c = inside()
    c.do(f"s = socket.socket(socket.{family}); s.bind(('{address}', 0)); s.listen()")
    assert obstacles(c) == []
    c.do(f"a = socket.socket(socket.{family}); a.connect(s.getsockname()); b = s.accept()[0]")
    assert_stands_in_the_way(c, "has an established TCP connection .*--tcp-established")
    assert_no_more(c, "--tcp-established")


def test_a_process_of_another_uid_without_cap_sys_resource(running):
    if needs.effective_capabilities() >> needs.CAPABILITIES["CAP_SYS_RESOURCE"] & 1:
        pytest.skip("root here has CAP_SYS_RESOURCE, so nothing is in the way")
    c = running(changes={"process": {"user": {"uid": 1000, "gid": 1000}}})
    assert_stands_in_the_way(c, r"runs as uid 1000 .*CAP_SYS_RESOURCE .*user namespace of its own")


def test_a_traced_process(running, work):
    c = running()
    tracer = subprocess.Popen([sys.executable, "-c",
                               "import ctypes, sys, time\n"
                               f"print(ctypes.CDLL(None).ptrace(0x4206, {c.pid}, 0, 0), flush=True)\n"
                               "time.sleep(1000)"], stdout=subprocess.PIPE, text=True, close_fds=True)
    try:
        assert tracer.stdout.readline() == "0\n"
        assert_stands_in_the_way(c, rf"is traced by process {tracer.pid}")
    finally:
        tracer.kill()
        tracer.wait()
        tracer.stdout.close()
    assert_no_more(c)


def test_a_nested_pid_namespace(container):
    c = container(["sh", "-c", "unshare --pid --fork sleep 1000 & echo up; wait"])
    config.set_capabilities(c.config, [*config.ENGINE_CAPABILITIES, "CAP_SYS_ADMIN"])
    c.run_detached()
    c.wait_output("up")
    proc.eventually(lambda: obstacles(c), what="the namespace")
    assert_stands_in_the_way(c, "is in a pid namespace made inside of the container")


def test_a_device(container):
    """The loop control device stands for all whose state is in a driver."""
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("no /dev/loop-control here")
    c = container(["sh", "-c", "exec 5< /dev/loop-control; echo up; sleep 1000"])
    c.config["linux"]["devices"] = [{"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237}]
    c.config["linux"]["resources"]["devices"].append({"allow": True, "type": "c", "major": 10, "minor": 237, "access": "rwm"})
    c.run_detached()
    c.wait_output("up")
    assert_stands_in_the_way(c, "has device '/dev/loop-control' open")


@pytest.mark.parametrize("flags", [["--pre-dump"], ["--parent-path", "../before"]])
def test_no_soft_dirty(running, flags):
    if needs.kernel_option("CONFIG_MEM_SOFT_DIRTY") != "n":
        pytest.skip("this kernel tracks written memory")
    assert_stands_in_the_way(running(), "does not track written memory", *flags)


def test_pipes_too_small_for_lazy_pages(inside, pipe_size):
    """Only where root lacks CAP_SYS_RESOURCE, and only with more memory than goes into one pipe."""
    if needs.effective_capabilities() >> needs.CAPABILITIES["CAP_SYS_RESOURCE"] & 1:
        pytest.skip("root may enlarge pipes here")
    c = inside()
    c.do("held = bytes(os.urandom(1 << 20) * 4)")
    pipe_size(1 << 20)
    assert_stands_in_the_way(c, r"fs\.pipe-max-size allows without CAP_SYS_RESOURCE \(1024 KiB\)", "--lazy-pages", "--page-server", "127.0.0.1:1")
    pipe_size(16 << 20)
    assert obstacles(c, "--lazy-pages", "--page-server", "127.0.0.1:1") == []


def test_iptables_without_iptables(running, work):
    c = running()
    if not any(os.path.exists(f"{d}/iptables-restore") for d in ("/usr/sbin", "/usr/bin", "/sbin", "/usr/local/sbin")):
        assert_stands_in_the_way(c, "iptables-restore, which is not installed", "--network-lock", "iptables")
        return
    with open(f"{work}/empty", "w"):
        pass
    hide = "; ".join(f"mount --bind {work}/empty {d}/iptables-restore" for d in ("/usr/sbin", "/sbin")
                     if os.path.exists(f"{d}/iptables-restore"))
    result = proc.run(["unshare", "--mount", "sh", "-c", hide + '; exec "$@"', "sh",
                       *c.argv("checkpoint", "--check", "--network-lock", "iptables", c.id)], ok=False)
    assert "iptables-restore, which is not installed" in result.out


def test_no_room(inside, work, outlives_containers):
    c = inside()
    c.do("held = mmap.mmap(-1, 60 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); held[:] = os.urandom(1 << 20) * 60")
    small = f"{work}/small"
    os.makedirs(small)
    proc.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", small])
    outlives_containers.callback(proc.run, ["umount", "-l", small])
    words = r"has \d+ MiB of memory to write, but there are only \d+ MiB free"
    assert re.search(words, c.rt("checkpoint", "--check", "--image-path", f"{small}/images", c.id, ok=False).out)
    assert not os.path.exists(f"{small}/images"), "--check made a directory"
    assert re.search(words, c.rt("checkpoint", "--image-path", f"{small}/images", c.id, ok=False).err)
    assert c.status == "running"


def test_a_missing_criu(running, work):
    c = running()
    with open(f"{work}/empty", "w"):
        pass
    hide = "; ".join(f"mount --bind {work}/empty {d}/criu" for d in
                     ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin") if os.path.exists(f"{d}/criu"))
    result = proc.run(["unshare", "--mount", "sh", "-c", hide + '; exec "$@"', "sh",
                       *c.argv("checkpoint", "--check", c.id)], ok=False)
    assert result.code == 1 and result.out.startswith("criu is not installed")


def test_a_criu_that_is_too_old(running, work):
    c = running()
    os.makedirs(f"{work}/bin")
    with open(f"{work}/bin/criu", "w") as f:
        f.write(OLD_CRIU.replace("VERSION_REQUEST", str(VERSION_REQUEST)).replace("TAG", str(VERSION_FIELD << 3 | 2)))
    os.chmod(f"{work}/bin/criu", 0o755)
    env = {**os.environ, "PATH": f"{work}/bin:{os.environ['PATH']}"}
    assert_stands_in_the_way(c, r"criu is too old: this is 3\.17\.0, at least 4\.0 is needed", env=env)


def test_a_fuse_mount(running):
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no /dev/fuse here")
    c = running()
    mounter = subprocess.Popen([sys.executable, "-c",
                                "import ctypes, os, time\n"
                                "fd = os.open('/dev/fuse', os.O_RDWR)\n"
                                f"ns = os.open('/proc/{c.pid}/ns/mnt', os.O_RDONLY)\n"
                                "libc = ctypes.CDLL(None, use_errno=True)\n"
                                "assert libc.setns(ns, 0) == 0\n"
                                "options = b'fd=%d,rootmode=40000,user_id=0,group_id=0' % fd\n"
                                "print(libc.mount(b'x', b'/mnt', b'fuse', 0, options), flush=True)\n"
                                "time.sleep(1000)"], stdout=subprocess.PIPE, text=True, close_fds=True)
    try:
        if mounter.stdout.readline() != "0\n":
            pytest.skip("FUSE cannot be mounted here")
        assert_stands_in_the_way(c, "'/mnt' is a fuse file system mounted inside of the container")
    finally:
        mounter.kill()
        mounter.wait()
        mounter.stdout.close()


def test_all_obstacles_are_told_at_once(inside):
    c = inside()
    c.do("f = open('/tmp/f', 'wb'); fcntl.flock(f, fcntl.LOCK_EX); g = open('/tmp/g', 'wb'); g.write(b'x' * 2000000);"
         "g.flush(); os.unlink('/tmp/g')")
    assert len(obstacles(c)) == 2
    err = frozen.checkpoint(c, ok=False).err
    assert "--file-locks" in err and "--ghost-limit" in err


def test_a_check_costs_the_container_nothing(inside):
    """It is not frozen for it: no gap in what it does is longer than the machine's own."""
    c = inside()
    c.do("gaps = []\n"
         "def tick():\n"
         "    last = time.monotonic()\n"
         "    while True:\n"
         "        time.sleep(0.001)\n"
         "        now = time.monotonic(); gaps.append(now - last); last = now\n"
         "threading.Thread(target=tick, daemon=True).start()")
    c.do("gaps.clear()")
    for _ in range(5):
        obstacles(c)
    assert c.do("sorted(gaps)[-3]") < 0.2


def test_a_stopped_container(running):
    c = running(["true"])
    c.wait_stopped()
    assert "container not running" in c.rt("checkpoint", "--check", c.id, ok=False).err
