"""A guest made of what this machine has installed: its packages' files and its build of the project, with Debian's kernel and no systemd, run for one script.

Nothing is fetched but the kernel's package, nothing is installed or built, so it is there in seconds. What it is not: a fresh Debian, or another release.
"""

import glob
import os
import re
import shutil
import subprocess

from . import guest as guests
from . import image as images

# What end-to-end tests of containers, checkpoints and migration run, with all that these packages depend on.
PACKAGES = ["mount", "kmod", "python3-pytest", "busybox-static", "nginx-light", "iproute2", "nftables", "util-linux", "procps", "strace", "gnutls-bin",
            "gcc", "libc6-dev", "libjansson-dev", "libseccomp-dev", "libprotobuf-c-dev", "nettle-dev", "libarchive-dev", "libxxhash-dev", "liblz4-dev", "libzstd-dev",
            "libcurl4-gnutls-dev", "libmicrohttpd-dev", "libgnutls28-dev", "libsystemd-dev", "libmnl-dev", "libnftables-dev", "libnl-3-dev", "libnet1-dev", "libbsd-dev",
            "uuid-dev"]
UNWANTED = re.compile(r"/usr/share/(doc|man|locale|info|lintian|bash-completion|perl)/")
KERNEL = "linux-image-cloud-amd64"

INIT = """#!/bin/sh
# The whole life of this guest: what it has to say goes to the first serial port, its results to the second.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd; mkdir -p /run/lock
ip link set lo up
stty -F /dev/ttyS1 raw
cd {project}
({script}) >/root/log 2>&1
echo "status $?" >>/root/log
cat /root/log >/dev/ttyS0
cat /root/results >/dev/ttyS1 2>/dev/null
sync; sleep 1; echo o >/proc/sysrq-trigger; sleep 100
"""


def kernel_package():
    """The file of the kernel's package, as this machine's apt has it."""
    directory = f"{images.CACHE}/kernel"

    def fetch():
        depends = images.call(["apt-cache", "depends", KERNEL])
        name = re.search(r"Depends: (linux-image-\d\S+)", depends)[1]
        version = re.search(r"Candidate: (\S+)", images.call(["apt-cache", "policy", name]))[1].replace(":", "%3a")
        found = f"{directory}/{name}_{version}_amd64.deb"
        if not os.path.exists(found):
            shutil.rmtree(directory, ignore_errors=True)
            os.makedirs(directory)
            images.call(["apt-get", "-q", "download", "-o", "APT::Sandbox::User=root", name], cwd=directory)
            [found] = glob.glob(directory + "/*.deb")
        return found
    try:
        return fetch()
    except (images.LabError, TypeError):  # its lists are missing, or older than the archive
        images.call(["apt-get", "-q", "update"])
        return fetch()


def installed(names):
    """These packages, those that nobody names as they are always there, and all that they depend on, as far as they are installed."""
    names = [*names, *re.findall(r"^yes (\S+)", images.call(["dpkg-query", "-W", "-f", "${Essential} ${Package}\n"]), re.M)]
    found = images.call(["apt-cache", "depends", "--recurse", "--installed", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces",
                         "--no-enhances", *names])
    wanted = sorted(set(re.findall(r"^[a-z0-9][^\s:]*", found, re.M)))
    there = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n", *wanted], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                           check=False).stdout
    return re.findall(r"^ii (\S+)", there, re.M)


def tree_of_packages(tree):
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink("/" + name):
            os.makedirs(f"{tree}/usr/{name}", exist_ok=True)
            os.symlink(f"usr/{name}", f"{tree}/{name}")
    listed = images.call(["dpkg", "-L", *installed(PACKAGES)])
    files = sorted({line for line in listed.splitlines() if line.startswith("/") and line != "/." and not UNWANTED.match(line) and os.path.lexists(line)})
    # Of these the files stand in no package's list.
    files += [path for path in glob.glob("/etc/alternatives/*") + glob.glob("/etc/ld.so.conf*") + ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/usr/local/sbin/criu", "/usr/bin/sh", "/bin/sh"]
              if os.path.lexists(path)]
    files += [path for file in files if file.endswith(".py") for path in glob.glob(f"{glob.escape(os.path.dirname(file))}/__pycache__/{os.path.basename(file)[:-3]}.*")]
    pack = subprocess.Popen(["tar", "-C", "/", "--no-recursion", "-T", "-", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    unpack = subprocess.Popen(["tar", "-C", tree, "--keep-directory-symlink", "-x"], stdin=pack.stdout)
    pack.stdin.write("".join(f".{path}\n" for path in files))
    pack.stdin.close()
    pack.stdout.close()
    if pack.wait() or unpack.wait():
        raise images.LabError("cannot copy this machine's packages")
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "mnt"):
        os.makedirs(f"{tree}/{name}", exist_ok=True)
    images.call(["ldconfig", "-r", tree])


def tree_with_kernel(tree):
    """(the kernel's file, with its modules in the tree)"""
    images.call(["dpkg-deb", "-x", kernel_package(), tree + ".kernel"])
    [kernel] = glob.glob(tree + ".kernel/boot/vmlinuz-*")
    release = kernel.partition("vmlinuz-")[2]
    [modules] = glob.glob(f"{tree}.kernel/lib/modules/*") or glob.glob(f"{tree}.kernel/usr/lib/modules/*")
    images.call(["cp", "-a", modules, f"{tree}/lib/modules/"] if os.path.isdir(f"{tree}/lib/modules") else ["cp", "-a", os.path.dirname(modules), f"{tree}/lib/"])
    images.call(["cp", "-a", *glob.glob(tree + ".kernel/boot/config-*"), tree + "/boot/"] if os.path.isdir(tree + "/boot")
                else ["cp", "-a", tree + ".kernel/boot", tree + "/"])
    images.call(["depmod", "-b", tree, release])
    return kernel


def run(work, build, script, timeout, memory=2048):
    """Runs a shell script in the project's directory of such a guest: (what it said, the file /root/results as it left it). `build`: the directory with the project's
    programs."""
    tree, disk, said, results = (f"{work}/own{end}" for end in ("", ".img", ".console", ".results"))
    os.makedirs(tree)
    tree_of_packages(tree)
    kernel = tree_with_kernel(tree)
    images.copy_project(tree + images.PROJECT)
    images.call(["sh", "-c", f"cd {build} && find . -type f ! -name '*.o' ! -name '*.a' ! -path './tests/unit/*' ! -path './meson-*' -print0 | "
                             f"tar --null -T - -c | tar -C {tree}{images.PROJECT} --one-top-level=build -x"])
    images.call(["/usr/bin/python3", "-m", "compileall", "-q", f"{tree}{images.PROJECT}/tests"])
    images.write(tree + "/lab-init", INIT.format(project=images.PROJECT, script=script), 0o755)
    images.disk(disk, tree, 4096, "root")
    guest = guests.Guest("own", images.Image(disk, kernel, None), work, memory=memory)
    argv = guest.argv(network=False, append="init=/lab-init") + ["-serial", f"file:{results}"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
                              preexec_fn=guests.dies_with_us)
        words = done.stdout
    except subprocess.TimeoutExpired:
        words = f"not done after {timeout} s\n"
    with open(said, errors="replace") as f:
        words += f.read()
    found = b""
    if os.path.exists(results):
        with open(results, "rb") as f:
            found = f.read()
    for path in (tree, tree + ".kernel", disk):
        images.call(["rm", "-rf", "--one-file-system", path])
    return words, found
