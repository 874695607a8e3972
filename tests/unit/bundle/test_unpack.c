#include "runtime/bundle/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void strict_paths_are_as_our_own_archives_have_them(void **state)
{
	static const char *const bad[] = { "/", "/a", "a//b", "a/./b", "..", "a/..", "a/../b", "../a", "./../a" };
	char clean[64];

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		assert_false(rt_unpack_clean_path(bad[i], 0, clean, sizeof(clean)));
	assert_true(rt_unpack_clean_path(".//a/b/", 0, clean, sizeof(clean)));
	assert_string_equal(clean, "a/b");
}

static void lenient_paths_lead_to_the_root_but_not_above(void **state)
{
	static const struct {
		const char *given, *expected;
	} cases[] = { { "/", "" }, { "", "" }, { ".", "" }, { "./", "" }, { "//a", "a" }, { "/./a", "a" }, { "a//b/./c/", "a/b/c" }, { "...", "..." },
		      { "a/.", "a" }, { ".a/..b", ".a/..b" } };
	static const char *const bad[] = { "..", "/..", "a/..", "a/../..", "/../a", "./..", "..//a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	char clean[64];

	for (size_t i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		assert_true(rt_unpack_clean_path(cases[i].given, RT_PATH_LENIENT, clean, sizeof(clean)));
		assert_string_equal(clean, cases[i].expected);
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		assert_false(rt_unpack_clean_path(bad[i], RT_PATH_LENIENT, clean, sizeof(clean)));
}

static void marks_tell_a_name_from_its_neighbours(void **state)
{
	struct rt_unpack_marks marks = { 0 };
	char name[32];

	assert_false(rt_unpack_marked(&marks, "", "a"));
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		assert_null(rt_unpack_mark(&marks, i % 2 ? "odd" : "", name));
		assert_null(rt_unpack_mark(&marks, i % 2 ? "odd" : "", name));
	}
	assert_int_equal(marks.count, 5000);
	assert_true(rt_unpack_marked(&marks, "odd", "4999"));
	assert_true(rt_unpack_marked(&marks, "", "4998"));
	assert_false(rt_unpack_marked(&marks, "odd", "4998"));
	assert_false(rt_unpack_marked(&marks, "", "4999"));
	/* A directory is the same by its path as by its name in the one above. */
	assert_true(rt_unpack_marked(&marks, "odd/1", ""));
	rt_unpack_marks_clear(&marks);
	assert_false(rt_unpack_marked(&marks, "odd", "1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_paths_are_as_our_own_archives_have_them),
		cmocka_unit_test(lenient_paths_lead_to_the_root_but_not_above),
		cmocka_unit_test(marks_tell_a_name_from_its_neighbours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
