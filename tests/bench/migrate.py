#!/usr/bin/python3
"""What a migration costs: rt between two hosts, against what there is without it, on the same link and in one run.

    tests/bench/migrate.py                        # all of it: an hour
    tests/bench/migrate.py --quick                # some minutes: fewer rounds, one link, the large ones left out
    tests/bench/migrate.py --only nginx,stream    # parts: nginx, idle, writes256, writes1024, cost, stream
    tests/bench/migrate.py --links none,1gbit     # unshaped, 1gbit, 100mbit

Hosts are those of tests/e2e/lib/hosts.py, in tests/setup/sandbox; the link between them is shaped by tc at both ends, and clients reach
the container past it. Downtime is what clients see: a new request every 2 ms, and the longest time without a reply ("new requests");
and, for redis, the longest time without an acknowledgement on one connection that is kept ("kept connection"). Candidates take turns, in
an order that changes. Medians, and least and most. On a shaped link runc's images and podman's exports go compressed by zstd, as rt's do of itself. Runs as root.
Prints Markdown.
"""

import argparse
import json
import mmap
import os
import random
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
SANDBOX = os.path.join(TESTS, "setup/sandbox")
WORK = "/run/tests"
sys.path[:0] = [HERE, os.path.join(TESTS, "e2e")]

MB = 1_000_000
LINKS = {"none": "unshaped", "1gbit": "1 Gbit/s", "100mbit": "100 Mbit/s"}
PARTS = {"nginx": ("nginx", 0, [0]), "idle": ("redis", 256, [0]), "writes256": ("redis", 256, [1, 10, 50]), "writes1024": ("redis", 1024, [1, 10, 50])}
MODES = ["auto", "pre-copy", "hybrid", "post-copy"]
CONNECTION_BUCKETS = 8192  # as docs/migration.md has it: a table of connections for each container, of any candidate (Linux 6.1)
MEMORY_TIMES, MEMORY_MIB = 2, 256  # of what the service has, and more, that is made ready before a move
SETTLE = 0.4  # seconds of service before and after
WARM, CALM = 2, 8  # seconds of writing as fast as it goes: until that is even, and what rounds are compared with


def have_memory(mib):
    """A virtual machine may have given what it does not use back to its host, and then takes ten times as long for a page. Who runs first
    would pay for all: so as much as a move takes is touched before each."""
    mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def shape(hosts, link):
    for host in hosts.made:
        host.run(["tc", "qdisc", "delete", "dev", "eth0", "root"], ok=None)
        if link != "none":
            host.run(["tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", link, "burst", "256k", "latency", "50ms"])


class Bench:
    def __init__(self, options):
        from lib import hosts
        os.makedirs(WORK + "/templates")
        self.options = options
        self.hosts = hosts.Hosts(WORK, WORK + "/templates").lan()
        self.results = []
        for host in self.hosts.made:
            host.run(["sysctl", "-qw", f"net.ipv4.tcp_child_ehash_entries={CONNECTION_BUCKETS}"], ok=None)

    def candidates(self, part, compressed):
        import movers
        found = {}
        modes = self.options.modes.split(",") if self.options.modes else ["auto", "stop"] if part == "nginx" else MODES
        for mode in modes:
            found["rt " + mode] = lambda mode=mode: movers.Rt(self.hosts, "--mode", mode)
        if part == "nginx":
            found["criu"] = lambda: movers.Criu(self.hosts)
        found["runc"] = lambda: movers.Runc(self.hosts, compressed)
        found["podman"] = lambda: movers.Podman(self.hosts, compressed)
        wanted = self.options.candidates
        return {name: make for name, make in found.items() if not wanted or any(w in name for w in wanted.split(","))}

    def sample(self, make, kind, mib, rate):
        """{"gap", "kept", "total", ...}: seconds."""
        import clients
        import movers
        from lib import proc
        mover, probe, writer = make(), None, None
        try:
            mover.start(kind, mib)
            proc.run(["ip", "neighbour", "flush", "dev", "lan0"])  # the one before had another MAC
            service = (movers.ADDRESS, *((80, clients.HTTP) if kind == "nginx" else (6379, clients.PING)))
            proc.eventually(lambda: clients.answers(*service), what=f"{kind} to answer")
            if isinstance(mover, movers.Criu):
                return mover.move()  # nobody is served
            have_memory(mib * MEMORY_TIMES + MEMORY_MIB)
            probe = clients.Probe(*service)
            writer = clients.Writer(movers.ADDRESS, mib, rate * MB) if rate else None
            time.sleep(SETTLE + (1 if rate else 0))
            began = time.monotonic()
            row = mover.move()
            ended = time.monotonic()
            time.sleep(SETTLE)
            replies = probe.end()
            row["gap"] = clients.longest_gap(replies, began, ended)
            calm = [when for when in replies if when < began]
            row["noise"] = max((b - a for a, b in zip(calm, calm[1:])), default=None)
            if writer:
                told = writer.end()
                row["kept"] = clients.longest_gap([when for when, _ in told["acknowledged"]], began, ended)
                row["broken"] = told["broken"]
                row["before"] = rate_of(told["acknowledged"], began - 1, began)
                row["during"] = rate_of(told["acknowledged"], began, began + first_freeze(row))
            return row
        finally:
            for client in (probe, writer):
                if client:
                    client.end()
            mover.remove()

    def is_late(self):
        return self.options.deadline and time.monotonic() > self.options.deadline

    def compare(self, part, link, rate):
        kind, mib, _ = PARTS[part]
        makers = self.candidates(part, link != "none")
        rows = {name: [] for name in makers}
        for number in range(self.options.rounds[link]):
            names = list(makers)
            random.shuffle(names)
            for name in names:
                if self.is_late():
                    break
                try:
                    row = self.sample(makers[name], kind, mib, rate)
                except Exception as e:  # noqa: BLE001: told, and the others go on
                    row = {"failed": f"{type(e).__name__}: {str(e)[-600:]}"}
                rows[name].append(row)
                print(f"<!-- {part} {link} {rate} {name} {number}: {brief(row)} -->", file=sys.stderr, flush=True)
        title = {"nginx": "nginx", "idle": "redis, 256 MiB, idle"}.get(part, f"redis, {mib} MiB, {rate} MB/s written")
        self.results.append({"part": part, "link": link, "rate": rate, "rows": rows})
        print(table(f"{title}; link {LINKS[link]}", rows, kept=rate > 0), flush=True)

    # What rounds take of a program that writes as fast as it can

    def cost(self):
        import clients
        import movers
        pairs = []
        for _ in range(self.options.rounds["cost"]):
            if pairs and self.is_late():
                break
            mover = movers.Rt(self.hosts, "--mode", "pre-copy", "--bandwidth", "32M", "--downtime", "1", "--max-rounds", "6")
            try:
                mover.start("redis", 256)
                have_memory(768)
                writer = clients.Writer(movers.ADDRESS, 256, 0)
                try:
                    time.sleep(WARM + CALM)
                    began = time.monotonic()
                    row = mover.move()
                finally:
                    told = writer.end()["acknowledged"]
                until = began + first_freeze(row)
                before, during = rate_of(told, began - CALM, began), rate_of(told, began + 0.3, until)
                pairs.append({"before": before, "during": during, "seconds": until - began, "rounds": row["done"]["rounds"],
                              "memory": row["done"]["memory"], "bytes": row["done"]["bytes"]})
                print(f"<!-- cost: {brief(pairs[-1])} -->", file=sys.stderr, flush=True)
            finally:
                mover.remove()
        self.results.append({"part": "cost", "rows": pairs})
        lost = [100 * (1 - p["during"] / p["before"]) for p in pairs]
        print(f"\n### What rounds take of redis (256 MiB, SETs of 4 KiB, 8 at a time, as fast as it goes; stream limited to 32 MB/s)\n\n"
              f"| | MB/s acknowledged |\n|---|---|\n| without rounds | {spread([p['before'] / MB for p in pairs], 0)} |\n"
              f"| during rounds | {spread([p['during'] / MB for p in pairs], 0)} |\n| lost, % (within a pair) | {spread(lost, 1)} |\n", flush=True)

    # The stream against a plain copy

    def stream(self):
        import movers
        own, plain, stored = [], [], []
        for _ in range(self.options.rounds["stream"]):
            if own and self.is_late():
                break
            have_memory(2048)
            plain.append(self.plain_copy(1 << 30, "discard 7002"))
            stored.append(self.plain_copy(1 << 30, f"receive 7002 >{WORK}/copy"))
            os.unlink(self.hosts.b.inside(f"{WORK}/copy"))
            mover = movers.Rt(self.hosts, "--mode", "pre-copy", "--compress", "none", "--parallel", str(self.options.parallel))
            try:
                mover.start("redis", 1024)
                have_memory(2048)
                row = mover.move()
            finally:
                mover.remove()
            first = next(e for e in row["events"] if e["event"] == "round")
            own.append(first["bytes"] / first["microseconds"])
            print(f"<!-- stream: {own[-1]:.0f} of {plain[-1]:.0f} MB/s, stored {stored[-1]:.0f} -->", file=sys.stderr, flush=True)
        self.results.append({"part": "stream", "own": own, "plain": plain, "stored": stored})

        def share(of):
            return spread([100 * a / b for a, b in zip(own, of)], 0)
        print(f"\n### The page stream (first round of redis with 1 GiB, uncompressed, {self.options.parallel} connections), and a plain TCP copy on the same link\n\n"
              f"| | MB/s |\n|---|---|\n| first round, read, digested, sent and stored | {spread(own, 0)} |\n| one TCP connection, from memory to nowhere | {spread(plain, 0)} |\n"
              f"| the same into a file on a tmpfs, which is where pages go, too | {spread(stored, 0)} |\n"
              f"| share of the first, of the second, % | {share(plain)}, {share(stored)} |\n", flush=True)

    def plain_copy(self, size, receiver):
        """MB/s."""
        argv = ["/usr/bin/python3", "-I", "-S", f"{HERE}/tcp.py"]
        a, b = self.hosts.a, self.hosts.b
        with subprocess.Popen([*b.enter, "sh", "-c", f"exec {' '.join(argv)} {receiver}"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as sink:
            assert sink.stderr.readline() == "ready\n"
            return size / MB / float(a.run([*argv, "zeros", b.address, "7002", size], timeout=300).out)

    def close(self):
        self.hosts.close()


def first_freeze(row):
    """Seconds from the start of a move until it freezes: rt's own word; others freeze at once."""
    done = row.get("done")
    return max(0.1, row["total"] - done["downtime"]["total"] / 1e6) if done else 0.1


def rate_of(acknowledged, since, until):
    """Bytes a second."""
    return sum(size for when, size in acknowledged if since <= when < until) / (until - since)


def spread(values, digits):
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def brief(row):
    return json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items() if k not in ("events", "acknowledged")})


def table(title, rows, kept):
    head = "| | downtime, ms: new requests |" + (" kept connection |" if kept else "") + " total, s | of the downtime, ms |"
    lines = [f"\n### {title}\n", head, "|---|---|" + ("---|" if kept else "") + "---|---|"]
    for name, all_rows in rows.items():
        good = [r for r in all_rows if "failed" not in r]
        unanswered = sum(r.get("gap") is None for r in good)
        words = [f"| {name} ", milliseconds(good, "gap")]
        words += [milliseconds(good, "kept") + (" (broke)" if any(r.get("broken") for r in good) else "")] if kept else []
        words += [spread([r["total"] for r in good], 2), parts(good)]
        lines.append(" | ".join(words) + " |" + (f" {len(all_rows) - len(good)} failed" if len(good) < len(all_rows) else "")
                     + (f" {unanswered} without a reply afterwards" if unanswered else ""))
    noise = [r["noise"] for all_rows in rows.values() for r in all_rows if r.get("noise")]
    lines.append(f"\nWithout a migration the longest time between two replies was {spread([1000 * n for n in noise], 0)} ms." if noise else "")
    return "\n".join(lines) + "\n"


def milliseconds(rows, key):
    return spread([1000 * r[key] for r in rows if r.get(key) is not None], 0)


def parts(rows):
    """The medians of what a mover says of itself."""
    if rows and rows[0].get("done"):
        names = ("freeze", "dump", "send", "restore", "resume")
        return f"{rows[0]['done']['mode']}: " + ", ".join(f"{n} {statistics.median(r['done']['downtime'][n] for r in rows) / 1000:.0f}" for n in names)
    return ", ".join(f"{n} {1000 * statistics.median(r[n] for r in rows):.0f}" for n in ("dump", "copy", "restore") if rows and n in rows[0])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rt", default=os.path.join(TESTS, "../build/rt"))
    parser.add_argument("--only", default="", help="parts, with commas: " + ", ".join([*PARTS, "cost", "stream"]))
    parser.add_argument("--links", help="with commas: " + ", ".join(LINKS))
    parser.add_argument("--rates", help="MB/s written, with commas")
    parser.add_argument("--rounds", default="", help="how many, or with commas for each link, cost and stream (none=5,1gbit=2,cost=8)")
    parser.add_argument("--modes", help="rt's modes, with commas")
    parser.add_argument("--candidates", default="", help="only those with one of these words (with commas) in their names")
    parser.add_argument("--parallel", type=int, default=2)
    parser.add_argument("--seconds", type=float, help="begin no further sample after this time; each of cost and stream has one")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", help="everything that was measured goes to this file")
    options = parser.parse_args()
    options.rounds = rounds_of(options.rounds or ("2" if options.quick else "7"))
    options.parts = options.only.split(",") if options.only else ["nginx", "idle", "writes256", "cost", "stream"] if options.quick else [*PARTS, "cost", "stream"]
    options.links = options.links.split(",") if options.links else ["none"] if options.quick else list(LINKS)
    options.rates = [int(r) for r in options.rates.split(",")] if options.rates else [10] if options.quick else None
    for given, known in ((options.parts, [*PARTS, "cost", "stream"]), (options.links, LINKS)):
        for word in given:
            if word not in known:
                parser.error(f"'{word}' is none of {', '.join(known)}")
    options.deadline = time.monotonic() + options.seconds if options.seconds else None
    return options


def rounds_of(words):
    """{link or part of its own: rounds}"""
    counted = [*LINKS, "cost", "stream"]
    if words.isdigit():
        return dict.fromkeys(counted, int(words))
    return dict.fromkeys(counted, 1) | {name: int(rounds) for name, rounds in (word.split("=") for word in words.split(","))}


def main():
    options = arguments()
    if not os.environ.get("RT_SANDBOX"):
        os.environ["RT_SANDBOX"] = "1"
        os.execv(SANDBOX, [SANDBOX, "/usr/bin/python3", os.path.abspath(__file__), *sys.argv[1:]])
    os.environ["RT"] = os.path.abspath(options.rt)
    bench = Bench(options)
    try:
        for link in options.links:
            shape(bench.hosts, link)
            for part in [p for p in options.parts if p in PARTS]:
                for rate in (options.rates if options.rates and PARTS[part][2] != [0] else PARTS[part][2]):
                    bench.compare(part, link, rate)
        shape(bench.hosts, "none")
        for part in [p for p in options.parts if p not in PARTS]:
            getattr(bench, part)()
    finally:
        bench.close()
        if options.json:
            with open(options.json, "w") as f:
                json.dump(bench.results, f, indent=1)


if __name__ == "__main__":
    main()
