"""The known ways out of a container that lead through its /dev and /proc. See test_escapes.py
for how these tests are made."""

import os
import re
import shutil

import pytest

import escapes
from escapes import KNOB, WANTED, repeat, swapping
from escapes.fixtures import *  # noqa: F403
from escapes.fixtures import refused_or_ran
from lib import config


# CVE-2025-31133: a path is masked by what the container's own /dev/null is.

MASKED_FILES = ["/masked", "/proc/kcore", "/proc/keys", "/proc/timer_list"]


def try_masked_files(c):
    """Makes the container look at what its masks are, and write through them. It tells in a
    file: with such a /dev, even its stdout may not be what it should."""
    os.makedirs(c.dir + "/out")
    c.config["mounts"].append(config.bind(c.dir + "/out", "/out"))
    c.config["process"]["args"] = ["sh", "-c", "{ " + "".join(
        f"stat -c '%n: %F %t:%T' {path}; cat {path} | head -c 100; echo {WANTED} >{path}; "
        for path in MASKED_FILES) + "} >/out/said; true"]
    with open(c.rootfs + "/masked", "w") as f:
        f.write("not to be seen\n")
    c.config["linux"]["maskedPaths"] = config.MASKED + ["/masked"]


def assert_masked(c):
    said = escapes.read(c.dir + "/out/said")
    assert "not to be seen" not in said
    found = re.findall(r"^(/\S+): (.*)$", said, re.M)
    assert "/masked" in dict(found), said
    for path, what in found:
        assert what == "character special file 1:3", f"{path} is masked by '{what}'"


def without_dev(c):
    """A configuration that leaves /dev to the image."""
    c.config["mounts"] = [m for m in c.config["mounts"]
                          if not m["destination"].startswith("/dev")]


def put(path, what):
    """At path: a link to `what`, or a file, or nothing."""
    if os.path.lexists(path):
        os.unlink(path)
    if what == "file":
        with open(path, "w") as f:
            f.write("the image's own\n")
    elif what:
        os.symlink(what, path)


@pytest.mark.parametrize("null", [KNOB, "file", "relative", "/masked", None],
                         ids=["procfs", "file", "host", "itself", "missing"])
def test_cve_2025_31133_dev_null_of_the_image_is_something_else(knob, container, canary, null):
    c = container()
    try_masked_files(c)
    without_dev(c)
    put(f"{c.rootfs}/dev/null", f"{canary.up_from()}/null" if null == "relative" else null)
    result = c.run(ok=None)
    if refused_or_ran(result):
        assert_masked(c)


def test_cve_2025_31133_dev_null_is_something_else_now_and_then(knob, container, tools, canary):
    c = container()
    try_masked_files(c)
    without_dev(c)
    os.mknod(f"{c.rootfs}/dev/null", 0o20666, os.makedev(1, 3))
    os.symlink(KNOB, f"{c.rootfs}/dev/link")
    ran = 0

    def attempt(_):
        nonlocal ran
        result = c.run(ok=None)
        if refused_or_ran(result):
            assert_masked(c)
            ran += 1
        # What is wrong at this moment stays wrong only for this start.
        assert escapes.read(knob).strip() != WANTED

    with swapping(tools, (f"{c.rootfs}/dev/null", f"{c.rootfs}/dev/link")) as swaps:
        tried, _ = repeat(attempt, seconds=2)
    assert tried >= 3 and swaps.count > 1000, "there was no race"


def test_cve_2025_31133_dev_null_is_a_mount_of_the_configuration(knob, container, canary, work):
    c = container()
    try_masked_files(c)
    put(f"{work}/null", "file")
    c.config["mounts"].append(config.bind(f"{work}/null", "/dev/null"))
    result = c.run(ok=None)
    if refused_or_ran(result):
        assert_masked(c)


# CVE-2025-52565: /dev/console is made by a bind mount of the terminal, and either end of it can
# be a link of the image.

@pytest.mark.parametrize("target", ["procfs", "host", "up"])
@pytest.mark.parametrize("link", ["console", "pts/0", "ptmx", "pts"])
def test_cve_2025_52565_links_around_the_console(knob, container, canary, witness, link, target):
    c = container(args=["sh", "-c", f"stat -c '[%F %t]' /dev/console; echo {WANTED} "
                                    ">/dev/console; true"])
    c.config["process"]["terminal"] = True
    c.config["hooks"] = witness.hook()
    without_dev(c)
    os.makedirs(f"{c.rootfs}/dev/{os.path.dirname(link)}", exist_ok=True)
    os.symlink({"procfs": KNOB, "host": f"{canary.dir}/console",
                "up": f"{canary.up_from()}/console"}[target], f"{c.rootfs}/dev/{link}")
    result = c.create(ok=None)
    if refused_or_ran(result):
        c.start(ok=None)
        said = c.terminal.read_to_end(timeout=5)
        for what in re.findall(r"\[(.*?)\]", said):
            assert re.fullmatch("character special file (88|5)", what), said
    witness.assert_nothing_mounted_at(canary.dir)


def test_cve_2025_52565_the_console_is_a_link_now_and_then(knob, container, tools, canary,
                                                           witness):
    c = container(args=["sh", "-c", f"echo {WANTED} >/dev/console"])
    c.config["process"]["terminal"] = True
    c.config["hooks"] = witness.hook()
    without_dev(c)
    put(f"{c.rootfs}/dev/console", "file")
    os.symlink(KNOB, f"{c.rootfs}/dev/link")

    def attempt(_):
        if refused_or_ran(c.create(ok=None)):
            c.start(ok=None)
            c.terminal.read_to_end(timeout=5)
            c.terminal.close()
            c.delete("--force")
        assert escapes.read(knob).strip() != WANTED

    with swapping(tools, (f"{c.rootfs}/dev/console", f"{c.rootfs}/dev/link")) as swaps:
        tried, _ = repeat(attempt, seconds=2)
    assert tried >= 3 and swaps.count > 1000, "there was no race"
    witness.assert_nothing_mounted_at(canary.dir)


# CVE-2025-52881: what the runtime writes to procfs (sysctls, labels, the OOM score) lands
# elsewhere, because something of the image or of a volume is mounted over that part of procfs.

SYSCTL = "net.ipv4.ip_unprivileged_port_start"


def fake_procfs(path, link):
    """A directory that looks like the parts of procfs a runtime writes to, all leading to link."""
    for name in ("sys/net/ipv4/ip_unprivileged_port_start", "self/oom_score_adj",
                 "self/attr/exec", "self/attr/keycreate", "thread-self/attr/exec",
                 "thread-self/oom_score_adj", "1/oom_score_adj", "self/setgroups"):
        os.makedirs(os.path.dirname(f"{path}/{name}"), exist_ok=True)
        os.symlink(link, f"{path}/{name}")
    return path


def ask_for_writes(c, sysctl=SYSCTL):
    c.config["process"]["oomScoreAdj"] = int(WANTED)
    c.config["linux"]["sysctl"] = {sysctl: WANTED}
    # What the runtime wrote to must be the real thing: the container's own.
    c.config["process"]["args"] = ["sh", "-c", "cat /proc/sys/net/ipv4/"
                                   "ip_unprivileged_port_start /proc/self/oom_score_adj; true"]


def test_cve_2025_52881_the_writes_arrive_in_an_honest_container(knob, container):
    c = container()
    ask_for_writes(c)
    assert c.run().out.split() == [WANTED, WANTED]


@pytest.mark.parametrize("link", ["procfs", "host"])
def test_cve_2025_52881_a_volume_in_place_of_proc(knob, container, canary, work, link):
    c = container()
    ask_for_writes(c)
    fake = fake_procfs(f"{work}/fake", "/real" + KNOB[len("/proc"):] if link == "procfs"
                       else f"{canary.up_from()}/secret")
    os.mkdir(f"{c.rootfs}/real")
    c.config["mounts"].insert(0, config.mount("/real", "proc", "proc", []))
    c.config["mounts"] = [config.bind(fake, "/proc") if m["destination"] == "/proc" else m
                          for m in c.config["mounts"]]
    refused_or_ran(c.run(ok=None))
    canary.assert_untouched()


@pytest.mark.parametrize("target", ["/proc/sys/net/ipv4", "/proc/self", "/proc/self/attr",
                                    "/proc/sys/net"])
def test_cve_2025_52881_the_image_leads_a_volume_into_proc(knob, container, canary, work, target):
    c = container()
    ask_for_writes(c)
    fake = fake_procfs(f"{work}/fake", KNOB)
    os.symlink(target, f"{c.rootfs}/volume")
    source = fake + target[len("/proc"):]
    c.config["mounts"].append(config.bind(source, "/volume"))
    result = c.run(ok=None)
    refused_or_ran(result)
    assert escapes.read(knob).strip() != WANTED


def test_cve_2025_52881_the_way_of_a_volume_leads_into_proc_now_and_then(knob, container, tools,
                                                                         canary, work):
    c = container()
    ask_for_writes(c)
    fake = fake_procfs(f"{work}/fake", KNOB)
    shared = f"{work}/shared"
    os.makedirs(f"{shared}/a/ipv4")
    os.symlink("/proc/sys/net", f"{shared}/b")
    c.config["mounts"] += [config.bind(shared, "/shared"),
                           config.bind(f"{fake}/sys/net/ipv4", "/shared/a/ipv4")]

    def attempt(_):
        refused_or_ran(c.run(ok=None))
        assert escapes.read(knob).strip() != WANTED

    with swapping(tools, (f"{shared}/a", f"{shared}/b")) as swaps:
        tried, _ = repeat(attempt, seconds=2)
    assert tried >= 3 and swaps.count > 1000, "there was no race"


# CVE-2026-41579: /dev of the image is a link, and the runtime removes "ptmx" and makes its links
# by name.

@pytest.mark.parametrize("mounts", ["default", "no /dev", "only /dev/pts"])
@pytest.mark.parametrize("link", ["absolute", "relative"])
@pytest.mark.parametrize("terminal", [False, True], ids=["", "terminal"])
def test_cve_2026_41579_dev_is_a_link(container, canary, witness, mounts, link, terminal):
    c = container(args=["true"])
    c.config["process"]["terminal"] = terminal
    c.config["hooks"] = witness.hook()
    if mounts != "default":
        c.config["mounts"] = [m for m in c.config["mounts"]
                              if not m["destination"].startswith("/dev") or
                              mounts == "only /dev/pts" and m["destination"] == "/dev/pts"]
    shutil.rmtree(c.rootfs + "/dev")
    # Below the root the name exists too, so that nothing ends merely because it does not.
    os.makedirs(c.rootfs + canary.dir)
    os.symlink(canary.dir if link == "absolute" else canary.up_from(), c.rootfs + "/dev")
    assert os.path.exists(c.rootfs + "/dev/ptmx"), "who works by name finds the host's file"
    if refused_or_ran(c.create(ok=None)):
        c.start(ok=None)
    canary.assert_untouched()
    witness.assert_nothing_mounted_at(canary.dir)


def test_cve_2026_41579_dev_is_a_link_now_and_then(container, tools, canary, witness):
    c = container(args=["true"])
    without_dev(c)
    c.config["hooks"] = witness.hook()
    os.symlink(canary.dir, c.rootfs + "/link")

    def attempt(_):
        refused_or_ran(c.run(ok=None))
        canary.assert_untouched()

    with swapping(tools, (c.rootfs + "/dev", c.rootfs + "/link")) as swaps:
        tried, _ = repeat(attempt, seconds=2)
    assert tried >= 3 and swaps.count > 1000, "there was no race"
    witness.assert_nothing_mounted_at(canary.dir)
