"""Containers that move from one machine to another, over TLS, with clients on a third."""

import pytest

from machines.moving import Moving, wait_for

WEB, STORE = "172.19.0.10", "172.19.0.11"


@pytest.fixture
def moving(lab, pair):
    made = Moving(lab, pair.a, pair.b)
    yield made
    made.close()


def web(moving):
    c = moving.container("web", "nginx", address=WEB).run_detached()
    wait_for(lambda: c.guest.run(f"curl -s -m 5 http://{WEB}/hello", ok=None).out == "hello from nginx\n", "nginx to answer")
    return c


def workers(c):
    """The users of its processes."""
    return c.guest.run(f"for p in $(/rt/build/rt ps -f json {c.id} | tr '[],' '   '); do stat -c %U /proc/$p; done | sort").out.split()


def talk(moving):
    return moving.client(WEB, 80, b"GET /hello HTTP/1.1\r\nHost: lab\r\n\r\n", b"hello from nginx\n")


def test_nginx_with_workers_under_www_data_goes_there_and_back_with_a_connection(moving):
    c = web(moving)
    before = workers(c)
    assert before == ["root", "www-data", "www-data"]
    client = talk(moving)
    for _ in range(2):
        move, c = moving.migrate(c)
        print(move.notes, move.done["downtime"])
        assert moving.where(c) == [c.guest.name]
        assert workers(c) == before
    count, slowest = client.end()
    print(f"{count} requests over one connection, the slowest took {slowest:.2f} s")
    assert count > 20


@pytest.mark.parametrize("mode", ["pre-copy", "hybrid"])
def test_redis_is_written_to_while_it_goes_in_rounds_of_soft_dirty(moving, mode):
    c = moving.container("store", "redis", address=STORE).run_detached()
    wait_for(lambda: "PONG" in c.rt("exec", "store", "redis-cli", "ping", ok=None).out, "redis to answer")
    c.rt("exec", "store", "redis-cli", "eval", "for i = 1, 40 do redis.call('set', 'k' .. i, string.rep(string.char(i % 250 + 1), 1048576)) end return 1", "0")
    digest = c.rt("exec", "store", "redis-cli", "debug", "digest-value", *(f"k{i}" for i in range(1, 41))).out
    # Each request writes one of a hundred places; the last one says how often it was done.
    client = moving.client(STORE, 6379, b"EVAL \"local n = redis.call('incr', 'count') redis.call('set', 'w' .. n % 100, string.rep(n, 1000)) return 'wrote'\" 0\r\n",
                           b"$5\r\nwrote\r\n")
    for turn in range(2):
        move, c = moving.migrate(c, "--mode", mode, "--track", "soft-dirty")
        print(move.notes, [r for r in move.rounds], move.done["downtime"])
        assert len(move.rounds) >= 2 and move.done["mode"] == mode
        # What was written to is less than all of it: the tracker tells.
        assert move.rounds[1]["pages"] < move.rounds[0]["pages"] / 2
        assert moving.where(c) == [c.guest.name]
    count, slowest = client.end()
    print(f"{count} writes over one connection, the slowest took {slowest:.2f} s")
    assert int(c.rt("exec", "store", "redis-cli", "get", "count").out) == count
    assert c.rt("exec", "store", "redis-cli", "debug", "digest-value", *(f"k{i}" for i in range(1, 41))).out == digest


# ---- networks as they are ----

@pytest.fixture
def netem(moving):
    """netem("delay 40ms"): what becomes of packets that a guest sends to the other."""
    def set_to(words):
        for guest in moving.guests:
            guest.run(f"modprobe sch_netem; tc qdisc replace dev eth1 root netem {words}")
    yield set_to
    for guest in moving.guests:
        guest.run("tc qdisc del dev eth1 root", ok=None)


@pytest.mark.parametrize("words", ["delay 40ms 10ms", "loss 3%", "delay 10ms reorder 25% 50%", "duplicate 5% corrupt 0.1%"])
def test_over_a_network_that(moving, netem, words):
    c = web(moving)
    client = talk(moving)
    netem(words)
    move, c = moving.migrate(c, "--mode", "pre-copy", "--track", "soft-dirty")
    print(words, move.done["downtime"], move.done["seconds"])
    assert moving.where(c) == [c.guest.name]
    count, slowest = client.end()
    print(f"{count} requests over one connection, the slowest took {slowest:.2f} s")


def test_a_cable_that_is_pulled_in_the_middle_leaves_it_where_it_was(moving, pair):
    c = moving.container("churn", "churn", args=["churn", "private", "32", "500"]).run_detached()
    source = c.guest
    source.run("touch /run/lab-pause/tool-memory")
    words = moving.command(c, "--mode", "pre-copy", "--track", "soft-dirty", "--timeout", "10")
    words[words.index("--timeout"):words.index("--timeout") + 2] = []
    log = f"{moving.lab.work}/cable.log"
    tool = source.spawn(["env", "RT_MIGRATE_PAUSE=/run/lab-pause", *words], log)
    wait_for(lambda: source.run("ls /run/lab-pause").out.startswith("tool-memory."), "the tool to copy memory")
    moving.network.cut(moving.other(source).number)
    try:
        source.run("rm /run/lab-pause/tool-memory.*")
        assert tool.wait(120) != 0
    finally:
        moving.network.cut(moving.other(source).number, cut=False)
    assert moving.where(c) == [source.name], open(log).read()
    assert c.status == "running"
    wait_for(lambda: moving.other(source).run("ls /sys/fs/cgroup/churn 2>/dev/null", ok=None).code != 0, "the target to give up", 120)
