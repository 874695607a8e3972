/* `rt migrate`: the side a container leaves. */
#pragma once

#include "runtime/cmd/migrate.h"
#include "runtime/container/container.h"

/* Moves it. When this fails the container runs on here, unless the error says that it is not known where it runs: then rt_migrate_recover() finds out. */
struct rt_error *rt_migrate(const struct rt_context *context, const char *id, const char *url, const struct rt_migrate_values *values) _must_check_;

/* Finishes or undoes what a migration left that was interrupted after its point of no return. `id` NULL: all containers. What was found is printed. */
struct rt_error *rt_migrate_recover(const struct rt_context *context, const char *id, const struct rt_migrate_values *values) _must_check_;
