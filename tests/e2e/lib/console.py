"""Terminals, from the side of whoever sits in front of them."""

import array
import fcntl
import os
import pty
import select
import socket
import struct
import subprocess
import termios
import time


class Terminal:
    """The master end of a pty: what the program prints can be waited for, and typed to."""

    def __init__(self, fd):
        self.fd = fd
        self.seen = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def read(self, timeout=0.2):
        """What has come within the time; "" when nothing came or the other end is closed."""
        ready, _, _ = select.select([self.fd], [], [], timeout)
        if not ready:
            return ""
        try:
            text = os.read(self.fd, 65536).decode(errors="replace")
        except OSError:  # EIO: nobody holds the other end any more
            return ""
        self.seen += text
        return text

    def expect(self, text, timeout=20):
        """Waits until text has been printed; what came before it is consumed with it."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            assert time.monotonic() < deadline, f"no {text!r} on the terminal: {self.seen!r}"
            self.read()
        before, _, self.seen = self.seen.partition(text)
        return before

    def read_to_end(self, timeout=20):
        """Everything until the other end closes."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.fd], [], [], 0.2)
            if ready and not self.read():
                break
        text, self.seen = self.seen, ""
        return text

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def size(self):
        answer = fcntl.ioctl(self.fd, termios.TIOCGWINSZ, b"\0" * 8)
        return struct.unpack("HHHH", answer)[:2]

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ConsoleSocket:
    """Listens where --console-socket points and receives the terminal the runtime sends."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(self.path)
        self.socket.listen(1)
        self.name = None

    def receive(self, timeout=20):
        """The Terminal; the message that came with it is in self.name."""
        self.socket.settimeout(timeout)
        connection, _ = self.socket.accept()
        with connection:
            connection.settimeout(timeout)
            fds = array.array("i")
            data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize))
            for level, kind, payload in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(payload[:fds.itemsize])
        assert len(fds) == 1, f"no descriptor came with {data!r}"
        self.name = data.decode(errors="replace")
        os.set_inheritable(fds[0], False)
        return Terminal(fds[0])

    def close(self):
        self.socket.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class OnTerminal:
    """A program whose stdin, stdout and stderr are a terminal, as if a person had typed it."""

    def __init__(self, argv, env=None, cwd=None, size=(24, 80)):
        master, slave = pty.openpty()
        self.terminal = Terminal(master)
        self.terminal.resize(*size)
        self.process = subprocess.Popen(
            [str(a) for a in argv], stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd,
            close_fds=True, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def wait(self, timeout=30):
        """Its exit status; the terminal is drained meanwhile, so that it cannot block."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"still running: {self.terminal.seen!r}"
            self.terminal.read(0.05)
        while self.terminal.read(0.05):
            pass
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.terminal.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
