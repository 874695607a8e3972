/* Checkpoint archives: the tar that podman, CRI-O and containerd share. Done by the helper program `rt-archive`, which links
 * libarchive; this is the side of `rt`, which only runs it.
 *
 * docs/checkpoint-format.md has the layout. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>

enum rt_archive_compression {
	RT_ARCHIVE_BY_NAME, /* by the ending: .tar, .tar.gz/.tgz, .tar.zst */
	RT_ARCHIVE_NONE,
	RT_ARCHIVE_GZIP,
	RT_ARCHIVE_ZSTD,
};

struct rt_archive_export {
	const char *file; /* written beside its place and renamed, 0600 */
	const char *images; /* image directory, absolute; with a manifest, whose digests it completes */
	const char *work; /* where dump.log and stats-dump are; NULL: the image directory */
	const char *rootfs; /* of the container; its changes go along where it is an overlay. NULL: never */
	const char *upper; /* the changes are in this overlay upper directory; NULL: found in mountinfo */
	enum rt_archive_compression compression;
};
struct rt_error *rt_archive_export(const struct rt_archive_export *options) _must_check_;

struct rt_archive_import {
	const char *file;
	const char *directory; /* must exist and be empty: gets checkpoint/, config.dump, spec.dump, rootfs-diff.tar ... */
	const char *rootfs; /* root directory the changes are applied to; NULL: they stay in `directory` */
	uint64_t size_limit; /* bytes unpacked in all; 0: what the file system has free */
	bool metadata_only; /* everything but page images and the rootfs: for inspect */
};
struct rt_error *rt_archive_import(const struct rt_archive_import *options) _must_check_;

/* Unpacks a tar of an overlay's changes, as archives and snapshots hold one, over what is in `directory`. */
struct rt_error *rt_archive_unpack_changes(const char *tar, const char *directory) _must_check_;
