"""Live migration between two hosts: what comes along, and what is as it was."""

import pytest

from lib.hosts import Churn


def test_a_process_keeps_its_memory(hosts):
    hosts.b.receive()
    c = hosts.a.container(["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"])
    hosts.b.put_bundle(c)
    c.run_detached()
    c.wait_output("3\n")
    moved = hosts.migrate(c)
    assert hosts.a.ids() == [] and hosts.b.ids() == [c.id]
    last = int(c.output.split()[-1])
    moved.container.wait_output(f"{last + 1}\n{last + 2}\n")
    assert moved.container.output.startswith(f"{last + 1}\n"), "it counts on"
    assert moved.container.status == "running"


def test_what_exec_put_in_stays_behind_and_is_told(hosts):
    hosts.b.receive()
    c = hosts.a.container(["sh", "-c", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"])
    hosts.b.put_bundle(c)
    c.run_detached()
    c.rt("exec", "--detach", c.id, "sleep", "777")
    moved = hosts.migrate(c)
    assert any("will not bring back what 'rt exec' put in" in note and "(sleep), which ends with it" in note for note in moved.notes), moved.notes
    assert moved.container.status == "running" and "777" not in moved.container.rt("ps", c.id).out
