/* What intel_rdt.c does, below any directory: for it and its tests only. */
#pragma once

#include "runtime/security/security.h"

enum { RT_INTEL_RDT_WRITE = 1 << 0 }; /* a group that exists gets the schema too, instead of having to have it */
struct rt_error *rt_intel_rdt_apply_at(int root_fd, const struct rt_spec_intel_rdt *rdt, const char *id, pid_t pid,
				       unsigned flags, bool *ret_created) _must_check_;
struct rt_error *rt_intel_rdt_destroy_at(int root_fd, const struct rt_spec_intel_rdt *rdt, const char *id,
					 bool created) _must_check_;

/* What is to be written to a group's file `schemata`: the lines of l3CacheSchema (without those of MB where memBwSchema
 * has them), memBwSchema, schemata. *ret is the caller's to free; NULL: nothing. */
struct rt_error *rt_intel_rdt_schemata(const struct rt_spec_intel_rdt *rdt, char **ret) _must_check_;

/* Whether every "RESOURCE:domain=value;..." of `wanted` stands in `found`; leading zeros and blanks don't matter. */
bool rt_intel_rdt_matches(const char *wanted, const char *found);
