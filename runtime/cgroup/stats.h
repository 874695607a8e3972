/* JSON for the counters, shared by stats_v1.c and stats_v2.c. The object is runc's `events --stats`. */
#pragma once

#include "runtime/cgroup/private.h"

/* The object under a key, made where it is missing; borrowed. NULL: no memory. */
json_t *rt_stats_object(json_t *parent, const char *key);
/* Adds a number; above INT64_MAX ("unlimited", in both interfaces) as a real, since JSON here has signed integers. */
struct rt_error *rt_stats_add(json_t *object, const char *key, uint64_t value) _must_check_;
/* Adds a file's number; one that isn't there stays out. */
struct rt_error *rt_stats_add_file(json_t *object, const char *key, const struct rt_cgroup_place *place, const char *file) _must_check_;
/* Every "key value" line of a text. */
struct rt_error *rt_stats_add_lines(json_t *object, const char *text) _must_check_;
/* "0-3,7" as [0, 1, 2, 3, 7]. */
struct rt_error *rt_stats_add_list(json_t *object, const char *key, const char *list) _must_check_;
/* The page sizes of hugetlb.<size>.<rest> files of the place, one call each. */
struct rt_error *rt_stats_add_hugepages(const struct rt_cgroup_place *place, const char *usage, const char *max,
					const char *failures, json_t *stats) _must_check_;
/* A line of blkio's or io.stat's: {"major", "minor", "op", "value"} at the end of an array under the key. */
struct rt_error *rt_stats_add_io(json_t *object, const char *key, unsigned major, unsigned minor, const char *op, uint64_t value) _must_check_;
