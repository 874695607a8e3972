/* Hides the price of moving processes into cgroups by their pid.
 *
 * That takes the kernel's lock of thread groups for writing, which waits for an RCU grace period, 12 ms and more, unless somebody did the same a moment ago
 * (docs/decisions/0004). CRIU moves what it restores in this way. So a process of our own does it, with itself and into the cgroup it is in already, which changes
 * nothing, while CRIU is still at work on what comes before: the grace period has passed when CRIU gets there, and the lock is kept from cooling down. Forks and exits of the
 * machine are a little slower in this time. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct rt_cgroup_warmer {
	pid_t pid;
	int fd; /* its life: it ends with us, too */
	bool begun;
};
#define RT_CGROUP_WARMER_NULL ((struct rt_cgroup_warmer){ .fd = -1 })

/* Nothing depends on it, so that nothing here can fail. The process, which waits; a fork is nothing for the time when a container stands still. */
void rt_cgroup_warm_prepare(struct rt_cgroup_warmer *warmer);
/* Prepared or not, begun or not. It ends by itself after a second; where that is over, it begins anew. */
void rt_cgroup_warm(struct rt_cgroup_warmer *warmer);
/* It is no more needed; waits for nothing. */
void rt_cgroup_warm_stop(struct rt_cgroup_warmer *warmer);
/* Until it has ended. */
void rt_cgroup_warm_end(struct rt_cgroup_warmer *warmer);
