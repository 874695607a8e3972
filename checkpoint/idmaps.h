/* Which ids of the host stand behind those of a container with a user namespace of its own. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

/* CRIU makes the user namespace, or none, as its images have it (userns-ID.img), whatever the configuration says. Where the two differ the root of a container
 * would be another one of the host, or the host's own, than whoever wrote the configuration believes: RT_CONFIG. */
struct rt_error *rt_idmaps_check(int image_fd, const struct rt_spec *spec) _must_check_;
