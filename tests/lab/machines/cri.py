"""Kubernetes' container runtime interface (CRI), as the kubelet speaks it: gRPC to the CRI plugin of containerd in a guest.

Debian has no crictl; what it does is little: a call is one HTTP/2 request, which curl can make in the guest, and a message is protobuf, of which the few fields that
are wanted here are written and read by number (`k8s.io/cri-api`, runtime.v1). A message is a dictionary {number: value}; a value is an int, a text, bytes, a message, or a
list of them.
"""

import base64
import re

SERVICES = {"RuntimeService": "runtime.v1.RuntimeService", "ImageService": "runtime.v1.ImageService"}


class CriError(Exception):
    pass


# ---- protobuf ----

def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7f:
        out += bytes([number & 0x7f | 0x80])
        number >>= 7
    return out + bytes([number])


def encoded(message):
    out = b""
    for number, values in message.items():
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int):
                out += varint(number << 3) + varint(value)
                continue
            data = encoded(value) if isinstance(value, dict) else value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return number, at


class Message:
    """What was received: m[3] is the first field of that number as it came (an int, or bytes), m.message(3) a message in it, m.text(3) a text."""

    def __init__(self, data):
        self.fields = {}
        at = 0
        while at < len(data):
            tag, at = read_varint(data, at)
            if tag & 7 == 0:
                value, at = read_varint(data, at)
            elif tag & 7 == 2:
                length, at = read_varint(data, at)
                value, at = data[at:at + length], at + length
            else:
                length = {1: 8, 5: 4}[tag & 7]
                value, at = data[at:at + length], at + length
            self.fields.setdefault(tag >> 3, []).append(value)

    def __contains__(self, number):
        return number in self.fields

    def __getitem__(self, number):
        return self.fields[number][0]

    def number(self, number):
        return self[number] if number in self else 0

    def text(self, number):
        return self[number].decode(errors="replace") if number in self else ""

    def message(self, number):
        return Message(self[number] if number in self else b"")


# ---- gRPC ----

class Cri:
    def __init__(self, guest, socket):
        self.guest, self.socket = guest, socket

    def call(self, method, message=None, service="RuntimeService", timeout=120):
        """What the method answers; CriError with the service's own sentence if that is a failure."""
        data = encoded(message or {})
        frame = base64.b64encode(b"\0" + len(data).to_bytes(4, "big") + data).decode()
        result = self.guest.run(
            f"d=$(mktemp -d); echo {frame} | base64 -d >$d/in; curl -sS --http2-prior-knowledge --unix-socket {self.socket} -H 'content-type: application/grpc' "
            f"-H 'te: trailers' --data-binary @$d/in -D $d/head -o $d/out http://cri/{SERVICES[service]}/{method} && base64 -w0 $d/out; echo; cat $d/head; rm -r $d",
            timeout=timeout)
        body, _, head = result.out.partition("\n")
        status = re.search(r"^grpc-status: (\d+)", head, re.M | re.I)
        if not status:
            raise CriError(f"{method}: no answer: {result!r}")
        if status[1] != "0":
            said = re.search(r"^grpc-message: (.*?)\r?$", head, re.M | re.I)
            raise CriError(f"{method}: {status[1]}: {said and re.sub('%([0-9A-F]{2})', lambda m: chr(int(m[1], 16)), said[1])}")
        return Message(base64.b64decode(body)[5:])
