/* The small readers of what stands on a command line: signals, sizes, times, limits, paths, ps(1)'s table. */
#include "runtime/base/str.h"
#include "runtime/cmd/context.h"
#include "runtime/cmd/duration.h"
#include "runtime/cmd/pstable.h"
#include "runtime/cmd/resources.h"
#include "runtime/cmd/signal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>

static void assert_signal(const char *text, int number)
{
	int signal = -1;

	assert_true(rt_signal_parse(text, &signal));
	assert_int_equal(signal, number);
}

static void signals_are_names_with_and_without_sig_in_any_case(void **state)
{
	assert_signal("TERM", SIGTERM);
	assert_signal("SIGTERM", SIGTERM);
	assert_signal("sigkill", SIGKILL);
	assert_signal("usr1", SIGUSR1);
	assert_signal("STKFLT", 16);
	assert_signal("IOT", SIGABRT);
	assert_signal("POLL", SIGIO);
}

static void signals_are_numbers_too(void **state)
{
	assert_signal("9", 9);
	assert_signal("0", 0);
	assert_signal("64", 64);
}

static void real_time_signals_count_from_both_ends(void **state)
{
	assert_signal("RTMIN", SIGRTMIN);
	assert_signal("SIGRTMIN+3", SIGRTMIN + 3);
	assert_signal("RTMAX", SIGRTMAX);
	assert_signal("sigrtmax-2", SIGRTMAX - 2);
}

static void what_is_no_signal_is_refused(void **state)
{
	static const char *const words[] = { "",	 "SIG",	    "FOO",    "65", "-9",   "RTMIN-1",
					     "RTMIN+31", "RTMAX+1", "RTMIN+", "9x", "TERM " };
	int signal;

	for (size_t i = 0; i < RT_ARRAY_SIZE(words); i++)
		assert_false(rt_signal_parse(words[i], &signal));
}

static void sizes_take_suffixes_by_powers_of_1024(void **state)
{
	static const struct {
		const char *text;
		int64_t bytes;
	} sizes[] = {
		{ "0", 0 },
		{ "-1", -1 },
		{ "512", 512 },
		{ "1k", 1024 },
		{ "2M", 2 << 20 },
		{ "1gb", 1 << 30 },
		{ "1GiB", 1 << 30 },
		{ "1.5m", 3 << 19 },
		{ "7b", 7 },
		{ "1 k", 1024 },
		{ "9223372036854775807", INT64_MAX },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(sizes); i++) {
		int64_t bytes = -5;

		assert_true(rt_size_parse(sizes[i].text, &bytes));
		assert_int_equal(bytes, sizes[i].bytes);
	}
}

static void what_is_no_size_is_refused(void **state)
{
	static const char *const words[] = {
		"", "m", "-2", "1x", "1.2.3m", "8192p", "0x10", ".5m", "1kk", "1e3", "nan"
	};
	int64_t bytes;

	for (size_t i = 0; i < RT_ARRAY_SIZE(words); i++)
		assert_false(rt_size_parse(words[i], &bytes));
}

static void times_are_written_as_go_writes_them(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} times[] = { { "5s", 5000 },	   { "1m30s", 90000 }, { "250ms", 250 },
		      { "1.5h", 5400000 }, { "0", 0 },	       { "2us", 0 } };

	for (size_t i = 0; i < RT_ARRAY_SIZE(times); i++) {
		int64_t ms = -1;

		assert_true(rt_duration_parse(times[i].text, &ms));
		assert_int_equal(ms, times[i].ms);
	}
}

static void what_is_no_time_is_refused(void **state)
{
	static const char *const words[] = { "", "5", "s", "-1s", "5x", "1..5s", "5s3" };
	int64_t ms;

	for (size_t i = 0; i < RT_ARRAY_SIZE(words); i++)
		assert_false(rt_duration_parse(words[i], &ms));
}

static void limits_become_a_resources_object(void **state)
{
	static const struct rt_resource_word limit = { "memory", RT_RESOURCE_SIZE, "memory", "limit" };
	static const struct rt_resource_word swap = { "memory-swap", RT_RESOURCE_SIZE, "memory", "swap" };
	static const struct rt_resource_word cpus = { "cpuset-cpus", RT_RESOURCE_TEXT, "cpu", "cpus" };
	_cleanup_json_ json_t *resources = json_object();
	_cleanup_free_ char *text = NULL;

	assert_null(rt_resource_set(resources, &limit, "1m"));
	assert_null(rt_resource_set(resources, &swap, "-1"));
	assert_null(rt_resource_set(resources, &cpus, "0-3"));
	text = json_dumps(resources, JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, "{\"cpu\":{\"cpus\":\"0-3\"},\"memory\":{\"limit\":1048576,\"swap\":-1}}");
}

static void a_bad_limit_names_its_option(void **state)
{
	static const struct rt_resource_word shares = { "cpu-share", RT_RESOURCE_COUNT, "cpu", "shares" };
	_cleanup_json_ json_t *resources = json_object();
	struct rt_error *err = rt_resource_set(resources, &shares, "-5");

	assert_non_null(err);
	assert_string_equal(err->message, "option '--cpu-share' takes a number, not '-5'");
	assert_int_equal(json_object_size(resources), 0);
	rt_error_free(err);
}

static void paths_are_made_absolute_by_their_text(void **state)
{
	static const char *const paths[][2] = {
		{ "x", "/a/b/x" },	{ "./x/", "/a/b/x" },	    { "../x", "/a/x" },
		{ "../../../x", "/x" }, { "/x//y/./z/..", "/x/y" }, { "/", "/" },
		{ ".", "/a/b" },	{ "../..", "/" },	    { "/..", "/" },
		{ "...", "/a/b/..." },
	};
	struct rt_arena arena = RT_ARENA_NULL;

	for (size_t i = 0; i < RT_ARRAY_SIZE(paths); i++)
		assert_string_equal(rt_absolute_path(&arena, "/a/b", paths[i][0]), paths[i][1]);
	rt_arena_deinit(&arena);
}

static void assert_context_error(struct rt_global_values globals, const char *message)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_context context;
	struct rt_error *err = rt_context_make(&globals, &arena, &context);

	assert_non_null(err);
	assert_string_equal(err->message, message);
	rt_error_free(err);
	rt_arena_deinit(&arena);
}

static void global_options_that_make_no_sense_are_named(void **state)
{
	assert_context_error((struct rt_global_values){ .rootless = "maybe" },
			     "option '--rootless' takes true, false or auto, not 'maybe'");
	assert_context_error((struct rt_global_values){ .cgroup_manager = "none" },
			     "option '--cgroup-manager' takes cgroupfs, systemd or disabled, not 'none'");
	assert_context_error((struct rt_global_values){ .cgroup_manager = "cgroupfs", .systemd_cgroup = true },
			     "options '--systemd-cgroup' and '--cgroup-manager=cgroupfs' exclude each other");
	assert_context_error((struct rt_global_values){ .root = "/x/.." },
			     "option '--root' cannot be '/x/..': its subdirectories are taken for containers");
	assert_context_error((struct rt_global_values){ .root = "" },
			     "option '--root' cannot be '': its subdirectories are taken for containers");
}

static void global_options_become_the_context(void **state)
{
	struct rt_global_values globals = { .root = "/x/y/", .cgroup_manager = "disabled", .rootless = "true" };
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_context context;

	assert_null(rt_context_make(&globals, &arena, &context));
	assert_string_equal(context.root, "/x/y");
	assert_int_equal(context.manager, RT_CGROUP_DISABLED);
	assert_true(context.rootless);
	rt_arena_deinit(&arena);
}

static void the_pid_column_is_found_by_its_title(void **state)
{
	assert_int_equal(rt_ps_pid_column("UID        PID  PPID CMD\n"), 1);
	assert_int_equal(rt_ps_pid_column("  PID TTY\n"), 0);
	assert_int_equal(rt_ps_pid_column("PPID SPID\n"), -1);
	assert_int_equal(rt_ps_pid_column(""), -1);
}

static void lines_of_other_processes_are_left_out(void **state)
{
	const pid_t pids[] = { 7, 70 };

	assert_true(rt_ps_line_of("root  70  7 sh\n", 1, pids, 2));
	assert_true(rt_ps_line_of("   7 sh\n", 0, pids, 2));
	assert_false(rt_ps_line_of("root  71  7 sh\n", 1, pids, 2));
	assert_false(rt_ps_line_of("root\n", 1, pids, 2));
	assert_false(rt_ps_line_of("\n", 0, pids, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_are_names_with_and_without_sig_in_any_case),
		cmocka_unit_test(signals_are_numbers_too),
		cmocka_unit_test(real_time_signals_count_from_both_ends),
		cmocka_unit_test(what_is_no_signal_is_refused),
		cmocka_unit_test(sizes_take_suffixes_by_powers_of_1024),
		cmocka_unit_test(what_is_no_size_is_refused),
		cmocka_unit_test(times_are_written_as_go_writes_them),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(limits_become_a_resources_object),
		cmocka_unit_test(a_bad_limit_names_its_option),
		cmocka_unit_test(paths_are_made_absolute_by_their_text),
		cmocka_unit_test(global_options_that_make_no_sense_are_named),
		cmocka_unit_test(global_options_become_the_context),
		cmocka_unit_test(the_pid_column_is_found_by_its_title),
		cmocka_unit_test(lines_of_other_processes_are_left_out),
	};

	return cmocka_run_group_tests_name("cmd/words", tests, NULL, NULL);
}
