"""rt-netns catch: what is sent to a container while it moves waits for it."""

import json
import os
import signal
import socket
import struct
import subprocess
import time

import pytest

from lib import netns, ns, proc

ADDRESS, ADDRESS6 = "172.19.0.40", "fd00:19::40"
MAC = "02:72:ac:13:00:28"
SAVED = json.dumps({"mac": MAC, "addresses": [{"address": ADDRESS + "/16"}, {"address": ADDRESS6 + "/64"}]})
OPTIONS = ("--hostless",)


@pytest.fixture
def host(work):
    """Our network as a host, with a bridge rt0 at which we are ourselves, 172.19.0.200."""
    proc.run(["ip", "link", "add", "rt0", "type", "bridge"])
    proc.run(["ip", "address", "add", "172.19.0.200/16", "dev", "rt0"])
    proc.run(["ip", "address", "add", "fd00:19::c8/64", "dev", "rt0", "nodad"])
    proc.run(["ip", "link", "set", "rt0", "up"])
    one = netns.Host(work + "/net")
    yield one
    one.remove_all()
    proc.run(["ip", "link", "delete", "rt0"])


@pytest.fixture
def place(outlives_containers):
    """The network namespace of a container that is held back: place(host)."""
    def make(host):
        one = outlives_containers.enter_context(ns.Namespaces("net"))
        host("load", "web", "--pid", one.pid, "--hold", *OPTIONS, stdin=SAVED)
        return one
    return make


class Catcher:
    def __init__(self, host, saved=SAVED):
        self.process = subprocess.Popen(host.argv("catch", "web", *OPTIONS), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, close_fds=True)
        self.process.stdin.write(saved + "\n")
        self.process.stdin.flush()
        self.heard("ready")

    def heard(self, word):
        line = self.process.stdout.readline()
        assert line.startswith(word), (line, self.process.stderr.read() if not line else "")
        return line

    def say(self, word, answer):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.heard(answer)

    def release(self):
        """(frames, lost), and its end."""
        words = self.say("release", "released").split()
        assert self.process.wait(10) == 0
        return int(words[1]), int(words[3])

    def close(self):
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()


@pytest.fixture
def catcher():
    made = []

    def make(*args, **how):
        made.append(Catcher(*args, **how))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ports():
    """The devices at the bridge."""
    return {link["ifname"] for link in json.loads(proc.run(["ip", "-j", "link", "show", "master", "rt0"]).out or "[]")}


def nothing_is_left():
    proc.eventually(lambda: not [n for n in os.listdir("/sys/class/net") if n.startswith("rc")], what="the pair to go")


class Receiver:
    """In the container: numbers that came by UDP."""

    SCRIPT = ("import signal, socket, sys\nsignal.alarm(20)\ns = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
              "s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE\ns.bind(('::', 99)); print('up', flush=True)\n"
              "while True:\n    print(s.recv(100).decode(), flush=True)\n")

    def __init__(self, place):
        self.process = subprocess.Popen([*place.enter, "/usr/bin/python3", "-c", self.SCRIPT], stdout=subprocess.PIPE, text=True, close_fds=True)
        assert self.process.stdout.readline() == "up\n"

    def next(self, count):
        lines = [self.process.stdout.readline() for _ in range(count)]
        assert all(lines), f"only {sum(map(bool, lines))} of {count} came"
        return list(map(int, lines))

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def receiver():
    made = []

    def make(place):
        made.append(Receiver(place))
        return made[-1]

    yield make
    for one in made:
        one.close()


def send(numbers, address=ADDRESS):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        for n in numbers:
            s.sendto(str(n).encode(), (address, 99))


def known(*addresses):
    """Until we know where the addresses are: the kernel keeps few packets while it asks."""
    for address in addresses:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", (address, 98))
        proc.eventually(lambda address=address: MAC in proc.run(["ip", "neigh", "show", address]).out, what=f"an answer for {address}")


def test_it_announces_and_answers_who_asks(host, catcher):
    one = catcher(host)
    with netns.Capture("rt0") as capture:
        assert netns.of_mac(capture.frames(0.1), MAC) == [] and ports() == set(), "nothing before it is told to"
        one.say("start", "started")
        frames = capture.frames(0.2)
    assert len(ports()) == 1
    assert sorted(f[21] for f in netns.gratuitous_arp(frames, ADDRESS)) == [1, 2] and netns.advertisements(frames, ADDRESS6)
    known(ADDRESS, ADDRESS6)


@pytest.mark.parametrize("address", (ADDRESS, ADDRESS6))
def test_all_that_was_sent_comes_once_and_in_order(host, place, catcher, receiver, address):
    one = catcher(host)
    one.say("start", "started")
    web = place(host)
    inside = receiver(web)
    known(address)
    send(range(1000), address)
    one.say("join", "joined")
    assert len(ports()) == 2 and host.list()["web"]["status"] == "up"
    send(range(1000, 1500), address)
    frames, lost = one.release()
    send(range(1500, 1600), address)
    assert inside.next(1600) == list(range(1600))
    assert frames >= 1500 and lost == 0
    assert len(ports()) == 1
    nothing_is_left()
    send([7], address)
    assert inside.next(1) == [7]


def test_nothing_gets_lost_or_overtaken_while_it_is_handed_over(host, place, catcher, receiver):
    one = catcher(host)
    one.say("start", "started")
    inside = receiver(place(host))
    known(ADDRESS)
    script = ("import socket, sys, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"for n in range(3000):\n    s.sendto(str(n).encode(), ('{ADDRESS}', 99)); time.sleep(0.0002)\n")
    sender = subprocess.Popen(["/usr/bin/python3", "-c", script], close_fds=True)
    try:
        assert inside.process.poll() is None
        time.sleep(0.2)
        one.say("join", "joined")
        time.sleep(0.05)
        frames, lost = one.release()
        came = inside.next(3000)
        assert sorted(came) == list(range(3000)) and lost == 0
        # What was in flight at the very moment of the switch may be overtaken: a few frames, of a sender that sends one every 200 us.
        assert sum(a > b for a, b in zip(came, came[1:])) <= 32
        assert 0 < frames < 3000
    finally:
        sender.kill()
        sender.wait()


def test_a_connection_is_made_by_the_syn_that_was_caught(host, place, catcher):
    """And a transfer that the kernel has neither cut nor summed up (GSO) arrives whole."""
    one = catcher(host)
    one.say("start", "started")
    web = place(host)
    server = ("import signal, socket\nsignal.alarm(20)\ns = socket.create_server(('', 80)); print('up', flush=True); c = s.accept()[0]; n = 0\n"
              "while True:\n    d = c.recv(1 << 20)\n    n += len(d)\n    if not d: break\nc.sendall(str(n).encode()); c.close()\n")
    inside = subprocess.Popen([*web.enter, "/usr/bin/python3", "-c", server], stdout=subprocess.PIPE, text=True, close_fds=True)
    try:
        assert inside.stdout.readline() == "up\n"
        s = socket.socket()
        s.setblocking(False)
        began = time.monotonic()
        assert s.connect_ex((ADDRESS, 80)) != 0
        time.sleep(0.1)
        one.say("join", "joined")
        # CRIU would keep the network closed here; now it runs.
        one.process.stdin.write("release\n")
        one.process.stdin.flush()
        s.settimeout(10)
        while s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != b"\x01":
            assert time.monotonic() - began < 5
            time.sleep(0.002)
        assert time.monotonic() - began < 0.9, "no second SYN, which comes after a second, was needed"
        s.sendall(b"x" * 300000)
        s.shutdown(socket.SHUT_WR)
        assert s.recv(100) == b"300000"
        s.close()
    finally:
        inside.kill()
        inside.wait()
        inside.stdout.close()


def datagram(number, port=99):
    """As rt_tap.h has it: no notes of the kernel, Ethernet, IPv4, UDP without a checksum."""
    content = str(number).encode()
    udp = struct.pack("!HHHH", 4000, port, 8 + len(content), 0) + content
    source, target = (socket.inet_aton(a) for a in ("172.19.0.200", ADDRESS))
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, target)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xffff) + (total >> 16)
    head = head[:10] + struct.pack("!H", 0xffff - (total & 0xffff) - (total >> 16)) + head[12:]
    return bytes(10) + bytes.fromhex(MAC.replace(":", "")) + b"\x02\0\0\0\0\x01\x08\0" + head + udp


def test_frames_that_came_before_are_handed_over_first(host, place, catcher, receiver):
    one = catcher(host)
    one.process.stdin.write("start\n" + "".join(f"frame {datagram(n).hex()}\n" for n in range(300)))
    one.process.stdin.flush()
    one.heard("started")
    web = place(host)
    inside = receiver(web)
    known(ADDRESS)
    send(range(300, 400))
    one.say("join", "joined")
    frames, lost = one.release()
    assert inside.next(400) == list(range(400))
    assert frames >= 400 and lost == 0


@pytest.mark.parametrize("line, sentence", (("frame 0", "even length"), ("frame zz", "even length"), ("frame 00", "1 bytes only"), ("frame " + "00" * 3000, "line of over"),
                                            ("keep", "not start, frame, join or release")))
def test_a_line_that_makes_no_sense_ends_it(host, catcher, line, sentence):
    one = catcher(host)
    one.process.stdin.write(line + "\n")
    one.process.stdin.flush()
    assert one.process.wait(10) != 0
    said = one.process.stderr.read()
    assert sentence in said and said.count("\n") == 1
    nothing_is_left()


def test_large_segments_wait_and_arrive_whole(host, place, catcher):
    """A connection in the middle of a transfer: the kernel hands the catcher bundles of segments without checksums."""
    web = place(host)
    host("release", "web")
    server = ("import signal, socket\nsignal.alarm(20)\ns = socket.create_server(('', 80)); print('up', flush=True); c = s.accept()[0]\n"
              "while True:\n    d = c.recv(1 << 20)\n    if not d: break\n    c.sendall(str(len(d)).encode() + b' ')\n")
    inside = subprocess.Popen([*web.enter, "/usr/bin/python3", "-c", server], stdout=subprocess.PIPE, text=True, close_fds=True)
    try:
        assert inside.stdout.readline() == "up\n"
        s = socket.create_connection((ADDRESS, 80), timeout=10)
        host("detach", "web")
        one = catcher(host)
        one.say("start", "started")
        began = time.monotonic()
        s.sendall(b"x" * 12000)
        time.sleep(0.05)
        frames, lost = one.release()
        came = 0
        while came < 12000:
            words = s.recv(1000)
            came += sum(map(int, words.split()))
        assert came == 12000 and lost == 0 and frames >= 1
        assert time.monotonic() - began < 0.2, "nothing was sent again"
        s.close()
    finally:
        inside.kill()
        inside.wait()
        inside.stdout.close()


def test_the_end_of_its_input_is_the_end_of_all(host, catcher):
    one = catcher(host)
    one.say("start", "started")
    send([1])
    one.process.stdin.close()
    assert one.process.wait(10) == 0
    assert ports() == set()
    host.nothing_left()


@pytest.mark.parametrize("word", (None, "start", "join"))
def test_killed_it_takes_the_pair_along(host, place, catcher, word):
    one = catcher(host)
    if word:
        one.say("start", "started")
        place(host)
    if word == "join":
        one.say("join", "joined")
    one.process.send_signal(signal.SIGKILL)
    one.process.wait()
    nothing_is_left()
    if word:
        host("release", "web")
        host("rm", "web")
    assert ports() == set()
    host.nothing_left()


def test_rm_takes_it_away(host, place, catcher):
    one = catcher(host)
    one.say("start", "started")
    place(host)
    host("rm", "web")
    assert ports() == set()
    nothing_is_left()
    one.process.stdin.close()
    assert one.process.wait(10) == 0
    host.nothing_left()


def test_a_second_one_takes_over_from_one_that_was_killed(host, catcher):
    catcher(host).process.send_signal(signal.SIGKILL)
    catcher(host).say("start", "started")
    assert len(ports()) == 1


@pytest.mark.parametrize("saved, options, sentence", [
    ("{", (), "standard input has no network as JSON"),
    ('{"addresses": 5}', (), "'addresses' must be an array"),
    ('{"addresses": []}', (), "'mac' is missing"),
    (SAVED, ("--bridge", "none0"), "there is no bridge 'none0'"),
    (SAVED + "dance\n", (), "standard input says 'dance', not start, frame, join or release"),
    (SAVED + "join\n", (), "is not there yet"),
])
def test_wrong_words_are_one_sentence(host, saved, options, sentence):
    result = host("catch", "web", *OPTIONS, *options, stdin=saved, ok=False)
    assert sentence in result.err and len(result.err.splitlines()) == 1 and result.out in ("", "ready\n")
    nothing_is_left()
    host.nothing_left()
