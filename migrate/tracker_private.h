/* What the files of the tracker share: the address spaces it knows, and what each kind of tracker does with one. */
#pragma once

#include "migrate/inject.h"
#include "migrate/memmap.h"
#include "migrate/tracker.h"
#include "runtime/sys/pagemap.h"

#define RT_TRACKER_REGIONS 4096

struct rt_digests;

/* An address space. */
struct rt_space {
	pid_t pid;
	uint64_t start_time; /* of the process: a pid used again is another one */
	pid_t parent;
	uint64_t seen; /* the last round in which the caller named it */
	bool told; /* whole, in a round before */

	int uffd; /* uffd-wp: -1: not watched */
	pid_t same_as; /* uffd-wp: told under this pid; 0: a space of its own */
	uint64_t retry_at; /* uffd-wp: the round in which to try again to inject */
	unsigned failures;

	struct rt_digests *digests; /* hash */
};

struct rt_tracker {
	const struct rt_tracker_kind_ops *ops;
	struct rt_tracker_pause pause;
	struct rt_space **spaces; /* in no order */
	size_t space_count;
	size_t space_room;
	uint64_t round; /* counts from 1 */
	unsigned flags; /* of this round */
	bool protects; /* uffd-wp: some space is or was watched */
	bool marks_stay; /* uffd-wp: this kernel leaves marks of protection behind */
	uint64_t opened_at; /* ticks since boot, as the start times of processes */
	struct rt_injector *injector; /* uffd-wp */
	void *secret; /* hash */
	struct rt_memmap map; /* of the space at hand */
	struct rt_sys_page_region regions[RT_TRACKER_REGIONS];
};

struct rt_tracker_kind_ops {
	enum rt_tracker_kind kind;
	const char *name;
	/* *ret_reason: a string constant, or NULL where it can be used. */
	void (*probe)(const char **ret_reason);
	struct rt_error *(*open)(struct rt_tracker *tracker);
	void (*close)(struct rt_tracker *tracker);
	/* tracker->map has been read, `pagemap` is the space's. */
	struct rt_error *(*scan)(struct rt_tracker *tracker, struct rt_space *space, int pagemap, struct rt_page_ranges *ranges,
				 struct rt_tracker_round *report);
	struct rt_error *(*sent)(struct rt_tracker *tracker, struct rt_space *space, uint64_t start, uint64_t pages, const void *data); /* may be NULL */
	void (*forget)(struct rt_space *space);
};

extern const struct rt_tracker_kind_ops rt_tracker_uffd, rt_tracker_soft_dirty, rt_tracker_hash;

/* To undo what was added since. */
struct rt_page_ranges_mark {
	size_t count;
	struct rt_page_range last;
};
struct rt_page_ranges_mark rt_page_ranges_mark(const struct rt_page_ranges *ranges);
void rt_page_ranges_rewind(struct rt_page_ranges *ranges, const struct rt_page_ranges_mark *mark);

/* A scan for private pages that have content: somewhere, not the zero page, not of the page cache. The last is asked only of mappings of files, because it makes the
 * kernel look at the page itself and not just at its entry in the page table: 10 times slower. */
struct rt_sys_page_scan rt_tracker_scan_for(uint64_t start, uint64_t end, bool file);
struct rt_sys_page_scan rt_tracker_scan_of(const struct rt_mapping *mapping);

/* Adds the private pages of a mapping that have content; with `only_dirty` those of them that are soft-dirty. On kernels before 6.7 this takes time for memory that
 * is only reserved, too, and the zero page is told. */
struct rt_error *rt_tracker_add_content(struct rt_tracker *tracker, pid_t pid, int pagemap, const struct rt_mapping *mapping, bool only_dirty,
					struct rt_page_ranges *ranges) _must_check_;

/* Adds what a scan of [start, end) finds, whatever the room for regions. Stops where the kernel refuses: *ret_result is then -errno, and what was found before
 * it has been added. */
struct rt_error *rt_tracker_add_scan(struct rt_tracker *tracker, pid_t pid, int pagemap, struct rt_sys_page_scan scan, struct rt_page_ranges *ranges,
				     int *ret_result) _must_check_;

/* soft-dirty, pure: adds of `count` entries of /proc/PID/pagemap, the first one of the page at `start`, those of private pages; with `only_dirty` those of them that
 * were written to. */
struct rt_error *rt_soft_dirty_select(pid_t pid, uint64_t start, const uint64_t *entries, size_t count, bool only_dirty, struct rt_page_ranges *ranges) _must_check_;
