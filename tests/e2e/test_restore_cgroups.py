"""Cgroups after a restore: limits, membership and the freezer; under the old path or a new one; v1 and v2."""

import json
import os
import time

import pytest

from lib import cgroup, frozen, needs, proc

MIB = 1 << 20
LIMITS = {"memory": {"limit": 128 * MIB, "reservation": 64 * MIB}, "pids": {"limit": 55}, "cpu": {"shares": 512, "quota": 50000, "period": 100000}}


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


@pytest.fixture(params=["host", "v2"])
def enter(request):
    """As the machine has it, and where there is only cgroup2."""
    return request.getfixturevalue("cgroup2_only").enter if request.param == "v2" else ()


def paths(pid):
    return cgroup.of_process(pid)


def limits(pid):
    return {name: cgroup.value(pid, controller, name, other) for controller, name, other in (
        ("memory", "memory.limit_in_bytes", "memory.max"), ("pids", "pids.max", "pids.max"), ("cpu", "cpu.shares", "cpu.weight"))
        if needs.has_controller(controller)}


def test_membership(inside, enter):
    c = inside(enter=enter)
    c.do("child = os.fork()\nif child == 0:\n    while True: time.sleep(1)")
    before = paths(c.pid)
    inner = c.do("open('/proc/self/cgroup').read()")
    for turn in range(3):
        frozen.around(c, name=f"images{turn}")
        pids = json.loads(c.rt("ps", "-f", "json", c.id).out)
        assert len(pids) == 2
        assert all(paths(pid) == before for pid in pids)
        assert c.do("open('/proc/self/cgroup').read()") == inner


def test_another_path_and_id(inside, enter):
    c = inside(enter=enter, changes={"linux": {"resources": LIMITS if not enter else {}}})
    inner, before = c.do("open('/proc/self/cgroup').read()"), paths(c.pid)
    images = frozen.checkpoint(c)
    old = c.config["linux"]["cgroupsPath"]
    c.config["linux"]["cgroupsPath"] = "/" + c.id + "-elsewhere/deep"
    c.write_config()
    try:
        with frozen.twin(c, c.id + "-b") as twin:
            frozen.restore(twin, images)
            now = paths(twin.pid)
            moved = [controller for controller in now if now[controller].endswith("-elsewhere/deep")]
            assert moved and {now[k] for k in now if k not in moved} <= {before[k] for k in before if not before[k].endswith(old)}
            assert c.do("open('/proc/self/cgroup').read()") == inner
            frozen.around(twin, name="again")
            assert paths(twin.pid) == now
    finally:
        for h in cgroup.hierarchies():
            for top, _, _ in os.walk(h.mountpoint):
                if top.endswith(c.id + "-elsewhere"):
                    os.rmdir(top)


def test_limits_are_those_of_the_config(inside):
    for controller in ("memory", "pids", "cpu"):
        needs.controller(controller)
    c = inside(changes={"linux": {"resources": LIMITS}})
    before = limits(c.pid)
    assert before["pids.max"] == "55"
    frozen.around(c)
    assert limits(c.pid) == before


def test_limits_are_those_in_force(inside):
    """Not those it was created with: `update` was there in between, and is not forgotten the next time either."""
    for controller in ("memory", "pids", "cpu"):
        needs.controller(controller)
    c = inside(changes={"linux": {"resources": LIMITS}})
    c.update(None, "--pids-limit", "44", "--memory", str(100 * MIB))
    c.update({"cpu": {"shares": 2048}})
    before = limits(c.pid)
    assert before["pids.max"] == "44"
    for turn in range(3):
        frozen.around(c, name=f"images{turn}")
        assert limits(c.pid) == before
    c.update(None, "--pids-limit", "43")
    frozen.around(c, name="images3")
    assert limits(c.pid) == dict(before, **{"pids.max": "43"})


def test_limits_that_were_taken_away_stay_away(inside):
    for controller in ("memory", "pids"):
        needs.controller(controller)
    c = inside(changes={"linux": {"resources": dict(LIMITS, memory={"limit": 128 * MIB, "swap": 200 * MIB})}})
    c.update(None, "--pids-limit", "-1", "--memory", "-1")
    before = limits(c.pid)
    frozen.around(c)
    assert limits(c.pid) == before and before["pids.max"] == "max"


def test_limits_that_the_configuration_asks_for_anew(inside):
    """Whoever restores with another limit in config.json wants that one; of what is there as it was, `update` has the last word."""
    for controller in ("memory", "pids"):
        needs.controller(controller)
    c = inside(changes={"linux": {"resources": LIMITS}})
    c.update(None, "--pids-limit", "44", "--memory", str(100 * MIB))
    images = frozen.checkpoint(c)
    c.config["linux"]["resources"] = dict(LIMITS, memory={"limit": 90 * MIB})
    c.write_config()
    frozen.restore(c, images)
    assert limits(c.pid)["pids.max"] == "44"
    assert list(v for k, v in limits(c.pid).items() if k.startswith("memory")) == [str(90 * MIB)]
    c.update(None, "--pids-limit", "43")
    assert limits(c.pid)["pids.max"] == "43"


def test_limits_come_along_in_an_archive(inside, work):
    needs.controller("pids")
    c = inside(changes={"linux": {"resources": LIMITS}})
    c.update(None, "--pids-limit", "44")
    c.rt("checkpoint", "--export", f"{work}/c.tar", c.id)
    c.to_file("restore", "--detach", "--bundle", c.dir, "--pid-file", c.pid_file, "--import", f"{work}/c.tar", c.id)
    assert limits(c.pid)["pids.max"] == "44"


def test_devices_are_refused_as_before(inside, enter):
    c = inside(enter=enter, changes={"process": {"capabilities": {k: ["CAP_MKNOD", "CAP_CHOWN"] for k in ("bounding", "effective", "permitted")}}})
    ask = ("def attempt(minor):\n"
           "    path = f'/tmp/dev{minor}'\n"
           "    try:\n"
           "        if not os.path.exists(path): os.mknod(path, 0o20600, os.makedev(1, minor))\n"
           "        os.close(os.open(path, os.O_RDWR)); return 0\n"
           "    except OSError as e: return e.errno\n"
           "(attempt(3), attempt(1))\n")
    before = c.do(ask)
    assert before == (0, 1)
    frozen.around(c)
    assert c.do(ask) == before


def test_groups_that_the_container_made_below_its_own(inside, enter):
    changes = {"mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "rw"]}]}
    c = inside(started=False, enter=enter)
    c.config["mounts"] = [m for m in c.config["mounts"] if m["destination"] != "/sys/fs/cgroup"] + changes["mounts"]
    c.run_detached()
    c.do("base = '/sys/fs/cgroup' if os.path.exists('/sys/fs/cgroup/cgroup.procs') else '/sys/fs/cgroup/' + ('freezer' if os.path.isdir('/sys/fs/cgroup/freezer') else 'unified')\n"
         "os.makedirs(base + '/sub/deeper')\n"
         "child = os.fork()\n"
         "if child == 0:\n"
         "    open(base + '/sub/deeper/cgroup.procs', 'w').write('0')\n"
         "    while True: time.sleep(1)\n"
         "time.sleep(0.2)")
    ask = "open(f'/proc/{child}/cgroup').read()"
    before = c.do(ask)
    assert "/sub/deeper" in before
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        assert c.do(ask) == before
        assert c.do("open(base + '/sub/deeper/cgroup.procs').read().split()") == [str(c.do("child"))]


def test_a_paused_container(inside, enter):
    c = inside(enter=enter)
    c.do("n = 0\ndef count():\n    global n\n    while True: n += 1; time.sleep(0.01)\nthreading.Thread(target=count, daemon=True).start()")
    c.pause()
    images = frozen.checkpoint(c, "--leave-running")
    assert c.status == "paused"
    # It really is: a question stays unanswered until it goes on.
    from lib import inside as asking
    asking.tell(c, "n")
    time.sleep(0.3)
    assert not os.path.exists(c.host_path("/agent/answer"))
    c.resume()
    assert asking.answer(c) > 0
    c.pause()
    frozen.checkpoint(c, name="images2")
    assert not c.exists()
    frozen.restore(c, images)
    assert c.status == "running"
    first = c.do("n")
    time.sleep(0.1)
    assert c.do("n") > first


def test_pause_and_kill_after_a_restore(inside, enter):
    c = inside(enter=enter)
    frozen.around(c)
    pid = c.pid
    c.pause()
    assert c.status == "paused"
    c.kill("KILL")
    c.wait_stopped()
    assert not proc.alive(pid)
    c.delete()


def test_memory_of_the_restored_counts_in_its_cgroup(inside):
    needs.controller("memory")
    c = inside(changes={"linux": {"resources": LIMITS}})
    c.do("m = mmap.mmap(-1, 40 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nfor i in range(0, 40 << 20, 4096): m[i] = i % 255")
    frozen.around(c)
    used = int(cgroup.value(c.pid, "memory", "memory.usage_in_bytes", "memory.current"))
    assert used > 40 * MIB
    stats = json.loads(c.rt("events", "--stats", c.id).out)["data"]
    assert stats["memory"]["usage"]["usage"] >= 40 * MIB
