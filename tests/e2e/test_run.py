"""`rt run` in the foreground: signals, and what ends it."""

import re
import signal

from lib import config, proc
from lib.process import read


def test_signals_reach_the_process_through_a_foreground_run(container):
    c = container(["sh", "-c", "trap 'echo got it; exit 9' USR1; echo up; "
                               "while :; do sleep 0.05; done"])
    c.write_config()
    with open(c.stdout, "w") as out:
        child = proc.start(c.argv("run", "-b", c.dir, c.id), stdout=out.fileno())
    c.wait_output("up\n")
    child.send_signal(signal.SIGUSR1)
    assert child.wait(20) == 9
    assert c.output == "up\ngot it\n"


def signals(text):
    return {name: int(mask, 16) for name, mask in re.findall(r"^Sig(Blk|Ign):\s*(\w+)", text, re.M)}


def ignoring(c, *words, **how):
    """Runs the runtime as a caller would that ignores and blocks signals."""
    script = ("import os, signal, sys\n"
              "for s in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):\n"
              "    signal.signal(s, signal.SIG_IGN)\n"
              "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])\n"
              "os.execv(sys.argv[1], sys.argv[1:])\n")
    return proc.run(["/usr/bin/python3", "-c", script, *c.argv(*words)], **how)


def test_signals_that_the_caller_ignores_or_blocks_are_not_the_containers_affair(container):
    c = container(["cat", "/proc/self/status"])
    c.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": [
        "sh", "-c", f"cat /proc/self/status >{c.dir}/hook"], "env": ["PATH=/bin:/usr/bin"]}]}
    c.write_config()
    none = {"Blk": 0, "Ign": 0}
    assert signals(ignoring(c, "run", "-b", c.dir, c.id).out) == none
    assert signals(read(c.dir + "/hook")) == none
    c.config["process"]["args"] = ["sleep", "1000"]
    c.write_config()
    with open(c.stdout, "w") as out:
        ignoring(c, "create", "-b", c.dir, c.id, stdout=out.fileno())
    ignoring(c, "start", c.id)
    assert signals(read(f"/proc/{c.state()['pid']}/status")) == none
    assert signals(ignoring(c, "exec", c.id, "cat", "/proc/self/status").out) == none


def test_a_signal_that_the_caller_ignores_is_not_passed_on(container):
    """nohup: a hangup is no reason to end."""
    c = container(["sh", "-c", "echo up; sleep 0.5; exit 3"])
    c.write_config()
    with open(c.stdout, "w") as out:
        child = proc.start(["nohup", *c.argv("run", "-b", c.dir, c.id)], stdout=out.fileno())
    c.wait_output("up")
    child.send_signal(signal.SIGHUP)
    assert child.wait(20) == 3


def test_run_keep_leaves_the_container(container):
    c = container(["true"])
    c.run("--keep")
    assert c.status == "stopped"
    c.delete()


def test_an_orphan_of_the_container_does_not_hold_up_run(container):
    """run is a subreaper: without a PID namespace orphans come to it."""
    c = container(["sh", "-c", "sleep 1000 & echo done"])
    config.drop_namespace(c.config, "pid")
    assert c.run(timeout=20).out == "done\n"
