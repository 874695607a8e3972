/* A guard: a process that outlives us, to undo what we have begun where we are killed before we can.
 *
 * It is forked, so it knows what we knew then; since then it knows what it is told. The end of its pipe without a word of dismissal means that nobody is
 * left but it. It does not know containers: what is to be undone is its caller's. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>
#include <sys/types.h>

struct rt_guard {
	pid_t pid; /* a child of ours; 0: none */
	int fd; /* of the pipe that nobody else may hold; -1: none */
};
#define RT_GUARD_NULL ((struct rt_guard){ .fd = -1 })

struct rt_guard_message {
	int word; /* the caller's, or RT_GUARD_DISMISSED */
	pid_t pid; /* 0: it names no process */
	uint64_t start_time; /* of rt_proc_stat() */
};
#define RT_GUARD_DISMISSED 0

struct rt_guard_plan {
	/* In the guard, which ends where it returns. It may name itself (rt_sys_set_name()). */
	void (*watch)(void *userdata, int pipe_fd);
	void *userdata;
	pid_t group; /* a process group of our session to be a member of, whose number nobody else can get for so long; 0: a session of its own */
	/* What stays open, besides the log; NULL: all. Who waits for the end of anything else must not wait for the guard. Its standard streams are
	 * /dev/null in any case. */
	const int *keep;
	size_t keep_count;
};

/* Where the group is not there any more, or can't be entered, it gets a session of its own. */
struct rt_error *rt_guard_start(const struct rt_guard_plan *plan, struct rt_guard *ret) _must_check_;

/* `pid` 0, or a process that can't be another by now: a child of ours. */
struct rt_error *rt_guard_tell(const struct rt_guard *guard, int word, pid_t pid) _must_check_;

/* In the guard: waits for the next message. False: we are gone. */
bool rt_guard_hear(int pipe_fd, struct rt_guard_message *ret);

/* In the guard: a pidfd of the process that a message names; -1: it has ended. */
int rt_guard_open(const struct rt_guard_message *message);

/* Waits for its end, which comes at once unless it is at work. None is fine. */
void rt_guard_dismiss(struct rt_guard *guard);
