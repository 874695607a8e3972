"""Disk images of Debian releases, made once and kept in $RT_TEST_CACHE/lab.

    image("trixie")    everything that the tests need, from tests/setup/packages and tests/lab/packages

A release is a tree made by debootstrap, from the mirror that this machine's own apt is configured for; what is to be installed is installed in it by
chroot, which is ten times faster than in a guest without KVM. The project is built in the same tree, and comes to the guests as a second disk,
made anew for every run: so an image need not change with the project.
"""

import contextlib
import fcntl
import filecmp
import glob
import hashlib
import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.normpath(os.path.join(HERE, "../../.."))
CACHE = os.path.join(os.environ.get("RT_TEST_CACHE", "/var/cache/rt-tests"), "lab")
PROJECT = "/rt"  # where a guest has it, and a tree while it is built

# What a fresh system has beyond debootstrap's smallest variant: it boots, and can be spoken to. Who runs commands as root from a README
# has certificates and a resolver too.
FRESH = ["linux-image-cloud-amd64", "systemd-sysv", "udev", "dbus", "dropbear-bin", "iproute2", "ca-certificates", "procps", "kmod"]
NEWER_CRIU = "/usr/local/lib/lab/criu"  # than Debian 13's own, which is what its guests use
# Units that do nothing for the tests, and take seconds each where every instruction is emulated.
IDLE = ["kmod-static-nodes", "dev-hugepages.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "systemd-binfmt", "proc-sys-fs-binfmt_misc.mount",
        "proc-sys-fs-binfmt_misc.automount", "modprobe@drm", "modprobe@efi_pstore", "modprobe@configfs", "modprobe@dm_mod", "modprobe@loop", "sys-kernel-config.mount",
        "systemd-udev-load-credentials", "systemd-network-generator", "systemd-networkd-persistent-storage", "systemd-random-seed", "systemd-pstore", "systemd-journal-flush",
        "systemd-tmpfiles-setup-dev-early", "systemd-tmpfiles-clean.timer", "netavark-dhcp-proxy.socket", "netavark-dhcp-proxy.service", "systemd-sysext.socket",
        "systemd-creds.socket", "systemd-hostnamed.socket", "systemd-initctl.socket"]
# Of tests/setup/packages: hundreds of megabytes for what the lab does not do.
UNUSED = {"clang", "libclang-rt-dev", "umoci"}


class LabError(Exception):
    pass


def call(argv, **how):
    """Runs a command of the host; its output is shown only if it fails."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          check=False, **how)
    if done.returncode:
        raise LabError(f"'{' '.join(argv)[:200]}' failed ({done.returncode}):\n{done.stdout[-3000:]}")
    return done.stdout


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def packages_of(path):
    with open(path) as f:
        return re.findall(r"^([^#\s]+)", f.read(), re.M)


# ---- what this machine's apt knows ----

def own_sources(suite):
    """The machine's source list for another release, as one-line entries without security updates: [(uri, options)]."""
    found = []
    for path in glob.glob("/etc/apt/sources.list.d/*.sources"):
        with open(path) as f:
            for stanza in re.split(r"\n\s*\n", f.read()):
                uri = re.search(r"^URIs:\s*(\S+)", stanza, re.M)
                if uri and re.search(r"^Suites:.*\b(bookworm|trixie)\b(?!-security)", stanza, re.M) and "-security" not in stanza:
                    found.append(uri[1])
    for path in ["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*.list")]:
        if os.path.exists(path):
            with open(path) as f:
                found += re.findall(r"^deb (?:\[[^]]*\] )?(\S+) (?:bookworm|trixie) ", f.read(), re.M)
    if not found:
        raise LabError(f"no mirror for '{suite}': the apt of this machine has no source with bookworm or trixie")
    return found[:1]


def own_apt_settings():
    """Proxies, and what the machine thinks of old mirrors."""
    lines = call(["apt-config", "dump"]).splitlines()
    return "".join(line + "\n" for line in lines if re.match(r"Acquire::(https?|Check-Valid-Until|Check-Date|Retries)\b", line))


def hosts_lines(urls):
    """Lines of /etc/hosts for the names in them: a guest's resolver may not know what this machine's own /etc/hosts says."""
    lines = ""
    for name in sorted(set(re.findall(r"//(?:[^@/\s]*@)?([^:/\s\"]+)", " ".join(urls)))):
        found = subprocess.run(["getent", "ahostsv4", name], capture_output=True, text=True, check=False).stdout.split()
        if found and found[0] != name:
            lines += f"{found[0]} {name}\n"
    return lines


# ---- trees ----

def chroot(tree, script, bind=()):
    """Runs a shell script in a tree, with mounts of its own that end with it."""
    mounts = "".join(f"mkdir -p {tree}{to}; mount --bind {source} {tree}{to}; " for source, to in bind)
    return call(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-ec",
                 f"{mounts}mount -t proc proc {tree}/proc; mount --rbind /sys {tree}/sys; mount --bind /dev {tree}/dev; mount -t tmpfs tmpfs {tree}/run; "
                 f"exec chroot {tree} /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "
                 f"DEBIAN_FRONTEND=noninteractive RT_TEST_CACHE=/var/cache/rt-tests sh -ec '{script}'"])


def inhabit(tree, script, log):
    """Runs a shell script with a tree as all there is, on this machine's kernel: not by chroot, where nobody may make user namespaces or change the root.
    Its output goes to a file; the exit status is returned."""
    enter = f"""
mount --bind {tree} {tree}; cd {tree}
mount -t proc proc proc; mount --rbind /sys sys; mount --rbind /dev dev; mount -t tmpfs tmpfs run; mkdir run/lock; mount -t tmpfs tmpfs tmp
pivot_root . mnt; umount -l /mnt
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 sh -ec '{script}'"""
    with open(log, "wb") as f:
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-ec", enter], stdin=subprocess.DEVNULL,
                              stdout=f, stderr=f, check=False).returncode


@contextlib.contextmanager
def made_whole(path):
    """A file or tree that is there only when it is complete."""
    new = path + ".new"
    subprocess.run(["rm", "-rf", "--one-file-system", new], check=True)
    yield new
    os.rename(new, path)


def key():
    """Our ssh key; guests know no other."""
    path = f"{CACHE}/key"
    if not os.path.exists(path):
        call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path])
    return path


def configure(tree, suite):
    """Makes a guest of what debootstrap left: network, ssh, and the machine's own way to packages."""
    mirrors = own_sources(suite)
    settings = own_apt_settings()
    write(f"{tree}/etc/apt/sources.list", "".join(f"deb {uri} {suite} main\ndeb-src {uri} {suite} main\n" for uri in mirrors))
    write(f"{tree}/etc/apt/apt.conf.d/99lab", settings + 'Acquire::Languages "none";\n')
    write(f"{tree}/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n" + hosts_lines([*mirrors, settings]))
    write(f"{tree}/etc/hostname", "lab\n")
    write(f"{tree}/etc/fstab", "")
    write(f"{tree}/etc/resolv.conf", "nameserver 10.0.2.3\n")
    # A guest's network by QEMU itself ("user"); the others are the tests'.
    write(f"{tree}/etc/systemd/network/eth0.network",
          "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n")
    write(f"{tree}/etc/systemd/network/zz-lab.network", "[Match]\nName=eth*\n[Link]\nUnmanaged=yes\n")
    write(f"{tree}/etc/systemd/system/lab-ssh.service",
          "[Unit]\nDescription=ssh for the lab\nAfter=systemd-networkd.service\nDefaultDependencies=no\nAfter=basic.target\n"
          "[Service]\nExecStart=/usr/sbin/dropbear -F -E -s -r /etc/dropbear/lab_key\nKillMode=process\nRestart=always\n"
          "[Install]\nWantedBy=multi-user.target\n")
    os.makedirs(f"{tree}/etc/dropbear", exist_ok=True)
    with open(key() + ".pub") as f:
        write(f"{tree}/root/.ssh/authorized_keys", f.read(), 0o600)
    os.chmod(f"{tree}/root/.ssh", 0o700)
    # Nothing that would only cost time.
    chroot(tree, "dropbearkey -t ed25519 -f /etc/dropbear/lab_key; systemctl enable systemd-networkd lab-ssh; "
                 "systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer man-db.timer "
                 "systemd-networkd-wait-online.service serial-getty@ttyS0.service getty@tty1.service; apt-get -q update")


def base_tree(suite):
    path = f"{CACHE}/{suite}/fresh"
    if not os.path.isdir(path):
        with made_whole(path) as new:
            call(["debootstrap", "--variant=minbase", "--include=" + ",".join(FRESH), suite, new, own_sources(suite)[0]])
            configure(new, suite)
            call(["chroot", new, "apt-get", "clean"])
    return path


def wanted(suite, tree):
    """Packages of the whole image that the release has."""
    names = [*packages_of(f"{TOP}/tests/setup/packages"), *packages_of(f"{TOP}/tests/lab/packages")]
    needed = [n for n in names if not n.endswith("?") and n not in UNUSED]
    maybe = [n[:-1] for n in names if n.endswith("?") and n[:-1] not in UNUSED]
    known = chroot(tree, "apt-cache policy " + " ".join(maybe))
    return needed + [n for n in maybe if re.search(rf"^{re.escape(n)}:\n[^\n]*\n  Candidate: [^(]", known, re.M)]


def build_criu(tree):
    """The one that tests/setup/criu.sh builds where it must: in /usr/local/sbin where the release's own is too old for `rt`, else in NEWER_CRIU for who asks for it."""
    own = int(re.search(r"Version: (\d+)", chroot(tree, "criu --version"))[1])
    shutil.copytree(f"{TOP}/tests/setup", f"{tree}/var/tmp/criu/setup")
    log = f"{tree}/var/tmp/criu/log"
    if inhabit(tree, "cd /var/tmp/criu; export RT_TEST_CACHE=$PWD/cache; setup/apt-source criu source sid; make -C source -j$(nproc) criu; "
                     f"install -D -m 755 source/criu/criu {'/usr/local/sbin/criu' if own < 4 else NEWER_CRIU}", log):
        with open(log, errors="replace") as f:
            raise LabError(f"cannot build criu: {f.read()[-3000:]}")
    call(["rm", "-rf", f"{tree}/var/tmp/criu"])


def whole_tree(suite):
    """The tree with all packages. It is made again when the lists change."""
    path = f"{CACHE}/{suite}/whole"
    lists = b"".join(open(p, "rb").read() for p in (f"{TOP}/tests/setup/packages", f"{TOP}/tests/lab/packages", __file__))
    stamp = hashlib.sha256(lists).hexdigest()
    if os.path.exists(f"{path}/.lab") and open(f"{path}/.lab").read() == stamp:
        return path
    fresh = base_tree(suite)
    subprocess.run(["rm", "-rf", "--one-file-system", path], check=True)
    with made_whole(path) as new:
        call(["cp", "-a", fresh, new])
        write(f"{new}/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
        write(f"{new}/etc/resolv.conf", open("/etc/resolv.conf").read())
        chroot(new, "apt-get -q -y install --no-install-recommends " + " ".join(wanted(suite, new)) + "; apt-get clean; "
                    f"systemctl mask -q {' '.join(IDLE)}; "
                    "for s in nginx redis-server docker-registry docker docker.socket containerd apache2 podman-restart podman-auto-update podman; do systemctl disable -q $s 2>/dev/null || true; done; "
                    "useradd --create-home --shell /bin/bash lab; grep -q lab /etc/subuid || usermod --add-subuids 100000-165535 --add-subgids 100000-165535 lab")
        build_criu(new)
        os.unlink(f"{new}/usr/sbin/policy-rc.d")
        shutil.copy(f"{fresh}/etc/resolv.conf", f"{new}/etc/resolv.conf")
        write(f"{new}/.lab", stamp)
        for mark in ("etc/.updated", "var/.updated"):  # or it is seen to at every first boot
            write(f"{new}/{mark}", "")
    return path


# ---- the project ----

def unpack_project(path):
    call(["rm", "-rf", path])
    os.makedirs(path)
    listed = subprocess.run(["git", "-C", TOP, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], stdout=subprocess.PIPE, check=True).stdout
    here = b"\0".join(name for name in listed.split(b"\0") if name and os.path.lexists(os.path.join(os.fsencode(TOP), name)))
    pack = subprocess.Popen(["tar", "-C", TOP, "--null", "-T", "-", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    unpack = subprocess.Popen(["tar", "-C", path, "-x"], stdin=pack.stdout)
    pack.stdin.write(here)
    pack.stdin.close()
    pack.stdout.close()
    if pack.wait() or unpack.wait():
        raise LabError("cannot copy the project's files")


def same(a, b):
    return os.path.isfile(b) and not os.path.islink(b) and filecmp.cmp(a, b, shallow=False)


def copy_project(path):
    """The project's files as they are here, with what is not committed yet, in place of those that are there. What was built there stays, perhaps from another
    checkout, whose files may be older or newer: so what has changed is as new as now, and the rest as old as it was, and only the former is built again."""
    fresh = f"{path}.new"
    unpack_project(fresh)
    for directory, _, names in os.walk(fresh):
        for name in names:
            one = os.path.join(directory, name)
            old = os.path.join(path, os.path.relpath(one, fresh))
            if not os.path.islink(one):
                os.utime(one, (os.stat(old).st_mtime,) * 2 if same(one, old) else None)
    os.makedirs(path, exist_ok=True)
    for name in os.listdir(path):
        if name != "build":
            call(["rm", "-rf", f"{path}/{name}"])
    for name in os.listdir(fresh):
        os.rename(f"{fresh}/{name}", f"{path}/{name}")
    os.rmdir(fresh)


def project_tree(suite):
    """The project's files, built in the release's tree with its compiler and libraries."""
    path = f"{CACHE}/{suite}/project"
    copy_project(path)
    chroot(whole_tree(suite), f"cd {PROJECT}; [ -e build/build.ninja ] || meson setup build -Dwerror=true; ninja -C build; python3 -m compileall -q tests",
           bind=[(path, PROJECT)])
    return path


# ---- disks ----

def disk(path, tree, mib, label):
    call(["mkfs.ext4", "-q", "-F", "-L", label, "-d", tree, "-E", "lazy_itable_init=1,lazy_journal_init=1", path, f"{mib}M"])


class Image:
    def __init__(self, path, kernel, initrd):
        self.path = path
        self.kernel = kernel
        self.initrd = initrd  # or None, where the kernel needs none


def image_of(tree, path):
    """A disk made of a tree, with the kernel that is in it; and its first disk, where the kernel can't mount the root by itself."""
    kernel = sorted(glob.glob(f"{tree}/boot/vmlinuz-*"))[-1]
    release = kernel.partition("vmlinuz-")[2]
    with open(f"{tree}/boot/config-{release}") as f:
        alone = {"CONFIG_EXT4_FS=y", "CONFIG_BLK_DEV_NVME=y"} <= set(f.read().splitlines())
    return Image(path, kernel, None if alone else f"{tree}/boot/initrd.img-{release}")


@contextlib.contextmanager
def locked():
    os.makedirs(CACHE, exist_ok=True)
    with open(f"{CACHE}/lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def image(suite):
    with locked():
        os.makedirs(f"{CACHE}/{suite}", exist_ok=True)
        tree = whole_tree(suite)
        path = f"{CACHE}/{suite}/whole.img"
        if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(tree):
            with made_whole(path) as new:
                disk(new, tree, 12288, "root")
        return image_of(tree, path)


def project(suite, path):
    """A disk with the project, built, at `path`."""
    with locked():
        tree = project_tree(suite)
        disk(path, tree, 1024, "project")
