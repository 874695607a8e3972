"""The systemd cgroup driver under the systemd that booted the machine, and containers of an ordinary user under that user's systemd."""

import time

import pytest

from machines.container import Container

LIMITS = {"memory": {"limit": 64 << 20}, "pids": {"limit": 20}, "cpu": {"quota": 50000, "period": 100000, "shares": 512}}
FILES = ["memory.max", "pids.max", "cpu.max", "cpu.weight"]


@pytest.fixture
def scope(guest):
    """Containers in scopes of systemd, below lab.slice."""
    made = []

    def make(id, resources=LIMITS, slice="lab.slice", globals=("--systemd-cgroup",), **how):
        changes = {"linux": {"cgroupsPath": f"{slice}:rt:{id}", "resources": {"devices": [{"allow": False, "access": "rwm"}], **resources}}}
        made.append(Container(guest, id, changes=changes, globals=globals, **how))
        return made[-1]
    yield make
    for one in made:
        one.close()


def files(guest, path):
    """The limits as the kernel has them."""
    return guest.run(f"cd /sys/fs/cgroup{path} && cat {' '.join(FILES)}").out.split("\n")[:-1]


def shown(guest, unit, *names, user=None):
    words = f"systemctl show {unit} " + " ".join(f"-p {n}" for n in names)
    if user:
        words = words.replace("systemctl", "systemctl --user")
    return dict(line.split("=", 1) for line in guest.run(words, user=user).out.splitlines())


def test_limits_are_systemds_and_the_kernels(guest, scope):
    c = scope("limits").run_detached()
    unit = shown(guest, "rt-limits.scope", "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec", "CPUWeight", "Delegate", "Slice", "ControlGroup")
    assert unit["MemoryMax"] == str(64 << 20) and unit["TasksMax"] == "20" and unit["CPUQuotaPerSecUSec"] == "500ms"
    assert unit["Delegate"] == "yes" and unit["Slice"] == "lab.slice" and unit["ControlGroup"] == "/lab.slice/rt-limits.scope"
    weight = unit["CPUWeight"]
    assert files(guest, "/lab.slice/rt-limits.scope") == [str(64 << 20), "20", "50000 100000", weight]
    c.rt("update", "--memory", 32 << 20, "--pids-limit", 30, "limits")
    assert files(guest, "/lab.slice/rt-limits.scope") == [str(32 << 20), "30", "50000 100000", weight]
    assert shown(guest, "rt-limits.scope", "MemoryMax", "TasksMax") == {"MemoryMax": str(32 << 20), "TasksMax": "30"}
    # systemd puts its own idea of every unit in force again at a reload.
    guest.run("systemctl daemon-reload && systemctl set-property --runtime lab.slice CPUWeight=50")
    assert files(guest, "/lab.slice/rt-limits.scope") == [str(32 << 20), "30", "50000 100000", weight]
    c.rt("delete", "--force", "limits")
    assert shown(guest, "rt-limits.scope", "LoadState") == {"LoadState": "not-found"}


def test_limits_hold(guest, scope):
    c = scope("holds", args=["sh", "-c", "(for i in $(seq 40); do sleep 1000 & done); sleep 1000"]).run_detached()
    for _ in range(30):
        if "can't fork" in c.output:
            break
        time.sleep(1)
    assert "can't fork" in c.output
    assert int(guest.run("cat /sys/fs/cgroup/lab.slice/rt-holds.scope/pids.current").out) <= 20
    eater = scope("eats", resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}}, args=["sh", "-c", "head -c 100000000 /dev/zero | tail"])
    eater.run_detached()
    for _ in range(30):
        if eater.status == "stopped":
            break
        time.sleep(1)
    assert "Memory cgroup out of memory" in guest.run("journalctl -k --no-pager | tail -n 50").out
    assert eater.status == "stopped"


def test_devices_stay_forbidden_when_systemd_reloads(guest, scope):
    c = scope("devices", args=["sh", "-c", "mknod /tmp/d c 1 1; sleep 1000"])
    guest.run(f"sed -i 's/\"CAP_AUDIT_WRITE\"/\"CAP_MKNOD\", \"CAP_AUDIT_WRITE\"/' {c.dir}/config.json")
    c.run_detached()
    for words in ("true", "systemctl daemon-reload"):
        guest.run(words)
        assert "not permitted" in c.rt("exec", "devices", "sh", "-c", "mknod /tmp/e$$ c 1 1; : </tmp/e$$", ok=False).err
        c.rt("exec", "devices", "sh", "-c", "head -c 1 /dev/urandom >/dev/null")


def test_a_container_may_make_cgroups_in_its_scope(guest, scope):
    """Delegation: what is below the scope is the container's, controllers included, and systemd leaves it alone."""
    script = "mount -o remount,rw /sys/fs/cgroup && cd /sys/fs/cgroup && mkdir a b && echo 1 >a/cgroup.procs && echo +memory +pids >cgroup.subtree_control && " \
             "echo 7 >b/pids.max && echo done; sleep 1000"
    c = scope("delegated", args=["sh", "-c", script])
    guest.run(f"sed -i 's/\"CAP_AUDIT_WRITE\"/\"CAP_SYS_ADMIN\", \"CAP_AUDIT_WRITE\"/' {c.dir}/config.json")
    c.run_detached()
    guest.run("for i in $(seq 50); do [ -e /sys/fs/cgroup/lab.slice/rt-delegated.scope/b/pids.max ] && break; sleep 0.2; done; systemctl daemon-reload; sleep 1")
    assert c.output == "done\n"
    assert guest.run("cat /sys/fs/cgroup/lab.slice/rt-delegated.scope/b/pids.max").out == "7\n"
    c.rt("delete", "--force", "delegated")
    guest.run("ls -d /sys/fs/cgroup/lab.slice/rt-delegated.scope", ok=False)


def test_a_checkpoint_comes_back_in_a_scope_with_its_limits(guest, scope):
    c = scope("frozen", args=["sh", "-c", "while :; do sleep 1; done"]).run_detached()
    c.rt("update", "--memory", 48 << 20, "frozen")
    c.rt("checkpoint", "--image-path", c.dir + "/images", "frozen")
    assert shown(guest, "rt-frozen.scope", "LoadState") == {"LoadState": "not-found"}
    c.rt("restore", "--detach", "--bundle", c.dir, "--image-path", c.dir + "/images", "frozen")
    assert c.status == "running"
    assert files(guest, "/lab.slice/rt-frozen.scope")[:3] == [str(48 << 20), "20", "50000 100000"]
    assert shown(guest, "rt-frozen.scope", "MemoryMax", "Delegate") == {"MemoryMax": str(48 << 20), "Delegate": "yes"}
    assert "rt-frozen.scope" in guest.run(f"cat /proc/{c.state()['pid']}/cgroup").out


@pytest.fixture
def session(guest):
    """The systemd of the user 'lab', without anybody logged in."""
    guest.run("loginctl enable-linger lab; for i in $(seq 100); do [ -S /run/user/$(id -u lab)/bus ] && break; sleep 0.3; done")


def test_an_ordinary_user_has_limits_from_their_own_systemd(guest, session):
    uid = int(guest.run("id -u lab").out)
    c = Container(guest, "own", user="lab", rootless={"linux": {"cgroupsPath": "user.slice:rt:own", "resources": {
        "memory": {"limit": 64 << 20}, "pids": {"limit": 20}}}})
    c.globals = ["--systemd-cgroup"]
    try:
        c.run_detached()
        unit = shown(guest, "rt-own.scope", "MemoryMax", "TasksMax", "ControlGroup", user="lab")
        assert unit["MemoryMax"] == str(64 << 20) and unit["TasksMax"] == "20"
        assert unit["ControlGroup"].startswith(f"/user.slice/user-{uid}.slice/user@{uid}.service/")
        assert guest.run(f"cd /sys/fs/cgroup{unit['ControlGroup']} && cat memory.max pids.max").out.split() == [str(64 << 20), "20"]
        c.rt("update", "--pids-limit", 9, "own")
        assert guest.run(f"cat /sys/fs/cgroup{unit['ControlGroup']}/pids.max").out == "9\n"
        c.rt("pause", "own")
        assert c.status == "paused"
        c.rt("resume", "own")
    finally:
        c.close()
    assert shown(guest, "rt-own.scope", "LoadState", user="lab") == {"LoadState": "not-found"}
