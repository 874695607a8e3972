"""The known ways out of a container, each tried on the runtime under test.

Every test builds the attack of one CVE of this field and shows that the host stays as it was.
So that a test cannot pass because its attack is broken, the attack is also tried on something
that must fall for it: escapes/naive.c, which does the step as it was once done, or the path that
such code would use.

What is done through /dev and /proc is in test_escapes_dev_and_proc.py.

A runtime may refuse a malicious bundle or start it safely: either is a pass. What counts is the
host: files outside the root (Canary), mounts outside the root (Witness), a sysctl that no
namespace separates (KNOB), and the runtime's own binary.
"""

import errno
import os
import re
import shutil

import pytest

import escapes
from escapes import repeat, swapping
from escapes.fixtures import *  # noqa: F403
from escapes.fixtures import refused_or_ran
from lib import config, proc

ENGINE_AND = config.ENGINE_CAPABILITIES + ["CAP_MKNOD", "CAP_SYS_PTRACE"]


# CVE-2019-5736: the runtime enters a container and becomes /proc/self/exe there: itself. Whoever
# opened that file first can write to it as soon as the process has ended.

def spoils(c):
    """What the attacker got: (seen, exes, written, canary)."""
    c.wait_output("canary", timeout=20)
    return tuple(map(int, re.search(r"seen (\d+) exes (\d+) written (\d+) canary (\d+)",
                                    c.output).groups()))


@pytest.fixture
def hostile(container, tools):
    """A running container whose init waits for the runtime to come in."""
    def make(capabilities=config.ENGINE_CAPABILITIES, canary="/none", seconds=1.5):
        c = container(args=["grab", str(seconds), canary, "1"])
        config.set_capabilities(c.config, capabilities)
        shutil.copy2(f"{tools}/grab", c.rootfs + "/bin/grab")
        # Whoever runs the runtime's own `run` on this bundle waits for a configuration that
        # never comes, and can be looked at for as long as one likes.
        os.mkdir(c.rootfs + "/trap")
        os.mkfifo(c.rootfs + "/trap/config.json")
        with open(c.rootfs + "/script", "w") as f:
            f.write("#!/proc/self/exe\n")
        os.chmod(c.rootfs + "/script", 0o755)
        c.run_detached()
        c.wait_output("ready")
        return c
    return make


def test_cve_2019_5736_the_attack_overwrites_a_naive_runtime(hostile, tools, work):
    c = hostile()
    naive = shutil.copy2(f"{tools}/naive", f"{work}/naive")
    before = escapes.digest(naive)
    proc.run([naive, "enter", c.pid, "/proc/self/exe", "hold"])
    seen, exes, written, _ = spoils(c)
    assert seen and exes and written
    assert escapes.digest(naive) != before


@pytest.mark.parametrize("capabilities", [config.ENGINE_CAPABILITIES, ENGINE_AND],
                         ids=["engine", "ptrace"])
@pytest.mark.parametrize("entry", [["/proc/self/exe", "run", "--bundle", "/trap", "x"],
                                   ["/proc/self/exe", "--version"], ["/script"], ["/interp"]],
                         ids=["exe", "exe-short", "script", "interpreter"])
def test_cve_2019_5736_exec_of_the_runtime_itself(copy_of_runtime, hostile, work, entry,
                                                  capabilities):
    c = hostile(capabilities)
    source = f"{work}/interp.c"
    with open(source, "w") as f:
        f.write("int main(void) { return 0; }\n")
    proc.run(["gcc", "-o", c.rootfs + "/interp", source,
              "-Wl,--dynamic-linker=/proc/self/exe"])
    times = 0
    while times < 20 and "canary" not in c.output:
        try:
            c.exec(*entry, ok=None)
        except OSError as e:
            # An attacker's attempt to open the binary for writing fails at its mount, but in the kernel
            # it counts as a writer for some hundred nanoseconds (runtime/sys/seal.c).
            if e.errno != errno.ETXTBSY:
                raise
            continue
        times += "canary" not in c.output  # else it may have been gone before we came
    seen, _, written, _ = spoils(c)
    assert times and seen >= min(times, 5), "the attacker never saw the runtime come in"
    assert written == 0


def test_cve_2019_5736_init_is_the_runtime_itself(copy_of_runtime, hostile, container):
    spy = hostile()
    times = 0
    while times < 5 and "canary" not in spy.output:
        times += 1
        c = container(args=["/proc/self/exe", "run", "--bundle", "/trap", "x"])
        config.set_namespace(c.config, "pid", f"/proc/{spy.pid}/ns/pid")
        os.mkdir(c.rootfs + "/trap")
        os.mkfifo(c.rootfs + "/trap/config.json")
        c.run(ok=None)
    seen, _, written, _ = spoils(spy)
    assert seen >= times, "the attacker never saw the runtime come in"
    assert written == 0


# CVE-2024-21626: a descriptor of the host that is open when the user's program or its working
# directory is set up.

def reading(canary):
    return ["sh", "-c", f"cat {canary.up_from()}/secret {canary.secret} 2>/dev/null; pwd; true"]


def test_cve_2024_21626_the_attack_escapes_from_a_naive_runtime(container, tools, canary):
    c = container()
    found = ""
    for fd in range(3, 10):
        found += proc.run([f"{tools}/naive", "cwd", c.rootfs, f"/proc/self/fd/{fd}", "/bin/sh",
                           *reading(canary)[1:]], ok=None).out
    assert "canary" in found


@pytest.mark.parametrize("how", ["plain", "dots", "link"])
def test_cve_2024_21626_working_directory_is_a_descriptor(container, canary, how):
    c = container(args=reading(canary))
    refusals = 0
    for fd in range(3, 24):
        cwd = f"/proc/self/fd/{fd}" + ("/../.." if how == "dots" else "")
        if how == "link":
            os.symlink(cwd, f"{c.rootfs}/cwd{fd}")
            cwd = f"/cwd{fd}"
        c.config["process"]["cwd"] = cwd
        result = c.run(ok=None)
        assert "canary" not in result.out, f"the host was read from {cwd}"
        refusals += not refused_or_ran(result)
    assert refusals, "no descriptor is free: the test tried too few"


def test_cve_2024_21626_exec_into_a_descriptor(running, canary):
    c = running()
    for fd in range(3, 24):
        result = c.exec(*reading(canary), flags=("--cwd", f"/proc/self/fd/{fd}"), ok=None)
        assert "canary" not in result.out


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_cve_2024_21626_descriptors_of_the_caller_stay_outside(container, canary, verb):
    c = container(args=["ls", "/proc/self/fd"] if verb == "run" else None)
    fd = os.open(canary.dir, os.O_RDONLY)
    high = os.dup2(fd, 77)
    try:
        if verb == "run":
            result = c.run(pass_fds=(fd, high))
        else:
            c.run_detached()
            result = c.exec("ls", "/proc/self/fd", pass_fds=(fd, high))
    finally:
        os.close(fd)
        os.close(high)
    # ls has one more, of the directory it lists.
    assert [int(n) for n in result.out.split()] == [0, 1, 2, 3]


def test_cve_2024_21626_a_hostile_process_finds_nothing_of_the_host(hostile, canary):
    c = hostile(canary=canary.secret)
    times = 0
    while times < 40 and "canary 0" not in c.output:
        c.exec("true", ok=None)
        times += 1
    seen, _, _, read = spoils(c)
    assert seen >= min(times, 5), "the attacker never saw the runtime come in"
    assert read == 0, "the host was read through the runtime's process"


def test_cve_2024_21626_a_shared_pid_namespace_shows_nothing_of_the_host(hostile, container,
                                                                         canary):
    spy = hostile(canary=canary.secret)
    times = 0
    while times < 10 and "canary" not in spy.output:
        times += 1
        c = container(args=["true"])
        config.set_namespace(c.config, "pid", f"/proc/{spy.pid}/ns/pid")
        c.run(ok=None)
    seen, _, _, read = spoils(spy)
    assert seen >= min(times, 5), "the attacker never saw the runtime come in"
    assert read == 0, "the host was read through the runtime's process"


# CVE-2021-30465 and CVE-2024-45310: a directory on the way to a mount's destination becomes a
# symbolic link between the look and the mount, or between the look and the mkdir.

def volume_with_links(path, target):
    """A volume where the directory "a" can be exchanged for "b", a link out of it."""
    os.makedirs(f"{path}/a")
    os.symlink(target, f"{path}/b")
    return path


@pytest.mark.parametrize("step", ["mkdir", "mount"])
def test_cve_2021_30465_the_race_is_won_against_a_naive_runtime(tools, work, step):
    canary = escapes.Canary(f"{work}/host")
    root = volume_with_links(f"{work}/root", canary.dir)

    def attempt(n):
        what = ["mkdir"] if step == "mkdir" else ["mount", "/dev/shm"]
        where = proc.run([f"{tools}/naive", *what, root, f"/a/n{n}/x"], ok=None).out.strip()
        if step == "mkdir":
            return canary.look() != canary.before
        return where.startswith(canary.dir)

    with swapping(tools, (f"{root}/a", f"{root}/b")):
        _, won = repeat(attempt, seconds=20, most=5000)
    assert won


@pytest.mark.parametrize("place", ["volume", "image"])
@pytest.mark.parametrize("link", ["absolute", "relative"])
@pytest.mark.parametrize("kind", ["directory", "file"])
def test_cve_2021_30465_and_2024_45310_destination_swapped_for_a_link(
        container, tools, canary, witness, work, place, link, kind):
    c = container(args=["true"])
    target = canary.dir if link == "absolute" else canary.up_from()
    if place == "volume":
        attacked, at = volume_with_links(f"{work}/volume", target), "/volume"
    else:
        attacked, at = volume_with_links(f"{c.rootfs}/image", target), "/image"
    os.mkdir(f"{work}/source")
    with open(f"{work}/source/file", "w") as f:
        f.write("harmless\n")
    source = f"{work}/source" + ("/file" if kind == "file" else "")
    c.config["hooks"] = witness.hook()
    mounts = list(c.config["mounts"])
    ran = 0

    def attempt(n):
        nonlocal ran
        c.config["mounts"] = mounts + [config.bind(source, f"{at}/a/n{n}/x")]
        if place == "volume":
            c.config["mounts"].insert(-1, config.bind(attacked, at))
        ran += refused_or_ran(c.run(ok=None))
        canary.assert_untouched()

    with swapping(tools, (f"{attacked}/a", f"{attacked}/b")) as swaps:
        tried, _ = repeat(attempt, seconds=1.5, most=40)
    assert tried >= 3 and swaps.count > 1000, "there was no race"
    assert witness.mount_points(), "no container came as far as its mounts"
    witness.assert_nothing_mounted_at(canary.dir)


# CVE-2023-27561 and CVE-2023-28642: /proc or /sys of the image is a link, so what is mounted
# there and what is masked there need not be the same place.

def assert_masks_hold(mountinfo):
    """Wherever a procfs or sysfs is, the masks and read-only paths are on it. By the ids of the
    mounts: their names may change while they are listed."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after:
            number, parent, _, root, point, options = before.split()[:6]
            mounts.append((number, parent, root, point, options.split(","), after.split()[0]))
    for number, _, root, point, options, fstype in mounts:
        on_it = {os.path.basename(p): o for _, parent, _, p, o, _ in mounts if parent == number}
        if root == "/" and fstype == "proc":
            for name in ("kcore", "keys", "timer_list"):
                if os.path.exists("/proc/" + name):
                    assert name in on_it, f"{point}/{name} is not masked:\n{mountinfo}"
            assert "ro" in on_it.get("sys", []), f"{point}/sys is writable"
        if root == "/" and fstype == "sysfs":
            assert "ro" in options, f"{point} is writable"
            if os.path.isdir("/sys/firmware"):
                assert "firmware" in on_it, f"{point}/firmware is not masked"


SHOW_MOUNTS = ["sh", "-c", "cat /proc/self/mountinfo || cat /*/self/mountinfo; true"]


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["inside", "absolute", "relative", "volume", "missing"])
def test_cve_2023_27561_and_28642_a_link_in_place_of_proc_or_sys(container, canary, witness,
                                                                 work, name, target):
    c = container(args=SHOW_MOUNTS)
    shutil.rmtree(f"{c.rootfs}/{name}")
    os.mkdir(f"{c.rootfs}/inside")
    os.makedirs(f"{work}/volume/fake/self/attr")
    os.symlink({"inside": "/inside", "absolute": canary.dir, "relative": canary.up_from(),
                "volume": "/volume/fake", "missing": "/no/where"}[target],
               f"{c.rootfs}/{name}")
    c.config["mounts"].insert(0, config.bind(f"{work}/volume", "/volume"))
    c.config["hooks"] = witness.hook()
    result = c.run(ok=None)
    if refused_or_ran(result):
        assert_masks_hold(result.out)
    else:
        assert f"/{name}" in result.err + result.out
    witness.assert_nothing_mounted_at(canary.dir)
    canary.assert_untouched()


def test_cve_2023_27561_proc_is_a_link_only_now_and_then(container, tools, canary, witness):
    c = container(args=SHOW_MOUNTS)
    os.symlink("/elsewhere", f"{c.rootfs}/link")
    os.mkdir(f"{c.rootfs}/elsewhere")
    c.config["hooks"] = witness.hook()
    looked_at = 0

    def attempt(_):
        nonlocal looked_at
        result = c.run(ok=None)
        if refused_or_ran(result) and " - proc " in result.out:
            assert_masks_hold(result.out)
            looked_at += 1

    with swapping(tools, (f"{c.rootfs}/proc", f"{c.rootfs}/link")) as swaps:
        tried, _ = repeat(attempt, seconds=2)
    assert tried >= 3 and swaps.count > 1000, "there was no race"
    witness.assert_nothing_mounted_at(canary.dir)
