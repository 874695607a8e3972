#!/usr/bin/python3
"""What a checkpoint and a restore cost: rt against bare CRIU on the same tree, and against runc.

    tests/bench/checkpoint.py [--rt build/rt] [--runs N] [--seconds S] [--what tiny,redis64,...] [--check] [--json FILE]

Every round takes each candidate once, in an order that changes: it starts the container with `rt` (runc's own with runc), which is
then dumped and restored by the candidate; ratios are taken within a round. "criu" is the program on the command line, told the
same external mounts and options as `rt` tells its worker, in a mount namespace made beforehand. Wall times are of the commands; "frozen" is CRIU's own
figure (stats-dump). Images go to a tmpfs, as does CRIU's cache of the kernel. Runs as root, in tests/setup/sandbox.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
SANDBOX = os.path.join(TESTS, "setup/sandbox")
sys.path.insert(0, os.path.join(TESTS, "e2e"))

from lib import config as configs  # noqa: E402
from lib import rootfs  # noqa: E402

WORK = "/run/bench"
MIB = 1 << 20
DEBUGGABLE = ["--enable-debug-command", "yes"]  # DEBUG POPULATE fills it
KINDS = {"tiny": ("busybox", 0), "nginx": ("nginx", 0), "redis64": ("redis", 64), "redis256": ("redis", 256), "redis1024": ("redis", 1024)}


def call(*words, **how):
    done = subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          close_fds=True, text=True, check=False, **how)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


def timed(*words):
    """Milliseconds a command takes. Its streams are /dev/null: the container holds them, and runc cannot dump one on a file."""
    with open(os.devnull, "r+") as null:
        began = time.monotonic()
        done = subprocess.run(list(map(str, words)), stdin=null, stdout=null, stderr=null, close_fds=True, check=False)
        took = (time.monotonic() - began) * 1000
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}: {done.returncode}")
    return took


class Bench:
    def __init__(self, rt):
        self.rt = [rt, "--root", f"{WORK}/rt"]
        self.runc = ["runc", "--root", f"{WORK}/runc"]
        os.makedirs(f"{WORK}/templates")
        os.makedirs(f"{WORK}/image-mount")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", f"{WORK}/image-mount"], check=True)

    def bundle(self, kind):
        path = f"{WORK}/{kind}"
        if not os.path.isdir(path):
            os.makedirs(path)
            base = KINDS[kind][0]
            rootfs.make(base, f"{path}/rootfs", f"{WORK}/templates")
            if base == "nginx":
                serve_as_root(f"{path}/rootfs/etc/nginx/nginx.conf")
            config = configs.default(rootfs.COMMANDS[base] + (DEBUGGABLE if base == "redis" else []))
            configs.drop_namespace(config, "cgroup")  # Debian's runc does not restore it
            config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
            with open(f"{path}/config.json", "w") as f:
                json.dump(config, f)
        return path

    def start(self, runtime, kind):
        timed(*runtime, "run", "--detach", "--bundle", self.bundle(kind), "c")
        mib = KINDS[kind][1]
        if kind == "nginx":
            pid = json.loads(call(*runtime, "state", "c"))["pid"]
            fetch = ["nsenter", "--net", "--target", str(pid), "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/hello"]
            for _ in range(100):
                if subprocess.run(fetch, capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.05)
        if mib:
            for _ in range(100):
                if subprocess.run([*runtime, "exec", "c", "redis-cli", "ping"], capture_output=True, check=False).stdout == b"PONG\n":
                    break
                time.sleep(0.05)
            said = call(*runtime, "exec", "c", "redis-cli", "debug", "populate", mib * MIB // 10000, "k", "10000")
            if said != "OK\n":
                raise SystemExit(f"redis: {said}")
        return json.loads(call(*runtime, "state", "c"))["pid"]

    def images(self):
        path = f"{WORK}/image-mount/images"
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        return path

    def frozen(self, images):
        document = json.loads(call(self.rt[0], "checkpoint", "--format", "json", "inspect", images))
        return document["timings"]["dump"]["frozen_us"] / 1000

    def sample(self, name, kind):
        return getattr(self, name)(kind)

    def rt_(self, kind):
        self.start(self.rt, kind)
        images = self.images()
        dump = timed(*self.rt, "checkpoint", "--image-path", images, "c")
        frozen = self.frozen(images)
        restore = timed(*self.rt, "restore", "--detach", "--bundle", self.bundle(kind), "--image-path", images, "c")
        call(*self.rt, "delete", "--force", "c")
        return {"dump": dump, "restore": restore, "frozen": frozen}

    def runc_(self, kind):
        self.start(self.runc, kind)
        images = self.images()
        dump = timed(*self.runc, "checkpoint", "--image-path", images, "--work-path", images, "c")
        frozen = self.frozen(images)
        restore = timed(*self.runc, "restore", "--detach", "--bundle", self.bundle(kind), "--image-path", images, "--work-path",
                        images, "c")
        call(*self.runc, "delete", "--force", "c")
        return {"dump": dump, "restore": restore, "frozen": frozen}

    def criu_(self, kind):
        pid = self.start(self.rt, kind)
        root = f"{self.bundle(kind)}/rootfs"
        images = self.images()
        masks = [m for m in configs.MASKED if os.path.isfile(m)]
        common = ["--images-dir", images, "--root", root, "--manage-cgroups=soft", "--network-lock", "nftables", "-v4",
                  "--empty-ns", "net"]
        dump = timed("criu", "dump", "--tree", pid, *common, "--log-file", "dump.log", "--freeze-cgroup", freezer(pid),
                     *[word for m in masks for word in ("--external", f"mnt[{m}]:{m}")])
        frozen = self.frozen(images)
        call(*self.rt, "delete", "--force", "c")
        command = ["criu", "restore", *common, "--log-file", "restore.log", "--restore-detached", "--pidfile", f"{images}/pid",
                   *[word for m in masks for word in ("--external", f"mnt[{m}]:/dev/null")]]
        restore = timed("unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$0" && exec "$@"', root, *command)
        with open(f"{images}/pid") as f:
            os.kill(int(f.read()), 9)
        remove_cgroups("c")
        return {"dump": dump, "restore": restore, "frozen": frozen}


def serve_as_root(path):
    """CRIU needs CAP_SYS_RESOURCE for workers of another user; and its log is no file of the host, for runc."""
    with open(path, "r+") as f:
        text = f.read().replace("/dev/stderr", "stderr").replace("worker_processes 2;", "worker_processes 2; user root;")
        f.seek(0)
        f.write(text)
        f.truncate()


def freezer(pid):
    with open(f"/proc/{pid}/cgroup") as f:
        for line in f:
            _, controllers, path = line.strip().split(":", 2)
            if "freezer" in controllers.split(","):
                return f"/sys/fs/cgroup/freezer{path}"
    return f"/sys/fs/cgroup{path}"


def remove_cgroups(name):
    """Those CRIU made; they are empty once the process is gone."""
    deadline = time.monotonic() + 10
    for hierarchy in os.listdir("/sys/fs/cgroup"):
        path = f"/sys/fs/cgroup/{hierarchy}/{name}"
        while os.path.isdir(path) and time.monotonic() < deadline:
            try:
                os.rmdir(path)
            except OSError:
                time.sleep(0.01)


def middle(values):
    ordered = sorted(values)
    return f"{statistics.median(ordered):8.1f} ({ordered[len(ordered) // 4]:.1f}-{ordered[(3 * len(ordered)) // 4]:.1f})"


def report(kind, samples):
    print(f"\n{kind:12} {'checkpoint ms':>26} {'frozen ms':>24} {'restore ms':>26}")
    for name, rows in samples.items():
        print(f"  {name:10} " + " ".join(f"{middle([row[k] for row in rows]):>25}" for k in ("dump", "frozen", "restore")))
    missed = []
    for figure in ("dump", "restore"):
        own = statistics.median(row[figure] for row in samples["rt"])
        bare = statistics.median(row[figure] for row in samples["criu"])
        if own > bare + max(10, bare * 0.05):
            missed.append(f"{kind}: {figure} takes {own - bare:.1f} ms more than bare CRIU's {bare:.1f}")
        if kind == "tiny" and "runc" in samples:
            other = statistics.median(row[figure] for row in samples["runc"])
            if own * 3 > other:
                missed.append(f"{kind}: {figure} takes {own:.1f} ms, runc's {other:.1f}")
    return missed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rt", default=os.path.join(TESTS, "../build/rt"))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=120, help="for each kind; rounds not begun by then are left out")
    parser.add_argument("--what", default=",".join(KINDS))
    parser.add_argument("--with", dest="others", default="criu,runc")
    parser.add_argument("--json")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if not os.environ.get("RT_SANDBOX"):
        os.environ["RT_SANDBOX"] = "1"
        options_rt = os.path.abspath(options.rt)
        os.execv(SANDBOX, [SANDBOX, "/usr/bin/python3", os.path.abspath(__file__), *sys.argv[1:], "--rt", options_rt])
    bench = Bench(os.path.abspath(options.rt))
    everything, missed = {}, []
    for kind in options.what.split(","):
        names = ["rt", *options.others.split(",")]
        samples = {name: [] for name in names}
        began = time.monotonic()
        for round_number in range(options.runs + 1):
            if round_number > 1 and time.monotonic() - began > options.seconds:
                print(f"{kind}: {round_number - 1} rounds, then the time was up")
                break
            random.shuffle(names)
            for name in names:
                row = bench.sample(name + "_", kind)
                if round_number:  # the first warms up
                    samples[name].append(row)
        missed += report(kind, samples)
        everything[kind] = samples
    for line in missed:
        print(line)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(everything, f, indent=1)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
