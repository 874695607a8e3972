/* A process that kills a container should we die before we say that it needs us no more. */
#pragma once

#include "runtime/container/container.h"

/* `context` and `id` must last; *ret is the end of a socket that nobody else may hold. */
struct rt_error *rt_guardian_start(const struct rt_context *context, const char *id, int *ret) _must_check_;
void rt_guardian_dismiss(int *guardian);
