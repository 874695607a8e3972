/* The list of ranges that a round fills. */
#include "migrate/tracker_private.h"

struct rt_error *rt_page_ranges_add(struct rt_page_ranges *ranges, pid_t pid, uint64_t start, uint64_t pages)
{
	struct rt_page_range *last = ranges->count ? &ranges->ranges[ranges->count - 1] : NULL;

	if (!pages)
		return NULL;
	if (last && last->pid == pid && last->start + last->pages * RT_PAGE_SIZE == start) {
		last->pages += pages;
		return NULL;
	}
	if (ranges->count == ranges->room) {
		size_t room = ranges->room ? ranges->room * 2 : 256;
		struct rt_page_range *larger = reallocarray(ranges->ranges, room, sizeof(*larger));

		if (!larger)
			return rt_error_oom();
		ranges->ranges = larger;
		ranges->room = room;
	}
	ranges->ranges[ranges->count++] = (struct rt_page_range){ .pid = pid, .start = start, .pages = pages };
	return NULL;
}

static uint64_t end_of(const struct rt_page_range *range)
{
	return range->start + range->pages * RT_PAGE_SIZE;
}

/* What of `range` lies between the ones of `without` from `at` on, which are of the same process and end behind its start. */
static struct rt_error *add_gaps(const struct rt_page_range *range, const struct rt_page_ranges *without, size_t at, struct rt_page_ranges *ret)
{
	uint64_t start = range->start, end = end_of(range);
	struct rt_error *err = NULL;

	for (; !err && start < end && at < without->count; at++) {
		const struct rt_page_range *hole = &without->ranges[at];

		if (hole->pid != range->pid || hole->start >= end)
			break;
		if (hole->start > start)
			err = rt_page_ranges_add(ret, range->pid, start, (hole->start - start) / RT_PAGE_SIZE);
		start = end_of(hole);
	}
	return !err && start < end ? rt_page_ranges_add(ret, range->pid, start, (end - start) / RT_PAGE_SIZE) : err;
}

struct rt_error *rt_page_ranges_subtract(const struct rt_page_ranges *ranges, const struct rt_page_ranges *without, struct rt_page_ranges *ret)
{
	struct rt_error *err = NULL;
	pid_t pid = 0;
	size_t at = 0;

	for (size_t i = 0; i < ranges->count && !err; i++) {
		const struct rt_page_range *range = &ranges->ranges[i];

		if (range->pid != pid)
			for (at = 0; at < without->count && without->ranges[at].pid != range->pid; at++)
				;
		pid = range->pid;
		while (at < without->count && without->ranges[at].pid == pid && end_of(&without->ranges[at]) <= range->start)
			at++;
		err = add_gaps(range, without, at, ret);
	}
	return err;
}

struct rt_error *rt_page_ranges_append(struct rt_page_ranges *ranges, const struct rt_page_ranges *more)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; i < more->count && !err; i++)
		err = rt_page_ranges_add(ranges, more->ranges[i].pid, more->ranges[i].start, more->ranges[i].pages);
	return err;
}

struct rt_error *rt_page_ranges_split(struct rt_page_ranges *ranges, uint64_t pages, struct rt_page_ranges *rest)
{
	struct rt_error *err = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < ranges->count && !err; i++) {
		struct rt_page_range *range = &ranges->ranges[i];
		uint64_t more = range->pages > pages ? range->pages - pages : 0;

		range->pages -= more;
		pages -= range->pages;
		if (range->pages > 0)
			kept = i + 1;
		err = rt_page_ranges_add(rest, range->pid, end_of(range), more);
	}
	ranges->count = kept;
	return err;
}

uint64_t rt_page_ranges_pages(const struct rt_page_ranges *ranges)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < ranges->count; i++)
		pages += ranges->ranges[i].pages;
	return pages;
}

void rt_page_ranges_free(struct rt_page_ranges *ranges)
{
	free(ranges->ranges);
	*ranges = (struct rt_page_ranges){ 0 };
}

struct rt_page_ranges_mark rt_page_ranges_mark(const struct rt_page_ranges *ranges)
{
	struct rt_page_ranges_mark mark = { .count = ranges->count };

	/* It may grow by what is merged into it. */
	if (ranges->count)
		mark.last = ranges->ranges[ranges->count - 1];
	return mark;
}

void rt_page_ranges_rewind(struct rt_page_ranges *ranges, const struct rt_page_ranges_mark *mark)
{
	ranges->count = mark->count;
	if (mark->count)
		ranges->ranges[mark->count - 1] = mark->last;
}
