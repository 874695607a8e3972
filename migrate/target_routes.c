/* The paths of the protocol: docs/migration-protocol.md. Each request is a small struct from begin to finish; what it does to a migration is in move.h. */
#include "migrate/target_private.h"

#include "checkpoint/unpack.h"
#include "migrate/codec.h"
#include "migrate/files.h"
#include "migrate/tap.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>

/* Images without memory are small; with it, they are what the offer said. */
#define IMAGES_MAX (1ull << 30)
#define STREAM_MAX (1ull << 46)

/* ---- one request about one migration ---- */

/* A body that is small enough to be had whole. */
struct held {
	uint8_t *bytes;
	size_t size, room;
};

static struct rt_error *hold(struct held *held, const void *bytes, size_t size)
{
	if (held->size + size > held->room) {
		size_t room = (held->size + size) * 2;
		uint8_t *larger = realloc(held->bytes, room);

		if (!larger)
			return rt_error_oom();
		held->bytes = larger;
		held->room = room;
	}
	memcpy(held->bytes + held->size, bytes, size);
	held->size += size;
	return NULL;
}

struct request {
	struct rt_move *move; /* with a reference; NULL: the id is not known */
	bool used, exclusive;
	struct rt_frame_decoder *decoder;
	struct rt_codec *codec;
	struct rt_files_in *files;
	struct rt_tree_receiver *tree;
	struct held held;
	int fd; /* of the directory that is written to */
	struct rt_http_exchange *exchange;
	uint64_t bytes;
};

static void request_finish(void *userdata, void *state, bool complete)
{
	struct rt_target *target = userdata;
	struct request *request = state;

	rt_frame_decoder_free(request->decoder);
	rt_codec_free(request->codec);
	rt_files_in_free(request->files);
	rt_tree_receiver_free(request->tree);
	free(request->held.bytes);
	rt_closep(&request->fd);
	if (request->used)
		rt_move_unuse(request->move, request->exclusive);
	pthread_mutex_lock(&target->lock);
	target->bytes_received += request->bytes;
	pthread_mutex_unlock(&target->lock);
	rt_target_unref(target, request->move);
	free(request);
}

static struct rt_error *request_new(struct rt_target *target, struct rt_http_exchange *exchange, struct request **ret)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return rt_error_oom();
	request->fd = -1;
	request->exchange = exchange;
	request->move = rt_target_find(target, rt_http_exchange_word(exchange));
	if (request->move)
		rt_error_free(rt_move_heard(request->move)); /* whether it is still wanted is for the request to ask */
	*ret = request;
	return NULL;
}

static struct rt_error *request_known(struct rt_target *target, struct rt_http_exchange *exchange, struct request **ret)
{
	struct rt_error *err = request_new(target, exchange, ret);

	if (err || (*ret)->move)
		return err;
	request_finish(target, *ret, false);
	return rt_fail(RT_NOT_FOUND, "there is no migration '%s' here", rt_http_exchange_word(exchange));
}

/* One that stores. */
static struct rt_error *request_storing(struct rt_target *target, struct rt_http_exchange *exchange, bool exclusive, struct request **ret)
{
	struct rt_error *err = request_known(target, exchange, ret);

	if (err)
		return err;
	(*ret)->exclusive = exclusive;
	err = rt_move_use((*ret)->move, exclusive);
	(*ret)->used = !err;
	if (err)
		request_finish(target, *ret, false);
	return err;
}

static struct rt_error *reply_message(struct rt_http_exchange *exchange, const ProtobufCMessage *message)
{
	_cleanup_free_ void *bytes = NULL;
	struct rt_error *err;
	size_t size;

	err = rt_pack(message, &bytes, &size);
	return err ? err : rt_http_reply(exchange, 200, RT_MIGRATE_CONTENT, bytes, size);
}

static struct rt_error *reply_outcome(struct rt_http_exchange *exchange, struct rt_move *move, Rt__MoveState state, const struct rt_error *why)
{
	_cleanup_free_ char *reason = why ? rt_error_text(why) : move ? rt_move_reason(move) : NULL;
	Rt__Outcome outcome = RT__OUTCOME__INIT;

	outcome.state = state;
	outcome.check = ~(uint32_t)state;
	if (reason)
		outcome.reason = reason;
	if (move) {
		outcome.restore_us = move->restore_us;
		outcome.resume_us = move->resume_us;
		outcome.rootfs_changed = move->rootfs_changed && state == RT__MOVE_STATE__MOVE_ABORTED;
	}
	return reply_message(exchange, &outcome.base);
}

/* ---- POST /v1/migrations ---- */

static struct rt_error *offer_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	*ret_state = calloc(1, sizeof(struct held));
	return *ret_state ? NULL : rt_error_oom();
}

static struct rt_error *offer_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	return hold(state, bytes, size);
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
	struct held *offering = state;
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
		err = reply_message(exchange, &answer->base);
	}
	answer->maker = NULL;
	rt__answer__free_unpacked(answer, NULL);
	return err;
}

static void offer_finish(void *userdata, void *state, bool complete)
{
	struct held *offering = state;

	free(offering->bytes);
	free(offering);
}

/* ---- POST .../rootfs ---- */

static struct rt_error *rootfs_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	struct rt_target *target = userdata;
	struct request *request = NULL;
	bool diff;
	struct rt_error *err = request_storing(target, exchange, true, &request);

	if (err)
		return err;
	diff = request->move->offer->rootfs == RT__MOVE_ROOTFS__ROOTFS_DIFF;
	if (!diff && request->move->offer->rootfs != RT__MOVE_ROOTFS__ROOTFS_COPY)
		err = rt_fail(RT_WRONG_STATE, "no root filesystem was offered");
	if (!err) {
		request->fd = open(request->move->rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = request->fd < 0 ? rt_fail_errno("cannot open '%s'", request->move->rootfs) : NULL;
	}
	if (!err && diff)
		err = rt_target_open_base(request->move);
	if (!err)
		err = rt_tree_receiver_new(&(struct rt_tree_receive_options){
			.root_fd = request->fd, .max_bytes = target->max_rootfs, .privileged_nodes = true, .flags = diff ? RT_TREE_MERGED : 0,
			.merged = request->move->merged,
		}, &request->tree);
	if (err) {
		request_finish(target, request, false);
		return err;
	}
	*ret_state = request;
	return NULL;
}

static struct rt_error *rootfs_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	struct request *request = state;

	struct rt_error *err = rt_move_heard(request->move);

	request->bytes += size;
	return err ? err : rt_tree_receive(request->tree, bytes, size);
}

static struct rt_error *rootfs_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct request *request = state;
	struct rt_tree_totals totals;
	struct rt_error *err = rt_tree_receiver_finish(request->tree, &totals);

	/* The first time it is all there: what needs it can begin. */
	if (!err && !request->move->prepared)
		err = rt_move_start_worker(request->move);
	return err ? err : rt_http_reply(exchange, 200, "text/plain", "", 0);
}

/* ---- POST .../pages and .../final ---- */

static struct rt_error *frames_begin(void *userdata, struct rt_http_exchange *exchange, bool exclusive, struct request **ret)
{
	struct rt_error *err = request_storing(userdata, exchange, exclusive, ret);

	if (err)
		return err;
	err = rt_frame_decoder_new(&(*ret)->decoder);
	if (!err)
		err = rt_codec_new(RT_CODEC_NONE, &(*ret)->codec);
	if (err)
		request_finish(userdata, *ret, false);
	return err;
}

static struct rt_error *take_frames(struct request *request, const uint8_t *bytes, size_t size,
				    struct rt_error *(*take)(struct request *request, const struct rt_frame *frame))
{
	struct rt_error *err = rt_move_heard(request->move);

	request->bytes += size;
	while (size > 0 && !err) {
		struct rt_frame frame;
		bool ready;
		size_t taken;

		err = rt_frame_decode(request->decoder, bytes, size, &taken, &frame, &ready);
		if (err)
			break;
		bytes += taken;
		size -= taken;
		if (ready)
			err = take(request, &frame);
	}
	return err;
}

static struct rt_error *pages_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	struct request *request = NULL;
	struct rt_error *err = frames_begin(userdata, exchange, false, &request);

	if (err)
		return err;
	if (!request->move->sets) {
		request_finish(userdata, request, false);
		return rt_fail(RT_WRONG_STATE, "no memory was offered");
	}
	*ret_state = request;
	return NULL;
}

/* After the sets have gone to the worker only spaces that the images know can hold anything. */
static struct rt_error *find_set(struct request *request, uint64_t space, struct rt_pageset **ret)
{
	struct rt_move *move = request->move;

	*ret = rt_pagesets_find(move->sets, space);
	if (*ret || move->sets_given)
		return NULL;
	return rt_pagesets_get(move->sets, space, ret);
}

static struct rt_error *take_page_frame(struct request *request, const struct rt_frame *frame)
{
	struct rt_move *move = request->move;
	struct rt_pageset *set = NULL;
	struct rt_error *err;
	const void *data;

	if (frame->type == RT_FRAME_END)
		return NULL;
	if (frame->type != RT_FRAME_PAGES && frame->type != RT_FRAME_ZERO && frame->type != RT_FRAME_STALE)
		return rt_fail(RT_PEER, "files where pages are due");
	err = find_set(request, frame->space, &set);
	if (err || !set)
		return err;
	if (frame->type == RT_FRAME_STALE) {
		/* A task may have it already. */
		return move->sets_given ? rt_fail(RT_PEER, "memory is called old after it was given to the container") : rt_pageset_forget(set, frame->start, frame->size);
	}
	if (frame->type == RT_FRAME_ZERO) {
		err = rt_pageset_store_zero(set, frame->start, frame->size);
	} else {
		err = rt_codec_unpack(request->codec, frame, &data);
		if (!err)
			err = rt_pageset_store(set, frame->start, data, frame->size);
	}
	if (!err && move->sets_given)
		rt_move_arrived(move, frame->space, frame->start, frame->size / RT_PAGESET_PAGE);
	return err;
}

static struct rt_error *pages_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	return take_frames(state, bytes, size, take_page_frame);
}

static struct rt_error *pages_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct request *request = state;
	struct rt_error *err = rt_frame_decoder_finish(request->decoder);

	return err ? err : rt_http_reply(exchange, 200, "text/plain", "", 0);
}

static struct rt_error *final_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	struct request *request = NULL;
	struct rt_error *err = frames_begin(userdata, exchange, true, &request);

	if (err)
		return err;
	if (!request->move->prepared)
		err = rt_fail(RT_WRONG_STATE, "the root filesystem has not come yet");
	if (!err) {
		request->fd = openat(request->move->dir_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = request->fd < 0 ? rt_fail_errno("cannot open the image directory") : NULL;
	}
	if (!err)
		err = rt_files_in_new(request->fd, IMAGES_MAX + (request->move->sets ? 0 : request->move->offer->memory * 2), &request->files);
	if (err) {
		request_finish(userdata, request, false);
		return err;
	}
	*ret_state = request;
	return NULL;
}

static struct rt_error *take_file_frame(struct request *request, const struct rt_frame *frame)
{
	const void *data = NULL;
	struct rt_error *err = NULL;

	if (frame->type != RT_FRAME_END && frame->type != RT_FRAME_ZERO && frame->type != RT_FRAME_STALE)
		err = rt_codec_unpack(request->codec, frame, &data);
	return err ? err : rt_files_in_take(request->files, frame, data);
}

static struct rt_error *final_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	return take_frames(state, bytes, size, take_file_frame);
}

/* Post-copy: pages may come of each space that the images know, so a set for each must be there before the worker gets them. */
static struct rt_error *make_sets(struct rt_move *move, int image_fd)
{
	int own = openat(image_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = own < 0 ? NULL : fdopendir(own);
	struct rt_error *err = NULL;
	struct dirent *entry;
	struct rt_pageset *set;

	if (!dir)
		return rt_fail_errno("cannot read the image directory");
	while (!err && (entry = readdir(dir))) {
		unsigned long long space;
		int end = 0;

		if (sscanf(entry->d_name, "pagemap-%llu.img%n", &space, &end) == 1 && end > 0 && entry->d_name[end] == '\0')
			err = rt_pagesets_get(move->sets, space, &set);
	}
	return err;
}

static bool is_gone(void *userdata)
{
	return rt_http_exchange_gone(userdata);
}

static struct rt_error *final_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct request *request = state;
	struct rt_move *move = request->move;
	struct rt_error *err = rt_frame_decoder_finish(request->decoder);

	if (!err && move->sets)
		err = make_sets(move, request->fd);
	if (!err)
		err = rt_move_restore(move, is_gone, exchange);
	if (err) {
		_cleanup_free_ char *text = rt_error_text(err);
		struct rt_error *reply;

		/* It waits for all who store, and this one is done with it. */
		rt_move_unuse(move, true);
		request->used = false;
		reply = reply_outcome(exchange, move, rt_move_abort(move, text), err);
		rt_error_free(err);
		return reply;
	}
	return reply_outcome(exchange, move, RT__MOVE_STATE__MOVE_READY, NULL);
}

/* ---- POST .../frozen, .../commit and .../abort, GET ... ---- */

static struct rt_error *plain_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	return request_new(userdata, exchange, (struct request **)ret_state);
}

static struct rt_error *known_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	return request_known(userdata, exchange, (struct request **)ret_state);
}

static struct rt_error *frozen_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	struct request *request = state;

	return hold(&request->held, bytes, size);
}

static struct rt_error *frozen_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct request *request = state;
	struct rt_error *err = rt_move_catch(request->move, request->held.bytes, request->held.size);

	return err ? err : rt_http_reply(exchange, 200, "text/plain", "", 0);
}

static struct rt_error *commit_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct request *request = state;
	struct rt_error *err = rt_move_commit(request->move), *reply;

	if (!err)
		rt_info("'%s' runs here", request->move->offer->id);
	reply = reply_outcome(exchange, request->move, rt_move_state(request->move), err);
	rt_error_free(err);
	return reply;
}

static struct rt_error *abort_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct request *request = state;

	if (!request->move)
		return reply_outcome(exchange, NULL, RT__MOVE_STATE__MOVE_UNKNOWN, NULL);
	return reply_outcome(exchange, request->move, rt_move_abort(request->move, "the source gave it up"), NULL);
}

/* The source has heard that it runs here with all it needs, and has let go of its own copy. */
static struct rt_error *forget_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct request *request = state;

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
	struct request *request = state;

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
	struct request *request = state;
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
	{ .method = "POST", .path = "/v1/migrations/*/rootfs", .body_limit = STREAM_MAX, .begin = rootfs_begin, .data = rootfs_data, .end = rootfs_end,
	  .finish = request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/pages", .body_limit = STREAM_MAX, .begin = pages_begin, .data = pages_data, .end = pages_end,
	  .finish = request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/final", .body_limit = STREAM_MAX, .begin = final_begin, .data = final_data, .end = final_end,
	  .finish = request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/frozen", .body_limit = RT_TAP_LIMIT, .begin = known_begin, .data = frozen_data, .end = frozen_end,
	  .finish = request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/commit", .begin = known_begin, .end = commit_end, .finish = request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/abort", .begin = plain_begin, .end = abort_end, .finish = request_finish },
	{ .method = "POST", .path = "/v1/migrations/*/forget", .begin = known_begin, .end = forget_end, .finish = request_finish },
	{ .method = "GET", .path = "/v1/migrations/*/faults", .begin = known_begin, .end = faults_end, .finish = request_finish },
	{ .method = "GET", .path = "/v1/migrations/*", .begin = known_begin, .end = move_end, .finish = request_finish },
	{ .method = "GET", .path = "/v1/status", .begin = nothing_begin, .end = status_end, .finish = nothing_finish },
	{ .method = "GET", .path = "/v1/metrics", .begin = nothing_begin, .end = metrics_end, .finish = nothing_finish },
	{ NULL },
};
