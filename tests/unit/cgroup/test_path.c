#include "runtime/cgroup/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void expect_path(const char *cgroups_path, const char *own, const char *expected)
{
	struct rt_arena arena = RT_ARENA_NULL;
	char *path = NULL;
	struct rt_error *err = rt_cgroup_path(cgroups_path, own, &arena, &path);

	if (expected) {
		assert_null(err);
		assert_string_equal(path, expected);
	} else {
		assert_non_null(err);
		assert_int_equal(err->code, RT_CONFIG);
		assert_non_null(strstr(err->message, "'linux.cgroupsPath'"));
	}
	rt_error_free(err);
	rt_arena_deinit(&arena);
}

static void an_absolute_path_counts_from_the_top(void **state)
{
	expect_path("/web", "/own", "/web");
	expect_path("/a/b/c", "/", "/a/b/c");
	expect_path("//a/./b//", "/own", "/a/b");
}

static void a_relative_path_counts_from_our_own_cgroup(void **state)
{
	expect_path("web", "/own/x", "/own/x/web");
	expect_path("a/b", "/", "/a/b");
	expect_path("web", "", "/web");
}

static void dots_never_leave_the_start(void **state)
{
	expect_path("/../../web", "/own", "/web");
	expect_path("/a/../b", "/own", "/b");
	expect_path("../../web", "/own/x", "/own/x/web");
	expect_path("a/../../../web", "/own/x", "/own/x/web");
	expect_path("...", "/", "/...");
	expect_path("..a/b..", "/", "/..a/b..");
}

static void the_start_itself_is_refused(void **state)
{
	expect_path("/", "/own", NULL);
	expect_path("/.", "/own", NULL);
	expect_path("/a/..", "/own", NULL);
	expect_path("..", "/own", NULL);
	expect_path(".", "/", NULL);
	expect_path("a/..", "/own", NULL);
}

static void a_line_break_is_refused(void **state)
{
	expect_path("/a\nb", "/", NULL);
}

static void a_path_too_long_is_refused(void **state)
{
	char path[6000] = "/";

	memset(path + 1, 'a', sizeof(path) - 2);
	expect_path(path, "/", NULL);
}

static void expect_unit(const char *cgroups_path, bool user, const char *slice, const char *unit, const char *path)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_unit_name name = { 0 };
	struct rt_error *err = rt_cgroup_unit_name(cgroups_path, "web", user, &arena, &name);

	if (unit) {
		assert_null(err);
		assert_string_equal(name.slice, slice);
		assert_string_equal(name.unit, unit);
		assert_string_equal(name.path, path);
	} else {
		assert_non_null(err);
		assert_int_equal(err->code, RT_CONFIG);
	}
	rt_error_free(err);
	rt_arena_deinit(&arena);
}

static void a_unit_is_named_by_slice_prefix_and_name(void **state)
{
	expect_unit("machine.slice:libpod:1f", false, "machine.slice", "libpod-1f.scope", "/machine.slice/libpod-1f.scope");
	expect_unit(":docker:1f", false, "system.slice", "docker-1f.scope", "/system.slice/docker-1f.scope");
	expect_unit(":docker:1f", true, "user.slice", "docker-1f.scope", "/user.slice/docker-1f.scope");
	expect_unit("user.slice::1f", true, "user.slice", "1f.scope", "/user.slice/1f.scope");
}

static void without_a_path_the_container_s_id_names_the_unit(void **state)
{
	expect_unit(NULL, false, "system.slice", "rt-web.scope", "/system.slice/rt-web.scope");
	expect_unit("", true, "user.slice", "rt-web.scope", "/user.slice/rt-web.scope");
}

static void a_slice_lies_in_the_slices_of_its_name(void **state)
{
	expect_unit("a-b-c.slice:x:y", false, "a-b-c.slice", "x-y.scope", "/a.slice/a-b.slice/a-b-c.slice/x-y.scope");
	expect_unit("-.slice:x:y", false, "-.slice", "x-y.scope", "/x-y.scope");
}

static void a_name_that_ends_in_slice_makes_a_slice(void **state)
{
	expect_unit("kube.slice::kube-pod.slice", false, "kube.slice", "kube-pod.slice", "/kube.slice/kube-pod.slice");
}

static void names_systemd_would_not_have_are_refused(void **state)
{
	static const char *const bad[] = {
		"/web", "web", "a.slice:b", "a.slice:b:", "a.slice:b:c:d", "a:b:c", ".slice:b:c", "a--b.slice:b:c",
		"-a.slice:b:c", "a-.slice:b:c", "a/b.slice:x:y", "a.slice:x/..:y", "a.slice:x:y z", "a.slice:x:../y",
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_unit(bad[i], false, NULL, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_absolute_path_counts_from_the_top),
		cmocka_unit_test(a_relative_path_counts_from_our_own_cgroup),
		cmocka_unit_test(dots_never_leave_the_start),
		cmocka_unit_test(the_start_itself_is_refused),
		cmocka_unit_test(a_line_break_is_refused),
		cmocka_unit_test(a_path_too_long_is_refused),
		cmocka_unit_test(a_unit_is_named_by_slice_prefix_and_name),
		cmocka_unit_test(without_a_path_the_container_s_id_names_the_unit),
		cmocka_unit_test(a_slice_lies_in_the_slices_of_its_name),
		cmocka_unit_test(a_name_that_ends_in_slice_makes_a_slice),
		cmocka_unit_test(names_systemd_would_not_have_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
