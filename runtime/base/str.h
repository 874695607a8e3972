/* Strings: formatting that reports a lack of memory, and the few comparisons that libc does not have. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>
#include <string.h>

/* *ret is the caller's to free. */
struct rt_error *rt_format(char **ret, const char *format, ...) _must_check_ __attribute__((format(printf, 2, 3)));

static inline bool rt_str_equal(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static inline bool rt_str_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Whole-string decimal conversions; false for anything else, for signs and white space, and on overflow. */
bool rt_str_to_u64(const char *text, uint64_t *ret);
bool rt_str_to_i64(const char *text, int64_t *ret); /* accepts a leading '-' */
