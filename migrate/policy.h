/* What a configuration that came from the source may ask of this host, as the operator of `rt receive` allows. Pure. */
#pragma once

#include "runtime/cmd/migrate.h"
#include "runtime/spec/spec.h"

/* The ids that may come: shell patterns; none means all. */
bool rt_policy_allows_id(const struct rt_receive_values *values, const char *id);

/* The first thing it asks for that is not allowed, as RT_PEER; a root filesystem outside of its bundle, binds and file systems of
 * the host, hooks, devices, joined namespaces. */
struct rt_error *rt_policy_check(const struct rt_receive_values *values, const struct rt_spec *spec) _must_check_;
