"""A service that moves while people use it: nginx and redis with a network of their own (rt-netns), whose address moves along, and clients at the switch."""

import hashlib
import os
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest

from lib import host as machine
from lib import netns, proc, rootfs
from lib.hosts import LAN

ADDRESS = f"{LAN}.50"
MEDIUM = 600000  # bytes
SLOW = rootfs.NGINX_CONF.replace("location /hello", "location /medium { root /srv; }\n        location /slow { limit_rate 4m; alias /srv/; }\n        location /hello").replace(
    "worker_processes 2", "user root; worker_processes 2")


@pytest.fixture
def networked(hosts):
    """networked(kind, ...): a container on host a at 172.19.0.50, with its bundle on b; both hosts receive."""
    made = []
    hosts.lan()

    def make(kind, args=None):
        c = hosts.a.container(args, kind=kind)
        words = ["rt-netns", "hook", "--bridge", "rt0", "--subnet", f"{LAN}.0/16", "--ip", ADDRESS]
        hook = {"path": netns.program(), "args": words}
        c.config["hooks"] = {"createRuntime": [hook], "poststop": [hook]}
        made.append(c)
        return c

    def start(c):
        hosts.b.put_bundle(c)
        for host in hosts.made:
            host.receive()
        c.run_detached()
    make.start = start
    return make


class Requests(threading.Thread):
    """A new connection for each request, all the time. gaps: seconds from one answer to the next."""

    def __init__(self, port=80, path="/hello", end=b"hello from nginx\n", size=0):
        super().__init__(daemon=True)
        self.port, self.path, self.end, self.size, self.failures, self.gaps = port, path, end, size, [], []
        self.ends = threading.Event()
        self.count = 0

    def run(self):
        last = time.monotonic()
        while not self.ends.is_set():
            try:
                answer = fetch(self.path, port=self.port)
                if not answer.endswith(self.end) or len(answer) < self.size:
                    self.failures.append((len(answer), answer[:200]))
            except OSError as e:
                self.failures.append(repr(e))
            now = time.monotonic()
            self.gaps.append(now - last)
            last = now
            self.count += 1
            time.sleep(0.002)

    def finish(self):
        self.ends.set()
        self.join(30)
        assert not self.is_alive()


def fetch(path, port=80, timeout=20):
    with socket.create_connection((ADDRESS, port), timeout=timeout) as s:
        s.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        parts = []
        while True:
            part = s.recv(65536)
            if not part:
                return b"".join(parts)
            parts.append(part)


class Download(threading.Thread):
    """One slow answer over one connection."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.digest, self.error, self.size, self.longest = path, None, None, 0, 0.0

    def run(self):
        digest = hashlib.sha256()
        try:
            with socket.create_connection((ADDRESS, 80), timeout=30) as s:
                s.sendall(f"GET {self.path} HTTP/1.0\r\n\r\n".encode())
                file = s.makefile("rb")
                while file.readline() not in (b"\r\n", b""):
                    pass
                last = time.monotonic()
                while part := file.read1(65536):
                    digest.update(part)
                    self.size += len(part)
                    self.longest = max(self.longest, time.monotonic() - last)
                    last = time.monotonic()
        except OSError as e:
            self.error = repr(e)
        self.digest = digest.hexdigest()


class KeptAlive:
    """An idle connection, asked once in a while."""

    def __init__(self):
        self.socket = socket.create_connection((ADDRESS, 80), timeout=30)
        self.file = self.socket.makefile("rb")

    def ask(self):
        self.socket.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        lines = []
        while (line := self.file.readline()) not in (b"\r\n", b""):
            lines.append(line)
        assert b"200" in lines[0] and self.file.read(17) == b"hello from nginx\n"

    def close(self):
        self.file.close()
        self.socket.close()


def nginx(networked, mib=48):
    c = networked("nginx")
    with open(c.host_path("/etc/nginx/nginx.conf"), "w") as f:
        f.write(SLOW)
    content = os.urandom(mib << 20)
    for name, bytes_ in ("large", content), ("medium", content[:MEDIUM]):
        with open(c.host_path(f"/srv/{name}"), "wb") as f:
            f.write(bytes_)
    networked.start(c)
    proc.eventually(lambda: answers(80), what="nginx to answer")
    return c, hashlib.sha256(content).hexdigest()


def answers(port):
    try:
        socket.create_connection((ADDRESS, port), timeout=1).close()
        return True
    except OSError:
        return False


def test_nginx_moves_ten_times_and_nobody_notices(hosts, networked, capsys):
    c, digest = nginx(networked)
    requests, download, kept = Requests(), Download("/slow/large"), KeptAlive()
    downtimes, gaps = [], []
    kept.ask()
    requests.start()
    download.start()
    try:
        for turn in range(10):
            seen = len(requests.gaps)
            move = hosts.migrate(c)
            c = move.container
            downtimes.append(move.downtime)
            proc.eventually(lambda: len(requests.gaps) > seen + 5, timeout=20, what="answers after the move")
            gaps.append(max(requests.gaps[seen:]))
            kept.ask()
        requests.finish()
        assert requests.failures == [] and requests.count > 100
        download.join(60)
        assert download.error is None and download.size == 48 << 20 and download.digest == digest
    finally:
        requests.ends.set()
        kept.close()
    with capsys.disabled():
        print(f"\nnginx, 10 moves: gap seen by new requests median {statistics.median(gaps) * 1000:.0f} ms, longest {max(gaps) * 1000:.0f} ms; "
              f"downtime median {statistics.median(downtimes) * 1000:.0f} ms; longest pause of the download {download.longest * 1000:.0f} ms")
    assert max(gaps) < 10


def test_what_a_server_has_closed_already_arrives(hosts, networked):
    """The last of an answer that is longer than a window is with the kernel alone, in a socket that no process holds any more: nothing can move it."""
    c, _ = nginx(networked, 1)
    requests = [Requests(path="/medium", end=b"", size=MEDIUM) for _ in range(4)]
    for one in requests:
        one.start()
    try:
        for _ in range(6):
            seen = [one.count for one in requests]
            c = hosts.migrate(c).container
            proc.eventually(lambda: all(one.count > before + 3 for one, before in zip(requests, seen)), timeout=30, what="answers after the move")
        for one in requests:
            one.finish()
            assert one.failures == []
    finally:
        for one in requests:
            one.ends.set()


def test_an_address_moves_along_and_nothing_of_it_stays(hosts, networked):
    c, _ = nginx(networked, 1)
    before = netns.devices(c.pid)["eth0"]
    c = hosts.migrate(c).container
    assert netns.devices(c.pid)["eth0"] == before
    assert [link for link in hosts.a.snapshot()["links"] if link not in ("lo", "eth0", "rt0", "up0")] == []
    assert answers(80)
    c.delete("--force")
    assert not answers(80)
    assert [link for link in hosts.b.snapshot()["links"] if link not in ("lo", "eth0", "rt0", "up0")] == []


def test_a_move_that_fails_late_leaves_the_network_as_it_was(hosts, networked):
    """The target finds out in the restore that a file is missing: connections go on."""
    c, digest = nginx(networked, 12)
    os.unlink(f"{hosts.b.bundles}/web/rootfs/srv/large")
    kept, download = KeptAlive(), Download("/slow/large")
    kept.ask()
    download.start()
    proc.eventually(lambda: download.size > 0, what="the download to begin")
    before = hosts.snapshot()
    result = proc.run(hosts.argv(c), ok=False)
    assert "srv/large" in result.err
    kept.ask()
    download.join(60)
    kept.close()
    assert download.error is None and download.digest == digest
    hosts.unchanged(before)


def test_a_worker_that_is_killed_leaves_no_network(hosts, networked):
    """The network is there before anything is frozen; whoever made it can't take it away any more."""
    c, _ = nginx(networked, 1)
    # What the hook of its start has left behind for some seconds is not of this.
    proc.eventually(lambda: "(rt-netns)" not in [name for _, name in machine.processes()], what="rt-netns to end")
    before = hosts.snapshot()
    process = proc.start(hosts.argv(c, "--mode", "pre-copy", "--bandwidth", "100k"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    worker = proc.eventually(lambda: [pid for pid, name in machine.processes() if name == "(rt-worker)"], what="a worker")[0]
    proc.eventually(lambda: len(hosts.b.snapshot()["links"] - before["b"]["links"]) > 1, what="the container's veth, and the catcher's")
    os.kill(worker, signal.SIGKILL)
    assert process.wait(60) == 1 and process.stderr.read().count(b"\n") == 1
    process.stderr.close()
    hosts.unchanged(before)
    assert answers(80)


# ---- redis ----

class Redis:
    """One connection, spoken to in the protocol of redis."""

    def __init__(self, timeout=60):
        self.socket = socket.create_connection((ADDRESS, 6379), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def receive(self):
        line = self.file.readline()
        assert line.endswith(b"\r\n"), f"the connection ended: {line!r}"
        kind, rest = line[:1], line[1:-2]
        assert kind != b"-", rest
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
        return int(rest) if kind == b":" else rest

    def __call__(self, *words):
        self.send(*words)
        return self.receive()

    def close(self):
        self.file.close()
        self.socket.close()


class Writes(threading.Thread):
    """Writes numbered values over one connection; acknowledged: {key: number} of those that redis confirmed."""

    def __init__(self, keys, size, pause):
        super().__init__(daemon=True)
        self.redis, self.keys, self.size, self.pause = Redis(), keys, size, pause
        self.acknowledged, self.error, self.count, self.longest = {}, None, 0, 0.0
        self.ends = threading.Event()

    def run(self):
        n = 0
        try:
            while not self.ends.is_set():
                began = time.monotonic()
                n += 1
                key = n * 7919 % self.keys
                assert self.redis("SET", f"key:{key}", b"%020d" % n + b"v" * self.size) == b"OK"
                self.acknowledged[key] = n
                self.longest = max(self.longest, time.monotonic() - began)
                self.count += 1
                time.sleep(self.pause)
        except (OSError, AssertionError) as e:
            self.error = repr(e)

    def finish(self):
        self.ends.set()
        self.join(60)
        self.redis.close()


def redis_with(networked, mib):
    c = networked("redis", [*rootfs.COMMANDS["redis"], "--enable-debug-command", "yes"])
    networked.start(c)
    proc.eventually(lambda: answers(6379), what="redis to answer")
    redis = Redis()
    redis("DEBUG", "POPULATE", mib * 1024 // 4, "filler", 3700)
    redis.close()
    return c


def moves_under_writes(hosts, c, modes, capsys, mib):
    writes = Writes(20000, 1000, 0.0005)
    writes.start()
    told = []
    try:
        for mode in modes:
            before = writes.count
            writes.longest = 0.0
            move = hosts.migrate(c, "--mode", mode, timeout=240)
            c = move.container
            proc.eventually(lambda: writes.count > before + 20 or writes.error, timeout=30, what="writes after the move")
            assert writes.error is None
            told.append(f"{mode} {move.downtime * 1000:.0f} ms (longest write {writes.longest * 1000:.0f} ms)")
    finally:
        writes.finish()
    assert writes.error is None and writes.count > 200
    redis = Redis()
    lost = [k for k, n in writes.acknowledged.items() if int(redis("GET", f"key:{k}")[:20]) < n]
    filler = [redis("STRLEN", f"filler:{n}") for n in range(0, mib * 1024 // 4, 97)]
    redis.close()
    assert lost == [] and set(filler) == {3700}
    with capsys.disabled():
        print(f"\nredis with {mib} MiB under writes: downtime " + ", ".join(told))
    return c


def test_redis_keeps_every_acknowledged_write(hosts, networked, capsys):
    c = redis_with(networked, 256)
    moves_under_writes(hosts, c, ["pre-copy", "hybrid", "post-copy"], capsys, 256)


def test_redis_with_a_gigabyte(hosts, networked, capsys):
    c = redis_with(networked, 1024)
    moves_under_writes(hosts, c, ["pre-copy"], capsys, 1024)
