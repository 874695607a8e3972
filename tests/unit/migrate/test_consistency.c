/* A process changes its memory at random, in every way there is, while it is tracked and read in rounds into a copy. When it stands still at last, one more
 * round must make the copy the same as the original. */
#include "migrate/reader.h"
#include "migrate/tracker.h"
#include "tests/unit/migrate/victim.h"

#include <sys/syscall.h>
#include <sys/uio.h>

#define PAGES 2048u
#define ROUNDS 40

static unsigned next(unsigned *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

static void ignore(ssize_t result)
{
}

static void protect_for_a_moment(void *start, size_t size)
{
	if (mprotect(start, size, PROT_READ) == 0)
		ignore(mprotect(start, size, PROT_READ | PROT_WRITE));
}

/* Without end. A page here and there, holes, new mappings, moved ones, and protection that comes and goes. */
static long change_without_end(struct board *board, int command)
{
	unsigned state = (unsigned)command, protection = PROT_READ | PROT_WRITE;
	char *memory = board->memory;

	if (!command)
		return 0;
	for (uint64_t turn = 1;; turn++) {
		unsigned what = next(&state) % 1000, page = next(&state) % (PAGES - 64), count = next(&state) % 32 + 1;
		char *at = memory + (size_t)page * 4096;

		if (what < 4)
			madvise(at, count * 4096, MADV_DONTNEED);
		else if (what < 7)
			mmap(at, count * 4096, (int)protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		else if (what < 10)
			mremap(at, count * 4096, count * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, memory + (size_t)((page + 1024) % (PAGES - 64)) * 4096);
		else if (what < 12)
			protect_for_a_moment(at, count * 4096);
		else if (what < 16) /* holes are filled again, or nothing would be left */
			mmap(at, 32 * 4096, (int)protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		else if (what < 500) /* by the kernel: a hole is no fault */
			for (unsigned i = 0; i < 4; i++)
				ignore(process_vm_writev(getpid(), &(struct iovec){ &turn, 8 }, 1, &(struct iovec){ at + i * 1024, 8 }, 1, 0));
		else /* not by the C library's getrandom: from glibc 2.41 on it writes by itself, where the kernel lets it */
			ignore(syscall(SYS_getrandom, at, count * 8, 0));
		if (turn % 64 == 0)
			usleep(100);
	}
}

struct copy {
	unsigned char *pages;
	uint64_t start;
};

/* Puts what a round told into the copy. */
static void fetch(struct rt_tracker *tracker, const struct rt_page_ranges *ranges, struct copy *copy)
{
	static unsigned char buffer[4096] __attribute__((aligned(4096)));

	for (size_t i = 0; i < ranges->count; i++)
		for (uint64_t n = 0; n < ranges->ranges[i].pages; n++) {
			struct rt_page_range range = { ranges->ranges[i].pid, ranges->ranges[i].start + n * 4096, 1 };
			uint64_t present, read;

			assert_null(rt_reader_read(&range, 1, buffer, &present, &read));
			if (!read)
				continue;
			assert_null(rt_tracker_sent(tracker, range.pid, range.start, 1, buffer));
			if (range.start - copy->start < PAGES * 4096ull)
				memcpy(copy->pages + (range.start - copy->start), buffer, 4096);
		}
}

/* All pages with content must be in the copy as they are. */
static unsigned compare(pid_t pid, const struct copy *copy)
{
	static unsigned char buffer[4096] __attribute__((aligned(4096)));
	_cleanup_page_ranges_ struct rt_page_ranges ranges = { 0 };
	_cleanup_tracker_ struct rt_tracker *fresh = NULL;
	unsigned compared = 0;

	assert_null(rt_tracker_open(RT_TRACKER_HASH, NULL, &fresh));
	assert_null(rt_tracker_round(fresh, &pid, 1, RT_ROUND_FROZEN, &ranges, NULL));
	for (size_t i = 0; i < ranges.count; i++)
		for (uint64_t n = 0; n < ranges.ranges[i].pages; n++) {
			struct rt_page_range range = { pid, ranges.ranges[i].start + n * 4096, 1 };
			uint64_t present, read;

			if (range.start - copy->start >= PAGES * 4096ull)
				continue;
			assert_null(rt_reader_read(&range, 1, buffer, &present, &read));
			assert_int_equal(read, 1);
			assert_memory_equal(buffer, copy->pages + (range.start - copy->start), 4096);
			compared++;
		}
	return compared;
}

static void check(enum rt_tracker_kind kind)
{
	struct rt_page_ranges ranges = { 0 };
	struct rt_tracker *tracker = NULL;
	enum rt_tracker_kind usable_kind;
	struct victim victim;
	struct copy copy;
	uint64_t told_later = 0;
	char *reason;
	bool usable;

	assert_null(rt_tracker_probe(kind, &usable_kind, &usable, &reason));
	free(reason);
	if (!usable)
		return;
	for (int seed = 1; seed <= 3; seed++) {
		assert_null(rt_tracker_open(kind, NULL, &tracker));
		victim = victim_start(PAGES, change_without_end);
		copy = (struct copy){ .pages = calloc(PAGES, 4096), .start = (uintptr_t)victim.board->memory };
		atomic_store(&victim.board->command, seed);
		for (int i = 0; i < ROUNDS; i++) {
			struct rt_tracker_round report;

			ranges.count = 0;
			assert_null(rt_tracker_round(tracker, &victim.pid, 1, 0, &ranges, &report));
			assert_int_equal(report.spaces_whole, 0);
			told_later += i ? report.pages : 0;
			fetch(tracker, &ranges, &copy);
			usleep(1000);
		}
		kill(victim.pid, SIGSTOP);
		waitpid(victim.pid, NULL, WUNTRACED);
		ranges.count = 0;
		assert_null(rt_tracker_round(tracker, &victim.pid, 1, RT_ROUND_FROZEN, &ranges, NULL));
		fetch(tracker, &ranges, &copy);
		assert_true(compare(victim.pid, &copy) > 100);
		free(copy.pages);
		victim_end(&victim);
		rt_tracker_close(tracker);
	}
	/* It did change, and was not told as a whole each time. */
	assert_true(told_later > 3 * ROUNDS && told_later < 3ull * ROUNDS * PAGES * 9 / 10);
	rt_page_ranges_free(&ranges);
}

static void what_uffd_wp_tells_makes_a_true_copy(void **state)
{
	check(RT_TRACKER_UFFD_WP);
}

static void what_hash_tells_makes_a_true_copy(void **state)
{
	check(RT_TRACKER_HASH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_uffd_wp_tells_makes_a_true_copy),
		cmocka_unit_test(what_hash_tells_makes_a_true_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
