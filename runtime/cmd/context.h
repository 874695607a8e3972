/* The global options -> what the verbs need to know. Asks the process about its user and its environment, no more. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/base/log.h"
#include "runtime/cmd/command.h"

/* ret->root lives in the arena or the environment. RT_USAGE names the option. */
struct rt_error *rt_context_make(const struct rt_global_values *globals, struct rt_arena *arena,
				 struct rt_context *ret) _must_check_;

/* The format of --log-format; NULL is text. */
struct rt_error *rt_context_log_format(const char *text, enum rt_log_format *ret) _must_check_;

/* An absolute path without ".", ".." and double slashes, by its text alone: what it names need not exist yet.
 * `directory` is where a relative one starts. NULL without memory. */
char *rt_absolute_path(struct rt_arena *arena, const char *directory, const char *path);
