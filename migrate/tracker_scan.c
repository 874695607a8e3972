/* Finding private pages that have content: by PAGEMAP_SCAN, or on kernels before 6.7 by reading /proc/PID/pagemap. */
#include "migrate/tracker_private.h"

/* Read at once; on the stack. */
#define ENTRIES 4096

struct rt_sys_page_scan rt_tracker_scan_for(uint64_t start, uint64_t end, bool file)
{
	uint32_t not = RT_PAGE_IS_PFNZERO | (file ? RT_PAGE_IS_FILE : 0);

	return (struct rt_sys_page_scan){ .start = start, .end = end, .inverted = not, .all = not, .any = RT_PAGE_IS_PRESENT | RT_PAGE_IS_SWAPPED };
}

struct rt_sys_page_scan rt_tracker_scan_of(const struct rt_mapping *mapping)
{
	return rt_tracker_scan_for(mapping->start, mapping->end, mapping->file);
}

struct rt_error *rt_tracker_add_scan(struct rt_tracker *tracker, pid_t pid, int pagemap, struct rt_sys_page_scan scan, struct rt_page_ranges *ranges,
				     int *ret_result)
{
	struct rt_error *err;

	scan.regions = tracker->regions;
	scan.room = RT_TRACKER_REGIONS;
	*ret_result = 0;
	while (scan.start < scan.end) {
		uint64_t before = scan.start;
		int found = rt_sys_pagemap_scan(pagemap, &scan);

		if (found < 0) {
			*ret_result = found;
			return NULL;
		}
		for (int i = 0; i < found; i++) {
			const struct rt_sys_page_region *region = &tracker->regions[i];

			err = rt_page_ranges_add(ranges, pid, region->start, (region->end - region->start) / RT_PAGE_SIZE);
			if (err)
				return err;
		}
		/* Room was left: that was all, whatever the kernel says of where it stopped. (Up to 6.18 it tells, of a scan that found more than 512 regions, where
		 * it stopped in between; going on there would tell pages twice.) Or the address space ended while we looked at it. */
		if (found < RT_TRACKER_REGIONS || scan.start == before)
			return NULL;
	}
	return NULL;
}

struct rt_error *rt_soft_dirty_select(pid_t pid, uint64_t start, const uint64_t *entries, size_t count, bool only_dirty, struct rt_page_ranges *ranges)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t entry = entries[i];
		struct rt_error *err;

		if (!(entry & (RT_PAGEMAP_PRESENT | RT_PAGEMAP_SWAPPED)) || (entry & RT_PAGEMAP_FILE) || (only_dirty && !(entry & RT_PAGEMAP_SOFT_DIRTY)))
			continue;
		err = rt_page_ranges_add(ranges, pid, start + i * RT_PAGE_SIZE, 1);
		if (err)
			return err;
	}
	return NULL;
}

static struct rt_error *read_content(pid_t pid, int pagemap, const struct rt_mapping *mapping, bool only_dirty, struct rt_page_ranges *ranges)
{
	uint64_t entries[ENTRIES];

	for (uint64_t at = mapping->start; at < mapping->end;) {
		uint64_t pages = (mapping->end - at) / RT_PAGE_SIZE;
		ssize_t got = rt_sys_pagemap_read(pagemap, at / RT_PAGE_SIZE, entries, pages < ENTRIES ? pages : ENTRIES);
		struct rt_error *err;

		if (got < 0)
			return rt_fail_with((int)-got, "cannot read '/proc/%d/pagemap'", (int)pid);
		if (got == 0) /* the process has ended */
			return NULL;
		err = rt_soft_dirty_select(pid, at, entries, (size_t)got, only_dirty, ranges);
		if (err)
			return err;
		at += (uint64_t)got * RT_PAGE_SIZE;
	}
	return NULL;
}

struct rt_error *rt_tracker_add_content(struct rt_tracker *tracker, pid_t pid, int pagemap, const struct rt_mapping *mapping, bool only_dirty,
					struct rt_page_ranges *ranges)
{
	struct rt_sys_page_scan scan = rt_tracker_scan_of(mapping);
	struct rt_page_ranges_mark mark = rt_page_ranges_mark(ranges);
	struct rt_error *err;
	int result;

	scan.all |= only_dirty ? RT_PAGE_IS_SOFT_DIRTY : 0;
	err = rt_tracker_add_scan(tracker, pid, pagemap, scan, ranges, &result);
	if (err || result == 0)
		return err;
	rt_page_ranges_rewind(ranges, &mark);
	return read_content(pid, pagemap, mapping, only_dirty, ranges);
}
