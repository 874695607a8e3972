"""Migration between two guests: networks for containers, certificates, `rt receive` as a service, and clients in the third place."""

import json
import os
import signal
import subprocess

from . import image as images
from .container import RT, Container, wait_for

PORT = 7443
WEB, STORE = "172.19.0.10", "172.19.0.11"  # addresses of containers
HOOK = {"path": f"{images.PROJECT}/build/rt-netns", "args": ["rt-netns", "hook"]}

CLIENT = r"""
import socket, sys, time
address, port, request, answer = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3]), eval(sys.argv[4])
s = socket.create_connection((address, port)); s.settimeout(120)
count, slowest = 0, 0
print("connected", flush=True)
import signal
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
while not stop:
    began = time.monotonic()
    s.sendall(request)
    got = b""
    while answer not in got:
        more = s.recv(65536)
        if not more:
            print("closed after", count, flush=True); sys.exit(1)
        got += more
    count += 1
    slowest = max(slowest, time.monotonic() - began)
    time.sleep(0.05)
print(count, slowest, flush=True)
"""


class Client:
    """One connection that is kept and used all the time, from this machine."""

    def __init__(self, network, address, port, request, answer):
        self.process = subprocess.Popen([*network.enter, "/usr/bin/python3", "-c", CLIENT, address, str(port), repr(request), repr(answer)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line == "connected\n", self.process.communicate()

    def end(self):
        """(requests answered, seconds of the slowest); fails if the connection did."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=150)
        assert self.process.returncode == 0, (out, err)
        count, slowest = out.split()
        return int(count), float(slowest)

    def kill(self):
        self.process.kill()
        self.process.communicate()


def certificates(work):
    """A CA, and a certificate for each guest: {name: (pem, key)} as texts."""
    if not os.path.exists(f"{work}/ca.pem"):
        def certtool(*words):
            images.call(["certtool", *words], cwd=work)
        certtool("--generate-privkey", "--key-type", "ecdsa", "--outfile", "ca.key")
        images.write(f"{work}/ca.template", 'cn = "lab"\nca\ncert_signing_key\nexpiration_days = 30\n')
        certtool("--generate-self-signed", "--load-privkey", "ca.key", "--template", "ca.template", "--outfile", "ca.pem")
        images.write(f"{work}/host.template", 'cn = "guest"\n' + "".join(f"ip_address = 10.99.0.{n}\n" for n in range(1, 9)) +
                     "tls_www_server\ntls_www_client\nexpiration_days = 30\n")
        certtool("--generate-privkey", "--key-type", "ecdsa", "--outfile", "host.key")
        certtool("--generate-certificate", "--load-privkey", "host.key", "--load-ca-certificate", "ca.pem", "--load-ca-privkey", "ca.key",
                 "--template", "host.template", "--outfile", "host.pem")
    return {name: open(f"{work}/{name}").read() for name in ("ca.pem", "host.pem", "host.key")}


class Move:
    """What `rt migrate --json` said."""

    def __init__(self, result):
        self.code = result.code
        self.err = result.err
        self.events = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
        self.rounds = [e for e in self.events if e["event"] == "round"]
        self.notes = [e["text"] for e in self.events if e["event"] == "note"]
        last = self.events[-1] if self.events else {}
        self.done = last if last.get("event") == "done" else None


class Moving:
    """Two guests between which containers can move. Guests of different releases (same=False) have different programs: there a bundle is made on the first
    and copied to the second, as an image of an engine would be."""

    def __init__(self, lab, a, b, same=True):
        self.lab, self.network = lab, lab.network
        self.guests = [a, b]
        self.same = same
        self.containers, self.clients = [], []
        for guest in self.guests:
            self.prepare(guest)

    def prepare(self, guest):
        """Also after a guest has lost its power: its disk has the rest."""
        for name, text in certificates(self.lab.work).items():
            guest.put(text, f"/etc/rt/{name}", "600")
        guest.put("one-token-for-the-whole-lab\n", "/etc/rt/token", "600")
        n = guest.number
        # Its address is given: systemd makes one of the machine's id, which guests of one image share.
        guest.run(f"ip link show rt0 >/dev/null 2>&1 || {{ ip address flush dev eth1; ip link add rt0 address 52:54:00:88:00:{n:02x} type bridge; ip link set eth1 master rt0 up; "
                  f"ip address add 10.99.0.{n}/24 dev rt0; ip address add 172.19.0.{n}/16 dev rt0; ip link set rt0 up; }}")
        self.receive(guest)

    def receive(self, guest, *flags):
        """As docs/rt-receive.service does it."""
        guest.run("systemctl stop rt-receive 2>/dev/null; systemctl reset-failed rt-receive 2>/dev/null; systemd-run -q --unit=rt-receive "
                  f"--property=KillMode=process --setenv=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --setenv=RT_MIGRATE_PAUSE=/run/lab-pause "
                  f"{RT} receive --listen 10.99.0.{guest.number}:{PORT} --cert /etc/rt/host.pem --key /etc/rt/host.key --token-file /etc/rt/token "
                  f"--bundles /var/lib/bundles --timeout 60 {' '.join(flags)}; mkdir -p -m 700 /run/lab-pause; "
                  f"for i in $(seq 60); do ss -ltn | grep -q :{PORT} && exit 0; systemctl is-active -q rt-receive || break; sleep 0.3; done; journalctl -u rt-receive --no-pager | tail -5 >&2; exit 1")

    def container(self, id, kind, args=(), address=None, changes=None):
        """On the first guest, with its bundle on both."""
        changes = dict(changes or {})
        if address:
            hook = {**HOOK, "args": [*HOOK["args"], "--ip", address]}
            changes["hooks"] = {"createRuntime": [hook], "poststop": [hook]}
        first, second = self.guests
        made = Container(first, id, kind, args, changes)
        if self.same:
            self.containers.append(Container(second, id, kind, args, changes))
        else:
            first.copy_to(second, made.dir)
            self.containers.append(made.at(second))
        self.containers.append(made)
        return made

    def web(self):
        """nginx, with workers under www-data."""
        c = self.container("web", "nginx", address=WEB).run_detached()
        wait_for(lambda: c.guest.run(f"curl -s -m 5 http://{WEB}/hello", ok=None).out == "hello from nginx\n", "nginx to answer")
        return c

    def talk_to_web(self):
        return self.client(WEB, 80, b"GET /hello HTTP/1.1\r\nHost: lab\r\n\r\n", b"hello from nginx\n")

    def store(self):
        """redis with 40 MiB in it."""
        c = self.container("store", "redis", address=STORE).run_detached()
        wait_for(lambda: "PONG" in self.redis(c, "ping", ok=None), "redis to answer")
        self.redis(c, "eval", "for i = 1, 40 do redis.call('set', 'k' .. i, string.rep(string.char(i % 250 + 1), 1048576)) end return 1", "0")
        return c

    def write_to_store(self):
        """Each request writes one of a hundred places; how often it was done is in "count"."""
        return self.client(STORE, 6379, b"EVAL \"local n = redis.call('incr', 'count') redis.call('set', 'w' .. n % 100, string.rep(n, 1000)) return 'wrote'\" 0\r\n",
                           b"$5\r\nwrote\r\n")

    @staticmethod
    def redis(c, *words, ok=True):
        return c.rt("exec", c.id, "redis-cli", *words, ok=ok).out

    def digest(self, c):
        """Of what store() put there."""
        return self.redis(c, "debug", "digest-value", *(f"k{i}" for i in range(1, 41)))

    @staticmethod
    def workers(c):
        """The users of its processes."""
        return c.guest.run(f"for p in $({RT} ps -f json {c.id} | tr '[],' '   '); do stat -c %u /proc/$p; done | sort -n").out.split()

    def client(self, address, port, request, answer):
        self.clients.append(Client(self.network, address, port, request, answer))
        return self.clients[-1]

    def other(self, guest):
        return self.guests[1 - self.guests.index(guest)]

    def command(self, c, *flags):
        to = self.other(c.guest)
        return [RT, "migrate", "--json", "--cacert", "/etc/rt/ca.pem", "--token-file", "/etc/rt/token", "--timeout", "60", *flags, c.id, f"https://10.99.0.{to.number}:{PORT}"]

    def migrate(self, c, *flags, ok=True, timeout=240):
        """(what was said, the container on the other guest)"""
        move = Move(c.guest.run(self.command(c, *flags), ok=ok, timeout=timeout))
        return move, c.at(self.other(c.guest))

    def where(self, c):
        """On which guests it lives."""
        return [guest.name for guest in self.guests if c.at(guest).status in ("running", "paused")]

    def close(self):
        for client in self.clients:
            client.kill()
        for c in self.containers:
            c.close()
