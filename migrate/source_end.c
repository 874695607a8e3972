#include "migrate/source_private.h"

#include "checkpoint/unpack.h"
#include "migrate/journal.h"
#include "migrate/link.h"
#include "migrate/pause.h"
#include "runtime/base/clock.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>

#define COMMIT_TIMEOUT_MS 20000
#define ABORT_TIMEOUT_MS 5000
#define PATIENCE_MS 30000
#define RETRY_US 200000

/* ---- the last of it ---- */

/* What the target reports of itself is taken out of what we waited for it. */
static void note_times(struct rt_source *source, uint64_t ready_at, const Rt__Outcome *outcome)
{
	struct rt_report *report = &source->report;
	uint64_t waited = ready_at - source->completed_at;

	report->frozen_at_us = source->frozen_at - source->began;
	report->freeze_us = source->proceeded_at - source->frozen_at;
	report->dump_us = source->completed_at - source->proceeded_at;
	report->restore_us = outcome->restore_us < waited ? outcome->restore_us : waited;
	report->send_us = waited - report->restore_us;
}

struct rt_error *rt_source_final(struct rt_source *source)
{
	struct rt_outflow_totals totals = { 0 };
	Rt__Outcome *outcome = NULL;
	struct rt_error *err = NULL;

	if (source->lazy && source->outflow)
		err = rt_outflow_finish(source->outflow, &totals);
	if (source->mode == RT_MODE_PRECOPY)
		source->ranges.count = 0; /* nothing is left to follow */
	rt_source_take_earlier(source);
	if (!err)
		err = rt_source_answer_begin(source);
	if (!err)
		err = rt_source_send_images(source, &outcome);
	if (err)
		return err;
	source->report.final_pages = totals.pages;
	source->report.wire += totals.wire;
	if (outcome->state != RT__MOVE_STATE__MOVE_READY)
		err = rt_fail(RT_PEER, "%s", outcome->reason && *outcome->reason ? outcome->reason : "the target could not restore it");
	else
		note_times(source, rt_now_us(), outcome);
	rt_unpack_free(&outcome->base);
	return err;
}

/* ---- the decision ---- */

bool rt_source_is_there(Rt__MoveState state)
{
	return state == RT__MOVE_STATE__MOVE_COMMITTED || state == RT__MOVE_STATE__MOVE_RUNNING || state == RT__MOVE_STATE__MOVE_COMPLETE;
}

/* COMMITTED alone may still come to nothing: then it is asked again. */
static bool is_settled(Rt__MoveState state)
{
	return state == RT__MOVE_STATE__MOVE_RUNNING || state == RT__MOVE_STATE__MOVE_COMPLETE;
}

struct rt_error *rt_source_resolve(struct rt_http_connection *control, const char *path_abort, unsigned patience_ms, bool *ret_known, Rt__MoveState *ret_state,
				   char **ret_reason)
{
	uint64_t until = rt_now_us() + patience_ms * 1000ull;
	struct rt_error *err = NULL;

	*ret_known = false;
	*ret_state = RT__MOVE_STATE__MOVE_UNKNOWN;
	*ret_reason = NULL;
	do {
		struct rt_http_answer answer = { .body = NULL };
		Rt__Outcome *outcome = NULL;

		rt_error_free(err);
		err = rt_http_ask(control, &(struct rt_http_request){
			.method = "POST", .path = path_abort, .body = "", .timeout_ms = ABORT_TIMEOUT_MS,
		}, 0, &answer);
		if (!err)
			err = rt_message_outcome(answer.body, answer.size, &outcome);
		free(answer.body);
		/* UNKNOWN is an answer too: nothing of that name was ever committed there. */
		if (!err && (is_settled(outcome->state) || outcome->state == RT__MOVE_STATE__MOVE_ABORTED || outcome->state == RT__MOVE_STATE__MOVE_UNKNOWN)) {
			*ret_known = true;
			*ret_state = outcome->state;
			if (outcome->reason && *outcome->reason)
				err = rt_format(ret_reason, "%s", outcome->reason);
		}
		if (outcome)
			rt_unpack_free(&outcome->base);
		if (err || !*ret_known)
			usleep(RETRY_US);
	} while (!*ret_known && rt_now_us() < until);
	if (*ret_known)
		return err;
	if (err)
		*ret_reason = rt_error_text(err);
	rt_error_free(err);
	return NULL;
}

static struct rt_error *ask_to_commit(struct rt_source *source)
{
	Rt__Outcome *outcome = NULL;
	struct rt_error *err = rt_source_ask(source, source->path_commit, COMMIT_TIMEOUT_MS, &outcome);
	uint64_t now = rt_now_us();

	if (err)
		return err;
	if (!is_settled(outcome->state))
		err = rt_fail(RT_PEER, "%s", outcome->reason && *outcome->reason ? outcome->reason : "the target did not let it run");
	source->report.downtime_us = now - source->frozen_at;
	source->report.resume_us = source->report.downtime_us - source->report.freeze_us - source->report.dump_us - source->report.send_us - source->report.restore_us;
	rt_unpack_free(&outcome->base);
	return err;
}

struct rt_error *rt_source_leave_frozen(struct rt_source *source, struct rt_error *cause)
{
	rt_closep(&source->dumper.fd);
	source->dumper.pid = 0;
	return rt_while(cause, "it is frozen here and may run there: 'rt migrate --recover %s' will find out once the target answers", source->id);
}

/* The answer did not come, or it says no: only the target knows. */
static struct rt_error *resolve(struct rt_source *source, struct rt_error *cause)
{
	struct rt_http_connection *control = NULL;
	_cleanup_free_ char *reason = NULL;
	struct rt_error *err = rt_http_connect(source->client, &control);
	Rt__MoveState state = RT__MOVE_STATE__MOVE_UNKNOWN;
	bool known = false;

	if (!err)
		err = rt_source_resolve(control, source->path_abort, source->values->timeout ? source->values->timeout * 1000 : PATIENCE_MS, &known, &state,
					&reason);
	rt_http_disconnect(control);
	rt_error_free(err);
	if (known && rt_source_is_there(state)) {
		rt_error_free(cause);
		return NULL;
	}
	if (known) {
		source->committed = false;
		return rt_source_abort(source, cause);
	}
	return rt_source_leave_frozen(source, cause);
}

struct rt_error *rt_source_commit(struct rt_source *source)
{
	struct rt_error *err = rt_source_write_journal(source);

	/* The last moment to find the target gone: after this only its answer counts. */
	if (!err)
		err = rt_heartbeat_stop(rt_take_ptr(source->heartbeat), RT_HEARTBEAT_ANSWERED);
	if (!err)
		err = rt_link_say(source->dumper.fd, RT_LINK_HOLD);
	if (!err)
		err = rt_link_expect(source->dumper.fd, RT_LINK_HELD, "dumper");
	if (err)
		return rt_source_abort(source, err);
	source->committed = true;
	rt_pause("tool-held");
	err = ask_to_commit(source);
	if (err && !rt_http_was_sent(source->control)) {
		source->committed = false;
		return rt_source_abort(source, err);
	}
	return err ? resolve(source, err) : NULL;
}

void rt_source_release(struct rt_http_client *client, const char *migration)
{
	struct rt_http_connection *control = NULL;
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = rt_format(&path, "/v1/migrations/%s/forget", migration);

	if (!err)
		err = rt_http_connect(client, &control);
	if (!err)
		err = rt_http_ask(control, &(struct rt_http_request){ .method = "POST", .path = path, .body = "", .timeout_ms = ABORT_TIMEOUT_MS }, 0, NULL);
	rt_error_free(err);
	rt_http_disconnect(control);
}

struct rt_error *rt_source_finish(struct rt_source *source)
{
	struct rt_error *err = rt_link_say(source->dumper.fd, RT_LINK_COMMIT);

	if (!err)
		err = rt_link_expect(source->dumper.fd, RT_LINK_DONE, "dumper");
	if (err && err->code == RT_SYSTEM) {
		rt_warn_ignored(err);
		err = rt_source_act_alone(source->context, source->id, source->directory, RT_ALONE_THERE | (source->values->keep ? RT_ALONE_KEEP : 0));
	}
	if (!err && source->values->keep)
		err = rt_journal_remove(source->container.dir_fd, RT_JOURNAL_SOURCE);
	if (err)
		return rt_while(err, "it runs over there, but is not gone here: 'rt migrate --recover %s' takes it away", source->id);
	rt_source_release(source->client, source->migration);
	return NULL;
}

/* ---- undoing ---- */

/* False: it was killed, and has undone nothing. Its guard, which has the other end as well, has ended too by then: dismissed, done, or killed like it. */
static bool tell_dumper(struct rt_source *source, const struct rt_error *err)
{
	struct rt_link_message message = { .word = RT_LINK_ABORT };
	_cleanup_free_ char *text = rt_error_text(err);
	bool there;

	if (source->dumper.fd < 0)
		return true;
	snprintf(message.text, sizeof(message.text), "%s", text ? text : err->message);
	rt_error_free(rt_link_send(source->dumper.fd, &message)); /* it may have failed, which is why we are here */
	/* When it has ended, the container runs. */
	do {
		struct rt_error *failure = rt_link_receive(source->dumper.fd, -1, &message, &there);

		if (failure) {
			rt_error_free(failure);
			break;
		}
	} while (message.word != RT_LINK_END);
	return rt_dumper_end(&source->dumper);
}

/* First it runs again, then the others are told. */
struct rt_error *rt_source_abort(struct rt_source *source, struct rt_error *err)
{
	struct rt_http_answer answer = { .body = NULL };
	struct rt_http_connection *control = NULL;
	Rt__Outcome *outcome = NULL;
	struct rt_error *second;

	second = rt_heartbeat_stop(rt_take_ptr(source->heartbeat), RT_HEARTBEAT_CANCEL);
	/* It cancelled what went on meanwhile, and that has told no more than so. */
	if (second) {
		rt_error_free(err);
		err = rt_while(second, "the target was silent while the container was frozen");
	}
	rt_source_answer_end(source);
	rt_source_images_end(source);
	if (source->outflow) {
		rt_outflow_cancel(source->outflow);
		rt_error_free(rt_outflow_finish(source->outflow, NULL));
	}
	if (source->tracker)
		rt_tracker_release(source->tracker);
	if (source->detached)
		rt_warn_ignored(rt_network_attach(&source->network, source->id));
	if (!tell_dumper(source, err) && source->frozen)
		rt_warn_ignored(rt_source_act_alone(source->context, source->id, source->directory, source->paused ? RT_ALONE_PAUSED : 0));
	rt_warn_ignored(rt_journal_remove(source->container.dir_fd, RT_JOURNAL_SOURCE));
	if (!source->offered)
		return err;
	/* The one at hand may be in the middle of something, or cancelled. It gives up by itself where it can't be told. */
	second = rt_http_connect(source->client, &control);
	if (!second)
		second = rt_http_ask(control, &(struct rt_http_request){
			.method = "POST", .path = source->path_abort, .body = "", .timeout_ms = ABORT_TIMEOUT_MS,
		}, 0, &answer);
	if (!second)
		second = rt_message_outcome(answer.body, answer.size, &outcome);
	if (!second && outcome->rootfs_changed)
		rt_progress_note(source->progress, "the base of '%s' on the target is changed by what came, and must be renewed before the next --rootfs diff",
				 source->target_id);
	rt_error_free(second);
	/* Until here the target may have answered in its name. */
	if (source->detached)
		rt_warn_ignored(rt_network_announce(&source->network, source->id));
	if (outcome)
		rt_unpack_free(&outcome->base);
	free(answer.body);
	rt_http_disconnect(control);
	return err;
}
