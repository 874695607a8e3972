#include "migrate/precopy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MB 1000000ull
#define SECOND 1000000ull

static struct rt_precopy precopy(void)
{
	return (struct rt_precopy){ .target_us = 100000, .fixed_us = 50000, .max_rounds = 30 };
}

static void it_freezes_once_the_rest_fits_into_the_downtime(void **state)
{
	struct rt_precopy p = precopy();

	/* 100 MB/s: 5 MB fit into the 50 ms that are left. */
	assert_int_equal(rt_precopy_after(&p, 100 * MB, SECOND, 20 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_predict(&p, 20 * MB), 250000);
	/* A round that took so much off may be followed by another one that does. */
	assert_int_equal(rt_precopy_after(&p, 20 * MB, SECOND / 5, 5 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 5 * MB, SECOND / 20, 4 * MB), RT_PRECOPY_FREEZE);
}

static void next_to_nothing_is_worth_no_round(void **state)
{
	struct rt_precopy p = precopy();

	assert_int_equal(rt_precopy_after(&p, 100 * MB, SECOND, MB / 2), RT_PRECOPY_FREEZE);
}

static void without_a_rate_the_fixed_part_is_all_that_is_known(void **state)
{
	struct rt_precopy p = precopy();

	assert_int_equal(rt_precopy_sending(&p, 1000 * MB), 0);
	assert_int_equal(rt_precopy_predict(&p, 1000 * MB), 50000);
	rt_precopy_after(&p, 100 * MB, SECOND, 100 * MB);
	assert_int_equal(rt_precopy_sending(&p, 1000 * MB), 10 * SECOND);
}

static void three_rounds_without_progress_are_enough(void **state)
{
	struct rt_precopy p = precopy();

	assert_int_equal(rt_precopy_after(&p, 100 * MB, SECOND, 80 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 80 * MB, SECOND, 80 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 80 * MB, SECOND, 79 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 79 * MB, SECOND, 78 * MB), RT_PRECOPY_STUCK);
}

static void progress_begins_the_count_anew(void **state)
{
	struct rt_precopy p = precopy();

	assert_int_equal(rt_precopy_after(&p, 100 * MB, SECOND, 80 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 80 * MB, SECOND, 80 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 80 * MB, SECOND, 80 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 80 * MB, SECOND, 60 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 60 * MB, SECOND, 60 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(p.stuck, 1);
}

static void the_number_of_rounds_is_limited(void **state)
{
	struct rt_precopy p = precopy();

	p.max_rounds = 2;
	assert_int_equal(rt_precopy_after(&p, 100 * MB, SECOND, 80 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 80 * MB, SECOND, 50 * MB), RT_PRECOPY_ENOUGH);
}

/* What is sent in a tiny round is in the socket's buffer, and tells nothing. */
static void a_small_round_does_not_change_the_rate(void **state)
{
	struct rt_precopy p = precopy();

	assert_int_equal(rt_precopy_after(&p, 100 * MB, SECOND, 80 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(rt_precopy_after(&p, 4096, 1, 60 * MB), RT_PRECOPY_AGAIN);
	assert_int_equal(p.rate, 100 * MB);
}

static void a_round_of_no_time_divides_by_nothing(void **state)
{
	struct rt_precopy p = precopy();

	assert_int_equal(rt_precopy_after(&p, 0, 0, 0), RT_PRECOPY_FREEZE);
	assert_int_equal(p.rate, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_freezes_once_the_rest_fits_into_the_downtime),
		cmocka_unit_test(next_to_nothing_is_worth_no_round),
		cmocka_unit_test(without_a_rate_the_fixed_part_is_all_that_is_known),
		cmocka_unit_test(three_rounds_without_progress_are_enough),
		cmocka_unit_test(progress_begins_the_count_anew),
		cmocka_unit_test(the_number_of_rounds_is_limited),
		cmocka_unit_test(a_small_round_does_not_change_the_rate),
		cmocka_unit_test(a_round_of_no_time_divides_by_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
