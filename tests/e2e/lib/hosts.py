"""Two hosts on one machine, for what moves between them.

    def test_a_move(hosts):                      # the fixture; hosts.a and hosts.b
        hosts.b.receive()                        # `rt receive`, until the test ends
        c = hosts.a.container(["sleep", "1000"])
        moved = hosts.migrate(c)                 # a Move: .container, .events, .done, .notes
        moved.container.exec("true")

A host is a mount namespace with a /run of its own, a network namespace with an address at a switch that stands in the test's network
(so a test can speak to both), and cgroups of its own at the root of its own cgroup namespace. So both can have the same container, and
neither `rt` notices the other. The test's directory is seen by both; hosts share the PID namespace, as a restore makes a new one.

Run as a program this file is the process that holds one host's namespaces.
"""

import copy
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SANDBOX = os.path.normpath(os.path.join(HERE, "../../setup/sandbox"))
PORT = 7443
# By design: what is over is remembered for a while, so that a source that did not hear the answer can ask again.
STAYS = re.compile("/criu.kdat|/rt-migrate|/rt-netns|/rt-receive(/[0-9a-f]{32}(/(config|journal).json)?)?")
LAN = "172.19.0"  # of containers, where a test asks for it: a switch that both hosts' bridges rt0 are at


def load_sandbox():
    """tests/setup/sandbox as a module: how namespaces and cgroups are made."""
    loader = importlib.machinery.SourceFileLoader("rt_sandbox", SANDBOX)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("rt_sandbox", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


def hold(work, name):
    """Becomes a host: says {"pid", "cgroups", "enter"} and sleeps."""
    sandbox = load_sandbox()
    sandbox.libc.prctl(sandbox.PR_SET_PDEATHSIG, signal.SIGKILL)
    made = sandbox.make_cgroups(f"host-{name}-{os.getpid()}")
    for _, path in made:
        sandbox.write(path + "/cgroup.procs", "0")
    sandbox.unshare(sandbox.CLONE_NEWNS | sandbox.CLONE_NEWCGROUP | sandbox.CLONE_NEWNET)
    sandbox.mount("--make-rprivate", "/")
    sandbox.mount("--bind", work, "/mnt")
    sandbox.replace("/run", "tmpfs", "mode=755")
    os.makedirs(work)
    os.makedirs("/run/lock")
    sandbox.mount("--move", "/mnt", work)
    sandbox.replace("/sys", "sysfs")
    sandbox.remount_cgroups([h for h, _ in made], {"cgroup2": False})
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # In cgroup2 nobody sits in a cgroup that hands controllers down.
    sits = [path + ("/init" if h.fstype == "cgroup2" else "") for h, path in made]
    print(json.dumps({"pid": os.getpid(), "cgroups": [path for _, path in made], "enter": sits}), flush=True)
    os.close(1)
    signal.pause()


if __name__ == "__main__":
    hold(*sys.argv[1:])
    sys.exit(0)

from . import container as containers  # noqa: E402
from . import host as machines  # noqa: E402
from . import proc, rootfs  # noqa: E402


class Moved(containers.Container):
    """A container of a host that was not made there: its bundle is, or will be, `dir`."""

    def __init__(self, host, id, config):
        self.id = id
        self.dir = f"{host.bundles}/{id}"
        self.root = host.root
        self.host = host
        self.enter = host.enter
        self.globals = []
        self.rootfs = os.path.join(self.dir, "rootfs")
        self.pid_file = os.path.join(self.dir, "no-pid")
        self.stdout = os.path.join(self.dir, "output.log")
        self.terminal = None
        self.config = config


class Host:
    def __init__(self, work, name, number, templates):
        self.name = name
        self.templates = templates
        self.work = f"{work}/{name}"
        self.root = f"{self.work}/root"
        self.bundles = f"{self.work}/bundles"
        self.address = f"10.99.0.{number}"
        self.url = f"http://{self.address}:{PORT}"
        self.log = f"{self.work}/receive.log"
        self.made = []
        self.daemon = None
        os.makedirs(self.bundles)
        self.holder = subprocess.Popen(["/usr/bin/python3", "-I", __file__, work, f"{name}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       close_fds=True, text=True)
        words = self.holder.stdout.readline()
        assert words, f"host '{name}' did not start"
        held = json.loads(words)
        self.pid, self.cgroups = held["pid"], held["cgroups"]
        join = "for d in " + " ".join(held["enter"]) + "; do echo 0 >$d/cgroup.procs || exit 125; done; "
        self.enter = ["sh", "-c", join + f"exec nsenter --target {self.pid} --mount --net --cgroup -- \"$@\"", "sh"]

    def run(self, argv, **how):
        return proc.run([*self.enter, *argv], **how)

    def rt(self, *words, **how):
        return self.run([containers.runtime(), "--root", self.root, *words], **how)

    def plug(self, switch, port, device, address=None):
        """A cable to a switch in our network."""
        proc.run(["ip", "link", "add", port, "type", "veth", "peer", "name", device, "netns", str(self.pid)])
        proc.run(["ip", "link", "set", port, "master", switch, "up"])
        if address:
            self.run(["ip", "address", "add", address, "dev", device])
        self.run(["ip", "link", "set", device, "up"])

    # Containers

    def container(self, args=None, id="web", **how):
        c = containers.Container(id, f"{self.bundles}/{id}", self.root, args=args, templates=self.templates, enter=self.enter, **how)
        c.host = self
        self.made.append(c)
        return c

    def running(self, *args, **how):
        c = self.container(*args, **how)
        c.run_detached()
        return c

    def twin(self, c, id=None):
        """The handle of a container that comes here."""
        one = Moved(self, id or c.id, copy.deepcopy(c.config))
        if os.path.isdir(f"{self.root}/{one.id}"):
            one.pid_file = one.dir + "/no-pid"
        return one

    def put_bundle(self, c, id=None):
        """The same bundle as the container's, copied here beforehand: what --rootfs none wants."""
        one = self.twin(c, id)
        os.makedirs(one.dir)
        proc.run(["cp", "-a", c.rootfs, one.rootfs])
        one.write_config()
        return one

    def ids(self):
        return sorted(n for n in os.listdir(self.root) if not n.startswith("@")) if os.path.isdir(self.root) else []

    # The daemon

    def receive(self, *flags, plain=True, listen=None, wait=True, state_dir=None):
        """Starts `rt receive`; with plain=False the flags must say how it is guarded."""
        words = ["receive", "--listen", listen or f"{self.address}:{PORT}", "--bundles", self.bundles, *flags]
        words += ["--insecure"] if plain else []
        words += ["--state-dir", state_dir] if state_dir else []
        before = self.receive_log.count("listening on")
        with open(self.log, "ab") as log:
            self.daemon = proc.start([*self.enter, containers.runtime(), "--root", self.root, *words], stdout=log, stderr=log)
        if wait:
            proc.eventually(lambda: self.receive_log.count("listening on") > before or self.daemon.poll() is not None, what="rt receive to listen")
            assert self.daemon.poll() is None, self.receive_log
        return self

    @property
    def receive_log(self):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, errors="replace") as f:
            return f.read()

    def stop_receiving(self, signal_number=signal.SIGTERM):
        if not self.daemon:
            return None
        daemon, self.daemon = self.daemon, None
        if daemon.poll() is None:
            daemon.send_signal(signal_number)
        try:
            return daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
            raise AssertionError("rt receive did not stop: " + self.receive_log) from None

    def get(self, path):
        """The text of a GET, without any proof of who asks."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()

    # What is here

    def inside(self, path):
        return f"/proc/{self.pid}/root{path}"

    def snapshot(self):
        """{part: set} of all that a migration could leave here; what the runtime keeps of its containers is among it."""
        top = self.inside("/run")
        files = {os.path.join(directory, name)[len(top):] for directory, below, names in walk(top, prune=self.inside("/run/tests"))
                 for name in below + names}
        with open(f"/proc/{self.pid}/mountinfo") as f:
            mounts = {line.split()[4] for line in f}
        return {
            "files": {f for f in files if not STAYS.fullmatch(f)} |
                     {os.path.join(d, n) for d, below, names in walk(self.root) for n in below + names},
            "bundles": set(os.listdir(self.bundles)),
            "mounts": mounts,
            "cgroups": {d for path in self.cgroups for d, _, _ in os.walk(path)},
            "links": {link["ifname"] for link in json.loads(self.run(["ip", "-j", "link"]).out)},
            "packet filter rules": set(self.run(["nft", "list", "ruleset"]).out.splitlines()) if shutil.which("nft") else set(),
            "descriptors of containers": {f"{pid}:{where}" for id in self.ids() for pid, where in self.descriptors(id)},
        }

    def descriptors(self, id):
        """What the init of a container holds: a tracker that is not taken off stands there."""
        state = self.rt("state", id, ok=None)
        pid = json.loads(state.out)["pid"] if state.code == 0 else 0
        if not pid:
            return
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                yield pid, os.readlink(f"/proc/{pid}/fd/{fd}")
            except OSError:
                pass

    def close(self):
        try:
            self.stop_receiving()
        finally:
            for id in self.ids():
                self.rt("delete", "--force", id, ok=None)
            load_sandbox().remove_cgroups([d for path in self.cgroups for d in below(path)])
            self.holder.kill()
            self.holder.wait()
            self.holder.stdout.close()
            load_sandbox().remove_cgroups(self.cgroups)
            proc.eventually(lambda: not os.path.exists(f"/proc/{self.pid}"), what="the host's holder to end")


def below(path):
    """The cgroups of containers in a host's: all but the one where the holder sits."""
    return [f"{path}/{name}" for name in os.listdir(path) if os.path.isdir(f"{path}/{name}") and name != "init"]


def walk(top, prune=None):
    for directory, subdirectories, names in os.walk(top):
        subdirectories[:] = [d for d in subdirectories if os.path.join(directory, d) != prune]
        yield directory, subdirectories, names


class Move:
    """What `rt migrate --json` said."""

    def __init__(self, result, container):
        self.result = result
        self.container = container  # on the target
        self.events = [json.loads(line) for line in result.out.splitlines()]
        self.notes = [e["text"] for e in self.events if e["event"] == "note"]
        self.rounds = [e for e in self.events if e["event"] == "round"]
        last = self.events[-1] if self.events else {}
        self.done = last if last.get("event") == "done" else None
        self.downtime = self.done["downtime"]["total"] / 1e6 if self.done else None  # seconds


class Hosts:
    def __init__(self, work, templates):
        self.work = work
        self.made = []
        self.devices = []
        self.ended = False
        self.switch("switch0", "10.99.0.254/24")
        for number, name in enumerate("ab", 1):
            one = Host(work, name, number, templates)
            self.made.append(one)
            one.plug("switch0", f"port-{name}", "eth0", one.address + "/24")
            self.devices.append(f"port-{name}")
        self.a, self.b = self.made
        self.has_lan = False

    def switch(self, name, address):
        proc.run(["ip", "link", "add", name, "type", "bridge"])
        self.devices.append(name)
        proc.run(["ip", "address", "add", address, "dev", name])
        proc.run(["ip", "link", "set", name, "up"])

    def lan(self):
        """The network of containers: a switch, where we are 172.19.0.200, and at each host a bridge rt0 with a port of it."""
        self.switch("lan0", f"{LAN}.200/16")
        for number, one in enumerate(self.made, 1):
            one.plug("lan0", f"lan-{one.name}", "up0")
            self.devices.append(f"lan-{one.name}")
            one.run(["ip", "link", "add", "rt0", "type", "bridge"])
            one.run(["ip", "address", "add", f"{LAN}.{number}/16", "dev", "rt0"])
            one.run(["ip", "link", "set", "rt0", "up"])
            one.run(["ip", "link", "set", "up0", "master", "rt0"])
        return self

    def other(self, host):
        return self.b if host is self.a else self.a

    def argv(self, c, *flags, url=None, plain=True):
        to = self.other(c.host)
        return c.argv("migrate", *(["--insecure"] if plain else []), *flags, c.id, url or to.url)

    def migrate(self, c, *flags, ok=True, url=None, plain=True, new_id=None, timeout=60):
        """Moves c to the other host, by way of --json."""
        flags = [*flags, *(["--new-id", new_id] if new_id else [])]
        result = proc.run(self.argv(c, "--json", *flags, url=url, plain=plain), ok=ok, timeout=timeout)
        return Move(result, self.other(c.host).twin(c, new_id))

    def refuses(self, c, *flags, url=None, plain=True, timeout=60, settled=()):
        """Must fail with one sentence, which is returned; the container runs on and both hosts are as they were, but for `settled` parts."""
        before = self.snapshot()
        result = proc.run(self.argv(c, *flags, url=url, plain=plain), ok=False, timeout=timeout)
        lines = [line for line in result.err.splitlines() if line]
        assert len(lines) == 1, repr(result)
        self.unchanged(before, settled)
        return lines[0]

    def snapshot(self):
        return {"processes": machines.processes(), **{one.name: one.snapshot() for one in self.made}}

    def unchanged(self, before, settled=()):
        def differences():
            now = self.snapshot()
            told = [f"processes: {x}" for x in now["processes"] ^ before["processes"]]
            for one in self.made:
                for part, found in now[one.name].items():
                    if part not in settled:
                        told += [f"{one.name}: {part}: {x} {'is new' if x in found else 'is gone'}" for x in found ^ before[one.name][part]]
            return told

        told = []

        def same():
            told[:] = differences()
            return not told
        try:
            proc.eventually(same, timeout=5)
        except AssertionError:
            raise AssertionError("not as before:\n  " + "\n  ".join(told)) from None

    def show_logs(self):
        """For whoever reads why a test failed."""
        for one in self.made:
            if os.path.exists(one.log):
                print(f"--- rt receive on host {one.name}:\n{one.receive_log[-8000:]}", file=sys.stderr)
            try:
                print(one.get("/v1/status"), file=sys.stderr)
            except OSError:
                pass  # it does not run, or wants to know who asks

    def close(self):
        self.show_logs()
        for one in self.made:
            try:
                one.close()
            finally:
                pass
        for device in reversed(self.devices):
            proc.run(["ip", "link", "delete", device], ok=None)


# ---- what moves ----

NAMES = {"threads": ["first", "second", "third", "fourth"], "forks": ["first", "second", "third"], "shared": ["first", "second", "third"]}


class Churn:
    """A container whose memory checks itself (churn.c)."""

    def __init__(self, host, kind="private", mib=32, rate=2000, **how):
        self.names = NAMES.get(kind, [kind])
        self.container = host.container(["churn", kind, str(mib), str(rate)], kind="churn", **how)

    def start(self):
        self.container.run_detached()
        self.container.wait_output("up\n")
        self.goes_on()
        return self

    def turns(self, c=None):
        """The last count of each process."""
        found = {}
        for line in (c or self.container).output.splitlines():
            words = line.split()
            if len(words) == 5 and words[1] == "turns":
                found[words[0]] = int(words[2])
        return found

    def goes_on(self, c=None, turns=20):
        """Each process counts on, from where it is."""
        c = c or self.container
        proc.eventually(lambda: set(self.turns(c)) == set(self.names), what="all to say something")
        before = self.turns(c)
        proc.eventually(lambda: all(self.turns(c)[n] >= before[n] + turns for n in self.names), what="all to count on")

    def is_right(self, c=None):
        """Everything that was ever said is right, and all pages are now."""
        c = c or self.container
        asked = c.output.count(" checked ")
        c.kill("USR1", "--all")
        proc.eventually(lambda: c.output.count(" checked ") >= asked + len(self.names), what="all to check their pages")
        wrong = [line for line in c.output.splitlines() if " should be " in line or " bad " in line and not line.endswith(" bad 0")]
        assert not wrong, "\n".join(wrong[:20])

    def came(self, moved, before):
        """It is on the other side with what it had."""
        c = moved.container
        self.goes_on(c)
        assert all(self.turns(c)[n] >= before[n] for n in self.names), (before, self.turns(c))
        self.is_right(c)
