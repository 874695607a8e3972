/* What one container that was started from a snapshot has on the host besides what every container has: ROOT/@clones/CONTAINER/ with
 *
 *	rootfs/		its root filesystem, an overlay
 *	upper/, work/	what it writes
 *	criu/		CRIU's work directory
 *	config.json	what it is created with
 *	snapshot	the id of what it stands on (clone_cache.h)
 *	lock		held while it is being started
 *
 * A poststop hook in its configuration takes it away again, so that `rt delete` need not know of it. */
#pragma once

#include "runtime/container/container.h"

#include <jansson.h>

struct rt_clone_rootfs {
	char *path; /* ROOT/@clones/CONTAINER */
	int dir_fd, lock_fd;
	bool ours; /* we made it, so that we may take it away */
};
#define RT_CLONE_ROOTFS_NULL ((struct rt_clone_rootfs){ .dir_fd = -1, .lock_fd = -1 })
void rt_clone_rootfs_deinit(struct rt_clone_rootfs *rootfs);

/* RT_EXISTS where the container is there, or is being started. What is left of one that is gone is taken away first. */
struct rt_error *rt_clone_rootfs_make(const struct rt_context *context, const char *id, const char *snapshot_id, struct rt_clone_rootfs *ret) _must_check_;

struct rt_clone_layers {
	const char *changes; /* above all others; NULL: none */
	const char *const *lowers; /* the uppermost first */
	size_t count;
	int map_fd; /* user namespace whose ids the one there is then has (clone_mapped.h); -1: as they are */
};
/* Mounts ROOT/@clones/CONTAINER/rootfs over these directories. */
struct rt_error *rt_clone_rootfs_mount(const struct rt_clone_rootfs *rootfs, const struct rt_clone_layers *layers) _must_check_;

/* Path of a directory as above. Not there: fine. */
struct rt_error *rt_clone_rootfs_remove(const char *path) _must_check_;

/* Those of containers that are gone: after a crash in the middle of a start. */
struct rt_error *rt_clone_rootfs_trim(const struct rt_context *context) _must_check_;
