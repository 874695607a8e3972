/* What is in a container's tmpfs mounts, from one host to the other: one file a mount among the images ("tmpfs-N.tree", in the form of tree.h). CRIU would run tar
 * and gzip for each of them, twice, while the container is frozen. Which mounts: rt_mount_is_elsewhere(). */
#pragma once

#include "checkpoint/describe.h"

/* Frozen: writes the files. For a process with one thread, as it visits the container's mount namespace. */
struct rt_error *rt_tmpfs_pack(pid_t init, const Rt__Container *described, int image_fd) _must_check_;

/* Mounts new ones below `directory` in the mount namespace of the process `criu`, fills them, and makes them the mounts' sources. For a process with one thread. */
struct rt_error *rt_tmpfs_unpack(Rt__Container *described, int image_fd, const char *directory, pid_t criu) _must_check_;
