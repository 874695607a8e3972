/* POST .../rootfs, .../pages, .../images and .../final: bodies that are streamed to where they belong. */
#include "migrate/target_request.h"

#include "checkpoint/unpack.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

/* Images without memory are small; with it, they are what the offer said. */
#define IMAGES_MAX (1ull << 30)

/* ---- POST .../rootfs ---- */

struct rt_error *rt_target_rootfs_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	struct rt_target *target = userdata;
	struct rt_target_request *request = NULL;
	bool diff;
	struct rt_error *err = rt_target_request_storing(target, exchange, RT_MOVE_ROOTFS, &request);

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
		rt_target_request_finish(target, request, false);
		return err;
	}
	*ret_state = request;
	return NULL;
}

struct rt_error *rt_target_rootfs_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	struct rt_target_request *request = state;

	struct rt_error *err = rt_move_heard(request->move);

	request->bytes += size;
	return err ? err : rt_tree_receive(request->tree, bytes, size);
}

struct rt_error *rt_target_rootfs_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;
	struct rt_tree_totals totals;
	struct rt_error *err = rt_tree_receiver_finish(request->tree, &totals);

	/* The first time it is all there: what needs it can begin. */
	if (!err && !request->move->prepared)
		err = rt_move_start_worker(request->move);
	return err ? err : rt_http_reply(exchange, 200, "text/plain", "", 0);
}

/* ---- POST .../pages and .../final ---- */

static struct rt_error *frames_begin(void *userdata, struct rt_http_exchange *exchange, unsigned exclusive, struct rt_target_request **ret)
{
	struct rt_error *err = rt_target_request_storing(userdata, exchange, exclusive, ret);

	if (err)
		return err;
	err = rt_frame_decoder_new(&(*ret)->decoder);
	if (!err)
		err = rt_codec_new(RT_COMPRESS_NONE, NULL, NULL, &(*ret)->codec);
	if (err)
		rt_target_request_finish(userdata, *ret, false);
	return err;
}

static struct rt_error *take_frames(struct rt_target_request *request, const uint8_t *bytes, size_t size,
				    struct rt_error *(*take)(struct rt_target_request *request, const struct rt_frame *frame))
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

struct rt_error *rt_target_pages_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	struct rt_target_request *request = NULL;
	struct rt_error *err = frames_begin(userdata, exchange, 0, &request);

	if (err)
		return err;
	if (!request->move->sets) {
		rt_target_request_finish(userdata, request, false);
		return rt_fail(RT_WRONG_STATE, "no memory was offered");
	}
	*ret_state = request;
	return NULL;
}

/* After the sets have gone to the worker only spaces that the images know can hold anything. */
static struct rt_error *find_set(struct rt_target_request *request, uint64_t space, struct rt_pageset **ret)
{
	struct rt_move *move = request->move;

	*ret = rt_pagesets_find(move->sets, space);
	if (*ret || move->sets_given)
		return NULL;
	return rt_pagesets_get(move->sets, space, ret);
}

static void tell_arrived(struct rt_target_request *request)
{
	if (request->arrived_pages > 0)
		rt_move_arrived(request->move, request->arrived_space, request->arrived_start, request->arrived_pages);
	request->arrived_pages = 0;
}

/* Memory comes in many small runs, zeros and others by turns: the worker is told of all that lie side by side at once. */
static void note_arrived(struct rt_target_request *request, const struct rt_frame *frame)
{
	uint64_t end = request->arrived_start + request->arrived_pages * RT_PAGESET_PAGE;

	if (request->arrived_pages > 0 && (frame->space != request->arrived_space || frame->start != end))
		tell_arrived(request);
	if (request->arrived_pages == 0) {
		request->arrived_space = frame->space;
		request->arrived_start = frame->start;
	}
	request->arrived_pages += frame->size / RT_PAGESET_PAGE;
}

static struct rt_error *take_page_frame(struct rt_target_request *request, const struct rt_frame *frame)
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
		note_arrived(request, frame);
	return err;
}

struct rt_error *rt_target_pages_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	struct rt_error *err = take_frames(state, bytes, size, take_page_frame);

	tell_arrived(state);
	return err;
}

struct rt_error *rt_target_pages_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;
	struct rt_error *err = rt_frame_decoder_finish(request->decoder);

	return err ? err : rt_http_reply(exchange, 200, "text/plain", "", 0);
}

/* Two requests may carry images, one after the other. */
static struct rt_error *files_begin(struct rt_target *target, struct rt_http_exchange *exchange, unsigned exclusive, void **ret_state)
{
	struct rt_target_request *request = NULL;
	struct rt_error *err = frames_begin(target, exchange, exclusive, &request);
	struct rt_move *move = request ? request->move : NULL;

	if (err)
		return err;
	if (!move->prepared)
		err = rt_fail(RT_WRONG_STATE, "the root filesystem has not come yet");
	if (!err) {
		request->fd = openat(move->dir_fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = request->fd < 0 ? rt_fail_errno("cannot open the image directory") : NULL;
	}
	if (!err)
		err = rt_files_in_new(request->fd, IMAGES_MAX + (move->sets ? 0 : move->offer->memory * 2) - move->image_bytes, &request->files);
	if (err) {
		rt_target_request_finish(target, request, false);
		return err;
	}
	*ret_state = request;
	return NULL;
}

struct rt_error *rt_target_images_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	return files_begin(userdata, exchange, RT_MOVE_IMAGES, ret_state);
}

struct rt_error *rt_target_final_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state)
{
	return files_begin(userdata, exchange, RT_MOVE_ROOTFS | RT_MOVE_IMAGES, ret_state);
}

static struct rt_error *take_file_frame(struct rt_target_request *request, const struct rt_frame *frame)
{
	const void *data = NULL;
	struct rt_error *err = NULL;

	if (frame->type != RT_FRAME_END && frame->type != RT_FRAME_ZERO && frame->type != RT_FRAME_STALE)
		err = rt_codec_unpack(request->codec, frame, &data);
	return err ? err : rt_files_in_take(request->files, frame, data);
}

struct rt_error *rt_target_files_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size)
{
	return take_frames(state, bytes, size, take_file_frame);
}

/* Whoever hears the answer may send the rest at once. */
struct rt_error *rt_target_images_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;
	struct rt_error *err = rt_frame_decoder_finish(request->decoder);

	request->move->image_bytes += rt_files_in_used(request->files);
	rt_target_request_unuse(request);
	return err ? err : rt_http_reply(exchange, 200, "text/plain", "", 0);
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

struct rt_error *rt_target_final_end(void *userdata, struct rt_http_exchange *exchange, void *state)
{
	struct rt_target_request *request = state;
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
		rt_target_request_unuse(request);
		reply = rt_target_reply_outcome(exchange, move, rt_move_abort(move, text), err);
		rt_error_free(err);
		return reply;
	}
	return rt_target_reply_outcome(exchange, move, RT__MOVE_STATE__MOVE_READY, NULL);
}
