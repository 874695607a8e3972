"""What is wrong with a command line, a container or a host: one sentence, the container runs on, and neither host has anything left of it."""

import http.server
import os
import threading

import pytest

from lib import proc
from lib.hosts import Churn


@pytest.fixture
def sleeper(hosts):
    c = hosts.a.container(["sleep", "1000"])
    hosts.b.put_bundle(c)
    c.run_detached()
    return c


WRONG_URLS = [
    ("nonsense", "is not the URL of a host"),
    ("ftp://10.99.0.2/", "is not the URL of a host"),
    ("http://", "is not the URL of a host"),
    ("http://user:password@10.99.0.2:7443", "must not hold a user or password"),
    ("http://10.99.0.2:7443/path", ""),
    ("http://10.99.0.2:1", "10.99.0.2"),
    ("http://no-such-host.invalid:7443", "no-such-host.invalid"),
]


def test_wrong_urls(hosts, sleeper):
    hosts.b.receive()
    for url, words in WRONG_URLS:
        refused = hosts.refuses(sleeper, url=url)
        assert words in refused and "user:password" not in refused


WRONG_OPTIONS = [
    (["--mode", "fast"], "invalid value 'fast' for --mode"),
    (["--track", "magic"], "'magic' is no way to track memory"),
    (["--compress", "rar"], "'rar' is no compression"),
    (["--rootfs", "half"], "invalid value 'half' for --rootfs"),
    (["--bandwidth", "much"], "--bandwidth"),
    (["--bandwidth", "0"], "--bandwidth"),
    (["--parallel", "0"], "--parallel"),
    (["--parallel", "17"], "--parallel"),
    (["--new-id", "../x"], "../x"),
    (["--new-id", ""], ""),
    (["--downtime", "-1"], "--downtime"),
    (["--max-rounds", "x"], "--max-rounds"),
    (["--timeout", "x"], "--timeout"),
    (["--token-file", "/nonexistent"], "/nonexistent"),
    (["--cacert", "/nonexistent"], "/nonexistent"),
    (["--cert", "/etc/passwd"], "one of the two is missing"),
    (["--rootfs", "diff"], "overlay"),
]


def test_wrong_options(hosts, sleeper):
    hosts.b.receive()
    for flags, words in WRONG_OPTIONS:
        assert words in hosts.refuses(sleeper, *flags), flags


WRONG_OPTIONS_OF_THE_TARGET = [
    (["--listen", "nonsense:x"], "nonsense:x"),
    (["--listen", "10.99.0.77:7443"], "10.99.0.77:7443"),
    (["--max-memory", "lots"], "--max-memory"),
    (["--state-dir", "relative"], "must be absolute"),
    (["--bundles", "/dev/null/x"], "/dev/null"),
    (["--cert", "/nonexistent", "--key", "/nonexistent", "--client-ca", "/nonexistent"], "/nonexistent"),
]


def test_wrong_options_of_the_target(hosts):
    for flags, words in WRONG_OPTIONS_OF_THE_TARGET:
        result = hosts.b.rt("receive", "--insecure", "--listen", "127.0.0.1:0", *flags, ok=False)
        assert len(result.err.splitlines()) == 1 and words in result.err, repr(result)


def test_no_such_container(hosts, sleeper):
    hosts.b.receive()
    before = hosts.snapshot()
    result = hosts.a.rt("migrate", "--insecure", "nobody", hosts.b.url, ok=False)
    assert len(result.err.splitlines()) == 1 and "'nobody'" in result.err and "does not exist" in result.err
    hosts.unchanged(before)


def test_a_container_that_does_not_run(hosts, sleeper):
    hosts.b.receive()
    created = hosts.a.container(["sleep", "1000"], id="created")
    created.create()
    assert "container not running: it is created" in hosts.refuses(created)
    stopped = hosts.a.running(["true"], id="stopped")
    stopped.wait_stopped()
    assert "container not running: it is stopped" in hosts.refuses(stopped)


def test_a_container_with_a_terminal(hosts):
    hosts.b.receive()
    c = hosts.a.container(["sleep", "1000"])
    c.config["process"]["terminal"] = True
    c.create()
    c.start()
    assert "terminal" in hosts.refuses(c)
    c.kill()
    c.wait_stopped()
    c.terminal.close()


def test_the_id_is_taken_over_there(hosts, sleeper):
    hosts.b.receive()
    other = hosts.b.twin(sleeper)
    other.run_detached()
    assert "there is a container 'web' on this host already" in hosts.refuses(sleeper)
    assert other.status == "running"
    two = hosts.b.put_bundle(sleeper, id="web2")
    two.config["linux"]["cgroupsPath"] = "/web2"
    two.write_config()
    assert hosts.migrate(sleeper, new_id="web2").container.status == "running"


def test_there_is_no_bundle_or_no_root_filesystem(hosts):
    hosts.b.receive()
    c = hosts.a.running(["sleep", "1000"])
    assert "there is no bundle" in hosts.refuses(c)
    there = hosts.b.put_bundle(c)
    proc.run(["mv", there.rootfs, there.rootfs + ".away"])
    assert "root filesystem" in hosts.refuses(c) and "is not on this host" in hosts.refuses(c)
    proc.run(["mv", there.rootfs + ".away", there.rootfs])
    assert "already" in hosts.refuses(c, "--rootfs", "copy")
    hosts.migrate(c)


def test_a_root_filesystem_that_lacks_a_file_it_has_open(hosts):
    """Found only by the restore: the container was frozen by then, and goes on."""
    one = Churn(hosts.a, "file", 8)
    hosts.b.put_bundle(one.container)
    hosts.b.receive()
    one.start()
    assert "tmp/mapped" in hosts.refuses(one.container)
    one.goes_on()
    one.is_right()
    assert hosts.b.ids() == []


@pytest.mark.parametrize("where", ["state", "bundles"])
@pytest.mark.parametrize("mode", ["stop", "pre-copy"])
def test_a_full_disk_over_there(hosts, where, mode):
    """A root filesystem of 8 MiB and images of 20 do not fit into 2."""
    one = Churn(hosts.a, "shared", 20, 100)
    small = f"{hosts.work}/small"
    os.makedirs(small)
    proc.run([*hosts.b.enter, "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small])
    one.start()
    with open(one.container.host_path("/large"), "wb") as f:
        f.write(os.urandom(8 << 20))
    if where == "state":
        hosts.b.put_bundle(one.container)
        hosts.b.receive(state_dir=small)
        refused = hosts.refuses(one.container, "--mode", mode)
    else:
        hosts.b.receive("--allow-config", "--bundles", small)
        refused = hosts.refuses(one.container, "--mode", mode, "--rootfs", "copy")
    assert "no space left" in refused or "the most that is allowed here" in refused, refused
    one.goes_on()
    one.is_right()
    assert hosts.b.ids() == []


# ---- hosts that are not what they should be ----

class Fake:
    """A host that answers every request with the same bytes."""

    def __init__(self, status, body, kind="application/x-protobuf"):
        fake = self
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                fake.requests.append((self.path, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("10.99.0.254", 0), Handler)
        self.url = "http://10.99.0.254:%d" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def text_field(number, text):
    text = text.encode()
    return bytes([number << 3 | 2]) + varint(len(text)) + text


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


@pytest.mark.parametrize("status, body, words", [
    (200, b"\x08\x01\x20\x63", "protocol"),  # accepted, protocol 99
    (200, text_field(2, "too old, speak 7"), "too old, speak 7"),
    (200, b"\xff\xff\xff", ""),
    (200, b"", ""),
    (404, b"nothing here\n", "404"),
    (500, b"<html>" + b"x" * 100000, ""),
    (302, b"", ""),
])
def test_a_target_of_another_kind(hosts, sleeper, status, body, words):
    with Fake(status, body) as fake:
        assert words in hosts.refuses(sleeper, url=fake.url)
        assert fake.requests[0][0] == "/v1/migrations"


def recorded_offer(hosts, c):
    """What the source posts."""
    with Fake(200, b"") as fake:
        hosts.refuses(c, url=fake.url)
    return fake.requests[0][1]


def post(hosts, body, path="/v1/migrations"):
    out = f"{hosts.work}/body"
    with open(out, "wb") as f:
        f.write(body)
    script = ("import sys, urllib.request, urllib.error\n"
              "try:\n    r = urllib.request.urlopen(urllib.request.Request(sys.argv[1], open(sys.argv[2], 'rb').read(), method='POST'), timeout=10)\n"
              "except urllib.error.HTTPError as e:\n    r = e\n"
              "print(r.status, r.read().decode(errors='replace'))")
    return proc.run(["/usr/bin/python3", "-I", "-c", script, hosts.b.url + path, out]).out


def test_offers_that_can_t_be_taken(hosts, sleeper):
    hosts.b.receive()
    offer = recorded_offer(hosts, sleeper)
    before = hosts.snapshot()
    machine = os.uname().machine.encode()
    assert offer.count(machine) >= 1
    answer = post(hosts, offer.replace(machine, machine[::-1]))
    assert f"the source is {machine[::-1].decode()}, this host is {machine.decode()}" in answer
    assert offer[:2] == b"\x08\x01"
    assert "protocol" in post(hosts, b"\x08\x63" + offer[2:])
    for broken in (b"", b"\x00", os.urandom(64), offer[:-1], offer[:len(offer) // 2], b"\x0a" * 100000):
        assert post(hosts, broken).split()[0] in ("400", "422"), broken[:20]
    for path in ("/v1/migrations/" + "0" * 32 + "/pages", "/v1/migrations/../../etc/passwd/commit", "/v1/migrations/x/final", "/", "/v2/migrations"):
        assert post(hosts, b"x", path).split()[0] in ("404", "400", "409"), path
    hosts.unchanged(before)
    hosts.migrate(sleeper)


def test_a_foreign_word_for_the_id_leads_nowhere(hosts, sleeper):
    hosts.b.receive()
    offer = recorded_offer(hosts, sleeper)
    before = hosts.snapshot()
    for id in (b"../", b"/a/", b"..\x00", b"a\nb"):
        evil = offer.replace(b"\x1a\x03web", b"\x1a\x03" + id)
        assert evil != offer
        assert "200" not in post(hosts, evil).split()[0] or "accepted" not in post(hosts, evil)
    hosts.unchanged(before)
