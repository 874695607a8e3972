#include "migrate/adaptive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MB 1000000ull

static void only_a_slow_link_is_worth_it(void **state)
{
	struct rt_adaptive adaptive = { 0 };

	assert_false(rt_adaptive_wants(&adaptive, 0));
	assert_true(rt_adaptive_wants(&adaptive, 10 * MB));
	assert_true(rt_adaptive_wants(&adaptive, 100 * MB));
	assert_false(rt_adaptive_wants(&adaptive, 101 * MB));
}

static void the_compressor_has_to_be_twice_as_quick_as_the_link(void **state)
{
	struct rt_adaptive adaptive = { 0 };

	rt_adaptive_learn(&adaptive, 100000, 30000, 250); /* 400 MB/s */
	assert_true(rt_adaptive_wants(&adaptive, 200 * MB));
	for (int i = 0; i < 20; i++)
		rt_adaptive_learn(&adaptive, 100000, 30000, 5000); /* 20 MB/s */
	assert_true(rt_adaptive_wants(&adaptive, 10 * MB));
	assert_false(rt_adaptive_wants(&adaptive, 12 * MB));
}

static void one_that_was_slow_for_a_while_is_tried_again(void **state)
{
	struct rt_adaptive adaptive = { 0 };
	int refused = 0;

	rt_adaptive_learn(&adaptive, 100000, 30000, 100000); /* 1 MB/s: something else ran */
	while (!rt_adaptive_wants(&adaptive, 10 * MB) && refused < 1000)
		refused++;
	assert_in_range(refused, 50, 200);
}

static void what_does_not_get_smaller_is_left_alone_for_a_while(void **state)
{
	struct rt_adaptive adaptive = { 0 };

	rt_adaptive_learn(&adaptive, 80000, 70000, 200);
	assert_true(rt_adaptive_wants(&adaptive, 10 * MB));
	rt_adaptive_learn(&adaptive, 80000, 70001, 200);
	for (int i = 0; i < 15; i++)
		assert_false(rt_adaptive_wants(&adaptive, 10 * MB));
	assert_true(rt_adaptive_wants(&adaptive, 10 * MB));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_slow_link_is_worth_it),
		cmocka_unit_test(the_compressor_has_to_be_twice_as_quick_as_the_link),
		cmocka_unit_test(one_that_was_slow_for_a_while_is_tried_again),
		cmocka_unit_test(what_does_not_get_smaller_is_left_alone_for_a_while),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
