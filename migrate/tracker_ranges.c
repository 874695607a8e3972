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
