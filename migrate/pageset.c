#include "migrate/pageset.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Three layers tell what is there, each so that the one below need not be touched where nothing is:
 *
 *	top	one word a set, in the control memfd: a bit for each 4 KiB of the summary
 *	summary	256 KiB a set: a bit for each 4 KiB of the states
 *	states	8 GiB a set: two bits a page (enum rt_page_state), 32 pages a word
 *
 * States and summary lie behind the pages, in the same memfd; all three are sparse and mapped whole. */
#define WORD_PAGES 32u
#define LEAF_PAGES (4096u * 4) /* pages whose states are 4 KiB */
#define ALL_PAGES (RT_PAGESET_ADDRESS_MAX / RT_PAGESET_PAGE)
#define STATES_BYTES (ALL_PAGES / 4)
#define LEAVES (ALL_PAGES / LEAF_PAGES)
#define SUMMARY_BYTES (LEAVES / 8)
#define MAP_BYTES (STATES_BYTES + SUMMARY_BYTES)
#define FILE_BYTES (RT_PAGESET_ADDRESS_MAX + MAP_BYTES)
#define LOW_BITS 0x5555555555555555ull

_Static_assert(SUMMARY_BYTES == 64 * 4096, "one word is enough for the top layer");

struct shared_set {
	uint64_t space;
	_Atomic uint64_t top;
};

/* The control memfd. Bytes in use are those of data and of states, so that neither takes more than the limit. */
struct control {
	uint64_t limit;
	_Atomic uint64_t used, data, zero, stored;
	_Atomic uint64_t count;
	struct shared_set sets[RT_PAGESETS_MAX];
};

struct rt_pageset {
	struct control *control;
	struct shared_set *shared;
	int fd;
	_Atomic uint64_t *states, *summary;
};

#define SLOTS (RT_PAGESETS_MAX * 2)

struct rt_pagesets {
	struct control *control;
	int fd;
	int dir_fd; /* borrowed: where the files are; -1: they have no names */
	pthread_mutex_t lock; /* of what follows */
	size_t count;
	struct rt_pageset *sets[RT_PAGESETS_MAX];
	uint16_t slots[SLOTS]; /* a hash table by space: index + 1 */
};

/* Slot of the space, or the free one where it would go. */
static uint16_t *slot_of(struct rt_pagesets *sets, uint64_t space)
{
	size_t at = (size_t)((space * 0x9e3779b97f4a7c15ull) >> 40) % SLOTS;

	while (sets->slots[at] != 0 && sets->sets[sets->slots[at] - 1]->shared->space != space)
		at = (at + 1) % SLOTS;
	return &sets->slots[at];
}

#define CONTROL_NAME "control"

/* The file of a set is named by its number. */
struct set_name {
	char text[24];
};
static struct set_name name_of_set(size_t number)
{
	struct set_name name;

	snprintf(name.text, sizeof(name.text), "set-%zu", number);
	return name;
}

static struct rt_error *make_file(int dir_fd, const char *name, uint64_t size, int *ret)
{
	_cleanup_close_ int fd = dir_fd < 0 ? memfd_create("rt-pageset", MFD_CLOEXEC) : openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return rt_fail_errno("cannot make memory for pages");
	if (ftruncate(fd, (off_t)size) < 0)
		return rt_fail_errno("cannot size the memory for pages");
	*ret = rt_take_fd(fd);
	return NULL;
}

/* Takes over `fd`. */
static struct rt_error *map_control(int fd, int dir_fd, struct rt_pagesets **ret)
{
	struct rt_pagesets *sets = calloc(1, sizeof(*sets));
	void *control;

	if (!sets) {
		close(fd);
		return rt_error_oom();
	}
	control = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (control == MAP_FAILED) {
		struct rt_error *err = rt_fail_errno("cannot map the table of page sets");

		close(fd);
		free(sets);
		return err;
	}
	sets->control = control;
	sets->fd = fd;
	sets->dir_fd = dir_fd;
	pthread_mutex_init(&sets->lock, NULL);
	*ret = sets;
	return NULL;
}

struct rt_error *rt_pagesets_new_in(int dir_fd, uint64_t limit, struct rt_pagesets **ret)
{
	struct rt_pagesets *sets;
	struct rt_error *err;
	int fd = -1;

	err = make_file(dir_fd, CONTROL_NAME, sizeof(struct control), &fd);
	if (!err)
		err = map_control(fd, dir_fd, &sets);
	if (err)
		return err;
	sets->control->limit = limit;
	*ret = sets;
	return NULL;
}

struct rt_error *rt_pagesets_new(uint64_t limit, struct rt_pagesets **ret)
{
	return rt_pagesets_new_in(-1, limit, ret);
}

static void free_set(struct rt_pageset *set)
{
	munmap(set->states, MAP_BYTES);
	close(set->fd);
	free(set);
}

void rt_pagesets_free(struct rt_pagesets *sets)
{
	if (!sets)
		return;
	for (size_t i = 0; i < sets->count; i++)
		free_set(sets->sets[i]);
	munmap(sets->control, sizeof(struct control));
	close(sets->fd);
	pthread_mutex_destroy(&sets->lock);
	free(sets);
}

/* Maps the set that is next in the table and takes over `fd`. The caller holds the lock, or is alone. */
static struct rt_error *add_set(struct rt_pagesets *sets, int fd)
{
	struct rt_pageset *set = calloc(1, sizeof(*set));
	struct rt_error *err;
	void *map;

	if (!set) {
		close(fd);
		return rt_error_oom();
	}
	map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)RT_PAGESET_ADDRESS_MAX);
	if (map == MAP_FAILED) {
		err = rt_fail_errno("cannot map the states of a page set");
		close(fd);
		free(set);
		return err;
	}
	set->control = sets->control;
	set->shared = &sets->control->sets[sets->count];
	set->fd = fd;
	set->states = map;
	set->summary = (_Atomic uint64_t *)((uint8_t *)map + STATES_BYTES);
	*slot_of(sets, set->shared->space) = (uint16_t)(sets->count + 1);
	sets->sets[sets->count++] = set;
	return NULL;
}

static struct rt_error *make_set(struct rt_pagesets *sets, uint64_t space, struct rt_pageset **ret)
{
	struct rt_error *err;
	int fd = -1;

	if (sets->count == RT_PAGESETS_MAX)
		return rt_fail(RT_PEER, "more than %d address spaces", RT_PAGESETS_MAX);
	err = make_file(sets->dir_fd, name_of_set(sets->count).text, FILE_BYTES, &fd);
	if (err)
		return err;
	sets->control->sets[sets->count].space = space;
	err = add_set(sets, fd);
	if (err)
		return err;
	atomic_store(&sets->control->count, sets->count);
	*ret = sets->sets[sets->count - 1];
	return NULL;
}

struct rt_error *rt_pagesets_get(struct rt_pagesets *sets, uint64_t space, struct rt_pageset **ret)
{
	struct rt_error *err = NULL;
	uint16_t slot;

	pthread_mutex_lock(&sets->lock);
	slot = *slot_of(sets, space);
	if (slot > 0)
		*ret = sets->sets[slot - 1];
	else
		err = make_set(sets, space, ret);
	pthread_mutex_unlock(&sets->lock);
	return err;
}

struct rt_pageset *rt_pagesets_find(struct rt_pagesets *sets, uint64_t space)
{
	struct rt_pageset *set;
	uint16_t slot;

	pthread_mutex_lock(&sets->lock);
	slot = *slot_of(sets, space);
	set = slot > 0 ? sets->sets[slot - 1] : NULL;
	pthread_mutex_unlock(&sets->lock);
	return set;
}

void rt_pagesets_each(struct rt_pagesets *sets, void (*each)(void *userdata, uint64_t space, struct rt_pageset *set), void *userdata)
{
	size_t count;

	pthread_mutex_lock(&sets->lock);
	count = sets->count;
	pthread_mutex_unlock(&sets->lock);
	for (size_t i = 0; i < count; i++)
		each(userdata, sets->sets[i]->shared->space, sets->sets[i]);
}

struct rt_error *rt_pagesets_descriptors(struct rt_pagesets *sets, int **ret, size_t *ret_count)
{
	int *fds;

	pthread_mutex_lock(&sets->lock);
	fds = malloc((sets->count + 1) * sizeof(*fds));
	if (fds) {
		fds[0] = sets->fd;
		for (size_t i = 0; i < sets->count; i++)
			fds[i + 1] = sets->sets[i]->fd;
		*ret = fds;
		*ret_count = sets->count + 1;
	}
	pthread_mutex_unlock(&sets->lock);
	return fds ? NULL : rt_error_oom();
}

static bool has_size(int fd, uint64_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

struct rt_error *rt_pagesets_adopt(const int *fds, size_t count, struct rt_pagesets **ret)
{
	struct rt_pagesets *sets = NULL;
	struct rt_error *err = NULL;
	size_t taken = 0;

	if (count > 0 && has_size(fds[0], sizeof(struct control)))
		err = map_control(fds[taken++], -1, &sets);
	if (!err && (!sets || atomic_load(&sets->control->count) != count - 1))
		err = rt_fail(RT_SYSTEM, "these %zu descriptors are no page sets", count);
	while (!err && taken < count) {
		if (!has_size(fds[taken], FILE_BYTES))
			err = rt_fail(RT_SYSTEM, "descriptor %d is no page set", fds[taken]);
		else
			err = add_set(sets, fds[taken++]);
	}
	if (!err) {
		*ret = sets;
		return NULL;
	}
	while (taken < count)
		close(fds[taken++]);
	rt_pagesets_free(sets);
	return err;
}

struct rt_error *rt_pagesets_open(int dir_fd, struct rt_pagesets **ret)
{
	_cleanup_free_ int *fds = calloc(RT_PAGESETS_MAX + 1, sizeof(*fds));
	size_t count = 0;

	if (!fds)
		return rt_error_oom();
	do {
		const char *name = count > 0 ? name_of_set(count - 1).text : CONTROL_NAME;

		fds[count] = openat(dir_fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	} while (fds[count] >= 0 && ++count <= RT_PAGESETS_MAX);
	return rt_pagesets_adopt(fds, count, ret);
}

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

void rt_pagesets_usage(struct rt_pagesets *sets, struct rt_pageset_usage *ret)
{
	ret->data = atomic_load(&sets->control->data);
	ret->zero = atomic_load(&sets->control->zero);
	ret->stored = atomic_load(&sets->control->stored);
}
