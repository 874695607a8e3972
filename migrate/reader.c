#include "migrate/reader.h"

#include "runtime/sys/peek.h"

#include <assert.h>
#include <string.h>

/* Where the next read goes on: `page` counts all pages, `range` and `within` say the same in the list. */
struct cursor {
	uint64_t page;
	size_t range;
	uint64_t within;
};

static void advance(struct cursor *cursor, const struct rt_page_range *ranges, size_t count, uint64_t pages)
{
	cursor->page += pages;
	while (pages && cursor->range < count) {
		uint64_t left = ranges[cursor->range].pages - cursor->within;
		uint64_t step = pages < left ? pages : left;

		pages -= step;
		cursor->within += step;
		if (step == left) {
			cursor->range++;
			cursor->within = 0;
		}
	}
}

static size_t pieces_from(const struct cursor *cursor, const struct rt_page_range *ranges, size_t count, struct iovec *pieces)
{
	uint64_t within = cursor->within;
	size_t filled = 0;

	for (size_t i = cursor->range; i < count; i++, within = 0)
		pieces[filled++] = (struct iovec){
			.iov_base = (void *)(uintptr_t)(ranges[i].start + within * RT_PAGE_SIZE),
			.iov_len = (ranges[i].pages - within) * RT_PAGE_SIZE,
		};
	return filled;
}

static void mark(uint64_t *present, uint64_t from, uint64_t pages)
{
	for (uint64_t page = from; page < from + pages; page++)
		present[page / 64] |= 1ull << (page % 64);
}

struct rt_error *rt_reader_read(const struct rt_page_range *ranges, size_t count, void *buffer, uint64_t *present, uint64_t *ret_read)
{
	struct iovec pieces[RT_READER_MAX_RANGES];
	struct cursor cursor = { 0 };
	uint64_t total = 0, read = 0;

	assert(count <= RT_READER_MAX_RANGES);
	for (size_t i = 0; i < count; i++)
		total += ranges[i].pages;
	assert(total <= RT_READER_MAX_PAGES);
	memset(present, 0, (total + 63) / 64 * sizeof(*present));
	while (cursor.page < total) {
		size_t piece_count = pieces_from(&cursor, ranges, count, pieces);
		ssize_t got = rt_sys_peek(ranges->pid, pieces, piece_count, (char *)buffer + cursor.page * RT_PAGE_SIZE, (total - cursor.page) * RT_PAGE_SIZE);
		uint64_t pages = got > 0 ? (uint64_t)got / RT_PAGE_SIZE : 0;

		if (got == -ESRCH)
			break;
		if (got < 0 && got != -EFAULT)
			return rt_fail_with((int)-got, "cannot read memory of process %d", (int)ranges->pid);
		mark(present, cursor.page, pages);
		read += pages;
		/* The page where it stopped can't be read: go on behind it. */
		advance(&cursor, ranges, count, cursor.page + pages < total ? pages + 1 : pages);
	}
	*ret_read = read;
	return NULL;
}

bool rt_page_is_zero(const void *page)
{
	const uint64_t *word = page, *end = word + RT_PAGE_SIZE / sizeof(*word);

	/* Most pages that are not zero show it at once; the rest is looked at in steps that the compiler makes vectors of. */
	if (word[0] | word[1] | word[RT_PAGE_SIZE / sizeof(*word) / 2])
		return false;
	for (; word < end; word += 32) {
		uint64_t any = 0;

		for (int i = 0; i < 32; i++)
			any |= word[i];
		if (any)
			return false;
	}
	return true;
}
