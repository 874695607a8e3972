#include "migrate/source_private.h"

/* For so long it is watched. What is used only every now and then does not matter, and what is written in it is sent while it is frozen. */
#define WATCHED_US 30000
/* What may be sent while it is frozen: what takes so long. Where no round has told how quick the link is, there was next to nothing to send. */
#define SENDING_US 50000

/* Looks once more than usual, which the hash tracker takes a second for, and a paused container has no use for. Not for post-copy: there it is mostly memory that is
 * read that it waits for, and CRIU takes longer to look at memory that is watched. */
static bool is_worth_it(const struct rt_source *source, bool paused)
{
	return source->mode == RT_MODE_HYBRID && !paused && rt_tracker_kind(source->tracker) != RT_TRACKER_HASH;
}

/* Over there: it must not be handed to a task that runs before it comes again. */
static struct rt_error *call_old(struct rt_source *source, const struct rt_page_ranges *ranges)
{
	struct rt_error *err;

	if (ranges->count == 0)
		return NULL;
	err = rt_outflow_begin_stale(source->outflow, ranges, source->spaces, source->space_count);
	return err ? err : rt_outflow_finish(source->outflow, NULL);
}

struct rt_error *rt_source_look_earlier(struct rt_source *source)
{
	bool paused = false;
	struct rt_error *err = source->container.cgroup ? rt_cgroup_is_frozen(source->container.cgroup, &paused) : NULL;

	if (err || !is_worth_it(source, paused))
		return err;
	err = rt_source_look(source, 0);
	if (err)
		return err;
	source->earlier = source->ranges;
	source->ranges = (struct rt_page_ranges){ 0 };
	source->watched = true;
	err = call_old(source, &source->earlier);
	if (!err)
		usleep(WATCHED_US);
	return err;
}

static uint64_t most_pages(const struct rt_source *source)
{
	return source->precopy.rate / RT_PAGE_SIZE * SENDING_US / 1000000;
}

/* `earlier` becomes all that is to follow: first what would take too long now. */
struct rt_error *rt_source_send_recent(struct rt_source *source)
{
	struct rt_page_ranges older = { 0 }, follow = { 0 };
	struct rt_error *err = rt_page_ranges_subtract(&source->earlier, &source->ranges, &older);

	if (!err)
		err = rt_page_ranges_split(&source->ranges, most_pages(source), &follow);
	if (!err)
		err = call_old(source, &follow);
	if (!err)
		err = rt_page_ranges_append(&follow, &older);
	if (!err)
		err = rt_outflow_begin(source->outflow, &source->ranges, source->spaces, source->space_count);
	rt_page_ranges_free(&older);
	rt_page_ranges_free(&source->earlier);
	source->earlier = follow;
	return err;
}

void rt_source_take_earlier(struct rt_source *source)
{
	if (!source->watched)
		return;
	rt_page_ranges_free(&source->ranges);
	source->ranges = source->earlier;
	source->earlier = (struct rt_page_ranges){ 0 };
}
