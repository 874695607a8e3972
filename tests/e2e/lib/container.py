"""One container of the runtime under test: its bundle, its verbs, and its certain end."""

import json
import os
import shutil

from . import config as configs
from . import console, proc, rootfs


def runtime():
    """The program under test: $RT, else the one `meson compile -C build` made."""
    here = os.path.dirname(os.path.abspath(__file__))
    default = os.path.normpath(os.path.join(here, "../../../build/rt"))
    path = os.environ.get("RT") or default
    found = shutil.which(path)
    assert found, f"no runtime to test at '{path}': build it, or say RT=/path/of/a/runtime"
    return os.path.abspath(found)


class Container:
    """Made by the `container` fixture, which also deletes it.

    c.config is the configuration; change it before create() or run(). c.dir is the bundle,
    c.rootfs its root. With `enter`, a list like ["nsenter", "--mount=...", "--"], every
    command of the runtime runs behind that prefix."""

    def __init__(self, id, dir, root, *, kind="busybox", templates, args=None, changes=None,
                 enter=(), globals=()):
        self.id = id
        self.dir = str(dir)
        self.root = str(root)
        self.enter = list(enter)
        self.globals = list(globals)
        self.rootfs = os.path.join(self.dir, "rootfs")
        self.pid_file = os.path.join(self.dir, "pid")
        self.stdout = os.path.join(self.dir, "stdout")
        self.terminal = None
        self._pid = None
        os.makedirs(self.dir)
        rootfs.make(kind, self.rootfs, templates)
        self.config = configs.default(args or rootfs.COMMANDS[kind])
        if kind != "busybox":
            configs.set_capabilities(self.config, configs.ENGINE_CAPABILITIES)
        self.config["linux"]["cgroupsPath"] = "/" + id
        if changes:
            self.config = configs.merge(self.config, changes)

    # The runtime's verbs

    def argv(self, *words):
        return [*self.enter, runtime(), "--root", self.root, *self.globals, *map(str, words)]

    def rt(self, *words, **how):
        """Any command: c.rt("ps", c.id). `how` is proc.run's."""
        return proc.run(self.argv(*words), **how)

    def write_config(self):
        with open(os.path.join(self.dir, "config.json"), "w") as f:
            json.dump(self.config, f, indent=1)

    def create(self, *flags, **how):
        """The container's stdout goes to the file c.stdout, unless how["stdout"] is an fd. If
        config.json asks for a terminal, it is in c.terminal afterwards."""
        self.write_config()
        flags = ["--bundle", self.dir, "--pid-file", self.pid_file, *flags]
        if not self.config["process"].get("terminal"):
            return self.to_file("create", *flags, self.id, **how)
        with console.ConsoleSocket(os.path.join(self.dir, "tty")) as sock:
            result = self.rt("create", *flags, "--console-socket", sock.path, self.id, **how)
            if result.code == 0:
                self.terminal = sock.receive()
        return result

    def start(self, **how):
        return self.rt("start", self.id, **how)

    def run(self, *flags, **how):
        """In the foreground, to the end of its process."""
        self.write_config()
        return self.rt("run", "--bundle", self.dir, *flags, self.id, **how)

    def run_detached(self, *flags, **how):
        self.write_config()
        return self.to_file("run", "--detach", "--bundle", self.dir, "--pid-file",
                             self.pid_file, *flags, self.id, **how)

    def exec(self, *args, flags=(), **how):
        return self.rt("exec", *flags, self.id, *args, **how)

    def exec_on_terminal(self, *args, flags=()):
        """`exec --tty` as a person would run it: a console.OnTerminal to be closed (`with`)."""
        return console.OnTerminal(self.argv("exec", "--tty", *flags, self.id, *args))

    def state(self):
        return json.loads(self.rt("state", self.id).out)

    @property
    def status(self):
        return self.state()["status"]

    def kill(self, signal="KILL", *flags, **how):
        return self.rt("kill", *flags, self.id, signal, **how)

    def pause(self, **how):
        return self.rt("pause", self.id, **how)

    def resume(self, **how):
        return self.rt("resume", self.id, **how)

    def update(self, resources=None, *flags, **how):
        """resources: the linux.resources object to pass on stdin."""
        if resources is not None:
            return self.rt("update", "--resources", "-", *flags, self.id,
                           stdin=json.dumps(resources), **how)
        return self.rt("update", *flags, self.id, **how)

    def delete(self, *flags, **how):
        return self.rt("delete", *flags, self.id, **how)

    # Around the verbs

    def to_file(self, *words, **how):
        if "stdout" in how:
            return self.rt(*words, **how)
        # To see what a runtime can that cannot dump a container whose streams are files of the host.
        if os.environ.get("RT_TEST_STREAMS") == "null":
            with open(os.devnull, "ab") as null:
                return self.rt(*words, **{"stdout": null.fileno(), "stderr": null.fileno(), **how})
        with open(self.stdout, "ab") as f:
            return self.rt(*words, stdout=f.fileno(), **how)

    @property
    def output(self):
        """What the container printed so far (after create or run_detached)."""
        with open(self.stdout, errors="replace") as f:
            return f.read()

    @property
    def pid(self):
        """The init process, as this process sees it."""
        if os.path.exists(self.pid_file):
            with open(self.pid_file) as f:
                return int(f.read())
        return self.state()["pid"]

    def exists(self):
        return self.rt("state", self.id, ok=None).code == 0

    def wait_stopped(self, timeout=20):
        proc.eventually(lambda: self.status == "stopped", timeout=timeout,
                        what=f"{self.id} to stop")

    def wait_output(self, text, timeout=20):
        proc.eventually(lambda: text in self.output, timeout=timeout,
                        what=f"{text!r} from {self.id}")

    def inside(self, path):
        """A file of the running container as the host reaches it."""
        return f"/proc/{self.pid}/root{path}"

    def host_path(self, path):
        """A file of the root filesystem on the host (a running container may mount over it)."""
        return self.rootfs + path

    def cleanup(self):
        if self.terminal:
            self.terminal.close()
        if os.path.isdir(os.path.join(self.root, self.id)):
            self.rt("delete", "--force", self.id, ok=None)
        shutil.rmtree(self.dir, ignore_errors=True)
