#include "migrate/tracker_private.h"

#include "tests/unit/migrate/victim.h"

#define PRESENT (1ull << 63)
#define SWAPPED (1ull << 62)
#define FILE_OR_SHARED (1ull << 61)
#define DIRTY (1ull << 55)

static const uint64_t entries[] = {
	/* 0 */ 0, PRESENT, PRESENT | DIRTY, PRESENT | DIRTY, SWAPPED,
	/* 5 */ SWAPPED | DIRTY, PRESENT | FILE_OR_SHARED | DIRTY, DIRTY, PRESENT | DIRTY | 0x1234, SWAPPED | FILE_OR_SHARED | DIRTY,
};

static void written_pages_are_told_and_joined(void **state)
{
	_cleanup_page_ranges_ struct rt_page_ranges ranges = { 0 };

	assert_null(rt_soft_dirty_select(7, 0x10000, entries, RT_ARRAY_SIZE(entries), true, &ranges));
	assert_int_equal(ranges.count, 3);
	assert_int_equal(ranges.ranges[0].pid, 7);
	assert_int_equal(ranges.ranges[0].start, 0x12000);
	assert_int_equal(ranges.ranges[0].pages, 2);
	assert_int_equal(ranges.ranges[1].start, 0x15000);
	assert_int_equal(ranges.ranges[1].pages, 1);
	assert_int_equal(ranges.ranges[2].start, 0x18000);
	assert_int_equal(ranges.ranges[2].pages, 1);
}

static void in_the_first_round_all_private_pages_are_told(void **state)
{
	_cleanup_page_ranges_ struct rt_page_ranges ranges = { 0 };

	assert_null(rt_soft_dirty_select(7, 0x10000, entries, RT_ARRAY_SIZE(entries), false, &ranges));
	assert_int_equal(ranges.count, 2);
	assert_int_equal(ranges.ranges[0].start, 0x11000);
	assert_int_equal(ranges.ranges[0].pages, 5);
	assert_int_equal(ranges.ranges[1].start, 0x18000);
	/* The next piece goes on where this one ended; another process does not. */
	assert_null(rt_soft_dirty_select(7, 0x19000, (uint64_t[]){ PRESENT }, 1, false, &ranges));
	assert_int_equal(ranges.count, 2);
	assert_int_equal(ranges.ranges[1].pages, 2);
	assert_null(rt_soft_dirty_select(8, 0x1a000, (uint64_t[]){ PRESENT }, 1, false, &ranges));
	assert_int_equal(ranges.count, 3);
}

static void what_was_added_can_be_taken_back(void **state)
{
	_cleanup_page_ranges_ struct rt_page_ranges ranges = { 0 };
	struct rt_page_ranges_mark mark = rt_page_ranges_mark(&ranges);

	assert_null(rt_page_ranges_add(&ranges, 1, 0x1000, 1));
	rt_page_ranges_rewind(&ranges, &mark);
	assert_int_equal(ranges.count, 0);
	assert_null(rt_page_ranges_add(&ranges, 1, 0x1000, 1));
	mark = rt_page_ranges_mark(&ranges);
	assert_null(rt_page_ranges_add(&ranges, 1, 0x2000, 5));
	assert_null(rt_page_ranges_add(&ranges, 1, 0x9000, 1));
	assert_int_equal(ranges.count, 2);
	rt_page_ranges_rewind(&ranges, &mark);
	assert_int_equal(ranges.count, 1);
	assert_int_equal(ranges.ranges[0].pages, 1);
}

/* Counts what soft-dirty asks of its caller. */
static int paused, resumed;

static struct rt_error *pause_them(void *userdata)
{
	paused++;
	return NULL;
}

static struct rt_error *resume_them(void *userdata)
{
	resumed++;
	return NULL;
}

static struct rt_error *refuse_to_pause(void *userdata)
{
	return rt_fail(RT_SYSTEM, "no brakes");
}

static void tasks_are_paused_for_a_look_and_resumed(void **state)
{
	struct rt_tracker tracker = { .ops = &rt_tracker_soft_dirty, .pause = { pause_them, resume_them, NULL } };
	_cleanup_page_ranges_ struct rt_page_ranges ranges = { 0 };
	struct victim victim = victim_start(8, NULL);
	struct rt_tracker_round report;
	struct rt_error *err;

	assert_null(rt_tracker_round(&tracker, &victim.pid, 1, 0, &ranges, &report));
	assert_int_equal(paused, 1);
	assert_int_equal(resumed, 1);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, 8), 8);
	/* Frozen already: neither paused nor reset. */
	assert_null(rt_tracker_round(&tracker, &victim.pid, 1, RT_ROUND_FROZEN, &ranges, &report));
	assert_int_equal(paused, 1);
	tracker.pause.pause = refuse_to_pause;
	err = rt_tracker_round(&tracker, &victim.pid, 1, 0, &ranges, &report);
	assert_non_null(err);
	rt_error_free(err);
	assert_int_equal(resumed, 1);
	rt_tracker_release(&tracker);
	rt_memmap_free(&tracker.map);
	free(tracker.spaces);
	victim_end(&victim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_pages_are_told_and_joined),
		cmocka_unit_test(in_the_first_round_all_private_pages_are_told),
		cmocka_unit_test(what_was_added_can_be_taken_back),
		cmocka_unit_test(tasks_are_paused_for_a_look_and_resumed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
