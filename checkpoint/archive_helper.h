/* Inside the helper program `rt-archive`: checkpoint directories to archives and back, with libarchive.
 *
 * An archive is somebody else's. On import only the names of the layout are taken, as regular files, into directories
 * made here; nothing is followed, nothing replaced. Changes of a root filesystem go through runtime/bundle/unpack.h, with no
 * symlink on the way: the diff names real directories, and one there was put there to lead us elsewhere. */
#pragma once

#include "checkpoint/archive.h"
#include "runtime/bundle/unpack.h"

/* Names of the layout that podman, CRI-O and containerd share. */
#define RT_ARCHIVE_CONFIG "config.dump"
#define RT_ARCHIVE_SPEC "spec.dump"
#define RT_ARCHIVE_IMAGES "checkpoint"
#define RT_ARCHIVE_PARENT_IMAGES "pre-checkpoint"
#define RT_ARCHIVE_ROOTFS "rootfs-diff.tar"
#define RT_ARCHIVE_DELETED "deleted.files"

struct rt_error *rt_archive_do_export(const struct rt_archive_export *options) _must_check_;
struct rt_error *rt_archive_do_import(const struct rt_archive_import *options) _must_check_;

/* Changes of an overlay: a tar of what was added or changed, and the paths of what was deleted. */
struct rt_rootfs_changes {
	int tar_fd; /* at its start; -1: nothing was added or changed */
	char *deleted; /* a JSON array; NULL: nothing was deleted; owned */
};
/* `upper` may be NULL: found in mountinfo; where the root filesystem is no overlay, *ret_found is false. The tar is
 * spooled to an unnamed file in `spool_dir`. */
struct rt_error *rt_archive_rootfs_changes(const char *rootfs, const char *upper, const char *spool_dir,
					   struct rt_rootfs_changes *ret, bool *ret_found) _must_check_;

/* Applies the two files of an archive, each -1 where there is none, to a root filesystem. The deletions come last, as
 * in podman. */
struct rt_error *rt_archive_apply(const char *rootfs, int tar_fd, int deleted_fd) _must_check_;
