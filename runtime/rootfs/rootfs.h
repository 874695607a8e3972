/* The container's root filesystem: a plan made and opened in the parent, carried out in the child.
 *
 * The parent, which sees the host with the host's rights, turns the spec into an ordered plan and opens the bind sources as
 * detached mount trees, id-mapped ones with their mapping. The child, a fork of it in the new mount namespace, inherits plan and
 * descriptors and attaches them. What it takes from the host itself, while the host's mounts are all it sees, goes by paths of
 * the host: the root, device nodes, /dev/null for masks, cgroup directories, and in a user namespace the bind sources once more,
 * because only its own copies carry the locks of the host's flags. Every destination is resolved with openat2(RESOLVE_IN_ROOT)
 * and attached by descriptor (CVE-2021-30465 and its kin). It must not know about states, cgroup drivers (only their view),
 * or processes. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/spec/spec.h"

struct rt_rootfs; /* opaque; freed by rt_rootfs_free() */

struct rt_rootfs_request {
	const struct rt_spec *spec;
	const char *bundle; /* absolute */
	struct rt_cgroup_view cgroup; /* for mounts of type "cgroup" */
	bool new_user_namespace; /* the child won't have the host's rights: no mknod, sources must come opened */
	/* mapping for `idmap` mounts without their own; stays the caller's; -1: made of uid/gidMappings when needed */
	int user_namespace_fd;
	bool no_pivot;
	/* false: the container shares the caller's mount namespace: only chroot is left, and a spec
	 * with mounts, masked or read-only paths is refused */
	bool private_mount_namespace;
};

/* In the parent, before the clone. RT_CONFIG for options that contradict each other; the mount is named in every error. */
struct rt_error *rt_rootfs_plan(const struct rt_rootfs_request *request, struct rt_rootfs **ret) _must_check_;
void rt_rootfs_free(struct rt_rootfs *rootfs);
static inline void rt_rootfs_freep(struct rt_rootfs **rootfs)
{
	rt_rootfs_free(*rootfs);
}

/* Absolute path of the root directory on the host. */
const char *rt_rootfs_path(const struct rt_rootfs *rootfs);

/* In the child, in this order, in the container's namespaces: */

/* Makes propagation slave or as rootfsPropagation says, and the root a mount point of its own. */
struct rt_error *rt_rootfs_isolate(struct rt_rootfs *rootfs) _must_check_;
/* All mounts of the spec, devices (nodes, or binds of the host's), /dev links, /dev/ptmx. */
struct rt_error *rt_rootfs_mount(struct rt_rootfs *rootfs) _must_check_;
/* Binds the pty (of this path below /dev/pts of the container) on /dev/console; `pty_fd` is the slave. */
struct rt_error *rt_rootfs_console(struct rt_rootfs *rootfs, int pty_fd) _must_check_;
/* pivot_root (or MS_MOVE and chroot, with no_pivot or on a rootfs that can't be pivoted), old root detached, cwd "/". */
struct rt_error *rt_rootfs_switch(struct rt_rootfs *rootfs) _must_check_;
/* After the switch and after sysctls: readonlyPaths, maskedPaths, root read-only, rootfsPropagation. */
struct rt_error *rt_rootfs_seal(struct rt_rootfs *rootfs) _must_check_;

/* Writes linux.sysctl (only namespaced ones, checked by validate.c) through a procfs that is known to be one. */
struct rt_error *rt_rootfs_sysctl(const struct rt_spec *spec) _must_check_;
/* Of these the ones of the network, for a namespace of it that was made without them; the caller is in it. */
struct rt_error *rt_rootfs_sysctl_network(const struct rt_spec *spec) _must_check_;

/* For a restore: CRIU binds root and volumes by their paths on the host. Mounts each that has id mappings over its own source; who calls
 * is in a mount namespace that CRIU alone will use. *ret_root: the root was among them. */
struct rt_error *rt_rootfs_mount_mapped(const struct rt_rootfs_request *request, bool *ret_root) _must_check_;
/* RT_CONFIG where it could not, as one source would have to be two things. Mounts nothing. */
struct rt_error *rt_rootfs_check_mapped(const struct rt_rootfs_request *request) _must_check_;

/* List of the mounts for the manifest of a checkpoint: destination inside the container (clean, its symlinks not resolved),
 * source on the host, whether it is a bind mount that comes from outside. Borrowed from the plan. */
struct rt_rootfs_mount_info {
	const char *destination, *source;
	bool is_bind;
	bool is_cgroup;
};
const struct rt_rootfs_mount_info *rt_rootfs_mounts(const struct rt_rootfs *rootfs, size_t *ret_count);
