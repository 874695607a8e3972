/* Page tables of other processes: what is in /proc/PID/pagemap, read or scanned (PAGEMAP_SCAN, Linux 6.7), and clear_refs.
 *
 * Calls return 0 or more, or -errno: what the kernel refuses here is an answer that decides how to go on. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* linux/fs.h of Linux 6.7; older headers lack it. */
#define RT_PAGE_IS_WPALLOWED (1u << 0)
#define RT_PAGE_IS_WRITTEN (1u << 1)
#define RT_PAGE_IS_FILE (1u << 2)
#define RT_PAGE_IS_PRESENT (1u << 3)
#define RT_PAGE_IS_SWAPPED (1u << 4)
#define RT_PAGE_IS_PFNZERO (1u << 5)
#define RT_PAGE_IS_HUGE (1u << 6)
#define RT_PAGE_IS_SOFT_DIRTY (1u << 7)

#define RT_SCAN_PROTECT (1u << 0) /* write-protect again what matches and was written */
#define RT_SCAN_ONLY_PROTECTED (1u << 1) /* -EPERM where a mapping is not under asynchronous write-protection */

struct rt_sys_page_region {
	uint64_t start, end;
	uint64_t categories;
};

struct rt_sys_page_scan {
	uint64_t start, end; /* addresses; `start` is moved on to where the scan stopped */
	uint32_t flags; /* RT_SCAN_... */
	uint32_t inverted, all, any; /* RT_PAGE_IS_...: inverts these; then all of `all` and one of `any` must be there */
	uint64_t max_pages; /* stop after so many; 0: no limit */
	struct rt_sys_page_region *regions;
	uint32_t room;
};

/* O_CLOEXEC; the descriptor belongs to the address space that the process has now, not to the process. */
int rt_sys_pagemap_open(pid_t pid);

/* The number of regions. More may follow while scan->start < scan->end. */
int rt_sys_pagemap_scan(int fd, struct rt_sys_page_scan *scan);

/* Entries for `count` pages from `page` (a page number), made of these bits and others. The number of entries read, 0 at the end of the address
 * space. */
#define RT_PAGEMAP_PRESENT (1ull << 63)
#define RT_PAGEMAP_SWAPPED (1ull << 62)
#define RT_PAGEMAP_FILE (1ull << 61) /* of a file, or shared memory */
#define RT_PAGEMAP_SOFT_DIRTY (1ull << 55)
ssize_t rt_sys_pagemap_read(int fd, uint64_t page, uint64_t *entries, size_t count);

/* Begins soft-dirty tracking of a process anew. */
int rt_sys_clear_soft_dirty(pid_t pid);
