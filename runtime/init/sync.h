/* What parent and child say to each other while a process comes up: named messages over a SOCK_SEQPACKET pair.
 *
 * The child asks, the parent serves; each request is answered by GO. A child that fails says why in its last message, and
 * that wins over "the child died". Values in messages are answers, never arguments that tell the parent what to touch. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>
#include <sys/types.h>

enum rt_sync_kind {
	RT_SYNC_GO, /* parent: go on; value: our pid as the host sees it */
	RT_SYNC_ERROR, /* child: failed; code, errnum, text */
	RT_SYNC_FORKED, /* intermediate process: the pidfd of the one that goes on, whose pid it may see as another number */
	RT_SYNC_HOOKS, /* child: run the hooks of the host, then GO */
	RT_SYNC_CONSOLE, /* child: here is the terminal's master (descriptor) */
	RT_SYNC_LISTENER, /* child: value is the number of its seccomp listener, to be fetched; then GO */
	RT_SYNC_READY, /* child: only the wait for start is left, then GO */
};

struct rt_sync_message {
	enum rt_sync_kind kind;
	int32_t code, errnum, value;
	char text[2048];
};

/* A pair: [0] for the parent, [1] for the child; both close-on-exec. */
struct rt_error *rt_sync_pair(int ret[2]) _must_check_;

struct rt_error *rt_sync_send(int socket, enum rt_sync_kind kind, int32_t value, int fd) _must_check_;

/* By write(2) alone: the one call a seccomp filter with a listener can be relied on to let through. */
struct rt_error *rt_sync_write(int socket, enum rt_sync_kind kind, int32_t value) _must_check_;

/* The chain as one message; it is freed. Errors of sending are dropped: nobody is left to hear of them. */
void rt_sync_send_error(int socket, struct rt_error *err);

/* *ret_alive is false at the end of the stream (the other side has ended or called execve). *ret_fd is -1 without one. An RT_SYNC_ERROR comes back as
 * the error it carries. */
struct rt_error *rt_sync_receive(int socket, struct rt_sync_message *ret, int *ret_fd, bool *ret_alive) _must_check_;

/* Waits for GO; anything else, or the end, is an error. ret_value may be NULL. */
struct rt_error *rt_sync_wait_go(int socket, int32_t *ret_value) _must_check_;
