/* `rt run --from-snapshot`: containers that begin where that of a snapshot stood.
 *
 *	clone_cache	what all of them share, in memory
 *	clone_rootfs	what one has on the host besides
 *	clone_mapped	the layer below, with other ids where the original's root had them
 *	clone_config	its configuration
 *	clone_identity	what tells it that it is a clone
 *	clone_stay	how long a process stays that hands memory out on demand
 *	clone		a restore (checkpoint.h) whose memory is handed out lazily (lazy.h), by this process or one it leaves behind
 *
 * If the process that hands out memory dies before all of it is where it belongs, the container is killed: it would read zeros else. */
#pragma once

#include "migrate/snapshot.h"

/* One, or values->count of them, "ID-1" and on. *ret_status as of rt_container_run(). */
struct rt_error *rt_clone_run(const struct rt_context *context, const char *id, const struct rt_run_values *values, int *ret_status) _must_check_;

/* What the poststop hook of a clone runs: rt-clone --clone-gone DIRECTORY. */
#define RT_CLONE_GONE "--clone-gone"
