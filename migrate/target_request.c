#include "migrate/target_request.h"

#include "checkpoint/unpack.h"
#include "runtime/base/str.h"

#include <string.h>

struct rt_error *rt_target_hold(struct rt_target_held *held, const void *bytes, size_t size)
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

void rt_target_request_unuse(struct rt_target_request *request)
{
	if (request->used)
		rt_move_unuse(request->move, request->exclusive);
	request->used = false;
}

void rt_target_request_finish(void *userdata, void *state, bool complete)
{
	struct rt_target *target = userdata;
	struct rt_target_request *request = state;

	rt_frame_decoder_free(request->decoder);
	rt_codec_free(request->codec);
	rt_files_in_free(request->files);
	rt_tree_receiver_free(request->tree);
	free(request->held.bytes);
	rt_closep(&request->fd);
	rt_target_request_unuse(request);
	pthread_mutex_lock(&target->lock);
	target->bytes_received += request->bytes;
	pthread_mutex_unlock(&target->lock);
	rt_target_unref(target, request->move);
	free(request);
}

struct rt_error *rt_target_request_new(struct rt_target *target, struct rt_http_exchange *exchange, struct rt_target_request **ret)
{
	struct rt_target_request *request = calloc(1, sizeof(*request));

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

struct rt_error *rt_target_request_known(struct rt_target *target, struct rt_http_exchange *exchange, struct rt_target_request **ret)
{
	struct rt_error *err = rt_target_request_new(target, exchange, ret);

	if (err || (*ret)->move)
		return err;
	rt_target_request_finish(target, *ret, false);
	return rt_fail(RT_NOT_FOUND, "there is no migration '%s' here", rt_http_exchange_word(exchange));
}

struct rt_error *rt_target_request_storing(struct rt_target *target, struct rt_http_exchange *exchange, unsigned exclusive, struct rt_target_request **ret)
{
	struct rt_error *err = rt_target_request_known(target, exchange, ret);

	if (err)
		return err;
	(*ret)->exclusive = exclusive;
	err = rt_move_use((*ret)->move, exclusive);
	(*ret)->used = !err;
	if (err)
		rt_target_request_finish(target, *ret, false);
	return err;
}

struct rt_error *rt_target_reply_message(struct rt_http_exchange *exchange, const ProtobufCMessage *message)
{
	_cleanup_free_ void *bytes = NULL;
	struct rt_error *err;
	size_t size;

	err = rt_pack(message, &bytes, &size);
	return err ? err : rt_http_reply(exchange, 200, RT_MIGRATE_CONTENT, bytes, size);
}

struct rt_error *rt_target_reply_outcome(struct rt_http_exchange *exchange, struct rt_move *move, Rt__MoveState state, const struct rt_error *why)
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
	return rt_target_reply_message(exchange, &outcome.base);
}
