"""End-to-end tests of the project (tests/e2e), run in a guest: those that are skipped where the kernel lacks something, and those whose meaning
depends on what kind of cgroups there are. None may be skipped here.

They run in one go; a test here says how one of them ended.
"""

import os
import xml.etree.ElementTree as xml

import pytest

from machines import image as images

# What a machine without CAP_SYS_RESOURCE, soft-dirty tracking, cgroup v2 with controllers, or with stricter settings, has to skip.
SKIPPED_ELSEWHERE = [
    "test_restore_services.py::test_nginx_with_its_workers_under_their_own_user[in ours]",
    "test_migrate_modes.py::test_trackers[pre-copy-soft-dirty]",
    "test_migrate_modes.py::test_trackers[hybrid-soft-dirty]",
    "test_migrate_modes.py::test_tasks_that_soft_dirty_stopped_go_on_when_the_tool_is_killed",
    "test_cgroup.py::test_processes_that_keep_forking_are_all_killed[cgroup2]",
    "test_preflight.py::test_descriptors_criu_does_not_know[held = libc.syscall(323, 0o2000000)-a userfaultfd]",
    "test_preflight.py::test_descriptors_criu_does_not_know[held = libc.syscall(298,",
]

# What runs elsewhere too, but there with cgroup v1.
ON_CGROUP2 = [
    "test_cgroup.py::test_limits_reach_the_kernel",
    "test_cgroup.py::test_cpus_can_be_chosen",
    "test_cgroup.py::test_swap_counts_memory_and_swap",
    "test_cgroup.py::test_update_changes_what_it_names_and_nothing_else",
    "test_cgroup.py::test_more_processes_than_allowed_cannot_be",
    "test_cgroup.py::test_a_process_over_its_memory_is_killed_and_events_tell",
    "test_cgroup.py::test_statistics_have_what_engines_read",
    "test_cgroup.py::test_a_paused_container_stands_still[as it is]",
    "test_cgroup.py::test_unified_files_are_written_as_they_stand",
    "test_cgroups.py::test_update_keeps_what_it_does_not_name",
    "test_cgroups.py::test_exec_can_name_several_controllers_at_once",
    "test_restore_cgroups.py::test_limits_are_those_in_force",
    "test_restore_cgroups.py::test_memory_of_the_restored_counts_in_its_cgroup",
    "test_rootless.py::test_a_container_of_a_user_lives_as_any_other",
    "test_rootless.py::test_a_delegated_cgroup_is_used",
]

# What Debian forbids ordinary users, and so containers, which tests need to have forbidden things at all.
SETTINGS = "sysctl -q vm.unprivileged_userfaultfd=1 kernel.perf_event_paranoid=-1"
SLOWNESS = {"tcg": 8}


class Outcome:
    def __init__(self, case):
        self.case = case

    def text(self, kind):
        found = self.case.find(kind)
        return found is not None and f"{found.get('message')}\n{(found.text or '')[-4000:]}"


class EndToEnd:
    """The tests of this list that were asked for, run once in the guest."""

    def __init__(self, guest, lab, names):
        guest.run(SETTINGS)
        files = sorted({f"tests/e2e/{name.split('::')[0]}" for name in names})
        # Ids are not matched by pytest's own words, since they may hold anything.
        guest.put("import json\n\ndef pytest_collection_modifyitems(config, items):\n"
                  f"    names = json.loads({__import__('json').dumps(names)!r})\n"
                  "    items[:] = [i for i in items if any(i.nodeid.removeprefix('tests/e2e/').startswith(n) for n in names)]\n", "/root/lab/chosen.py")
        guest.run(f"cd {images.PROJECT} && RT=$PWD/build/rt RT_TEST_SLOWNESS={SLOWNESS.get(lab.accel, 2)} PYTHONPATH=/root/lab PYTHONDONTWRITEBYTECODE=1 "
                  "timeout --kill-after=10 %d /usr/bin/python3 -m pytest -q -p no:cacheprovider -p chosen --tb=short --junit-xml=/root/lab/junit.xml %s "
                  ">/root/lab/log 2>&1" % (LIMIT - 60, " ".join(files)), ok=None, timeout=LIMIT)
        path = f"{lab.work}/junit.xml"
        try:
            guest.get("/root/lab/junit.xml", path)
        except Exception:
            raise AssertionError("the tests in the guest did not end: " + guest.run("tail -c 4000 /root/lab/log", ok=None).out) from None
        self.cases = {}
        for case in xml.parse(path).getroot().iter("testcase"):
            name = case.get("classname").rpartition(".")[2] + ".py::" + case.get("name")
            self.cases[name] = Outcome(case)
        os.unlink(path)

    def outcome(self, name):
        return next((case for full, case in self.cases.items() if full.startswith(name)), None)


LIMIT = 2400


@pytest.fixture(scope="module")
def end_to_end(lab, request):
    chosen = [item.callspec.params["name"] for item in request.session.items if item.module.__name__ == __name__]
    return EndToEnd(lab.boot("a")[0], lab, chosen)


def shown(end_to_end, name):
    case = end_to_end.outcome(name)
    assert case, f"{name} did not run; those were: {', '.join(end_to_end.cases)}"
    for kind in ("failure", "error", "skipped"):
        assert not case.text(kind), f"{kind}: {case.text(kind)}"


@pytest.mark.limit(LIMIT)
@pytest.mark.parametrize("name", SKIPPED_ELSEWHERE)
def test_skipped_elsewhere(end_to_end, name):
    shown(end_to_end, name)


@pytest.mark.limit(LIMIT)
@pytest.mark.parametrize("name", ON_CGROUP2)
def test_on_cgroup2(end_to_end, name):
    shown(end_to_end, name)
