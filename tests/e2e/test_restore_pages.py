"""Memory that does not go through the image directory: a page server takes it, or the restored container fetches it while it
runs. criu's own `page-server` and `lazy-pages` are the other ends."""

import os
import select
import shutil
import socket
import time

import pytest

from lib import frozen, needs, proc

MIB = 1 << 20

# Every page differs, so that one in another's place would be seen.
FILL = f"m = mmap.mmap(-1, 24 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nfor i in range(0, 24 << 20, 4096): m[i:i+8] = i.to_bytes(8, 'big')"
CHECK = "all(m[i:i+8] == i.to_bytes(8, 'big') for i in range(0, 24 << 20, 4096))"


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


@pytest.fixture
def large_pipes(pipe_size):
    """What CRIU may use without CAP_SYS_RESOURCE."""
    pipe_size(16 * MIB)


@pytest.fixture
def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def background(container):
    """Starts a program that is ended after the test, before the containers are deleted."""
    made = []

    def start(argv, **how):
        made.append(proc.start(argv, **how))
        return made[-1]

    yield start
    for process in made:
        process.terminate()
        process.wait(30)


def test_memory_goes_to_a_page_server(inside, background, work, port):
    """And is brought together with the rest for the restore."""
    c = inside()
    c.do(FILL)
    pages = f"{work}/pages"
    os.makedirs(pages)
    server = background(["criu", "page-server", "--images-dir", pages, "--address", "127.0.0.1", "--port", str(port), "-o", "server.log"])
    proc.eventually(lambda: listens(port), what="the page server")
    images = frozen.checkpoint(c, "--page-server", f"127.0.0.1:{port}")
    assert server.wait(20) == 0
    assert not [name for name in os.listdir(images) if name.startswith("pages-")]
    assert sum(os.path.getsize(f"{pages}/{name}") for name in os.listdir(pages)) >= 24 * MIB
    for name in os.listdir(pages):
        if name.startswith("page"):
            shutil.copy(f"{pages}/{name}", images)
    frozen.restore(c, images)
    assert c.do(CHECK)
    frozen.around(c, name="again")
    assert c.do(CHECK)


def listens(port):
    with open("/proc/net/tcp") as f:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in f.readlines()[1:])


def lazily_dumped(c, background, port, status):
    argv = c.argv("checkpoint", "--lazy-pages", "--page-server", f"127.0.0.1:{port}", "--status-fd", str(status),
                  "--image-path", f"{c.dir}/images", c.id)
    with open(f"{c.dir}/error", "w") as f:
        return background(argv, stderr=f, pass_fds=[status])


def test_memory_is_fetched_while_the_restored_container_runs(inside, background, port, large_pipes):
    c = inside()
    c.do(FILL)
    heard, status = os.pipe()
    source = lazily_dumped(c, background, port, status)
    os.close(status)
    try:
        assert select.select([heard], [], [], 20)[0] and os.read(heard, 10) == b"\0"
    finally:
        os.close(heard)
    images = f"{c.dir}/images"
    assert sum(os.path.getsize(f"{images}/{n}") for n in os.listdir(images) if n.startswith("pages-")) < 8 * MIB
    old = c.pid
    background(["criu", "lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", str(port), "--images-dir", images,
                "--work-dir", images, "-o", "lazy.log"])
    proc.eventually(lambda: os.path.exists(f"{images}/lazy-pages.socket"), what="the daemon")
    c.config["linux"]["cgroupsPath"] += "-b"
    c.write_config()
    with frozen.twin(c, c.id + "-b") as twin:
        frozen.restore(twin, images, "--lazy-pages")
        assert twin.status == "running" and twin.pid != old
        assert c.do(CHECK, timeout=60)
        assert source.wait(60) == 0
        assert not c.exists() and not proc.alive(old)
        frozen.around(twin, name="again")
        assert c.do(CHECK)


def test_nobody_comes_for_the_memory(inside, background, port, large_pipes):
    """Asked to stop, the source runs on."""
    c = inside()
    c.do(FILL)
    heard, status = os.pipe()
    source = lazily_dumped(c, background, port, status)
    os.close(status)
    os.set_blocking(heard, False)
    assert select.select([heard], [], [], 20)[0]
    os.close(heard)
    time.sleep(0.3)
    assert source.poll() is None
    source.terminate()
    assert source.wait(30) == 1
    with open(f"{c.dir}/error") as f:
        assert "interrupted by SIGTERM" in f.read()
    assert c.status == "running" and c.do(CHECK)
    frozen.around(c, name="again")
    assert c.do(CHECK)
