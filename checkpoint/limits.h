/* The limits of a restored container: those it had when it was frozen, unless the config it is restored with asks for others
 * (docs/decisions/0010). */
#pragma once

#include "proto/manifest.pb-c.h"
#include "runtime/container/birth.h"

/* rt_birth_set_limits() with them. Where the manifest tells of no limits but the config's, nothing happens. */
struct rt_error *rt_limits_for_restore(const Rt__Container *described, struct rt_birth *birth) _must_check_;
