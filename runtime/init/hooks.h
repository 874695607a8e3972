/* Running hooks: one after the other, each with the container's state on its standard input. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

/* Stops at the first that fails: its path, and what it said, are in the error. */
struct rt_error *rt_hooks_run(const struct rt_spec *spec, enum rt_hook_kind kind, json_t *state) _must_check_;

/* Runs all of them whatever happens; failures are warnings, as the specification has it for poststop. */
void rt_hooks_run_tolerant(const struct rt_spec *spec, enum rt_hook_kind kind, json_t *state);
