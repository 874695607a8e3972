/* Paths and files, with the ways to open them that an attacker inside a root filesystem cannot bend.
 *
 * "in root" functions resolve with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS): symlinks, absolute ones too, stay
 * below root_fd, and magic links of procfs are refused. Path names given to them are as the container sees them. */
#pragma once

#include "runtime/base/error.h"

#include <sys/stat.h>
#include <sys/types.h>

/* openat2 below root_fd. O_CLOEXEC is added. *ret is the caller's to close. errnum tells ENOENT from the rest. */
struct rt_error *rt_open_in_root(int root_fd, const char *path, int flags, mode_t mode, int *ret) _must_check_;

/* Makes what is missing of a directory path below root_fd, each component through the descriptor of the one before,
 * and opens the last (O_PATH|O_DIRECTORY). Symlinks on the way are followed inside the root; a dangling one has its
 * target made. New directories get `mode` and belong to the caller. */
struct rt_error *rt_make_dirs_in_root(int root_fd, const char *path, mode_t mode, int *ret) _must_check_;

/* Same for a file: parents as directories of mode 0755, the file itself empty, with `mode`; opened O_PATH. An existing one of
 * any kind but a directory is fine. */
struct rt_error *rt_make_file_in_root(int root_fd, const char *path, mode_t mode, int *ret) _must_check_;

/* Host paths: makes missing directories of an absolute path, like mkdir -p. */
struct rt_error *rt_make_dirs(const char *path, mode_t mode) _must_check_;

/* Readers see the old content or the new one, never half of either. */
struct rt_error *rt_replace_file_at(int dir_fd, const char *name, const void *bytes, size_t size, mode_t mode) _must_check_;

/* Removes a tree without following symlinks nor leaving the file system it is on. Not there: fine. */
struct rt_error *rt_remove_tree_at(int dir_fd, const char *name) _must_check_;

/* Absolute, clean path of an existing file or directory; the caller frees it. */
struct rt_error *rt_real_path(const char *path, char **ret) _must_check_;

/* Reopens an O_PATH descriptor through /proc/self/fd with other flags. */
struct rt_error *rt_reopen(int fd, int flags, int *ret) _must_check_;

/* "/proc/self/fd/N" for calls that take only paths. */
struct rt_fd_path {
	char text[32];
};
struct rt_fd_path rt_fd_path(int fd);

/* True where the descriptor is on the real procfs (f_type and, for its root, inode 1), so that writing there cannot be
 * redirected by a mount an attacker placed (CVE-2025-52881). */
bool rt_is_procfs(int fd);
