"""The systemd cgroup driver against a real systemd, which runs as PID 1 of namespaces of its own.

It sees cgroup2 alone, from a cgroup made for it, and starts nothing but a message bus. So these
tests need no machine booted by systemd; the limits they set are ones of the core, because cgroup2
may have no controllers here.
"""

import os
import subprocess
import time

import pytest

from lib import cgroup, config, frozen, needs, proc
from lib.container import runtime

SYSTEMD = "/lib/systemd/systemd"

UNITS = {
    "test.target": "[Unit]\nDefaultDependencies=no\nWants=dbus.socket dbus.service\n",
    "dbus.socket": "[Unit]\nDefaultDependencies=no\n"
                   "[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
    "dbus.service": "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\n"
                    "ExecStart=dbus-daemon --system --address=systemd: --nofork --nopidfile "
                    "--systemd-activation\n",
}

# /run is new, so that systemd finds nothing of the host's; the tests' own part of it stays.
BOOT = """
set -e
echo $$ > "$1/cgroup.procs"
exec unshare --pid --mount --cgroup --uts --fork --kill-child --propagation private sh -ec '
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --rbind /run/tests /mnt
mount -t tmpfs tmpfs /run
mkdir /run/tests /run/dbus
mount --move /mnt /run/tests
exec env -i PATH="$PATH" container=tests SYSTEMD_UNIT_PATH="$2" SYSTEMD_LOG_TARGET=console \
    "$3" --system --unit=test.target --show-status=0
' sh "$@"
"""


class Booted:
    def __init__(self, work):
        units = os.path.join(work, "units")
        os.mkdir(units)
        for name, text in UNITS.items():
            with open(os.path.join(units, name), "w") as f:
                f.write(text)
        self.cgroup = os.path.join(cgroup.unified(), "booted")
        os.mkdir(self.cgroup)
        self.log = os.path.join(work, "systemd.log")
        with open(self.log, "wb") as f:
            self.process = subprocess.Popen(
                ["sh", "-c", BOOT, "sh", self.cgroup, units, SYSTEMD], close_fds=True,
                stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True)
        try:
            self.pid = proc.eventually(self._find_init, what="PID 1 of the namespaces")
            proc.eventually(lambda: self.ctl("is-system-running", ok=None).out.strip() == "running",
                            timeout=20, what="systemd to be up")
        except BaseException:
            self.close()
            raise

    def _find_init(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path) as f:
            children = f.read().split()
        if children and os.readlink(f"/proc/{children[0]}/exe").endswith("/systemd"):
            return int(children[0])
        return None

    @property
    def enter(self):
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--cgroup", "--"]

    def ctl(self, *words, **how):
        return proc.run([*self.enter, "systemctl", "--no-pager", *words], **how)

    def show(self, unit):
        lines = self.ctl("show", unit).out.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def exists(self, unit):
        return self.show(unit)["LoadState"] != "not-found"

    def close(self):
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + 10
        for directory, _, _ in os.walk(self.cgroup, topdown=False):
            while True:
                try:
                    os.rmdir(directory)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)


@pytest.fixture
def systemd(work, outlives_containers):
    needs.program(SYSTEMD, "dbus-daemon", "systemctl")
    needs.cgroup_v2()
    helper = os.path.join(os.path.dirname(runtime()), "runtime", "rt-systemd")
    installed = os.path.join(os.path.dirname(runtime()), "rt-systemd")
    needs.skip_unless(os.path.exists(helper) or os.path.exists(installed),
                      "rt-systemd was not built: no libsystemd here")
    booted = Booted(work)
    outlives_containers.callback(booted.close)
    return booted


@pytest.fixture
def in_scope(container, systemd):
    """Containers under that systemd; without a cgroup namespace, so that they see their path."""
    def make(path=None, args=("sleep", "1000"), **how):
        c = container(list(args), enter=systemd.enter, globals=["--systemd-cgroup"], **how)
        config.drop_namespace(c.config, "cgroup")
        c.config["linux"].pop("cgroupsPath")
        if path:
            c.config["linux"]["cgroupsPath"] = path
        return c
    return make


def own_path(c):
    lines = c.exec("cat", "/proc/1/cgroup").out.splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


def test_a_container_gets_a_scope_and_leaves_none(in_scope, systemd):
    c = in_scope()
    c.run_detached()
    unit = f"rt-{c.id}.scope"
    shown = systemd.show(unit)
    assert shown["ActiveState"] == "active"
    assert shown["Slice"] == "system.slice"
    assert shown["Delegate"] == "yes"
    assert shown["ControlGroup"] == f"/system.slice/{unit}"
    assert own_path(c) == f"/system.slice/{unit}"
    c.delete("--force")
    assert not systemd.exists(unit)


def test_the_path_names_slice_prefix_and_name(in_scope, systemd):
    c = in_scope("a-b.slice:libpod:web")
    c.run_detached()
    assert own_path(c) == "/a.slice/a-b.slice/libpod-web.scope"
    assert systemd.show("libpod-web.scope")["Slice"] == "a-b.slice"


def test_limits_and_annotations_become_properties(in_scope, systemd):
    c = in_scope(changes={"annotations": {
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.TimeoutStopSec": "7"}})
    c.config["linux"]["resources"]["devices"].append(
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"})
    c.run_detached()
    shown = systemd.ctl("show", f"rt-{c.id}.scope").out
    assert "CollectMode=inactive-or-failed\n" in shown
    assert "TimeoutStopUSec=7s\n" in shown
    assert "DevicePolicy=strict\n" in shown
    assert "DeviceAllow=/dev/char/10:229 rw\n" in shown
    assert "DeviceAllow=/dev/char/1:3 rwm\n" in shown


def test_a_container_is_paused_resumed_and_executed_in(in_scope):
    c = in_scope()
    c.run_detached()
    c.pause()
    assert c.status == "paused"
    c.resume()
    assert c.exec("cat", "/proc/self/cgroup").out.endswith(f"rt-{c.id}.scope\n")


def test_a_name_in_use_is_refused_and_its_owner_lives_on(in_scope, systemd):
    first = in_scope("system.slice:x:taken")
    first.run_detached()
    second = in_scope("system.slice:x:taken")
    err = second.run(ok=False).err
    assert "x-taken.scope" in err
    assert first.status == "running"
    assert systemd.show("x-taken.scope")["ActiveState"] == "active"


@pytest.mark.parametrize("path", ["/web", "web", "a:b:c", "system.slice:x:../y"])
def test_a_path_of_another_form_is_refused(in_scope, path):
    c = in_scope(path)
    assert "'linux.cgroupsPath'" in c.run(ok=False).err


def test_a_bad_annotation_is_refused_before_anything_runs(in_scope, systemd):
    c = in_scope(changes={"annotations": {"org.systemd.property.MemoryMax": "lots"}})
    assert "org.systemd.property.MemoryMax" in c.run(ok=False).err
    assert not systemd.exists(f"rt-{c.id}.scope")


def test_a_property_systemd_does_not_know_is_its_error_and_leaves_nothing(in_scope, systemd):
    c = in_scope(changes={"annotations": {"org.systemd.property.NoSuchThing": "true"}})
    assert "NoSuchThing" in c.run(ok=False).err
    assert not systemd.exists(f"rt-{c.id}.scope")


@pytest.mark.parametrize("cgroup_namespace", [False, True], ids=["sees its path", "sees a root"])
def test_a_restored_container_has_a_scope_again(in_scope, systemd, cgroup_namespace):
    needs.criu()
    c = in_scope(changes={"annotations": {"org.systemd.property.TimeoutStopSec": "7"}})
    if cgroup_namespace:
        config.set_namespace(c.config, "cgroup")
    c.run_detached()
    unit = f"rt-{c.id}.scope"
    images = frozen.checkpoint(c)
    assert not systemd.exists(unit)
    frozen.restore(c, images)
    assert c.status == "running"
    shown = systemd.show(unit)
    assert shown["ActiveState"] == "active" and shown["Delegate"] == "yes" and shown["TimeoutStopUSec"] == "7s"
    assert proc.run([*systemd.enter, "cat", f"/proc/{c.pid}/cgroup"]).out.endswith(f"/system.slice/{unit}\n")
    c.pause()
    assert c.status == "paused"
    c.resume()
    assert len(c.rt("ps", c.id).out.splitlines()) == 2  # a heading, and nobody who was needed for the restore alone
    c.delete("--force")
    assert not systemd.exists(unit)


def test_a_restore_that_fails_leaves_no_scope(in_scope, systemd):
    needs.criu()
    c = in_scope()
    c.run_detached()
    images = frozen.checkpoint(c)
    os.rename(c.rootfs + "/bin/busybox", c.rootfs + "/bin/other")
    frozen.restore(c, images, ok=False)
    os.rename(c.rootfs + "/bin/other", c.rootfs + "/bin/busybox")
    assert not c.exists() and not systemd.exists(f"rt-{c.id}.scope")


def test_without_a_bus_the_error_says_so(container, cgroup2_only):
    c = container(enter=cgroup2_only.enter, globals=["--systemd-cgroup"],
                  changes={"linux": {"cgroupsPath": "system.slice:x:y"}})
    assert "systemd" in c.run(ok=False).err
