"""The network of the guests: a switch in a network namespace of this machine's, with a port for each guest.

Whoever stands in that namespace is a third host on the guests' network, as quick as this machine is: clients belong there. Guests have their other
network device from QEMU, with which they reach this machine's packages.
"""

import ctypes
import fcntl
import os
import struct
import subprocess

from . import image as images
from .guest import dies_with_us

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000

libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """Hosts have the addresses 10.99.0.1 and up, containers any of 172.19.0.0/16; we are 10.99.0.254 and 172.19.0.200."""

    def __init__(self):
        self.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       preexec_fn=dies_with_us)
        self.holder.stdout.readline()
        self.run(["sh", "-ec", "ip link set lo up; ip link add switch type bridge; ip address add 10.99.0.254/24 dev switch; "
                               "ip address add 172.19.0.200/16 dev switch; ip link set switch up"])
        self.count = 0
        self.taps = []

    @property
    def enter(self):
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--"]

    def run(self, argv):
        return images.call([*self.enter, *argv])

    def wire(self):
        """A port of the switch, as a device of a guest: what Guest wants in `wires`."""
        self.count += 1
        name = f"port{self.count}"
        fd = self.tap(name)
        self.run(["ip", "link", "set", name, "master", "switch", "up"])
        return [f"tap,fd={fd}", f"52:54:00:99:00:{self.count:02x}", [fd]]

    def tap(self, name):
        """A tap device in the network, and its descriptor; it is gone when that is closed."""
        ours = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        theirs = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(theirs)
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
            self.taps.append(fd)
            return fd
        finally:
            enter(ours)
            os.close(ours)
            os.close(theirs)

    def cut(self, number, cut=True):
        """Pulls the plug of a guest's wire, or puts it in again."""
        self.run(["ip", "link", "set", f"port{number}", "down" if cut else "up"])

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        for fd in self.taps:
            os.close(fd)


def enter(fd):
    if libc.setns(fd, CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "setns: " + os.strerror(ctypes.get_errno()))
