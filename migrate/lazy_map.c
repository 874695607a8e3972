#include "migrate/lazy_map.h"

#include <string.h>

struct rt_error *rt_lazy_map_init(struct rt_lazy_map *map, const struct rt_lazy_range *ranges, size_t count, uint64_t pages)
{
	*map = (struct rt_lazy_map){ .count = count, .room = count + 8, .pages = pages, .left = pages };
	map->ranges = malloc(map->room * sizeof(*map->ranges));
	map->done = calloc(pages / 64 + 1, sizeof(*map->done));
	if (!map->ranges || !map->done) {
		rt_lazy_map_deinit(map);
		return rt_error_oom();
	}
	if (count > 0)
		memcpy(map->ranges, ranges, count * sizeof(*ranges));
	return NULL;
}

struct rt_error *rt_lazy_map_copy(struct rt_lazy_map *map, const struct rt_lazy_map *from)
{
	struct rt_error *err = rt_lazy_map_init(map, from->ranges, from->count, from->pages);

	if (err)
		return err;
	memcpy(map->done, from->done, (from->pages / 64 + 1) * sizeof(*map->done));
	map->left = from->left;
	return NULL;
}

void rt_lazy_map_deinit(struct rt_lazy_map *map)
{
	free(map->ranges);
	free(map->done);
	*map = (struct rt_lazy_map){ 0 };
}

/* Number of the first range that ends after `address`. */
static size_t find(const struct rt_lazy_map *map, uint64_t address)
{
	size_t low = 0, high = map->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->ranges[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct rt_lazy_range *rt_lazy_map_find(const struct rt_lazy_map *map, uint64_t address)
{
	size_t at = find(map, address);

	return at < map->count ? &map->ranges[at] : NULL;
}

static uint64_t pages_of(const struct rt_lazy_range *range)
{
	return (range->end - range->start) / RT_LAZY_PAGE;
}

static bool holds_index(const struct rt_lazy_range *range, uint64_t index)
{
	return index >= range->index && index - range->index < pages_of(range);
}

bool rt_lazy_map_where(const struct rt_lazy_map *map, uint64_t index, uint64_t hint, uint64_t *ret)
{
	const struct rt_lazy_range *range = rt_lazy_map_find(map, hint);

	if (!range || !holds_index(range, index)) {
		range = NULL;
		for (size_t i = 0; !range && i < map->count; i++)
			if (holds_index(&map->ranges[i], index))
				range = &map->ranges[i];
	}
	if (!range)
		return false;
	*ret = range->start + (index - range->index) * RT_LAZY_PAGE;
	return true;
}

bool rt_lazy_map_is_done(const struct rt_lazy_map *map, uint64_t index)
{
	return map->done[index / 64] >> (index % 64) & 1;
}

void rt_lazy_map_mark(struct rt_lazy_map *map, uint64_t index, uint64_t pages)
{
	uint64_t end = index + pages;

	while (index < end) {
		unsigned first = (unsigned)(index % 64), count = end - index < 64 - first ? (unsigned)(end - index) : 64 - first;
		uint64_t mask = (count == 64 ? ~0ull : (1ull << count) - 1) << first;

		map->left -= (uint64_t)__builtin_popcountll(mask & ~map->done[index / 64]);
		map->done[index / 64] |= mask;
		index += count;
	}
}

/* The first number in [index, end) whose bit is `value`; end: there is none. */
static uint64_t scan(const struct rt_lazy_map *map, uint64_t index, uint64_t end, bool value)
{
	while (index < end) {
		uint64_t word = map->done[index / 64];

		word = (value ? word : ~word) >> (index % 64);
		if (word != 0) {
			index += (unsigned)__builtin_ctzll(word);
			return index < end ? index : end;
		}
		index = (index / 64 + 1) * 64;
	}
	return end;
}

bool rt_lazy_map_next(const struct rt_lazy_map *map, uint64_t from, uint64_t limit, struct rt_lazy_run *ret)
{
	for (size_t i = find(map, from); i < map->count; i++) {
		const struct rt_lazy_range *range = &map->ranges[i];
		uint64_t begin = from > range->start ? range->index + (from - range->start) / RT_LAZY_PAGE : range->index;
		uint64_t end = range->index + pages_of(range), first = scan(map, begin, end, false);

		if (first == end)
			continue;
		if (end - first > limit)
			end = first + limit;
		ret->address = range->start + (first - range->index) * RT_LAZY_PAGE;
		ret->index = first;
		ret->pages = scan(map, first, end, true) - first;
		return true;
	}
	return false;
}

void rt_lazy_map_around(const struct rt_lazy_map *map, const struct rt_lazy_range *range, uint64_t address, uint64_t block, struct rt_lazy_run *ret)
{
	uint64_t low = address - address % (block * RT_LAZY_PAGE), high = low + block * RT_LAZY_PAGE;
	uint64_t index = range->index + (address - range->start) / RT_LAZY_PAGE, first = index, end;

	if (low < range->start)
		low = range->start;
	if (high > range->end)
		high = range->end;
	while (first > range->index + (low - range->start) / RT_LAZY_PAGE && !rt_lazy_map_is_done(map, first - 1))
		first--;
	end = scan(map, index, range->index + (high - range->start) / RT_LAZY_PAGE, true);
	ret->address = address - (index - first) * RT_LAZY_PAGE;
	ret->index = first;
	ret->pages = end - first;
}

/* Makes a range begin at `address`, where it lies in the middle of one. */
static struct rt_error *split(struct rt_lazy_map *map, uint64_t address)
{
	size_t at = find(map, address);
	struct rt_lazy_range *range;

	if (at == map->count || map->ranges[at].start >= address)
		return NULL;
	if (map->count == map->room) {
		size_t room = map->room * 2;
		struct rt_lazy_range *more = reallocarray(map->ranges, room, sizeof(*more));

		if (!more)
			return rt_error_oom();
		map->ranges = more;
		map->room = room;
	}
	range = &map->ranges[at];
	memmove(range + 1, range, (map->count - at) * sizeof(*range));
	map->count++;
	range[0].end = address;
	range[1].index += (address - range[1].start) / RT_LAZY_PAGE;
	range[1].start = address;
	return NULL;
}

/* The ranges in [start, end), which get borders there. */
static struct rt_error *select_ranges(struct rt_lazy_map *map, uint64_t start, uint64_t end, size_t *ret_first, size_t *ret_end)
{
	struct rt_error *err = split(map, start);

	if (!err)
		err = split(map, end);
	if (err)
		return err;
	*ret_first = find(map, start);
	*ret_end = find(map, end);
	return NULL;
}

struct rt_error *rt_lazy_map_cut(struct rt_lazy_map *map, uint64_t start, uint64_t end)
{
	size_t first, last;
	struct rt_error *err = select_ranges(map, start, end, &first, &last);

	if (err)
		return err;
	for (size_t i = first; i < last; i++)
		rt_lazy_map_mark(map, map->ranges[i].index, pages_of(&map->ranges[i]));
	memmove(&map->ranges[first], &map->ranges[last], (map->count - last) * sizeof(*map->ranges));
	map->count -= last - first;
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const struct rt_lazy_range *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

struct rt_error *rt_lazy_map_move(struct rt_lazy_map *map, uint64_t from, uint64_t to, uint64_t size)
{
	size_t first, last;
	struct rt_error *err;

	if (from == to)
		return NULL;
	/* What the target hides is gone, should nobody have told. */
	err = rt_lazy_map_cut(map, to, to + size);
	if (!err)
		err = select_ranges(map, from, from + size, &first, &last);
	if (err)
		return err;
	for (size_t i = first; i < last; i++) {
		map->ranges[i].start += to - from;
		map->ranges[i].end += to - from;
	}
	qsort(map->ranges, map->count, sizeof(*map->ranges), compare);
	return NULL;
}
