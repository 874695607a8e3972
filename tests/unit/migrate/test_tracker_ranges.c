#include "migrate/tracker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PAGE(n) ((n) * (uint64_t)RT_PAGE_SIZE)

/* { pid, first page, pages }..., ended by { 0 } */
static struct rt_page_ranges made(const uint64_t (*of)[3])
{
	struct rt_page_ranges ranges = { 0 };

	for (; (*of)[0]; of++)
		assert_null(rt_page_ranges_add(&ranges, (pid_t)(*of)[0], PAGE((*of)[1]), (*of)[2]));
	return ranges;
}

static void expect(const struct rt_page_ranges *ranges, const uint64_t (*of)[3])
{
	size_t i = 0;

	for (; (*of)[0]; of++, i++) {
		assert_true(i < ranges->count);
		assert_int_equal(ranges->ranges[i].pid, (*of)[0]);
		assert_int_equal(ranges->ranges[i].start, PAGE((*of)[1]));
		assert_int_equal(ranges->ranges[i].pages, (*of)[2]);
	}
	assert_int_equal(i, ranges->count);
}

static void what_is_taken_out_leaves_gaps(void **state)
{
	static const uint64_t all[][3] = { { 1, 0, 10 }, { 1, 20, 5 }, { 2, 0, 4 }, { 3, 7, 2 }, { 0 } };
	static const uint64_t taken[][3] = { { 3, 0, 100 }, { 1, 2, 1 }, { 1, 5, 1 }, { 1, 8, 13 }, { 1, 24, 9 }, { 4, 0, 100 }, { 0 } };
	static const uint64_t left[][3] = { { 1, 0, 2 }, { 1, 3, 2 }, { 1, 6, 2 }, { 1, 21, 3 }, { 2, 0, 4 }, { 0 } };
	_cleanup_page_ranges_ struct rt_page_ranges from = made(all), without = made(taken), ret = { 0 };

	assert_null(rt_page_ranges_subtract(&from, &without, &ret));
	expect(&ret, left);
	expect(&from, all);
}

static void every_page_is_as_one_at_a_time_says(void **state)
{
	srand(1);
	for (int round = 0; round < 200; round++) {
		_cleanup_page_ranges_ struct rt_page_ranges from = { 0 }, without = { 0 }, ret = { 0 };
		bool expected[2][64] = { { false } }, found[2][64] = { { false } };

		for (int pid = 0; pid < 2; pid++) {
			for (uint64_t page = 0; page < 64; page++) {
				bool here = rand() % 3 != 0, there = rand() % 4 == 0;

				assert_null(rt_page_ranges_add(&from, pid + 1, PAGE(page), here));
				assert_null(rt_page_ranges_add(&without, pid + 1, PAGE(page), there));
				expected[pid][page] = here && !there;
			}
		}
		assert_null(rt_page_ranges_subtract(&from, &without, &ret));
		for (size_t i = 0; i < ret.count; i++)
			for (uint64_t page = 0; page < ret.ranges[i].pages; page++)
				found[ret.ranges[i].pid - 1][ret.ranges[i].start / RT_PAGE_SIZE + page] = true;
		assert_memory_equal(found, expected, sizeof(found));
	}
}

static void what_is_too_much_is_split_off(void **state)
{
	static const uint64_t all[][3] = { { 1, 0, 10 }, { 1, 20, 5 }, { 2, 0, 4 }, { 0 } };
	static const uint64_t first[][3] = { { 1, 0, 10 }, { 1, 20, 2 }, { 0 } };
	static const uint64_t others[][3] = { { 9, 0, 1 }, { 1, 22, 3 }, { 2, 0, 4 }, { 0 } };
	static const uint64_t before[][3] = { { 9, 0, 1 }, { 0 } };
	_cleanup_page_ranges_ struct rt_page_ranges ranges = made(all), rest = made(before);

	assert_null(rt_page_ranges_split(&ranges, 12, &rest));
	expect(&ranges, first);
	expect(&rest, others);
	assert_int_equal(rt_page_ranges_pages(&ranges), 12);
	assert_null(rt_page_ranges_split(&ranges, 12, &rest));
	expect(&ranges, first);
	assert_null(rt_page_ranges_split(&ranges, 0, &rest));
	assert_int_equal(ranges.count, 0);
	assert_int_equal(rt_page_ranges_pages(&rest), 20);
}

static void lists_are_joined(void **state)
{
	static const uint64_t one[][3] = { { 1, 0, 10 }, { 0 } }, other[][3] = { { 1, 10, 1 }, { 2, 0, 1 }, { 0 } };
	static const uint64_t both[][3] = { { 1, 0, 11 }, { 2, 0, 1 }, { 0 } };
	_cleanup_page_ranges_ struct rt_page_ranges ranges = made(one), more = made(other);

	assert_null(rt_page_ranges_append(&ranges, &more));
	expect(&ranges, both);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_taken_out_leaves_gaps),
		cmocka_unit_test(every_page_is_as_one_at_a_time_says),
		cmocka_unit_test(what_is_too_much_is_split_off),
		cmocka_unit_test(lists_are_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
