/* Lists such as "0-3,7" of CPUs and memory nodes, as bits. Pure. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

#define RT_BITLIST_MAX 8192 /* the largest CONFIG_NR_CPUS */

struct rt_bitlist {
	unsigned long words[RT_BITLIST_MAX / (8 * sizeof(unsigned long))];
};

/* Numbers below `limit` (at most RT_BITLIST_MAX). White space and extra commas are fine, as in runc; no number at all
 * is an error. `field` is for the message. */
struct rt_error *rt_bitlist_parse(const char *text, unsigned limit, const char *field,
				  struct rt_bitlist *ret) _must_check_;
