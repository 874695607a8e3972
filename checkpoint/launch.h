/* Where CRIU's program is, and how its process comes to be. For rpc.c, which speaks to it. */
#pragma once

#include "checkpoint/rpc.h"

/* `path` as `criu swrk <socket>`, with the descriptors of the options and none besides. *ret is set as soon as there is a child to reap, whatever
 * becomes of it. */
struct rt_error *rt_criu_launch(const struct rt_criu_options *options, const char *path, int socket, pid_t *ret) _must_check_;
