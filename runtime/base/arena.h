/* Memory that is freed all at once: what a config or a plan points to lives as long as the config or the plan.
 *
 * Used where many small arrays and strings share one lifetime. Not for anything long-lived that grows. */
#pragma once

#include "runtime/base/error.h"

struct rt_arena {
	struct rt_arena_block *blocks; /* newest first */
};

#define RT_ARENA_NULL ((struct rt_arena){ .blocks = NULL })

/* Zeroed memory for `count` objects of `size` bytes, aligned for anything; NULL without memory or on overflow. */
void *rt_arena_calloc(struct rt_arena *arena, size_t count, size_t size) _must_check_;

/* Formatted string in the arena; NULL without memory. */
char *rt_arena_printf(struct rt_arena *arena, const char *format, ...) _must_check_
	__attribute__((format(printf, 2, 3)));

/* Frees everything; the arena is empty and usable again. */
void rt_arena_deinit(struct rt_arena *arena);
