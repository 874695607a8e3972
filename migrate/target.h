/* `rt receive`: the side a container comes to.
 *
 * The daemon talks to the network and holds memory; each migration has a worker (worker.h), a process that restores, serves page faults, and outlives the daemon. The decision that it
 * runs here is the worker's: it writes it down, flushed, before any task runs. */
#pragma once

#include "runtime/cmd/migrate.h"
#include "runtime/container/container.h"

/* Serves until SIGINT or SIGTERM. */
struct rt_error *rt_receive(const struct rt_context *context, const struct rt_receive_values *values) _must_check_;
