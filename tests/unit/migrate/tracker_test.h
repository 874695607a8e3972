/* Rounds over one child process, for the tests of the tracker. */
#pragma once

#include "migrate/memmap.h"
#include "migrate/reader.h"
#include "migrate/tracker.h"
#include "tests/unit/migrate/victim.h"

#include <dirent.h>
#include <stdio.h>

#define PAGES 64

/* A round of one process. */
static inline struct rt_tracker_round look(struct rt_tracker *tracker, pid_t pid, unsigned flags, struct rt_page_ranges *ranges)
{
	struct rt_tracker_round report;

	ranges->count = 0;
	assert_null(rt_tracker_round(tracker, &pid, 1, flags, ranges, &report));
	return report;
}

/* Tells a hash tracker that all of it was sent. */
static inline void send_all(struct rt_tracker *tracker, const struct rt_page_ranges *ranges)
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

/* NULL where the machine can't: then the test says so and returns (meson takes the skip() of cmocka for a failure). */
static inline struct rt_tracker *open_kind(enum rt_tracker_kind kind)
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

static inline char *page_at(const struct victim *victim, size_t page)
{
	return (char *)victim->board->memory + page * RT_PAGE_SIZE;
}

static inline size_t watched_mappings(pid_t pid)
{
	size_t count;

	assert_null(rt_memmap_count_flag(pid, "uw", &count));
	return count;
}

static inline int uffds_of(pid_t pid)
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
