/* One request about one migration, from begin to finish: what it stores with, and how it is answered. For the files with the paths of the protocol. */
#pragma once

#include "migrate/codec.h"
#include "migrate/files.h"
#include "migrate/target_private.h"

#include <protobuf-c/protobuf-c.h>

/* A body that is small enough to be had whole. */
struct rt_target_held {
	uint8_t *bytes;
	size_t size, room;
};

struct rt_target_request {
	struct rt_move *move; /* with a reference; NULL: the id is not known */
	bool used;
	unsigned exclusive; /* as in rt_move_use() */
	struct rt_frame_decoder *decoder;
	struct rt_codec *codec;
	struct rt_files_in *files;
	struct rt_tree_receiver *tree;
	struct rt_target_held held;
	int fd; /* of the directory that is written to */
	struct rt_http_exchange *exchange;
	uint64_t bytes; /* received */
	uint64_t arrived_space, arrived_start, arrived_pages; /* stored, and the worker not told of them yet */
};

struct rt_error *rt_target_hold(struct rt_target_held *held, const void *bytes, size_t size) _must_check_;

/* Its `move` is NULL where the id is not known. Ends with rt_target_request_finish(), a finish of a route. */
struct rt_error *rt_target_request_new(struct rt_target *target, struct rt_http_exchange *exchange, struct rt_target_request **ret) _must_check_;
/* RT_NOT_FOUND where it is not known. */
struct rt_error *rt_target_request_known(struct rt_target *target, struct rt_http_exchange *exchange, struct rt_target_request **ret) _must_check_;
/* One that stores; `exclusive` as in rt_move_use(). */
struct rt_error *rt_target_request_storing(struct rt_target *target, struct rt_http_exchange *exchange, unsigned exclusive, struct rt_target_request **ret) _must_check_;
/* It has stored. Done before the answer where whoever hears that goes on to the next. */
void rt_target_request_unuse(struct rt_target_request *request);
void rt_target_request_finish(void *target, void *request, bool complete);

struct rt_error *rt_target_reply_message(struct rt_http_exchange *exchange, const ProtobufCMessage *message) _must_check_;
/* `move` may be NULL; `why` counts more than its reason. */
struct rt_error *rt_target_reply_outcome(struct rt_http_exchange *exchange, struct rt_move *move, Rt__MoveState state, const struct rt_error *why) _must_check_;

/* target_streams.c: what comes as frames. Handlers of routes. */
struct rt_error *rt_target_rootfs_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state) _must_check_;
struct rt_error *rt_target_rootfs_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size) _must_check_;
struct rt_error *rt_target_rootfs_end(void *userdata, struct rt_http_exchange *exchange, void *state) _must_check_;
struct rt_error *rt_target_pages_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state) _must_check_;
struct rt_error *rt_target_pages_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size) _must_check_;
struct rt_error *rt_target_pages_end(void *userdata, struct rt_http_exchange *exchange, void *state) _must_check_;
struct rt_error *rt_target_images_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state) _must_check_;
struct rt_error *rt_target_images_end(void *userdata, struct rt_http_exchange *exchange, void *state) _must_check_;
struct rt_error *rt_target_final_begin(void *userdata, struct rt_http_exchange *exchange, void **ret_state) _must_check_;
struct rt_error *rt_target_files_data(void *userdata, struct rt_http_exchange *exchange, void *state, const void *bytes, size_t size) _must_check_;
struct rt_error *rt_target_final_end(void *userdata, struct rt_http_exchange *exchange, void *state) _must_check_;
