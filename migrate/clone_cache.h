/* What the starts from one snapshot share, made by the first of them, in memory:
 *
 *	ROOT/@snapshots/lock		held while something is made, begins to be used, or is taken away
 *	ROOT/@snapshots/ID/images/	CRIU's images; of the pages only those that can't be handed out lazily
 *	ROOT/@snapshots/ID/pages/	page sets (pageset.h) with the rest
 *	ROOT/@snapshots/ID/changes/	the snapshot's changes of the root filesystem, as a layer of an overlay
 *	ROOT/@snapshots/ID/record	which pages the first container touched, in its order
 *	ROOT/@snapshots/ID/store	where the snapshot is kept
 *	ROOT/@snapshots/dump-XXXXXX/	of a snapshot that is to be encrypted (scratch.h)
 *	ROOT/@snapshots/ID/whole	an empty file: the images have all of the memory, and pages/ none (see `whole` below)
 *	ROOT/@clones/CONTAINER/		of one container (clone_rootfs.h); its file "snapshot" holds the ID it uses
 *
 * ROOT is the --root of `rt`, a tmpfs. A directory ID is complete: it is made under another name. Every byte has been held against its digest then. */
#pragma once

#include "checkpoint/manifest.h"
#include "checkpoint/snapshot.h"
#include "migrate/scratch.h"
#include "runtime/container/container.h"

#define RT_CLONES "@clones"

struct rt_clone_cache {
	Rt__Snapshot *snapshot;
	Rt__Manifest *manifest;
	char *path; /* ROOT/@snapshots/ID */
	/* Memory can't be handed out lazily: the container has a user namespace of its own, and vm.unprivileged_userfaultfd was 0 when this was made. */
	bool whole;
	int dir_fd, lock_fd; /* lock_fd: until rt_clone_cache_settle() */
};
#define RT_CLONE_CACHE_NULL ((struct rt_clone_cache){ .dir_fd = -1, .lock_fd = -1 })
void rt_clone_cache_deinit(struct rt_clone_cache *cache);

/* Refuses a snapshot that can't run here. */
struct rt_error *rt_clone_cache_open(const struct rt_context *context, const struct rt_store *store, const char *name, struct rt_clone_cache *ret) _must_check_;

/* The container that uses it has its directory: from here on rt_clone_cache_trim() knows. */
void rt_clone_cache_settle(struct rt_clone_cache *cache);

/* Takes away what was made of snapshots that are in this store no more, and is used by no container; and what somebody left who died. */
struct rt_error *rt_clone_cache_trim(const struct rt_context *context, const struct rt_store *store) _must_check_;

/* Another machine's: RT_CONFIG says what is different. */
struct rt_error *rt_clone_check_machine(const Rt__Manifest *manifest) _must_check_;
