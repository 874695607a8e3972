#include "migrate/size.h"
#include "tree_made.h"

static void numbers_may_have_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = { { "0", 0 }, { "4096", 4096 }, { "64K", 65536 }, { "64k", 65536 }, { "1M", 1 << 20 }, { "2G", 2ull << 30 }, { "1t", 1ull << 40 },
		      { "18446744073709551615", UINT64_MAX }, { "16777215T", 16777215ull << 40 } };

	for (size_t i = 0; i < RT_ARRAY_SIZE(sizes); i++) {
		uint64_t bytes = 1;

		assert_works(rt_size_option("--max-memory", sizes[i].text, &bytes));
		assert_int_equal(bytes, sizes[i].bytes);
	}
}

static void anything_else_is_refused_by_the_options_name(void **state)
{
	static const char *const words[] = { "", "M", "-1", "+1", " 1", "1 ", "1MB", "1.5G", "0x10", "10m10", "18446744073709551616", "16777216T", "1\x80" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(words); i++) {
		uint64_t bytes = 7;

		assert_says(rt_size_option("--max-memory", words[i], &bytes), "for --max-memory");
		assert_int_equal(bytes, 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_may_have_a_unit),
		cmocka_unit_test(anything_else_is_refused_by_the_options_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
