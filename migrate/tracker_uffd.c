/* uffd-wp: a userfaultfd of each address space, put there by an injection, with asynchronous write-protection: the kernel itself lifts the protection of
 * a page at the first write, and PAGEMAP_SCAN finds what was written and protects it again in one step.
 *
 * What is watched is asked of the kernel in every scan, never remembered: a scan of a mapping that is not watched (new, moved by mremap, of a
 * program that an execve started) is refused with EPERM, and then the whole mapping counts as changed. Mappings without private pages are not watched: most
 * are code of libraries, and watching would make their page faults dearer. */
#include "migrate/tracker_private.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/sys/peek.h"
#include "runtime/sys/ptrace.h"
#include "runtime/sys/uffd.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* A task that can't be injected is asked again after 1, 2, 4, ... rounds, 64 at most. */
#define MOST_FAILURES 6

enum verdict {
	TOLD,
	LOST, /* the descriptor belongs to another address space, or one that is gone */
	BUSY, /* another descriptor watches here */
};

/* A scan of one space. */
struct look {
	struct rt_tracker *tracker;
	struct rt_space *space;
	int pagemap;
	struct rt_page_ranges *ranges;
	unsigned watched, refused; /* mappings in which the kernel knew our protection, or did not though we had just asked for it */
};

/* ---- can it be done here ---- */

static const char *try_on_page(int fd, int pagemap, volatile char *page)
{
	uint64_t start = (uintptr_t)page;
	struct rt_sys_page_region region;
	struct rt_sys_page_scan scan = rt_tracker_scan_for(start, start + RT_PAGE_SIZE, true);
	/* Written, untouched, written. */
	const int expected[] = { 1, 0, 1 };

	scan.flags = RT_SCAN_PROTECT | RT_SCAN_ONLY_PROTECTED;
	scan.all |= RT_PAGE_IS_WRITTEN;
	scan.regions = &region;
	scan.room = 1;
	*page = 1;
	if (rt_sys_uffd_watch(fd, start, start + RT_PAGE_SIZE) < 0)
		return "uffd-wp: this kernel can't write-protect memory asynchronously (Linux 6.7 can)";
	for (size_t i = 0; i < RT_ARRAY_SIZE(expected); i++) {
		if (i == 2)
			*page = 2;
		scan.start = start;
		if (rt_sys_pagemap_scan(pagemap, &scan) != expected[i])
			return "uffd-wp: this kernel's PAGEMAP_SCAN does not tell written pages (Linux 6.7's does)";
	}
	return NULL;
}

/* Before Linux 6.13 mremap() carries the marks of protected pages along, though not the protection (and before 6.9 they stay where a descriptor is closed): when
 * such memory is watched again, these pages would never count as written. Later kernels are spared the time that wiping them takes. */
static bool marks_stay(int fd, int pagemap)
{
	size_t size = 2 * RT_PAGE_SIZE;
	struct rt_sys_page_region region;
	struct rt_sys_page_scan scan;
	char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *moved;
	bool stay = true;

	if (page == MAP_FAILED)
		return true;
	*(volatile char *)page = 1;
	scan = rt_tracker_scan_for((uintptr_t)page, (uintptr_t)page + RT_PAGE_SIZE, false);
	scan.flags = RT_SCAN_PROTECT | RT_SCAN_ONLY_PROTECTED;
	scan.regions = &region;
	scan.room = 1;
	if (rt_sys_uffd_watch(fd, scan.start, scan.end) == 0 && rt_sys_pagemap_scan(pagemap, &scan) == 1) {
		moved = mremap(page, RT_PAGE_SIZE, RT_PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, page + RT_PAGE_SIZE);
		scan.start = (uintptr_t)moved;
		scan.end = scan.start + RT_PAGE_SIZE;
		scan.flags = 0;
		scan.all |= RT_PAGE_IS_WRITTEN;
		stay = moved == MAP_FAILED || rt_sys_pagemap_scan(pagemap, &scan) != 1;
	}
	munmap(page, size);
	return stay;
}

static void probe(const char **ret_reason)
{
	_cleanup_close_ int fd = rt_sys_uffd_open();
	_cleanup_close_ int pagemap = rt_sys_pagemap_open(getpid());
	void *page;

	*ret_reason = NULL;
	if (!RT_SYS_TRACE_CALLS)
		*ret_reason = "uffd-wp: not known for this processor";
	else if (sysconf(_SC_PAGESIZE) != RT_PAGE_SIZE)
		*ret_reason = "uffd-wp: pages of this kernel are not 4 KiB";
	else if (fd < 0)
		*ret_reason = fd == -ENOSYS ? "uffd-wp: this kernel has no userfaultfd" : "uffd-wp: userfaultfd is not allowed here";
	else if (rt_sys_uffd_enable(fd) < 0)
		*ret_reason = "uffd-wp: this kernel can't write-protect memory asynchronously (Linux 6.7 can)";
	else if (pagemap < 0)
		*ret_reason = "uffd-wp: /proc/PID/pagemap can't be opened";
	if (*ret_reason)
		return;
	page = mmap(NULL, RT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		*ret_reason = "uffd-wp: no memory to try it with";
		return;
	}
	*ret_reason = try_on_page(fd, pagemap, page);
	munmap(page, RT_PAGE_SIZE);
}

/* ---- one mapping ---- */

static struct rt_error *tell_whole(struct look *look, const struct rt_mapping *mapping)
{
	int result;

	return rt_tracker_add_scan(look->tracker, look->space->pid, look->pagemap, rt_tracker_scan_of(mapping), look->ranges, &result);
}

static bool has_pages(struct look *look, const struct rt_mapping *mapping)
{
	struct rt_sys_page_region region;
	struct rt_sys_page_scan scan = rt_tracker_scan_of(mapping);

	scan.max_pages = 1;
	scan.regions = &region;
	scan.room = 1;
	return rt_sys_pagemap_scan(look->pagemap, &scan) > 0;
}

/* Not watched, or not all of it. All its pages are told, whatever the kernel says of them: part of them may have been protected before the refusal. */
static struct rt_error *begin_watching(struct look *look, const struct rt_mapping *mapping, enum verdict *ret)
{
	struct rt_sys_page_scan scan = rt_tracker_scan_of(mapping);
	struct rt_page_ranges_mark mark = rt_page_ranges_mark(look->ranges);
	struct rt_error *err;
	int result;

	if (!has_pages(look, mapping))
		return NULL;
	if (look->tracker->flags & RT_ROUND_FROZEN)
		return tell_whole(look, mapping);
	result = rt_sys_uffd_watch(look->space->uffd, mapping->start, mapping->end);
	if (result == -EBUSY || result == -ENOMEM || result == -ESRCH) {
		*ret = result == -EBUSY ? BUSY : LOST;
		return tell_whole(look, mapping);
	}
	if (result < 0) /* gone or cut meanwhile, or of a kind that can't be protected */
		return tell_whole(look, mapping);
	if (look->tracker->marks_stay)
		rt_sys_uffd_unprotect(look->space->uffd, mapping->start, mapping->end);
	scan.flags = RT_SCAN_PROTECT | RT_SCAN_ONLY_PROTECTED;
	err = rt_tracker_add_scan(look->tracker, look->space->pid, look->pagemap, scan, look->ranges, &result);
	if (err || result == 0) {
		look->watched++;
		return err;
	}
	look->refused++;
	rt_page_ranges_rewind(look->ranges, &mark);
	return tell_whole(look, mapping);
}

static struct rt_error *look_at_mapping(struct look *look, const struct rt_mapping *mapping, enum verdict *ret)
{
	bool frozen = look->tracker->flags & RT_ROUND_FROZEN;
	struct rt_sys_page_scan scan = rt_tracker_scan_of(mapping);
	struct rt_page_ranges_mark mark = rt_page_ranges_mark(look->ranges);
	struct rt_error *err;
	int result;

	*ret = TOLD;
	if (look->space->uffd < 0)
		return tell_whole(look, mapping);
	scan.all |= RT_PAGE_IS_WRITTEN;
	scan.flags = RT_SCAN_ONLY_PROTECTED | (frozen ? 0 : RT_SCAN_PROTECT);
	err = rt_tracker_add_scan(look->tracker, look->space->pid, look->pagemap, scan, look->ranges, &result);
	if (err || result == 0) {
		look->watched++;
		return err;
	}
	rt_page_ranges_rewind(look->ranges, &mark);
	return begin_watching(look, mapping, ret);
}

/* ---- one address space ---- */

static void stop_watching(struct rt_space *space)
{
	if (space->uffd >= 0)
		close(space->uffd);
	space->uffd = -1;
}

/* A process that was forked by another thread in the microseconds of an injection has a copy of that descriptor. */
static void close_inherited(struct rt_tracker *tracker, const struct rt_space *space)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	char path[48], link[40];

	if (!tracker->protects || space->start_time < tracker->opened_at)
		return;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)space->pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
		struct rt_injection injection;
		bool ours = false;

		link[length > 0 ? length : 0] = '\0';
		if (!rt_str_equal(link, "anon_inode:[userfaultfd]"))
			continue;
		for (size_t i = 0; !ours && i < tracker->space_count; i++)
			ours = tracker->spaces[i]->uffd >= 0 && rt_sys_peek_same_file(space->pid, atoi(entry->d_name), tracker->spaces[i]->uffd) == 1;
		if (ours) {
			rt_debug("process %d inherited a userfaultfd of ours: closing it there", (int)space->pid);
			rt_warn_ignored(rt_injector_close_fd(tracker->injector, space->pid, atoi(entry->d_name), &injection));
		}
	}
}

static void postpone(const struct rt_tracker *tracker, struct rt_space *space)
{
	space->failures += space->failures < MOST_FAILURES;
	space->retry_at = tracker->round + (1u << space->failures) / 2;
}

static struct rt_error *inject(struct rt_tracker *tracker, struct rt_space *space, struct rt_tracker_round *report)
{
	struct rt_injection injection;
	struct rt_error *err;

	if ((tracker->flags & RT_ROUND_FROZEN) || tracker->round < space->retry_at)
		return NULL;
	close_inherited(tracker, space);
	err = rt_injector_get(tracker->injector, space->pid, &injection);
	if (err)
		return err;
	report->stopped_microseconds += injection.stopped_us;
	space->uffd = injection.fd;
	if (injection.fd >= 0) {
		tracker->protects = true;
		rt_debug("process %d is watched: stopped for %u us, of that %u us with other registers", (int)space->pid, injection.stopped_us,
			 injection.altered_us);
		return NULL;
	}
	postpone(tracker, space);
	if (!injection.gone)
		rt_debug("process %d %s: its memory is told whole", (int)space->pid, injection.reason);
	return NULL;
}

static bool is_same(const struct rt_tracker *tracker, const struct rt_space *space, const struct rt_space *other)
{
	return other != space && !other->same_as && other->seen == tracker->round && rt_sys_peek_same_memory(space->pid, other->pid) == 1;
}

/* Do two processes share one address space? `pid` is one to compare with, 0: all that are watched. */
static void find_same(const struct rt_tracker *tracker, struct rt_space *space, pid_t pid)
{
	space->same_as = 0;
	for (size_t i = 0; i < tracker->space_count && !space->same_as; i++) {
		const struct rt_space *other = tracker->spaces[i];

		if ((pid ? other->pid == pid : other->uffd >= 0) && is_same(tracker, space, other))
			space->same_as = other->pid;
	}
}

static struct rt_error *look_at_mappings(struct look *look, struct rt_tracker_round *report, enum verdict *ret)
{
	struct rt_error *err = NULL;

	*ret = TOLD;
	for (size_t i = 0; !err && i < look->tracker->map.count; i++) {
		const struct rt_mapping *mapping = &look->tracker->map.mappings[i];
		enum verdict verdict;

		if (!rt_mapping_is_private(mapping))
			continue;
		err = look_at_mapping(look, mapping, &verdict);
		report->scanned += mapping->end - mapping->start;
		if (verdict != TOLD)
			*ret = verdict;
		if (verdict == LOST)
			return err;
	}
	/* The process has another address space now, while ours lives on elsewhere (the parent of a vfork). */
	if (look->refused && !look->watched)
		*ret = LOST;
	return err;
}

static struct rt_error *scan(struct rt_tracker *tracker, struct rt_space *space, int pagemap, struct rt_page_ranges *ranges, struct rt_tracker_round *report)
{
	struct rt_page_ranges_mark mark = rt_page_ranges_mark(ranges);
	struct look look = { .tracker = tracker, .space = space, .pagemap = pagemap, .ranges = ranges };
	struct rt_error *err = NULL;
	enum verdict verdict;

	/* A child between vfork and execve; or one that was found to be like that before. */
	if (space->same_as || space->uffd < 0)
		find_same(tracker, space, space->same_as ? space->same_as : space->parent);
	if (space->same_as)
		return NULL;
	if (space->uffd < 0)
		err = inject(tracker, space, report);
	if (!err)
		err = look_at_mappings(&look, report, &verdict);
	if (!err && verdict == LOST) {
		/* An execve: everything is new. What could not be watched now is told whole, and the next round tries again. */
		stop_watching(space);
		report->spaces_new += space->told;
		rt_page_ranges_rewind(ranges, &mark);
		err = inject(tracker, space, report);
		if (!err)
			err = look_at_mappings(&look, report, &verdict);
		if (!err && verdict == LOST) {
			stop_watching(space);
			postpone(tracker, space);
		}
	}
	if (!err && verdict == BUSY) {
		find_same(tracker, space, 0);
		if (space->same_as) {
			stop_watching(space);
			rt_page_ranges_rewind(ranges, &mark);
		}
	}
	report->spaces_whole += space->uffd < 0 && !space->same_as;
	return err;
}

static struct rt_error *open_injector(struct rt_tracker *tracker)
{
	_cleanup_close_ int fd = rt_sys_uffd_open();
	_cleanup_close_ int pagemap = rt_sys_pagemap_open(getpid());

	tracker->marks_stay = fd < 0 || pagemap < 0 || rt_sys_uffd_enable(fd) < 0 || marks_stay(fd, pagemap);
	return rt_injector_open(&tracker->injector);
}

static void close_injector(struct rt_tracker *tracker)
{
	rt_injector_close(tracker->injector);
}

const struct rt_tracker_kind_ops rt_tracker_uffd = {
	.kind = RT_TRACKER_UFFD_WP,
	.name = "uffd-wp",
	.probe = probe,
	.open = open_injector,
	.close = close_injector,
	.scan = scan,
	.forget = stop_watching,
};
