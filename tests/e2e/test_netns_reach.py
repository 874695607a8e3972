"""rt-netns: who reaches whom, by NAT, by published ports, and past other packet filters."""

import os
import socket

import pytest

from lib import frozen, needs, netns, proc
from lib.netns_places import ASK, ECHO, SUBNET6, ask, host, into, other, place, served  # noqa: F401 (fixtures are used by their names)


@pytest.mark.parametrize("family", (4, 6))
def test_nat_lets_a_container_out_with_the_hosts_address(inside, host, other, family):
    c = served(inside, host, *SUBNET6, "--nat")
    server = proc.start([*other.enter, "/usr/bin/python3", "-c", ECHO.replace("daemon=True", "daemon=False") % 80])
    try:
        proc.eventually(lambda: ":0050 " in other.run(["cat", "/proc/net/tcp6"]).out, what="the other host's server")
        there, here = {4: ("10.77.0.2", "10.77.0.1"), 6: ("fd77::2", "fd77::1")}[family]
        assert ask(there, 80, into(c.pid)) == here
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("host_address", ("10.77.0.1", "fd77::1"))
def test_a_published_port_is_reached_from_another_host(inside, host, other, host_address):
    served(inside, host, *SUBNET6, "--publish", "8080:80")
    assert ask(host_address, 8080, other.enter) == {"10.77.0.1": "10.77.0.2", "fd77::1": "fd77::2"}[host_address]


def test_a_published_port_is_reached_from_the_host_and_from_neighbours(inside, host, other):
    a = served(inside, host, *SUBNET6, "--publish", "8080:80")
    b = served(inside, host, *SUBNET6)
    assert ask("127.0.0.1", 8080) == "172.19.0.1"
    assert ask("10.77.0.1", 8080)
    assert ask("fd77::1", 8080)
    for address in ("172.19.0.1", "10.77.0.1", "fd77::1"):
        assert ask(address, 8080, into(b.pid))
    assert ask("10.77.0.1", 8080, into(a.pid)) in ("172.19.0.1", host.address(a.id))


def test_a_port_is_published_at_one_address_only(inside, host, other):
    c = served(inside, host, "--publish", "127.0.0.1:8080:80")
    assert ask("127.0.0.1", 8080)
    refused = proc.run([*other.enter, "/usr/bin/python3", "-c", ASK, "10.77.0.1", "8080"], ok=False)
    assert "refused" in refused.err
    assert f"127.0.0.1:8080:80/tcp" in host.save(c.id)["ports"]


SEND_TO_LOOPBACK = """
import socket, struct, sys
bridge, own, source = (bytes.fromhex(w) for w in sys.argv[1:4])
ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 28 + 3, 0, 0, 64, 17, 0, source, bytes([127, 0, 0, 1]))
total = sum(struct.unpack('!10H', ip))
total = (total & 0xffff) + (total >> 16)
ip = ip[:10] + struct.pack('!H', ~total & 0xffff) + ip[12:]
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
s.send(bridge + own + b'\\x08\\0' + ip + struct.pack('!HHHH', 1000, 99, 8 + 3, 0) + b'abc')
"""


def test_the_hosts_loopback_is_closed_to_containers(host, place):
    """Published ports need route_localnet, which would let in a frame that says 127.0.0.1."""
    one = place()
    host("create", "web", "--pid", one.pid, "--publish", "8080:80")
    words = [netns.devices(os.getpid())["rt0"]["mac"].replace(":", ""), host.save("web")["mac"].replace(":", ""),
             socket.inet_aton(host.address("web")).hex()]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 99))
        server.settimeout(0.3)
        one.run(["/usr/bin/python3", "-c", SEND_TO_LOOPBACK, *words])
        with pytest.raises(TimeoutError):
            server.recv(10)
        proc.run(["nft", "flush", "chain", "inet", frozen.nft_rules().split()[2], "guard"])  # to see that it was that
        one.run(["/usr/bin/python3", "-c", SEND_TO_LOOPBACK, *words])
        assert server.recv(10) == b"abc"


def test_udp_is_published_too(inside, host, other):
    c = inside(started=False)
    host.add_hooks(c, "--publish", "5300:53/udp").run_detached()
    c.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 53)); s.settimeout(10)\n"
         "def serve():\n while True:\n  data, peer = s.recvfrom(100); s.sendto(data[::-1], peer)\n"
         "threading.Thread(target=serve, daemon=True).start()")
    script = ("import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
              "s.sendto(b'abc', ('10.77.0.1', 5300)); print(s.recv(100).decode())")
    assert proc.run([*other.enter, "/usr/bin/python3", "-c", script]).out == "cba\n"


def test_a_host_that_begins_to_forward_still_heeds_router_advertisements(host, place, other):
    def knob(name, value=None):
        with open(f"/proc/sys/net/ipv6/conf/{name}", "r" if value is None else "w") as f:
            return f.read().strip() if value is None else f.write(value)

    knob("all/forwarding", "0")
    for device in ("default", "cable0"):
        knob(f"{device}/accept_ra", "1")
    host("create", "web", "--pid", place().pid, *SUBNET6)
    assert knob("all/forwarding") == "0" and knob("cable0/accept_ra") == "1"
    host("rm", "web")
    host("create", "web", "--pid", place().pid, *SUBNET6, "--nat")
    assert knob("all/forwarding") == "1" and knob("cable0/accept_ra") == "2"


def test_nobody_elses_rules_are_touched(host, place):
    proc.run(["nft", "add table inet theirs; add chain inet theirs c; add rule inet theirs c counter"])
    try:
        before = frozen.nft_rules()
        host("create", "web", "--pid", place().pid, "--nat", "--publish", "8080:80")
        assert before.strip() in frozen.nft_rules()
        host("rm", "web")
        assert frozen.nft_rules() == before
    finally:
        proc.run(["nft", "delete", "table", "inet", "theirs"])


def test_dockers_packet_filter_lets_published_ports_and_nat_through(inside, host, other):
    """Set up as Docker does it: nothing is forwarded, but what its chain for others lets through."""
    needs.program("iptables")
    for words in (["-P", "FORWARD", "DROP"], ["-N", "DOCKER-USER"], ["-A", "DOCKER-USER", "-j", "RETURN"], ["-A", "FORWARD", "-j", "DOCKER-USER"]):
        proc.run(["iptables", "-w", "5", *words])
    try:
        before = proc.run(["iptables", "-S"]).out
        c = served(inside, host, "--publish", "8080:80", "--nat")
        assert ask("10.77.0.1", 8080, other.enter) == "10.77.0.2"
        c.delete("--force")
        assert proc.run(["iptables", "-S"]).out == before
        host.nothing_left()
    finally:
        proc.run(["nft", "delete", "table", "ip", "filter"], ok=None)
