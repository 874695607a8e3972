#include "migrate/lazy_private.h"

#include "checkpoint/images.h"

#include <inttypes.h>
#include <string.h>

#define PAGES_MAX (1ull << 32) /* of one address space: 16 TiB; what is kept for each page takes memory here */

static struct rt_error *add_entry(struct rt_lazy_space *space, uint64_t start, uint64_t pages)
{
	struct rt_lazy_range *last = space->count > 0 ? &space->ranges[space->count - 1] : NULL;

	if (pages > PAGES_MAX - space->pages)
		return rt_fail(RT_CONFIG, "more than %llu pages", PAGES_MAX);
	if (last && last->end == start) {
		last->end += pages * RT_LAZY_PAGE;
		space->pages += pages;
		return NULL;
	}
	if (space->count == space->room) {
		size_t room = space->room ? space->room * 2 : 64;
		struct rt_lazy_range *more = reallocarray(space->ranges, room, sizeof(*more));

		if (!more)
			return rt_error_oom();
		space->ranges = more;
		space->room = room;
	}
	space->ranges[space->count++] = (struct rt_lazy_range){ start, start + pages * RT_LAZY_PAGE, space->pages };
	space->pages += pages;
	return NULL;
}

static struct rt_error *read_entries(struct rt_image *image, struct rt_lazy_space *space)
{
	uint64_t end = 0;
	bool head = true;

	for (;; head = false) {
		_cleanup_unpacked_ ProtobufCMessage *message = NULL;
		struct rt_error *err = rt_image_next(image, &message);
		const Img__PagemapEntry *entry = (const Img__PagemapEntry *)message;
		uint64_t pages;

		if (err || !message)
			return err;
		if (head)
			continue;
		pages = rt_pagemap_pages(entry);
		if (entry->vaddr % RT_LAZY_PAGE != 0 || entry->vaddr >= RT_PAGESET_ADDRESS_MAX ||
		    pages > (RT_PAGESET_ADDRESS_MAX - entry->vaddr) / RT_LAZY_PAGE)
			return rt_fail(RT_CONFIG, "%" PRIu64 " pages at %#" PRIx64 " are outside of any address space", pages, entry->vaddr);
		if (entry->vaddr < end)
			return rt_fail(RT_CONFIG, "the pages at %#" PRIx64 " come after those before %#" PRIx64, entry->vaddr, end);
		end = entry->vaddr + pages * RT_LAZY_PAGE;
		if (pages == 0 || !entry->has_flags || !(entry->flags & RT_ENTRY_LAZY))
			continue;
		err = add_entry(space, entry->vaddr, pages);
		if (err)
			return err;
	}
}

static struct rt_error *read_pagemap(struct rt_lazy *lazy, const char *name, uint64_t number)
{
	_cleanup_image_ struct rt_image *image = NULL;
	struct rt_lazy_space *more;
	struct rt_error *err;

	err = rt_image_open(lazy->options.image_fd, name, RT_IMAGE_PAGEMAP, &image);
	if (err || !image)
		return err;
	more = reallocarray(lazy->spaces, lazy->space_count + 1, sizeof(*more));
	if (!more)
		return rt_error_oom();
	lazy->spaces = more;
	more[lazy->space_count] = (struct rt_lazy_space){ .number = number };
	err = read_entries(image, &more[lazy->space_count++]);
	return err ? rt_while(err, "image '%s'", name) : NULL;
}

/* Nobody can be asked: so each page must be here. */
static struct rt_error *check_held(struct rt_lazy *lazy, const struct rt_lazy_space *space)
{
	struct rt_pageset *set = rt_pagesets_find(lazy->options.sets, space->number);

	for (size_t i = 0; i < space->count; i++) {
		uint64_t address = space->ranges[i].start, pages;

		while (address < space->ranges[i].end) {
			enum rt_page_state state = RT_PAGE_ABSENT;

			if (set)
				state = rt_pageset_look(set, address, (space->ranges[i].end - address) / RT_LAZY_PAGE, &pages);
			if (state != RT_PAGE_DATA && state != RT_PAGE_ZERO)
				return rt_fail(RT_PEER, "the page at %#" PRIx64 " of task %" PRIu64 " has not come", address, space->number);
			address += pages * RT_LAZY_PAGE;
		}
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const struct rt_lazy_space *left = a, *right = b;

	return left->number < right->number ? -1 : left->number > right->number;
}

/* Those of shared memory are of no task, and CRIU restores them at once. */
static struct rt_error *read_if_of_a_task(void *userdata, const char *name)
{
	enum rt_image_kind kind;
	uint64_t number = 0;

	if (strncmp(name, "pagemap-shmem-", 14) == 0 || !rt_image_kind_of(name, &kind, &number))
		return NULL;
	return read_pagemap(userdata, name, number);
}

struct rt_error *rt_lazy_read_pagemaps(struct rt_lazy *lazy)
{
	struct rt_error *err = rt_image_names(lazy->options.image_fd, RT_IMAGE_PAGEMAP, read_if_of_a_task, lazy);

	if (lazy->space_count > 0)
		qsort(lazy->spaces, lazy->space_count, sizeof(*lazy->spaces), compare);
	for (size_t i = 0; !err && i < lazy->space_count; i++) {
		if (i > 0 && lazy->spaces[i - 1].number == lazy->spaces[i].number)
			err = rt_fail(RT_CONFIG, "two images list the pages of task %" PRIu64, lazy->spaces[i].number);
		else if (!lazy->options.want)
			err = check_held(lazy, &lazy->spaces[i]);
		lazy->status.pages += lazy->spaces[i].pages;
	}
	return err;
}

struct rt_lazy_space *rt_lazy_find_space(struct rt_lazy *lazy, uint64_t number)
{
	struct rt_lazy_space key = { .number = number };

	return lazy->space_count > 0 ? bsearch(&key, lazy->spaces, lazy->space_count, sizeof(key), compare) : NULL;
}

uint64_t rt_lazy_origin(const struct rt_lazy_space *space, uint64_t index)
{
	size_t low = 0, high = space->count;

	/* The last range that begins at or before it. */
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (space->ranges[middle].index <= index)
			low = middle;
		else
			high = middle;
	}
	return space->ranges[low].start + (index - space->ranges[low].index) * RT_LAZY_PAGE;
}

bool rt_lazy_index(const struct rt_lazy_space *space, uint64_t origin, uint64_t *ret)
{
	const struct rt_lazy_map map = { .ranges = space->ranges, .count = space->count };
	const struct rt_lazy_range *range = rt_lazy_map_find(&map, origin);

	if (!range || range->start > origin)
		return false;
	*ret = range->index + (origin - range->start) / RT_LAZY_PAGE;
	return true;
}
