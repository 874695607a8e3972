/* Gets a userfaultfd of another address space: one of its threads is stopped for some tens of microseconds and makes the call, the
 * descriptor is copied out and closed there at once.
 *
 * This is done by a guard, a small process of its own, because a tracer that dies between changing a thread's registers and putting them back leaves a
 * thread with wrong ones. The guard blocks every signal, has its own session, holds nothing of ours, and always finishes what it began; then it
 * notices that we are gone and ends (docs/decisions/0008-injection-by-a-guard.md). */
#pragma once

#include "runtime/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct rt_injector;

struct rt_injection {
	int fd; /* the userfaultfd, enabled for asynchronous write-protection, the caller's; -1: none */
	bool gone; /* the process has ended */
	char reason[160]; /* why there is no descriptor, a sentence about the process */
	uint32_t stopped_us; /* for how long a thread was stopped */
	uint32_t altered_us; /* of that: with registers that were not its own */
};

/* Forks the guard: early is cheap, while this process is small. */
struct rt_error *rt_injector_open(struct rt_injector **ret) _must_check_;

/* Ends the guard. NULL is fine. */
void rt_injector_close(struct rt_injector *injector);

/* Errors are our own (no memory, no guard); a process that refuses is an answer. Bounded: 100 ms for stopping, 2 s in all. */
struct rt_error *rt_injector_get(struct rt_injector *injector, pid_t pid, struct rt_injection *ret) _must_check_;

/* Has the process close one of its descriptors: a copy of a userfaultfd, inherited because another thread forked during the injection. ret->fd stays -1;
 * ret->reason is empty where it worked. */
struct rt_error *rt_injector_close_fd(struct rt_injector *injector, pid_t pid, int fd, struct rt_injection *ret) _must_check_;
