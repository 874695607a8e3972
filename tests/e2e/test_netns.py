"""rt-netns: networks for containers, as a hook and by hand."""

import json
import os
import socket
import subprocess

import pytest

from lib import config, frozen, needs, netns, ns, proc

SUBNET6 = ("--subnet6", "fd00:19::/64")
ECHO = """
import socket, threading
server = socket.create_server(('::', %d), family=socket.AF_INET6, dualstack_ipv6=True)
def echo(peer, address):
    peer.sendall(address[0].encode() + b'\\n')
    while True:
        data = peer.recv(65536)
        if not data:
            return
        peer.sendall(data)
def accept():
    while True:
        threading.Thread(target=echo, args=server.accept(), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
"""
# Prints who the server says we are.
ASK = ("import socket, sys\ns = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)\n"
       "print(s.makefile().readline().strip())")


@pytest.fixture
def host(work):
    """The sandbox's own network as a host."""
    one = netns.Host(work + "/net")
    yield one
    one.remove_all()


@pytest.fixture
def other(work, outlives_containers, host):
    """A second host, 10.77.0.2, at a cable of ours, 10.77.0.1. It knows no way to our containers."""
    one = outlives_containers.enter_context(ns.Namespaces("net"))
    proc.run(["ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable0", "netns", str(one.pid)])
    for enter, address, address6 in (((), "10.77.0.1/24", "fd77::1/64"), (one.enter, "10.77.0.2/24", "fd77::2/64")):
        proc.run([*enter, "ip", "address", "add", address, "dev", "cable0"])
        proc.run([*enter, "ip", "address", "add", address6, "dev", "cable0", "nodad"])
        proc.run([*enter, "ip", "link", "set", "cable0", "up"])
    yield one
    proc.run(["ip", "link", "delete", "cable0"], ok=None)


@pytest.fixture
def hosts(work, outlives_containers):
    """Two hosts and a switch between them: each has a bridge rt0 with the switch's port in it."""
    made = [netns.Host(f"{work}/net-{name}", outlives_containers.enter_context(ns.network()).enter) for name in "ab"]
    proc.run(["ip", "link", "add", "switch0", "type", "bridge"])
    proc.run(["ip", "address", "add", "172.19.0.200/16", "dev", "switch0"])
    proc.run(["ip", "address", "add", "fd00:19::c8/64", "dev", "switch0", "nodad"])
    proc.run(["ip", "link", "set", "switch0", "up"])
    for number, one in enumerate(made):
        proc.run(["ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", "up0", "netns", one.enter[2]])
        proc.run(["ip", "link", "set", f"port{number}", "master", "switch0", "up"])
        proc.run([*one.enter, "ip", "link", "add", "rt0", "type", "bridge"])
        proc.run([*one.enter, "ip", "link", "set", "rt0", "up"])
        proc.run([*one.enter, "ip", "link", "set", "up0", "master", "rt0", "up"])
    yield made
    for one in made:
        one.remove_all()
    for name in ("port0", "port1", "switch0"):
        proc.run(["ip", "link", "delete", name], ok=None)


@pytest.fixture
def place(outlives_containers):
    """Network namespaces with nobody in them but a sleeper: place()."""
    return lambda: outlives_containers.enter_context(ns.Namespaces("net"))


def ask(address, port, enter=()):
    """By whose address a server sees us."""
    return proc.run([*enter, "/usr/bin/python3", "-c", ASK, address, port]).out.strip().removeprefix("::ffff:")


def into(pid):
    return ["nsenter", "-t", str(pid), "-n"]


def served(inside, host, *options, port=80, **how):
    """A container with the hook, whose process answers at the port."""
    c = inside(started=False, **how)
    host.add_hooks(c, *options)
    c.run_detached()
    c.do(ECHO % port)
    return c


# As a hook

def test_a_container_has_an_address_on_the_bridge_and_a_default_route(container, host):
    c = host.add_hooks(container(["sleep", "1000"]), *SUBNET6)
    c.run_detached()
    saved = host.save(c.id)
    eth0 = netns.devices(c.pid)["eth0"]
    assert eth0 == {"mac": saved["mac"], "mtu": 1500, "up": True, "addresses": {a["address"] for a in saved["addresses"]}}
    assert netns.devices(c.pid)["lo"]["up"]
    assert host.address(c.id).startswith("172.19.") and host.address(c.id, 6).startswith("fd00:19::")
    routes = proc.run([*into(c.pid), "ip", "route"]).out
    assert "default via 172.19.0.1 dev eth0" in routes
    assert "default via fd00:19::1 dev eth0" in proc.run([*into(c.pid), "ip", "-6", "route"]).out
    assert host.list()[c.id]["status"] == "up" and host.list()[c.id]["pid"] == c.pid


@pytest.mark.parametrize("kind", ("prestart", "createRuntime"))
def test_deleting_the_container_undoes_everything(container, host, kind):
    c = host.add_hooks(container(["sleep", "1000"]), *SUBNET6, "--nat", "--publish", "8080:80", kind=kind)
    c.run_detached()
    assert "rt_netns" in frozen.nft_rules() and os.path.exists("/sys/class/net/rt0")
    c.kill()
    c.wait_stopped()
    c.delete()
    host.nothing_left()
    assert frozen.nft_rules() == "" and not os.path.exists("/sys/class/net/rt0")


def test_both_hooks_before_the_start_make_one_network(container, host):
    c = host.add_hooks(container(["sleep", "1000"]))
    c.config["hooks"]["prestart"] = [host.hook()]
    c.run_detached()
    assert set(netns.devices(c.pid)) == {"lo", "eth0"}


@pytest.mark.parametrize("family", (4, 6))
def test_containers_reach_the_host_and_each_other(inside, host, family):
    a = served(inside, host, *SUBNET6)
    b = served(inside, host, *SUBNET6)
    own = {4: "172.19.0.1", 6: "fd00:19::1"}[family]
    assert ask(host.address(a.id, family), 80) == own
    assert ask(host.address(a.id, family), 80, into(b.pid)) == host.address(b.id, family)
    server = subprocess.Popen(["/usr/bin/python3", "-c", ECHO.replace("daemon=True", "daemon=False") % 81], close_fds=True)
    try:
        proc.eventually(lambda: f":{81:04X} " in open("/proc/net/tcp6").read(), what="the host's server")
        assert ask(own, 81, into(a.pid)) == host.address(a.id, family)
    finally:
        server.kill()
        server.wait()


def test_a_user_namespace_is_no_hindrance(container, host):
    c = container(["sleep", "1000"])
    config.use_user_namespace(c.config, 200000)
    proc.run(["chown", "-R", "-h", "200000:200000", c.rootfs])
    os.chmod(os.path.dirname(c.dir), 0o711)
    host.add_hooks(c).run_detached()
    assert netns.devices(c.pid)["eth0"]["up"]


def test_a_failing_hook_leaves_nothing(container, host):
    c = host.add_hooks(container(["sleep", "1000"]), "--ip", "10.0.0.1")
    result = c.run_detached(ok=False)
    assert "address 10.0.0.1 is not in 172.19.0.0/16" in result.err
    host.nothing_left()


def test_a_container_in_the_hosts_network_gets_none(container, host):
    c = container(["sleep", "1000"])
    c.config["linux"]["namespaces"] = [n for n in c.config["linux"]["namespaces"] if n["type"] != "network"]
    c.config["mounts"] = [m for m in c.config["mounts"] if m["destination"] != "/sys"]
    assert "it has no network namespace of its own" in host.add_hooks(c).run_detached(ok=False).err
    host.nothing_left()


@pytest.fixture
def bundle(work):
    """A directory that a state may name: bundle(annotations)."""
    def make(annotation=None):
        path = work + "/bundle"
        os.makedirs(path, exist_ok=True)
        with open(path + "/config.json", "w") as f:
            json.dump({"annotations": {"org.rt.netns": annotation}} if annotation is not None else {}, f)
        return path
    return make


def state(id, pid, bundle, status="creating"):
    return json.dumps({"ociVersion": "1.0.2", "id": id, "status": status, "pid": pid, "bundle": bundle})


def test_fifty_hooks_at_once_give_fifty_addresses(host, place, bundle, work):
    places = [place() for _ in range(50)]
    path = bundle()
    started = []
    for i, one in enumerate(places):
        with open(f"{work}/state{i}", "w+") as f:
            f.write(state(f"c{i}", one.pid, path))
            f.seek(0)
            started.append(proc.start(host.argv("hook", "--subnet", "172.19.0.0/24", *SUBNET6), stdin=f.fileno()))
    assert [one.wait(60) for one in started] == [0] * 50
    found = host.list()
    assert len({a["address"] for one in found.values() for a in one["addresses"]}) == 100
    assert len({one["mac"] for one in found.values()}) == 50
    assert all(one["status"] == "up" for one in found.values())
    started = [proc.start(host.argv("rm", id)) for id in found]
    assert [one.wait(60) for one in started] == [0] * 50
    host.nothing_left()
    assert not os.path.exists("/sys/class/net/rt0")


def test_poststop_of_a_container_without_a_network_is_fine(host, bundle):
    host("hook", stdin=state("ghost", 0, bundle(), "stopped"))
    host.nothing_left()


@pytest.mark.parametrize("text, sentence", [
    ("", "reading the container's state"),
    ("[]", "must be an object"),
    ('{"id": "x", "status": "creating", "bundle": "/"}', "'pid' is missing"),
    ('{"id": "x", "status": "paused", "bundle": "/", "pid": 1}', "'status' is 'paused'"),
    ('{"id": "../x", "status": "stopped", "bundle": "/"}', "'../x' cannot be a container's id"),
    ('{"status": "stopped", "bundle": "/"}', "'id' is missing"),
])
def test_a_state_that_is_none_is_refused(host, text, sentence):
    assert sentence in host.refuses("hook", stdin=text) or sentence == "reading the container's state"
    host.nothing_left()


# Addresses

def test_the_same_id_finds_the_same_address_again(host, place):
    a, b = place(), place()
    host("create", "web", "--pid", a.pid, *SUBNET6)
    before = host.save("web")
    host("rm", "web")
    host("create", "other", "--pid", a.pid, *SUBNET6)
    host("create", "web", "--pid", b.pid, *SUBNET6)
    assert host.save("web") == before


def test_options_say_what_the_container_gets(host, place):
    a = place()
    host("create", "web", "--pid", a.pid, "--bridge", "br7", "--ifname", "net1", "--subnet", "10.7.0.0/24", "--ip", "10.7.0.9", "--gateway",
         "10.7.0.254", "--ip6", "fd07::9/112", "--mac", "02:00:00:00:07:09", "--mtu", "1400", "--static-route", "10.8.0.0/16=10.7.0.8")
    assert netns.devices(a.pid)["net1"] == {"mac": "02:00:00:00:07:09", "mtu": 1400, "up": True, "addresses": {"10.7.0.9/24", "fd07::9/112"}}
    routes = proc.run([*into(a.pid), "ip", "route"]).out
    assert "default via 10.7.0.254 dev net1" in routes and "10.8.0.0/16 via 10.7.0.8 dev net1" in routes
    assert netns.devices(os.getpid())["br7"]["addresses"] == {"10.7.0.254/24", "fd07::1/112"}


def test_ipv6_alone(host, place):
    a = place()
    host("create", "web", "--pid", a.pid, "--subnet", "none", *SUBNET6)
    assert host.address("web") is None
    assert netns.devices(a.pid)["eth0"]["addresses"] == {host.address("web", 6) + "/64"}


def test_a_namespace_by_its_path(host, place):
    a = place()
    host("create", "web", "--netns", a.path("net"))
    assert "eth0" in netns.devices(a.pid)
    assert host.list()["web"]["pid"] == 0


def test_a_pool_gives_all_it_has_and_then_says_so(host, place):
    for i in range(5):
        host("create", f"c{i}", "--pid", place().pid, "--subnet", "10.9.0.0/29")
    assert "no address is left in 10.9.0.0/29" in host.refuses("create", "c5", "--pid", place().pid, "--subnet", "10.9.0.0/29")
    assert sorted(host.address(f"c{i}") for i in range(5)) == [f"10.9.0.{n}" for n in range(2, 7)]
    host("rm", "c3")
    host("create", "c5", "--pid", place().pid, "--subnet", "10.9.0.0/29")


# The bridge

def test_a_bridge_of_the_operator_stays(host, place):
    proc.run(["ip", "link", "add", "ours0", "type", "bridge"])
    try:
        proc.run(["ip", "address", "add", "10.6.0.77/24", "dev", "ours0"])
        a = place()
        host("create", "web", "--pid", a.pid, "--bridge", "ours0", "--subnet", "10.6.0.0/24")
        assert "default via 10.6.0.77" in proc.run([*into(a.pid), "ip", "route"]).out
        host("rm", "web")
        host.nothing_left()
        assert os.path.exists("/sys/class/net/ours0")
    finally:
        proc.run(["ip", "link", "delete", "ours0"])


def test_hostless_leaves_the_host_out(host, place):
    proc.run(["ip", "link", "add", "ours0", "type", "bridge"])
    try:
        a, b = place(), place()
        for id, one in (("a", a), ("b", b)):
            host("create", id, "--pid", one.pid, "--bridge", "ours0", "--hostless")
        assert netns.devices(os.getpid())["ours0"]["addresses"] == set()
        assert "default" not in proc.run([*into(a.pid), "ip", "route"]).out
        server = proc.start([*into(a.pid), "/usr/bin/python3", "-c", ECHO.replace("daemon=True", "daemon=False") % 80])
        try:
            proc.eventually(lambda: ":0050 " in proc.run([*into(a.pid), "cat", "/proc/net/tcp6"]).out, what="the server")
            assert ask(host.address("a"), 80, into(b.pid)) == host.address("b")
        finally:
            server.kill()
            server.wait()
        for id in "ab":
            host("rm", id)
    finally:
        proc.run(["ip", "link", "delete", "ours0"])


def test_a_bridge_with_somebody_elses_port_is_not_removed(host, place):
    host("create", "web", "--pid", place().pid)
    proc.run(["ip", "link", "add", "guest0", "type", "veth", "peer", "name", "guest1"])
    try:
        proc.run(["ip", "link", "set", "guest0", "master", "rt0"])
        host("rm", "web")
        assert os.path.exists("/sys/class/net/rt0")
    finally:
        proc.run(["ip", "link", "delete", "guest0"])
    host("create", "web", "--pid", place().pid)
    host("rm", "web")
    assert not os.path.exists("/sys/class/net/rt0")


# NAT and published ports

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


# By hand

def test_the_list_for_people(host, place):
    a = place()
    host("create", "web", "--pid", a.pid, "--publish", "8080:80", "--ip", "172.19.0.9")
    header, line = host("ls").out.splitlines()
    assert header.split() == ["ID", "PID", "ADDRESS", "MAC", "BRIDGE", "PORTS", "STATUS"]
    assert line.split() == ["web", str(a.pid), "172.19.0.9/16", "02:72:ac:13:00:09", "rt0", "8080:80/tcp", "up"]
    assert host("ls", "-q").out == "web\n"


def test_the_list_says_what_is_gone(host, outlives_containers):
    with ns.Namespaces("net") as one:
        host("create", "web", "--pid", one.pid)
    assert host.list()["web"]["status"] == "gone"
    assert "its network namespace is gone" in host.refuses("release", "web")
    host("rm", "web")
    host.nothing_left()


def test_removing_what_is_not_there_is_said_once(host):
    assert host.refuses("rm", "web") == "container 'web' has no network of ours"
    host("rm", "--force", "web")
    host.nothing_left()


def test_save_and_load_make_the_same_network_again(host, place, work):
    a, b = place(), place()
    host("create", "web", "--pid", a.pid, *SUBNET6, "--nat", "--publish", "8080:80", "--static-route", "10.0.0.0/8=172.19.0.2", "--mtu", "1400")
    saved = host("save", "web").out
    before = netns.devices(a.pid)["eth0"]
    assert "address" in host.refuses("load", "clone", "--pid", b.pid, stdin=saved) and "is taken by 'web'" in host.refuses(
        "load", "clone", "--pid", b.pid, stdin=saved)
    host("rm", "web")
    host("load", "clone", "--pid", b.pid, stdin=saved)
    assert netns.devices(b.pid)["eth0"] == before
    assert host("save", "clone").out == saved


def test_on_another_host_its_own_address_is_the_gateway(host, hosts, place):
    a, b = hosts
    for number, one in enumerate(hosts):
        proc.run([*one.enter, "ip", "address", "add", f"172.19.0.{number + 1}/16", "dev", "rt0"])
    first, second = place(), place()
    # Processes of elsewhere, as far as the two hosts go: only the namespace counts.
    a("create", "web", "--pid", first.pid)
    saved = a("save", "web").out
    assert json.loads(saved)["addresses"][0]["gateway"] == "172.19.0.1"
    assert "bridge 'rt0' has no address 172.19.0.9" in b.refuses("load", "web", "--pid", second.pid, "--gateway", "172.19.0.9", stdin=saved)
    b("load", "web", "--pid", second.pid, stdin=saved)
    assert b.address("web") == a.address("web") and b.save("web")["addresses"][0]["gateway"] == "172.19.0.2"
    assert "default via 172.19.0.2" in proc.run([*into(second.pid), "ip", "route"]).out


def test_options_of_load_count_more(host, place):
    a, b = place(), place()
    host("create", "web", "--pid", a.pid, "--nat", "--publish", "8080:80")
    saved = host("save", "web").out
    host("load", "copy", "--pid", b.pid, "--ip", "172.19.0.88/16", "--mac", "02:00:00:00:00:88", "--nat=false", "--bridge", "rt0",
         stdin=saved.replace("8080:80", "8081:80"))
    assert host.save("copy") == {**json.loads(saved), "addresses": [{"address": "172.19.0.88/16", "gateway": "172.19.0.1"}],
                                 "mac": "02:00:00:00:00:88", "nat": False, "ports": ["8081:80/tcp"]}


@pytest.mark.parametrize("words, sentence", [
    (["--subnet", "172.19.0.0"], "'172.19.0.0' is no IPv4 prefix, ADDRESS/LENGTH"),
    (["--subnet", "172.19.0.0/33"], "prefix '172.19.0.0/33': its length is not between 0 and 32"),
    (["--subnet", "fd00::/64"], "'fd00::' is no IPv4 address"),
    (["--subnet", "10.0.0.1/32"], "10.0.0.1/32 has no room for the host's own address"),
    (["--subnet", "none"], "the container would get no address"),
    (["--ip", "10.0.0.1"], "address 10.0.0.1 is not in 172.19.0.0/16"),
    (["--ip", "172.19.0.0"], "address 172.19.0.0 is that of the network 172.19.0.0/16 itself"),
    (["--ip", "172.19.255.255"], "address 172.19.255.255 is the broadcast address of 172.19.0.0/16"),
    (["--ip", "172.19.0.1"], "address 172.19.0.1 is the gateway's"),
    (["--ip6", "fd00::1"], "address fd00::1 has no subnet"),
    (["--mac", "01:00:00:00:00:01"], "is a group's hardware address"),
    (["--mac", "zz"], "'zz' is no hardware address"),
    (["--mtu", "12"], "an MTU is between 68 and 65535, not 12"),
    (["--publish", "80"], "port '80' is not of the form"),
    (["--publish", "80:0"], "port '80:0': a port is a number between 1 and 65535"),
    (["--publish", "80:80/icmp"], "the protocol is tcp, udp or sctp, not 'icmp'"),
    (["--publish", "80:80", "--publish", "80:81"], "want the same port of the host"),
    (["--static-route", "10.0.0.0/8"], "route '10.0.0.0/8' is not of the form PREFIX=GATEWAY"),
    (["--ifname", "far-too-long-a-name"], "'far-too-long-a-name' cannot be the name of a network device"),
    (["--bridge", "lo"], "'lo' exists and is no bridge"),
    (["--hostless", "--bridge", "none0"], "there is no bridge 'none0', which with --hostless is yours to make"),
    (["--hostless", "--nat"], "NAT needs an address of the host on the bridge"),
    (["--bogus"], "unknown option '--bogus'"),
])
def test_wrong_words_are_one_sentence(host, place, words, sentence):
    assert sentence in host.refuses("create", "web", "--pid", place().pid, *words)
    host.nothing_left()


def test_what_is_taken_is_one_sentence(host, place):
    host("create", "web", "--pid", place().pid, "--ip", "172.19.0.9", "--publish", "8080:80")
    new = ("create", "new", "--pid", place().pid)
    assert "address 172.19.0.9 is taken by 'web'" in host.refuses(*new, "--ip", "172.19.0.9")
    assert "hardware address 02:72:ac:13:00:09 is taken by 'web'" in host.refuses(*new, "--mac", "02:72:ac:13:00:09")
    assert "port 127.0.0.1:8080:81/tcp: 'web' has published 8080:80/tcp already" in host.refuses(*new, "--publish", "127.0.0.1:8080:81")
    assert "subnet 172.19.7.0/24 overlaps with that of address 172.19.0.1" in host.refuses(*new, "--bridge", "rt1", "--subnet", "172.19.7.0/24")
    assert "there is no process" in host.refuses("create", "new", "--pid", 4194304)
    assert "cannot open network namespace '/nowhere'" in host.refuses("create", "new", "--netns", "/nowhere")
    assert "'/dev/null' is not a namespace" in host.refuses("create", "new", "--netns", "/dev/null")
    assert "give the network namespace by one of" in host.refuses("create", "new")
    assert "there is a network of this id already" in host.refuses("create", "web", "--pid", place().pid)
    assert set(host.list()) == {"web"}


def test_the_manual_page_and_the_help_name_every_command(host):
    manual, overview = host("man").out, host("help").out
    for name in ("hook", "create", "ls", "rm", "save", "load", "release", "detach", "attach", "announce"):
        assert f"\n  {name} " in overview
        assert f"\\fB{name}\\fR" in manual
        assert host(name, "--help").out.startswith(f"rt-netns {name} - ")


def test_two_state_directories_do_not_meet(host, place, work):
    other = netns.Host(work + "/net2")
    a, b = place(), place()
    host("create", "web", "--pid", a.pid, "--publish", "8080:80")
    other("create", "web", "--pid", b.pid, "--bridge", "rt1", "--subnet", "10.5.0.0/24", "--publish", "8081:80")
    assert "it has a network already" in other.refuses("create", "web", "--pid", b.pid)
    assert "8080" in frozen.nft_rules() and "8081" in frozen.nft_rules()
    other("rm", "web")
    other.nothing_left()
    assert "8080" in frozen.nft_rules() and "8081" not in frozen.nft_rules()
    assert netns.devices(a.pid)["eth0"]["up"]


# After a crash

def test_killed_anywhere_rm_cleans_completely(host, place):
    """Killed at the first, second, third ... of its system calls that write or send, until one run gets through."""
    needs.program("strace")
    one = place()
    for call in ("sendto", "sendmsg", "write", "renameat"):
        for number in range(1, 100):
            argv = host.argv("create", "web", "--pid", one.pid, *SUBNET6, "--nat", "--publish", "8080:80")
            done = proc.run(["strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}", *argv], ok=None)
            host("rm", "--force", "web")
            assert not os.path.exists(host.directory), (call, number, os.listdir(host.directory))
            assert frozen.nft_rules() == "" and not os.path.exists("/sys/class/net/rt0"), (call, number)
            assert set(netns.devices(one.pid)) == {"lo"}
            if done.code == 0:
                break
        else:
            pytest.fail(f"{call} never ended")


def test_a_half_made_one_can_be_made_again(host, place):
    needs.program("strace")
    one = place()
    argv = host.argv("create", "web", "--pid", one.pid)
    proc.run(["strace", "-o", "/dev/null", "-e", "trace=sendto", "-e", "inject=sendto:signal=KILL:when=8", *argv], ok=False)
    assert host.list()["web"]["status"] == "half made"
    assert "is half made" in host.refuses("detach", "web")
    host("create", "web", "--pid", one.pid)
    assert host.list()["web"]["status"] == "up" and netns.devices(one.pid)["eth0"]["up"]


def test_a_spoilt_record_blocks_nobody_and_can_be_removed(host, place):
    host("create", "web", "--pid", place().pid, "--publish", "8080:80")
    with open(host.directory + "/web.json", "w") as f:
        f.write("{")
    host("create", "new", "--pid", place().pid)
    assert set(host.list()) == {"new"}
    host("rm", "web")
    host("rm", "new")
    host.nothing_left()
    assert frozen.nft_rules() == "" and not os.path.exists("/sys/class/net/rt0")


# Checkpoint, restore, and moving to another host

class Talk:
    """A connection from our own network, or another, that is kept open."""

    SCRIPT = ("import socket, sys\ns = socket.create_connection((sys.argv[1], int(sys.argv[2]))); s.settimeout(20)\nf = s.makefile('rb')\n"
              "f.readline(); print('connected', flush=True)\n"
              "for line in sys.stdin:\n    s.sendall(line.encode()); print(f.readline().decode().strip(), flush=True)\n")

    def __init__(self, address, port, enter=()):
        self.process = subprocess.Popen([*enter, "/usr/bin/python3", "-c", self.SCRIPT, address, str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, close_fds=True)
        assert self.receive() == "connected"

    def send(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        assert line, "the connection is gone"
        return line.strip()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def talk():
    made = []

    def make(*args, **how):
        made.append(Talk(*args, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


TCP = "--tcp-established"


def test_a_restored_container_has_its_address_and_its_connections(inside, host, talk):
    """Twice. The clients: the host, whose end of the bridge goes away with the container and comes back, and a neighbour."""
    needs.criu()
    c = served(inside, host, *SUBNET6, "--publish", "8080:80")
    neighbour = served(inside, host, *SUBNET6)
    before = host.save(c.id)
    talks = [talk(host.address(c.id), 80), talk(host.address(c.id, 6), 80),
             talk(host.address(c.id), 80, into(neighbour.pid))]
    for turn in range(2):
        images = frozen.checkpoint(c, TCP, name=f"images{turn}")
        assert c.id not in host.list()
        for one in talks:
            one.send("still there?")  # to nobody
        frozen.restore(c, images, TCP)
        assert host.save(c.id) == before
        assert [one.receive() for one in talks] == ["still there?"] * len(talks)
    assert netns.devices(c.pid)["eth0"]["mac"] == before["mac"]


def test_no_connection_is_reset_between_the_hook_and_criu_s_lock(inside, host, talk):
    """CRIU locks the network only after the hooks, of which another one takes its time."""
    needs.criu()
    c = inside(started=False)
    host.add_hooks(c)
    c.config["hooks"]["createRuntime"].append({"path": "/bin/sleep", "args": ["sleep", "1"]})
    c.run_detached()
    c.do(ECHO % 80)
    one = talk(host.address(c.id), 80)
    images = frozen.checkpoint(c, TCP)
    one.send("still there?")
    frozen.restore(c, images, TCP)
    assert one.receive() == "still there?"


def test_a_namespace_that_outlives_the_container_keeps_nothing(inside, host, network):
    needs.criu()
    c = inside(started=False)
    config.set_namespace(c.config, "network", network.path("net"))
    host.add_hooks(c).run_detached()
    frozen.around(c)
    assert set(netns.devices(network.pid)) == {"lo", "eth0"}
    c.delete("--force")
    assert set(netns.devices(network.pid)) == {"lo"} and frozen.nft_rules(network.enter) == ""
    host.nothing_left()


def test_the_bridge_itself_may_go_and_come_back(inside, host, talk):
    needs.criu()
    c = served(inside, host)
    one = talk(host.address(c.id), 80)
    images = frozen.checkpoint(c, TCP)
    assert not os.path.exists("/sys/class/net/rt0")
    one.send("still there?")
    frozen.restore(c, images, TCP)
    assert one.receive() == "still there?"


def test_an_annotation_says_which_address_a_restored_container_has(inside, host, talk):
    """Under another id, which alone would have found another address."""
    needs.criu()
    c = served(inside, host, *SUBNET6)
    before = host.save(c.id)
    one = talk(host.address(c.id), 80)
    c.config["annotations"] = {"org.rt.netns": json.dumps(before)}
    images = frozen.checkpoint(c, TCP)
    c.write_config()
    with frozen.twin(c, c.id + "-moved") as twin:
        frozen.restore(twin, images, TCP)
        assert host.save(twin.id) == before
        one.send("still there?")
        assert one.receive() == "still there?"


def test_a_record_that_is_still_there_is_taken_over(host, bundle, outlives_containers):
    """As when a host crashed before poststop: the hook of the next life finds the record of the last."""
    path = bundle()
    with ns.Namespaces("net") as first:
        host("hook", "--subnet", "172.19.0.0/24", stdin=state("web", first.pid, path))
        host("create", "squatter", "--pid", first.pid, "--ifname", "eth1", "--hostless")
    before = host.save("web")
    with ns.Namespaces("net") as second:
        host("hook", "--subnet", "172.19.0.0/24", stdin=state("web", second.pid, path))
        assert host.save("web") == before
        assert host.list()["web"]["status"] == "up"


def test_a_namespace_with_the_number_of_the_last_one_is_another_one(host, bundle):
    """The kernel uses the numbers of namespaces again, at once."""
    path = bundle()
    with ns.Namespaces("net") as first:
        host("hook", stdin=state("web", first.pid, path))
        number = os.stat(first.path("net")).st_ino
    record = json.loads(open(host.directory + "/web.json").read())
    assert record["inode"] == number
    with ns.Namespaces("net") as second:
        record["inode"] = os.stat(second.path("net")).st_ino
        with open(host.directory + "/web.json", "w") as f:
            json.dump(record, f)
        host("hook", stdin=state("web", second.pid, path))
        assert host.list()["web"]["status"] == "up" and "eth0" in netns.devices(second.pid)


def test_rules_of_the_last_life_go_with_it(host, bundle):
    path = bundle()
    with ns.Namespaces("net") as first:
        host("hook", "--publish", "8080:80", "--nat", stdin=state("web", first.pid, path))
    with ns.Namespaces("net") as second:
        host("hook", stdin=state("web", second.pid, path))
        assert frozen.nft_rules() == ""


def test_an_annotation_that_makes_no_sense_is_one_sentence(host, place, bundle):
    one = place()
    for text, sentence in (("{", "reading annotation 'org.rt.netns'"), ('{"addresses": [{"address": "1.2.3.4"}]}', "'1.2.3.4' is no prefix"),
                           ('{"addresses": ["x"]}', "'addresses[0]' must be an object"), ('{"mac": 5}', "'mac' must be a string")):
        assert sentence in host.refuses("hook", stdin=state("web", one.pid, bundle(text))), text
        host.nothing_left()


def test_held_back_nothing_is_heard_until_the_release(host, place):
    watcher, one = place(), place()
    host("create", "watcher", "--pid", watcher.pid, *SUBNET6)
    with netns.Capture("rt0") as capture:
        host("create", "web", "--pid", one.pid, *SUBNET6, "--hold")
        assert host.list()["web"]["status"] == "held"
        assert netns.devices(one.pid)["eth0"]["up"]
        saved, mac = host.save("web"), host.save("web")["mac"]
        assert "it is held" in host.refuses("announce", "web")
        # It may send what it likes, and others may ask for it.
        one.run(["/usr/bin/python3", "-c", ASK.replace("timeout=5", "timeout=0.2"), host.address("watcher"), "80"], ok=False)
        proc.run(["/usr/bin/python3", "-c", ASK.replace("timeout=5", "timeout=0.2"), host.address("web"), "80"], ok=False)
        assert netns.of_mac(capture.frames(), mac) == []
        host("release", "web")
        frames = capture.frames()
    heard = netns.gratuitous_arp(frames, host.address("web"))
    assert sorted(f[21] for f in heard) == [1, 2]
    assert {f[6:12] for f in heard} == {f[22:28] for f in heard} == {bytes.fromhex(mac.replace(":", ""))}
    assert [f[80:86] for f in netns.advertisements(frames, host.address("web", 6))] == [bytes.fromhex(mac.replace(":", ""))]
    assert host.save("web") == saved and host.list()["web"]["status"] == "up"
    host("release", "web")  # again does no harm


def test_announcing_again(host, place):
    host("create", "web", "--pid", place().pid, *SUBNET6)
    with netns.Capture("rt0") as capture:
        host("announce", "--count", "3", "web")
        frames = capture.frames()
    assert len(netns.gratuitous_arp(frames, host.address("web"))) == 6
    assert len(netns.advertisements(frames, host.address("web", 6))) == 3


def test_a_detached_container_is_silent_until_it_is_attached(inside, host, talk):
    c = served(inside, host)
    one = talk(host.address(c.id), 80)
    mac = host.save(c.id)["mac"]
    with netns.Capture("rt0") as capture:
        host("detach", c.id)
        assert host.list()[c.id]["status"] == "detached"
        capture.frames(0.05)
        one.send("anybody?")  # to a process that would answer, and a kernel that would say RST or answer ARP
        proc.run(["ip", "neigh", "flush", "dev", "rt0"])
        assert netns.of_mac(capture.frames(0.5), mac) == []
        host("attach", c.id)
        assert netns.gratuitous_arp(capture.frames(0.1), host.address(c.id))
    assert one.receive() == "anybody?"


def test_a_detached_one_is_removed_like_any_other(container, host):
    c = host.add_hooks(container(["sleep", "1000"]))
    c.run_detached()
    host("detach", c.id)
    c.delete("--force")
    host.nothing_left()


def test_a_container_moves_to_another_host_with_its_connections(inside, hosts, talk, work):
    """As a migration does it: detach here, hold there, restore, release there; the switch learns the new way at once."""
    needs.criu()
    a, b = hosts
    c = inside(started=False, enter=a.enter)
    a.add_hooks(c, "--hostless", *SUBNET6)
    c.run_detached()
    c.do(ECHO % 80)
    talks = [talk(a.address(c.id), 80), talk(a.address(c.id, 6), 80)]
    for one in talks:
        one.send("here")
        assert one.receive() == "here"
    saved = a("save", c.id).out
    a("detach", c.id)
    for one in talks:
        one.send("there")  # on its way while nobody is at home
    images = frozen.checkpoint(c, TCP)
    a.nothing_left()
    assert "rt0" in proc.run([*a.enter, "ip", "link"]).out

    moved = c
    moved.enter, moved.root = b.enter, work + "/root-b"
    moved.config["hooks"] = {}
    moved.config["annotations"] = {"org.rt.netns": json.dumps({**json.loads(saved), "hold": True})}
    b.add_hooks(moved, "--hostless", *SUBNET6)
    moved.write_config()
    with netns.Capture("switch0") as capture:
        frozen.restore(moved, images, TCP)
        mac = b.save(moved.id)["mac"]
        assert json.loads(saved)["mac"] == mac and b.address(moved.id) == json.loads(saved)["addresses"][0]["address"].split("/")[0]
        assert netns.of_mac(capture.frames(0.3), mac) == []
        b("release", moved.id)
        heard = capture.frames(0.2)
        assert netns.gratuitous_arp(heard, b.address(moved.id)) and netns.advertisements(heard, b.address(moved.id, 6))
    for one in talks:
        assert one.receive() == "there"
        one.send("and on")
        assert one.receive() == "and on"
