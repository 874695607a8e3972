#!/usr/bin/python3
"""From the command to the first correct reply of a server: started cold, from a snapshot, by bare CRIU from images of the same.

    tests/bench/faststart.py [--rt build/rt] [--runs N] [--what nginx,redis,python,node,jvm] [--clones 1,10] [--json FILE]

Every round takes each candidate once, in an order that changes. "snapshot" is `rt run --detach --from-snapshot` after one start that is not counted (it brings the
snapshot into memory); "criu" is `criu restore` in a mount namespace made beforehand, told the same external mounts; both at rest otherwise. Afterwards clones
are started with --count: the time for all to be running, and their memory (PSS, all processes, once all pages are where they belong). The servers are the
machine's packages; what is not installed is left out. Runs as root, in tests/setup/sandbox.
"""

import argparse
import ctypes
import json
import os
import random
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
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

PYTHON = """
import asyncio, concurrent.futures, ctypes, decimal, email.mime.multipart, http.server, json, logging.config, multiprocessing, pydoc, sqlite3, ssl, statistics
import unittest.mock, urllib.request, xml.dom.minidom, xml.etree.ElementTree, xmlrpc.client, zipfile, wsgiref.simple_server
import pytest, _pytest.assertion.rewrite, _pytest.doctest, _pytest.junitxml, _pytest.pytester
table = {str(i): [i] * 8 for i in range(200000)}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello " + str(len(table)).encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 80), Handler).serve_forever()
"""
NODE = """
const crypto = require('crypto'), zlib = require('zlib'), http = require('http'), table = new Map();
for (let i = 0; i < 200000; i++) table.set('k' + i, { i, s: 'x' + i });
http.createServer((q, r) => r.end('hello ' + table.size)).listen(80, '127.0.0.1');
"""
JVM = """
import com.sun.net.httpserver.*; import java.util.*; import java.util.regex.*;
public class Server {
  static final Map<String, Integer> table = new HashMap<>();
  public static void main(String[] a) throws Exception {
    for (int i = 0; i < 200000; i++) table.put("k" + i, i);
    HttpServer s = HttpServer.create(new java.net.InetSocketAddress("127.0.0.1", 80), 0);
    s.createContext("/", e -> { long sum = 0; for (int i = 0; i < 2000; i++) sum += table.get("k" + i * 7);
      byte[] b = ("hello " + Pattern.compile("[0-9]+").matcher("" + sum).matches()).getBytes(); e.sendResponseHeaders(200, b.length); e.getResponseBody().write(b); e.close(); });
    s.start();
  }
}
"""
GET = b"GET /hello HTTP/1.0\r\n\r\n"
# kind: (root filesystem, arguments, port, request, what the reply must have, requests before the snapshot, program that must be there)
KINDS = {
    "nginx": ("nginx", None, 80, GET, b"200 OK", 5, "nginx"),
    "redis": ("redis", None, 6379, b"GET key:0\r\n", b"$", 5, "redis-server"),
    "python": ("busybox", ["/usr/bin/python3", "/app/server.py"], 80, GET, b"hello 200000", 20, "python3"),
    "node": ("busybox", ["/usr/bin/node", "/app/server.js"], 80, GET, b"hello 200000", 500, "node"),
    "jvm": ("busybox", ["/usr/bin/java", "-XX:-UsePerfData", "-XX:+UseSerialGC", "-Xmx256m", "-cp", "/app", "Server"], 80, GET, b"hello true", 3000, "javac"),
}


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
    _, _, port, request, want, _, _ = KINDS[kind]

    def work():
        deadline = time.monotonic() + 60
        for _ in range(times):
            while True:
                try:
                    ask(port, request, want)
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
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total / 1024


class Bench:
    def __init__(self, rt, kind):
        self.rt = [rt, "--root", f"{WORK}/rt"]
        self.kind = kind
        self.bundle = f"{WORK}/{kind}"
        self.store = ["--store", f"{WORK}/store"]
        os.makedirs(f"{WORK}/templates", exist_ok=True)
        self.binds = []
        self.make_bundle()

    def make_bundle(self):
        base, args = KINDS[self.kind][:2]
        os.makedirs(self.bundle)
        root = f"{self.bundle}/rootfs"
        rootfs.make(base, root, f"{WORK}/templates")
        config = configs.default(args or rootfs.COMMANDS[base] + (["--enable-debug-command", "yes", "--save", ""] if base == "redis" else []))
        if base == "nginx":
            serve_as_root(f"{root}/etc/nginx/nginx.conf")
        if base == "busybox":
            for name in ("lib", "lib64"):
                os.symlink(f"usr/{name}", f"{root}/{name}")
            self.binds = ["/usr", "/etc"]
            config["mounts"] += [configs.bind(path, path, "ro") for path in self.binds]
            os.mkdir(f"{root}/app")
            for name, text in (("server.py", PYTHON), ("server.js", NODE), ("Server.java", JVM)):
                with open(f"{root}/app/{name}", "w") as f:
                    f.write(text)
            if self.kind == "jvm":
                call("javac", "-d", f"{root}/app", f"{root}/app/Server.java")
        configs.drop_namespace(config, "cgroup")
        config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
        config["linux"]["cgroupsPath"] = "/c"
        with open(f"{self.bundle}/config.json", "w") as f:
            json.dump(config, f)

    def pid(self, id="c"):
        return json.loads(call(*self.rt, "state", id))["pid"]

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

    def begin(self):
        detached(*self.rt, "run", "--detach", "--bundle", self.bundle, "c")
        if self.kind == "redis":
            in_network(self.pid(), lambda: None)
            for _ in range(200):
                if subprocess.run([*self.rt, "exec", "c", "redis-cli", "ping"], capture_output=True, check=False).stdout == b"PONG\n":
                    break
                time.sleep(0.02)
            call(*self.rt, "exec", "c", "redis-cli", "debug", "populate", 256 * (1 << 20) // 10000, "key", "10000")
        until_reply(self.pid(), self.kind)

    def end(self, id="c"):
        call(*self.rt, "delete", "--force", id)

    def prepare(self):
        """The snapshot, images for CRIU, and what is made once."""
        self.begin()
        until_reply(self.pid(), self.kind, KINDS[self.kind][5])
        began = time.monotonic()
        call(*self.rt, "snapshot", "create", *self.store, "--leave-running", "c", self.kind)
        self.create = (time.monotonic() - began) * 1000
        self.criu_dump(self.pid())
        self.end()
        began = time.monotonic()
        self.snapshot()
        self.first = (time.monotonic() - began) * 1000
        self.until_all_memory_is_there("c")
        self.end()

    def externals(self, restore):
        masks = [m for m in configs.MASKED if os.path.isfile(m)]
        words = [f"mnt[{m}]:{'/dev/null' if restore else m}" for m in masks] + [f"mnt[{b}]:{b}" for b in self.binds]
        return [part for word in words for part in ("--external", word)]

    def criu_common(self):
        return ["--images-dir", f"{WORK}/images-{self.kind}", "--root", f"{self.bundle}/rootfs", "--manage-cgroups=soft", "--network-lock", "nftables",
                "--empty-ns", "net"]

    def criu_dump(self, pid):
        os.makedirs(f"{WORK}/images-{self.kind}")
        call("criu", "dump", "--tree", pid, *self.criu_common(), "--log-file", "dump.log", "--freeze-cgroup", freezer(pid), "--leave-running",
             *self.externals(False))

    # The candidates: seconds to the first correct reply

    def cold(self):
        began = time.monotonic()
        self.begin()
        return time.monotonic() - began

    def snapshot(self):
        began = time.monotonic()
        detached(*self.rt, "run", "--detach", "--from-snapshot", self.kind, *self.store, "c")
        until_reply(self.pid(), self.kind)
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
        took = getattr(self, name)() * 1000
        if name == "criu":
            os.kill(self.criu_pid, 9)
            remove_cgroups("c")
        else:
            self.end()
        return took

    def clones(self, count):
        ids = [f"n-{i}" for i in range(1, count + 1)]
        began = time.monotonic()
        detached(*self.rt, "run", "--detach", "--from-snapshot", self.kind, *self.store, "--count", count, "n")
        running = time.monotonic() - began
        for id in ids:
            until_reply(self.pid(id), self.kind)
        replied = time.monotonic() - began
        for id in ids:
            self.until_all_memory_is_there(id)
        memory = [pss(self.pids(id)) for id in ids]
        for id in ids:
            self.end(id)
        return {"count": count, "running_ms": running * 1000, "replied_ms": replied * 1000, "pss_mib_each": statistics.mean(memory)}

    def clean(self):
        call(*self.rt, "snapshot", "rm", *self.store, self.kind)
        call(*self.rt, "snapshot", "gc", *self.store)
        shutil.rmtree(f"{WORK}/images-{self.kind}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rt", default=os.path.join(TESTS, "../build/rt"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--what", default=",".join(KINDS))
    parser.add_argument("--clones", default="1,10")
    parser.add_argument("--json")
    options = parser.parse_args()
    if not os.environ.get("RT_SANDBOX"):
        os.execv(SANDBOX, [SANDBOX, "/usr/bin/python3", os.path.abspath(__file__), *sys.argv[1:], "--rt", os.path.abspath(options.rt)])
    everything = {}
    for kind in options.what.split(","):
        if not shutil.which(KINDS[kind][6]):
            print(f"{kind}: no {KINDS[kind][6]} on this machine")
            continue
        bench = Bench(os.path.abspath(options.rt), kind)
        bench.prepare()
        names = ["cold", "snapshot", "criu"]
        samples = {name: [] for name in names}
        for _ in range(options.runs):
            random.shuffle(names)
            for name in names:
                samples[name].append(bench.sample(name))
        medians = {name: statistics.median(rows) for name, rows in samples.items()}
        print(f"{kind:8} cold {medians['cold']:8.0f} ms   snapshot {medians['snapshot']:6.0f} ms ({medians['cold'] / medians['snapshot']:.1f} times quicker)   "
              f"criu {medians['criu']:6.0f} ms   create {bench.create:6.0f} ms   first start {bench.first:6.0f} ms", flush=True)
        everything[kind] = {"samples": samples, "create_ms": bench.create, "first_start_ms": bench.first, "clones": []}
        for count in map(int, filter(None, options.clones.split(","))):
            row = bench.clones(count)
            everything[kind]["clones"].append(row)
            print(f"{'':8} {count:4} clones: running {row['running_ms']:.0f} ms, all replied {row['replied_ms']:.0f} ms, {row['pss_mib_each']:.1f} MiB each", flush=True)
        bench.clean()
    if options.json:
        with open(options.json, "w") as f:
            json.dump(everything, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
