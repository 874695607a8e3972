/* The paths of the protocol: docs/migration-protocol.md. What a request does to a migration is in move.h. */
#include "migrate/target_request.h"

#include "checkpoint/unpack.h"
#include "migrate/tap.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>

#define STREAM_MAX (1ull << 46)

/* ---- POST /v1/migrations ---- */

static struct rt_error *offer_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	*ret_state = calloc(1, sizeof(struct rt_target_held));
	return *ret_state ? NULL : rt_error_oom();
}

static struct rt_error *offer_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	return rt_target_hold(state, bytes, size);
}

static Rt__Answer *answer_new(const struct rt_target *target)
{
	Rt__Answer *answer = malloc(sizeof(*answer));

	if (!answer)
		return NULL;
	rt__answer__init(answer);
	answer->protocol = RT_MIGRATE_PROTOCOL;
	answer->maker = target->self->maker; /* borrowed */
	return answer;
}

static void log_offer(const struct rt_http_exchange *exchange, const Rt__Answer *answer, const char *id)
{
	const char *peer = rt_http_exchange_peer(exchange);

	if (answer->accepted)
		rt_info("%s offers '%s': accepted", peer, id);
	else
		rt_info("%s offers '%s': refused: %s", peer, id, answer->n_reasons ? answer->reasons[0] : "");
}

static struct rt_error *offer_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target *target = userdata;
	struct rt_target_held *offering = state;
	_cleanup_free_ char *id = NULL;
	Rt__Offer *offer;
	Rt__Answer *answer;
	struct rt_error *err = rt_message_offer(offering->bytes ? offering->bytes : (uint8_t *)"", offering->size, &offer);

	if (err)
		return err;
	id = strdup(offer->id);
	answer = answer_new(target);
	if (!id || !answer) {
		rt_unpack_free(&offer->base);
		free(answer);
		return rt_error_oom();
	}
	err = rt_target_take_offer(target, offer, answer);
	if (!err) {
		log_offer(exchange, answer, id);
		pthread_mutex_lock(&target->lock);
		if (answer->accepted)
			target->count_accepted++;
		else
			target->count_refused++;
		pthread_mutex_unlock(&target->lock);
		err = rt_target_reply_message(exchange, &answer->base);
	}
	answer->maker = NULL;
	rt__answer__free_unpacked(answer, NULL);
	return err;
}

static void offer_finish(void *userdata, void *state, bool complete)
{
	struct rt_target_held *offering = state;

	free(offering->bytes);
	free(offering);
}

/* ---- POST .../frozen, .../commit and .../abort, GET ... ---- */

static struct rt_error *plain_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	return rt_target_request_new(userdata, exchange, (struct rt_target_request **)ret_state);
}

static struct rt_error *known_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	return rt_target_request_known(userdata, exchange, (struct rt_target_request **)ret_state);
}

static struct rt_error *frozen_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	struct rt_target_request *request = state;

	return rt_target_hold(&request->held, bytes, size);
}

static struct rt_error *frozen_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;
	struct rt_error *err = rt_move_catch(request->move, request->held.bytes, request->held.size);

	return err ? err : rt_http_reply(exchange, 200, "text/plain", "", 0);
}

static struct rt_error *commit_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;
	struct rt_error *err = rt_move_commit(request->move), *reply;

	if (!err)
		rt_info("'%s' runs here", request->move->offer->id);
	reply = rt_target_reply_outcome(exchange, request->move, rt_move_state(request->move), err);
	rt_error_free(err);
	return reply;
}

static struct rt_error *abort_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;

	if (!request->move)
		return rt_target_reply_outcome(exchange, NULL, RT__MOVE_STATE__MOVE_UNKNOWN, NULL);
	return rt_target_reply_outcome(exchange, request->move, rt_move_abort(request->move, "the source gave it up"), NULL);
}

/* The source has heard that it runs here with all it needs, and has let go of its own copy. */
static struct rt_error *forget_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;

	if (!rt_move_release(request->move))
		return rt_fail(RT_WRONG_STATE, "the migration is %s, not complete", rt_move_state_name(rt_move_state(request->move)));
	return rt_http_reply(exchange, 200, "text/plain", "", 0);
}

static struct rt_error *reply_text(struct rt_http_exchange *exchange, const char *type, char *text)
{
	struct rt_error *err = text ? rt_http_reply(exchange, 200, type, text, strlen(text)) : rt_error_oom();

	free(text);
	return err;
}

static struct rt_error *move_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;

	return reply_text(exchange, "application/json", rt_target_move_json(request->move));
}

/* ---- GET .../faults ---- */

#define WANT_SIZE 24
#define LOOK_MS 100

struct wants {
	struct rt_target *target;
	struct rt_move *move;
	struct rt_http_exchange *exchange;
};

static void write_u64(uint8_t *to, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static struct rt_error *wants_pull(void *userdata, void *buffer, size_t room, size_t *ret_size)
{
	struct wants *wants = userdata;
	struct rt_move_want want;
	bool end = false;

	*ret_size = 0;
	if (room < WANT_SIZE)
		return rt_fail(RT_SYSTEM, "no room for a record");
	while (!rt_move_next_want(wants->move, LOOK_MS, &want, &end)) {
		if (end)
			return NULL;
		if (rt_http_exchange_gone(wants->exchange))
			return rt_fail(RT_PEER, "nobody listens any more");
	}
	write_u64(buffer, want.space);
	write_u64((uint8_t *)buffer + 8, want.start);
	write_u64((uint8_t *)buffer + 16, want.pages);
	*ret_size = WANT_SIZE;
	return NULL;
}

static void wants_close(void *userdata)
{
	struct wants *wants = userdata;

	rt_target_unref(wants->target, wants->move);
	free(wants);
}

static struct rt_error *faults_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target *target = userdata;
	struct rt_target_request *request = state;
	struct wants *wants = malloc(sizeof(*wants));
	struct rt_error *err;

	if (!wants)
		return rt_error_oom();
	*wants = (struct wants){ .target = target, .move = rt_target_find(target, rt_http_exchange_word(exchange)), .exchange = exchange };
	if (!wants->move) {
		free(wants);
		return rt_fail(RT_NOT_FOUND, "the migration '%s' has just ended", request->move->offer->migration);
	}
	err = rt_http_reply_stream(exchange, "application/octet-stream", wants_pull, wants_close, wants);
	if (err)
		wants_close(wants);
	return err;
}

/* ---- GET /v1/status, /v1/metrics ---- */

static struct rt_error *nothing_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	*ret_state = NULL;
	return NULL;
}

static void nothing_finish(void *userdata, void *state, bool complete)
{
}

static struct rt_error *status_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	return reply_text(exchange, "application/json", rt_target_status_json(userdata));
}

static struct rt_error *metrics_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	return reply_text(exchange, "text/plain; version=0.0.4", rt_target_metrics(userdata));
}

const struct rt_http_route rt_target_routes[] = {
	{ .method = "POST", .path = "/v1/migrations", .body_limit = RT_TARGET_OFFER_MAX, .begin = offer_begin, .data = offer_data, .end = offer_end,
	  .finish = offer_finish },
	{ .method = "POST", .path = "/v1/migrations/*/rootfs", .body_limit = STREAM_MAX, .begin = rt_target_rootfs_begin, .data = rt_target_rootfs_data, .end = rt_target_rootfs_end,
	  .finish = rt_target_request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/pages", .body_limit = STREAM_MAX, .begin = rt_target_pages_begin, .data = rt_target_pages_data, .end = rt_target_pages_end,
	  .finish = rt_target_request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/images", .body_limit = STREAM_MAX, .begin = rt_target_images_begin, .data = rt_target_files_data, .end = rt_target_images_end,
	  .finish = rt_target_request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/final", .body_limit = STREAM_MAX, .begin = rt_target_final_begin, .data = rt_target_files_data, .end = rt_target_final_end,
	  .finish = rt_target_request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/frozen", .body_limit = RT_TAP_LIMIT, .begin = known_begin, .data = frozen_data, .end = frozen_end,
	  .finish = rt_target_request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/commit", .begin = known_begin, .end = commit_end, .finish = rt_target_request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/abort", .begin = plain_begin, .end = abort_end, .finish = rt_target_request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/forget", .begin = known_begin, .end = forget_end, .finish = rt_target_request_finish },
	{ .method = "GET", .path = "/v1/migrations/*/faults", .begin = known_begin, .end = faults_end, .finish = rt_target_request_finish },
	{ .method = "GET", .path = "/v1/migrations/*", .begin = known_begin, .end = move_end, .finish = rt_target_request_finish },
	{ .method = "GET", .path = "/v1/status", .begin = nothing_begin, .end = status_end, .finish = nothing_finish },
	{ .method = "GET", .path = "/v1/metrics", .begin = nothing_begin, .end = metrics_end, .finish = nothing_finish },
	{ NULL },
};
