"""A config.json like the one `spec` writes: complete, ordinary, and a fresh dict each time."""

import copy

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

# What engines give a container by default: enough for servers that change their user.
ENGINE_CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
                       "CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP",
                       "CAP_SETUID", "CAP_SYS_CHROOT"]

MOUNTS = [
    ("/proc", "proc", "proc", []),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts",
     ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
    ("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
]

MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
          "/proc/scsi"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def default(args):
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "TERM=xterm", "HOME=/root"],
            "cwd": "/",
            "capabilities": {kind: list(CAPABILITIES)
                             for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "container",
        "mounts": [mount(*m) for m in MOUNTS],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount",
                                                 "cgroup")],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
        },
    }


def mount(destination, fstype, source, options):
    return {"destination": destination, "type": fstype, "source": source,
            "options": list(options)}


def bind(source, destination, *options):
    return mount(destination, "bind", str(source), ["rbind", *options])


def merge(config, changes):
    """config with changes laid over it: dicts merge, anything else replaces; None removes."""
    merged = copy.copy(config)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def set_namespace(config, kind, path=None):
    """Makes the container create a namespace, or join the one at path."""
    drop_namespace(config, kind)
    entry = {"type": kind}
    if path:
        entry["path"] = str(path)
    config["linux"]["namespaces"].append(entry)


def drop_namespace(config, kind):
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"]
                                     if n["type"] != kind]


def set_capabilities(config, names):
    config["process"]["capabilities"] = {kind: list(names)
                                         for kind in ("bounding", "effective", "permitted")}


def use_user_namespace(config, host_id=100000, size=65536):
    """Ids 0.. of the container become host_id.. outside; chown the rootfs to match."""
    set_namespace(config, "user")
    mapping = [{"containerID": 0, "hostID": host_id, "size": size}]
    config["linux"]["uidMappings"] = mapping
    config["linux"]["gidMappings"] = copy.deepcopy(mapping)
