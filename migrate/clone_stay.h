/* A clone whose memory comes on demand needs the process that hands it out for as long as it lives. */
#pragma once

#include "runtime/container/container.h"

/* Returns when the container's first process has ended, and with it all others of the container: without their memory they could not go on. It is a child of
 * ours, and reaped. */
struct rt_error *rt_clone_stay(const struct rt_context *context, const char *id) _must_check_;
