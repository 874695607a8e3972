"""A plain TCP copy, as quick as one connection and one thread at each end make it.

    tcp.py receive PORT >FILE         takes one connection, to its end
    tcp.py send HOST PORT <FILE       what stdin holds
    tcp.py zeros HOST PORT BYTES      from memory; prints the seconds until the other side has all of it
    tcp.py discard PORT               the other side of that

It says "ready" on stderr when it listens, and answers one byte when all is there.
"""

import os
import socket
import sys
import time

ROOM = 1 << 20


def accept(port):
    with socket.create_server(("", port)) as server:
        os.write(2, b"ready\n")
        return server.accept()[0]


def receive(port, fd):
    buffer = memoryview(bytearray(ROOM))
    with accept(port) as peer:
        while size := peer.recv_into(buffer):
            done = 0
            while fd is not None and done < size:
                done += os.write(fd, buffer[done:size])
        peer.sendall(b"!")


def finish(peer):
    peer.shutdown(socket.SHUT_WR)
    if peer.recv(1) != b"!":
        sys.exit("the other side has not got all of it")


def send(host, port):
    with socket.create_connection((host, port)) as peer:
        try:
            while os.sendfile(peer.fileno(), 0, None, 1 << 30):
                pass
        except OSError:  # a pipe
            while block := os.read(0, ROOM):
                peer.sendall(block)
        finish(peer)


def zeros(host, port, size):
    block = memoryview(os.urandom(ROOM))
    with socket.create_connection((host, port)) as peer:
        began = time.monotonic()
        for at in range(0, size, ROOM):
            peer.sendall(block[:min(ROOM, size - at)])
        finish(peer)
        print(time.monotonic() - began)


verb, *words = sys.argv[1:]
if verb == "receive":
    receive(int(words[0]), 1)
elif verb == "discard":
    receive(int(words[0]), None)
elif verb == "send":
    send(words[0], int(words[1]))
else:
    zeros(words[0], int(words[1]), int(words[2]))
