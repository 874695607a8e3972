/* System calls that were waiting for a time when the container was frozen.
 *
 * The kernel restarts most calls that a stop interrupts by making them once more, and so does CRIU. Calls with a time to wait it restarts from a note of its own
 * (restart_block), which nobody outside can read: there CRIU has the call fail with EINTR (compel/arch/x86/src/lib/infect.c; it warns of an
 * "interrupted system call"). Nothing tells a program that has no signal handlers to expect that: busybox's sleep, the first process of many a container, ends.
 *
 * The registers in the images still say which call it was. So they are set back to before the call, and it is made once more:
 *
 *     nanosleep, clock_nanosleep    where what is left of the time went over what was asked for, which is then the rest; where nobody asked what is left, for
 *                                   the whole time. Where it went elsewhere EINTR stays: that program goes on with the rest by itself.
 *     poll                          for the whole time
 *     futex                         where the time is a moment (FUTEX_WAIT_BITSET)
 *
 * Not with a signal to come, which makes them fail as it should; nor for programs of 32 bits, nor elsewhere than on x86-64, where the first argument is gone. */
#pragma once

#include "runtime/base/error.h"

/* In all images of this directory. */
struct rt_error *rt_restart_calls(int image_fd) _must_check_;
