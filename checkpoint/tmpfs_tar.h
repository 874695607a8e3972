/* The content of a container's tmpfs to and from the image that CRIU keeps of it: a gzip'ed tar, as GNU tar writes and reads it.
 *
 * For the program `tar` that CRIU finds first (decision 0015); it needs libarchive. Which command lines are its own is in criu-tools/tar.c. Not for
 * other trees: there are no extended attributes in it, and nothing but what a restore can make again. */
#pragma once

#include "runtime/base/error.h"

/* One line on standard error, which is CRIU's log: of names that the container chose only what can't begin another line there. */
void rt_tmpfs_tar_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Packs the directory and what is on its file system below it. What can't be in a tar (sockets) is told on standard error. */
struct rt_error *rt_tmpfs_tar_pack(int dir_fd, int out_fd) _must_check_;

/* Unpacks into the directory, whoever made the image: nothing outside of it is reached. All of the image must be as it was written. */
struct rt_error *rt_tmpfs_tar_unpack(int in_fd, int dir_fd) _must_check_;
