"""nginx and redis over a restore, with their connections and what they hold."""

import os
import subprocess

import pytest

from lib import config, frozen, needs, proc

TCP = "--tcp-established"


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


class Client:
    """A connection out of a network namespace that is kept open: say() sends, and returns what comes back."""

    SCRIPT = ("import socket, sys\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.settimeout(20)\n"
              "for line in sys.stdin:\n"
              "    s.sendall(eval(line)); print(repr(s.recv(1 << 16)), flush=True)\n")

    def __init__(self, enter, port):
        self.process = subprocess.Popen([*enter, "/usr/bin/python3", "-c", self.SCRIPT, str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, close_fds=True)

    def send(self, text):
        self.process.stdin.write(repr(text) + "\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        assert line, "the connection is gone"
        return eval(line)

    def say(self, text):
        self.send(text)
        return self.receive()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture
def client():
    made = []

    def make(enter, port):
        made.append(Client(enter, port))
        return made[-1]

    yield make
    for one in made:
        one.close()


HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"


# A shell that starts nginx, and stays with a connection to it; what it says comes out of a fifo.
WITH_A_CONNECTION = """
mkfifo /tmp/say; exec 3<>/tmp/say
nginx -c /etc/nginx/nginx.conf &
until wget -q -O /dev/null http://127.0.0.1/hello; do sleep 0.1; done
exec nc 127.0.0.1 80 <&3 >/tmp/heard
"""


def nginx(container, args=None, user_namespace=True):
    """In a user namespace, if not said otherwise: its workers change to another user, whom CRIU can dump elsewhere only with CAP_SYS_RESOURCE."""
    c = container(args, kind="nginx")
    if user_namespace:
        config.use_user_namespace(c.config, 200000)
        proc.run(["chown", "-R", "-h", "200000:200000", c.rootfs])
        os.chmod(os.path.dirname(c.dir), 0o711)
    with open(c.host_path("/etc/nginx/nginx.conf"), "r+") as f:
        text = f.read().replace("/dev/stderr", "stderr")
        f.seek(0)
        f.write(text)
        f.truncate()
    c.run_detached()
    fetch = ["nsenter", "--net", "--target", str(c.pid), "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/hello"]
    proc.eventually(lambda: proc.run(fetch, ok=None).out == "hello from nginx\n", what="nginx to answer")
    return c


@pytest.mark.parametrize("user_namespace", [True, False], ids=["in a user namespace", "in ours"])
def test_nginx_with_its_workers_under_their_own_user(container, user_namespace):
    if not user_namespace:
        needs.capability("CAP_SYS_RESOURCE")
    c = nginx(container, user_namespace=user_namespace)

    def workers():
        pids = [int(p) for p in c.rt("ps", "-f", "json", c.id).out.strip("[]\n ").split(",")]
        return sorted((os.stat(f"/proc/{p}").st_uid, os.stat(f"/proc/{p}").st_gid) for p in pids)

    # One answers as soon as it is somebody else; the other may still be on the way.
    proc.eventually(lambda: len(set(workers()[1:])) == 1 and len(set(workers())) == 2, what="both workers to be somebody else")
    before = workers()
    assert len(before) == 3
    for turn in range(2):
        frozen.around(c, TCP, name=f"images{turn}")
        assert workers() == before
        fetch = ["nsenter", "--net", "--target", str(c.pid), "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/hello"]
        assert proc.run(fetch).out == "hello from nginx\n"
    c.kill("HUP")  # new workers, of a master that was restored
    proc.eventually(lambda: proc.run(fetch, ok=None).out == "hello from nginx\n", what="nginx to answer after a reload")
    c.kill("QUIT")
    c.wait_stopped()


def test_connections_to_workers_of_another_user_are_kept(container):
    """In a user namespace connections come back only together with the network they are in, so both ends are inside."""
    c = nginx(container, ["sh", "-c", WITH_A_CONNECTION])

    def ask(times):
        with open(c.host_path("/tmp/say"), "wb", buffering=0) as f:
            f.write(HELLO)
        proc.eventually(lambda: heard() == times, what=f"answer {times}")

    def heard():
        with open(c.host_path("/tmp/heard"), "rb") as f:
            return f.read().count(b"hello from nginx")

    proc.eventually(lambda: os.path.exists(c.host_path("/tmp/heard")), what="the connection")
    ask(1)
    for turn in range(3):
        frozen.around(c, TCP, name=f"images{turn}")
        ask(2 + turn)


def test_a_connection_to_nginx_is_kept(container, network, client):
    """With one process of the same user, so that the network can be somebody else's."""
    c = container(kind="nginx")
    config.set_namespace(c.config, "network", network.path("net"))
    with open(c.host_path("/etc/nginx/nginx.conf"), "r+") as f:
        text = f.read().replace("/dev/stderr", "stderr").replace("worker_processes 2;", "worker_processes 2; user root;")
        f.seek(0)
        f.write(text)
        f.truncate()
    c.run_detached()
    proc.eventually(lambda: proc.run([*network.enter, "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1/hello"], ok=None).code == 0,
                    what="nginx to answer")
    people = [client(network.enter, 80) for _ in range(5)]
    assert all(b"hello from nginx" in one.say(HELLO) for one in people)
    for turn in range(2):
        images = frozen.checkpoint(c, TCP, name=f"images{turn}")
        for one in people:
            one.send(HELLO)  # to a server that is not there
        frozen.restore(c, images, TCP)
        assert all(b"hello from nginx" in one.receive() for one in people)
    assert frozen.nft_rules(network.enter) == ""


def test_redis_with_256_mib_and_a_connection(container, network, client):
    c = container(kind="redis")
    config.set_namespace(c.config, "network", network.path("net"))
    c.run_detached()
    proc.eventually(lambda: "PONG" in c.exec("redis-cli", "ping", ok=None).out, what="redis")
    c.exec("redis-cli", "eval", "for i = 1, 256 do redis.call('set', 'k' .. i, string.rep(string.char(i % 250 + 1), 1048576)) end return 1", "0",
           timeout=60)
    one = client(network.enter, 6379)
    assert one.say(b"INCR counter\r\n") == b":1\r\n"
    check = ["redis-cli", "eval", "local s = '' for i = 1, 256 do s = s .. redis.sha1hex(redis.call('get', 'k' .. i)) end return redis.sha1hex(s)", "0"]
    before = c.exec(*check, timeout=60).out
    images = frozen.checkpoint(c, TCP, timeout=60)
    one.send(b"INCR counter\r\n")
    frozen.restore(c, images, TCP, timeout=60)
    assert one.receive() == b":2\r\n"
    assert c.exec(*check, timeout=60).out == before
    assert c.exec("redis-cli", "dbsize").out == "257\n"
    assert sum(os.stat(f"{images}/{name}").st_size for name in os.listdir(images) if name.startswith("pages")) > 256 << 20
