/* What `rt snapshot` and `rt run --from-snapshot` do: containers into the store of checkpoint/snapshot.h, and out of it, as often as wanted.
 *
 * Here, above checkpoint/, because a start hands memory over lazily (migrate/lazy.h). All of it runs in the helper program `rt-snapshot`. */
#pragma once

#include "checkpoint/snapshot.h"
#include "runtime/cmd/snapshot.h"

/* Dumps the container and stores it. The container is frozen until its memory is on the disk and, without leave_running, stored; then it is gone. */
struct rt_error *rt_snapshot_create(const struct rt_context *context, const char *id, const char *name, const struct rt_snapshot_values *values) _must_check_;

/* Print to standard output. */
struct rt_error *rt_snapshot_list(const struct rt_snapshot_values *values) _must_check_;
struct rt_error *rt_snapshot_inspect(const char *name, const struct rt_snapshot_values *values) _must_check_;

/* As one file. `name` of an import may be NULL: the one it had. */
struct rt_error *rt_snapshot_export(const char *name, const char *file, const struct rt_snapshot_values *values) _must_check_;
struct rt_error *rt_snapshot_import(const char *file, const char *name, const struct rt_snapshot_values *values) _must_check_;
