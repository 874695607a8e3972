#include "runtime/cgroup/convert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void shares_keep_their_minimum_default_and_maximum(void **state)
{
	assert_int_equal(rt_convert_shares(0), 0);
	assert_int_equal(rt_convert_shares(1), 1);
	assert_int_equal(rt_convert_shares(2), 1);
	assert_int_equal(rt_convert_shares(3), 2);
	assert_int_equal(rt_convert_shares(1024), 100);
	assert_int_equal(rt_convert_shares(262143), 10000);
	assert_int_equal(rt_convert_shares(262144), 10000);
	assert_int_equal(rt_convert_shares(UINT64_MAX), 10000);
}

static void more_shares_are_never_less_weight(void **state)
{
	for (uint64_t shares = 2; shares < 5000; shares++)
		assert_true(rt_convert_shares(shares) <= rt_convert_shares(shares + 1));
}

static void io_weights_span_the_new_scale(void **state)
{
	assert_int_equal(rt_convert_io_weight(0), 0);
	assert_int_equal(rt_convert_io_weight(5), 1);
	assert_int_equal(rt_convert_io_weight(10), 1);
	assert_int_equal(rt_convert_io_weight(1000), 10000);
}

static void swap_is_what_the_sum_leaves(void **state)
{
	int64_t swap = 0;

	assert_null(rt_convert_swap(500, 200, &swap));
	assert_int_equal(swap, 300);
	assert_null(rt_convert_swap(200, 200, &swap));
	assert_int_equal(swap, 0);
}

static void unlimited_stays_unlimited(void **state)
{
	int64_t swap = 0;

	assert_null(rt_convert_swap(-1, 200, &swap));
	assert_int_equal(swap, -1);
	assert_null(rt_convert_swap(-1, -1, &swap));
	assert_int_equal(swap, -1);
	assert_null(rt_convert_swap(300, -1, &swap));
	assert_int_equal(swap, 300);
}

static void a_sum_below_the_limit_is_refused(void **state)
{
	int64_t swap;
	struct rt_error *err = rt_convert_swap(100, 200, &swap);

	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	rt_error_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_keep_their_minimum_default_and_maximum),
		cmocka_unit_test(more_shares_are_never_less_weight),
		cmocka_unit_test(io_weights_span_the_new_scale),
		cmocka_unit_test(swap_is_what_the_sum_leaves),
		cmocka_unit_test(unlimited_stays_unlimited),
		cmocka_unit_test(a_sum_below_the_limit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
