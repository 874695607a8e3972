"""A link between two sides that can be cut, or turn a byte of what goes over it."""

import socket
import struct
import threading
import time


class Flow:
    """One connection: how far it is, and where the byte is that is to be turned (None: not there yet)."""

    def __init__(self):
        self.sent, self.asked, self.at = [0, 0], False, None


class Link:
    """A TCP relay: through() as long as nothing is wrong; hold() keeps every byte back, reset() ends all connections and refuses new ones. spoil() turns one byte: of
    the first request whose path ends so, or of the answer to it, counted from the end of its head (negative: from the head's begin)."""

    def __init__(self, to):
        self.to, self.mode, self.rule, self.spoilt = to, "through", None, False
        self.lock, self.flows = threading.Lock(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.ended = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if self.mode == "reset":
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                near.close()
                continue
            threading.Thread(target=self.connect, args=(near,), daemon=True).start()

    def connect(self, near):
        while self.mode == "hold" and not self.ended:
            time.sleep(0.005)
        try:
            far = socket.create_connection(("127.0.0.1", self.to))
        except OSError:
            near.close()
            return
        for s in near, far:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.lock:
            self.flows += [near, far]
        flow = Flow()
        for a, b, back in (near, far, 0), (far, near, 1):
            threading.Thread(target=self.pump, args=(a, b, back, flow), daemon=True).start()

    def pump(self, a, b, back, flow):
        try:
            while data := a.recv(65536):
                while self.mode == "hold" and not self.ended:
                    time.sleep(0.005)
                b.sendall(self.spoil_in(data, back, flow))
        except OSError:
            pass
        for s, how in (b, socket.SHUT_WR), (a, socket.SHUT_RD):
            try:
                s.shutdown(how)
            except OSError:
                pass
        if back:
            for s in a, b:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def spoil(self, path, offset, back=False):
        self.rule = (path.encode() + b" HTTP/1.1\r\n", offset, int(back))

    def spoil_in(self, data, back, flow):
        with self.lock:
            begin, flow.sent[back] = flow.sent[back], flow.sent[back] + len(data)
            if not self.rule or self.spoilt:
                return data
            path, offset, wanted = self.rule
            if not back and not flow.asked and path in data:
                flow.asked = True
            elif not (flow.asked and back == wanted):
                return data
            if back != wanted:
                return data
            if flow.at is None:
                place = 0 if offset < 0 else data.find(b"\r\n\r\n", data.find(path) if not back else 0) + 4
                if offset >= 0 and place < 4:
                    return data
                flow.at = begin + place + abs(offset)
            if begin <= flow.at < begin + len(data):
                place = flow.at - begin
                data = data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1:]
                self.spoilt = True
        return data

    def hold(self):
        self.mode = "hold"

    def through(self):
        self.mode = "through"

    def reset(self):
        self.mode = "reset"
        self.drop()

    def drop(self):
        with self.lock:
            flows, self.flows = self.flows, []
        for s in flows:
            try:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def close(self):
        self.ended = True
        self.drop()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
