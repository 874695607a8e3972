#!/usr/bin/python3
"""What starting a container costs: rt against crun, runc, and the least the kernel allows.

    tests/bench/start.py [--rt build/rt] [--runs N] [--json FILE] [--check] ...

Every round runs every candidate once on the same bundle, in an order that changes, so that
whatever else the machine does falls on all alike; ratios are taken within a round. Between two
samples there is a pause: back to back, the kernel leaves a lock of the cgroup code in the mode
in which the start before needed it, and hides the largest cost there is (docs/performance.md).

Measured are `start` (create, start, the end of the process, delete), `run` (one command) and
`exec` (in a running container), each of a static program that returns at once. "floor" is
floor.c: the same kernel calls by the shortest way, in one process. Runs as root; everything
happens in tests/setup/sandbox.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
SANDBOX = os.path.join(TESTS, "setup/sandbox")
sys.path.insert(0, os.path.join(TESTS, "e2e"))

from lib import config as configs  # noqa: E402

# What the project promises; --check fails where one does not hold. (who, of what, at most)
AIMS = [("crun", "wall", 0.5), ("floor", "wall", 1.5), ("crun", "kib", 1.0)]
TRUE = "int main(void) { return 0; }\n"
WAIT = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


def compile_c(destination, *sources):
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-o", destination,
                    *sources], check=True)


class Bench:
    """The programs, the bundles, and one sample at a time."""

    def __init__(self, work, runtimes):
        self.work = work
        self.runtimes = runtimes  # name -> absolute path
        self.measure = f"{work}/measure"
        self.floor = f"{work}/floor"
        self.number = 0
        compile_c(self.measure, f"{HERE}/measure.c")
        compile_c(self.floor, *[f"{HERE}/{f}" for f in sorted(os.listdir(HERE))
                                if f.startswith("floor") and f.endswith(".c")])
        self.make_rootfs()
        self.write_bundle("true")
        self.write_bundle("wait")

    def make_rootfs(self):
        root = f"{self.work}/rootfs"
        for directory in ("bin", "dev", "proc", "sys", "etc"):
            os.makedirs(f"{root}/{directory}")
        for name, text in (("true", TRUE), ("wait", WAIT)):
            source = f"{self.work}/{name}.c"
            with open(source, "w") as f:
                f.write(text)
            compile_c(f"{root}/bin/{name}", source)

    def write_bundle(self, program):
        config = configs.default([f"/bin/{program}"])
        config["root"] = {"path": f"{self.work}/rootfs", "readonly": True}
        config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]
        os.makedirs(f"{self.work}/{program}")
        with open(f"{self.work}/{program}/config.json", "w") as f:
            json.dump(config, f)

    def command(self, name, *words):
        return [self.runtimes[name], "--root", f"{self.work}/state-{name}", *words]

    def sample(self, argv):
        done = subprocess.run([self.measure, *argv], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                              close_fds=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode().strip()}")
        found = json.loads(done.stdout)
        found["cpu"] = found["user"] + found["system"]
        return found

    def forget(self, name):
        """Drops a runtime that does not run here, and what its attempt may have left."""
        for id in (f"s{self.number}", f"r{self.number}"):
            subprocess.run(self.command(name, "delete", "--force", id), check=False,
                           stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        del self.runtimes[name]

    def start(self, name):
        if name == "floor":
            return self.sample([self.floor, f"{self.work}/rootfs", "/bin/true"])
        self.number += 1
        id = f"s{self.number}"
        bundle = ["--bundle", f"{self.work}/true"]
        return self.sample(["--wait-for-orphan=2",
                            *self.command(name, "create", *bundle, id), ";",
                            *self.command(name, "start", id), ";",
                            *self.command(name, "delete", id)])

    def run(self, name):
        if name == "floor":
            return self.start(name)
        self.number += 1
        return self.sample(self.command(name, "run", "--bundle", f"{self.work}/true",
                                        f"r{self.number}"))

    def exec(self, name):
        if name == "floor":
            return self.sample([self.floor, f"--exec={self.pid}", "/", "/bin/true"])
        return self.sample(self.command(name, "exec", f"e-{name}", "/bin/true"))

    @contextlib.contextmanager
    def containers_to_enter(self):
        """One of each runtime; the floor enters the last one's."""
        started = []
        pid_file = f"{self.work}/pid"
        try:
            for name in self.runtimes:
                subprocess.run(self.command(name, "run", "--detach", "--pid-file", pid_file,
                                            "--bundle", f"{self.work}/wait", f"e-{name}"),
                               check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                started.append(name)
            with open(pid_file) as f:
                self.pid = int(f.read())
            yield
        finally:
            for name in started:
                subprocess.run(self.command(name, "delete", "--force", f"e-{name}"), check=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def collect(bench, what, names, runs, pause):
    """{name: [sample, ...]}, sample i of every name from the same round. A runtime that fails
    the first time (crun 1.8 without CAP_SYS_RESOURCE on cgroup2) is left out, saying so."""
    one = getattr(bench, what)
    samples = {}
    for name in names:
        try:
            one(name)  # the first of each fills caches, and is not counted
            samples[name] = []
        except RuntimeError as e:
            if name in ("floor", "rt"):
                raise
            print(f"{name}: left out, it does not run here: {e}", file=sys.stderr)
            bench.forget(name)
    names = list(samples)
    for _ in range(runs):
        for name in random.sample(names, len(names)):
            time.sleep(pause)
            samples[name].append(one(name))
    return samples


def spread(values):
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"median": statistics.median(ordered), "q1": ordered[round(last * 0.25)],
            "q3": ordered[round(last * 0.75)], "min": ordered[0], "max": ordered[-1]}


def summarize(samples):
    """Per candidate the figures, and of rt the ratio to every other, round by round."""
    summary = {"figures": {}, "ratios": {}}
    for name, found in samples.items():
        summary["figures"][name] = {key: spread([s[key] for s in found])
                                    for key in ("wall", "cpu", "kib", "faults", "switches")}
        if found[0].get("steps", [])[1:]:
            summary["figures"][name]["steps"] = [
                spread([s["steps"][i] for s in found]) for i in range(len(found[0]["steps"]))]
    for name in samples:
        if name != "rt" and "rt" in samples:
            summary["ratios"][name] = {
                key: spread([mine[key] / theirs[key]
                             for mine, theirs in zip(samples["rt"], samples[name])])
                for key in ("wall", "cpu", "kib") if all(s[key] for s in samples[name])}
    return summary


def missed_aims(results):
    missed = []
    for what, summary in results.items():
        for other, key, most in AIMS:
            ratio = summary["ratios"].get(other, {}).get(key)
            if ratio and ratio["median"] > most:
                missed.append(f"{what}: {key} is {ratio['median']:.2f} of {other}'s, "
                              f"and should be at most {most}")
    return missed


def print_table(what, summary):
    print(f"\n{what:22}{'wall ms':>9}  {'middle half':>15}{'cpu ms':>9}{'peak KiB':>10}"
          f"{'faults':>8}   steps ms")
    for name, f in sorted(summary["figures"].items(), key=lambda x: x[1]["wall"]["median"]):
        wall, cpu = f["wall"], f["cpu"]
        steps = " + ".join(f"{s['median'] / 1e6:.2f}" for s in f.get("steps", []))
        print(f"  {name:20}{wall['median'] / 1e6:9.2f}  {wall['q1'] / 1e6:7.2f}-"
              f"{wall['q3'] / 1e6:<7.2f}{cpu['median'] / 1e6:9.2f}{f['kib']['median']:10.0f}"
              f"{f['faults']['median']:8.0f}   {steps}")
    for name, ratios in summary["ratios"].items():
        told = ", ".join(f"{key} {r['median']:.2f} ({r['q1']:.2f}-{r['q3']:.2f})"
                         for key, r in ratios.items())
        print(f"  rt / {name:15} {told}")


def parse():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--rt", default=os.environ.get("RT", f"{TESTS}/../build/rt"))
    p.add_argument("--with", dest="others", default="crun,runc",
                   help="what to compare with, names or name=path, comma separated")
    p.add_argument("--what", default="start,run,exec")
    p.add_argument("--runs", type=int, default=40)
    p.add_argument("--pause", type=float, default=40, help="ms between samples (default 40)")
    p.add_argument("--cgroups", choices=("v1", "v2"), default=None,
                   help="v1: without the v2 part of a hybrid machine, which crun 1.8 refuses; "
                        "v2: cgroup2 alone (default: v1 where the machine has it)")
    p.add_argument("--json", metavar="FILE", help="write everything there ('-': stdout)")
    p.add_argument("--check", action="store_true", help="exit with 1 where an aim is missed")
    return p.parse_args()


def enter_sandbox(options):
    """Comes back only inside."""
    if os.environ.get("RT_SANDBOX"):
        return
    if os.geteuid() != 0:
        sys.exit("start.py: must be root")
    v2 = options.cgroups == "v2" or not os.path.isdir("/sys/fs/cgroup/devices")
    os.execv(SANDBOX, [SANDBOX, *(["--cgroup2"] if v2 else []), sys.executable, "-B", __file__,
                       *sys.argv[1:]])


def find_runtimes(options):
    found = {}
    wanted = [("rt", options.rt)] if options.rt else []
    wanted += [(w.partition("=")[0], w.partition("=")[2] or w.partition("=")[0])
               for w in options.others.split(",") if w]
    for name, path in wanted:
        path = shutil.which(path)
        if path:
            found[name] = os.path.abspath(path)
        else:
            print(f"{name}: not on this machine, left out", file=sys.stderr)
    return found


def main():
    options = parse()
    enter_sandbox(options)
    if os.path.ismount("/sys/fs/cgroup/unified"):
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)
    runtimes = find_runtimes(options)
    results, everything = {}, {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/run") as work:
        bench = Bench(work, runtimes)
        for what in options.what.split(","):
            names = ["floor", *bench.runtimes]
            entered = bench.containers_to_enter() if what == "exec" else contextlib.nullcontext()
            with entered:
                everything[what] = collect(bench, what, names, options.runs,
                                           options.pause / 1000)
            results[what] = summarize(everything[what])
            if options.json != "-":
                print_table(what, results[what])
    missed = missed_aims(results)
    if options.json:
        out = {"runs": options.runs, "pause_ms": options.pause, "kernel": os.uname().release,
               "runtimes": runtimes, "summary": results, "samples": everything,
               "missed": missed}
        with (sys.stdout if options.json == "-" else open(options.json, "w")) as f:
            json.dump(out, f, indent=1)
            f.write("\n")
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
