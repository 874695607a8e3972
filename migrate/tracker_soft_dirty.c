/* soft-dirty: the kernel marks pages that are written to after a write to /proc/PID/clear_refs, and new mappings as a whole.
 *
 * Looking and resetting are two steps, and what is written between them would be lost: so the tasks are paused for both, which takes about as long as
 * reading 8 bytes a page of address space. The zero page can't be told from others here: it is told, and the reader finds it zero. */
#include "migrate/tracker_private.h"

#include "runtime/base/log.h"

#include <sys/mman.h>

/* The mark of a page just written: there from the beginning where the kernel has it at all. */
static void probe(const char **ret_reason)
{
	_cleanup_close_ int pagemap = rt_sys_pagemap_open(getpid());
	uint64_t entry = 0;
	char *page;

	*ret_reason = NULL;
	if (sysconf(_SC_PAGESIZE) != RT_PAGE_SIZE) {
		*ret_reason = "soft-dirty: pages of this kernel are not 4 KiB";
		return;
	}
	page = mmap(NULL, RT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		*ret_reason = "soft-dirty: no memory to try it with";
		return;
	}
	*(volatile char *)page = 1;
	if (pagemap < 0)
		*ret_reason = "soft-dirty: /proc/PID/pagemap can't be opened";
	else if (rt_sys_pagemap_read(pagemap, (uintptr_t)page / RT_PAGE_SIZE, &entry, 1) != 1 || !(entry & RT_PAGEMAP_SOFT_DIRTY))
		*ret_reason = "soft-dirty: this kernel does not mark written pages (it is built without CONFIG_MEM_SOFT_DIRTY)";
	munmap(page, RT_PAGE_SIZE);
}

static struct rt_error *scan(struct rt_tracker *tracker, struct rt_space *space, int pagemap, struct rt_page_ranges *ranges, struct rt_tracker_round *report)
{
	struct rt_error *err = NULL;
	int result;

	for (size_t i = 0; !err && i < tracker->map.count; i++) {
		const struct rt_mapping *mapping = &tracker->map.mappings[i];

		if (!rt_mapping_is_private(mapping))
			continue;
		err = rt_tracker_add_content(tracker, space->pid, pagemap, mapping, space->told, ranges);
		report->scanned += mapping->end - mapping->start;
	}
	if (err || (tracker->flags & RT_ROUND_FROZEN))
		return err;
	result = rt_sys_clear_soft_dirty(space->pid);
	if (result < 0 && result != -ENOENT && result != -ESRCH)
		return rt_fail_with(-result, "cannot write '/proc/%d/clear_refs'", (int)space->pid);
	return NULL;
}

static void forget(struct rt_space *space)
{
}

const struct rt_tracker_kind_ops rt_tracker_soft_dirty = {
	.kind = RT_TRACKER_SOFT_DIRTY,
	.name = "soft-dirty",
	.probe = probe,
	.scan = scan,
	.forget = forget,
};
