"""Namespaces to run things in, held open by a process that does nothing else."""

import os
import subprocess

from . import cgroup, proc


class Namespaces:
    """A process in new mount and/or network namespaces, and the prefix that enters them.

        with Namespaces("mount") as ns:
            ns.run(["mount", "-t", "tmpfs", "none", "/mnt"])
            proc.run([*ns.enter, "ls", "/mnt"])
    """

    FLAGS = {"mount": "--mount", "net": "--net", "ipc": "--ipc", "uts": "--uts", "pid": "--pid",
             "user": "--user", "cgroup": "--cgroup", "time": "--time"}

    def __init__(self, *kinds):
        self.kinds = kinds
        argv = ["unshare", *[self.FLAGS[k] for k in kinds], "--kill-child"]
        if "mount" in kinds:
            argv += ["--propagation", "private"]
        # It tells when it is there: unshare(1) has done its work by then.
        self.process = subprocess.Popen(
            [*argv, "--fork", "sh", "-c", "echo $$; exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, close_fds=True, text=True)
        self.process.stdout.readline()
        self.pid = self._holder()

    def _holder(self):
        """The child of unshare(1), which is the one that is in all of them (PID included)."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            return int(f.read().split()[0])

    @property
    def enter(self):
        """Words to put before a command."""
        return ["nsenter", "--target", str(self.pid), *[self.FLAGS[k] for k in self.kinds], "--"]

    def path(self, kind):
        """The namespace as a file, for linux.namespaces[].path."""
        return f"/proc/{self.pid}/ns/{'mnt' if kind == 'mount' else kind}"

    def run(self, argv, **how):
        return proc.run([*self.enter, *argv], **how)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()  # --kill-child takes the holder along
            self.process.wait()
        self.process.stdout.close()
        proc.eventually(lambda: not os.path.exists(f"/proc/{self.pid}"),
                        what="the holder of the namespaces to end")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def cgroup2_only():
    """A mount namespace as on a machine without cgroup v1: cgroup2 at /sys/fs/cgroup, alone.

    It needs no controllers for freeze, kill and device filters; limits need them."""
    ns = Namespaces("mount")
    if cgroup.is_v2_only():
        return ns
    ns.run(["umount", "-R", "/sys/fs/cgroup"])
    ns.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"])
    return ns


def network():
    """A network namespace with lo up."""
    ns = Namespaces("net")
    ns.run(["ip", "link", "set", "lo", "up"])
    return ns


class Link:
    """Two network namespaces with a veth between them: 10.99.0.1 (a) and 10.99.0.2 (b)."""

    def __init__(self):
        self.a = network()
        self.b = network()
        proc.run([*self.a.enter, "ip", "link", "add", "eth0", "type", "veth", "peer", "name",
                  "eth0", "netns", str(self.b.pid)])
        for ns, address in ((self.a, "10.99.0.1/24"), (self.b, "10.99.0.2/24")):
            ns.run(["ip", "address", "add", address, "dev", "eth0"])
            ns.run(["ip", "link", "set", "eth0", "up"])

    def close(self):
        self.a.close()
        self.b.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
