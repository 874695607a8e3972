"""Whatever of a migration is killed, cut or spoilt, at whichever step: afterwards one copy lives, and nothing else is left. Here a few cases of each kind; all of them
are in migrate_matrix.py."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from lib import faults, needs, proc


@pytest.fixture(autouse=True)
def programs():
    needs.program("criu")
    if not os.path.exists(os.path.join(os.path.dirname(faults.container.runtime()), "rt-migrate")):
        pytest.skip("rt was built without libcurl, libmicrohttpd or libarchive: it can't migrate")


@pytest.fixture
def make_pair(work):
    made = []
    there = os.path.isdir("/run/rt-migrate")

    def make(**how):
        made.append(faults.Pair(work, **how))
        return made[-1]

    yield make
    for pair in made:
        pair.close()
    if not there:
        shutil.rmtree("/run/rt-migrate", ignore_errors=True)


@pytest.fixture
def pair(make_pair):
    return make_pair()


@pytest.mark.parametrize("case", [
    ("stop", "worker-ready", "kill:tool"), ("stop", "tool-held", "kill:tool"), ("post-copy", "tool-push", "kill:tool"),
    ("pre-copy", "dumper-complete", "kill:dumper"), ("stop", "tool-held", "kill:dumper"), ("stop", "tool-held", "kill:tool+dumper"),
    ("post-copy", "dumper-complete", "kill:source-criu"), ("stop", "worker-decided", "kill:source-criu"),
    ("stop", "worker-ready", "kill:daemon"), ("pre-copy", "worker-decided", "kill:daemon"), ("post-copy", "tool-push", "kill:daemon"),
    ("pre-copy", "worker-ready", "kill:worker"), ("pre-copy", "worker-running", "kill:worker"), ("post-copy", "tool-push", "kill:worker"),
    ("stop", "worker-committed", "kill:target-criu"), ("pre-copy", "worker-ready", "kill:guardian"),
    ("stop", "dumper-complete", "kill:dumper+rescuer"), ("hybrid", "dumper-frozen", "kill:dumper+rescuer"), ("hybrid", "tool-memory", "kill:injector"),
    ("pre-copy", "worker-receiving", "kill:target-criu"),
], ids=" ".join)
def test_when_a_process_is_killed_one_copy_lives_on(pair, case):
    result = pair.run(faults.Case(*case))
    assert result.reached and not result.wrong, f"{result}\n{result.said}"


@pytest.mark.parametrize("point, victims", [("dumper-complete", "dumper+rescuer"), ("dumper-frozen", "dumper"), ("tool-held", "tool+dumper")])
def test_one_that_was_paused_is_paused_again(pair, point, victims):
    start = pair.start_pulse

    def start_paused(mode):
        start(mode)
        assert pair.rt(pair.source_root, "pause", "pulse").code == 0

    def judge(_, result):
        result.where = json.loads(pair.rt(pair.source_root, "state", "pulse").out)["status"]
        pair.rt(pair.source_root, "resume", "pulse")

    pair.start_pulse, pair.judge = start_paused, judge
    result = pair.run(faults.Case("stop", point, f"kill:{victims}"))
    assert result.reached and not result.wrong and result.where == "paused", f"{result}\n{result.said}"


@pytest.mark.parametrize("case", [
    ("stop", "tool-final", "link:cut"), ("pre-copy", "worker-ready", "link:reset"), ("post-copy", "worker-restoring", "link:cut"), ("stop", "tool-commit", "link:cut"),
], ids=" ".join)
def test_when_the_link_is_cut_before_the_commit_the_source_runs_on_within_a_second(pair, case):
    result = pair.run(faults.Case(*case))
    assert not result.wrong and result.where == "source" and result.thaw < 1, result


@pytest.mark.parametrize("case", [("stop", "worker-committed", "link:cut"), ("post-copy", "tool-push", "link:hold")], ids=" ".join)
def test_when_the_link_is_cut_after_the_commit_it_lives_on_the_target(pair, case):
    result = pair.run(faults.Case(*case))
    assert not result.wrong and result.where == "target", result


@pytest.mark.parametrize("point", ["tree@300", "page-header@12", "page@3000", "image-header@12", "image@200"])
def test_a_byte_that_is_turned_on_the_way_is_noticed(pair, point):
    result = pair.run(faults.Case("pre-copy", point, "spoil:byte"))
    assert result.reached and not result.wrong and result.where == "source", f"{result}\n{result.said}"


@pytest.mark.parametrize("size, mode", [("16k", "stop"), ("1m", "stop"), ("100k", "pre-copy")])
def test_a_full_disk_on_the_target_costs_the_migration_and_not_the_container(make_pair, work, size, mode):
    full = f"{work}/full"
    os.makedirs(full)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", full], check=True)
    pair = make_pair(state_dir=full)
    try:
        result = pair.run(faults.Case(mode, "tool-final", "nothing:"))
        assert not result.wrong and result.where == "source", f"{result}\n{result.said}"
        assert "no space left on device" in result.said.lower()
        assert os.listdir(full) == []
    finally:
        pair.stop_daemon()
        proc.eventually(lambda: subprocess.run(["umount", full]).returncode == 0, what="the file system to be free")


@pytest.mark.parametrize("point, where", [("worker-ready", "source"), ("worker-committed", "target"), ("tool-push", "target")])
def test_a_daemon_that_is_stopped_undoes_what_is_not_decided_and_leaves_alone_what_is(pair, point, where):
    def stop():
        pair.daemon.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    result = pair.run(faults.Case("post-copy", point, "call:"), stop)
    assert not result.wrong and result.where == where, result


def test_two_migrations_after_each_other_need_no_recovery_in_between(pair):
    for case in ("stop", "worker-ready", "kill:worker"), ("stop", "tool-finish", "nothing:"):
        result = pair.run(faults.Case(*case))
        assert not result.wrong, result
    assert result.where == "target"
