#include "migrate/pageset_private.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

static struct rt_error *check_range(uint64_t start, uint64_t size)
{
	if (start % RT_PAGESET_PAGE != 0 || size % RT_PAGESET_PAGE != 0 || start > RT_PAGESET_ADDRESS_MAX || size > RT_PAGESET_ADDRESS_MAX - start)
		return rt_fail(RT_PEER, "%#" PRIx64 " bytes at %#" PRIx64 " are no pages of an address space", size, start);
	return NULL;
}

/* Both bits of each of `count` pages from `first` on, within one word. */
static uint64_t word_mask(unsigned first, unsigned count)
{
	return (count == WORD_PAGES ? ~0ull : (1ull << (2 * count)) - 1) << (2 * first);
}

/* How many pages of the word, as far as `mask` goes, have this state. */
static unsigned count_state(uint64_t word, uint64_t mask, enum rt_page_state state)
{
	uint64_t differs = word ^ (LOW_BITS * state);

	return (unsigned)__builtin_popcountll(~(differs | differs >> 1) & LOW_BITS & mask);
}

static bool leaf_is_used(const struct rt_pageset *set, uint64_t leaf)
{
	if (!(atomic_load_explicit(&set->shared->top, memory_order_acquire) >> (leaf / 32768) & 1))
		return false;
	return atomic_load_explicit(&set->summary[leaf / 64], memory_order_acquire) >> (leaf % 64) & 1;
}

/* Adds to the bytes in use. */
static struct rt_error *reserve(struct rt_pageset *set, uint64_t bytes)
{
	uint64_t before = atomic_fetch_add(&set->control->used, bytes);

	if (before + bytes <= set->control->limit)
		return NULL;
	atomic_fetch_sub(&set->control->used, bytes);
	return rt_fail(RT_PEER, "the pages take more than the %" PRIu64 " bytes of memory allowed for them", set->control->limit);
}

/* Makes the states of these pages writable. */
static struct rt_error *use_leaves(struct rt_pageset *set, uint64_t page, uint64_t pages)
{
	for (uint64_t leaf = page / LEAF_PAGES; leaf <= (page + pages - 1) / LEAF_PAGES; leaf++) {
		struct rt_error *err;

		if (leaf_is_used(set, leaf))
			continue;
		err = reserve(set, RT_PAGESET_PAGE);
		if (err)
			return err;
		/* Another thread may have done so just now. */
		if (atomic_fetch_or(&set->summary[leaf / 64], 1ull << (leaf % 64)) >> (leaf % 64) & 1)
			atomic_fetch_sub(&set->control->used, RT_PAGESET_PAGE);
		atomic_fetch_or(&set->shared->top, 1ull << (leaf / 32768));
	}
	return NULL;
}

struct change {
	uint64_t data, zero; /* pages that had this state before */
};

/* Sets the states, and tells what they were. With `only`, nothing but pages that are held changes. */
static struct change set_states(struct rt_pageset *set, uint64_t page, uint64_t pages, enum rt_page_state state, bool only_held)
{
	struct change change = { 0 };
	uint64_t end = page + pages;

	while (page < end) {
		unsigned first = (unsigned)(page % WORD_PAGES);
		unsigned count = end - page < WORD_PAGES - first ? (unsigned)(end - page) : WORD_PAGES - first;
		uint64_t mask = word_mask(first, count), old, wanted;

		if (only_held && !leaf_is_used(set, page / LEAF_PAGES)) {
			page = (page / LEAF_PAGES + 1) * LEAF_PAGES;
			continue;
		}
		old = atomic_load_explicit(&set->states[page / WORD_PAGES], memory_order_relaxed);
		do {
			uint64_t change_mask = mask;

			/* ZERO and DATA are those with just one of the two bits. */
			if (only_held)
				change_mask &= ((old ^ old >> 1) & LOW_BITS) * 3;
			wanted = (old & ~change_mask) | (LOW_BITS * state & change_mask);
		} while (wanted != old && !atomic_compare_exchange_weak(&set->states[page / WORD_PAGES], &old, wanted));
		change.data += count_state(old, mask, RT_PAGE_DATA);
		change.zero += count_state(old, mask, RT_PAGE_ZERO);
		page += count;
	}
	return change;
}

static uint64_t count_data(struct rt_pageset *set, uint64_t page, uint64_t pages)
{
	uint64_t end = page + pages, found = 0;

	while (page < end) {
		unsigned first = (unsigned)(page % WORD_PAGES);
		unsigned count = end - page < WORD_PAGES - first ? (unsigned)(end - page) : WORD_PAGES - first;

		found += count_state(atomic_load(&set->states[page / WORD_PAGES]), word_mask(first, count), RT_PAGE_DATA);
		page += count;
	}
	return found;
}

/* After an error half way the new bytes may stand beside a state from before. The migration has failed then. */
static struct rt_error *write_pages(struct rt_pageset *set, uint64_t start, const uint8_t *data, uint64_t size)
{
	while (size > 0) {
		ssize_t done = pwrite(set->fd, data, size, (off_t)start);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return rt_fail_errno("cannot keep pages at %#" PRIx64, start);
		start += (uint64_t)done;
		data += done;
		size -= (uint64_t)done;
	}
	return NULL;
}

static void give_back(struct rt_pageset *set, uint64_t start, uint64_t size)
{
	/* Where it fails the memory is kept until the set is freed, no more. */
	if (fallocate(set->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)size) < 0)
		return;
}

struct rt_error *rt_pageset_store(struct rt_pageset *set, uint64_t start, const void *data, uint64_t size)
{
	uint64_t page = start / RT_PAGESET_PAGE, pages = size / RT_PAGESET_PAGE, fresh;
	struct control *control = set->control;
	struct rt_error *err = check_range(start, size);
	struct change change;

	if (err || size == 0)
		return err;
	err = use_leaves(set, page, pages);
	if (err)
		return err;
	fresh = pages - count_data(set, page, pages);
	err = reserve(set, fresh * RT_PAGESET_PAGE);
	if (err)
		return err;
	err = write_pages(set, start, data, size);
	if (err) {
		atomic_fetch_sub(&control->used, fresh * RT_PAGESET_PAGE);
		return err;
	}
	change = set_states(set, page, pages, RT_PAGE_DATA, false);
	/* Two threads that store the same page, against the rule, both reserved for it. */
	atomic_fetch_add(&control->used, (pages - change.data - fresh) * RT_PAGESET_PAGE);
	atomic_fetch_add(&control->data, pages - change.data);
	atomic_fetch_sub(&control->zero, change.zero);
	atomic_fetch_add(&control->stored, pages);
	return NULL;
}

struct rt_error *rt_pageset_store_zero(struct rt_pageset *set, uint64_t start, uint64_t size)
{
	uint64_t page = start / RT_PAGESET_PAGE, pages = size / RT_PAGESET_PAGE;
	struct control *control = set->control;
	struct rt_error *err = check_range(start, size);
	struct change change;

	if (err || size == 0)
		return err;
	err = use_leaves(set, page, pages);
	if (err)
		return err;
	change = set_states(set, page, pages, RT_PAGE_ZERO, false);
	if (change.data > 0)
		give_back(set, start, size);
	atomic_fetch_sub(&control->used, change.data * RT_PAGESET_PAGE);
	atomic_fetch_sub(&control->data, change.data);
	atomic_fetch_add(&control->zero, pages - change.zero);
	atomic_fetch_add(&control->stored, pages);
	return NULL;
}

static void drop(struct rt_pageset *set, uint64_t page, uint64_t pages, enum rt_page_state state)
{
	struct control *control = set->control;
	struct change change = set_states(set, page, pages, state, true);

	if (change.data > 0)
		give_back(set, page * RT_PAGESET_PAGE, pages * RT_PAGESET_PAGE);
	atomic_fetch_sub(&control->used, change.data * RT_PAGESET_PAGE);
	atomic_fetch_sub(&control->data, change.data);
	atomic_fetch_sub(&control->zero, change.zero);
}

void rt_pageset_release(struct rt_pageset *set, uint64_t start, uint64_t pages)
{
	uint64_t page = start / RT_PAGESET_PAGE;

	if (page >= ALL_PAGES || pages == 0)
		return;
	drop(set, page, pages > ALL_PAGES - page ? ALL_PAGES - page : pages, RT_PAGE_GONE);
}

struct rt_error *rt_pageset_forget(struct rt_pageset *set, uint64_t start, uint64_t size)
{
	struct rt_error *err = check_range(start, size);

	if (!err && size > 0)
		drop(set, start / RT_PAGESET_PAGE, size / RT_PAGESET_PAGE, RT_PAGE_ABSENT);
	return err;
}

enum rt_page_state rt_pageset_look(struct rt_pageset *set, uint64_t address, uint64_t limit, uint64_t *ret_pages)
{
	enum rt_page_state state = RT_PAGE_ABSENT;
	uint64_t first = address / RT_PAGESET_PAGE, page = first, end;
	bool known = false;

	if (first >= ALL_PAGES) {
		*ret_pages = limit;
		return RT_PAGE_ABSENT;
	}
	end = limit < ALL_PAGES - first ? first + limit : ALL_PAGES;
	while (page < end) {
		uint64_t word, differs;
		unsigned shift;

		if (!leaf_is_used(set, page / LEAF_PAGES)) {
			if (known && state != RT_PAGE_ABSENT)
				break;
			known = true;
			page = (page / LEAF_PAGES + 1) * LEAF_PAGES;
			continue;
		}
		shift = 2 * (unsigned)(page % WORD_PAGES);
		word = atomic_load_explicit(&set->states[page / WORD_PAGES], memory_order_acquire) >> shift;
		if (!known)
			state = (enum rt_page_state)(word & 3);
		known = true;
		differs = (word ^ (LOW_BITS * state)) & (~0ull >> shift);
		if (differs != 0) {
			page += (unsigned)__builtin_ctzll(differs) / 2;
			break;
		}
		page += WORD_PAGES - shift / 2;
	}
	*ret_pages = (page < end ? page : end) - first;
	return state;
}

/* The first leaf from `leaf` on that is used; LEAVES: there is none. */
static uint64_t next_leaf(const struct rt_pageset *set, uint64_t leaf)
{
	uint64_t top = atomic_load_explicit(&set->shared->top, memory_order_acquire);

	while (leaf < LEAVES) {
		uint64_t word;

		if (!(top >> (leaf / 32768) & 1)) {
			leaf = (leaf / 32768 + 1) * 32768;
			continue;
		}
		word = atomic_load_explicit(&set->summary[leaf / 64], memory_order_acquire) >> (leaf % 64);
		if (word != 0)
			return leaf + (unsigned)__builtin_ctzll(word);
		leaf = (leaf / 64 + 1) * 64;
	}
	return LEAVES;
}

bool rt_pageset_next(struct rt_pageset *set, uint64_t from, uint64_t *ret)
{
	uint64_t page = from / RT_PAGESET_PAGE + (from % RT_PAGESET_PAGE != 0);

	while (page < ALL_PAGES) {
		uint64_t leaf = next_leaf(set, page / LEAF_PAGES), end;

		if (leaf == LEAVES)
			return false;
		if (leaf != page / LEAF_PAGES)
			page = leaf * LEAF_PAGES;
		end = (leaf + 1) * LEAF_PAGES;
		while (page < end) {
			uint64_t word = atomic_load_explicit(&set->states[page / WORD_PAGES], memory_order_acquire) >> (2 * (page % WORD_PAGES));

			/* One of the two bits: ZERO or DATA. */
			word = (word ^ word >> 1) & LOW_BITS;
			if (word != 0) {
				*ret = (page + (unsigned)__builtin_ctzll(word) / 2) * RT_PAGESET_PAGE;
				return true;
			}
			page = (page / WORD_PAGES + 1) * WORD_PAGES;
		}
	}
	return false;
}

struct rt_error *rt_pageset_load(struct rt_pageset *set, uint64_t start, void *buffer, uint64_t size)
{
	uint8_t *to = buffer;

	while (size > 0) {
		ssize_t done = pread(set->fd, to, size, (off_t)start);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? rt_fail_errno("cannot read pages at %#" PRIx64, start) :
					  rt_fail(RT_SYSTEM, "cannot read pages at %#" PRIx64 ": beyond the end", start);
		start += (uint64_t)done;
		to += done;
		size -= (uint64_t)done;
	}
	return NULL;
}
