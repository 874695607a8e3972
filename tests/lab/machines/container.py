"""A container in a guest, driven from outside by `rt`: what the end-to-end tests do at home (tests/e2e/lib/container.py), through the guest's ssh."""

import json
import shlex
import time

from . import image as images

RT = f"{images.PROJECT}/build/rt"


def wait_for(condition, what, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.5)


class Container:
    def __init__(self, guest, id, kind="busybox", args=(), changes=None, globals=(), user=None, rootless=None):
        self.guest, self.id, self.user = guest, id, user
        self.globals = list(globals)
        self.home = f"/home/{user}" if user else "/var/lib"
        self.dir = f"{self.home}/bundles/{id}"
        if user:
            guest.run(["install", "-d", "-o", user, "-g", user, f"{self.home}/bundles"])
        guest.run([f"{images.PROJECT}/tests/lab/bundle", self.dir, kind, json.dumps(changes or {}), *args])
        if user:
            guest.run(["chown", "-R", "-h", f"{user}:{user}", self.dir])
        if rootless:  # what `rt spec --rootless` makes of it, and these changes
            guest.run(f"rm {self.dir}/config.json; {RT} spec --rootless --bundle {self.dir}; {images.PROJECT}/tests/lab/bundle --change {self.dir} "
                      f"{shlex.quote(json.dumps({'process': {'terminal': False, 'args': list(args) or ['sleep', '1000']}, **rootless}))}", user=user)

    def at(self, guest):
        """The same container, come to another guest."""
        other = object.__new__(Container)
        other.__dict__.update(self.__dict__, guest=guest)
        return other

    def rt(self, *words, ok=True, timeout=120):
        return self.guest.run(shlex.join([RT, *self.globals, *map(str, words)]), ok=ok, user=self.user, timeout=timeout)

    def run_detached(self):
        words = shlex.join([RT, *self.globals, "run", "--detach", "--bundle", self.dir, self.id])
        self.guest.run(f"{words} >>{self.dir}/output.log 2>&1 </dev/null || {{ cat {self.dir}/output.log >&2; exit 1; }}", user=self.user)
        return self

    @property
    def output(self):
        return self.guest.run(f"cat {self.dir}/output.log").out

    def state(self):
        """None: there is no such container."""
        result = self.rt("state", self.id, ok=None)
        return json.loads(result.out) if result.code == 0 else None

    @property
    def status(self):
        state = self.state()
        return state and state["status"]

    def checks_itself(self):
        """Of "churn": it counts on, and its memory is right."""
        before = self.output.count(" turns ")
        wait_for(lambda: self.output.count(" turns ") > before, "it to count on")
        checked = self.output.count(" checked ")
        self.rt("kill", self.id, "USR1")
        wait_for(lambda: self.output.count(" checked ") > checked, "it to check its memory")
        assert not [line for line in self.output.splitlines() if " bad " in line and not line.endswith(" bad 0")]

    def close(self):
        self.rt("delete", "--force", self.id, ok=None)
        self.guest.run(["rm", "-rf", self.dir])
