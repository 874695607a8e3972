"""A talk of 2016 went from `docker run` to runc with five small tools. The same again, from beginning to end, with `rt` alone: typed as a person
would type it, on root filesystems made of what the distribution's packages installed."""

import os
import re
import subprocess
import time

import pytest

from lib import console, container, netns, proc, rootfs

IDS = 65536


class Talk:
    """A person with a shell, some directories, and two root filesystems in tars."""

    def __init__(self, rt, work, templates):
        self.rt, self.work, self.made = rt, work, []
        self.network = netns.Host(work + "/net")
        for kind in ("busybox", "nginx"):
            rootfs.tar(rootfs.make(kind, f"{work}/{kind}-tree", templates), f"{work}/{kind}.tar")

    def bundle(self, name, *options, image="busybox"):
        path = f"{self.work}/{name}"
        self.rt("bundle", "create", *options, f"{self.work}/{image}.tar", path)
        return path

    def configure(self, bundle, *options, args):
        """Options change the configuration that the bundle has."""
        config = bundle + "/config.json"
        self.rt("spec", "generate", "--template", config, "--output", config, *[x for word in args for x in ("--args", word)], *options)
        self.rt("spec", "validate", bundle)

    def argv(self, *words):
        return ["--root", self.work + "/root", *words]

    def run(self, bundle, **how):
        return self.rt(*self.argv("run", "--bundle", bundle, os.path.basename(bundle)), **how)

    def start(self, bundle):
        """The pid of what runs in it from now on."""
        name = os.path.basename(bundle)
        self.made.append(name)
        self.rt(*self.argv("run", "--detach", "--bundle", bundle, "--pid-file", bundle + "/pid", name), stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
        with open(bundle + "/pid") as f:
            return int(f.read())

    def inside(self, bundle, *words):
        return self.rt(*self.argv("exec", os.path.basename(bundle), *words)).out

    def hook(self, kind):
        """rt-netns gives a network; its own directory is not the machine's."""
        return [f"--hooks-{kind}", ":".join([netns.program(), "--state-dir", self.network.directory, "hook"])]

    def end(self):
        for name in reversed(self.made):
            self.rt(*self.argv("delete", "--force", name), ok=None)
        self.network.remove_all()


@pytest.fixture
def talk(rt, work, templates):
    one = Talk(rt, work, templates)
    yield one
    one.end()


def owner(pid):
    with open(f"/proc/{pid}/status") as f:
        return re.search(r"^Uid:\t(\d+)", f.read(), re.M).group(1)


def namespaces(pid):
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in os.listdir(f"/proc/{pid}/ns") if not name.endswith("_for_children")}


def fetch(address, page):
    """Debian's static busybox has a wget that looks names of services up, and dies of it where there is no libc."""
    return f"printf 'GET {page} HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {address} 80"


def the_date(talk):
    bundle = talk.bundle("date")
    talk.configure(bundle, args=["date", "+%Y-%m-%d"])
    before = time.strftime("%Y-%m-%d", time.gmtime())
    assert talk.run(bundle).out.strip() in (before, time.strftime("%Y-%m-%d", time.gmtime()))


def root_that_is_nobody_outside(talk):
    bundle = talk.bundle("mapped", "--idroot", "100000")
    assert os.stat(bundle + "/rootfs/bin/busybox").st_uid == 100000
    talk.configure(bundle, args=["sleep", "1000"])
    pid = talk.start(bundle)
    assert owner(pid) == "100000"
    assert talk.inside(bundle, "id", "-u") == "0\n"
    assert talk.inside(bundle, "cat", "/proc/self/uid_map").split() == ["0", "100000", str(IDS)]
    assert talk.inside(bundle, "stat", "-c", "%u:%g", "/bin/busybox") == "0:0\n"


def a_terminal(talk):
    bundle = talk.bundle("terminal", "--terminal")
    talk.configure(bundle, args=["sh"])
    with console.OnTerminal([container.runtime(), *talk.argv("run", "--bundle", bundle, "terminal")]) as shell:
        shell.terminal.type("tty; echo $((6 * 7)) lines\n")
        shell.terminal.expect("/dev/pts/0")
        shell.terminal.expect("42 lines")
        shell.terminal.type("exit 3\n")
        assert shell.wait() == 3


def a_network_by_a_hook(talk):
    hooks = talk.hook("create-runtime") + talk.hook("poststop")
    server, client = talk.bundle("server"), talk.bundle("client")
    with open(server + "/rootfs/tmp/page", "w") as f:
        f.write("from the other container\n")
    talk.configure(server, *hooks, args=["httpd", "-f", "-p", "80", "-h", "/tmp"])
    talk.start(server)
    address = talk.network.address("server")
    talk.configure(client, *hooks, args=["sh", "-c", fetch(address, "/page")])
    proc.eventually(lambda: talk.run(client, ok=None).out.endswith("\r\n\r\nfrom the other container\n"), what="the page to come over the bridge")
    assert list(talk.network.list()) == ["server"]


def what_a_capability_allows_a_filter_kills(talk):
    bundle = talk.bundle("hostname")
    talk.configure(bundle, args=["sh", "-c", "hostname other; status=$?; hostname; exit $status"])
    refused = talk.run(bundle, ok=False)
    assert "Operation not permitted" in refused.err and refused.out != "other\n"
    talk.configure(bundle, "--linux-seccomp-profile", "default", "--process-cap-add", "CAP_SYS_ADMIN", args=["sh", "-c", "hostname other && hostname"])
    assert talk.run(bundle).out == "other\n"
    talk.configure(bundle, "--linux-seccomp-kill", "sethostname", args=["sh", "-c", "hostname other; exit $?"])
    killed = talk.run(bundle, ok=False)
    assert "Bad system call" in killed.err and killed.code == 128 + 31, repr(killed)


def nginx(talk):
    """Root inside, 200000 outside, in namespaces of its own."""
    bundle = talk.bundle("nginx", "--idroot", "200000", image="nginx")
    talk.configure(bundle, args=rootfs.COMMANDS["nginx"])
    pid = talk.start(bundle)
    proc.eventually(lambda: ":0050 " in open(f"/proc/{pid}/net/tcp").read(), what="nginx to listen")
    assert owner(pid) == "200000"
    assert talk.inside(bundle, "stat", "-c", "%u", "/proc/1").strip() == "0"
    ours, theirs = namespaces("self"), namespaces(pid)
    own = {name for name in ours if ours[name] != theirs[name]}
    assert {"ipc", "mnt", "net", "pid", "user", "uts"} <= own, own
    listed = proc.run(["lsns", "--noheadings", "--output", "TYPE", "--task", pid]).out.split()
    assert set(listed) >= own, listed
    return pid


def a_neighbour(talk, pid):
    """Joins two of nginx's namespaces by their paths; its files must have nginx's ids."""
    bundle = talk.bundle("neighbour")
    talk.rt("bundle", "shift", "--from", f"0:{IDS}", "--to", f"200000:{IDS}", "--config", bundle)
    assert os.stat(bundle + "/rootfs/bin/busybox").st_uid == 200000
    join = [x for kind, file in (("network", "net"), ("user", "user")) for x in ("--linux-namespace-add", f"{kind}:/proc/{pid}/ns/{file}")]
    talk.configure(bundle, *join, args=["sh", "-c", "id -u; for n in net user; do readlink /proc/self/ns/$n; done; " + fetch("127.0.0.1", "/hello")])
    lines = talk.run(bundle).out.splitlines()
    theirs = namespaces(pid)
    assert lines[:3] == ["0", theirs["net"], theirs["user"]]
    assert lines[3].split()[1:] == ["200", "OK"] and lines[-1] == "hello from nginx", lines


def message_queues(talk):
    bundle = talk.bundle("queues")
    talk.configure(bundle, args=["sleep", "1000"])
    talk.start(bundle)
    assert " /dev/mqueue mqueue " in talk.inside(bundle, "cat", "/proc/mounts")
    talk.inside(bundle, "touch", "/dev/mqueue/talk")
    assert talk.inside(bundle, "cat", "/dev/mqueue/talk").startswith("QSIZE:0 ")
    assert talk.inside(f"{talk.work}/nginx", "ls", "/dev/mqueue") == ""


def test_the_whole_talk(talk):
    the_date(talk)
    root_that_is_nobody_outside(talk)
    a_terminal(talk)
    a_network_by_a_hook(talk)
    what_a_capability_allows_a_filter_kills(talk)
    a_neighbour(talk, nginx(talk))
    message_queues(talk)
