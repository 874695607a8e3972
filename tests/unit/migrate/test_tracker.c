#include "migrate/tracker.h"

#include "migrate/memmap.h"
#include "migrate/reader.h"
#include "tests/unit/migrate/victim.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#define PAGES 64

/* A round of one process. */
static struct rt_tracker_round look(struct rt_tracker *tracker, pid_t pid, unsigned flags, struct rt_page_ranges *ranges)
{
	struct rt_tracker_round report;

	ranges->count = 0;
	assert_null(rt_tracker_round(tracker, &pid, 1, flags, ranges, &report));
	return report;
}

/* Tells a hash tracker that all of it was sent. */
static void send_all(struct rt_tracker *tracker, const struct rt_page_ranges *ranges)
{
	static unsigned char page[RT_PAGE_SIZE] __attribute__((aligned(4096)));

	for (size_t i = 0; i < ranges->count; i++)
		for (uint64_t n = 0; n < ranges->ranges[i].pages; n++) {
			struct rt_page_range range = { ranges->ranges[i].pid, ranges->ranges[i].start + n * RT_PAGE_SIZE, 1 };
			uint64_t present, read;

			assert_null(rt_reader_read(&range, 1, page, &present, &read));
			if (read)
				assert_null(rt_tracker_sent(tracker, range.pid, range.start, 1, page));
		}
}

/* NULL where the machine can't. */
static struct rt_tracker *open_kind(enum rt_tracker_kind kind)
{
	struct rt_tracker *tracker = NULL;
	enum rt_tracker_kind usable_kind;
	char *reason = NULL;
	bool usable;

	assert_null(rt_tracker_probe(kind, &usable_kind, &usable, &reason));
	if (!usable)
		print_message("# %s\n", reason);
	free(reason);
	if (!usable)
		return NULL;
	assert_null(rt_tracker_open(kind, NULL, &tracker));
	assert_int_equal(rt_tracker_kind(tracker), kind);
	return tracker;
}

static char *page_at(const struct victim *victim, size_t page)
{
	return (char *)victim->board->memory + page * RT_PAGE_SIZE;
}

static size_t watched_mappings(pid_t pid)
{
	size_t count;

	assert_null(rt_memmap_count_flag(pid, "uw", &count));
	return count;
}

static int uffds_of(pid_t pid)
{
	char path[64], link[64];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		ssize_t size = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		link[size > 0 ? size : 0] = '\0';
		count += strcmp(link, "anon_inode:[userfaultfd]") == 0;
	}
	closedir(dir);
	return count;
}

/* ---- both that run here ---- */

static long write_some(struct board *board, int command)
{
	char *memory = board->memory;

	if (command == 1) {
		memory[3 * 4096 + 100]++;
		memory[4 * 4096]++;
		memory[40 * 4096]++;
	}
	if (command == 2)
		memory[4 * 4096]++;
	return 0;
}

static void check_rounds(enum rt_tracker_kind kind)
{
	struct rt_tracker *tracker = open_kind(kind);
	struct rt_page_ranges ranges = { 0 };
	struct victim victim;
	struct rt_tracker_round report;

	if (!tracker)
		skip();
	victim = victim_start(PAGES, write_some);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces, 1);
	assert_int_equal(report.spaces_new, 1);
	assert_int_equal(report.spaces_whole, 0);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), PAGES);
	assert_true(report.pages > PAGES);
	send_all(tracker, &ranges);

	victim_do(&victim, 1);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces_new, 0);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), 3);
	assert_true(told(&ranges, victim.pid, page_at(&victim, 3)));
	assert_true(told(&ranges, victim.pid, page_at(&victim, 4)));
	assert_true(told(&ranges, victim.pid, page_at(&victim, 40)));
	send_all(tracker, &ranges);

	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), 0);
	assert_true(report.pages < 40);
	send_all(tracker, &ranges);

	victim_do(&victim, 2);
	look(tracker, victim.pid, RT_ROUND_FROZEN, &ranges);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), 1);
	rt_tracker_release(tracker);
	assert_int_equal(watched_mappings(victim.pid), 0);

	/* Anew. */
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces_new, 1);
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, PAGES), PAGES);

	victim_end(&victim);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces, 0);
	assert_int_equal(ranges.count, 0);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

static void uffd_wp_tells_what_was_written_and_nothing_else(void **state)
{
	check_rounds(RT_TRACKER_UFFD_WP);
}

static void hash_tells_what_was_written_and_nothing_else(void **state)
{
	check_rounds(RT_TRACKER_HASH);
}

/* Command n puts page 0 into another state and back; the test reads it in between. */
static long flip(struct board *board, int command)
{
	((char *)board->memory)[8] = command == 1 ? 'b' : 'a';
	return 0;
}

static void hash_compares_with_what_was_sent_not_with_what_it_saw(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_HASH);
	struct rt_page_ranges ranges = { 0 };
	struct victim victim = victim_start(4, flip);

	look(tracker, victim.pid, 0, &ranges); /* sees 'a' */
	assert_true(told(&ranges, victim.pid, victim.board->memory));
	victim_do(&victim, 1);
	send_all(tracker, &ranges); /* sends 'b' */
	victim_do(&victim, 2);
	look(tracker, victim.pid, 0, &ranges); /* 'a' again, as it saw before: but 'b' is what the other side has */
	assert_true(told(&ranges, victim.pid, victim.board->memory));
	assert_int_equal(told_of(&ranges, victim.pid, victim.board->memory, 4), 1);
	victim_end(&victim);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

/* ---- mappings ---- */

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
		skip();
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
		skip();
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
		skip();
	victim = victim_start(1, use_huge_pages);
	memory = (const char *)victim_do(&victim, command);
	if (!memory) {
		victim_end(&victim);
		rt_tracker_close(tracker);
		skip();
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

/* ---- processes ---- */

static long fork_and_exec(struct board *board, int command)
{
	pid_t pid;

	switch (command) {
	case 1: /* a child with the same memory */
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			((char *)board->memory)[5 * 4096]++;
			for (;;)
				pause();
		}
		return pid;
	case 2:
		((char *)board->memory)[6 * 4096]++;
		return 0;
	case 3:
		atomic_store(&board->done, command + 1);
		execl("/bin/sleep", "sleep", "1000", NULL);
		return -1;
	}
	return 0;
}

static void children_and_new_programs_are_told_whole(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_UFFD_WP);
	struct rt_page_ranges ranges = { 0 };
	struct rt_tracker_round report;
	struct victim victim;
	const char *memory;
	size_t watched;
	pid_t pids[2];

	if (!tracker)
		skip();
	victim = victim_start(PAGES, fork_and_exec);
	memory = victim.board->memory;
	pids[0] = victim.pid;
	look(tracker, victim.pid, 0, &ranges);
	pids[1] = (pid_t)victim_do(&victim, 1);
	usleep(10000);
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, pids, 2, 0, &ranges, &report));
	assert_int_equal(report.spaces, 2);
	assert_int_equal(report.spaces_new, 1);
	assert_int_equal(report.spaces_whole, 0);
	assert_int_equal(told_of(&ranges, pids[0], memory, PAGES), 0);
	assert_int_equal(told_of(&ranges, pids[1], memory, PAGES), PAGES);
	assert_true(watched_mappings(pids[1]) > 0);
	assert_int_equal(uffds_of(pids[1]), 0);
	victim_do(&victim, 2);
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, pids, 2, 0, &ranges, &report));
	assert_int_equal(told_of(&ranges, pids[0], memory, PAGES), 1);
	assert_int_equal(told_of(&ranges, pids[1], memory, PAGES), 0);
	kill(pids[1], SIGKILL);

	atomic_store(&victim.board->command, 3);
	await(&victim.board->done, 4);
	usleep(50000);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces_new, 1);
	assert_int_equal(report.spaces_whole, 0);
	assert_true(report.pages > 5);
	watched = watched_mappings(victim.pid);
	assert_true(watched > 0);
	report = look(tracker, victim.pid, 0, &ranges);
	assert_int_equal(report.spaces_new, 0);
	assert_int_equal(report.pages, 0);
	rt_tracker_close(tracker);
	assert_int_equal(watched_mappings(victim.pid), 0);
	assert_int_equal(uffds_of(victim.pid), 0);
	victim_end(&victim);
	rt_page_ranges_free(&ranges);
}

static long vfork_and_write(struct board *board, int command)
{
	pid_t pid;

	if (command == 1) {
		pid = vfork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			((char *)board->memory)[2 * 4096]++;
			board->result = getpid();
			atomic_store(&board->done, 2);
			await(&board->command, 2);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		atomic_store(&board->done, 3);
	}
	return 0;
}

static void a_parent_in_vfork_does_not_hold_anybody_up(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_UFFD_WP);
	struct rt_page_ranges ranges = { 0 };
	struct rt_tracker_round report;
	struct victim victim;
	const char *memory;
	pid_t pids[2];

	if (!tracker)
		skip();
	victim = victim_start(PAGES, vfork_and_write);
	memory = victim.board->memory;
	pids[0] = victim.pid;
	look(tracker, victim.pid, 0, &ranges);
	pids[1] = (pid_t)victim_do(&victim, 1);
	/* Two processes, one address space: told once. */
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, pids, 2, 0, &ranges, &report));
	assert_true(report.microseconds < 100000);
	assert_int_equal(told_of(&ranges, pids[0], memory, PAGES) + told_of(&ranges, pids[1], memory, PAGES), 1);
	/* And when nobody has seen the parent before. */
	rt_tracker_release(tracker);
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, pids, 2, 0, &ranges, &report));
	assert_true(report.microseconds < 300000);
	assert_true(told_of(&ranges, pids[0], memory, PAGES) + told_of(&ranges, pids[1], memory, PAGES) >= PAGES);
	rt_tracker_close(tracker);
	victim_end(&victim);
	rt_page_ranges_free(&ranges);
}

static void an_inherited_descriptor_is_closed_where_it_went(void **state)
{
	struct rt_tracker *tracker = open_kind(RT_TRACKER_UFFD_WP);
	struct rt_page_ranges ranges = { 0 };
	struct victim first, second;

	if (!tracker)
		skip();
	first = victim_start(PAGES, NULL);
	look(tracker, first.pid, 0, &ranges);
	/* A child of ours has copies of our descriptors: as a process forked in the middle of an injection would. */
	second = victim_start(PAGES, NULL);
	assert_int_equal(uffds_of(second.pid), 1);
	ranges.count = 0;
	assert_null(rt_tracker_round(tracker, (pid_t[]){ first.pid, second.pid }, 2, 0, &ranges, NULL));
	assert_int_equal(uffds_of(second.pid), 0);
	rt_tracker_release(tracker);
	assert_int_equal(watched_mappings(first.pid), 0);
	assert_int_equal(watched_mappings(second.pid), 0);
	victim_end(&first);
	victim_end(&second);
	rt_page_ranges_free(&ranges);
	rt_tracker_close(tracker);
}

/* ---- words ---- */

static void kinds_have_names(void **state)
{
	enum rt_tracker_kind kind = RT_TRACKER_AUTO;
	struct rt_error *err;

	assert_null(rt_tracker_kind_parse("uffd-wp", &kind));
	assert_int_equal(kind, RT_TRACKER_UFFD_WP);
	assert_null(rt_tracker_kind_parse("auto", &kind));
	assert_int_equal(kind, RT_TRACKER_AUTO);
	assert_string_equal(rt_tracker_kind_name(RT_TRACKER_SOFT_DIRTY), "soft-dirty");
	assert_string_equal(rt_tracker_kind_name(RT_TRACKER_AUTO), "auto");
	err = rt_tracker_kind_parse("magic", &kind);
	assert_non_null(err);
	assert_int_equal(err->code, RT_USAGE);
	rt_error_free(err);
}

static void auto_finds_one_and_says_why(void **state)
{
	enum rt_tracker_kind kind;
	char *reason;
	bool usable;

	assert_null(rt_tracker_probe(RT_TRACKER_AUTO, &kind, &usable, &reason));
	assert_true(usable);
	assert_non_null(strstr(reason, rt_tracker_kind_name(kind)));
	free(reason);
}

static void soft_dirty_needs_a_way_to_pause(void **state)
{
	struct rt_tracker *tracker;
	struct rt_error *err = rt_tracker_open(RT_TRACKER_SOFT_DIRTY, NULL, &tracker);

	assert_non_null(err);
	rt_error_free(err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uffd_wp_tells_what_was_written_and_nothing_else),
		cmocka_unit_test(hash_tells_what_was_written_and_nothing_else),
		cmocka_unit_test(hash_compares_with_what_was_sent_not_with_what_it_saw),
		cmocka_unit_test(mappings_that_come_and_go_are_told),
		cmocka_unit_test(memory_that_is_only_reserved_costs_uffd_wp_nothing),
		cmocka_unit_test(memory_that_is_only_reserved_costs_hash_nothing),
		cmocka_unit_test(transparent_huge_pages_change_as_a_whole),
		cmocka_unit_test(huge_pages_are_memory_as_any_other),
		cmocka_unit_test(children_and_new_programs_are_told_whole),
		cmocka_unit_test(a_parent_in_vfork_does_not_hold_anybody_up),
		cmocka_unit_test(an_inherited_descriptor_is_closed_where_it_went),
		cmocka_unit_test(kinds_have_names),
		cmocka_unit_test(auto_finds_one_and_says_why),
		cmocka_unit_test(soft_dirty_needs_a_way_to_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
