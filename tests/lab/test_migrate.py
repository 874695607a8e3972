"""Containers that move from one machine to another, over TLS, with clients on a third."""

import pytest

from machines.moving import Moving, wait_for


@pytest.fixture
def moving(lab, pair):
    made = Moving(lab, pair.a, pair.b)
    yield made
    made.close()


def test_nginx_with_workers_under_www_data_goes_there_and_back_with_a_connection(moving):
    c = moving.web()
    before = moving.workers(c)
    assert before == ["0", "33", "33"]
    client = moving.talk_to_web()
    for _ in range(2):
        move, c = moving.migrate(c)
        print(move.notes, move.done["downtime"])
        assert moving.where(c) == [c.guest.name]
        assert moving.workers(c) == before
    count, slowest = client.end()
    print(f"{count} requests over one connection, the slowest took {slowest:.2f} s")
    assert count > 20


@pytest.mark.parametrize("mode", ["pre-copy", "hybrid"])
def test_redis_is_written_to_while_it_goes_in_rounds_of_soft_dirty(moving, mode):
    c = moving.store()
    digest = moving.digest(c)
    client = moving.write_to_store()
    for _ in range(2):
        move, c = moving.migrate(c, "--mode", mode, "--track", "soft-dirty", "--downtime", "1")
        print(move.notes, [r for r in move.rounds], move.done["downtime"])
        assert len(move.rounds) >= 2 and move.done["mode"] == mode
        # What was written to is less than all of it: the tracker tells.
        assert move.rounds[1]["pages"] < move.rounds[0]["pages"] / 2
        assert moving.where(c) == [c.guest.name]
    count, slowest = client.end()
    print(f"{count} writes over one connection, the slowest took {slowest:.2f} s")
    assert int(moving.redis(c, "get", "count")) == count
    assert moving.digest(c) == digest


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
    c = moving.web()
    client = moving.talk_to_web()
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
