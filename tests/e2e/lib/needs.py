"""Skips: what a test needs that a machine may lack. Each says so in one sentence."""

import functools
import os
import platform
import re
import shutil
import subprocess

import pytest

from . import cgroup

CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_NET_ADMIN": 12,
                "CAP_MKNOD": 27, "CAP_BPF": 39, "CAP_PERFMON": 38,
                "CAP_CHECKPOINT_RESTORE": 40}


def skip_unless(condition, reason):
    if not condition:
        pytest.skip(reason)


def program(*names):
    for name in names:
        skip_unless(shutil.which(name), f"no {name} on this machine")


def kernel(major, minor):
    release = platform.release()
    here = tuple(int(x) for x in re.match(r"(\d+)\.(\d+)", release).groups())
    skip_unless(here >= (major, minor), f"needs Linux {major}.{minor}, this is {release}")


def registers_that_tell_the_call():
    skip_unless(platform.machine() == "x86_64", "the registers of this processor do not tell which system call was interrupted")


@functools.lru_cache(None)
def effective_capabilities():
    with open("/proc/self/status") as f:
        return int(re.search(r"CapEff:\s*(\w+)", f.read()).group(1), 16)


def capability(name):
    skip_unless(effective_capabilities() >> CAPABILITIES[name] & 1,
                f"this machine's root lacks {name}")


def controller(name):
    """A cgroup controller in either version."""
    skip_unless(has_controller(name), f"no cgroup controller '{name}' here")


def has_controller(name):
    return cgroup.v1(name) is not None or has_v2_controller(name)


def has_v2_controller(name):
    base = cgroup.unified()
    if base is None:
        return False
    with open(os.path.join(base, "cgroup.controllers")) as f:
        return name in f.read().split()


def cgroup_v1(name):
    skip_unless(cgroup.v1(name), f"no v1 hierarchy with '{name}' here")


def cgroup_v2(*names):
    skip_unless(cgroup.unified(), "no cgroup2 here")
    for name in names:
        skip_unless(has_v2_controller(name), f"cgroup2 has no controller '{name}' here")


def systemd():
    skip_unless(os.path.isdir("/run/systemd/system"), "systemd does not run here")


def criu():
    skip_unless(criu_works(), "no working criu here")


@functools.lru_cache(None)
def criu_works():
    if not shutil.which("criu"):
        return False
    return subprocess.run(["criu", "check"], capture_output=True, check=False).returncode == 0


def soft_dirty():
    skip_unless(kernel_option("CONFIG_MEM_SOFT_DIRTY") != "n",
                "this kernel has no soft-dirty tracking")


def seccomp_notify():
    kernel(5, 0)


def selinux():
    skip_unless(os.path.exists("/sys/fs/selinux/enforce"), "SELinux is not enabled here")


def apparmor():
    skip_unless(os.path.exists("/sys/kernel/security/apparmor/profiles"),
                "AppArmor is not enabled here")


@functools.lru_cache(None)
def kernel_option(name):
    """"y", "m", "n", or None when the kernel does not tell its configuration."""
    for path, reader in (("/proc/config.gz", ["zcat", "/proc/config.gz"]),
                         (f"/boot/config-{platform.release()}",
                          ["cat", f"/boot/config-{platform.release()}"])):
        if os.path.exists(path):
            text = subprocess.run(reader, capture_output=True, text=True, check=False).stdout
            found = re.search(rf"^{name}=(\w)", text, re.M)
            return found.group(1) if found else "n"
    return None
