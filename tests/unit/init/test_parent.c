#include "tests/unit/init/init_test.h"

static void the_parent_serves_what_the_child_asks_for_in_order(void **state)
{
	struct launch launch;
	_cleanup_error_ struct rt_error *err = NULL;

	launch_init(&launch);
	err = launch_run(&launch);
	assert_null(err);
	assert_string_equal(launch.asked, "hooks console ready ");
	assert_string_equal(fake_calls_of_parent(),
			    "rlimits_raise cgroup_open_entries sys_clone sys_write_id_maps oom_score_adj_apply ");
	launch_deinit(&launch);
}

static void a_request_that_is_refused_ends_the_child(void **state)
{
	static const char *const requests[] = { "hooks", "console", "ready" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(requests); i++) {
		struct launch launch;
		_cleanup_error_ struct rt_error *err = NULL;

		launch_init(&launch);
		launch.refused = requests[i];
		err = launch_run(&launch);
		assert_non_null(err);
		assert_non_null(strstr(err->message, requests[i]));
		assert_null(strstr(fake_calls_of_child(), "sys_exec"));
		launch_deinit(&launch);
	}
}

static void what_the_parent_cannot_do_ends_the_child_before_it_has_begun(void **state)
{
	static const char *const calls[] = { "rlimits_raise", "cgroup_open_entries", "sys_clone", "sys_write_id_maps", "oom_score_adj_apply" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(calls); i++) {
		struct launch launch;
		_cleanup_error_ struct rt_error *err = NULL;

		launch_init(&launch);
		fake_fail(calls[i]);
		err = launch_run(&launch);
		assert_non_null(err);
		assert_string_equal(fake_calls_of_child(), "");
		launch_deinit(&launch);
	}
}

/* The child was told to wait for this; it must be let go though nothing is left to adopt by then. */
static void a_cgroup_made_around_the_child_holds_it_up_until_it_is_there(void **state)
{
	struct launch launch;
	_cleanup_error_ struct rt_error *err = NULL;

	launch_init(&launch);
	launch.plan.clone_flags = 0;
	fake_cgroup_needs_adopt(true);
	err = launch_run(&launch);
	assert_null(err);
	assert_non_null(strstr(fake_calls_of_parent(), "cgroup_adopt"));
	assert_non_null(strstr(fake_calls_of_child(), "sys_exec"));
	launch_deinit(&launch);
}

static int some_fd(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void joined_namespaces_are_put_on_for_the_clone_and_taken_off_again(void **state)
{
	struct launch launch;
	_cleanup_error_ struct rt_error *err = NULL;

	launch_init(&launch);
	launch.plan.join_fds[RT_NS_NETWORK] = some_fd();
	launch.plan.join_fds[RT_NS_IPC] = some_fd();
	err = launch_run(&launch);
	assert_null(err);
	assert_non_null(strstr(fake_calls_of_parent(),
			       "sys_open_namespace sys_setns sys_open_namespace sys_setns sys_clone sys_setns sys_setns "));
	/* It was born into them. */
	assert_null(strstr(fake_calls_of_child(), "sys_setns"));
	launch_deinit(&launch);
}

static void they_are_taken_off_also_when_the_clone_fails(void **state)
{
	struct launch launch;
	_cleanup_error_ struct rt_error *err = NULL;

	launch_init(&launch);
	launch.plan.join_fds[RT_NS_NETWORK] = some_fd();
	fake_fail("sys_clone");
	err = launch_run(&launch);
	assert_non_null(err);
	assert_non_null(strstr(fake_calls_of_parent(), "sys_clone sys_setns "));
	launch_deinit(&launch);
}

static void a_joined_mount_namespace_is_the_childs_to_enter(void **state)
{
	struct launch launch;
	_cleanup_error_ struct rt_error *err = NULL;

	launch_init(&launch);
	launch.plan.join_fds[RT_NS_MOUNT] = some_fd();
	err = launch_run(&launch);
	assert_null(err);
	assert_null(strstr(fake_calls_of_parent(), "sys_setns"));
	assert_non_null(strstr(fake_calls_of_child(), "cgroup_enter_self sys_setns sys_become_root"));
	launch_deinit(&launch);
}

static void join_user_namespace(struct launch *launch)
{
	launch_init(launch);
	launch->plan.clone_flags = CLONE_NEWPID;
	launch->plan.join_fds[RT_NS_USER] = some_fd();
	launch->plan.enters_user_first = true;
}

/* Many times, because two processes on one socket may be heard in any order. */
static void a_joined_user_namespace_takes_one_process_in_between(void **state)
{
	for (int i = 0; i < 50; i++) {
		struct launch launch;
		_cleanup_error_ struct rt_error *err = NULL;

		join_user_namespace(&launch);
		err = launch_run(&launch);
		assert_null(err);
		assert_memory_equal(fake_calls_of_child(), "sys_setns sys_become_root sys_clone sys_set_dumpable ",
				    strlen("sys_setns sys_become_root sys_clone sys_set_dumpable "));
		assert_string_equal(launch.asked, "hooks console ready ");
		launch_deinit(&launch);
	}
}

static void what_the_process_in_between_cannot_do_is_told(void **state)
{
	struct launch launch;
	_cleanup_error_ struct rt_error *err = NULL;
	_cleanup_free_ char *text = NULL;

	join_user_namespace(&launch);
	fake_fail("sys_setns");
	err = launch_run(&launch);
	assert_non_null(err);
	text = rt_error_text(err);
	assert_string_equal(text, "entering the user namespace: told to fail: input/output error");
	assert_string_equal(fake_calls_of_child(), "sys_setns ");
	launch_deinit(&launch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_parent_serves_what_the_child_asks_for_in_order),
		cmocka_unit_test(a_request_that_is_refused_ends_the_child),
		cmocka_unit_test(what_the_parent_cannot_do_ends_the_child_before_it_has_begun),
		cmocka_unit_test(a_cgroup_made_around_the_child_holds_it_up_until_it_is_there),
		cmocka_unit_test(joined_namespaces_are_put_on_for_the_clone_and_taken_off_again),
		cmocka_unit_test(they_are_taken_off_also_when_the_clone_fails),
		cmocka_unit_test(a_joined_mount_namespace_is_the_childs_to_enter),
		cmocka_unit_test(a_joined_user_namespace_takes_one_process_in_between),
		cmocka_unit_test(what_the_process_in_between_cannot_do_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
