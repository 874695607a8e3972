/* Keeps a place in a cgroup that systemd makes around a process: for a restore, where the cgroup must be there before its first process is. Somebody sits in it
 * until that one has come, and counts as one of its processes as long. */
#pragma once

#include "runtime/cgroup/cgroup.h"

struct rt_cgroup_seat {
	pid_t pid; /* our child, which only sits there and does not outlive us; 0: nobody */
};

#define RT_CGROUP_SEAT_NULL ((struct rt_cgroup_seat){ .pid = 0 })

/* Makes the cgroup; does nothing where it is not systemd's to make. */
struct rt_error *rt_cgroup_seat_take(struct rt_cgroup *cgroup, struct rt_cgroup_seat *ret) _must_check_;
/* At the end, or where it is to be undone. systemd takes a cgroup away that nobody is in. */
void rt_cgroup_seat_leave(struct rt_cgroup_seat *seat);
