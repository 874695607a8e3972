#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void unsigned_numbers_are_whole_strings_of_digits(void **state)
{
	static const char *const bad[] = {"", " 1", "+1", "-1", "1 ", "1x", "0x10", "18446744073709551616"};
	uint64_t value = 7;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		assert_false(rt_str_to_u64(bad[i], &value));
	assert_int_equal(value, 7);
	assert_true(rt_str_to_u64("18446744073709551615", &value));
	assert_true(value == UINT64_MAX);
	assert_true(rt_str_to_u64("007", &value));
	assert_int_equal(value, 7);
}

static void signed_numbers_reach_both_ends(void **state)
{
	static const char *const bad[] = {"", "-", "--1", "9223372036854775808", "-9223372036854775809"};
	int64_t value = 7;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		assert_false(rt_str_to_i64(bad[i], &value));
	assert_int_equal(value, 7);
	assert_true(rt_str_to_i64("9223372036854775807", &value));
	assert_true(value == INT64_MAX);
	assert_true(rt_str_to_i64("-9223372036854775808", &value));
	assert_true(value == INT64_MIN);
}

static void conversions_keep_errno(void **state)
{
	uint64_t value;

	errno = EBUSY;
	assert_false(rt_str_to_u64("99999999999999999999", &value));
	assert_int_equal(errno, EBUSY);
}

static void formatting_gives_a_string_of_ones_own(void **state)
{
	_cleanup_free_ char *text = NULL;

	assert_null(rt_format(&text, "%s-%d", "a", 5));
	assert_string_equal(text, "a-5");
}

static void prefixes_are_compared_whole(void **state)
{
	assert_true(rt_str_starts("net.ipv4", "net."));
	assert_false(rt_str_starts("ne", "net."));
	assert_true(rt_str_starts("a", ""));
	assert_true(rt_str_equal("a", "a"));
	assert_false(rt_str_equal("a", "ab"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unsigned_numbers_are_whole_strings_of_digits),
		cmocka_unit_test(signed_numbers_reach_both_ends),
		cmocka_unit_test(conversions_keep_errno),
		cmocka_unit_test(formatting_gives_a_string_of_ones_own),
		cmocka_unit_test(prefixes_are_compared_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
