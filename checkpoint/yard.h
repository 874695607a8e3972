/* Gives CRIU the hierarchies of cgroups, each under the name that CRIU looks for (--cgroup-yard), as bind mounts that nobody else sees.
 *
 * Without it CRIU mounts them anew, all of them, while the container is frozen: once for the dump and once for the restore. That takes cgroup_mutex each time, and on Linux 6.18
 * an RCU grace period to be rid of each mount again (docs/performance.md). Knows nothing of containers; what CRIU finds there is what it would have found in mounts of its own. */
#pragma once

#include "checkpoint/options.h"

/* Sets CRIU's option. *ret_fd is what it refers to, and has to stay open until the request has ended; -1: CRIU has to help itself, as not all hierarchies are mounted from the top of our
 * cgroup namespace, or we may not mount anything. Not to be called between freeze and resume: it takes 1 to 2 ms. */
struct rt_error *rt_yard_set_up(struct rt_criu_opts *options, int *ret_fd) _must_check_;
