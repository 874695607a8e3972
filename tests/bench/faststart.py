#!/usr/bin/python3
"""From the command to the first correct reply of a server: started cold, from a snapshot, by bare CRIU and by runc from images of the same.

    tests/bench/faststart.py [--rt build/rt] [--runs 5] [--what nginx,redis,python,...] [--with criu,runc] [--clones 1,10,100] [--ksm] [--json FILE]

Every round takes each candidate once, in an order that changes. "snapshot" is `rt run --detach --from-snapshot` after one start that is not counted (it brings the
snapshot into memory); "on demand" is the same with --on-demand; "criu" is `criu restore` in a mount namespace made beforehand, told the same external mounts; "runc"
is `runc restore` of images that it made itself of a container of its own, as warm as the other.

Then clones are started with --count, as they are and with --on-demand: the time until all run and until all have replied (divided by their number: for each), and
memory once they are at rest: PSS of a clone's processes, of what stays to hand memory out to it, and what all share. --ksm adds clones with --merge, and switches
the kernel's merging on meanwhile. Clones that would take more than half of the memory that is free are left out.

The servers are the machine's packages (KINDS says which, tests/bench/servers has the programs); what is not installed, or fails, is told and left out, and the others are
measured. Runs as root, in tests/setup/sandbox.
"""

import argparse
import ctypes
import dataclasses
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
SANDBOX = os.path.join(TESTS, "setup/sandbox")
sys.path.insert(0, os.path.join(TESTS, "e2e"))
sys.path.insert(0, HERE)

from checkpoint import call, freezer, remove_cgroups, serve_as_root  # noqa: E402
from lib import config as configs  # noqa: E402
from lib import rootfs  # noqa: E402

WORK = "/run/bench"
KSM = "/sys/kernel/mm/ksm"
CLONE_NEWNET = 0x40000000
SETTLE = 1.5  # s, after the last request: a server may take its time to close a connection, and others than rt restore none that are half closed
LIBC = ctypes.CDLL(None, use_errno=True)

SERVERS = os.path.join(HERE, "servers")  # bound into the containers that run one of them
GET = b"GET /hello HTTP/1.0\r\n\r\n"
JAVA = ["/usr/bin/java", "-XX:-UsePerfData", "-XX:+UseSerialGC", "-Xmx256m"]
TOMCAT = "/usr/share/tomcat10"
NODE_MODULES = "/usr/share/nodejs"


@dataclasses.dataclass
class Kind:
    wanted: str  # a file that is there where its packages are
    args: list = None  # None: what the root filesystem is for
    rootfs: str = "busybox"
    port: int = 80
    request: bytes = GET
    reply: bytes = b"hello "  # what it must have
    warm: int = 20  # requests before the snapshot
    env: tuple = ()


KINDS = {
    "nginx": Kind("/usr/sbin/nginx", rootfs="nginx", reply=b"200 OK"),
    "redis": Kind("/usr/bin/redis-server", rootfs="redis", port=6379, request=b"GET key:0\r\n", reply=b"$"),
    # What starts in some 100 ms by itself
    "python-small": Kind("/usr/bin/python3", ["/usr/bin/python3", "/app/small.py"], reply=b"hello 200000"),
    "node-small": Kind("/usr/bin/node", ["/usr/bin/node", "/app/small.js"], reply=b"hello 200000", warm=500),
    "jvm-small": Kind("/usr/bin/javac", [*JAVA, "-cp", "/tmp/classes", "Small"], reply=b"hello true", warm=3000),
    # What imports, compiles or deploys much: python3-sklearn and python3-pandas; node-express and node-typescript; tomcat10
    "python": Kind("/usr/lib/python3/dist-packages/sklearn", ["/usr/bin/python3", "/app/forest.py"], reply=b"hello setosa"),
    "node": Kind(f"{NODE_MODULES}/typescript", ["/usr/bin/node", "/app/typed.js"], reply=b"hello 200000", warm=500, env=(f"NODE_PATH={NODE_MODULES}",)),
    "jvm": Kind(f"{TOMCAT}/bin/bootstrap.jar",
                [*JAVA, "-cp", f"{TOMCAT}/bin/bootstrap.jar:{TOMCAT}/bin/tomcat-juli.jar", f"-Dcatalina.home={TOMCAT}", "-Dcatalina.base=/tmp/tomcat",
                 "-Djava.io.tmpdir=/tmp", "org.apache.catalina.startup.Bootstrap", "start"], request=b"GET / HTTP/1.0\r\n\r\n", reply=b"It works !", warm=3000),
}


def make_tomcat(base):
    """As Debian has it, on port 80 of the loopback alone, and without logs in files: bare CRIU restores no process whose open files have grown since."""
    shutil.copytree("/etc/tomcat10", f"{base}/conf")
    shutil.copytree("/usr/share/tomcat10-root/default_root", f"{base}/webapps/ROOT")
    for name in ("logs", "temp", "work"):
        os.mkdir(f"{base}/{name}")
    path = f"{base}/conf/server.xml"
    with open(path) as f:
        text = f.read()
    text, ports = re.subn('<Connector port="8080"', '<Connector address="127.0.0.1" port="80"', text)
    text, logs = re.subn(r'<Valve className="org.apache.catalina.valves.AccessLogValve"[^>]*/>', "", text)
    assert ports == logs == 1, text
    with open(path, "w") as f:
        f.write(text)
    os.unlink(f"{base}/conf/logging.properties")


def ask(port, request, want):
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(request)
        got = b""
        while want not in got:
            more = s.recv(65536)
            if not more:
                raise OSError("another reply")
            got += more


def in_network(pid, work):
    """In a child, in the network namespace of the process."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    try:
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        if LIBC.setns(fd, CLONE_NEWNET):
            os._exit(2)
        work()
        os._exit(0)
    except BaseException as e:
        print(e, file=sys.stderr)
        os._exit(1)


def until_reply(pid, kind, times=1):
    one = KINDS[kind]

    def work():
        deadline = time.monotonic() + 60
        for _ in range(times):
            while True:
                try:
                    ask(one.port, one.request, one.reply)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.001)
    if not in_network(pid, work):
        raise SystemExit(f"{kind}: no reply")


def detached(*words):
    """The container holds the streams: they are /dev/null."""
    with open(os.devnull, "r+") as null:
        done = subprocess.run(list(map(str, words)), stdin=null, stdout=null, stderr=null, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.returncode}")


def pss(pids):
    """MiB. One that has ended meanwhile has none."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1024


def named(*names):
    """The sandbox's processes of these names."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().strip() in names:
                    found.append(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def free_mib():
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:")) / 1024


def disk_mib(path):
    """What a directory holds; 0: it is not there."""
    done = subprocess.run(["du", "-s", "-k", path], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0]) / 1024 if done.returncode == 0 else 0


class Merging:
    """The kernel merges pages while this is entered, and as it was told before after that."""

    def __init__(self):
        self.before = {}

    def value(self, name):
        with open(f"{KSM}/{name}") as f:
            return f.read().strip()

    def set(self, name, value):
        with open(f"{KSM}/{name}", "w") as f:
            f.write(str(value))

    def __enter__(self):
        for name, value in (("pages_to_scan", 20000), ("sleep_millisecs", 20), ("run", 1)):
            self.before[name] = self.value(name)
            self.set(name, value)
        return self

    def __exit__(self, *exc):
        for name, value in reversed(self.before.items()):
            self.set(name, value)

    def wait(self):
        """Two scans of everything find what does not change; a minute at most."""
        deadline, goal = time.monotonic() + 60, int(self.value("full_scans")) + 3
        while time.monotonic() < deadline and int(self.value("full_scans")) < goal:
            time.sleep(0.1)


class Bench:
    def __init__(self, rt, kind, others):
        self.rt = [rt, "--root", f"{WORK}/rt"]
        self.runc = ["runc", "--root", f"{WORK}/runc"]
        self.others = list(others)
        self.kind = kind
        self.bundle = f"{WORK}/{kind}"
        self.store = ["--store", f"{WORK}/store"]
        os.makedirs(f"{WORK}/templates", exist_ok=True)
        self.binds = {}  # where: what
        self.make_bundle()

    def make_bundle(self):
        kind = KINDS[self.kind]
        os.makedirs(self.bundle)
        root = f"{self.bundle}/rootfs"
        rootfs.make(kind.rootfs, root, f"{WORK}/templates")
        config = configs.default(kind.args or rootfs.COMMANDS[kind.rootfs] + (["--enable-debug-command", "yes", "--save", ""] if self.kind == "redis" else []))
        config["process"]["env"] += kind.env
        if self.kind == "nginx":
            serve_as_root(f"{root}/etc/nginx/nginx.conf")
        if kind.rootfs == "busybox":
            for name in ("lib", "lib64"):
                os.symlink(f"usr/{name}", f"{root}/{name}")
            os.mkdir(f"{root}/app")
            self.binds = {"/usr": "/usr", "/etc": "/etc", "/app": SERVERS}
            config["mounts"] += [configs.bind(source, path, "ro") for path, source in self.binds.items()]
        if self.kind == "jvm-small":
            call("javac", "-d", f"{root}/tmp/classes", f"{SERVERS}/Small.java")
        if self.kind == "jvm":
            make_tomcat(f"{root}/tmp/tomcat")
        configs.drop_namespace(config, "cgroup")
        config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
        config["linux"]["cgroupsPath"] = "/c"
        with open(f"{self.bundle}/config.json", "w") as f:
            json.dump(config, f)
        shutil.copytree(self.bundle, self.bundle + "-cold", symlinks=True)

    def pid(self, id="c", runtime=None):
        return json.loads(call(*(runtime or self.rt), "state", id))["pid"]

    def pids(self, id):
        return json.loads(call(*self.rt, "ps", "--format", "json", id))

    def until_all_memory_is_there(self, id):
        """No mapping is watched by userfaultfd any more."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            flags = set()
            for pid in self.pids(id):
                with open(f"/proc/{pid}/smaps") as f:
                    flags |= {word for line in f if line.startswith("VmFlags:") for word in line.split()[1:]}
            if "um" not in flags:
                return
            time.sleep(0.02)
        raise SystemExit("pages are still missing")

    def begin(self, runtime=None, bundle=None):
        runtime = runtime or self.rt
        detached(*runtime, "run", "--detach", "--bundle", bundle or self.bundle, "c")
        if self.kind == "redis":
            for _ in range(200):
                if subprocess.run([*runtime, "exec", "c", "redis-cli", "ping"], capture_output=True, check=False).stdout == b"PONG\n":
                    break
                time.sleep(0.02)
            call(*runtime, "exec", "c", "redis-cli", "debug", "populate", 256 * (1 << 20) // 10000, "key", "10000")
        until_reply(self.pid(runtime=runtime), self.kind)

    def end(self, id="c", runtime=None):
        call(*(runtime or self.rt), "delete", "--force", id)

    def warm_up(self, runtime=None):
        until_reply(self.pid(runtime=runtime), self.kind, KINDS[self.kind].warm)
        time.sleep(SETTLE)

    def prepare(self):
        """The snapshot, images for CRIU, and what is made once."""
        self.begin()
        self.warm_up()
        began = time.monotonic()
        call(*self.rt, "snapshot", "create", *self.store, "--leave-running", "c", self.kind)
        self.create = (time.monotonic() - began) * 1000
        if "criu" in self.others:
            self.criu_dump(self.pid())
        self.end()
        if "runc" in self.others:
            self.runc_dump()
        began = time.monotonic()
        self.snapshot()
        self.first = (time.monotonic() - began) * 1000
        self.until_all_memory_is_there("c")
        self.end()

    def externals(self, restore):
        masks = [m for m in configs.MASKED if os.path.isfile(m)]
        words = [f"mnt[{m}]:{'/dev/null' if restore else m}" for m in masks] + [f"mnt[{path}]:{source if restore else path}" for path, source in self.binds.items()]
        return [part for word in words for part in ("--external", word)]

    def criu_common(self):
        return ["--images-dir", f"{WORK}/images-{self.kind}", "--root", f"{self.bundle}/rootfs", "--manage-cgroups=soft", "--network-lock", "nftables",
                "--empty-ns", "net"]

    def criu_dump(self, pid):
        os.makedirs(f"{WORK}/images-{self.kind}")
        call("criu", "dump", "--tree", pid, *self.criu_common(), "--log-file", "dump.log", "--freeze-cgroup", freezer(pid), "--leave-running",
             *self.externals(False))

    def runc_dump(self):
        """Where it can't (an engine's runc of the wrong age for this CRIU), there is one candidate less."""
        images = f"{WORK}/runc-images-{self.kind}"
        os.makedirs(images)
        try:
            self.begin(self.runc)
            self.warm_up(self.runc)
            detached(*self.runc, "checkpoint", "--image-path", images, "--work-path", images, "c")
            self.runc_restore()
        except (SystemExit, subprocess.CalledProcessError) as e:
            print(f"{self.kind}: runc is left out: {e}", flush=True)
            self.others.remove("runc")
        subprocess.run([*self.runc, "delete", "--force", "c"], capture_output=True, check=False)

    # The candidates: seconds to the first correct reply

    def cold(self):
        """Of files of its own: those of the other are as its images know them."""
        began = time.monotonic()
        self.begin(bundle=self.bundle + "-cold")
        return time.monotonic() - began

    def snapshot(self):
        began = time.monotonic()
        detached(*self.rt, "run", "--detach", "--from-snapshot", self.kind, *self.store, "c")
        until_reply(self.pid(), self.kind)
        return time.monotonic() - began

    def on_demand(self):
        began = time.monotonic()
        detached(*self.rt, "run", "--detach", "--from-snapshot", self.kind, "--on-demand", *self.store, "c")
        until_reply(self.pid(), self.kind)
        return time.monotonic() - began

    def runc_restore(self):
        """Its network namespace is empty, and the loopback down, as CRIU's."""
        images = f"{WORK}/runc-images-{self.kind}"
        began = time.monotonic()
        detached(*self.runc, "restore", "--detach", "--bundle", self.bundle, "--image-path", images, "--work-path", images, "c")
        pid = self.pid(runtime=self.runc)
        subprocess.run(["nsenter", "--net", "--target", str(pid), "ip", "link", "set", "lo", "up"], check=True)
        until_reply(pid, self.kind)
        return time.monotonic() - began

    def criu(self):
        images = f"{WORK}/images-{self.kind}"
        if os.path.exists(f"{images}/pid"):
            os.unlink(f"{images}/pid")
        command = ["criu", "restore", *self.criu_common(), "--log-file", "restore.log", "--restore-detached", "--pidfile", f"{images}/pid", *self.externals(True)]
        began = time.monotonic()
        detached("unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$0" && exec "$@"', f"{self.bundle}/rootfs", *command)
        with open(f"{images}/pid") as f:
            self.criu_pid = int(f.read())
        subprocess.run(["nsenter", "--net", "--target", str(self.criu_pid), "ip", "link", "set", "lo", "up"], check=True)
        until_reply(self.criu_pid, self.kind)
        return time.monotonic() - began

    def sample(self, name):
        took = getattr(self, "runc_restore" if name == "runc" else name)() * 1000
        if name == "criu":
            os.kill(self.criu_pid, 9)
            remove_cgroups("c")
        else:
            self.end(runtime=self.runc if name == "runc" else self.rt)
        return took

    def clones(self, count, mode, merging=None):
        ids = [f"n-{i}" for i in range(1, count + 1)]
        began = time.monotonic()
        detached(*self.rt, "run", "--detach", "--from-snapshot", self.kind, *self.store, *([f"--{mode}"] if mode else []), "--count", count, "n")
        running = time.monotonic() - began
        for id in ids:
            until_reply(self.pid(id), self.kind)
        replied = time.monotonic() - began
        if mode == "on-demand":
            time.sleep(0.5)
        else:
            for id in ids:
                self.until_all_memory_is_there(id)
        if merging:
            merging.wait()
        memory = [pss(self.pids(id)) for id in ids]
        helpers = pss(named("rt", "rt-clone", "rt-guardian"))
        for id in ids:
            self.end(id)
        return {"count": count, "mode": mode, "running_ms": running * 1000, "replied_ms": replied * 1000, "pss_mib_each": statistics.mean(memory),
                "helpers_mib_each": helpers / count, "shared_mib": disk_mib(f"{WORK}/rt/@snapshots")}

    def clean(self):
        """Whatever became of it."""
        for runtime in (self.rt, self.runc):
            listed = subprocess.run([*runtime, "list", "--quiet"], capture_output=True, text=True, check=False).stdout.split()
            for id in listed:
                subprocess.run([*runtime, "delete", "--force", id], capture_output=True, check=False)
        for words in (["rm", *self.store, self.kind], ["gc", *self.store]):
            subprocess.run([*self.rt, "snapshot", *words], capture_output=True, check=False)
        for path in (f"{WORK}/images-{self.kind}", f"{WORK}/runc-images-{self.kind}", self.bundle, self.bundle + "-cold"):
            shutil.rmtree(path, ignore_errors=True)


def show_clones(row):
    print(f"{'':12} {row['count']:4} clones{' --' + row['mode'] if row['mode'] else '':12} running {row['running_ms']:6.0f} ms, all replied {row['replied_ms']:6.0f} ms "
          f"({row['replied_ms'] / row['count']:.0f} each), {row['pss_mib_each']:6.1f} MiB each and {row['helpers_mib_each']:.1f} to hand it out, "
          f"{row['shared_mib']:.0f} MiB shared", flush=True)


def measure_clones(bench, options):
    rows, each = [], {}
    for count in map(int, filter(None, options.clones.split(","))):
        for mode in ["", "on-demand"] + (["merge"] if options.ksm else []):
            # Merged or not, before it is it takes as much.
            wanted = each.get("" if mode == "merge" else mode, 0) * count
            if wanted > free_mib() / 2:
                print(f"{'':12} {count:4} clones{' --' + mode if mode else '':12} left out: {wanted:.0f} MiB of the {free_mib():.0f} that are free", flush=True)
                continue
            if mode == "merge":
                with Merging() as merging:
                    row = bench.clones(count, mode, merging)
            else:
                row = bench.clones(count, mode)
            each[mode] = max(each.get(mode, 0), row["pss_mib_each"] + row["helpers_mib_each"])
            rows.append(row)
            show_clones(row)
    return rows


def measure(bench, options):
    bench.prepare()
    names = ["cold", "snapshot", "on_demand", *bench.others]
    samples = {name: [] for name in names}
    for _ in range(options.runs):
        random.shuffle(names)
        for name in names:
            samples[name].append(bench.sample(name))
    medians = {name: statistics.median(rows) for name, rows in samples.items()}
    others = "".join(f"   {name} {medians[name]:6.0f} ms" for name in ("criu", "runc") if name in medians)
    print(f"{bench.kind:12} cold {medians['cold']:6.0f} ms   snapshot {medians['snapshot']:6.0f} ms ({medians['cold'] / medians['snapshot']:.1f} times quicker)   "
          f"on demand {medians['on_demand']:6.0f} ms{others}   create {bench.create:6.0f} ms   first start {bench.first:6.0f} ms", flush=True)
    return {"samples": samples, "create_ms": bench.create, "first_start_ms": bench.first, "clones": measure_clones(bench, options)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rt", default=os.path.join(TESTS, "../build/rt"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--what", default=",".join(KINDS))
    parser.add_argument("--with", dest="others", default="criu,runc")
    parser.add_argument("--clones", default="1,10,100")
    parser.add_argument("--ksm", action="store_true", help="clones with --merge, too")
    parser.add_argument("--json")
    options = parser.parse_args()
    if not os.environ.get("RT_SANDBOX"):
        os.execv(SANDBOX, [SANDBOX, "/usr/bin/python3", os.path.abspath(__file__), *sys.argv[1:], "--rt", os.path.abspath(options.rt)])
    everything, failed, began = {}, 0, time.monotonic()
    others = [name for name in filter(None, options.others.split(",")) if shutil.which(name)]
    print(f"{options.runs} rounds, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the beginning", flush=True)
    for kind in options.what.split(","):
        if not os.path.exists(KINDS[kind].wanted):
            print(f"{kind}: no {KINDS[kind].wanted} on this machine")
            continue
        bench = Bench(os.path.abspath(options.rt), kind, others)
        try:
            everything[kind] = measure(bench, options)
        except (SystemExit, OSError, subprocess.CalledProcessError) as e:
            print(f"{kind}: {e}", flush=True)
            failed += 1
        bench.clean()
        if options.json:
            with open(options.json, "w") as f:
                json.dump(everything, f, indent=1)
    print(f"{time.monotonic() - began:.0f} s in all")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
