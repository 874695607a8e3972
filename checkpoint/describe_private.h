/* Parts of describe.c. */
#pragma once

#include "checkpoint/describe.h"
#include "checkpoint/mountinfo.h"

/* describe_mounts.c: `theirs` are the mounts of the container's init. */
struct rt_error *rt_describe_mounts(const struct rt_container *container, const struct rt_spec *spec,
				    const struct rt_mountinfo *theirs, Rt__Container *into) _must_check_;

/* describe_streams.c: of init. */
struct rt_error *rt_describe_streams(pid_t pid, const struct rt_mountinfo *theirs, Rt__Container *into) _must_check_;

/* Files of the host that other processes have as a standard stream and init has not, or no longer. */
struct rt_error *rt_describe_other_streams(const struct rt_container *container, const struct rt_mountinfo *theirs,
					   Rt__Container *into) _must_check_;
