"""rt-netns, and containers that have it as their hook."""

import json
import os
import shutil
import socket
import struct
import time

import pytest

from . import container as containers
from . import proc

ETH_P_ALL = 3


def program():
    """Built beside the runtime under test; else the one that is installed."""
    found = os.environ.get("RT_NETNS") or os.path.join(os.path.dirname(containers.runtime()), "rt-netns")
    found = found if os.path.exists(found) else shutil.which("rt-netns")
    if not found:
        pytest.skip("no rt-netns was built: libmnl or libnftables is missing")
    return os.path.abspath(found)


class Host:
    """One host's rt-netns: its state directory, and the prefix that enters its network."""

    def __init__(self, directory, enter=()):
        self.directory = directory
        self.enter = list(enter)

    def argv(self, *words):
        return [*self.enter, program(), "--state-dir", self.directory, *map(str, words)]

    def __call__(self, *words, **how):
        return proc.run(self.argv(*words), **how)

    def refuses(self, *words, **how):
        """The one sentence of a failure."""
        result = self(*words, ok=False, **how)
        lines = result.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("rt-netns: ") and result.out == "", repr(result)
        return lines[0].removeprefix("rt-netns: ")

    def list(self):
        return {one["id"]: one for one in json.loads(self("ls", "--format", "json").out)}

    def save(self, id):
        return json.loads(self("save", id).out)

    def address(self, id, family=4):
        """Without its length; None: it has none."""
        found = [a["address"].split("/")[0] for a in self.save(id)["addresses"] if (":" in a["address"]) == (family == 6)]
        return found[0] if found else None

    def hook(self, *options):
        """As config.json has it."""
        argv = self.argv("hook", *options)
        return {"path": shutil.which(argv[0]), "args": argv}

    def add_hooks(self, c, *options, kind="createRuntime"):
        c.config.setdefault("hooks", {})
        for one in (kind, "poststop"):
            c.config["hooks"].setdefault(one, []).append(self.hook(*options))
        return c

    def remove_all(self):
        for id in self("ls", "--quiet", ok=None).out.split():
            self("rm", id, ok=None)

    def nothing_left(self):
        assert not os.path.exists(self.directory)


def devices(pid):
    """{name: {"mac", "mtu", "addresses"}} of a process's network."""
    links = json.loads(proc.run(["nsenter", "-t", pid, "-n", "ip", "-j", "address"]).out)
    return {link["ifname"]: {"mac": link["address"], "mtu": link["mtu"],
                             "up": "UP" in link["flags"],
                             "addresses": {f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"}}
            for link in links}


class Capture:
    """Frames that reach a device of our network namespace from now on."""

    def __init__(self, device):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.bind((device, ETH_P_ALL))
        self.socket.settimeout(0.02)

    def frames(self, seconds=0.3):
        """[bytes], of so many seconds from now."""
        found = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                found.append(self.socket.recv(2048))
            except TimeoutError:
                pass
        return found

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def of_mac(frames, mac):
    return [f for f in frames if f[6:12] == bytes.fromhex(mac.replace(":", ""))]


def gratuitous_arp(frames, address):
    """Those ARP frames that announce the address: sender and target are the same."""
    ip = socket.inet_aton(address)
    return [f for f in frames if f[12:14] == b"\x08\x06" and f[28:32] == ip and f[38:42] == ip]


def advertisements(frames, address):
    """Unsolicited neighbour advertisements for the address, whose checksum is right."""
    return [f for f in frames if f[12:14] == b"\x86\xdd" and f[20] == 58 and f[54] == 136
            and f[62:78] == socket.inet_pton(socket.AF_INET6, address) and icmp6_is_right(f)]


def icmp6_is_right(frame):
    message = frame[54:]
    data = frame[22:54] + struct.pack("!II", len(message), 58) + message
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total == 0xffff
