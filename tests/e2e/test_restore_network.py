"""Connections over a restore: nothing is lost, nothing comes twice, in either direction; and the network is as it was."""

import os
import subprocess
import time

import pytest

from lib import config, frozen, needs, ns

TCP = "--tcp-established"


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


@pytest.fixture
def joined(inside, outlives_containers):
    """A container in one of two network namespaces with a cable between them: (container, link)."""
    link = outlives_containers.enter_context(ns.Link())

    def make():
        c = inside(started=False)
        config.set_namespace(c.config, "network", link.a.path("net"))
        c.run_detached()
        return c
    return make, link


class Peer:
    """A Python outside of the container, in a network namespace, that does what it is told."""

    def __init__(self, namespace, work):
        here = os.path.dirname(os.path.abspath(frozen.__file__))
        self.host_path = lambda path: work + path
        os.makedirs(work + "/agent")
        self.output = ""
        code = f"import sys; sys.path.insert(0, {here!r}); import agent; agent.DIRECTORY = {work + '/agent'!r}; agent.main()"
        self.process = subprocess.Popen([*namespace.enter, "/usr/bin/python3", "-c", code], stdin=subprocess.DEVNULL, close_fds=True)

    def do(self, text, timeout=20):
        from lib import inside
        return inside.do(self, text, timeout)

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def peer(work):
    made = []

    def make(namespace):
        made.append(Peer(namespace, f"{work}/peer{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_server_with_data_in_flight_both_ways(joined, peer):
    make, link = joined
    c = make()
    p = peer(link.b)
    c.do("l = socket.create_server(('10.99.0.1', 7000))")
    p.do("s = socket.create_connection(('10.99.0.1', 7000)); s.setblocking(False); sent = 0")
    c.do("a, _ = l.accept(); a.setblocking(False); back = 0")
    # Both fill what the kernel takes, and nobody reads: it lies in send and receive queues of both ends.
    fill = ("def fill(sock, seed):\n"
            "    n = 0\n"
            "    try:\n"
            "        while True: n += sock.send(bytes((n + i + seed) % 251 for i in range(5000)))\n"
            "    except BlockingIOError: return n\n")
    p.do(fill)
    c.do(fill)
    to, back = p.do("fill(s, 1)"), c.do("fill(a, 2)")
    assert to > 50000 and back > 50000
    images = frozen.checkpoint(c, TCP)
    time.sleep(0.5)
    frozen.restore(c, images, TCP)
    for who, sock, count, seed in ((c, "a", to, 1), (p, "s", back, 2)):
        assert who.do(f"{sock}.settimeout(10); got = b''\n"
                      f"while len(got) < {count}: got += {sock}.recv(65536)\n"
                      f"got == bytes((i + {seed}) % 251 for i in range({count}))", timeout=60)
    # And it goes on in both directions.
    for turn in range(3):
        p.do(f"s.sendall(b'ping{turn}')")
        assert c.do("a.recv(100)") == f"ping{turn}".encode()
        c.do(f"a.sendall(b'pong{turn}')")
        assert p.do("s.recv(100)") == f"pong{turn}".encode()
    c.do("a.close()")
    assert p.do("s.recv(10)") == b""
    assert frozen.nft_rules(link.a.enter) == "" == frozen.nft_rules(link.b.enter)


def test_a_stream_that_never_stops(joined, peer):
    """20 MiB each way, checked to the byte, while the container is taken out and put in three times."""
    make, link = joined
    c = make()
    p = peer(link.b)
    size = 20 << 20
    c.do("l = socket.create_server(('10.99.0.1', 7000))\n"
         "def echo():\n"
         "    a, _ = l.accept()\n"
         "    while data := a.recv(65536): a.sendall(data); time.sleep(0.01)\n"
         "    a.close()\n"
         "threading.Thread(target=echo, daemon=True).start()")
    p.do(f"import random\ndata = random.Random(1).randbytes({size}); got = bytearray()\n"
         "s = socket.create_connection(('10.99.0.1', 7000))\n"
         "def push(): s.sendall(data); s.shutdown(socket.SHUT_WR)\n"
         "def pull():\n"
         "    while some := s.recv(65536): got.extend(some)\n"
         "threads = [threading.Thread(target=t, daemon=True) for t in (push, pull)]\n"
         "for t in threads: t.start()")
    for turn in range(3):
        time.sleep(0.3)
        assert 0 < p.do("len(got)") < size
        frozen.around(c, TCP, name=f"images{turn}")
    p.do("threads[1].join(60)", timeout=70)
    assert p.do("len(got)") == size and p.do("bytes(got) == data")


def test_a_client_and_its_options(joined, peer):
    make, link = joined
    c = make()
    p = peer(link.b)
    p.do("l = socket.create_server(('10.99.0.2', 7000))")
    c.do("s = socket.create_connection(('10.99.0.2', 7000)); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
         "s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)\n"
         "s.sendall(b'hello')")
    p.do("a, _ = l.accept()")
    ask = ("(s.getsockname(), s.getpeername(), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),\n"
           " s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))")
    before = c.do(ask)
    images = frozen.checkpoint(c, TCP)
    p.do("a.sendall(b'while you were away')")
    frozen.restore(c, images, TCP)
    assert c.do(ask) == before and before[4] == 77
    assert p.do("a.recv(100)") == b"hello"
    assert c.do("s.settimeout(10); s.recv(100)") == b"while you were away"


def test_listening_udp_and_ipv6(joined, peer):
    make, link = joined
    c = make()
    p = peer(link.b)
    c.do("l = socket.create_server(('10.99.0.1', 7000), backlog=17); l.settimeout(10)\n"
         "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('10.99.0.1', 7001)); u.settimeout(10)\n"
         "six = socket.socket(socket.AF_INET6); six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1); six.bind(('::1', 7002)); six.listen()\n"
         "raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)")
    for turn in range(2):
        frozen.around(c, name=f"images{turn}")
        p.do("s = socket.create_connection(('10.99.0.1', 7000)); s.sendall(b'tcp'); u = socket.socket(type=socket.SOCK_DGRAM); u.sendto(b'udp', ('10.99.0.1', 7001))")
        assert c.do("a, _ = l.accept(); got = a.recv(10), u.recv(10); a.close(); got") == (b"tcp", b"udp")
        assert c.do("k = socket.create_connection(('::1', 7002)); b, _ = six.accept(); k.sendall(b'six'); got = b.recv(10); b.close(); k.close(); got") == b"six"
        p.do("s.close(); u.close()")
        time.sleep(0.2)
        assert c.do("l.close(); l = socket.create_server(('10.99.0.1', 7000), backlog=17); l.settimeout(10)") is None


def test_both_ends_inside(inside):
    c = inside()
    c.do("l = socket.create_server(('127.0.0.1', 7000)); s = socket.create_connection(('127.0.0.1', 7000)); a, _ = l.accept()\n"
         "s.sendall(b'x' * 100000); a.sendall(b'y' * 100000)")
    frozen.around(c, TCP)
    assert c.do("def get(k, n):\n    got = b''\n    while len(got) < n: got += k.recv(n)\n    return got\n(get(a, 100000) == b'x' * 100000, get(s, 100000) == b'y' * 100000)") == (True, True)


def test_connections_may_be_closed_at_the_restore(joined, peer):
    make, link = joined
    c = make()
    p = peer(link.b)
    c.do("l = socket.create_server(('10.99.0.1', 7000))")
    p.do("s = socket.create_connection(('10.99.0.1', 7000))")
    c.do("a, _ = l.accept()")
    images = frozen.checkpoint(c, TCP)
    frozen.restore(c, images, "--tcp-close")
    assert c.do("try: said = a.recv(10)\nexcept OSError as e: said = e.errno\nsaid in (b'', 107, 104)")
    p.do("t = socket.create_connection(('10.99.0.1', 7000)); t.sendall(b'anew')")
    assert c.do("b, _ = l.accept(); b.recv(10)") == b"anew"


def test_a_container_that_keeps_running_keeps_its_connections(joined, peer):
    make, link = joined
    c = make()
    p = peer(link.b)
    c.do("l = socket.create_server(('10.99.0.1', 7000))")
    p.do("s = socket.create_connection(('10.99.0.1', 7000))")
    c.do("a, _ = l.accept()")
    for turn in range(3):
        frozen.checkpoint(c, TCP, "--leave-running", name=f"images{turn}")
        p.do("s.sendall(b'still')")
        assert c.do("a.settimeout(10); a.recv(10)") == b"still"
    assert frozen.nft_rules(link.a.enter) == ""
