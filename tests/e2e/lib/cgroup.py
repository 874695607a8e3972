"""Where cgroups are, seen from the tests: v1, v2 and both at once."""

import os


class Hierarchy:
    def __init__(self, mountpoint, controllers):
        self.mountpoint = mountpoint
        self.controllers = controllers  # None: cgroup2


def hierarchies():
    found = []
    with open("/proc/self/mountinfo") as f:
        for line in f:
            before, after = line.rstrip("\n").split(" - ")
            fstype, _, options = after.split()[:3]
            mountpoint = before.split()[4]
            if fstype == "cgroup2":
                found.append(Hierarchy(mountpoint, None))
            elif fstype == "cgroup":
                found.append(Hierarchy(mountpoint, set(options.split(","))))
    return found


def unified():
    """The mount point of cgroup2, or None."""
    return next((h.mountpoint for h in hierarchies() if h.controllers is None), None)


def is_v2_only():
    return [h.mountpoint for h in hierarchies()] == ["/sys/fs/cgroup"]


def v1(controller):
    """The mount point of a v1 controller, or None."""
    return next((h.mountpoint for h in hierarchies()
                 if h.controllers and controller in h.controllers), None)


def all_cgroups():
    """Every cgroup of every hierarchy, as paths."""
    return {directory for h in hierarchies() for directory, _, _ in os.walk(h.mountpoint)}


def of_process(pid):
    """{controller: path} as /proc/PID/cgroup has it; "" is cgroup2."""
    found = {}
    with open(f"/proc/{pid}/cgroup") as f:
        for line in f:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                found[controller] = path
    return found


def directory(pid, controller):
    """The cgroup of a process for a controller, as a directory: in v1 if it is there, else v2."""
    paths = of_process(pid)
    base = v1(controller)
    if base:
        return base + paths[controller]
    return unified() + paths[""]


def value(pid, controller, v1_file, v2_file):
    """What a limit of a process's cgroup says: v1_file or v2_file, wherever the controller is."""
    name = v1_file if v1(controller) else v2_file
    with open(os.path.join(directory(pid, controller), name)) as f:
        return f.read().strip()
