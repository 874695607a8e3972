/* Who of the processes in a container's cgroup a checkpoint takes along: init and its descendants, as CRIU goes from parent to child.
 *
 * The others are guests: `rt exec` put them in, and their parent is outside. CRIU freezes them with the rest and writes nothing of them. They end with the
 * container, or run on where it does. A child that a guest leaves behind is init's from then on, and a member (in a pid namespace of the container's own). */
#pragma once

#include "runtime/container/container.h"

struct rt_members {
	pid_t *pids; /* members first, init among them; owned */
	size_t count; /* of members */
	size_t guests; /* behind them */
};
#define RT_MEMBERS_NULL ((struct rt_members){ .count = 0 })
void rt_members_deinit(struct rt_members *members);

/* Without a cgroup: init alone. Processes that end meanwhile are left out. */
struct rt_error *rt_members_find(const struct rt_container *container, struct rt_members *ret) _must_check_;

/* Its pid in the innermost namespace: what the images call it. *ret 0: it has ended (an answer). */
struct rt_error *rt_member_inner_pid(pid_t pid, uint64_t *ret) _must_check_;
