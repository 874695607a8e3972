"""Real container engines from the distribution's packages, each on a host of its own.

That host is a nested tests/setup/sandbox: no engine sees the machine's network, storage, /run or
cgroups, and all it started is gone when the sandbox is.
"""

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile

from . import cgroup, console, container, host, proc, rootfs

SANDBOX = os.path.normpath(os.path.join(os.path.dirname(__file__), "../../setup/sandbox"))
HOME = "/run/engine"  # where an engine keeps everything, inside its sandbox
IMAGE = "localhost/busybox:test"


class EngineHost:
    def __init__(self):
        self.process = subprocess.Popen(
            [SANDBOX, "sh", "-c", f"mkdir {HOME}; echo ready; exec sleep infinity"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, close_fds=True, text=True)
        assert self.process.stdout.readline() == "ready\n", "the sandbox did not start"
        self.pid = self._find_inside()
        self.enter = [SANDBOX, "--enter", str(self.pid), "--"]
        # What an engine does with cgroups in there is its own affair.
        for h in cgroup.hierarchies():
            host.expected_cgroups.add(f"{h.mountpoint}/rt-sandbox-{self.process.pid}")

    def _find_inside(self):
        """The pid, as we see it, of the sandbox's init: the child in another PID namespace."""
        ours = os.readlink("/proc/self/ns/pid")
        for pid in children(self.process.pid):
            if os.readlink(f"/proc/{pid}/ns/pid") != ours:
                return pid
        raise AssertionError("no init in the sandbox")

    def run(self, argv, **how):
        return proc.run([*self.enter, *argv], **how)

    def start(self, argv, **how):
        return proc.start([*self.enter, *argv], **how)

    def on_terminal(self, argv):
        return console.OnTerminal([*self.enter, *argv])

    def write(self, path, text):
        self.run(["sh", "-c", f"mkdir -p $(dirname {path}); cat >{path}"], stdin=text)

    def read(self, path):
        return self.run(["cat", path]).out

    def listing(self, path):
        """The names in a directory, none if it is not there."""
        return self.run(["sh", "-c", f"ls -A {path} 2>/dev/null || true"]).out.split()

    def runtime_processes(self):
        """Processes of the runtime itself: none may stay behind a command."""
        name = os.path.basename(container.runtime())
        return self.run(["pgrep", "-x", name[:15]], ok=None).out.split()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        proc.eventually(lambda: not os.path.exists(f"/proc/{self.pid}"), what="the sandbox to end")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


def image_rootfs(templates):
    """A tar of the busybox root, made once."""
    path = os.path.join(templates, "busybox.tar")
    if not os.path.exists(path):
        tree = os.path.join(templates, "for-image")
        rootfs.make("busybox", tree, templates)
        rootfs.tar(tree, path)
    return path


def image_archive(templates):
    """The same as an image archive (docker save's layout), for engines that import only those."""
    path = os.path.join(templates, "busybox-image.tar")
    if os.path.exists(path):
        return path
    with open(image_rootfs(templates), "rb") as f:
        layer = f.read()
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(),
                                                                    platform.machine()),
        "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": "2024-01-01T00:00:00Z"}],
    }
    config = json.dumps(config).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        for name, data in ((config_name, config), ("layer.tar", layer),
                           ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


class Podman:
    """podman with the runtime under test; `podman("run", ...)` is a command."""

    def __init__(self, engine_host, templates):
        self.host = engine_host
        runtime = container.runtime()
        name = os.path.basename(runtime)
        # Without CAP_SYS_RESOURCE the defaults of podman would raise limits beyond ours.
        engine_host.write(f"{HOME}/containers.conf", f"""
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "{name}"
runtime_supports_json = ["{name}"]
tmp_dir = "{HOME}/tmp"
[engine.runtimes]
{name} = ["{runtime}"]
""")
        engine_host.write(f"{HOME}/storage.conf", f"""
[storage]
driver = "overlay"
graphroot = "{HOME}/storage"
runroot = "{HOME}/runroot"
""")
        engine_host.write(f"{HOME}/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        self.argv = ["env", "PODMAN_IGNORE_CGROUPSV1_WARNING=1",
                     f"CONTAINERS_CONF={HOME}/containers.conf",
                     f"CONTAINERS_STORAGE_CONF={HOME}/storage.conf", "podman",
                     "--network-config-dir", f"{HOME}/networks"]
        with open(image_rootfs(templates), "rb") as f:
            self("import", "--signature-policy", f"{HOME}/policy.json", "-", IMAGE, stdin=f)

    def __call__(self, *words, **how):
        return self.host.run([*self.argv, *words], **how)

    def on_terminal(self, *words):
        return self.host.on_terminal([*self.argv, *words])

    def inspect(self, name, template):
        return self("inspect", "--format", template, name).out.strip()

    def remove_everything(self):
        self("pod", "rm", "--all", "--force", "--time", "0", ok=None)
        self("rm", "--all", "--force", "--time", "0", ok=None)


class Containerd:
    """containerd, and ctr as its client."""

    def __init__(self, engine_host, templates):
        self.host = engine_host
        self.socket = f"{HOME}/containerd.sock"
        engine_host.write(f"{HOME}/containerd.toml", f"""
version = 2
root = "{HOME}/root"
state = "{HOME}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{self.socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{HOME}/opt"
""")
        engine_host.run(["sh", "-c", f"""
			mkdir -p {HOME}/tmp; TMPDIR={HOME}/tmp \
				containerd --config {HOME}/containerd.toml >{HOME}/log 2>&1 </dev/null &"""])
        proc.eventually(lambda: self("version", ok=None).code == 0, timeout=30,
                        what="containerd to answer")
        with open(image_archive(templates), "rb") as f:
            self("images", "import", "--snapshotter", "overlayfs", "-", stdin=f)

    def __call__(self, *words, **how):
        return self.host.run(["ctr", "--address", self.socket, *words], **how)

    def run_words(self, *words):
        """`ctr run` through the runtime under test."""
        return ["run", "--runc-binary", container.runtime(), "--runc-root", f"{HOME}/runc-root",
                "--snapshotter", "overlayfs", *words]

    def run(self, *words, **how):
        return self(*self.run_words(*words), **how)

    def on_terminal(self, *words):
        return self.host.on_terminal(["ctr", "--address", self.socket, *words])

    def tasks(self):
        """{name: status}"""
        lines = self("tasks", "ls").out.splitlines()[1:]
        return {line.split()[0]: line.split()[2] for line in lines}

    def remove_everything(self):
        for name in self.tasks():
            self("tasks", "kill", "--signal", "SIGKILL", name, ok=None)
            self("tasks", "rm", "--force", name, ok=None)
        for name in self("containers", "ls", "-q").out.split():
            self("containers", "rm", name, ok=None)


class Docker:
    """dockerd with the runtime under test as its default, and Debian's docker client."""

    def __init__(self, engine_host, templates):
        self.host = engine_host
        self.socket = f"unix://{HOME}/docker.sock"
        runtime = container.runtime()
        engine_host.run(["sh", "-c", f"""
			mkdir -p {HOME}/tmp; TMPDIR={HOME}/tmp \
				/usr/sbin/dockerd --host {self.socket} --data-root {HOME}/data \
				--exec-root {HOME}/exec --pidfile {HOME}/pid --storage-driver overlay2 \
				--add-runtime tested={runtime} --default-runtime tested --experimental \
				>{HOME}/log 2>&1 </dev/null &"""])
        proc.eventually(lambda: self("version", ok=None).code == 0, timeout=60,
                        what="dockerd to answer")
        with open(image_rootfs(templates), "rb") as f:
            self("import", "-", IMAGE, stdin=f)

    def __call__(self, *words, **how):
        # Not a docker that may come first in PATH: the one of the package.
        return self.host.run(["/usr/bin/docker", "--host", self.socket, *words], **how)

    def on_terminal(self, *words):
        return self.host.on_terminal(["/usr/bin/docker", "--host", self.socket, *words])

    def inspect(self, name, template):
        return self("inspect", "--format", template, name).out.strip()

    def remove_everything(self):
        names = self("ps", "--all", "--quiet").out.split()
        if names:
            self("rm", "--force", *names, ok=None)
