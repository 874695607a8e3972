"""Kubernetes' container runtime interface (CRI), as the kubelet speaks it: gRPC to the CRI plugin of containerd in a guest.

Debian has no crictl; what it does is little: a call is one HTTP/2 request, which curl can make in the guest, and a message is protobuf, of which the few fields that
are wanted here are written and read by number (`k8s.io/cri-api`, runtime.v1). A message is a dictionary {number: value}; a value is an int, a text, bytes, a message, or a
list of them.
"""

import base64
import re

from lib.message import parse, varint

SERVICES = {"RuntimeService": "runtime.v1.RuntimeService", "ImageService": "runtime.v1.ImageService"}


class CriError(Exception):
    pass


# ---- protobuf ----

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


class Message:
    """What was received: m[3] is the first field of that number as it came (an int, or bytes), m.message(3) a message in it, m.text(3) a text."""

    def __init__(self, data):
        self.fields = {}
        for number, _, value in parse(data):
            self.fields.setdefault(number, []).append(value)

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
