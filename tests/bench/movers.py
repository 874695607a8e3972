"""Ways to move a container from one host of lib/hosts.py to the other: rt's, and what there is without it.

    mover.start(kind, mib)    the container runs on host a, at ADDRESS
    mover.move()              {"total": seconds, ...}: it runs on host b
    mover.remove()            nothing of it is left on either host

All have the same root filesystem, the same address, and their images on a tmpfs (/run). Copies cross the same link as rt's stream, in
one plain TCP connection. What can be done before the container stops is done before: bundles, images of engines, networks.
"""

import json
import os
import shutil
import subprocess
import time

import checkpoint as bare
from lib import config as configs
from lib import hosts as machines
from lib import netns, proc, rootfs

HERE = os.path.dirname(os.path.abspath(__file__))
ADDRESS = machines.LAN + ".10"
MAC = "02:00:00:00:00:10"
COPY_PORT = 7001
MIB = 1 << 20


class Failed(Exception):
    """One move that did not work: told, and the next one is tried."""


def command(kind):
    return rootfs.COMMANDS[kind] + (bare.DEBUGGABLE if kind == "redis" else [])


def prepare_root(path, kind):
    if kind == "nginx":
        bare.serve_as_root(path + "/etc/nginx/nginx.conf")


def plain(config):
    """What Debian's runc can restore."""
    configs.drop_namespace(config, "cgroup")
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
    return config


def quiet(host, argv, timeout=120, log=None):
    """Streams are /dev/null: runc cannot dump one on a file. What it said is in its log, a file of the host. Seconds."""
    with open(os.devnull, "r+") as null:
        result = proc.run([*host.enter, *argv], ok=None, stdin=null.fileno(), stdout=null.fileno(), stderr=null.fileno(), timeout=timeout)
    if result.code:
        said = host.run(["sh", "-c", f"grep -i error {log} | tail -n 3; tail -n 3 {log}"], ok=None).out if log else ""
        raise Failed(f"{' '.join(map(str, argv[:6]))} ended with {result.code} {said}")
    return result.seconds


class Mover:
    def __init__(self, hosts):
        self.hosts, self.a, self.b = hosts, hosts.a, hosts.b

    def fill(self, run, mib):
        proc.eventually(lambda: run("redis-cli", "ping").out == "PONG\n", timeout=20, what="redis to answer")
        if mib:
            said = run("redis-cli", "debug", "populate", mib * MIB // 4096, "k", "4096")
            if said.out != "OK\n":
                raise Failed(repr(said))


class Rt(Mover):
    def __init__(self, hosts, *flags):
        super().__init__(hosts)
        self.flags = flags

    def start(self, kind, mib):
        for host in self.hosts.made:
            if not host.daemon:
                host.receive()
        self.c = self.a.container(command(kind), kind=kind)
        prepare_root(self.c.rootfs, kind)
        plain(self.c.config)
        netns.Host("/run/rt-netns").add_hooks(self.c, "--ip", ADDRESS)
        self.b.put_bundle(self.c)
        with open(os.devnull, "r+") as null:
            self.c.run_detached(stdout=null.fileno(), stderr=null.fileno())
        if kind == "redis":
            self.fill(lambda *words: self.c.exec(*words, ok=None), mib)

    def move(self):
        began = time.monotonic()
        moved = self.hosts.migrate(self.c, *self.flags, timeout=300, ok=None)
        if moved.result.code:
            raise Failed(moved.result.err.strip())
        self.c = moved.container
        return {"total": time.monotonic() - began, "done": moved.done, "events": moved.events}

    def remove(self):
        for host in self.hosts.made:
            if "web" in host.ids():
                host.rt("delete", "--force", "web")
            shutil.rmtree(f"{host.bundles}/web", ignore_errors=True)


class Criu(Mover):
    """Bare: the same tree dumped and restored by the program on the command line, on one host. Nothing is copied, and nobody is served."""

    def start(self, kind, mib):
        self.rt = Rt(self.hosts)
        self.rt.start(kind, mib)

    def move(self):
        c, images = self.rt.c, "/run/images"
        self.a.run(["mkdir", images])
        masks = [m for m in configs.MASKED if os.path.isfile(m)]
        common = ["--images-dir", images, "--root", c.rootfs, "--manage-cgroups=soft", "--network-lock", "nftables", "-v4", "--empty-ns", "net",
                  "--tcp-established"]
        dump = quiet(self.a, ["criu", "dump", "--tree", str(c.pid), *common, "--log-file", "dump.log", "--freeze-cgroup", "/sys/fs/cgroup/freezer/web",
                              *[word for m in masks for word in ("--external", f"mnt[{m}]:{m}")]], log=f"{images}/dump.log")
        c.delete("--force")
        argv = ["criu", "restore", *common, "--log-file", "restore.log", "--restore-detached", "--pidfile", f"{images}/pid",
                *[word for m in masks for word in ("--external", f"mnt[{m}]:/dev/null")]]
        restore = quiet(self.a, ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$0" && exec "$@"', c.rootfs, *argv], log=f"{images}/restore.log")
        return {"total": dump + restore, "gap": dump + restore, "dump": dump, "restore": restore}

    def remove(self):
        pid = self.a.run(["cat", "/run/images/pid"], ok=None).out
        if pid:
            os.kill(int(pid), 9)
            proc.eventually(lambda: not proc.alive(int(pid)))
        self.a.run(["rm", "-rf", "/run/images"])
        machines.load_sandbox().remove_cgroups([f"{path}/web" for path in self.a.cgroups])
        self.rt.remove()


class ByHand(Mover):
    """Stopped on one host, copied (by zstd, if asked), and started on the other. The network is a namespace at either host, of one address: what engines use."""

    def __init__(self, hosts, compressed=False):
        super().__init__(hosts)
        self.compressed = compressed

    def renew_networks(self):
        """CRIU leaves the rules of its lock in the namespace where it dumped."""
        self.unplug()
        for host in self.hosts.made:
            make_network(host)
        self.switch(self.a, True)

    def switch(self, host, on):
        """At its bridge or not. It stays up: the kernel takes its time to notice a carrier."""
        host.run(["ip", "link", "set", "web0", *(["master", "rt0"] if on else ["nomaster"])])

    def copy(self, pack, unpack):
        """Both are shell commands: from a's images to b's."""
        tcp = f"/usr/bin/python3 -I -S {HERE}/tcp.py"
        receiver = subprocess.Popen([*self.b.enter, "sh", "-c", f"{tcp} receive {COPY_PORT} {unpack}"], stdin=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, text=True)
        assert receiver.stderr.readline() == "ready\n"
        began = time.monotonic()
        proc.run([*self.a.enter, "sh", "-c", pack.replace("SEND", f"{tcp} send {self.b.address} {COPY_PORT}")], timeout=300)
        if receiver.wait(60):
            raise Failed("the copy did not arrive")
        receiver.stderr.close()
        return time.monotonic() - began

    def unplug(self):
        for host in self.hosts.made:
            host.run(["ip", "netns", "delete", "web"], ok=None)
            host.run(["ip", "link", "delete", "web0"], ok=None)  # the namespace itself lives as long as a process in it

    def move(self):
        began = time.monotonic()
        self.switch(self.a, False)
        dump = self.checkpoint()
        copy = self.transfer()
        self.switch(self.b, True)
        self.b.run(["nsenter", "--net=/run/netns/web", "busybox", "arping", "-A", "-c", "1", "-w", "1", "-I", "eth0", ADDRESS], ok=None)
        restore = self.restore()
        return {"total": time.monotonic() - began, "dump": dump, "copy": copy, "restore": restore}


def make_network(host):
    host.run(["ip", "netns", "add", "web"])
    host.run(["ip", "link", "add", "web0", "type", "veth", "peer", "name", "eth0", "address", MAC, "netns", "web"])
    host.run(["ip", "link", "set", "web0", "up"])
    inside = ["nsenter", "--net=/run/netns/web", "ip"]
    host.run([*inside, "link", "set", "lo", "up"])
    host.run([*inside, "address", "add", ADDRESS + "/16", "dev", "eth0"])
    host.run([*inside, "link", "set", "eth0", "up"])


class Runc(ByHand):
    def runc(self, *words):
        return ["runc", "--root", "/run/runc", "--log", "/run/runc.log", *words]

    def start(self, kind, mib):
        for host in self.hosts.made:
            bundle = f"{host.work}/runc-{kind}"
            if not os.path.isdir(bundle):
                os.makedirs(bundle)
                rootfs.make(kind, bundle + "/rootfs", host.templates)
                prepare_root(bundle + "/rootfs", kind)
                config = plain(configs.default(command(kind)))
                configs.set_capabilities(config, configs.ENGINE_CAPABILITIES)
                configs.set_namespace(config, "network", "/run/netns/web")
                config["linux"]["cgroupsPath"] = "/web"
                with open(bundle + "/config.json", "w") as f:
                    json.dump(config, f)
            host.run(["mkdir", "-p", "/run/images"])
        self.kind = kind
        self.renew_networks()
        quiet(self.a, self.runc("run", "--detach", "--bundle", f"{self.a.work}/runc-{kind}", "web"))
        if kind == "redis":
            self.fill(lambda *words: self.a.run(self.runc("exec", "web", *words), ok=None), mib)

    def checkpoint(self):
        return quiet(self.a, self.runc("checkpoint", "--tcp-established", "--image-path", "/run/images", "--work-path", "/run/images", "web"),
                     log="/run/images/dump.log")

    def transfer(self):
        pack, unpack = (" | zstd -1", " | zstd -dc") if self.compressed else ("", "")
        return self.copy(f"tar -C /run/images -cf - .{pack} | SEND", f"{unpack} | tar -C /run/images -xf -")

    def restore(self):
        return quiet(self.b, self.runc("restore", "--detach", "--tcp-established", "--bundle", f"{self.b.work}/runc-{self.kind}", "--image-path", "/run/images",
                                       "--work-path", "/run/images", "web"), log="/run/images/restore.log")

    def remove(self):
        self.unplug()
        for host in self.hosts.made:
            host.run(self.runc("delete", "--force", "web"), ok=None)
            host.run(["rm", "-rf", "/run/images"])


class Podman(ByHand):
    """With runc."""

    HOME = "/run/engine"

    def podman(self, *words):
        home = self.HOME
        return ["env", "PODMAN_IGNORE_CGROUPSV1_WARNING=1", f"CONTAINERS_CONF={home}/containers.conf", f"CONTAINERS_STORAGE_CONF={home}/storage.conf",
                "podman", "--network-config-dir", f"{home}/networks", *words]

    def write(self, host, name, text):
        host.run(["sh", "-c", f"mkdir -p {self.HOME}; cat >{self.HOME}/{name}"], stdin=text)

    def prepare(self, host, kind):
        home = self.HOME
        if host.run(["test", "-e", f"{home}/{kind}"], ok=None).code == 0:
            return
        self.write(host, "containers.conf", f'[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]\nlog_driver = "k8s-file"\n'
                   f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\ntmp_dir = "{home}/tmp"\n')
        self.write(host, "storage.conf", f'[storage]\ndriver = "overlay"\ngraphroot = "{home}/storage"\nrunroot = "{home}/runroot"\n')
        self.write(host, "policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        image, saved = f"localhost/{kind}:bench", f"{self.hosts.work}/image-{kind}.tar"
        if host is self.a:
            tree, tar = f"{host.work}/image-{kind}", f"{host.work}/image-{kind}.tar"
            rootfs.make(kind, tree, host.templates)
            prepare_root(tree, kind)
            rootfs.tar(tree, tar)
            host.run(self.podman("import", "--signature-policy", f"{home}/policy.json", tar, image), timeout=120)
            host.run(self.podman("save", "--signature-policy", f"{home}/policy.json", "--output", saved, image), timeout=120)
        else:
            # The very same one: what is exported names it by its digest.
            host.run(self.podman("load", "--signature-policy", f"{home}/policy.json", "--input", saved), timeout=120)
        host.run(["touch", f"{home}/{kind}"])

    def start(self, kind, mib):
        for host in self.hosts.made:
            self.prepare(host, kind)
        self.renew_networks()
        quiet(self.a, self.podman("run", "--detach", "--pull=never", "--name", "web", "--network", "ns:/run/netns/web", f"localhost/{kind}:bench", *command(kind)))
        if kind == "redis":
            self.fill(lambda *words: self.a.run(self.podman("exec", "web", *words), ok=None), mib)

    def checkpoint(self):
        return self.said(self.a, "container", "checkpoint", "--compress", "zstd" if self.compressed else "none", "--tcp-established", "--export", "/run/web.tar", "web")

    def transfer(self):
        return self.copy("SEND </run/web.tar", ">/run/web.tar")

    def restore(self):
        return self.said(self.b, "container", "restore", "--tcp-established", "--import", "/run/web.tar")

    def said(self, host, *words):
        result = host.run(self.podman(*words), ok=None, timeout=300)
        if result.code:
            raise Failed(result.err.strip()[-400:])
        return result.seconds

    def remove(self):
        self.unplug()
        for host in self.hosts.made:
            host.run(self.podman("rm", "--all", "--force", "--time", "0"), ok=None)
            host.run(["rm", "-f", "/run/web.tar"])
