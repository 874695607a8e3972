"""Every mode, tracker and way to send memory, on programs whose memory checks itself (churn.c), there and back."""

import json
import os
import shutil
import signal
import threading
import time

import pytest

from lib import config, frozen, needs, proc
from lib.hosts import Churn, NAMES


@pytest.fixture
def churn(hosts):
    """churn(kind, mib, rate): started on host a; both hosts receive, and b has the bundle."""
    def make(kind="private", mib=32, rate=2000, **how):
        one = Churn(hosts.a, kind, mib, rate, **how)
        hosts.b.put_bundle(one.container)
        for host in hosts.made:
            host.receive()
        return one.start()
    return make


def there_and_back(hosts, one, moves):
    """moves: the flags of each; the container goes to the other host each time. [Move]"""
    c, made = one.container, []
    for flags in moves:
        before = one.turns(c)
        made.append(hosts.migrate(c, *flags))
        print(f"moved with {flags}: {made[-1].notes}")
        one.came(made[-1], before)
        assert c.host.ids() == []
        c = made[-1].container
    return made


@pytest.mark.parametrize("kind", ["private", "huge", "tmpfs", "maps", *NAMES])
def test_every_mode_brings_every_kind_of_memory(hosts, churn, kind):
    one = churn(kind)
    moves = there_and_back(hosts, one, [["--mode", mode] for mode in ("pre-copy", "post-copy", "hybrid", "stop", "auto")])
    assert [m.done["mode"] for m in moves][:4] == ["pre-copy", "post-copy", "hybrid", "stop"]
    assert moves[0].rounds and moves[2].rounds and not moves[1].rounds and not moves[3].rounds
    for move in moves:
        parts = move.done["downtime"]
        assert move.done["moved"] and parts["total"] > 0
        assert abs(parts["total"] - sum(parts[p] for p in ("freeze", "dump", "send", "restore", "resume"))) < 1000


@pytest.mark.parametrize("tracker", ["uffd-wp", "soft-dirty", "hash"])
@pytest.mark.parametrize("mode", ["pre-copy", "hybrid"])
def test_trackers(hosts, churn, mode, tracker):
    if tracker == "soft-dirty":
        needs.soft_dirty()
    one = churn("forks", 16)
    there_and_back(hosts, one, [["--mode", mode, "--track", tracker]] * 2)


def known_to_criu(host):
    """CRIU's cache of what the kernel can: each host has its own."""
    return f"/proc/{host.pid}/root/run/criu.kdat"


def test_criu_passes_over_memory_that_goes_another_way(hosts, churn):
    """Without the kernel's marks, too: then it is told of some that there are not, and nobody else is."""
    one = churn("forks", 64)
    c = one.container
    for host in (hosts.a, hosts.b, hosts.a):
        cached = known_to_criu(host)
        before = open(cached, "rb").read() if os.path.exists(cached) else b""
        turns = one.turns(c)
        c.globals = [*c.globals, "--debug"]
        move = hosts.migrate(c, "--mode", "pre-copy")
        assert "criu passes over memory" in move.result.err, move.result.err
        one.came(move, turns)
        if before:
            assert open(cached, "rb").read() == before
        c = move.container
    assert before


def test_what_another_criu_knew_of_the_kernel_is_no_obstacle(hosts, churn):
    one = churn("forks", 64)
    c = one.container
    for host in (hosts.a, hosts.b, hosts.a):
        cached = known_to_criu(host)
        turns = one.turns(c)
        if os.path.exists(cached):
            with open(cached, "r+b") as f:
                f.write(b"0000")  # its magic number
        c.globals = ["--debug"]
        move = hosts.migrate(c, "--mode", "pre-copy")
        one.came(move, turns)
        assert not os.path.exists(cached + ".tmp")
        c = move.container
    assert "criu passes over memory" in move.result.err, move.result.err


def test_another_criu_may_note_what_the_kernel_can_meanwhile(hosts, churn):
    """As it does it: a new file in the place of the old one, which takes along what is mounted there in any namespace."""
    one = churn("private", 64)
    c, ended = one.container, threading.Event()
    for _ in range(2):
        c = hosts.migrate(c, "--mode", "pre-copy").container
    one.goes_on(c)

    def renew():
        while not ended.wait(0.03):
            for cached in map(known_to_criu, hosts.made):
                shutil.copy(cached, cached + ".new")
                os.rename(cached + ".new", cached)

    others = threading.Thread(target=renew)
    others.start()
    try:
        for _ in range(4):
            turns = one.turns(c)
            move = hosts.migrate(c, "--mode", "pre-copy")
            one.came(move, turns)
            c = move.container
    finally:
        ended.set()
        others.join()


def test_tasks_that_soft_dirty_stopped_go_on_when_the_tool_is_killed(hosts, churn, work):
    needs.soft_dirty()
    one = churn("private", 16)
    os.mkdir(work + "/pause", 0o700)
    open(work + "/pause/tool-halted", "w").close()
    tool = proc.start([*hosts.argv(one.container, "--mode", "pre-copy", "--track", "soft-dirty")], env={**os.environ, "RT_MIGRATE_PAUSE": work + "/pause"})
    pid = proc.eventually(lambda: next((int(n.rpartition(".")[2]) for n in os.listdir(work + "/pause") if "." in n), None), what="the tool to stop the tasks")
    assert one.container.status == "paused"
    os.kill(pid, signal.SIGKILL)
    tool.wait()
    proc.eventually(lambda: one.container.status == "running", what="the tasks to be let go")
    one.goes_on()
    one.is_right()


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_codecs_and_connections(hosts, churn, codec):
    one = churn("private", 16)
    moves = there_and_back(hosts, one, [["--mode", mode, "--compress", codec, "--parallel", parallel]
                                        for mode, parallel in (("pre-copy", 1), ("post-copy", 3), ("hybrid", 4), ("stop", 2))])
    assert all(m.done["bytes"] > 8 << 20 for m in moves), "random content can't be compressed"


def test_what_compresses_is_sent_in_less(hosts):
    """64 MiB of one letter, held by a shell."""
    sent = {}
    c = hosts.a.container(["sh", "-c", "a=$(head -c 33554432 /dev/zero | tr '\\0' x); echo up; while :; do sleep 0.1; echo ${#a}; done"])
    hosts.b.put_bundle(c)
    for host in hosts.made:
        host.receive()
    c.run_detached()
    c.wait_output("up\n", timeout=60)
    for codec in ("none", "lz4", "zstd"):
        move = hosts.migrate(c, "--mode", "pre-copy", "--compress", codec)
        sent[codec] = move.done["bytes"]
        c = move.container
        c.wait_output("33554432\n")
    assert sent["none"] > 32 << 20 and sent["lz4"] < 4 << 20 and sent["zstd"] < 2 << 20, sent


@pytest.mark.parametrize("mode", ["pre-copy", "post-copy", "stop"])
def test_a_slow_link_is_sent_less(hosts, mode):
    """16 MiB of one letter over 50 Mbit/s: 2.7 s as they are."""
    shaped = hosts.a.run(["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "50mbit", "burst", "64k", "latency", "50ms"], ok=None)
    if shaped.code:
        pytest.skip(f"this kernel does not shape links: {shaped.err.strip()}")
    c = hosts.a.container(["sh", "-c", "a=$(head -c 16777216 /dev/zero | tr '\\0' x); echo up; while :; do sleep 0.1; echo ${#a}; done"])
    hosts.b.put_bundle(c)
    hosts.b.receive()
    c.run_detached()
    c.wait_output("up\n", timeout=60)
    move = hosts.migrate(c, "--mode", mode)
    move.container.wait_output("16777216\n")
    assert move.done["bytes"] < 8 << 20, move.done


def test_in_hybrid_what_it_is_at_work_with_goes_along(hosts, churn):
    one = churn("private", 32)
    move, = there_and_back(hosts, one, [["--mode", "hybrid", "--max-rounds", "2"]])
    assert move.done["frozenPages"] > 0 and move.done["mode"] == "hybrid", move.done


@pytest.mark.parametrize("mode", ["stop", "pre-copy", "post-copy"])
def test_who_sleeps_sleeps_on(hosts, mode):
    needs.registers_that_tell_the_call()
    c = hosts.a.container(kind="asleep")
    hosts.b.put_bundle(c)
    hosts.b.receive()
    c.run_detached()
    c.wait_output("asleep\n")
    moved = hosts.migrate(c, "--mode", mode).container
    moved.wait_output("awake\n")
    assert {*c.output.splitlines(), *moved.output.splitlines()} == frozen.SLEPT


@pytest.mark.parametrize("mode", ["stop", "post-copy"])
def test_who_sleeps_sleeps_on_after_a_move_that_failed(hosts, mode):
    needs.registers_that_tell_the_call()
    c = hosts.a.container(kind="asleep")
    hosts.b.put_bundle(c)
    hosts.b.receive()
    os.unlink(f"{hosts.b.bundles}/{c.id}/rootfs/bin/asleep")
    c.run_detached()
    c.wait_output("asleep\n")
    hosts.migrate(c, "--mode", mode, ok=False)
    [told] = json.loads(hosts.b.get("/v1/status"))["migrations"]
    assert told["state"] == "aborted" and told["restoreMicroseconds"] == 0
    c.wait_output("awake\n")
    assert set(c.output.splitlines()) == frozen.SLEPT


def test_a_limit_of_bandwidth_is_kept(hosts, churn):
    one = churn("private", 32, 0)
    began = time.monotonic()
    move = hosts.migrate(one.container, "--mode", "pre-copy", "--bandwidth", "16M", "--downtime", "1000")
    took = time.monotonic() - began
    one.goes_on(move.container)
    rate = move.done["bytes"] / took
    assert rate < 18e6 and move.rounds[0]["bytes"] / (move.rounds[0]["microseconds"] / 1e6) > 4e6


def test_rounds_are_limited(hosts, churn):
    one = churn("private", 16, 5000)
    move = hosts.migrate(one.container, "--mode", "pre-copy", "--max-rounds", "2", "--downtime", "1")
    assert 1 <= move.done["rounds"] <= 3, "two, and what the last look found"
    one.came(move, {name: 0 for name in one.names})


def test_a_generous_downtime_needs_one_round(hosts, churn):
    one = churn("private", 16, 1000)
    move = hosts.migrate(one.container, "--mode", "pre-copy", "--downtime", "5000")
    assert len(move.rounds) == 1
    one.came(move, {name: 0 for name in one.names})


def test_auto_says_what_it_chose_and_why(hosts, churn):
    one = churn("private", 64, 1000)
    move = hosts.migrate(one.container)
    assert move.done["mode"] == "pre-copy" and move.done["reason"] and move.notes[0].startswith("mode pre-copy: ")
    small = hosts.a.running(["sleep", "1000"], id="small")
    hosts.b.put_bundle(small)
    move = hosts.migrate(small)
    assert move.done["mode"] == "stop" and "MiB" in move.done["reason"]


def test_auto_lets_memory_follow_that_is_written_faster_than_it_is_sent(hosts, churn):
    """A frozen container would be away for seconds. Whoever asks for pre-copy gets pre-copy."""
    one = churn("private", 32, 200000)
    moves = there_and_back(hosts, one, [["--bandwidth", "20M"], ["--bandwidth", "20M", "--mode", "pre-copy", "--max-rounds", "1"]])
    assert [m.done["mode"] for m in moves] == ["hybrid", "pre-copy"]
    assert moves[0].notes[0].startswith("mode pre-copy: ") and any("they follow it, as in mode hybrid" in note for note in moves[0].notes), moves[0].notes
    assert moves[0].done["pushedPages"] > 5000 and moves[1].done["pushedPages"] == 0
    assert moves[0].done["downtime"]["total"] < moves[1].done["downtime"]["total"]


def test_root_in_a_user_namespace_moves(hosts):
    one = Churn(hosts.a, "forks", 32)
    config.use_user_namespace(one.container.config, 200000)
    proc.run(["chown", "-R", "200000:200000", one.container.rootfs])
    hosts.b.put_bundle(one.container)
    for host in hosts.made:
        host.receive()
    one.start()
    with open("/proc/sys/vm/unprivileged_userfaultfd") as f:
        lazily = f.read().strip() == "1"
    if not lazily:
        assert "unprivileged_userfaultfd" in hosts.refuses(one.container, "--mode", "pre-copy")
    last = there_and_back(hosts, one, [["--mode", mode] for mode in (["pre-copy", "post-copy"] if lazily else ["auto", "stop"])])[-1].container
    with open(f"/proc/{last.pid}/uid_map") as f:
        assert f.read().split()[:2] == ["0", "200000"]


def test_a_root_that_is_mounted_with_other_ids_moves(hosts):
    """The files are the host's root's on both hosts, and the container's root's in it."""
    needs.kernel(6, 3)
    c = hosts.a.container(["sh", "-c", "touch /there; n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"])
    config.use_user_namespace(c.config, 200000)
    c.config["mounts"].insert(0, {"destination": "/", "type": "bind", "source": "rootfs", "options": ["rbind", "idmap"]})
    c.write_config()
    for host in hosts.made:
        host.receive("--allow-config")
    c.run_detached()
    c.wait_output("3\n")
    for turn in range(2):
        c = hosts.migrate(c, "--rootfs", "none" if turn else "copy").container
        assert c.exec("stat", "-c", "%u:%g", "/", "/there", "/bin/busybox").out.split() == ["0:0"] * 3
        c.exec("touch", f"/new{turn}")
        assert all(os.stat(c.host_path(path)).st_uid == 0 for path in ("/there", "/bin/busybox", f"/new{turn}"))


def test_seccomp_stays(hosts, churn):
    """mkdir is forbidden, before and after."""
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
    one = churn("private", 32, changes={"linux": {"seccomp": seccomp}})
    last = there_and_back(hosts, one, [["--mode", "pre-copy"], ["--mode", "post-copy"]])[-1].container
    assert "not permitted" in last.exec("mkdir", "/x", ok=False).err
    with open(f"/proc/{last.pid}/status") as f:
        assert "Seccomp:\t2" in f.read()
