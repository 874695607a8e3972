/* Stops a container's tasks for a moment and lets them go on, for trackers that can't look and reset in one step. It is the container's freezer, and nobody's
 * pause: a container that its owner has paused stays as it is. */
#pragma once

#include "migrate/tracker.h"
#include "runtime/base/guard.h"
#include "runtime/cgroup/cgroup.h"

struct rt_halt {
	struct rt_cgroup *cgroup; /* the container's; must last */
	struct rt_guard guard; /* lets the tasks go on should we die while they stand */
	volatile int *halted; /* shared with it */
};

#define RT_HALT_NULL ((struct rt_halt){ .guard = RT_GUARD_NULL })

/* *ret stays RT_HALT_NULL where the container has no freezer of its own. Forks: before there are threads. */
struct rt_error *rt_halt_start(struct rt_cgroup *cgroup, struct rt_halt *ret) _must_check_;
void rt_halt_end(struct rt_halt *halt);

/* What rt_tracker_open() takes; `halt` must last as long as the tracker. */
struct rt_tracker_pause rt_halt_pause(struct rt_halt *halt);
