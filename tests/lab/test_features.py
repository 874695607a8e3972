"""End-to-end tests of the project (tests/e2e), run in a guest: those that are skipped where the kernel lacks something, and those whose meaning
depends on what kind of cgroups there are. None may be skipped here.

They run in one go; a test here says how one of them ended.
"""

import shlex

import pytest

from machines import endtoend
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
WITH_DOCKER = ["test_engines_import.py::test_an_imported_container_finds_what_it_found_under_its_engine[docker-privileged]"]

# The build machine's hierarchies lack net_cls, which is cgroup v1's own; every kernel of Debian has it, and it can be mounted beside cgroup2.
WITH_NET_CLS = ["test_cgroups.py::test_what_is_asked_for_stands_in_the_file[create-network.classID]",
                "test_cgroups.py::test_what_is_asked_for_stands_in_the_file[update-network.classID]"]

# Of crun's tests (tests/conformance): what cannot pass where cgroup2 lacks controllers.
CONFORMANCE = ["test_limits.py:limit-pid*", "test_resources.py:resources-pid-limit*", "test_resources.py:resources-unified",
               "test_resources.py:resources-cpu-weight", "test_resources.py:resources-fail-with-enoent"]

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
    "test_restore_cgroups.py::test_limits_are_those_in_force",
    "test_restore_cgroups.py::test_memory_of_the_restored_counts_in_its_cgroup",
    "test_rootless.py::test_a_container_of_a_user_lives_as_any_other",
    "test_rootless.py::test_a_delegated_cgroup_is_used",
]

# What Debian 13's criu (4.1) and busybox (1.37) are in the way of.
ON_DEBIAN_13 = [
    "test_checkpoint.py::test_who_slept_sleeps_on",
    "test_checkpoint.py::test_another_id_and_cgroup",
    "test_checkpoint.py::test_a_joined_network_namespace_is_joined_again",
    "test_checkpoint.py::test_an_established_connection",
]

LIMIT = 2400
HYBRID = "umount -l /sys/fs/cgroup; mount -t tmpfs tmpfs /sys/fs/cgroup; mkdir /sys/fs/cgroup/unified /sys/fs/cgroup/net_cls; " \
         "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified; mount -t cgroup -o net_cls net_cls /sys/fs/cgroup/net_cls"


def run(guest, lab, names, before="true"):
    """{id: test case} of these, run in one go. `before`: what is done first, in a mount namespace of the run."""
    if not names:
        return {}
    guest.run(f"{endtoend.SETTINGS}; mkdir -p /root/lab; rm -f /root/lab/junit.xml")
    script = f"{before}; {endtoend.command(names, '/root/lab/chosen', '/root/lab/junit.xml', lab.accel)}"
    guest.run(f"timeout --kill-after=10 {LIMIT - 60} unshare --mount sh -ec {shlex.quote(script)} >/root/lab/log 2>&1", ok=None, timeout=LIMIT)
    log = guest.run("cat /root/lab/log").out
    found = guest.run("cat /root/lab/junit.xml", ok=None).out
    assert found, f"the tests in the guest did not end: {log[-4000:]}"
    print(log)
    return endtoend.cases(found)


@pytest.fixture(scope="module")
def cases(lab, request):
    chosen = [item.callspec.params["name"] for item in request.session.items if item.module.__name__ == __name__ and hasattr(item, "callspec")]
    guest = lab.boot("a")[0]
    return {**run(guest, lab, [name for name in chosen if name not in WITH_NET_CLS]),
            **run(guest, lab, [name for name in chosen if name in WITH_NET_CLS], before=HYBRID)}


@pytest.mark.limit(LIMIT)
@pytest.mark.parametrize("name", SKIPPED_ELSEWHERE + WITH_DOCKER + WITH_NET_CLS)
def test_skipped_elsewhere(cases, name):
    endtoend.passed(cases, name)


@pytest.mark.limit(LIMIT)
@pytest.mark.parametrize("name", ON_CGROUP2)
def test_on_cgroup2(cases, name):
    endtoend.passed(cases, name)


@pytest.mark.limit(LIMIT)
@pytest.mark.parametrize("name", ON_DEBIAN_13)
def test_on_debian_13(cases, name):
    endtoend.passed(cases, name)


@pytest.mark.limit(LIMIT)
def test_conformance_where_cgroup2_has_controllers(lab, guest, tmp_path):
    """None of them may be skipped, or fail as expected."""
    images.call([f"{images.TOP}/tests/setup/apt-source", "crun", str(tmp_path / "crun")])
    guest.push(tmp_path / "crun/tests", "/root/lab/crun/tests")
    said = guest.run(f"cd {images.PROJECT} && RT_TEST_SLOWNESS={endtoend.slowness(lab.accel)} tests/setup/sandbox tests/conformance/run.py /root/lab/crun build/rt "
                     + " ".join(f"'{pattern}'" for pattern in CONFORMANCE), ok=None, timeout=LIMIT).out
    assert said.splitlines()[-1:] == ["8 passed, 0 failed, 0 skipped"], said
