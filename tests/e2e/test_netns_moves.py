"""rt-netns: checkpoint, restore, and moving to another host."""

import json
import os
import subprocess

import pytest

from lib import config, frozen, needs, netns, ns, proc
from lib.netns_places import ASK, ECHO, SUBNET6, bundle, host, hosts, into, place, served, state  # noqa: F401 (fixtures are used by their names)


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
