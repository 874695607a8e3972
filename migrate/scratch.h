/* A directory in memory for what must not reach the disk as it is: the dump of a snapshot that is to be encrypted, before it is.
 *
 *	ROOT/@snapshots/lock		held by who makes a scratch, and by who looks for those that were left (and by clone_cache.h)
 *	ROOT/@snapshots/dump-XXXXXX/	a scratch; its file "lock" is held as long as somebody works on it
 *
 * ROOT is the --root of `rt`. Where that is no tmpfs, there is a warning: what is removed from a disk can often be read all the same. */
#pragma once

#include "runtime/container/container.h"

#define RT_CLONE_CACHE "@snapshots"

/* Opens ROOT/@snapshots, which is made where it is not there (0700). *ret_path is the caller's, also after an error. */
struct rt_error *rt_scratch_open(const struct rt_context *context, char **ret_path, int *ret) _must_check_;

struct rt_scratch {
	char *path;
	int dir_fd, lock_fd;
};
#define RT_SCRATCH_NULL ((struct rt_scratch){ .dir_fd = -1, .lock_fd = -1 })
struct rt_error *rt_scratch_make(const struct rt_context *context, struct rt_scratch *ret) _must_check_;
/* *ret is a new directory in it, the caller's to free. */
struct rt_error *rt_scratch_directory(const struct rt_scratch *scratch, const char *name, char **ret) _must_check_;
void rt_scratch_remove(struct rt_scratch *scratch);

/* Takes away what somebody left who died, from ROOT/@snapshots, whose lock the caller holds. */
struct rt_error *rt_scratch_trim(int root_fd) _must_check_;

/* Says so where the directory is on one. */
void rt_scratch_warn_of_disk(int dir_fd, const char *path);
