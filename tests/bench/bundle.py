#!/usr/bin/python3
"""What making a bundle costs: `rt bundle create` against `umoci unpack` on the same image.

    tests/bench/bundle.py [--rt build/rt] [--runs N] [--mib 200] [--work DIR] [--check] [--json FILE]

The image is a layout with one gzipped layer of files of this machine's distribution (/usr/share, /usr/lib), at least --mib MiB, and a
second one with a whiteout. Every round takes each candidate once, in an order that changes, into a fresh directory below --work (default:
a tmpfs of its own, where the kernel has least to say); ratios are taken within a round. Memory is the peak of the largest process. The
trees must be the same. umoci also writes an mtree of what it unpacked, which it can't be told not to. Runs as root.
"""

import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TESTS, "e2e"))

from lib import image  # noqa: E402

TREES = ("usr/share/perl", "usr/lib/python3", "usr/share/zoneinfo", "usr/share/man", "usr/share/doc", "usr/lib/git-core",
         "usr/share/locale", "usr/share/i18n", "usr/bin", "usr/lib/x86_64-linux-gnu", "usr/share")
MIB = 1 << 20


def gather(mib, work):
    """A tar of whole directories, until there is enough: its bytes, and the files in it."""
    taken, size = [], 0
    for tree in TREES:
        if size < mib * MIB and os.path.isdir("/" + tree):
            taken.append(tree)
            size += int(subprocess.run(["du", "-s", "-x", "-b", "/" + tree], capture_output=True, text=True, check=False).stdout.split()[0])
    path = f"{work}/layer.tar"
    subprocess.run(["tar", "--numeric-owner", "--sort=name", "--one-file-system", "-C", "/", "-cf", path, *taken], check=False,
                   stderr=subprocess.DEVNULL)
    listing = subprocess.run(["tar", "-tf", path], capture_output=True, check=True).stdout
    return image.contents(path), listing.count(b"\n")


def make_image(mib, work):
    data, files = gather(mib, work)
    second = image.layer(image.file("usr/share/zoneinfo/.wh.Europe"), image.directory("new"), image.file("new/file", b"x"))
    path = image.layout(f"{work}/image", data, second, tag="bench", pack=lambda d: gzip.compress(d, 6))
    os.unlink(f"{work}/layer.tar")
    return path, len(data), files


class Measure:
    """Through measure.c: a child's peak memory would begin at that of this script."""

    def __init__(self, work):
        self.program = f"{work}/measure"
        subprocess.run(["cc", "-O2", "-o", self.program, f"{HERE}/measure.c"], check=True)

    def __call__(self, words):
        done = subprocess.run([self.program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.returncode}")
        cost = json.loads(done.stdout.splitlines()[-1])
        return {"seconds": cost["wall"] / 1e9, "cpu": (cost["user"] + cost["system"]) / 1e9, "mib": cost["kib"] / 1024}


def describe(values):
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:8.2f} ({low:.2f}-{high:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rt", default=os.path.join(TESTS, "../build/rt"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--work")
    parser.add_argument("--json")
    parser.add_argument("--check", action="store_true", help="fail where rt is slower, or takes more memory")
    options = parser.parse_args()
    umoci = shutil.which("umoci")
    if not umoci:
        raise SystemExit("no umoci on this machine")
    samples = {"rt": [], "umoci": []}
    if not options.work:
        # In a mount namespace of its own, it ends with this process.
        if not os.environ.get("RT_BENCH_MOUNTED"):
            os.environ["RT_BENCH_MOUNTED"] = "1"
            os.execvp("unshare", ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=3g tmpfs /mnt && exec "$@"', "sh",
                                  "/usr/bin/python3", os.path.abspath(__file__), *sys.argv[1:], "--work", "/mnt"])
    with tempfile.TemporaryDirectory(prefix="rt-bench-", dir=options.work) as work:
        path, size, files = make_image(options.mib, work)
        measure = Measure(work)
        for round_number in range(options.runs):
            names = list(samples)
            random.shuffle(names)
            for name in names:
                place = f"{work}/{name}"
                words = {"rt": [os.path.abspath(options.rt), "bundle", "create", f"{path}:bench", place],
                         "umoci": [umoci, "unpack", "--image", f"{path}:bench", place]}[name]
                samples[name].append(measure(words))
            if round_number == 0:
                told = image.differences(image.tree(f"{work}/rt/rootfs"), image.tree(f"{work}/umoci/rootfs"),
                                         ignore=["mtime"])  # of parents that no entry names
                if told:
                    raise SystemExit("the trees differ:\n" + "\n".join(told[:20]))
            for name in names:
                subprocess.run(["rm", "-rf", f"{work}/{name}"], check=True)
    print(f"{size / MIB:.0f} MiB in {files} files, {options.runs} rounds, medians and the middle half")
    for name, rows in samples.items():
        print(f"{name:6} {describe([r['seconds'] for r in rows])} s  {describe([r['cpu'] for r in rows])} s of processor  "
              f"{describe([r['mib'] for r in rows])} MiB")
    ratio = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(samples["rt"], samples["umoci"]))
    print(f"umoci takes {ratio:.1f} times as long")
    if options.json:
        with open(options.json, "w") as f:
            json.dump(samples, f, indent=1)
    worse = any(statistics.median(r[k] for r in samples["rt"]) > statistics.median(r[k] for r in samples["umoci"]) for k in ("seconds", "mib"))
    return 1 if options.check and worse else 0


if __name__ == "__main__":
    sys.exit(main())
