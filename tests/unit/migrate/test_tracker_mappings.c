/* The tracker and every kind of mapping. */
#include "tests/unit/migrate/tracker_test.h"

#include <fcntl.h>

static long change_mappings(struct board *board, int command)
{
	char *memory = board->memory, *moved;
	int fd;

	switch (command) {
	case 1: /* gone, and new in its place */
		munmap(memory, 8 * 4096);
		mmap(memory, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		memory[0] = 1;
		memory[4096] = 1;
		return 0;
	case 2: /* moved: the pages are the same, the place is new */
		moved = mremap(memory + 16 * 4096, 8 * 4096, 8 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, memory + 8 * 4096);
		return moved == memory + 8 * 4096;
	case 3: /* written to after the move */
		memory[8 * 4096] = 77;
		return 0;
	case 4: /* dropped, and one page used again */
		madvise(memory + 32 * 4096, 16 * 4096, MADV_DONTNEED);
		memory[33 * 4096] = 1;
		return 0;
	case 5: /* read only: the zero page */
		return *(volatile char *)&memory[34 * 4096];
	case 6:
		mprotect(memory + 48 * 4096, 4096, PROT_READ);
		memory[49 * 4096] = 1;
		return 0;
	case 7: /* a file, one page of it written to */
		fd = open("/proc/self/exe", O_RDONLY);
		moved = mmap(memory + 50 * 4096, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
		close(fd);
		moved[4096] = 1;
		return moved[0];
	case 8: /* shared */
		moved = mmap(memory + 54 * 4096, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		memset(moved, 1, 4 * 4096);
		return 0;
	case 9: /* the page of the file once more */
		memory[51 * 4096] = 2;
		return 0;
	}
	return 0;
}

static void mappings_that_come_and_go_are_told(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_UFFD_WP);
	struct rt_page_ranges ranges = { 0 };
	struct victim victim;
	const char *memory;
	pid_t pid;

	if (!tracker)
		return;
	victim = victim_start(PAGES, change_mappings);
	memory = victim.board->memory;
	pid = victim.pid;
	look(tracker, pid, 0, &ranges);

	victim_do(&victim, 1);
	look(tracker, pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 2);
	assert_int_equal(victim_do(&victim, 2), 1);
	look(tracker, pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, pid, memory + 8 * 4096, 8), 8);
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 8);
	victim_do(&victim, 3);
	look(tracker, pid, 0, &ranges);
	assert_true(told(&ranges, pid, memory + 8 * 4096));
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 1);
	victim_do(&victim, 4);
	look(tracker, pid, 0, &ranges);
	assert_true(told(&ranges, pid, memory + 33 * 4096));
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 1);
	victim_do(&victim, 5);
	look(tracker, pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 0);
	victim_do(&victim, 6);
	look(tracker, pid, 0, &ranges);
	assert_true(told(&ranges, pid, memory + 49 * 4096));
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 1);
	victim_do(&victim, 7);
	look(tracker, pid, 0, &ranges);
	assert_true(told(&ranges, pid, memory + 51 * 4096));
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 1);
	victim_do(&victim, 8);
	look(tracker, pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 0);
	victim_do(&victim, 9);
	look(tracker, pid, 0, &ranges);
	assert_true(told(&ranges, pid, memory + 51 * 4096));
	assert_int_equal(told_of(&ranges, pid, memory, PAGES), 1);

	victim_end(&victim);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

/* Eight terabytes that are only reserved, and a page here and there in them. */
static long reserve(struct board *board, int command)
{
	uint64_t size = 8ull << 40;
	char *memory = command == 1 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : (char *)board->result;

	for (uint64_t at = 0; command && memory != MAP_FAILED && at < size; at += 1ull << 40)
		memory[at] = (char)command;
	return (long)memory;
}

static void check_reserved(enum rt_tracker_kind kind)
{
	struct rt_tracker *tracker = open_kind(kind);
	struct rt_page_ranges ranges = { 0 };
	struct rt_tracker_round report;
	struct victim victim;
	const char *memory;

	if (!tracker)
		return;
	victim = victim_start(1, reserve);
	memory = (const char *)victim_do(&victim, 1);
	if (memory == MAP_FAILED)
		print_message("# this machine does not let a process reserve 8 TiB\n");
	report = look(tracker, victim.pid, 0, &ranges);
	assert_true(report.microseconds < 2000000);
	assert_int_equal(told_of(&ranges, victim.pid, memory, 2ull << 30), memory == MAP_FAILED ? 0 : 8);
	send_all(tracker, &ranges);
	victim_do(&victim, 2);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_true(report.microseconds < 1000000);
	assert_int_equal(told_of(&ranges, victim.pid, memory, 2ull << 30), memory == MAP_FAILED ? 0 : 8);
	victim_end(&victim);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

static void memory_that_is_only_reserved_costs_uffd_wp_nothing(void **state)
{
	check_reserved(RT_TRACKER_UFFD_WP);
}

static void memory_that_is_only_reserved_costs_hash_nothing(void **state)
{
	check_reserved(RT_TRACKER_HASH);
}

#define HUGE (2u << 20)

/* 1: transparent huge pages, 2: of hugetlbfs; result: where they are, 0: the machine has none. 3: one byte is written. */
static long use_huge_pages(struct board *board, int command)
{
	static char *memory;
	char *map;

	if (command == 1) {
		map = mmap(NULL, 5 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		memory = map + HUGE - (uintptr_t)map % HUGE;
		madvise(memory, 4 * HUGE, MADV_HUGEPAGE);
	} else if (command == 2) {
		memory = mmap(NULL, 4 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
		if (memory == MAP_FAILED)
			return 0;
	} else if (command == 3) {
		memory[HUGE + 5 * 4096]++;
	}
	if (command == 1 || command == 2)
		memset(memory, command, 4 * HUGE);
	return (long)memory;
}

static void check_huge_pages(int command)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_UFFD_WP);
	struct rt_page_ranges ranges = { 0 };
	struct victim victim;
	const char *memory;
	uint64_t changed;

	if (!tracker)
		return;
	victim = victim_start(1, use_huge_pages);
	memory = (const char *)victim_do(&victim, command);
	if (!memory) {
		victim_end(&victim);
		rt_tracker_close(tracker);
		print_message("# this machine has none of these pages\n");
		return;
	}
	look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, victim.pid, memory, 2048), 2048);
	look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, victim.pid, memory, 2048), 0);
	victim_do(&victim, 3);
	look(tracker, victim.pid, 0, &ranges);
	assert_true(told(&ranges, victim.pid, memory + HUGE + 5 * 4096));
	/* The page, or all of the huge page; nothing of its neighbours. */
	changed = told_of(&ranges, victim.pid, memory, 2048);
	assert_true(changed == 1 || changed == 512);
	look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, victim.pid, memory, 2048), 0);
	victim_end(&victim);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

static void transparent_huge_pages_change_as_a_whole(void **state)
{
	check_huge_pages(1);
}

static void huge_pages_are_memory_as_any_other(void **state)
{
	check_huge_pages(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_that_come_and_go_are_told),
		cmocka_unit_test(memory_that_is_only_reserved_costs_uffd_wp_nothing),
		cmocka_unit_test(memory_that_is_only_reserved_costs_hash_nothing),
		cmocka_unit_test(transparent_huge_pages_change_as_a_whole),
		cmocka_unit_test(huge_pages_are_memory_as_any_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
