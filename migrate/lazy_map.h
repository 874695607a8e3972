/* Which pages of a task are still to be put in place, and where: what lazy.h knows of one address space that changes under its hands. Pure.
 *
 * The pages that the images list are numbered through, lowest address first. A map says at which address each piece of that numbering is
 * now, and which of its pages are done; mremap() moves pieces, munmap() and madvise() cut them out, fork() copies the map. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

#define RT_LAZY_PAGE 4096u

struct rt_lazy_range {
	uint64_t start, end; /* addresses */
	uint64_t index; /* number of the first page */
};

struct rt_lazy_map {
	struct rt_lazy_range *ranges; /* by address; without overlaps */
	size_t count, room;
	uint64_t *done; /* a bit a page */
	uint64_t pages, left; /* in all; not done */
};

/* `ranges` are copied; `pages` is the sum of them. */
struct rt_error *rt_lazy_map_init(struct rt_lazy_map *map, const struct rt_lazy_range *ranges, size_t count, uint64_t pages) _must_check_;
struct rt_error *rt_lazy_map_copy(struct rt_lazy_map *map, const struct rt_lazy_map *from) _must_check_;
void rt_lazy_map_deinit(struct rt_lazy_map *map);

/* The range with this address, or the first one after it; NULL: there is none. */
const struct rt_lazy_range *rt_lazy_map_find(const struct rt_lazy_map *map, uint64_t address);

/* Where page `index` is now; false: nowhere any more. `hint` is an address to look at first. */
bool rt_lazy_map_where(const struct rt_lazy_map *map, uint64_t index, uint64_t hint, uint64_t *ret);

bool rt_lazy_map_is_done(const struct rt_lazy_map *map, uint64_t index);
void rt_lazy_map_mark(struct rt_lazy_map *map, uint64_t index, uint64_t pages);

struct rt_lazy_run {
	uint64_t address, index, pages;
};
/* The first page from `from` on that is not done, and how many follow it without a gap, at most `limit`; false: there is none. */
bool rt_lazy_map_next(const struct rt_lazy_map *map, uint64_t from, uint64_t limit, struct rt_lazy_run *ret);

/* The run around the page at `address`, which must not be done, within the aligned block of `block` pages around it. */
void rt_lazy_map_around(const struct rt_lazy_map *map, const struct rt_lazy_range *range, uint64_t address, uint64_t block, struct rt_lazy_run *ret);

/* What was at these addresses is no more: it is done, and not in the map. */
struct rt_error *rt_lazy_map_cut(struct rt_lazy_map *map, uint64_t start, uint64_t end) _must_check_;
/* What was at `from` is at `to` now. */
struct rt_error *rt_lazy_map_move(struct rt_lazy_map *map, uint64_t from, uint64_t to, uint64_t size) _must_check_;
