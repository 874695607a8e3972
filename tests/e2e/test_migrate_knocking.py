"""Migration while connections are being made all the time."""

import collections
import socket
import threading

from lib import netns, proc
from lib.hosts import LAN


class Knocking:
    """Somebody who makes a new connection every 2 ms and asks nothing: whatever moment is chosen, one is being made."""

    def __init__(self, address, port):
        self.where, self.ended, self.made = (address, port), threading.Event(), 0
        self.thread = threading.Thread(target=self.knock)

    def knock(self):
        open_ones = collections.deque()
        while not self.ended.wait(0.002):
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            one.connect_ex(self.where)
            self.made += 1
            open_ones.append(one)
            if len(open_ones) > 50:
                open_ones.popleft().close()
        for one in open_ones:
            one.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.ended.set()
        self.thread.join()


def test_connections_that_are_made_just_then_are_no_reason_to_fail(hosts):
    """CRIU dumps no connection that a server has not accepted. Where the state of rt-netns is kept elsewhere, too."""
    hosts.lan()
    for host in hosts.made:
        host.receive()
    address = LAN + ".10"
    c = hosts.a.container(kind="nginx")
    with open(c.rootfs + "/etc/nginx/nginx.conf", "a") as f:
        f.write("user root;\n")  # without CAP_SYS_RESOURCE another user's workers can't be dumped
    netns.Host("/run/elsewhere").add_hooks(c, "--ip", address)
    hosts.b.put_bundle(c)
    c.run_detached()

    def answers():
        try:
            with socket.create_connection((address, 80), timeout=1) as one:
                one.sendall(b"GET /hello HTTP/1.0\r\n\r\n")
                return b"hello from nginx" in one.recv(1000)
        except OSError:
            return False

    proc.eventually(answers, what="nginx to answer")
    with Knocking(address, 80) as knocking:
        for _ in range(4):
            before = knocking.made
            c = hosts.migrate(c).container
            assert knocking.made > before
            proc.eventually(answers, what="nginx to answer on the other side")
