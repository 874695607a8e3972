/* What tells a clone that it is one, between the moment it is there and the one it runs. */
#pragma once

#include "runtime/container/container.h"

#define RT_CLONE_FILE "/run/rt-clone"

/* Text of the file, newly drawn: {"id": .., "snapshot": .., "generation": 32 hex digits, "seed": 64 hex digits}. The caller frees it. */
struct rt_error *rt_clone_identity_draw(const char *id, const char *snapshot, char **ret) _must_check_;

/* Below a root directory, ours or a container's (/proc/PID/root). *ret_there is false where the file system is read-only. */
struct rt_error *rt_clone_identity_write(int root_fd, const char *text, bool *ret_there) _must_check_;

/* Of a container that is restored and does not run yet. `hostname` NULL: as it is. */
struct rt_error *rt_clone_identity_apply(const struct rt_context *context, const char *id, const char *text, const char *hostname) _must_check_;
