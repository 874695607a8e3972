"""Checkpoint and restore of a container made by the `container` fixture."""

import copy
import os

from . import proc


# What asleep.c says, wherever it slept. "another": who asks for what is left of its time sees to it.
SLEPT = {"asleep", "same done whole", "nothing done whole", "another EINTR early", "clock done whole", "poll done whole", "futex ETIMEDOUT whole", "epoll done whole", "ever ready whole",
         "awake"}


def checkpoint(c, *flags, name="images", **how):
    """Into <bundle>/<name>, whose path is returned; with ok=False the Result."""
    images = os.path.join(c.dir, name)
    result = c.rt("checkpoint", "--image-path", images, *flags, c.id, **how)
    return images if how.get("ok", True) is True else result


def restore(c, images, *flags, **how):
    """Detached, from the container's own bundle; stdout goes to c.stdout unless how says else."""
    words = ["restore", "--detach", "--bundle", c.dir, "--pid-file", c.pid_file, "--image-path", images, *flags, c.id]
    return c.to_file(*words, **how)


def around(c, *flags, restore_flags=None, name="images", **how):
    """Once out and in again."""
    images = checkpoint(c, *flags, name=name)
    assert not c.exists()
    restore(c, images, *(flags if restore_flags is None else restore_flags), **how)
    assert c.status == "running"


class twin:
    """The same bundle under another id, deleted at the end."""

    def __init__(self, c, id):
        self.container = copy.copy(c)
        self.container.id = id
        self.container.pid_file = c.pid_file + "-" + id
        self.container.terminal = None

    def __enter__(self):
        return self.container

    def __exit__(self, *exc):
        self.container.rt("delete", "--force", self.container.id, ok=None)


def nft_rules(enter=()):
    return proc.run([*enter, "nft", "list", "ruleset"]).out


def criu_of(process):
    """The pid of the CRIU that a running rt has started. None: not yet; -1: rt has ended."""
    if process.poll() is not None:
        return -1
    try:
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as f:
            children = f.read().split()
        for child in children:
            with open(f"/proc/{child}/cmdline") as f:
                if "swrk" in f.read():
                    return int(child)
    except OSError:
        pass
    return None
