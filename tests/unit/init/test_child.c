#include "tests/unit/init/init_test.h"

#include <stdio.h>

/* A call the child makes, and the step it belongs to: with that word the error begins when the call fails. */
struct expected {
	const char *call, *step;
};

static const struct expected create_calls[] = {
	{ "sys_set_dumpable", "hiding from other processes" },
	{ "cgroup_enter_self", "entering cgroups" }, /* before the namespace that shows them as root */
	{ "sys_become_root", "becoming root of the user namespace" },
	{ "sys_unshare", "making namespaces" },
	{ "sys_new_session", "making a session" },
	{ "sys_new_session_keyring", "making a session" },
	{ "sys_loopback_up", "setting up the network namespace" },
	{ "sys_set_host_name", "setting the host name" },
	{ "sys_set_domain_name", "setting the host name" },
	{ "rootfs_isolate", "preparing the root filesystem" },
	{ "rootfs_mount", "mounting" },
	{ "rootfs_switch", "switching root" },
	{ "console_open", "setting up the terminal" }, /* of the container's own /dev/pts */
	{ "rootfs_console", "setting up the terminal" },
	{ "console_become", "setting up the terminal" },
	{ "rootfs_sysctl", "setting kernel parameters" }, /* before /proc/sys is read-only */
	{ "rootfs_seal", "protecting paths" },
	{ "scheduler_apply", "setting process attributes" },
	{ "io_priority_apply", "setting process attributes" },
	{ "memory_policy_apply", "setting process attributes" },
	{ "personality_apply", "setting process attributes" },
	{ "lsm_apply", "labelling the process" },
	{ "caps_bound", "switching user" }, /* as long as we have the right to */
	{ "sys_set_keep_caps", "switching user" },
	{ "sys_set_user", "switching user" },
	{ "caps_set", "switching user" },
	{ "sys_find_executable", "finding the program" }, /* as the user */
	{ "rlimits_apply", "setting process attributes" }, /* a low one must not bind what stands above */
	{ "sys_set_no_new_privs", "loading seccomp" },
	{ "sys_load_filter", "loading seccomp" }, /* it may forbid everything above */
	{ "sys_exec", "starting the process" },
	{ NULL },
};

static const struct expected exec_calls[] = {
	{ "cgroup_enter_self", "entering cgroups" },
	{ "sys_new_session", "making a session" },
	{ "sys_new_session_keyring", "making a session" },
	{ "sys_setns", "entering namespaces" },
	{ "sys_become_root", "becoming root of the user namespace" },
	{ "console_open", "setting up the terminal" },
	{ "console_become", "setting up the terminal" },
	{ "scheduler_apply", "setting process attributes" },
	{ "io_priority_apply", "setting process attributes" },
	{ "memory_policy_apply", "setting process attributes" },
	{ "personality_apply", "setting process attributes" },
	{ "lsm_apply", "labelling the process" },
	{ "caps_bound", "switching user" },
	{ "sys_set_keep_caps", "switching user" },
	{ "sys_set_user", "switching user" },
	{ "caps_set", "switching user" },
	{ "sys_find_executable", "finding the program" },
	{ "rlimits_apply", "setting process attributes" }, /* a low one must not bind what stands above */
	{ "sys_set_no_new_privs", "loading seccomp" },
	{ "sys_load_filter", "loading seccomp" },
	{ "sys_exec", "starting the process" },
	{ NULL },
};

/* The calls up to and with the one at `last`; all, where it is negative. */
static const char *as_text(const struct expected *calls, int last)
{
	static char text[8192];

	text[0] = '\0';
	for (int i = 0; calls[i].call && (last < 0 || i <= last); i++)
		strcat(strcat(text, calls[i].call), " ");
	return text;
}

typedef void prepare(struct launch *launch);

static void assert_order(prepare *prepare, const struct expected *calls)
{
	struct launch launch;
	_cleanup_error_ struct rt_error *err = NULL;

	prepare(&launch);
	err = launch_run(&launch);
	assert_null(err);
	assert_string_equal(fake_calls_of_child(), as_text(calls, -1));
	launch_deinit(&launch);
}

static void assert_each_failure_is_the_last_call(prepare *prepare, const struct expected *calls)
{
	for (int i = 0; calls[i].call; i++) {
		struct launch launch;
		_cleanup_error_ struct rt_error *err = NULL;
		_cleanup_free_ char *text = NULL, *wanted = NULL;

		prepare(&launch);
		fake_fail(calls[i].call);
		err = launch_run(&launch);
		assert_non_null(err);
		text = rt_error_text(err);
		assert_true(asprintf(&wanted, "%s: told to fail: input/output error", calls[i].step) > 0);
		assert_string_equal(text, wanted);
		assert_string_equal(fake_calls_of_child(), as_text(calls, i));
		launch_deinit(&launch);
	}
}

static void a_new_container_is_made_in_this_order(void **state)
{
	assert_order(launch_init, create_calls);
}

static void a_further_process_enters_in_this_order(void **state)
{
	assert_order(launch_init_exec, exec_calls);
}

static void a_step_of_create_that_fails_is_the_last_and_is_named(void **state)
{
	assert_each_failure_is_the_last_call(launch_init, create_calls);
}

static void a_step_of_exec_that_fails_is_the_last_and_is_named(void **state)
{
	assert_each_failure_is_the_last_call(launch_init_exec, exec_calls);
}

/* What is not in the spec is not done. */
static void a_bare_process_takes_few_steps(void **state)
{
	struct launch launch;
	_cleanup_error_ struct rt_error *err = NULL;

	launch_init(&launch);
	launch.spec.process.terminal = launch.spec.process.no_new_privileges = false;
	launch.spec.process.scheduler.present = launch.spec.process.has_io_priority = false;
	launch.spec.process.oom_score_adj = NULL;
	launch.spec.hostname = launch.spec.domainname = NULL;
	launch.spec.sysctl_count = launch.spec.hooks[RT_HOOK_PRESTART].count = 0;
	launch.spec.memory_policy.present = launch.spec.personality.present = false;
	launch.plan.clone_flags = launch.plan.unshare_flags = 0;
	launch.plan.in_user_namespace = false;
	launch.plan.cgroup = NULL;
	launch.plan.keyring = launch.plan.apparmor_profile = NULL;
	launch.plan.filter.program = NULL;
	err = launch_run(&launch);
	assert_null(err);
	assert_string_equal(fake_calls_of_child(), "sys_set_dumpable sys_new_session rootfs_isolate rootfs_mount rootfs_switch "
						   "rootfs_seal caps_bound sys_set_keep_caps sys_set_user caps_set "
						   "sys_find_executable rlimits_apply sys_exec ");
	launch_deinit(&launch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_container_is_made_in_this_order),
		cmocka_unit_test(a_further_process_enters_in_this_order),
		cmocka_unit_test(a_step_of_create_that_fails_is_the_last_and_is_named),
		cmocka_unit_test(a_step_of_exec_that_fails_is_the_last_and_is_named),
		cmocka_unit_test(a_bare_process_takes_few_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
