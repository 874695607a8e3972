"""Hosts, network namespaces and servers for the tests of rt-netns."""

import json
import os

import pytest

from . import netns, ns, proc

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
