/* One lock file, held by flock(2) as long as its descriptor is open: released by the kernel whatever happens to us. */
#pragma once

#include "runtime/base/error.h"

/* Opens or creates `name` (0600) in the directory and locks it, waiting. The lock ends when *ret is closed. */
struct rt_error *rt_lock_at(int dir_fd, const char *name, int *ret) _must_check_;

/* The same without waiting: *ret is -1 where somebody else holds it (an answer). */
struct rt_error *rt_lock_try_at(int dir_fd, const char *name, int *ret) _must_check_;
