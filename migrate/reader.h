/* Reads pages out of other address spaces while their tasks run, and tells those that hold only zeros.
 *
 * Does not decide which pages: see tracker.h. Uses process_vm_readv(2): no descriptor is kept, nothing is stopped. */
#pragma once

#include "migrate/tracker.h"

/* The most ranges and pages that one call takes. */
#define RT_READER_MAX_RANGES 1024
#define RT_READER_MAX_PAGES 16384

/* Reads the pages of `count` ranges, all of the same pid, one after the other into `buffer` (page-aligned is quickest), which has room for all of them.
 * Bit i of `present` (64 a word; room for all pages, rounded up) tells that page i was read; the pages of clear bits went away meanwhile (or can't be read),
 * and their place in the buffer has no meaning. *ret_read is the number of pages read; 0 where the process is gone. */
struct rt_error *rt_reader_read(const struct rt_page_range *ranges, size_t count, void *buffer, uint64_t *present, uint64_t *ret_read) _must_check_;

/* True where all RT_PAGE_SIZE bytes are zero. 8-byte aligned. */
bool rt_page_is_zero(const void *page);

static inline bool rt_reader_page_present(const uint64_t *present, uint64_t page)
{
	return present[page / 64] >> (page % 64) & 1;
}
