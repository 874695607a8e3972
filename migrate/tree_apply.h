/* A stream of a tree to files below a root, in the thread of whoever calls; where its bytes come from is the caller's. */
#pragma once

#include "migrate/tree.h"

/* *bytes are valid until the next call. 0: the end. */
typedef ssize_t (*rt_tree_read_fn)(void *userdata, const void **bytes);

struct rt_tree_apply;
struct rt_error *rt_tree_apply_new(const struct rt_tree_receive_options *options, struct rt_tree_apply **ret) _must_check_;
/* Once. */
struct rt_error *rt_tree_apply_run(struct rt_tree_apply *apply, rt_tree_read_fn read, void *userdata) _must_check_;
struct rt_tree_totals rt_tree_apply_totals(const struct rt_tree_apply *apply);
void rt_tree_apply_free(struct rt_tree_apply *apply);
static inline void rt_tree_apply_freep(struct rt_tree_apply **apply)
{
	rt_tree_apply_free(*apply);
}
