/* The layer below a clone, where the original's root filesystem was mounted with other ids: the overlay can't be, so the layer is, for as long as it takes to
 * make the overlay. What the clone writes has the ids of its user namespace, and is nobody else's. */
#pragma once

#include "migrate/clone_rootfs.h"

/* Namespace with the ids that the configuration wants its root mounted with; -1: none, it is as it is on the disk. The caller closes it. */
struct rt_error *rt_clone_map_open(const json_t *config, int *ret) _must_check_;

/* *ret, the caller's to free, is where the layer is with other ids, until rt_clone_map_remove(). */
struct rt_error *rt_clone_map_lower(const struct rt_clone_rootfs *rootfs, const char *lower, int map_fd, char **ret) _must_check_;

/* `path` is that of the clone's directory. Not there: fine. */
struct rt_error *rt_clone_map_remove(const char *path) _must_check_;
