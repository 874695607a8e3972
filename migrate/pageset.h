/* The memory that a target holds for containers that are to run here: for each address space, one flat set of pages, whichever round they came in.
 *
 * The pages are in a memfd, a page at the offset of its address: later ones overwrite earlier ones, and what is not there takes no room. Beside
 * it stands which pages are there, and which are known to be zero. Both are shared memory: the daemon, which stores what arrives, and the process that
 * serves the restored tasks (lazy.h) see the same sets, and either may die without the other.
 *
 * Storing is safe from several threads at once, for different pages. Nothing here knows HTTP, CRIU or userfaultfd. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

#define RT_PAGESET_PAGE 4096u
/* Addresses of user space are below this (x86-64 and arm64 with 4-level tables, and what containers get of 5-level ones). */
#define RT_PAGESET_ADDRESS_MAX (1ull << 47)

enum rt_page_state {
	RT_PAGE_ABSENT,
	RT_PAGE_ZERO, /* known to be zero */
	RT_PAGE_DATA,
	RT_PAGE_GONE, /* was there and has been handed over: rt_pageset_release() */
};

struct rt_pagesets; /* the sets of one migration */

/* `limit`: bytes of memory that data may take in all sets; storing more is an RT_PEER error. */
struct rt_error *rt_pagesets_new(uint64_t limit, struct rt_pagesets **ret) _must_check_;
void rt_pagesets_free(struct rt_pagesets *sets);

/* The same in files of a directory, which outlive us: it must be empty, on a tmpfs, and stay open until then. */
struct rt_error *rt_pagesets_new_in(int dir_fd, uint64_t limit, struct rt_pagesets **ret) _must_check_;
struct rt_error *rt_pagesets_open(int dir_fd, struct rt_pagesets **ret) _must_check_;

/* For another process: the descriptors that rt_pagesets_adopt() makes the same sets of, borrowed. Call when no set is added any more; *ret is malloc()ed. */
struct rt_error *rt_pagesets_descriptors(struct rt_pagesets *sets, int **ret, size_t *ret_count) _must_check_;
/* Takes the descriptors over, whatever happens. */
struct rt_error *rt_pagesets_adopt(const int *fds, size_t count, struct rt_pagesets **ret) _must_check_;

struct rt_pageset; /* one address space */

/* The set of this address space, made if it is not there. At most RT_PAGESETS_MAX. */
#define RT_PAGESETS_MAX 4096
struct rt_error *rt_pagesets_get(struct rt_pagesets *sets, uint64_t space, struct rt_pageset **ret) _must_check_;
/* NULL where there is none. */
struct rt_pageset *rt_pagesets_find(struct rt_pagesets *sets, uint64_t space);
/* Calls for each. */
void rt_pagesets_each(struct rt_pagesets *sets, void (*each)(void *userdata, uint64_t space, struct rt_pageset *set), void *userdata);

/* `start` and `size` (bytes) are page-aligned; RT_PEER where they are not, or outside of the address range. */
struct rt_error *rt_pageset_store(struct rt_pageset *set, uint64_t start, const void *data, uint64_t size) _must_check_;
struct rt_error *rt_pageset_store_zero(struct rt_pageset *set, uint64_t start, uint64_t size) _must_check_;

/* What is held of these pages is old: they are absent again. */
struct rt_error *rt_pageset_forget(struct rt_pageset *set, uint64_t start, uint64_t size) _must_check_;

/* The state of the page at `address`, and of how many pages from it on, at most `limit`, it is the same. */
enum rt_page_state rt_pageset_look(struct rt_pageset *set, uint64_t address, uint64_t limit, uint64_t *ret_pages);

/* The first address from `from` on that is not absent or gone; false: there is none. */
bool rt_pageset_next(struct rt_pageset *set, uint64_t from, uint64_t *ret);

/* Bytes of data pages to read; they must be RT_PAGE_DATA. */
struct rt_error *rt_pageset_load(struct rt_pageset *set, uint64_t start, void *buffer, uint64_t size) _must_check_;

/* The pages are handed over: their memory is given back, their state is RT_PAGE_GONE. */
void rt_pageset_release(struct rt_pageset *set, uint64_t start, uint64_t pages);

struct rt_pageset_usage {
	uint64_t data, zero; /* pages held */
	uint64_t stored; /* pages ever stored, repetitions included */
};
void rt_pagesets_usage(struct rt_pagesets *sets, struct rt_pageset_usage *ret);
