"""A guest: an image booted in QEMU, and commands in it.

    with Guest("a", image, work) as guest:
        guest.run("systemctl is-system-running").out
        guest.get("/var/log/x", "x")

Guests share their image: what one writes goes to a file of its own, so it can lose its power (kill_power) and boot again with what was on its disk.
A guest never outlives the process that started it.
"""

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import time

from . import image as images

SSH = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes",
       "-o", "ServerAliveInterval=20", "-o", "ServerAliveCountMax=30", "-o", "ConnectTimeout=30"]
PR_SET_PDEATHSIG = 1
# Emulated, these cost time: a level of page tables, string instructions byte by byte, and what ends a block of translated code at every access to a user's memory.
EMULATED = "max,la57=off,erms=off,fsrm=off,smap=off,smep=off,pku=off"
KERNEL = "root=/dev/nvme0n1 rw console=ttyS0 quiet net.ifnames=0 panic=-1 transparent_hugepage=never mitigations=off nokaslr systemd.show_status=0"

libc = ctypes.CDLL(None, use_errno=True)


class Result:
    def __init__(self, words, code, out, err, seconds):
        self.words, self.code, self.out, self.err, self.seconds = words, code, out, err, seconds

    def __repr__(self):
        return f"<{self.words!r}: {self.code} in {self.seconds:.1f} s\nout: {self.out[-6000:]}\nerr: {self.err[-6000:]}>"


class GuestError(Exception):
    pass


def dies_with_us():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def accelerator():
    """KVM where it works, which a device node alone does not say."""
    if os.environ.get("RT_LAB_ACCEL"):
        return os.environ["RT_LAB_ACCEL"]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    try:
        # A machine that can't do it says so at once; one that can sits at its monitor until it is told to quit.
        done = subprocess.run(["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-machine", "q35", "-nodefaults", "-display", "none", "-S",
                               "-monitor", "stdio"], input="quit\n", capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "tcg"
    return "kvm" if done.returncode == 0 and not done.stderr else "tcg"


class Guest:
    def __init__(self, name, image, work, project=None, memory=2048, wires=(), accel=None):
        """wires: the further network devices, each [backend words of -netdev, MAC address, descriptors to pass]."""
        self.name = name
        self.image = image
        self.work = work
        self.project = project
        self.memory = memory
        self.wires = list(wires)
        self.accel = accel or accelerator()
        self.disk = f"{work}/{name}.qcow2"
        self.console = f"{work}/{name}.console"
        self.control = f"{work}/{name}.ssh"
        self.process = None
        self.master = None
        self.port = None
        images.call(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image.path, "-F", "raw", self.disk])

    # Power

    def argv(self, network=True, append=""):
        words = ["qemu-system-x86_64", "-name", f"lab-{self.name}", "-machine", "q35", "-smp", "1", "-m", str(self.memory), "-nodefaults", "-display", "none",
                 "-no-reboot", "-accel", "tcg,thread=multi" if self.accel == "tcg" else self.accel, "-cpu", EMULATED if self.accel == "tcg" else "host",
                 "-kernel", self.image.kernel, "-append", f"{KERNEL} systemd.hostname={self.name} {append}", "-serial", f"file:{self.console}",
                 "-drive", f"file={self.disk},if=none,id=root,format=qcow2,cache=unsafe,discard=unmap", "-device", "nvme,serial=root,drive=root",
                 "-device", "virtio-rng-pci"]
        if network:
            words += ["-netdev", f"user,id=user,hostfwd=tcp:127.0.0.1:{self.port}-:22", "-device", "virtio-net-pci,netdev=user,romfile="]
        if self.image.initrd:
            words += ["-initrd", self.image.initrd]
        if self.project:  # no second nvme: which of two becomes nvme0 is a matter of luck
            words += ["-drive", f"file={self.project},if=none,id=project,format=raw,snapshot=on,cache=unsafe", "-device", "virtio-blk-pci,drive=project"]
        for number, (backend, mac, _) in enumerate(self.wires):
            words += ["-netdev", f"{backend},id=wire{number}", "-device", f"virtio-net-pci,netdev=wire{number},mac={mac},romfile="]
        return words

    def start(self):
        self.port = free_port()
        descriptors = [fd for _, _, fds in self.wires for fd in fds]
        with open(f"{self.work}/{self.name}.qemu", "ab") as log:
            self.process = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=descriptors, preexec_fn=dies_with_us)
        return self

    def wait_up(self, timeout=480):
        """Until commands can be run; with a project, until that is at /rt."""
        deadline = time.monotonic() + timeout
        while True:
            if self.process.poll() is not None:
                raise GuestError(f"guest '{self.name}' ended: {self.said()}")
            if self.listens() and self.connect(deadline - time.monotonic()):
                break
            if time.monotonic() > deadline:
                raise GuestError(f"guest '{self.name}' cannot be reached after {timeout} s: {self.said()}")
            time.sleep(0.5)
        if self.project:
            self.run(f"udevadm settle; mkdir -p {images.PROJECT} && mount LABEL=project {images.PROJECT}")
        return self

    def listens(self):
        """Whether its ssh server says what it is. QEMU takes a connection before the guest does, and then asks there in ever longer intervals: so each look is a new one."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=3) as s:
                return s.recv(4) == b"SSH-"
        except OSError:
            return False

    def said(self):
        """The last of its console, and of QEMU's own words."""
        text = ""
        for path in (self.console, f"{self.work}/{self.name}.qemu"):
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    text += f.read()[-3000:]
        return text

    def kill_power(self):
        """What is not on the disk is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()
        self.disconnect()

    def shut_down(self, timeout=120):
        self.run("systemctl poweroff", ok=None)
        self.disconnect()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill_power()
            raise GuestError(f"guest '{self.name}' does not power off: {self.said()}") from None

    def __enter__(self):
        return self.start().wait_up()

    def __exit__(self, *_):
        self.kill_power()

    # Commands

    def ssh(self, *words):
        return ["ssh", *SSH, "-i", images.key(), "-o", f"ControlPath={self.control}", "-p", str(self.port), "root@127.0.0.1", *words]

    def connect(self, timeout):
        """One connection, over which all commands go: it costs a second to make in a guest without KVM."""
        self.disconnect()
        self.master = subprocess.Popen(self.ssh("-M", "-N", "-o", "BatchMode=yes"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL, preexec_fn=dies_with_us)
        deadline = time.monotonic() + min(timeout, 60)
        while time.monotonic() < deadline:
            if os.path.exists(self.control):
                return True
            if self.master.poll() is not None:
                return False
            time.sleep(0.1)
        return False

    def disconnect(self):
        if self.master:
            self.master.kill()
            self.master.wait()
            self.master = None
        if os.path.exists(self.control):
            os.unlink(self.control)

    def argv_of(self, command, user=None):
        """A command of the host that runs one in the guest: a shell script, or a list of words."""
        script = command if isinstance(command, str) else shlex.join(command)
        if user:
            # As in a session: where the user's systemd listens.
            script = f"runuser -l {user} -c {shlex.quote('export XDG_RUNTIME_DIR=/run/user/$(id -u); ' + script)}"
        return self.ssh("--", f"export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8; {script}")

    def run(self, command, ok=True, timeout=120, user=None, stdin=None):
        """ok=True: it must succeed; False: it must fail; None: either. Raises GuestError when the time is over."""
        began = time.monotonic()
        try:
            done = subprocess.run(self.argv_of(command, user), input=stdin if stdin is not None else "", capture_output=True, text=True,
                                  errors="replace", timeout=timeout, check=False)
        except subprocess.TimeoutExpired as e:
            raise GuestError(f"guest '{self.name}': {command!r} is not done after {timeout} s: {text_of(e.stdout)} {text_of(e.stderr)}") from None
        result = Result(command, done.returncode, done.stdout, done.stderr, time.monotonic() - began)
        if ok is not None and (result.code == 0) != ok:
            raise GuestError(f"guest '{self.name}': {'failed' if ok else 'should have failed'}: {result!r}")
        return result

    def spawn(self, command, log, user=None):
        """Starts a command that goes on, its output in the host's file `log`."""
        with open(log, "ab") as f:
            return subprocess.Popen(self.argv_of(command, user), stdin=subprocess.DEVNULL, stdout=f, stderr=f, preexec_fn=dies_with_us)

    def put(self, text, path, mode="644"):
        self.run(f"mkdir -p $(dirname {path}) && cat >{path} && chmod {mode} {path}", stdin=text)

    def get(self, path, to):
        """A file of the guest, to the host."""
        with open(to, "wb") as f:
            done = subprocess.run(self.argv_of(["cat", path]), stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.PIPE, check=False)
        if done.returncode:
            raise GuestError(f"guest '{self.name}': cannot take '{path}' out: {done.stderr.decode(errors='replace')}")

    def push(self, directory, path):
        """A directory of the host, to the guest."""
        self.unpack(["tar", "-C", str(directory), "-c", "."], path)

    def copy_to(self, other, path):
        """A directory, to the same place of another guest."""
        other.unpack(self.argv_of(["tar", "-C", path, "-c", "."]), path)

    def unpack(self, argv, path):
        """What a command of the host packs."""
        pack = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        unpack = subprocess.run(self.argv_of(f"mkdir -p {path} && tar -C {path} -x"), stdin=pack.stdout, capture_output=True, check=False, timeout=240)
        pack.stdout.close()
        if pack.wait() or unpack.returncode:
            raise GuestError(f"guest '{self.name}': cannot fill '{path}': {text_of(unpack.stderr)}")


def text_of(data):
    return (data or b"").decode(errors="replace")[-2000:] if isinstance(data, bytes) else (data or "")[-2000:]
