#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* Inode of the root of every procfs. */
#define PROC_ROOT_INODE 1

/* A tree cloned from the host is a peer of what it was cloned from: what the container mounts in it would appear on the
 * host. So it first becomes what the container's own copy of the host's mounts has become by rootfsPropagation. Only
 * volumes may stay peers, where that is "shared". */
static uint64_t inherited_propagation(const struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry)
{
	if (rootfs->propagation.type == MS_PRIVATE || rootfs->propagation.type == MS_UNBINDABLE)
		return MS_PRIVATE;
	return rt_rootfs_is_shared(rootfs) && entry->kind == RT_ENTRY_BIND ? 0 : MS_SLAVE;
}

struct rt_error *rt_rootfs_clone_from_host(const char *path, unsigned flags, uint64_t attributes, int *ret)
{
	const struct rt_mount_attributes change = { .set = attributes, .propagation = MS_SLAVE };
	_cleanup_close_ int tree_fd = -1;
	struct rt_error *err = rt_sys_clone_tree(AT_FDCWD, path, flags, &tree_fd);

	if (!err)
		err = rt_sys_set_mount_attributes(tree_fd, "", flags & RT_MOUNT_RECURSIVE, &change);
	if (err)
		return err;
	*ret = rt_take_fd(tree_fd);
	return NULL;
}

static struct rt_error *apply_propagations(const struct rt_mount_options *options, size_t from, int tree_fd)
{
	for (size_t i = from; i < options->propagation_count; i++) {
		const struct rt_mount_attributes change = { .propagation = options->propagations[i].type };
		struct rt_error *err = rt_sys_set_mount_attributes(
			tree_fd, "", options->propagations[i].recursive ? RT_MOUNT_RECURSIVE : 0, &change);

		if (err)
			return rt_while(err, "setting propagation");
	}
	return NULL;
}

/* An atime mode that is locked from outside our user namespace can't be changed; that is no reason to fail. */
static struct rt_error *set_attributes(int tree_fd, unsigned flags, struct rt_mount_attributes change)
{
	struct rt_error *err;

	if (!change.set && !change.clear && !change.propagation)
		return NULL;
	err = rt_sys_set_mount_attributes(tree_fd, "", flags, &change);
	if (!err || err->errnum != EPERM || !(change.clear & MOUNT_ATTR__ATIME))
		return err;
	rt_error_free(err);
	change.set &= ~(uint64_t)MOUNT_ATTR__ATIME;
	change.clear &= ~(uint64_t)MOUNT_ATTR__ATIME;
	return set_attributes(tree_fd, flags, change);
}

struct rt_error *rt_rootfs_apply_options(const struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry, int tree_fd)
{
	const struct rt_mount_options *options = &entry->options;
	const uint64_t late = entry->late_readonly ? MOUNT_ATTR_RDONLY : 0;
	struct rt_mount_attributes all = { .set = options->recursive_set & ~late, .clear = options->recursive_clear };
	const struct rt_mount_attributes own = { .set = options->set & ~late, .clear = options->clear };
	size_t done = 0;
	struct rt_error *err;

	all.propagation = inherited_propagation(rootfs, entry);
	/* The first word alone decides where it leaves no peers behind, which spares one call for each volume. */
	if (options->propagation_count > 0 && options->propagations[0].recursive &&
	    options->propagations[0].type != MS_SHARED) {
		all.propagation = options->propagations[0].type;
		done = 1;
	}
	err = set_attributes(tree_fd, RT_MOUNT_RECURSIVE, all);
	if (!err)
		err = set_attributes(tree_fd, 0, own);
	if (!err)
		err = apply_propagations(options, done, tree_fd);
	return err;
}

static struct rt_error *container_map(struct rt_rootfs *rootfs, int *ret)
{
	const struct rt_spec *spec = rootfs->spec;
	struct rt_error *err;

	if (rootfs->container_map_fd < 0) {
		if (spec->uid_mappings.count == 0 || spec->gid_mappings.count == 0)
			return rt_fail(RT_CONFIG,
				       "'idmap' needs mappings, of the mount or of the container's user namespace");
		err = rt_sys_make_user_namespace(&spec->uid_mappings, &spec->gid_mappings, &rootfs->container_map_fd);
		if (err)
			return err;
		rootfs->made_map = true;
	}
	*ret = rootfs->container_map_fd;
	return NULL;
}

bool rt_rootfs_is_mapped(const struct rt_rootfs_entry *entry)
{
	return entry->options.idmap || entry->uid_mappings.count > 0;
}

static struct rt_error *map_ids(struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry, int tree_fd)
{
	_cleanup_close_ int own_map = -1;
	unsigned flags = entry->options.recursive_idmap ? RT_MOUNT_RECURSIVE : 0;
	struct rt_error *err;
	int map_fd = -1;

	if (entry->uid_mappings.count > 0) {
		err = rt_sys_make_user_namespace(&entry->uid_mappings, &entry->gid_mappings, &own_map);
		map_fd = own_map;
	} else {
		err = container_map(rootfs, &map_fd);
	}
	if (!err)
		err = rt_sys_map_owners(tree_fd, flags, map_fd);
	return err ? rt_while(err, "mapping ids") : NULL;
}

/* Anything but a procfs on /proc would let an image forge what security modules are told (CVE-2019-19921). */
static struct rt_error *check_proc_source(const struct rt_rootfs_entry *entry, int tree_fd)
{
	struct stat st;

	if (!rt_str_equal(entry->destination, "/proc"))
		return NULL;
	if (!rt_is_procfs(tree_fd) || fstat(tree_fd, &st) < 0 || st.st_ino != PROC_ROOT_INODE)
		return rt_fail(RT_CONFIG, "only a procfs can be mounted on '/proc'");
	return NULL;
}

static struct rt_error *clone_source(const struct rt_rootfs_entry *entry, int *ret)
{
	unsigned flags = entry->options.recursive || entry->options.recursive_idmap ? RT_MOUNT_RECURSIVE : 0;
	_cleanup_close_ int tree_fd = -1;
	struct rt_error *err;

	if (entry->options.source_nofollow)
		flags |= RT_MOUNT_NOFOLLOW;
	err = rt_sys_clone_tree(AT_FDCWD, entry->source, flags, &tree_fd);
	if (!err)
		err = check_proc_source(entry, tree_fd);
	if (err)
		return err;
	*ret = rt_take_fd(tree_fd);
	return NULL;
}

static struct rt_error *read_link_source(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry, bool *ret_is_link)
{
	char target[PATH_MAX];
	ssize_t length = readlink(entry->source, target, sizeof(target));

	*ret_is_link = length >= 0;
	if (length < 0) {
		if (errno == EINVAL)
			return NULL;
		return rt_fail_errno("cannot read '%s'", entry->source);
	}
	entry->kind = RT_ENTRY_SYMLINK;
	entry->link_target = rt_arena_printf(&rootfs->arena, "%.*s", (int)length, target);
	return entry->link_target ? NULL : rt_error_oom();
}

struct rt_error *rt_rootfs_open_source(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	_cleanup_close_ int tree_fd = -1;
	struct rt_error *err;

	if (entry->options.copy_symlink) {
		bool is_link;

		err = read_link_source(rootfs, entry, &is_link);
		if (err || is_link)
			return err;
	}
	err = clone_source(entry, &tree_fd);
	/* Rootless: not ours to clone here, but in the child's own mount namespace. */
	if (err && err->errnum == EPERM && rootfs->request.new_user_namespace && !rt_rootfs_is_mapped(entry)) {
		rt_error_free(err);
		return NULL;
	}
	if (!err)
		err = rt_rootfs_apply_options(rootfs, entry, tree_fd);
	if (!err && rt_rootfs_is_mapped(entry))
		err = map_ids(rootfs, entry, tree_fd);
	if (err)
		return err;
	entry->tree_fd = rt_take_fd(tree_fd);
	return NULL;
}

struct rt_error *rt_rootfs_open_sources(struct rt_rootfs *rootfs)
{
	for (size_t i = 0; i < rootfs->entry_count; i++) {
		struct rt_rootfs_entry *entry = &rootfs->entries[i];
		struct rt_error *err;

		if (entry->kind != RT_ENTRY_BIND && entry->kind != RT_ENTRY_ROOT)
			continue;
		err = rt_rootfs_open_source(rootfs, entry);
		if (err)
			return rt_while(err, "opening '%s' for '%s'", entry->source, entry->destination);
	}
	return NULL;
}

/* Read-only, nosuid and the like of the host are locked on the mounts a new user namespace inherits. The tree the
 * parent made knows no such locks: a container with CAP_SYS_ADMIN could undo them. So the child takes its own copy
 * of what it can reach, and the parent's only of what it cannot. */
struct rt_error *rt_rootfs_reopen_sources(struct rt_rootfs *rootfs)
{
	for (size_t i = 0; rootfs->request.new_user_namespace && i < rootfs->entry_count; i++) {
		struct rt_rootfs_entry *entry = &rootfs->entries[i];
		_cleanup_close_ int tree_fd = -1;
		struct rt_error *err;

		if (entry->kind != RT_ENTRY_BIND || rt_rootfs_is_mapped(entry))
			continue;
		err = clone_source(entry, &tree_fd);
		if (err && entry->tree_fd >= 0) {
			rt_error_free(err);
			continue;
		}
		if (!err)
			err = rt_rootfs_apply_options(rootfs, entry, tree_fd);
		if (err)
			return rt_while(err, "opening '%s' for '%s'", entry->source, entry->destination);
		rt_closep(&entry->tree_fd);
		entry->tree_fd = rt_take_fd(tree_fd);
	}
	return NULL;
}
