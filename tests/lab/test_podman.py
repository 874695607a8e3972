"""podman with `rt` as its runtime, as people have it: systemd makes the cgroups, cgroup2 is all there is."""

import re
import time

import pytest

from machines import image as images

CONF = f"""[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "systemd"
events_logger = "file"
runtime = "rt"
runtime_supports_json = ["rt"]
[engine.runtimes]
rt = ["{images.PROJECT}/build/rt"]
"""
COUNT = ["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.2; done"]


class Podman:
    def __init__(self, guest):
        self.guest = guest
        guest.put(CONF, "/etc/containers/lab.conf")
        guest.put('{"default": [{"type": "insecureAcceptAnything"}]}', "/etc/containers/policy.json")
        guest.run(f"podman image exists lab || {{ rm -rf /var/tmp/lab-image; {images.PROJECT}/tests/lab/bundle /var/tmp/lab-image busybox {{}} && "
                  "tar -C /var/tmp/lab-image/rootfs -c . | podman import - lab; }", timeout=240)

    def __call__(self, *words, ok=True, timeout=200):
        return self.guest.run(["env", "CONTAINERS_CONF=/etc/containers/lab.conf", "podman", *map(str, words)], ok=ok, timeout=timeout)

    def run(self, name, *flags, command=COUNT):
        return self("run", "--detach", "--name", name, "--network=none", "--pull=never", *flags, "lab", *command).out.strip()

    def count(self, name):
        lines = re.findall(r"\d+", self("logs", name).out)
        return int(lines[-1]) if lines else 0

    def counts_on(self, name, least):
        for _ in range(20):
            if self.count(name) > least:
                return
            time.sleep(1)
        raise AssertionError(f"{name} stands at {self.count(name)}, and was at {least}")


@pytest.fixture
def podman(guest):
    made = Podman(guest)
    yield made
    made("rm", "--all", "--force", "--time", "0", ok=None)


@pytest.mark.limit(600)
def test_limits_are_those_of_a_scope_that_the_runtime_asked_systemd_for(guest, podman):
    id = podman.run("limited", "--memory", "64m", "--pids-limit", "30", "--cpus", "0.5")
    shown = guest.run(f"systemctl show libpod-{id}.scope -p MemoryMax -p TasksMax -p CPUQuotaPerSecUSec -p Slice").out
    assert f"MemoryMax={64 << 20}\n" in shown and "TasksMax=30\n" in shown and "CPUQuotaPerSecUSec=500ms\n" in shown and "Slice=machine.slice" in shown
    assert podman("inspect", "--format", "{{.OCIRuntime}}", "limited").out == "rt\n"
    assert guest.run(f"cat $(find /sys/fs/cgroup/machine.slice -maxdepth 1 -name 'libpod-{id}.scope')/memory.max").out == f"{64 << 20}\n"
    podman("update", "--memory", "32m", "limited")
    assert guest.run(f"cat /sys/fs/cgroup/machine.slice/libpod-{id}.scope/memory.max").out == f"{32 << 20}\n"
    assert podman("exec", "limited", "echo", "inside").out == "inside\n"
    podman("pause", "limited")
    podman("unpause", "limited")
    podman("rm", "--force", "--time", "0", "limited")
    guest.run(f"systemctl is-active libpod-{id}.scope", ok=False)


@pytest.mark.limit(600)
def test_a_checkpoint_and_a_restore(guest, podman):
    id = podman.run("counter", "--memory", "64m")
    podman.counts_on("counter", 2)
    podman("container", "checkpoint", "counter")
    stood = podman.count("counter")
    podman("container", "restore", "counter")
    podman.counts_on("counter", stood)
    assert f"MemoryMax={64 << 20}\n" in guest.run(f"systemctl show libpod-{id}.scope -p MemoryMax").out


@pytest.mark.limit(600)
def test_a_pre_checkpoint_and_the_rest_of_it_make_a_whole(guest, podman):
    """Memory is written while the container runs, and tracked by soft-dirty; the checkpoint has what changed since."""
    podman.run("counter")
    podman.counts_on("counter", 2)
    podman("container", "checkpoint", "--pre-checkpoint", "--compress", "none", "--export", "/var/tmp/lab-pre.tar", "counter")
    assert podman("inspect", "--format", "{{.State.Running}}", "counter").out == "true\n"
    podman("container", "checkpoint", "--with-previous", "--compress", "none", "--export", "/var/tmp/lab-rest.tar", "counter")
    stood = podman.count("counter")
    podman("rm", "--force", "--time", "0", "counter")
    podman("container", "restore", "--import-previous", "/var/tmp/lab-pre.tar", "--import", "/var/tmp/lab-rest.tar")
    podman.counts_on("counter", stood)
    guest.run("rm -f /var/tmp/lab-pre.tar /var/tmp/lab-rest.tar")
