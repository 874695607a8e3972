"""A restored container is a container: every verb works on it, and it can be checkpointed again; hooks run as at a start."""

import json
import os

import pytest

from lib import frozen, needs, proc


@pytest.fixture(autouse=True)
def criu():
    needs.criu()


def test_state_before_and_after(inside):
    c = inside(changes={"annotations": {"org.example": "here"}})
    before = c.state()
    frozen.around(c)
    after = c.state()
    assert {k: after[k] for k in after if k not in ("pid", "created")} == {k: before[k] for k in before if k not in ("pid", "created")}
    assert after["status"] == "running" and after["annotations"]["org.example"] == "here"
    assert after["pid"] == c.pid and proc.alive(c.pid)
    assert [entry["id"] for entry in json.loads(c.rt("list", "--format", "json").out)] == [c.id]


def test_every_verb(inside):
    c = inside()
    frozen.around(c)
    assert c.exec("echo", "in").out == "in\n"
    with c.exec_on_terminal("sh") as session:
        session.terminal.type("tty; exit 3\n")
        session.terminal.expect("/dev/pts/")
        assert session.wait() == 3
    c.pause()
    assert c.status == "paused" and "paused" in c.exec("true", ok=False).err
    c.resume()
    assert c.do("6 * 7") == 42
    c.update({"pids": {"limit": 40}})
    assert json.loads(c.rt("ps", "-f", "json", c.id).out) == [c.pid]
    assert "exists" in c.rt("run", "--detach", "--bundle", c.dir, c.id, ok=False).err
    c.do("signal.signal(signal.SIGTERM, lambda *_: os._exit(5))")
    c.kill("TERM")
    c.wait_stopped()
    c.delete()
    assert not c.exists()


def test_every_verb_again_after_three_rounds(inside):
    c = inside()
    c.do("rounds = 0; child = os.fork()\nif child == 0:\n    while True: time.sleep(1)")
    for turn in range(3):
        frozen.around(c, name=f"images{turn}")
        assert c.do("rounds += 1; rounds") == turn + 1
        c.exec("sh", "-c", f"echo {turn} >> /tmp/rounds")
        c.pause()
        c.resume()
    assert c.exec("cat", "/tmp/rounds").out == "0\n1\n2\n"
    c.delete("--force")
    assert not c.exists()
    # Any of the three is as good as the last.
    frozen.restore(c, f"{c.dir}/images1")
    assert c.do("rounds") == 1


def test_one_checkpoint_many_containers(inside):
    c = inside()
    c.do("x = 'shared'")
    images = frozen.checkpoint(c)
    twins = [frozen.twin(c, f"{c.id}-{n}") for n in range(3)]
    try:
        for n, twin in enumerate(twins):
            twin.container.config = json.loads(json.dumps(c.config))
            c.config["linux"]["cgroupsPath"] = f"/{c.id}-{n}"
            c.write_config()
            frozen.restore(twin.container, images)
        assert len({twin.container.pid for twin in twins}) == 3
        assert all(twin.container.status == "running" for twin in twins)
    finally:
        for twin in twins:
            twin.__exit__()


def test_an_id_that_is_taken(inside):
    c = inside()
    images = frozen.checkpoint(c, "--leave-running")
    assert "exists" in frozen.restore(c, images, ok=False).err
    assert c.status == "running" and c.do("1") == 1


def test_only_what_runs_can_be_checkpointed(container):
    c = container(["true"])
    c.create()
    assert "created" in frozen.checkpoint(c, ok=False).err and c.status == "created"
    c.start()
    c.wait_stopped()
    assert "not running" in frozen.checkpoint(c, ok=False).err
    c.delete()
    assert "does not exist" in frozen.checkpoint(c, ok=False).err


def test_leave_running_and_the_copy(inside):
    c = inside()
    c.do("x = 1")
    images = frozen.checkpoint(c, "--leave-running")
    c.do("x = 2")
    assert c.do("x") == 2
    c.delete("--force")
    frozen.restore(c, images)
    assert c.do("x") == 1


KINDS = ("prestart", "createRuntime", "poststart", "poststop")


def hooks(log, **special):
    script = "p=$(grep -o '\"pid\": *[0-9]*' | grep -o '[0-9]*'); echo $0 $p >> {log}; {then}"
    return {kind: [{"path": "/bin/sh", "args": ["/bin/sh", "-c", script.format(log=log, then=special.get(kind, "true")), kind]}]
            for kind in KINDS}


def test_hooks_run_where_namespaces_stand_and_nothing_lives_in_them(inside, work):
    log = f"{work}/log"
    look = f"ls -l /proc/$p/ns/net >> {log}.ns; nsenter --net=/proc/$p/ns/net ip link add made type bridge; nsenter --net=/proc/$p/ns/net ip addr add 10.9.8.7/24 dev made; cat /proc/$p/stat >> {log}.stat"
    c = inside(started=False, changes={"hooks": hooks(log, createRuntime=look)})
    c.run_detached()
    # Bound to an address that only the hook makes: it has to be there before sockets are.
    c.do("l = socket.create_server(('10.9.8.7', 7000))")
    images = frozen.checkpoint(c)
    os.unlink(log)
    frozen.restore(c, images)
    with open(log) as f:
        lines = [line.split() for line in f]
    assert [line[0] for line in lines] == list(KINDS[:3])
    assert all(line[1] == str(c.pid) for line in lines)
    assert "10.9.8.7" in c.exec("ip", "addr").out
    assert c.do("s = socket.create_connection(('10.9.8.7', 7000)); a, _ = l.accept(); s.send(b'x'); a.recv(1)") == b"x"
    c.delete("--force")
    with open(log) as f:
        assert f.read().split()[-1] and [line.split()[0] for line in open(log)] == list(KINDS)


@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_a_hook_that_fails_ends_the_restore_and_leaves_nothing(inside, work, kind):
    c = inside(started=False, changes={"hooks": hooks(f"{work}/log")})
    c.run_detached()
    c.do("x = 5")
    images = frozen.checkpoint(c)
    c.config["hooks"] = hooks(f"{work}/log", **{kind: "echo no network here >&2; exit 3"})
    c.write_config()
    error = frozen.restore(c, images, ok=False).err
    assert kind in error and "no network here" in error and not c.exists()
    c.config["hooks"] = {}
    c.write_config()
    frozen.restore(c, images)
    assert c.do("x") == 5
