/* `rt snapshot push` and `pull`: snapshots between the store and a registry. They run in the helper program `rt-registry`, apart from `rt-snapshot`
 * so that a start from a snapshot doesn't load libcurl. */
#pragma once

#include "checkpoint/snapshot.h"
#include "runtime/cmd/snapshot.h"

struct rt_error *rt_snapshot_push(const char *name, const char *reference, const struct rt_snapshot_values *values) _must_check_;
/* `name` NULL: the one it has. The store is as it was unless all of it came, and is what its manifest says. */
struct rt_error *rt_snapshot_pull(const char *reference, const char *name, const struct rt_snapshot_values *values) _must_check_;
