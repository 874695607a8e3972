"""Clients of a service that is moved, each in a process of its own.

    probe = Probe(address, 80, HTTP); ...; gap, replies = probe.end()
    writer = Writer(address, mib, rate); ...; writer.end()          # {"acknowledged": [(second, bytes)], "broken": connections}
"""

import collections
import json
import os
import random
import select
import signal
import socket
import struct
import time

HTTP = b"GET /hello HTTP/1.0\r\n\r\n", b"HTTP/1.1 200"
PING = b"PING\r\n", b"+PONG"
EVERY = 0.002
VALUE = 4096
TICK = 0.01
CLOSE_AT_ONCE = struct.pack("ii", 1, 0)


class Client:
    """A process that runs work(ended) until it is told to end, and hands back what that returned."""

    def __init__(self):
        read_end, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(write_end)
            self.answer = read_end
            return
        try:
            os.close(read_end)
            told = []
            signal.signal(signal.SIGTERM, lambda *_: told.append(1))
            with open(write_end, "w") as out:
                json.dump(self.work(lambda: told), out)
        finally:
            os._exit(0)

    def end(self):
        if not self.pid:
            return None
        os.kill(self.pid, signal.SIGTERM)
        with open(self.answer) as f:
            text = f.read()
        os.waitpid(self.pid, 0)
        self.pid = 0
        return json.loads(text)


def answers(address, port, words):
    """One request, as anybody would make it."""
    try:
        with socket.create_connection((address, port), timeout=0.2) as one:
            one.sendall(words[0])
            return one.recv(200).startswith(words[1])
    except OSError:
        return False


class Probe(Client):
    """A request on a new connection every 2 ms, whatever became of those before: so a lost packet, which TCP sends again only after a
    second, does not decide what is measured. end(): the times of all replies."""

    def __init__(self, address, port, words):
        self.where, (self.request, self.reply) = (address, port), words
        super().__init__()

    def connect(self):
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, CLOSE_AT_ONCE)
        try:
            one.connect(self.where)
        except BlockingIOError:
            return one
        except OSError:
            one.close()
            return None
        return one

    def work(self, ended):
        poller, waiting, order, replies = select.epoll(), {}, collections.deque(), []
        due = time.monotonic()

        def drop(fd):
            if fd in waiting:
                poller.unregister(fd)
                waiting.pop(fd)[0].close()

        while not ended():
            now = time.monotonic()
            if now >= due:
                one = self.connect()
                if one:
                    waiting[one.fileno()] = one, now
                    order.append((one.fileno(), now))
                    poller.register(one.fileno(), select.EPOLLOUT)
                due = max(due + EVERY, now)
            while order and now - order[0][1] > 0.4:
                fd, when = order.popleft()
                if fd in waiting and waiting[fd][1] == when:
                    drop(fd)
            for fd, events in poller.poll(max(0, due - time.monotonic())):
                try:
                    if events & select.EPOLLOUT and not events & (select.EPOLLERR | select.EPOLLHUP):
                        waiting[fd][0].send(self.request)
                        poller.modify(fd, select.EPOLLIN)
                        continue
                    if waiting[fd][0].recv(200).startswith(self.reply):
                        replies.append(time.monotonic())
                except OSError:
                    pass
                drop(fd)
        return replies


def longest_gap(replies, since, until):
    """Seconds: the longest time without a reply that overlaps since..until; None where none came afterwards."""
    gaps = [(b - a, b) for a, b in zip(replies, replies[1:]) if b > since and a < until]
    return max(gaps)[0] if gaps and replies[-1] > until else None


def set_commands(keys, most=20000):
    """For keys spread evenly over so many."""
    value = b"$%d\r\n%s\r\n" % (VALUE, os.urandom(VALUE // 2).hex().encode())
    names = [b"k:%d" % n for n in range(0, keys, max(1, keys // most))]
    return [b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n%s" % (len(name), name, value) for name in names]


def connect(where):
    one = socket.create_connection(where, timeout=30)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


class Writer(Client):
    """SETs of 4 KiB to keys that are there, in no order, so many bytes a second in a batch each 10 ms (rate 0: as fast as they are
    acknowledged, 8 at a time), over one connection; a new one if it breaks."""

    def __init__(self, address, mib, rate):
        self.where, self.keys, self.rate = (address, 6379), mib * (1 << 20) // VALUE, rate
        super().__init__()

    def batch(self, ahead):
        size = max(1, int(self.rate * TICK / VALUE)) if self.rate else 8
        return b"".join(random.choices(ahead, k=size)), size

    def work(self, ended):
        ahead = set_commands(self.keys)
        acknowledged, broken, one, due = [], 0, connect(self.where), time.monotonic()
        while not ended():
            due = max(due, time.monotonic() - 0.2)  # what was missed in a pause is not made up for, but for the last of it
            words, size = self.batch(ahead)
            try:
                if one is None:
                    one = connect(self.where)
                one.sendall(words)
                missing = size * 5
                while missing:
                    got = len(one.recv(missing))
                    if not got:
                        raise ConnectionResetError
                    missing -= got
                acknowledged.append((time.monotonic(), size * VALUE))
            except OSError:
                broken += one is not None
                if one:
                    one.close()
                one = None
                time.sleep(0.005)
            due += max(TICK, VALUE / self.rate) if self.rate else 0
            pause = due - time.monotonic()
            if self.rate and pause > 0:
                time.sleep(pause)
        return {"acknowledged": acknowledged, "broken": broken}
