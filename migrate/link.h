/* Words between processes of one host that work on one migration: the tool and its dumper, the daemon and its worker. One message is one datagram
 * of a SOCK_SEQPACKET pair. Both ends are ours, so what does not fit is a bug, not an attack. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/base/io.h"

#include <stdint.h>

enum rt_link_word {
	RT_LINK_END, /* the other process has closed its end, or died */

	/* to the dumper */
	RT_LINK_GO, /* freeze and dump */
	RT_LINK_PROCEED, /* answer to FROZEN */
	RT_LINK_HOLD, /* answer to COMPLETE: the other host may have it running from here on */
	RT_LINK_COMMIT, /* take the container's life here; to the worker: let it run */
	RT_LINK_ABORT, /* revive it here; to the worker: undo */
	/* from the dumper */
	RT_LINK_FROZEN, /* `a`: since when, CLOCK_MONOTONIC in microseconds; 0: since PROCEED */
	RT_LINK_COMPLETE,
	RT_LINK_HELD,
	RT_LINK_DONE,
	RT_LINK_FAILED, /* `code` and `text` are the error */

	/* to the worker */
	RT_LINK_SETS, /* descriptors of page sets; `a` of them in all, in several messages */
	RT_LINK_RESTORE, /* the images are complete */
	RT_LINK_ARRIVED, /* pages `b`, `c` of space `a` are in the sets */
	/* from the worker */
	RT_LINK_PREPARED,
	RT_LINK_READY,
	RT_LINK_RUNNING,
	RT_LINK_WANT, /* pages `b`, `c` of space `a` */

	/* to the worker; last, as a daemon may meet a worker of an older one */
	RT_LINK_CATCH, /* frozen on the source: catch what is sent to it. Before RESTORE. A descriptor: frames that came along (tap.h) */
};

#define RT_LINK_TEXT 3000
struct rt_link_message {
	enum rt_link_word word;
	enum rt_code code;
	uint64_t a, b, c;
	char text[RT_LINK_TEXT];
	int fds[RT_MAX_FDS]; /* received ones are the caller's */
	size_t fd_count;
};

struct rt_error *rt_link_pair(int ret_ends[2]) _must_check_;
struct rt_error *rt_link_say(int fd, enum rt_link_word word) _must_check_;
struct rt_error *rt_link_send(int fd, const struct rt_link_message *message) _must_check_;
/* FAILED with the text of the error; takes the error over. */
void rt_link_send_failure(int fd, struct rt_error *err);

/* timeout_ms -1: for ever. *ret_there is false where it ran out. END is a message, not an error. */
struct rt_error *rt_link_receive(int fd, int timeout_ms, struct rt_link_message *ret, bool *ret_there) _must_check_;

/* Waits for this one word. FAILED becomes its error, END one that says that `who` has ended, anything else is a bug. */
struct rt_error *rt_link_expect(int fd, enum rt_link_word word, const char *who) _must_check_;
/* The same, and what came with the word. */
struct rt_error *rt_link_await(int fd, enum rt_link_word word, const char *who, struct rt_link_message *ret) _must_check_;
