#include "runtime/security/bitlist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool has(const struct rt_bitlist *list, unsigned bit)
{
	const unsigned width = 8 * sizeof(unsigned long);

	return list->words[bit / width] >> bit % width & 1;
}

static bool parses(const char *text, unsigned limit)
{
	struct rt_bitlist list;
	_cleanup_error_ struct rt_error *err = rt_bitlist_parse(text, limit, "field", &list);

	return !err;
}

static void ranges_and_single_numbers_become_bits(void **state)
{
	struct rt_bitlist list;

	assert_null(rt_bitlist_parse("0-3,7,64-65", 128, "field", &list));
	for (unsigned bit = 0; bit < 128; bit++)
		assert_int_equal(has(&list, bit), bit <= 3 || bit == 7 || bit == 64 || bit == 65);
}

static void blanks_and_extra_commas_are_fine(void **state)
{
	struct rt_bitlist list;

	assert_null(rt_bitlist_parse(" ,1 - 2 ,, 5,\n", 8, "field", &list));
	assert_int_equal(list.words[0], 1 << 1 | 1 << 2 | 1 << 5);
}

static void what_is_no_list_is_refused(void **state)
{
	static const char *const bad[] = {
		"", " ", ",", "a", "1-", "-1", "3-1", "1 2", "1-2-3", "0x1", "99999999999999999999"};

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		assert_false(parses(bad[i], 64));
}

static void numbers_from_the_limit_on_are_refused(void **state)
{
	assert_true(parses("63", 64));
	assert_false(parses("64", 64));
	assert_false(parses("0-64", 64));
	assert_true(parses("0-8191", RT_BITLIST_MAX));
}

static void the_error_names_the_field_and_the_text(void **state)
{
	struct rt_bitlist list;
	_cleanup_error_ struct rt_error *err = rt_bitlist_parse("x", 64, "linux.memoryPolicy.nodes", &list);
	_cleanup_free_ char *text = rt_error_text(err);

	assert_int_equal(err->code, RT_CONFIG);
	assert_non_null(strstr(text, "linux.memoryPolicy.nodes"));
	assert_non_null(strstr(text, "'x'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_and_single_numbers_become_bits),
		cmocka_unit_test(blanks_and_extra_commas_are_fine),
		cmocka_unit_test(what_is_no_list_is_refused),
		cmocka_unit_test(numbers_from_the_limit_on_are_refused),
		cmocka_unit_test(the_error_names_the_field_and_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
