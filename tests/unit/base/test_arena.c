#include "runtime/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void memory_is_zeroed_aligned_and_apart(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	char *last = NULL;

	for (size_t i = 1; i < 300; i++) {
		char *memory = rt_arena_calloc(&arena, i, 3);

		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
		for (size_t j = 0; j < i * 3; j++)
			assert_int_equal(memory[j], 0);
		memset(memory, 0xff, i * 3);
		if (last)
			assert_int_equal((unsigned char)*last, 0xff);
		last = memory;
	}
	rt_arena_deinit(&arena);
}

static void large_objects_get_room(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;
	char *large = rt_arena_calloc(&arena, 1, 1 << 20);

	assert_non_null(large);
	large[(1 << 20) - 1] = 1;
	rt_arena_deinit(&arena);
}

static void sizes_that_overflow_give_nothing(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;

	assert_null(rt_arena_calloc(&arena, SIZE_MAX / 2, 3));
	assert_null(rt_arena_calloc(&arena, SIZE_MAX, 1));
	assert_null(arena.blocks);
}

static void strings_are_formatted_into_it(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;

	assert_string_equal(rt_arena_printf(&arena, "%s/%d", "a", 7), "a/7");
	assert_string_equal(rt_arena_printf(&arena, "%s", ""), "");
	rt_arena_deinit(&arena);
}

static void it_can_be_used_again_after_freeing(void **state)
{
	struct rt_arena arena = RT_ARENA_NULL;

	assert_non_null(rt_arena_calloc(&arena, 1, 1));
	rt_arena_deinit(&arena);
	assert_null(arena.blocks);
	assert_non_null(rt_arena_calloc(&arena, 1, 1));
	rt_arena_deinit(&arena);
	rt_arena_deinit(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_aligned_and_apart), cmocka_unit_test(large_objects_get_room),
		cmocka_unit_test(sizes_that_overflow_give_nothing),   cmocka_unit_test(strings_are_formatted_into_it),
		cmocka_unit_test(it_can_be_used_again_after_freeing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
