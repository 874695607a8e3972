/* Mounts by descriptor: trees are cloned or made detached, changed while nobody sees them, and attached where a descriptor
 * says. No call here follows a path of the container. Kernel 5.12 or later (mount_setattr).
 *
 * Knows nothing of options' names or of what a container needs. Descriptors returned are close-on-exec and the caller's. */
#pragma once

#include "runtime/base/error.h"

#include <stdint.h>
#include <sys/types.h>

/* One for all calls below that take flags. */
enum {
	RT_MOUNT_RECURSIVE = 1 << 0, /* also what is mounted below */
	RT_MOUNT_NOFOLLOW = 1 << 1, /* the last component may be a symlink and is taken as such */
};

/* A detached copy of what is mounted at `path`, from dir_fd; path "" means dir_fd itself. */
struct rt_error *rt_sys_clone_tree(int dir_fd, const char *path, unsigned flags, int *ret) _must_check_;

/* Puts a detached tree, or one that is attached elsewhere, on what `target_fd` refers to. */
struct rt_error *rt_sys_attach(int tree_fd, int target_fd) _must_check_;
/* On an entry of a directory nobody else can change yet; a symlink is not followed. */
struct rt_error *rt_sys_attach_at(int tree_fd, int dir_fd, const char *name) _must_check_;

struct rt_mount_attributes {
	uint64_t set, clear; /* MOUNT_ATTR_*; an atime mode is set and MOUNT_ATTR__ATIME cleared */
	uint64_t propagation; /* MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE; 0: as it is */
};
/* `path` "" means fd itself. */
struct rt_error *rt_sys_set_mount_attributes(int fd, const char *path, unsigned flags,
					     const struct rt_mount_attributes *attributes) _must_check_;

/* Owners seen through a detached tree become others, as the namespace's maps say. For good: a tree takes it once. */
struct rt_error *rt_sys_map_owners(int tree_fd, unsigned flags, int user_namespace_fd) _must_check_;

struct rt_filesystem {
	const char *type;
	const char *source; /* NULL: none */
	const char *const *options; /* "word" or "key=value", one each */
	size_t option_count;
	const char *const *wishes; /* options without which it will do, too: a warning where they are not known */
	size_t wish_count;
	unsigned attributes; /* MOUNT_ATTR_* of the mount */
};
/* A new file system, mounted but detached. The file system's own words about a wrong option are in the error. */
struct rt_error *rt_sys_make_filesystem(const struct rt_filesystem *filesystem, int *ret) _must_check_;

/* A tmpfs for what has to be mounted somewhere before it can be mounted on, or cloned. It lies on the root of our mount namespace, where it hides nothing, as paths begin below it: for a
 * namespace that is not to be anybody's (rt_sys_call_in_own_mounts()). *ret is its directory. */
struct rt_error *rt_sys_mount_scratch(int *ret) _must_check_;
/* The same over what target_fd is. */
struct rt_error *rt_sys_mount_scratch_on(int target_fd, int *ret) _must_check_;

/* fsconfig() takes only short values: true for what must be mounted the old way, such as an overlay of many directories. */
bool rt_sys_needs_old_mount(const struct rt_filesystem *filesystem);

/* The old way: mount(2) on the directory target_fd refers to. */
struct rt_error *rt_sys_mount_filesystem(const struct rt_filesystem *filesystem, int target_fd) _must_check_;

/* Changes the options of the file system mounted at mount_fd; type, source and attributes are not looked at. */
struct rt_error *rt_sys_reconfigure(int mount_fd, const struct rt_filesystem *filesystem) _must_check_;

/* pivot_root onto the mount root_fd is the root of; the old root lies over the new one until detached.
 * cwd is the new root. */
struct rt_error *rt_sys_pivot_root(int root_fd) _must_check_;

/* cwd and root become root_fd. */
struct rt_error *rt_sys_chroot(int root_fd) _must_check_;

/* Lazily; `path` is taken from the cwd, a symlink is not followed. */
struct rt_error *rt_sys_unmount(const char *path) _must_check_;

/* `mode` holds type and permissions; the umask counts. *ret_existed: something of that name was
 * there and was left alone. */
struct rt_error *rt_sys_make_node(int dir_fd, const char *name, mode_t mode, dev_t device, bool *ret_existed) _must_check_;
