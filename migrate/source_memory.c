#include "migrate/source_private.h"

#include "checkpoint/members.h"
#include "runtime/base/clock.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>

/* ---- whose memory ---- */

static struct rt_error *list_spaces(struct rt_source *source, pid_t **ret_pids, size_t *ret_count)
{
	struct rt_members members = RT_MEMBERS_NULL;
	struct rt_error *err = rt_members_find(&source->container, &members);

	*ret_pids = members.pids;
	*ret_count = members.count;
	free(source->spaces);
	source->space_count = 0;
	source->spaces = err ? NULL : calloc(*ret_count ? *ret_count : 1, sizeof(*source->spaces));
	if (err || !source->spaces)
		return err ? err : rt_error_oom();
	for (size_t i = 0; i < *ret_count && !err; i++) {
		struct rt_outflow_space *space = &source->spaces[source->space_count];

		space->pid = (*ret_pids)[i];
		err = rt_member_inner_pid(space->pid, &space->space);
		if (!err && space->space)
			source->space_count++;
	}
	return err;
}

struct rt_error *rt_source_look(struct rt_source *source, unsigned flags)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	struct rt_error *err = list_spaces(source, &pids, &count);

	source->ranges.count = 0;
	return err ? err : rt_tracker_round(source->tracker, pids, count, flags, &source->ranges, NULL);
}

static uint64_t bytes_of(const struct rt_page_ranges *ranges)
{
	return rt_page_ranges_pages(ranges) * RT_PAGE_SIZE;
}

static struct rt_error *open_outflow(struct rt_source *source)
{
	if (source->outflow)
		return NULL;
	return rt_outflow_new(&(struct rt_outflow_options){
		.client = source->client,
		.path = source->path_pages,
		.parallel = source->parallel,
		.compression = source->compression,
		.tracker = source->tracking == RT_TRACKER_HASH ? source->tracker : NULL,
		.hurry_until = &source->hurry_until,
		.link_rate = &source->link_rate,
	}, &source->outflow);
}

/* ---- rounds ---- */

#define TICK_MS 100

/* Never while it is frozen: there nobody has time to look. */
static struct rt_error *send_all(struct rt_source *source, unsigned round, struct rt_outflow_totals *ret)
{
	uint64_t bytes = bytes_of(&source->ranges);
	struct rt_error *err;

	rt_progress_amount(source->progress, round, 0, bytes);
	err = rt_outflow_begin(source->outflow, &source->ranges, source->spaces, source->space_count);
	if (err)
		return err;
	while (!rt_outflow_wait(source->outflow, TICK_MS))
		rt_progress_amount(source->progress, round, rt_outflow_done(source->outflow) * RT_PAGE_SIZE, bytes);
	return rt_outflow_finish(source->outflow, ret);
}

static struct rt_error *send_round(struct rt_source *source, struct rt_report_round *round)
{
	struct rt_outflow_totals totals;
	struct rt_error *err;

	round->begin_us = rt_now_us() - source->began;
	err = send_all(source, source->precopy.rounds + 1, &totals);
	if (err)
		return err;
	round->us = rt_now_us() - source->began - round->begin_us;
	round->pages = totals.pages;
	round->zero = totals.zero;
	round->wire = totals.wire;
	source->report.wire += totals.wire;
	return NULL;
}

static struct rt_report_round *next_round(struct rt_source *source)
{
	struct rt_report *report = &source->report;

	/* The last place is used again: a migration of so many rounds is told by its totals. */
	if (report->round_count < RT_REPORT_ROUNDS)
		report->round_count++;
	report->rounds[report->round_count - 1] = (struct rt_report_round){ 0 };
	return &report->rounds[report->round_count - 1];
}

static void tell_verdict(struct rt_source *source, enum rt_precopy_verdict verdict)
{
	switch (verdict) {
	case RT_PRECOPY_AGAIN:
	case RT_PRECOPY_FREEZE:
		return;
	case RT_PRECOPY_STUCK:
		rt_progress_note(source->progress, "it writes as fast as it is copied: more rounds would not help");
		return;
	case RT_PRECOPY_ENOUGH:
		rt_progress_note(source->progress, "%u rounds are enough", source->precopy.rounds);
		return;
	}
}

struct rt_error *rt_source_copy_memory(struct rt_source *source)
{
	enum rt_precopy_verdict verdict = RT_PRECOPY_AGAIN;
	struct rt_error *err = NULL;

	if (source->lazy)
		err = open_outflow(source);
	if (err || (source->mode != RT_MODE_PRECOPY && source->mode != RT_MODE_HYBRID))
		return err;
	err = rt_source_look(source, 0);
	while (!err && verdict == RT_PRECOPY_AGAIN) {
		struct rt_report_round *round = next_round(source);

		err = send_round(source, round);
		if (!err)
			err = rt_source_look(source, 0);
		if (err)
			break;
		round->dirty = bytes_of(&source->ranges) / RT_PAGE_SIZE;
		verdict = rt_precopy_after(&source->precopy, (round->pages - round->zero) * RT_PAGE_SIZE, round->us, bytes_of(&source->ranges));
		round->predicted_us = rt_precopy_predict(&source->precopy, bytes_of(&source->ranges));
		rt_progress_round(source->progress, source->precopy.rounds, round);
	}
	if (!err)
		tell_verdict(source, verdict);
	return err;
}

#define FOLLOW_US 500000

/* Auto, when the rounds got nowhere: a second and more in which nobody is served is worse than some in which it is served slowly, and in which its source must live. */
static void follow_if_too_much(struct rt_source *source, uint64_t bytes)
{
	uint64_t us = rt_precopy_sending(&source->precopy, bytes);

	if (source->mode != RT_MODE_PRECOPY || !source->may_follow || us <= FOLLOW_US || us <= source->precopy.target_us)
		return;
	source->mode = RT_MODE_HYBRID;
	source->report.mode = rt_move_mode_name(source->mode);
	rt_progress_note(source->progress, "the last %llu MiB that it wrote would keep it frozen for %.1f s: they follow it, as in mode hybrid",
			 (unsigned long long)bytes >> 20, (double)us / 1e6);
}

/* As much as it has written in the last round it will have written again when this one is over. */
struct rt_error *rt_source_copy_rest(struct rt_source *source)
{
	uint64_t bytes = bytes_of(&source->ranges);
	struct rt_error *err = bytes > 0 ? send_round(source, next_round(source)) : NULL;

	if (!err)
		follow_if_too_much(source, bytes);
	return err;
}

/* ---- frozen ---- */

/* What watches the memory stays on: taking it off takes longer than all of this, and CRIU does not mind. It goes with the processes. */
struct rt_error *rt_source_last_look(struct rt_source *source)
{
	return source->lazy ? rt_source_look(source, RT_ROUND_FROZEN) : NULL;
}

struct rt_error *rt_source_send_last(struct rt_source *source)
{
	if (!source->lazy)
		return NULL;
	if (source->watched)
		return rt_source_send_recent(source);
	if (source->mode == RT_MODE_POSTCOPY)
		return NULL;
	follow_if_too_much(source, bytes_of(&source->ranges));
	/* What the rounds brought of these pages must not be handed to a task that runs before they come again. */
	if (source->mode == RT_MODE_HYBRID)
		return rt_outflow_begin_stale(source->outflow, &source->ranges, source->spaces, source->space_count);
	return rt_outflow_begin(source->outflow, &source->ranges, source->spaces, source->space_count);
}

/* ---- post-copy: pushed ---- */

#define PUSH_PAUSE_US 500000
#define LOOK_US 20000
#define PATIENCE_MS 30000

static struct rt_error *push_once(struct rt_source *source, struct rt_outflow_totals *ret)
{
	struct rt_error *err = NULL;

	if (!source->puller)
		err = rt_source_answer_begin(source);
	if (!err)
		err = open_outflow(source);
	return err ? err : send_all(source, 0, ret);
}

/* Asks how it is over there. True: it is complete, or lost (*ret_err). `for_ever`: no answer is waited for, as only here are its pages; else it stays frozen here. */
static bool is_settled(struct rt_source *source, bool for_ever, struct rt_error **ret_err)
{
	unsigned patience_ms = source->values->timeout ? source->values->timeout * 1000 : PATIENCE_MS;
	struct rt_http_connection *control = NULL;
	_cleanup_free_ char *reason = NULL;
	Rt__MoveState state = RT__MOVE_STATE__MOVE_UNKNOWN;
	bool known = false;
	struct rt_error *err = rt_http_connect(source->client, &control);

	if (!err)
		err = rt_source_resolve(control, source->path_abort, patience_ms, &known, &state, &reason);
	rt_http_disconnect(control);
	*ret_err = err;
	if (err || state == RT__MOVE_STATE__MOVE_COMPLETE)
		return true;
	if (known && !rt_source_is_there(state))
		*ret_err = rt_fail(RT_PEER, "it ran over there for a while, and was lost (%s): it goes on as it was when it was frozen", reason ? reason : "no reason is known");
	else if (!known && !for_ever)
		*ret_err = rt_fail(RT_PEER, "whether all its memory has arrived is not known: %s", reason ? reason : "no answer");
	if (*ret_err && !known)
		*ret_err = rt_source_leave_frozen(source, *ret_err);
	else if (*ret_err)
		source->committed = false;
	return *ret_err != NULL;
}

static struct rt_error *abort_unless_kept(struct rt_source *source, struct rt_error *err)
{
	return err && !source->committed ? rt_source_abort(source, err) : err;
}

/* The copy here is kept until the target has all it needs. Until then the death of the process that hands out memory over there costs the time since the commit, not the
 * container. */
static struct rt_error *await_complete(struct rt_source *source)
{
	struct rt_error *err = NULL;

	while (!is_settled(source, source->may_follow, &err))
		usleep(LOOK_US);
	return abort_unless_kept(source, err);
}

/* It runs over there, and only here are its pages: a cut link is waited for, however long it takes. */
struct rt_error *rt_source_push(struct rt_source *source)
{
	struct rt_outflow_totals totals = { 0 };
	uint64_t began = rt_now_us();
	struct rt_error *err;

	if (!source->lazy)
		return NULL;
	while (source->may_follow && (err = push_once(source, &totals))) {
		_cleanup_free_ char *text = rt_error_text(err);
		struct rt_error *end = NULL;

		rt_error_free(err);
		rt_source_answer_end(source);
		rt_outflow_free(rt_take_ptr(source->outflow));
		if (is_settled(source, true, &end))
			return abort_unless_kept(source, end);
		rt_progress_note(source->progress, "%s; it waits over there for the rest of its memory, trying again", text ? text : "out of memory");
		usleep(PUSH_PAUSE_US);
	}
	err = await_complete(source);
	rt_source_answer_end(source);
	source->report.pushed_pages = totals.pages;
	source->report.pushed_us = totals.pages ? rt_now_us() - began : 0;
	source->report.wire += totals.wire;
	return err;
}
