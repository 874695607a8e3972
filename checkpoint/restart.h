/* System calls that were waiting for something when the container was frozen.
 *
 * The kernel restarts most calls that a stop interrupts by making them once more, and so does CRIU. Calls with a time to wait it restarts from a note of its own
 * (restart_block), which nobody outside can read, and which is lost where CRIU has had a task run its own code: they fail with EINTR then, in the restored
 * (compel/arch/x86/src/lib/infect.c; it warns of an "interrupted system call") and in those that go on after a dump. Others (epoll_wait, sys/ptrace.h) do at any stop.
 * Nothing tells a program that has no signal handlers to expect that: busybox's sleep, the first process of many a container, ends.
 *
 * The registers still say which call it was. So it is made once more:
 *
 *     nanosleep, clock_nanosleep    where what is left of the time went over what was asked for, which is then the rest; where nobody asked what is left, for
 *                                   the whole time. Where it went elsewhere EINTR stays: that program goes on with the rest by itself.
 *     poll                          for the whole time
 *     futex                         where the time is a moment (FUTEX_WAIT_BITSET)
 *     those that fail at any stop
 *
 * Not with a signal to come, which makes them fail as it should; nor for programs of 32 bits, nor elsewhere than on x86-64, where the first argument is gone. */
#pragma once

#include "runtime/container/container.h"

/* In all images of this directory. */
struct rt_error *rt_restart_calls(int image_fd) _must_check_;

/* In the tasks of a frozen container that CRIU has let go: those that need it are stopped, until they are let go; between the two the container is thawed. */
struct rt_restart {
	pid_t *tids; /* owned */
	size_t count, room;
};
#define RT_RESTART_NULL ((struct rt_restart){ .count = 0 })
struct rt_error *rt_restart_stop(const struct rt_container *container, struct rt_restart *ret) _must_check_;
void rt_restart_let_go(struct rt_restart *restart);

/* Pure: whether this call, made with these arguments again, waits for the same. */
bool rt_restart_says_the_same(long call, const uint64_t arguments[4]);
