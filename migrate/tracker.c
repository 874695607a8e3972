#include "migrate/tracker_private.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"

#include <time.h>

/* The best first. */
static const struct rt_tracker_kind_ops *const kinds[] = { &rt_tracker_uffd, &rt_tracker_soft_dirty, &rt_tracker_hash };

/* ---- kinds ---- */

const char *rt_tracker_kind_name(enum rt_tracker_kind kind)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(kinds); i++)
		if (kinds[i]->kind == kind)
			return kinds[i]->name;
	return "auto";
}

struct rt_error *rt_tracker_kind_parse(const char *word, enum rt_tracker_kind *ret)
{
	if (rt_str_equal(word, "auto")) {
		*ret = RT_TRACKER_AUTO;
		return NULL;
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(kinds); i++)
		if (rt_str_equal(word, kinds[i]->name)) {
			*ret = kinds[i]->kind;
			return NULL;
		}
	return rt_fail(RT_USAGE, "'%s' is no way to track memory: auto, uffd-wp, soft-dirty or hash", word);
}

/* `why` is the sentences of the better ones that can't be used; *ret stays NULL where none can. */
static struct rt_error *choose(enum rt_tracker_kind kind, bool can_pause, const struct rt_tracker_kind_ops **ret, char **ret_why)
{
	_cleanup_free_ char *why = NULL;
	struct rt_error *err = rt_format(&why, "%s", "");

	*ret = NULL;
	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(kinds); i++) {
		const char *reason = NULL;
		char *longer;

		if (kind != RT_TRACKER_AUTO && kind != kinds[i]->kind)
			continue;
		kinds[i]->probe(&reason);
		if (!reason && kinds[i]->kind == RT_TRACKER_SOFT_DIRTY && !can_pause)
			reason = "soft-dirty tracking has to pause the tasks for a moment, and nothing was given to do so";
		if (!reason) {
			*ret = kinds[i];
			break;
		}
		err = rt_format(&longer, "%s%s%s", why, *why ? "; " : "", reason);
		if (!err) {
			free(why);
			why = longer;
		}
	}
	if (!err)
		*ret_why = rt_take_ptr(why);
	return err;
}

struct rt_error *rt_tracker_probe(enum rt_tracker_kind kind, enum rt_tracker_kind *ret_kind, bool *ret_usable, char **ret_reason)
{
	const struct rt_tracker_kind_ops *ops;
	_cleanup_free_ char *why = NULL;
	struct rt_error *err = choose(kind, true, &ops, &why);

	if (err)
		return err;
	if (!ops)
		err = rt_format(ret_reason, "%s", why);
	else
		err = rt_format(ret_reason, "this kernel can track memory by %s%s%s", ops->name, *why ? ": " : "", why);
	if (err)
		return err;
	*ret_usable = ops != NULL;
	*ret_kind = ops ? ops->kind : kind;
	return NULL;
}

/* ---- life ---- */

struct rt_error *rt_tracker_open(enum rt_tracker_kind kind, const struct rt_tracker_pause *pause, struct rt_tracker **ret)
{
	_cleanup_tracker_ struct rt_tracker *tracker = NULL;
	const struct rt_tracker_kind_ops *ops;
	_cleanup_free_ char *why = NULL;
	struct timespec now;
	struct rt_error *err = choose(kind, pause != NULL, &ops, &why);

	if (err)
		return err;
	if (!ops)
		return rt_fail(RT_SYSTEM, "cannot track memory: %s", why);
	tracker = calloc(1, sizeof(*tracker));
	if (!tracker)
		return rt_error_oom();
	tracker->ops = ops;
	if (pause)
		tracker->pause = *pause;
	clock_gettime(CLOCK_BOOTTIME, &now);
	tracker->opened_at = (uint64_t)now.tv_sec * (uint64_t)sysconf(_SC_CLK_TCK);
	err = ops->open ? ops->open(tracker) : NULL;
	if (err)
		return err;
	*ret = rt_take_ptr(tracker);
	return NULL;
}

enum rt_tracker_kind rt_tracker_kind(const struct rt_tracker *tracker)
{
	return tracker->ops->kind;
}

static void forget(struct rt_tracker *tracker, size_t index)
{
	tracker->ops->forget(tracker->spaces[index]);
	free(tracker->spaces[index]);
	tracker->spaces[index] = tracker->spaces[--tracker->space_count];
}

void rt_tracker_release(struct rt_tracker *tracker)
{
	while (tracker->space_count)
		forget(tracker, tracker->space_count - 1);
}

void rt_tracker_close(struct rt_tracker *tracker)
{
	if (!tracker)
		return;
	rt_tracker_release(tracker);
	if (tracker->ops->close)
		tracker->ops->close(tracker);
	rt_memmap_free(&tracker->map);
	free(tracker->spaces);
	free(tracker);
}

/* ---- rounds ---- */

static struct rt_space *space_of(const struct rt_tracker *tracker, pid_t pid)
{
	for (size_t i = 0; i < tracker->space_count; i++)
		if (tracker->spaces[i]->pid == pid)
			return tracker->spaces[i];
	return NULL;
}

static struct rt_error *add_space(struct rt_tracker *tracker, pid_t pid, struct rt_space **ret)
{
	struct rt_space *space;

	if (tracker->space_count == tracker->space_room) {
		size_t room = tracker->space_room ? tracker->space_room * 2 : 16;
		struct rt_space **larger = reallocarray(tracker->spaces, room, sizeof(*larger));

		if (!larger)
			return rt_error_oom();
		tracker->spaces = larger;
		tracker->space_room = room;
	}
	space = calloc(1, sizeof(*space));
	if (!space)
		return rt_error_oom();
	space->pid = pid;
	space->uffd = -1;
	tracker->spaces[tracker->space_count++] = space;
	*ret = space;
	return NULL;
}

/* Who is there in this round, before any is looked at: whether two share memory is asked among them. */
static struct rt_error *take_attendance(struct rt_tracker *tracker, const pid_t *pids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct rt_space *space = space_of(tracker, pids[i]);
		struct rt_proc_stat stat;
		struct rt_error *err;
		bool found;

		err = rt_proc_stat(pids[i], &stat, &found);
		if (!err && found && space && space->start_time != stat.start_time) {
			/* Another process: its pid was used again. */
			tracker->ops->forget(space);
			*space = (struct rt_space){ .pid = pids[i], .uffd = -1 };
		}
		if (!err && found && !space)
			err = add_space(tracker, pids[i], &space);
		if (err)
			return err;
		if (!found)
			continue;
		space->start_time = stat.start_time;
		space->parent = stat.parent;
		space->seen = tracker->round;
	}
	for (size_t i = tracker->space_count; i-- > 0;)
		if (tracker->spaces[i]->seen != tracker->round)
			forget(tracker, i);
	return NULL;
}

static struct rt_error *scan_space(struct rt_tracker *tracker, struct rt_space *space, struct rt_page_ranges *ranges, struct rt_tracker_round *report)
{
	_cleanup_close_ int pagemap = -1;
	struct rt_error *err;
	bool found;

	/* The mappings first: an execve in between gives a page map in which they are not there, and another round. */
	err = rt_memmap_read(space->pid, &tracker->map, &found);
	if (err || !found)
		return err;
	pagemap = rt_sys_pagemap_open(space->pid);
	if (pagemap == -ENOENT || pagemap == -ESRCH)
		return NULL;
	if (pagemap < 0)
		return rt_fail_with(-pagemap, "cannot open '/proc/%d/pagemap'", (int)space->pid);
	report->spaces++;
	report->spaces_new += !space->told;
	err = tracker->ops->scan(tracker, space, pagemap, ranges, report);
	if (!err)
		space->told = true;
	return err;
}

static struct rt_error *scan_all(struct rt_tracker *tracker, struct rt_page_ranges *ranges, struct rt_tracker_round *report)
{
	for (size_t i = 0; i < tracker->space_count; i++) {
		struct rt_error *err = scan_space(tracker, tracker->spaces[i], ranges, report);

		if (err)
			return rt_while(err, "looking for changed memory of process %d", (int)tracker->spaces[i]->pid);
	}
	return NULL;
}

static struct rt_error *scan_paused(struct rt_tracker *tracker, struct rt_page_ranges *ranges, struct rt_tracker_round *report)
{
	struct rt_error *err = tracker->pause.pause(tracker->pause.userdata);
	struct rt_error *resumed;

	if (err)
		return rt_while(err, "pausing the tasks to look at their memory");
	err = scan_all(tracker, ranges, report);
	resumed = tracker->pause.resume(tracker->pause.userdata);
	if (!resumed)
		return err;
	rt_error_free(err);
	return rt_while(resumed, "resuming the tasks after a look at their memory");
}

struct rt_error *rt_tracker_round(struct rt_tracker *tracker, const pid_t *pids, size_t count, unsigned flags, struct rt_page_ranges *ranges,
				  struct rt_tracker_round *report)
{
	bool pauses = tracker->ops->kind == RT_TRACKER_SOFT_DIRTY && !(flags & RT_ROUND_FROZEN);
	struct rt_page_ranges_mark mark = rt_page_ranges_mark(ranges);
	struct rt_tracker_round local, *out = report ? report : &local;
	int64_t since = (int64_t)rt_now_us();
	struct rt_error *err;

	*out = (struct rt_tracker_round){ 0 };
	tracker->round++;
	tracker->flags = flags;
	err = take_attendance(tracker, pids, count);
	if (!err)
		err = (pauses ? scan_paused : scan_all)(tracker, ranges, out);
	if (err) {
		/* What was protected again and not told would be lost. */
		rt_tracker_release(tracker);
		return err;
	}
	for (size_t i = mark.count ? mark.count - 1 : 0; i < ranges->count; i++)
		out->pages += ranges->ranges[i].pages;
	out->pages -= mark.count ? mark.last.pages : 0;
	out->microseconds = (uint32_t)((int64_t)rt_now_us() - since);
	return NULL;
}

struct rt_error *rt_tracker_sent(struct rt_tracker *tracker, pid_t pid, uint64_t start, uint64_t pages, const void *data)
{
	struct rt_space *space = tracker->ops->sent ? space_of(tracker, pid) : NULL;

	return space ? tracker->ops->sent(tracker, space, start, pages, data) : NULL;
}
