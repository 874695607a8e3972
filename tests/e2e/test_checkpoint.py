"""What is there before a checkpoint is there after the restore: looked at from inside and outside."""

import json
import os
import subprocess
import time

import pytest

from lib import cgroup, config, console, frozen, needs, proc

COUNTER = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"]
SLEEP = ["sleep", "1000"]


@pytest.fixture(autouse=True)
def criu():
    needs.program("criu")


@pytest.fixture
def kept(running):
    """A started container that only waits; its changes as of `container`."""
    return lambda **how: running(how.pop("args", SLEEP), **how)


def test_a_counter_goes_on_where_it_stopped(running):
    c = running(COUNTER)
    c.wait_output("3\n")
    images = frozen.checkpoint(c)
    before = c.output.split()
    time.sleep(0.5)
    assert c.output.split() == before
    frozen.restore(c, images)
    c.wait_output(f"\n{int(before[-1]) + 3}\n")
    assert c.output.split() == [str(n) for n in range(1, len(c.output.split()) + 1)]


def test_a_restored_container_is_a_container(kept):
    c = kept()
    frozen.around(c)
    assert c.exec("echo", "hello").out == "hello\n"
    c.pause()
    assert c.status == "paused"
    c.resume()
    c.update({"pids": {"limit": 33}})
    assert [p["pid"] if isinstance(p, dict) else p for p in json.loads(c.rt("ps", "--format", "json", c.id).out)] == [c.pid]
    c.kill("KILL")
    c.wait_stopped()
    c.delete()
    assert not c.exists()


def test_three_times_over(running):
    c = running(COUNTER)
    for turn in range(3):
        c.wait_output("\n")
        frozen.around(c, name=f"images{turn}")
    last = int(c.output.split()[-1])
    c.wait_output(f"\n{last + 2}\n")


def test_leave_running(running):
    c = running(COUNTER)
    c.wait_output("2\n")
    pid = c.pid
    images = frozen.checkpoint(c, "--leave-running")
    assert c.status == "running" and c.pid == pid
    last = int(c.output.split()[-1])
    c.wait_output(f"\n{last + 2}\n")
    c.delete("--force")
    frozen.restore(c, images)
    assert c.status == "running"


def test_another_id_and_cgroup(kept):
    c = kept(changes={"linux": {"resources": {"pids": {"limit": 77}}}})
    images = frozen.checkpoint(c)
    old = c.config["linux"]["cgroupsPath"]
    c.config["linux"]["cgroupsPath"] = old + "-moved"
    c.write_config()
    with frozen.twin(c, c.id + "-b") as twin:
        frozen.restore(twin, images)
        assert twin.status == "running" and not c.exists()
        with open(f"/proc/{twin.pid}/cgroup") as f:
            paths = {line.rsplit(":", 1)[1].strip() for line in f}
        assert all(path.endswith(old + "-moved") for path in paths), paths
        base = cgroup.v1("pids")
        if base:
            with open(f"{base}{old}-moved/pids.max") as f:
                assert f.read() == "77\n"


def test_processes_and_threads(running):
    # busybox has no threads: the tree is of processes, one stopped, one a session of its own.
    c = running(["sh", "-c", "sleep 1001 & setsid sleep 1002 & (sleep 1003 & wait) & echo up; wait"])
    c.wait_output("up")
    before = sorted(c.exec("sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done").out.split("\n"))
    frozen.around(c)
    after = sorted(c.exec("sh", "-c", "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done").out.split("\n"))
    assert [line for line in before if "sleep" in line] == [line for line in after if "sleep" in line]


def test_memory(container):
    # A variable of the shell is as good as any memory: 200 kB that nobody could guess.
    c = container(["sh", "-c", "v=$(head -c 100000 /dev/urandom | md5sum); w=$(head -c 150000 /dev/urandom | base64); "
                 "echo $w | md5sum; echo $v; read x < /tmp/go; echo $w | md5sum; echo $v"])
    os.mkfifo(c.host_path("/tmp/go"))
    c.run_detached()
    proc.eventually(lambda: c.output.count("\n") >= 2, what="two digests")
    frozen.around(c)
    c.exec("sh", "-c", "echo > /tmp/go")
    proc.eventually(lambda: c.output.count("\n") >= 4, what="the digests again")
    lines = c.output.split("\n")
    assert lines[:2] == lines[2:4]


def test_terminal(container):
    c = container(["sh"], changes={"process": {"terminal": True}})
    c.create()
    c.start()
    c.terminal.type("x=42; stty -echo; echo re''ady\n")
    c.terminal.expect("ready")
    images = frozen.checkpoint(c)
    c.terminal.close()
    with console.ConsoleSocket(os.path.join(c.dir, "tty2")) as sock:
        frozen.restore(c, images, "--console-socket", sock.path)
        c.terminal = sock.receive()
    c.terminal.type("echo x is $x on $(tty)\n")
    c.terminal.expect("x is 42 on /dev/pts/0")


def test_stdio_on_pipes(container):
    c = container(["sh", "-c", "while read line; do echo got $line; done"])
    c.write_config()
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    c.rt("run", "--detach", "--bundle", c.dir, c.id, stdin=to_read, stdout=from_write)
    os.write(to_write, b"one\n")
    assert os.read(from_read, 100) == b"got one\n"
    images = frozen.checkpoint(c)
    again_read, again_write = os.pipe()
    out_read, out_write = os.pipe()
    c.rt("restore", "--detach", "--bundle", c.dir, "--image-path", images, c.id, stdin=again_read, stdout=out_write)
    os.write(again_write, b"two\n")
    assert os.read(out_read, 100) == b"got two\n"
    for fd in (to_read, to_write, from_read, from_write, again_read, again_write, out_read, out_write):
        os.close(fd)


def test_stdio_on_null(container):
    c = container(SLEEP)
    c.write_config()
    with open(os.devnull, "r+") as null:
        c.rt("run", "--detach", "--bundle", c.dir, c.id, stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno())
        images = frozen.checkpoint(c)
        frozen.restore(c, images, stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno())
    assert [c.exec("readlink", f"/proc/1/fd/{fd}").out for fd in range(3)] == ["/dev/null\n"] * 3


def test_bind_mounts(kept, work):
    os.makedirs(f"{work}/outer/inner")
    for name in ("outer/a", "outer/inner/b", "file"):
        with open(f"{work}/{name}", "w") as f:
            f.write(name)
    os.makedirs(f"{work}/nested")
    with open(f"{work}/nested/n", "w") as f:
        f.write("nested")

    c = kept(changes={"mounts": config.default(SLEEP)["mounts"] + [
        config.bind(f"{work}/outer", "/outer"), config.bind(f"{work}/nested", "/outer/inner", "ro"),
        config.bind(f"{work}/file", "/etc/file"), config.bind(f"{work}/outer", "/link/there")]},
        args=SLEEP)

    def contents():
        return c.exec("cat", "/outer/a", "/outer/inner/n", "/etc/file", "/link/there/a").out

    before = contents()
    table = c.exec("sh", "-c", "cut -d' ' -f5,6 /proc/self/mountinfo | sort").out
    frozen.around(c)
    assert contents() == before == "outer/anestedfileouter/a"
    assert c.exec("sh", "-c", "cut -d' ' -f5,6 /proc/self/mountinfo | sort").out == table
    assert c.exec("touch", "/outer/inner/x", ok=False).err
    c.exec("touch", "/outer/x")
    assert os.path.exists(f"{work}/outer/x")


def test_a_bind_mount_behind_a_symlink(container, work):
    os.makedirs(f"{work}/volume")
    c = container(SLEEP)
    os.makedirs(c.host_path("/real"))
    os.symlink("/real", c.host_path("/data"))
    c.config["mounts"].append(config.bind(f"{work}/volume", "/data"))
    c.run_detached()
    c.exec("touch", "/data/before")
    frozen.around(c)
    c.exec("touch", "/real/after")
    assert sorted(os.listdir(f"{work}/volume")) == ["after", "before"]


def test_tmpfs_content_masks_and_read_only_paths(kept):
    c = kept()
    c.exec("sh", "-c", "echo kept > /dev/shm/x; mkdir /dev/shm/d; chmod 700 /dev/shm/d")
    masked = [path for path in ("/proc/keys", "/proc/timer_list") if os.path.exists(path)]
    frozen.around(c)
    assert c.exec("sh", "-c", "cat /dev/shm/x; stat -c %a /dev/shm/d").out == "kept\n700\n"
    for path in masked:
        assert c.exec("cat", path).out == ""
    assert "Read-only" in c.exec("sh", "-c", "echo 1 > /proc/sys/vm/swappiness", ok=False).err


def test_seccomp_capabilities_and_no_new_privileges(kept):
    c = kept(changes={"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}}},
        args=["sh", "-c", "while :; do read x < /tmp/go; mkdir /tmp/made; echo $?; done"])
    c.exec("mkfifo", "/tmp/go")

    def status():
        with open(f"/proc/{c.pid}/status") as f:
            return {line.split(":")[0]: line.split(":")[1].strip() for line in f
                    if line.startswith(("Cap", "NoNewPrivs", "Seccomp:"))}

    before = status()
    frozen.around(c)
    assert status() == before and before["Seccomp"] == "2" and before["NoNewPrivs"] == "1"
    c.exec("sh", "-c", "echo > /tmp/go")
    c.wait_output("1\n")
    assert not os.path.exists(c.host_path("/tmp/made"))
    assert "denied" in c.exec("mkdir", "/tmp/again", ok=False).err


def test_user_namespace(container):
    maps = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    c = container(["sh", "-c", "echo up; sleep 1000"], changes={"linux": {"uidMappings": maps, "gidMappings": maps}})
    config.set_namespace(c.config, "user")
    proc.run(["chown", "-R", "200000:200000", c.rootfs])
    c.run_detached()
    c.wait_output("up")
    os.chmod(os.path.dirname(c.dir), 0o711)
    frozen.around(c)
    assert os.stat(f"/proc/{c.pid}").st_uid == 200000
    assert c.exec("id", "-u").out == "0\n"
    assert c.exec("cat", "/proc/self/uid_map").out.split() == ["0", "200000", "65536"]


def test_time_namespace(kept):
    c = kept(changes={"linux": {"timeOffsets": {"boottime": {"secs": 1000000, "nanosecs": 0}},
                                "namespaces": [*config.default(SLEEP)["linux"]["namespaces"], {"type": "time"}]}})

    def uptime():
        return float(c.exec("cut", "-d.", "-f1", "/proc/uptime").out)

    before = uptime()
    assert before > 1000000
    frozen.around(c)
    assert 0 <= uptime() - before < 60


def test_loopback_and_hostname(kept):
    c = kept()
    frozen.around(c)
    assert "UP" in c.exec("ip", "link", "show", "lo").out
    assert c.exec("hostname").out == "container\n"


def test_a_joined_network_namespace_is_joined_again(kept, network):
    c = kept(changes={"linux": {"namespaces": [
        {"type": "network", "path": network.path("net")} if n["type"] == "network" else n
        for n in config.default(SLEEP)["linux"]["namespaces"]]}})
    frozen.around(c)
    assert os.stat(f"/proc/{c.pid}/ns/net").st_ino == os.stat(network.path("net")).st_ino


def test_a_paused_container(running):
    c = running(COUNTER)
    c.wait_output("2\n")
    c.pause()
    images = frozen.checkpoint(c, "--leave-running")
    assert c.status == "paused"
    c.delete("--force")
    frozen.restore(c, images)
    last = int(c.output.split()[-1])
    c.wait_output(f"\n{last + 2}\n")


def test_an_established_connection(kept, network):
    c = kept(args=["sh", "-c", "nc -l -p 7000 -e cat"], changes={"linux": {"namespaces": [
        {"type": "network", "path": network.path("net")} if n["type"] == "network" else n
        for n in config.default(SLEEP)["linux"]["namespaces"]]}})
    client = subprocess.Popen([*network.enter, "busybox", "nc", "127.0.0.1", "7000"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, close_fds=True)
    try:
        for _ in range(50):  # until the server listens
            time.sleep(0.1)
            if client.poll() is None:
                break
            client = subprocess.Popen([*network.enter, "busybox", "nc", "127.0.0.1", "7000"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, close_fds=True)
        client.stdin.write(b"before\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"before\n"
        refused = frozen.checkpoint(c, ok=False)
        assert "--tcp-established" in refused.err and c.status == "running"
        images = frozen.checkpoint(c, "--tcp-established")
        client.stdin.write(b"while it was frozen\n")
        client.stdin.flush()
        frozen.restore(c, images, "--tcp-established")
        assert client.stdout.readline() == b"while it was frozen\n"
        assert frozen.nft_rules(network.enter) == ""
    finally:
        client.kill()
        client.wait()


def test_a_file_that_was_removed(container):
    c = container(["sh", "-c", "echo secret > /tmp/f; exec 5< /tmp/f; rm /tmp/f; echo up; read x < /tmp/go; cat <&5; sleep 1000"])
    os.mkfifo(c.host_path("/tmp/go"))
    c.run_detached()
    c.wait_output("up")
    frozen.around(c)
    c.exec("sh", "-c", "echo > /tmp/go")
    c.wait_output("secret")


@pytest.fixture
def holding(container):
    """A container whose process holds something (hold.c), started."""
    def make(kind):
        c = container(["hold", kind], kind="hold")
        c.run_detached()
        proc.eventually(lambda: c.output, what="a first word")
        if c.output.startswith("cannot"):
            pytest.skip(f"this kernel does not give {kind}: {c.output}")
        return c
    return make


@pytest.mark.parametrize("kind, flags", [("threads", []), ("memory", []), ("sockets", []), ("events", []),
                                         ("lock", ["--file-locks"])])
def test_what_a_process_holds(holding, kind, flags):
    c = holding(kind)
    c.wait_output("still 2")
    for turn in range(2):
        frozen.around(c, *flags, name=f"images{turn}")
        last = int(c.output.split()[-1])
        c.wait_output(f"still {last + 3}\n")
    assert "lost" not in c.output


def test_who_slept_sleeps_on_in_a_container_that_was_left_running(container):
    needs.registers_that_tell_the_call()
    c = container(kind="asleep")
    c.run_detached()
    c.wait_output("asleep\n")
    frozen.checkpoint(c, "--leave-running")
    c.wait_output("awake\n")
    assert set(c.output.splitlines()) == frozen.SLEPT


def test_who_slept_sleeps_on(container):
    needs.registers_that_tell_the_call()
    c = container(["asleep"], kind="asleep")
    c.run_detached()
    c.wait_output("asleep\n")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
    c.wait_output("awake\n")
    assert set(c.output.splitlines()) == frozen.SLEPT


@pytest.mark.parametrize("kind, words", [("io_uring", "io_uring"), ("tracee", "traced"), ("lock", "--file-locks")])
def test_obstacles_are_named_and_harm_nothing(holding, kind, words):
    c = holding(kind)
    check = c.rt("checkpoint", "--check", c.id, ok=False)
    assert check.code == 1 and words in check.out
    assert words in frozen.checkpoint(c, ok=False).err
    last = c.output.count("still")
    proc.eventually(lambda: c.output.count("still") > last + 2, what="it to go on")
    assert "lost" not in c.output


def test_the_first_checkpoint_since_the_boot_is_made_as_the_others_are(kept):
    """By a CRIU inside of the container's network, which has no network to lock: it keeps what it has found out about the kernel for that."""
    if os.path.exists("/run/criu.kdat"):
        os.unlink("/run/criu.kdat")
    c = kept()
    images = frozen.checkpoint(c)
    with open(f"{images}/dump.log") as f:
        assert "network-lock scripts" not in f.read()
    frozen.restore(c, images)
    assert c.status == "running"


def test_hooks_at_restore(container, work):
    log = f"{work}/hooks"

    def hook(kind):
        return [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} $(cat | grep -o '\"pid\": *[0-9]*') >> {log}"]}]

    kinds = ["prestart", "createRuntime", "poststart", "poststop"]
    c = container(SLEEP, changes={"hooks": {kind: hook(kind) for kind in kinds}})
    c.run_detached()
    images = frozen.checkpoint(c)
    os.unlink(log)
    frozen.restore(c, images)
    c.delete("--force")
    with open(log) as f:
        lines = [line.split() for line in f]
    assert [line[0] for line in lines] == kinds
    assert all("pid" in " ".join(line) for line in lines[:3])


# What must not happen

def test_obstacles_are_told_before_anything_is_frozen(running):
    c = running(["sh", "-c", "exec 5> /tmp/f; head -c 3000000 /dev/zero >&5; rm /tmp/f; echo up; sleep 1000"])
    c.wait_output("up")
    check = c.rt("checkpoint", "--check", c.id, ok=False)
    assert check.code == 1 and "--ghost-limit" in check.out and "/tmp/f" in check.out
    assert "--ghost-limit" in frozen.checkpoint(c, ok=False).err
    assert c.status == "running"
    frozen.around(c, "--ghost-limit", "4000000", restore_flags=[])


def test_a_failed_dump_leaves_the_container_running(running, work):
    c = running(COUNTER)
    c.wait_output("2\n")
    with open(f"{work}/file", "w"):
        pass
    assert "not a directory" in c.rt("checkpoint", "--image-path", f"{work}/file", c.id, ok=False).err
    last = int(c.output.split()[-1])
    c.wait_output(f"\n{last + 2}\n")
    assert c.status == "running"


def test_a_failed_restore_leaves_nothing(kept, work):
    c = kept()
    images = frozen.checkpoint(c)
    os.truncate(f"{images}/core-1.img", 10)
    result = frozen.restore(c, images, ok=False)
    assert "core-1.img" in result.err and not c.exists()


def test_wrong_images_are_refused(kept, work):
    c = kept()
    images = frozen.checkpoint(c)
    with open(f"{images}/core-1.img", "r+b") as f:
        f.seek(40)
        f.write(b"\xff")
    assert "core-1.img" in frozen.restore(c, images, ok=False).err
    os.makedirs(f"{work}/none")
    assert "inventory" in frozen.restore(c, f"{work}/none", ok=False).err
    assert not c.exists()


def test_export_inspect_import(kept, work):
    c = kept()
    archive = f"{work}/c.tar.zst"
    c.rt("checkpoint", "--export", archive, c.id)
    document = json.loads(c.rt("checkpoint", "--format", "json", "inspect", archive).out)
    assert document["processes"]
    assert "sleep" in c.rt("checkpoint", "inspect", archive).out
    c.rt("restore", "--detach", "--bundle", c.dir, "--import", archive, c.id)
    assert c.status == "running" and c.exec("hostname").out == "container\n"
