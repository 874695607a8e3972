#include "migrate/lazy_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PAGE RT_LAZY_PAGE
#define AT(n) ((uint64_t)(n) * PAGE)

/* Pages 10 to 99, 200 to 299 and 300 to 309, which are numbered 0 to 199. */
static const struct rt_lazy_range listed[] = { { AT(10), AT(100), 0 }, { AT(200), AT(300), 90 }, { AT(300), AT(310), 190 } };

static int setup(void **state)
{
	static struct rt_lazy_map map;

	*state = &map;
	return rt_lazy_map_init(&map, listed, RT_ARRAY_SIZE(listed), 200) ? -1 : 0;
}

static int teardown(void **state)
{
	rt_lazy_map_deinit(*state);
	return 0;
}

static void expect_next(const struct rt_lazy_map *map, uint64_t from, uint64_t limit, uint64_t address, uint64_t index, uint64_t pages)
{
	struct rt_lazy_run run = { 0 };

	assert_true(rt_lazy_map_next(map, from, limit, &run));
	assert_int_equal(run.address, address);
	assert_int_equal(run.index, index);
	assert_int_equal(run.pages, pages);
}

static void expect_at(const struct rt_lazy_map *map, uint64_t index, uint64_t address)
{
	uint64_t got = 0;

	assert_true(rt_lazy_map_where(map, index, 0, &got));
	assert_int_equal(got, address);
	assert_true(rt_lazy_map_where(map, index, address, &got));
	assert_int_equal(got, address);
}

static void expect_nowhere(const struct rt_lazy_map *map, uint64_t index)
{
	uint64_t got;

	assert_false(rt_lazy_map_where(map, index, AT(10) + AT(index), &got));
}

static void what_is_left_is_found_in_order(void **state)
{
	struct rt_lazy_map *map = *state;
	struct rt_lazy_run run;

	expect_next(map, 0, 1000, AT(10), 0, 90);
	expect_next(map, 0, 64, AT(10), 0, 64);
	expect_next(map, AT(50) + 5, 1000, AT(50), 40, 50);
	expect_next(map, AT(100), 1000, AT(200), 90, 100);
	rt_lazy_map_mark(map, 0, 70);
	expect_next(map, 0, 1000, AT(80), 70, 20);
	rt_lazy_map_mark(map, 72, 1);
	rt_lazy_map_mark(map, 60, 14);
	assert_int_equal(map->left, 200 - 74);
	expect_next(map, 0, 1000, AT(84), 74, 16);
	rt_lazy_map_mark(map, 75, 15);
	expect_next(map, 0, 1000, AT(84), 74, 1);
	rt_lazy_map_mark(map, 74, 1);
	expect_next(map, 0, 1000, AT(200), 90, 100);
	rt_lazy_map_mark(map, 0, 200);
	assert_int_equal(map->left, 0);
	assert_false(rt_lazy_map_next(map, 0, 1, &run));
	assert_false(rt_lazy_map_next(map, AT(400), 1, &run));
}

static void neighbours_are_those_in_the_block_that_are_left(void **state)
{
	struct rt_lazy_map *map = *state;
	struct rt_lazy_run run;

	rt_lazy_map_around(map, rt_lazy_map_find(map, AT(12)), AT(12), 16, &run);
	assert_int_equal(run.address, AT(10));
	assert_int_equal(run.index, 0);
	assert_int_equal(run.pages, 6);
	rt_lazy_map_mark(map, 95, 1);
	rt_lazy_map_mark(map, 99, 1);
	rt_lazy_map_around(map, rt_lazy_map_find(map, AT(207)), AT(207), 16, &run);
	assert_int_equal(run.address, AT(206));
	assert_int_equal(run.index, 96);
	assert_int_equal(run.pages, 2);
}

static void what_is_cut_out_is_done(void **state)
{
	struct rt_lazy_map *map = *state;

	assert_null(rt_lazy_map_cut(map, AT(20), AT(30)));
	assert_int_equal(map->left, 190);
	expect_next(map, AT(15), 1000, AT(15), 5, 5);
	expect_next(map, AT(20), 1000, AT(30), 20, 70);
	expect_nowhere(map, 10);
	expect_at(map, 20, AT(30));
	/* Over several, with gaps. */
	assert_null(rt_lazy_map_cut(map, AT(90), AT(305)));
	assert_int_equal(map->left, 10 + 60 + 5);
	expect_next(map, AT(90), 1000, AT(305), 195, 5);
	assert_null(rt_lazy_map_cut(map, 0, AT(1000)));
	assert_int_equal(map->left, 0);
	assert_int_equal(map->count, 0);
	assert_null(rt_lazy_map_cut(map, 0, AT(1000)));
}

static void what_moves_is_found_where_it_went(void **state)
{
	struct rt_lazy_map *map = *state;

	rt_lazy_map_mark(map, 41, 1);
	assert_null(rt_lazy_map_move(map, AT(50), AT(1000), AT(10)));
	assert_int_equal(map->left, 199);
	expect_at(map, 39, AT(49));
	expect_at(map, 40, AT(1000));
	expect_at(map, 50, AT(60));
	expect_next(map, AT(500), 1000, AT(1000), 40, 1);
	expect_next(map, AT(1001), 1000, AT(1002), 42, 8);
	/* Onto another: that is gone. */
	assert_null(rt_lazy_map_move(map, AT(1000), AT(305), AT(10)));
	assert_int_equal(map->left, 194);
	expect_at(map, 40, AT(305));
	expect_at(map, 49, AT(314));
	expect_nowhere(map, 195);
	expect_at(map, 194, AT(304));
	/* To lower addresses, in pieces, with what is between. */
	assert_null(rt_lazy_map_move(map, AT(90), AT(1), AT(5)));
	expect_at(map, 80, AT(1));
	expect_next(map, 0, 1000, AT(1), 80, 5);
	assert_null(rt_lazy_map_move(map, AT(1), AT(90), AT(5)));
	expect_at(map, 84, AT(94));
	expect_at(map, 85, AT(95));
	for (size_t i = 1; i < map->count; i++)
		assert_true(map->ranges[i - 1].end <= map->ranges[i].start);
}

static void a_copy_lives_by_itself(void **state)
{
	struct rt_lazy_map *map = *state, copy;

	rt_lazy_map_mark(map, 3, 1);
	assert_null(rt_lazy_map_copy(&copy, map));
	rt_lazy_map_mark(map, 4, 1);
	assert_null(rt_lazy_map_cut(map, AT(200), AT(300)));
	assert_int_equal(copy.left, 199);
	assert_true(rt_lazy_map_is_done(&copy, 3));
	assert_false(rt_lazy_map_is_done(&copy, 4));
	expect_at(&copy, 95, AT(205));
	rt_lazy_map_deinit(&copy);
}

/* Against a plain array of pages. */
static void at_random_it_is_what_a_plain_array_is(void **state)
{
	enum { SPACE = 600 };
	struct rt_lazy_map *map = *state;
	int plain[SPACE], spare[SPACE];
	bool done[200] = { false };

	for (int i = 0; i < SPACE; i++)
		plain[i] = i >= 10 && i < 100 ? i - 10 : i >= 200 && i < 310 ? i - 110 : -1;
	srand(3);
	for (int turn = 0; turn < 3000; turn++) {
		int start = rand() % SPACE, size = 1 + rand() % 40, to = rand() % SPACE;

		if (start + size > SPACE || to + size > SPACE || (to < start + size && start < to + size))
			continue;
		if (turn % 64 == 0) {
			for (int i = start; i < start + size; i++) {
				if (plain[i] >= 0)
					done[plain[i]] = true;
				plain[i] = -1;
			}
			assert_null(rt_lazy_map_cut(map, AT(start), AT(start + size)));
		} else if (plain[to] < 0 && plain[to + size - 1] < 0 && turn % 3) {
			memcpy(spare, plain + start, (size_t)size * sizeof(int));
			for (int i = 0; i < size; i++) {
				if (plain[to + i] >= 0)
					done[plain[to + i]] = true;
				plain[start + i] = -1;
				plain[to + i] = spare[i];
			}
			assert_null(rt_lazy_map_move(map, AT(start), AT(to), AT(size)));
		} else if (turn % 50 == 1 && plain[start] >= 0) {
			done[plain[start]] = true;
			rt_lazy_map_mark(map, (uint64_t)plain[start], 1);
		}
		for (int i = 0; i < SPACE; i++) {
			const struct rt_lazy_range *range = rt_lazy_map_find(map, AT(i));
			bool is = range && range->start <= AT(i);

			assert_int_equal(is, plain[i] >= 0);
			if (!is)
				continue;
			assert_int_equal(range->index + (AT(i) - range->start) / PAGE, plain[i]);
			assert_int_equal(rt_lazy_map_is_done(map, (uint64_t)plain[i]), done[plain[i]]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_left_is_found_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(neighbours_are_those_in_the_block_that_are_left, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_cut_out_is_done, setup, teardown),
		cmocka_unit_test_setup_teardown(what_moves_is_found_where_it_went, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_lives_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(at_random_it_is_what_a_plain_array_is, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
