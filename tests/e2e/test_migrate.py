"""Live migration between two hosts: what comes along, what the options do, and what is as it was."""

import html.parser
import json
import os
import re
import socket
import subprocess
import urllib.error

import pytest

from lib import cgroup, config, frozen, needs, proc
from lib.container import runtime
from lib.hosts import Churn

COUNTER = ["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"]


@pytest.fixture
def counter(hosts):
    """A container that counts, on host a; both hosts receive and have its bundle."""
    c = hosts.a.container(COUNTER)
    hosts.b.put_bundle(c)
    for host in hosts.made:
        host.receive()
    c.run_detached()
    c.wait_output("3\n")
    return c


def goes_on(before, after):
    """It counts on where it was: no number is missing and none comes twice."""
    last = int(before.split()[-1])
    # Where it has been before, what it printed then stands there, too.
    proc.eventually(lambda: {str(last + 1), str(last + 4)} <= set(after.output.split()), what="it to count on")
    numbers = [int(n) for n in after.output.split()]
    assert numbers[numbers.index(last + 1):] == list(range(last + 1, numbers[-1] + 1))


def test_there_and_back_it_counts_on(hosts, counter):
    c = counter
    for turn in range(4):
        moved = hosts.migrate(c)
        assert c.host.ids() == [] and moved.container.host.ids() == [c.id]
        goes_on(c.output, moved.container)
        c = moved.container
    assert c.status == "running"


def test_a_target_whose_words_go_to_a_socket_takes_it_in(hosts):
    """As systemd starts it: standard error is the journal's socket."""
    ours, theirs = socket.socketpair()
    c = hosts.a.container(COUNTER)
    hosts.b.put_bundle(c)
    with ours, theirs:
        hosts.b.daemon = proc.start([*hosts.b.enter, runtime(), "--root", hosts.b.root, "receive", "--listen", f"{hosts.b.address}:7443", "--bundles",
                                     hosts.b.bundles, "--insecure"], stdout=theirs, stderr=theirs)
        ours.settimeout(10)
        assert b"listening on" in ours.recv(4096)
        c.run_detached()
        c.wait_output("3\n")
        moved = hosts.migrate(c).container
        goes_on(c.output, moved)
        hosts.b.stop_receiving()
        assert b"'web' runs here" in ours.recv(1 << 16)


def test_it_is_a_container_like_any_other_over_there(hosts, counter):
    c = hosts.migrate(counter).container
    state = c.state()
    assert state["status"] == "running" and state["bundle"] == c.dir and state["id"] == c.id
    assert c.exec("echo", "inside").out == "inside\n"
    c.pause()
    assert c.status == "paused"
    still = c.output
    c.resume()
    goes_on(still, c)
    assert len(c.rt("ps", c.id).out.splitlines()) >= 2
    # Its own streams are files of this host now.
    frozen.checkpoint(c, "--leave-running")
    before = c.output
    proc.eventually(lambda: c.output != before, what="it to go on after a checkpoint")
    c.kill()
    c.wait_stopped()
    c.delete()
    assert hosts.b.ids() == []


def test_processes_files_and_names_come_along(hosts):
    """Children with their pids, an open file with its place, a tmpfs with its content, the host name, a working directory."""
    script = ("cd /dev/shm; echo kept >file; hostname moved; exec 3>>/tmp/log; (while :; do sleep 0.05; done) & (sleep 1000) & "
              "n=0; while :; do n=$((n+1)); echo $n >&3; echo $n; sleep 0.05; done")
    c = hosts.a.container(["sh", "-c", script])
    config.set_capabilities(c.config, ["CAP_SYS_ADMIN", "CAP_KILL"])
    hosts.b.receive("--allow-config")
    c.run_detached()
    c.wait_output("3\n")
    moved = hosts.migrate(c, "--rootfs", "copy")
    c = moved.container
    assert c.exec("cat", "/dev/shm/file").out == "kept\n" and c.exec("hostname").out == "moved\n"
    assert "1000" in c.exec("ps").out, "the sleeping child is there"
    proc.eventually(lambda: len(c.exec("tail", "-n", "2", "/tmp/log").out.split()) == 2)
    numbers = [int(n) for n in c.exec("cat", "/tmp/log").out.split()]
    assert numbers == list(range(1, len(numbers) + 1)), "nothing is lost or written twice"


def test_limits_come_along_as_they_are_now(hosts, counter):
    needs.controller("memory")
    needs.controller("pids")
    counter.update({"memory": {"limit": 100 << 20}, "pids": {"limit": 77}})
    c = hosts.migrate(counter).container
    pid = c.pid
    found = {}
    for controller, v1, v2 in (("memory", "memory.limit_in_bytes", "memory.max"), ("pids", "pids.max", "pids.max")):
        # The path is as seen from here, which is above the host's own cgroups.
        found[controller] = int(cgroup.value(pid, controller, v1, v2))
    assert found == {"memory": 100 << 20, "pids": 77}


def test_a_paused_container_arrives_paused_or_running(hosts, counter):
    """It may be moved; afterwards it does what its state says."""
    counter.pause()
    c = hosts.migrate(counter).container
    if c.status == "paused":
        c.resume()
    goes_on(counter.output, c)


def test_another_id_over_there(hosts, counter):
    there = hosts.b.put_bundle(counter, id="web-2")
    c = hosts.migrate(counter, new_id="web-2").container
    assert hosts.b.ids() == ["web-2"] and hosts.a.ids() == [] and c.state()["id"] == "web-2"
    goes_on(counter.output, there)


def test_keep_leaves_the_stopped_container(hosts, counter):
    c = hosts.migrate(counter, "--keep").container
    assert counter.status == "stopped" and c.status == "running"
    goes_on(counter.output, c)
    counter.delete()


def test_a_dry_run_moves_nothing(hosts):
    counter = hosts.a.running(["sleep", "1000"])
    hosts.b.put_bundle(counter)
    hosts.b.receive()
    before = hosts.snapshot()
    move = hosts.migrate(counter, "--dry-run")
    assert any("nothing stands in the way" in n for n in move.notes)
    hosts.unchanged(before)
    assert counter.status == "running" and hosts.b.ids() == []
    hosts.b.stop_receiving()
    hosts.b.receive("--allow-id", "x")
    assert "no --allow-id" in hosts.refuses(counter, "--dry-run")


def test_json_lines_tell_all_of_it(hosts):
    one = Churn(hosts.a, "private", 32)
    hosts.b.put_bundle(one.container)
    hosts.b.receive()
    one.start()
    move = hosts.migrate(one.container, "--mode", "pre-copy")
    steps = [e["doing"] for e in move.events if e["event"] == "step"]
    assert steps[0] == "offering the container" and steps[-1] == "ending here"
    assert {e["event"] for e in move.events} == {"note", "step", "round", "done"}
    assert all(e["seconds"] >= 0 for e in move.events)
    assert [e["round"] for e in move.rounds] == list(range(1, len(move.rounds) + 1))
    assert move.rounds[0]["pages"] > 6000 and move.rounds[0]["bytes"] > 20 << 20
    assert move.done["moved"] is True and move.done["memory"] >= 24 << 20


def test_people_get_lines_and_a_table(hosts, counter):
    result = proc.run(hosts.argv(counter))
    for word in ("freeze", "dump", "send", "restore", "resume", "downtime"):
        assert re.search(rf"^ +{word} +[0-9.]+ ms", result.out, re.M), result.out
    assert "'web' runs on http://10.99.0.2:7443" in result.out and "\033" not in result.out and result.err == ""


class Page(html.parser.HTMLParser):
    EMPTY = {"meta", "br", "hr", "img", "link", "input", "rect", "line", "path", "circle", "polyline"}

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.outside = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.outside += [v for k, v in attributes if k in ("src", "href") and v and not v.startswith("#")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_the_report_is_one_complete_page(hosts):
    one = Churn(hosts.a, "private", 32)
    hosts.b.put_bundle(one.container)
    hosts.b.receive()
    one.start()
    path = f"{hosts.work}/report.html"
    hosts.migrate(one.container, "--mode", "hybrid", "--report", path)
    with open(path) as f:
        text = f.read()
    page = Page(text)
    assert page.open == [] and page.outside == [] and {"html", "title", "body", "svg"} <= set(page.seen)
    assert text.lower().startswith("<!doctype html>") and "hybrid" in text and "web" in text


# ---- root filesystems ----

def test_rootfs_copy_brings_what_changes_meanwhile(hosts):
    """Files of all kinds, and one that is written to while everything is copied."""
    script = ("n=0; while :; do n=$((n+1)); echo $n >>/var/log/count; echo $n >/tmp/new-$((n % 7)); rm -f /tmp/new-$(((n + 3) % 7)); "
              "echo $n; done")
    c = hosts.a.container(["sh", "-c", script])
    proc.run(["sh", "-c", "cd $0; mkfifo fifo; ln -s /etc/passwd link; ln /etc/passwd hard 2>/dev/null || ln etc/passwd hard; "
                          "echo x >mode; chown 123:456 mode; chmod 4751 mode; truncate -s 1G sparse; mkdir -m 700 dir; touch -d @1000 dir/old", c.rootfs])
    hosts.b.receive("--allow-config")
    c.run_detached()
    c.wait_output("5\n")
    moved = hosts.migrate(c, "--rootfs", "copy").container
    goes_on(c.output, moved)
    moved.pause()
    numbers = [int(n) for n in open(moved.host_path("/var/log/count")).read().split()]
    assert numbers == list(range(1, len(numbers) + 1))
    top = moved.rootfs
    mode = os.lstat(f"{top}/mode")
    assert (mode.st_mode & 0o7777, mode.st_uid, mode.st_gid) == (0o4751, 123, 456)
    assert os.readlink(f"{top}/link") == "/etc/passwd" and os.lstat(f"{top}/dir/old").st_mtime == 1000
    assert os.stat(f"{top}/sparse").st_size == 1 << 30 and os.stat(f"{top}/sparse").st_blocks < 100
    assert sorted(os.listdir(top)) == sorted(os.listdir(c.rootfs))
    moved.resume()


def test_a_mapped_file_is_brought_as_it_is_at_the_end(hosts):
    one = Churn(hosts.a, "file", 8, 500)
    hosts.b.receive("--allow-config")
    one.start()
    before = one.turns()
    one.came(hosts.migrate(one.container, "--rootfs", "copy"), before)


def test_rootfs_shared_is_one_directory_for_both(hosts):
    hosts.b.bundles = hosts.a.bundles
    c = hosts.a.container(COUNTER)
    hosts.b.receive()
    c.run_detached()
    c.wait_output("3\n")
    moved = hosts.migrate(c, "--rootfs", "shared").container
    proc.eventually(lambda: moved.output, what="it to go on")
    moved.exec("touch", "/seen-by-both")
    assert os.path.exists(c.host_path("/seen-by-both"))


# ---- what a host tells of itself ----

def test_status_and_metrics(hosts, counter):
    before = json.loads(hosts.b.get("/v1/status"))
    assert before["protocol"] == 1 and before["migrations"] == [] and before["accepted"] == 0
    hosts.migrate(counter)
    after = json.loads(hosts.b.get("/v1/status"))
    assert after["accepted"] == 1 and after["refused"] == 0
    one, = after["migrations"]
    assert one["id"] == "web" and re.fullmatch("[0-9a-f]{32}", one["migration"])
    proc.eventually(lambda: json.loads(hosts.b.get("/v1/migrations/" + one["migration"]))["state"] == "complete")
    metrics = hosts.b.get("/v1/metrics")
    assert 'rt_migrations_offered_total{answer="accepted"} 1' in metrics and 'rt_migrations{state="complete"} 1' in metrics
    for line in metrics.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"\})? [0-9.]+', line), line
    assert int(re.search(r"^rt_received_bytes_total (\d+)", metrics, re.M).group(1)) > 10000
    with pytest.raises(urllib.error.HTTPError, match="404"):
        hosts.b.get("/v1/migrations/" + "0" * 32)


def test_several_at_the_same_time(hosts):
    made = [Churn(hosts.a, "private", 16, 500, id=f"c{n}") for n in range(4)]
    for one in made:
        hosts.b.put_bundle(one.container)
        one.start()
    hosts.b.receive("--max-migrations", "4")
    tools = [proc.start(hosts.argv(one.container, "--mode", mode), stderr=subprocess.PIPE) for one, mode in zip(made, ("pre-copy", "hybrid", "post-copy", "stop"))]
    for tool in tools:
        _, said = tool.communicate(timeout=60)
        assert tool.returncode == 0, said
    assert hosts.a.ids() == [] and hosts.b.ids() == [f"c{n}" for n in range(4)]
    for one in made:
        there = hosts.b.twin(one.container)
        one.goes_on(there)
        one.is_right(there)


def test_what_exec_put_in_stays_behind_and_is_told(hosts):
    hosts.b.receive()
    c = hosts.a.container(["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"])
    hosts.b.put_bundle(c)
    c.run_detached()
    c.rt("exec", "--detach", c.id, "sleep", "777")
    moved = hosts.migrate(c)
    assert any("will not bring back what 'rt exec' put in" in note and "(sleep), which ends with it" in note for note in moved.notes), moved.notes
    assert moved.container.status == "running" and "777" not in moved.container.rt("ps", c.id).out
