"""The life of a container, verb by verb: what each does, where it is legal, what it says if not."""

import datetime
import json
import os
import signal
import stat
import time

import pytest

from lib import cgroup, config, host, proc

TRAP = "trap 'echo got {0}; exit 3' {0}; echo ready; while :; do sleep 0.05; done"


def trapping(name):
    return ["sh", "-c", TRAP.format(name)]


# The states, in their order

def test_a_container_goes_through_its_states(container):
    c = container(["sleep", "1000"])
    c.create()
    assert c.status == "created"
    c.start()
    assert c.status == "running"
    c.pause()
    assert c.status == "paused"
    c.resume()
    assert c.status == "running"
    c.kill("KILL")
    c.wait_stopped()
    c.delete()
    assert "does not exist" in c.rt("state", c.id, ok=False).err


def test_the_state_is_that_of_the_specification(container):
    c = container(changes={"annotations": {"org.example.key": "value with \"quotes\""}})
    before = datetime.datetime.now(datetime.timezone.utc)
    c.create()
    state = c.state()
    assert state["ociVersion"].startswith("1.")
    assert state["id"] == c.id
    assert state["status"] == "created"
    assert proc.alive(state["pid"])
    assert state["bundle"] == c.dir
    assert state["rootfs"] == c.rootfs
    assert state["owner"] == "root"
    assert state["annotations"] == {"org.example.key": "value with \"quotes\""}
    when, fraction = state["created"].rstrip("Z").split(".")
    assert len(fraction) == 9
    made = datetime.datetime.fromisoformat(when + "+00:00")
    assert abs((made - before).total_seconds()) < 5
    c.start()
    c.kill()
    c.wait_stopped()
    assert c.state()["pid"] == 0


def test_the_process_does_not_run_before_start(container):
    c = container(["touch", "/ran"])
    c.create()
    time.sleep(0.1)
    assert not os.path.exists(c.host_path("/ran"))
    c.start()
    proc.eventually(lambda: os.path.exists(c.host_path("/ran")), what="the process to run")


def test_the_pid_file_holds_the_pid_and_no_more(container):
    c = container()
    c.create()
    with open(c.pid_file) as f:
        assert f.read() == str(c.state()["pid"])


def test_the_directory_of_a_container_is_roots_alone(container):
    c = container()
    c.create()
    assert stat.S_IMODE(os.stat(f"{c.root}/{c.id}").st_mode) == 0o700


def test_what_becomes_of_the_bundle_does_not_matter_after_create(container):
    c = container(["sleep", "1000"])
    c.create()
    c.start()
    with open(c.dir + "/config.json", "w") as f:
        f.write("no configuration")
    assert c.exec("echo", "still here").out == "still here\n"
    os.unlink(c.dir + "/config.json")
    assert c.status == "running"
    c.delete("--force")


# Legal and not

def created(c):
    c.create()


def running(c):
    c.run_detached()


def paused(c):
    c.run_detached()
    c.pause()


def stopped(c):
    c.run_detached()
    c.kill("KILL")
    c.wait_stopped()


# state, command, words that the error must have: engines look for some of them
REFUSALS = [
    (created, ["resume"], "not paused"),
    (running, ["start"], "already running"),
    (running, ["delete"], "not stopped: running"),
    (running, ["resume"], "container not paused"),
    (paused, ["start"], "paused"),
    (paused, ["pause"], "container not running"),
    (paused, ["delete"], "not stopped: paused"),
    (paused, ["exec", "true"], "paused"),
    (stopped, ["start"], "stopped"),
    (stopped, ["pause"], "container not running"),
    (stopped, ["resume"], "container not paused"),
    (stopped, ["exec", "true"], "container not running"),
    (stopped, ["kill", "TERM"], "container not running"),
    (stopped, ["update", "--pids-limit", "5"], "container not running"),
    (stopped, ["events", "--stats"], "not running"),
]


@pytest.mark.parametrize("state, words, told", REFUSALS,
                         ids=[f"{w[0]} when {s.__name__}" for s, w, _ in REFUSALS])
def test_a_verb_that_is_not_legal_is_refused_and_changes_nothing(container, state, words, told):
    c = container()
    state(c)
    verb, *rest = words
    flags = [w for w in rest if w.startswith("-") or w.isdigit()]
    operands = [w for w in rest if w not in flags]
    result = c.rt(verb, *flags, c.id, *operands, ok=False)
    assert result.code == (255 if verb == "exec" else 1)
    assert told in result.err
    assert len(result.err.splitlines()) == 1
    assert c.status == state.__name__


@pytest.mark.parametrize("words", [
    ["start"], ["state"], ["kill"], ["kill", "9"], ["delete"], ["pause"], ["resume"],
    ["exec", "true"],
    ["ps"], ["update"], ["events"],
], ids=" ".join)
def test_a_container_that_is_not_there_does_not_exist(rt, work, words):
    verb, *rest = words
    for root in (work, work + "/no/such/root"):
        result = rt("--root", root, verb, "nobody", *rest, ok=False)
        assert "does not exist" in result.err and "nobody" in result.err
    assert not os.path.exists(work + "/no")


def test_deleting_what_is_not_there_by_force_is_fine(rt, work):
    assert rt("--root", work, "delete", "--force", "nobody").err == ""


def test_an_id_can_be_had_only_once(container):
    c = container()
    c.create()
    result = c.create(ok=False)
    assert "already exists" in result.err
    assert c.status == "created"


@pytest.mark.parametrize("id",
                         ["", ".", "..", "a/b", "../x", "a b", "a\nb", "@seccomp", "ü", "x" * 1025])
def test_an_id_that_could_be_anything_else_is_refused(container, id):
    c = container()
    c.write_config()
    result = c.rt("create", "--bundle", c.dir, "--", id, ok=False)
    assert "id" in result.err
    for verb in ("state", "delete"):
        assert c.rt(verb, "--", id, ok=False).code == 1


@pytest.mark.parametrize("id", ["a", "A.b-c_d+e", "...", "-x", "x" * 200])
def test_ids_may_be_strange_within_the_rule(container, id):
    c = container()
    c.write_config()
    with open(c.stdout, "w") as f:
        c.rt("create", "--bundle", c.dir, "--", id, stdout=f.fileno())
    try:
        assert json.loads(c.rt("state", "--", id).out)["id"] == id
    finally:
        c.rt("delete", "--force", "--", id)


def test_a_created_container_can_be_deleted_at_once(container):
    c = container()
    c.create()
    pid = c.pid
    c.delete()
    assert not proc.alive(pid)


@pytest.mark.parametrize("state", [created, running, paused, stopped])
def test_force_deletes_in_any_state(container, state):
    c = container()
    state(c)
    c.delete("--force")
    assert not os.path.exists(f"{c.root}/{c.id}")


def test_force_deletes_one_whose_state_is_lost(container):
    c = container()
    c.create()
    pid = c.pid
    os.unlink(f"{c.root}/{c.id}/state.json")
    c.delete("--force")
    assert not os.path.exists(f"{c.root}/{c.id}")
    # Nothing tells any more whose it was: whoever lost the file must end it.
    os.kill(pid, signal.SIGKILL)
    for directory in [d for d in cgroup.all_cgroups() if d.endswith("/" + c.id)]:
        proc.eventually(lambda d=directory: host.remove_quietly(os.rmdir, d)
                        or not os.path.exists(d),
                        what=f"{directory} to be empty")


def test_a_start_that_fails_says_why_and_leaves_nothing_to_start_again(container):
    c = container(["/bin/vanishes"])
    os.link(c.host_path("/bin/busybox"), c.host_path("/bin/vanishes"))
    c.create()
    pid = c.pid
    os.unlink(c.host_path("/bin/vanishes"))
    result = c.start(ok=False)
    assert "vanishes" in result.err and "no such file" in result.err.lower()
    assert not proc.alive(pid)
    assert c.rt("start", c.id, ok=False).code == 1
    c.delete("--force")


def test_a_program_that_is_not_there_fails_create(container):
    assert "executable file not found in $PATH" in container(["nosuchprogram"]).create(ok=False).err
    c = container(["/no/such/program"])
    assert "no such file or directory" in c.create(ok=False).err.lower()
    assert not c.exists()


# run

@pytest.mark.parametrize("script, status", [
    ("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -TERM $$", 143),
])
def test_run_ends_as_its_process_did(container, script, status):
    c = container(["sh", "-c", script])
    # As init of a pid namespace it would not get its own signals.
    config.drop_namespace(c.config, "pid")
    assert c.run(ok=None).code == status
    assert not c.exists()


def test_run_cannot_start_what_is_not_there(container):
    c = container(["nosuchprogram"])
    result = c.run(ok=False)
    assert result.code == 1 and "executable file not found in $PATH" in result.err
    assert not c.exists()


def test_run_with_keep_leaves_the_container_stopped(container):
    c = container(["sh", "-c", "exit 3"])
    assert c.run("--keep", ok=False).code == 3
    assert c.status == "stopped"
    c.delete()


def test_run_detached_returns_at_once_and_leaves_it_running(container):
    c = container(["sleep", "1000"])
    assert c.run_detached().seconds < 5
    assert c.status == "running"
    assert os.stat(f"/proc/{c.pid}").st_uid == 0


def test_a_detached_container_is_not_deleted_at_its_end(container):
    c = container(["true"])
    c.run_detached()
    c.wait_stopped()
    c.delete()


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "USR1", "CONT"])
def test_run_passes_signals_on(container, name):
    c = container(trapping(name))
    c.write_config()
    with open(c.stdout, "wb") as f:
        runner = proc.start(c.argv("run", "--bundle", c.dir, c.id), stdout=f.fileno())
    c.wait_output("ready")
    os.kill(runner.pid, getattr(signal, "SIG" + name))
    assert runner.wait(20) == 3
    assert f"got {name}" in c.output


def test_a_signal_that_comes_before_run_waits_is_passed_on(container):
    """Here from a hook, which runs when the process does."""
    c = container(trapping("TERM"))
    script = f"until grep -q ready {c.stdout}; do sleep 0.01; done; kill -TERM $PPID"
    c.config["hooks"] = {"poststart": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    c.write_config()
    with open(c.stdout, "wb") as f:
        runner = proc.start(c.argv("run", "--bundle", c.dir, c.id), stdout=f.fileno())
    assert runner.wait(20) == 3
    assert "got TERM" in c.output


def test_a_run_that_is_killed_leaves_a_container_that_can_be_deleted(container):
    c = container(["sleep", "1000"])
    c.write_config()
    runner = proc.start(c.argv("run", "--bundle", c.dir, c.id))
    proc.eventually(lambda: c.rt("state", c.id, ok=None).code == 0 and c.status == "running")
    runner.kill()
    runner.wait()
    assert c.status == "running"
    c.delete("--force")


def test_run_gives_up_when_its_container_is_deleted_meanwhile(container):
    c = container(["sleep", "1000"])
    c.write_config()
    runner = proc.start(c.argv("run", "--bundle", c.dir, c.id))
    proc.eventually(lambda: c.rt("state", c.id, ok=None).code == 0 and c.status == "running")
    c.delete("--force")
    assert runner.wait(20) == 137


def test_orphans_in_a_shared_pid_namespace_end_with_the_container(container):
    c = container(["sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait"])
    config.drop_namespace(c.config, "pid")
    c.run_detached()
    c.wait_output("up")
    pids = json.loads(c.rt("ps", "--format", "json", c.id).out)
    assert len(pids) == 3
    c.kill("KILL")
    c.wait_stopped()
    c.delete()
    proc.eventually(lambda: not any(proc.alive(p) for p in pids), what="the orphans to end")


# kill

@pytest.mark.parametrize("given, name", [
    ("TERM", "TERM"), ("SIGTERM", "TERM"), ("sigterm", "TERM"), ("15", "TERM"), ("hup", "HUP"),
    ("SIGUSR2", "USR2"), ("10", "USR1"),
])
def test_signals_have_names_and_numbers(running_trap, given, name):
    c = running_trap(name)
    c.kill(given)
    c.wait_output(f"got {name}")
    c.wait_stopped()


@pytest.fixture
def running_trap(container):
    def make(name):
        c = container(trapping(name))
        c.run_detached()
        c.wait_output("ready")
        return c
    return make


def test_kill_without_a_signal_asks_to_terminate(running_trap):
    c = running_trap("TERM")
    c.rt("kill", c.id)
    c.wait_output("got TERM")


def test_realtime_signals_can_be_sent(container):
    c = container(["sh", "-c",
                   "trap 'echo got it; exit' 35; echo ready; while :; do sleep 0.05; done"])
    c.run_detached()
    c.wait_output("ready")
    c.kill("RTMIN+1")
    c.wait_output("got it")


@pytest.mark.parametrize("given", ["NOSUCH", "SIG", "-1", "65", "1000", "9x", "RTMAX+1"])
def test_a_signal_that_is_none_is_refused(container, given):
    c = container()
    c.create()
    assert "unknown signal" in c.rt("kill", "--", c.id, given, ok=False).err
    assert c.status == "created"


def test_signal_0_only_asks(container):
    c = container()
    c.create()
    c.kill("0")
    assert c.status == "created"


def test_a_created_container_can_be_killed(container):
    c = container()
    c.create()
    c.kill("KILL")
    c.wait_stopped()
    c.delete()


def test_a_paused_container_dies_of_sigkill_at_once(container):
    c = container()
    paused(c)
    c.kill("KILL")
    c.wait_stopped()


def test_kill_all_reaches_processes_that_outlived_init(container):
    c = container(["sh", "-c", "sleep 1000 & echo $!; exec sleep 999"])
    config.drop_namespace(c.config, "pid")
    c.run_detached()
    proc.eventually(lambda: c.output.strip())
    orphan = int(c.output)
    c.kill("KILL")
    c.wait_stopped()
    assert proc.alive(orphan)
    c.kill("KILL", "--all")
    proc.eventually(lambda: not proc.alive(orphan), what="the orphan to end")
    c.kill("KILL", "--all")  # engines ask again to be sure


# list, ps

def test_list_shows_all_containers_in_order(container):
    made = [container(id=name) for name in ("zeta", "alpha", "mid")]
    for c in made:
        c.create()
    made[1].start()
    c = made[0]
    assert c.rt("list", "--quiet").out == "alpha\nmid\nzeta\n"
    states = json.loads(c.rt("list", "--format", "json").out)
    assert [(s["id"], s["status"], s["pid"]) for s in states] == [
        ("alpha", "running", made[1].pid), ("mid", "created", made[2].pid),
        ("zeta", "created", c.pid)]
    lines = c.rt("list").out.splitlines()
    assert lines[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert lines[1].split()[:4] == ["alpha", str(made[1].pid), "running", made[1].dir]
    column = lines[0].index("STATUS")
    assert all(line[column:].startswith(("running", "created")) for line in lines[1:])


def test_a_list_of_none(rt, work):
    assert rt("--root", work + "/none", "list", "--quiet").out == ""
    assert rt("--root", work + "/none", "list", "--format", "json").out == "[]\n"
    assert len(rt("--root", work, "list").out.splitlines()) == 1


def test_a_broken_container_does_not_hide_the_others(container):
    good, bad = container(id="good"), container(id="bad")
    good.create()
    bad.create()
    file = f"{bad.root}/bad/state.json"
    with open(file) as f:
        intact = f.read()
    for text in ("", "{", "[]", '{"pid": "x"}', "\0" * 100, '{"pid": 99999999999}'):
        with open(file, "w") as f:
            f.write(text)
        result = good.rt("list", "--quiet")
        assert "good" in result.out.split()
        assert "bad" in result.err and "state.json" in result.err
    with open(file, "w") as f:
        f.write(intact)
    os.mkdir(f"{good.root}/.strange.")
    os.mkdir(f"{good.root}/not an id")
    assert "good" in good.rt("list").out
    os.rmdir(f"{good.root}/.strange.")
    os.rmdir(f"{good.root}/not an id")


def test_ps_knows_every_process_of_the_container(container):
    c = container(["sh", "-c", "sleep 1001 & sleep 1002 & wait"])
    c.run_detached()
    proc.eventually(lambda: len(json.loads(c.rt("ps", "--format", "json", c.id).out)) == 3)
    pids = json.loads(c.rt("ps", "-f", "json", c.id).out)
    assert c.pid in pids
    table = c.rt("ps", c.id).out
    assert "sleep 1001" in table and "sleep 1002" in table and len(table.splitlines()) == 4
    custom = c.rt("ps", c.id, "-o", "pid,args").out
    assert custom.splitlines()[0].split() == ["PID", "COMMAND"]
    assert len(custom.splitlines()) == 4
    assert "PID" in c.rt("ps", c.id, "-o", "args", ok=False).err


def test_ps_of_a_stopped_container_is_empty(container):
    c = container()
    stopped(c)
    assert c.rt("ps", "--format", "json", c.id).out == "[]\n"


# pause, update, events

def test_exec_into_a_paused_container_waits_when_asked_to(container):
    c = container()
    paused(c)
    waiting = proc.start(c.argv("exec", "--ignore-paused", c.id, "touch", "/ran"))
    try:
        time.sleep(0.2)
        assert waiting.poll() is None
        assert not os.path.exists(c.host_path("/ran"))
    finally:
        c.resume()
    assert waiting.wait(20) == 0
    assert os.path.exists(c.host_path("/ran"))


def test_a_created_container_can_be_paused_and_started_after(container):
    c = container(["echo", "started"])
    c.create()
    c.pause()
    assert c.status == "paused"
    c.resume()
    assert c.status == "created"
    c.start()
    c.wait_output("started")


def test_events_come_at_the_interval(container, work):
    c = container()
    c.run_detached()
    path = work + "/events"
    with open(path, "wb") as f:
        events = proc.start(c.argv("events", "--interval", "100ms", c.id), stdout=f.fileno())

    def lines():
        with open(path) as g:
            return g.read().splitlines()
    began = time.monotonic()
    proc.eventually(lambda: len(lines()) >= 6, what="six statistics")
    assert 0.3 < time.monotonic() - began < 5
    c.kill("KILL")
    assert events.wait(20) == 0
    for line in lines():
        event = json.loads(line)
        assert (event["type"], event["id"]) == ("stats", c.id) and event["data"]


@pytest.mark.parametrize("interval",
                         ["", "5", "x", "-1s", "0", "0s", "1y", "1e3s", "99999999999999h"])
def test_an_interval_that_is_none_is_refused(container, interval):
    c = container()
    c.create()
    assert "--interval" in c.rt("events", f"--interval={interval}", c.id, ok=False).err
