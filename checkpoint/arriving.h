/* Whether a container's memory is still on its way: after a lazy restore (migration, snapshots) its tasks run while a process hands them their pages. Until the last
 * one is in place nobody may dump it: CRIU would take what is not there for zeros. A lock in the container's directory, so that the death of who holds it ends it. */
#pragma once

#include "runtime/container/container.h"

/* For the process that serves the pages; held until *ret_fd is closed, here and in whatever was forked since. */
struct rt_error *rt_memory_arrives(const struct rt_context *context, const char *id, int *ret_fd) _must_check_;

struct rt_error *rt_memory_is_arriving(int container_dir_fd, bool *ret) _must_check_;
