#include "migrate/reader.h"

#include "tests/unit/migrate/victim.h"

#define PAGES 64

static void pages_of_many_ranges_come_one_after_the_other(void **state)
{
	struct victim victim = victim_start(PAGES, NULL);
	uint64_t start = (uintptr_t)victim.board->memory, present[2], read;
	struct rt_page_range ranges[] = { { victim.pid, start, 3 }, { victim.pid, start + 10 * 4096, 1 }, { victim.pid, start + 40 * 4096, 20 } };
	uint64_t *buffer = aligned_alloc(4096, 24 * 4096);

	assert_null(rt_reader_read(ranges, 3, buffer, present, &read));
	assert_int_equal(read, 24);
	assert_int_equal(present[0], (1u << 24) - 1);
	for (int i = 0; i < 24; i++)
		assert_int_equal(buffer[i * 512], (i < 3 ? i : i == 3 ? 10 : 40 + i - 4) + 1);
	free(buffer);
	victim_end(&victim);
}

/* Command 1 makes holes. */
static long make_holes(struct board *board, int command)
{
	char *memory = board->memory;

	if (command == 1) {
		munmap(memory, 4096);
		munmap(memory + 5 * 4096, 2 * 4096);
		mprotect(memory + 9 * 4096, 4096, PROT_NONE);
		munmap(memory + 63 * 4096, 4096);
	}
	return 0;
}

static void pages_that_went_away_are_left_out(void **state)
{
	struct victim victim = victim_start(PAGES, make_holes);
	uint64_t start = (uintptr_t)victim.board->memory, present, read;
	struct rt_page_range range = { victim.pid, start, PAGES };
	struct rt_page_range pairs[] = { { victim.pid, start, 2 }, { victim.pid, start + 4 * 4096, 4 } };
	uint64_t *buffer = aligned_alloc(4096, PAGES * 4096);

	victim_do(&victim, 1);
	assert_null(rt_reader_read(&range, 1, buffer, &present, &read));
	assert_false(rt_reader_page_present(&present, 0));
	assert_false(rt_reader_page_present(&present, 5));
	assert_false(rt_reader_page_present(&present, 6));
	assert_false(rt_reader_page_present(&present, 63));
	assert_true(read == PAGES - 4 || read == PAGES - 5); /* root reads what PROT_NONE hides, or not: both are right */
	for (int i = 0; i < PAGES; i++)
		if (rt_reader_page_present(&present, i))
			assert_int_equal(buffer[i * 512], i + 1);
	assert_null(rt_reader_read(pairs, 2, buffer, &present, &read));
	assert_int_equal(present, 0x2 | 0x4 | 0x20);
	assert_int_equal(read, 3);
	assert_int_equal(buffer[1 * 512], 2);
	assert_int_equal(buffer[2 * 512], 5);
	assert_int_equal(buffer[5 * 512], 8);
	victim_end(&victim);
	/* The whole process. */
	assert_null(rt_reader_read(&range, 1, buffer, &present, &read));
	assert_int_equal(read, 0);
	assert_int_equal(present, 0);
	free(buffer);
}

static void one_bit_anywhere_makes_a_page_not_zero(void **state)
{
	unsigned char *page = aligned_alloc(4096, 4096);

	memset(page, 0, 4096);
	assert_true(rt_page_is_zero(page));
	for (int i = 0; i < 4096; i++) {
		page[i] = (unsigned char)(1 << (i % 8));
		assert_false(rt_page_is_zero(page));
		page[i] = 0;
	}
	assert_true(rt_page_is_zero(page));
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_of_many_ranges_come_one_after_the_other),
		cmocka_unit_test(pages_that_went_away_are_left_out),
		cmocka_unit_test(one_bit_anywhere_makes_a_page_not_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
