"""Root filesystems put together from what the host has installed; nothing is downloaded.

Each is built once into a template; a test gets its own copy, so that it may write into it.
"""

import os
import re
import shutil
import subprocess

from . import proc

HERE = os.path.dirname(os.path.abspath(__file__))

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
redis:x:106:112:redis:/var/lib/redis:/bin/false
user:x:1000:1000:user:/home/user:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
"""
GROUP = """root:x:0:
daemon:x:1:
tty:x:5:
adm:x:4:
www-data:x:33:
redis:x:112:
extra:x:500:user
user:x:1000:
nogroup:x:65534:
"""
DIRECTORIES = ("bin", "dev", "etc", "home/user", "proc", "root", "run", "sys", "tmp", "usr/bin",
               "usr/sbin", "var/lib", "var/log", "var/run", "mnt")


def make(kind, destination, templates):
    """A rootfs of the kind (BUILDERS) at destination, which must not exist."""
    template = os.path.join(templates, kind)
    if not os.path.isdir(template):
        half_done = template + ".new"
        shutil.rmtree(half_done, ignore_errors=True)
        BUILDERS[kind](half_done)
        os.rename(half_done, template)
    proc.run(["cp", "-a", "--reflink=auto", template, destination])
    return destination


def busybox(root):
    """A shell and the usual tools, all one static binary."""
    for directory in DIRECTORIES:
        os.makedirs(os.path.join(root, directory))
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    os.chown(os.path.join(root, "home/user"), 1000, 1000)
    binary = os.path.join(root, "bin/busybox")
    shutil.copy2(static_busybox(), binary)
    for applet in proc.run([binary, "--list"]).out.split():
        if applet != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", applet))
    for name, text in (("passwd", PASSWD), ("group", GROUP),
                       ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
                       ("hostname", "container\n"), ("resolv.conf", ""),
                       ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")):
        with open(os.path.join(root, "etc", name), "w") as f:
            f.write(text)


def static_busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox", "/usr/lib/busybox/busybox-static"):
        if os.path.exists(path) and not libraries(path):
            return path
    raise AssertionError("no static busybox on this machine (package busybox-static)")


def libraries(binary):
    """The shared objects a binary loads, the loader included; none if it is static."""
    answer = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)
    return re.findall(r"(/\S+) \(0x", answer.stdout)


def add_binary(root, path):
    """Copies a program of the host and the libraries it loads, to the same places."""
    for file in [path, *libraries(path)]:
        destination = root + file
        if not os.path.exists(destination):
            os.makedirs(os.path.dirname(destination), exist_ok=True)
            shutil.copy2(os.path.realpath(file), destination)


def distribution_program(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert path, f"no {name} on this machine"
    return path


NGINX_CONF = """daemon off;
worker_processes 2;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
    access_log off;
    keepalive_timeout 600s;
    keepalive_requests 1000000;
    default_type text/plain;
    server {
        listen 80;
        root /srv;
        location /hello { return 200 "hello from nginx\\n"; }
    }
}
"""


def nginx(root):
    busybox(root)
    add_binary(root, distribution_program("nginx"))
    add_name_service(root)
    for directory in ("etc/nginx", "srv", "var/lib/nginx", "var/log/nginx"):
        os.makedirs(os.path.join(root, directory))
    with open(os.path.join(root, "etc/nginx/nginx.conf"), "w") as f:
        f.write(NGINX_CONF)
    with open(os.path.join(root, "srv/index.html"), "w") as f:
        f.write("a page\n")


def redis(root):
    busybox(root)
    add_binary(root, distribution_program("redis-server"))
    add_binary(root, distribution_program("redis-cli"))
    add_name_service(root)
    os.makedirs(os.path.join(root, "var/lib/redis"))


def add_name_service(root):
    """glibc loads these by name to look users up; ldd does not know of them."""
    listing = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True,
                             env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"}, check=False).stdout
    for match in re.finditer(r"=> (\S*/libnss_files\.so\S*)", listing):
        add_binary(root, match.group(1))


def compiled(name, templates):
    """A program of the tests (tests/e2e/NAME.c), static."""
    path = f"{templates}/{name}.binary"
    if not os.path.exists(path):
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-static", "-pthread", "-o", path, f"{HERE}/../{name}.c"], check=True)
    return path


def with_program(name):
    def build(root):
        busybox(root)
        shutil.copy(compiled(name, os.path.dirname(root)), f"{root}/bin/{name}")
    return build


BUILDERS = {"busybox": busybox, "nginx": nginx, "redis": redis, "churn": with_program("churn"), "asleep": with_program("asleep"), "hold": with_program("hold")}
COMMANDS = {
    "churn": ["churn", "private", "32", "2000"],
    "asleep": ["asleep"],
    "busybox": ["sleep", "1000"],
    "nginx": ["nginx", "-c", "/etc/nginx/nginx.conf"],
    "redis": ["redis-server", "--save", "", "--appendonly", "no", "--bind", "0.0.0.0",
              "--protected-mode", "no", "--dir", "/tmp"],
}


def tar(root, path):
    """The tree as a tar file, for engines that import images from one."""
    proc.run(["tar", "--numeric-owner", "-C", root, "-cf", path, "."])
    return path
