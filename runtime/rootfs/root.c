#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mount.h>

#define MOST_MOUNTINFO (16 * 1024 * 1024)

/* Nothing the container mounts may come out on the host. That takes the mounts of the host that it inherits, all of
 * them, so this is recursive whatever the config says; what it says applies to the root at the end. */
static struct rt_error *separate_from_host(const struct rt_rootfs *rootfs)
{
	struct rt_mount_attributes change = { .propagation = MS_SLAVE };

	if (rt_rootfs_is_shared(rootfs))
		return NULL; /* volumes that ask for it stay peers of the host's */
	if (rootfs->propagation.type == MS_PRIVATE || rootfs->propagation.type == MS_UNBINDABLE)
		change.propagation = MS_PRIVATE;
	return rt_sys_set_mount_attributes(AT_FDCWD, "/", RT_MOUNT_RECURSIVE, &change);
}

/* With everything still shared, at least the mount the root is put on must not be: the host would get the root mounted a
 * second time, and pivot_root refuses. Only the root of a mount takes the call: go up until it does. */
static struct rt_error *make_parent_private(const char *path)
{
	const struct rt_mount_attributes change = { .propagation = MS_PRIVATE };
	_cleanup_free_ char *at = strdup(path);

	if (!at)
		return rt_error_oom();
	for (;;) {
		struct rt_error *err = rt_sys_set_mount_attributes(AT_FDCWD, *at ? at : "/", 0, &change);
		char *slash = strrchr(at, '/');

		if (!err || err->errnum != EINVAL || !*at)
			return err;
		rt_error_free(err);
		*slash = '\0';
	}
}

/* Mapped by the parent: only who has the host's rights can do that. */
static struct rt_error *take_mapped_root(struct rt_rootfs_entry *entry, int *ret)
{
	if (entry->late_readonly) {
		entry->mounted_fd = fcntl(entry->tree_fd, F_DUPFD_CLOEXEC, 3);
		if (entry->mounted_fd < 0)
			return rt_fail_errno("cannot duplicate a descriptor");
	}
	*ret = rt_take_fd(entry->tree_fd);
	return NULL;
}

/* The container's root as a mount of its own: pivot_root needs one, and flags set on it are then nobody else's. */
static struct rt_error *make_root_mount(struct rt_rootfs *rootfs)
{
	const struct rt_mount_attributes change = { .propagation = MS_SLAVE };
	_cleanup_close_ int target_fd = open(rootfs->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int tree_fd = -1;
	struct rt_error *err;

	if (target_fd < 0)
		return rt_fail_errno("cannot open the root filesystem '%s'", rootfs->path);
	if (rootfs->root_entry)
		err = take_mapped_root(rootfs->root_entry, &tree_fd);
	else
		err = rt_sys_clone_tree(target_fd, "", RT_MOUNT_RECURSIVE, &tree_fd);
	if (!err && rt_rootfs_is_shared(rootfs))
		err = rt_sys_set_mount_attributes(tree_fd, "", RT_MOUNT_RECURSIVE, &change);
	if (!err)
		err = rt_sys_attach(tree_fd, target_fd);
	if (err)
		return rt_while(err, "mounting the root filesystem '%s'", rootfs->path);
	rootfs->root_fd = rt_take_fd(tree_fd);
	return NULL;
}

struct rt_error *rt_rootfs_isolate(struct rt_rootfs *rootfs)
{
	struct rt_error *err;

	if (!rootfs->request.private_mount_namespace) {
		rootfs->root_fd = open(rootfs->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (rootfs->root_fd < 0)
			return rt_fail_errno("cannot open the root filesystem '%s'", rootfs->path);
		return NULL;
	}
	err = separate_from_host(rootfs);
	if (!err)
		err = rt_rootfs_reopen_sources(rootfs);
	if (!err && rt_rootfs_is_shared(rootfs))
		err = make_parent_private(rootfs->path);
	if (!err)
		err = make_root_mount(rootfs);
	return err;
}

/* One line of mountinfo: "36 35 98:0 /root /mount/point options - type source options". False: not such a line. */
static bool parse_mountinfo(char *line, char **ret_point, char **ret_type)
{
	char *save = NULL, *word = strtok_r(line, " ", &save);

	for (int field = 0; word && field < 4; field++)
		word = strtok_r(NULL, " ", &save);
	*ret_point = word;
	while (word && !rt_str_equal(word, "-"))
		word = strtok_r(NULL, " ", &save);
	*ret_type = word ? strtok_r(NULL, " ", &save) : NULL;
	return *ret_type != NULL;
}

static struct rt_error *hide_mount(const char *point)
{
	const struct rt_filesystem empty = { .type = "tmpfs", .attributes = MOUNT_ATTR_RDONLY };
	_cleanup_close_ int fd = -1, empty_fd = -1;
	struct rt_error *err = rt_sys_unmount(point);

	if (!err || err->errnum == ENOENT)
		return rt_error_free(err);
	if (err->errnum != EINVAL && err->errnum != EPERM)
		return err;
	/* Locked where it is by a user namespace: cover it. */
	rt_error_free(err);
	fd = open(point, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? NULL : rt_fail_errno("cannot open '%s'", point);
	err = rt_sys_make_filesystem(&empty, &empty_fd);
	if (!err)
		err = rt_sys_attach(empty_fd, fd);
	return err;
}

/* With no_pivot the old root stays below the new one. Its full procfs and sysfs would let the container's root mount new
 * ones without the masks (the kernel allows that where a whole one is visible), so they go first. */
static struct rt_error *hide_host_views(const struct rt_rootfs *rootfs)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_read_file_at(AT_FDCWD, "/proc/self/mountinfo", MOST_MOUNTINFO, &text, NULL);
	char *save = NULL;

	if (err)
		return err;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *point, *type;
		size_t length = strlen(rootfs->path);

		if (!parse_mountinfo(line, &point, &type))
			continue;
		if (!rt_str_equal(type, "proc") && !rt_str_equal(type, "sysfs"))
			continue;
		if (strncmp(point, rootfs->path, length) == 0 && (point[length] == '/' || point[length] == '\0'))
			continue;
		err = hide_mount(point);
		if (err)
			return err;
	}
	return NULL;
}

static struct rt_error *switch_without_pivot(struct rt_rootfs *rootfs)
{
	_cleanup_close_ int old_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct rt_error *err;

	if (old_fd < 0)
		return rt_fail_errno("cannot open '/'");
	err = hide_host_views(rootfs);
	if (!err)
		err = rt_sys_attach(rootfs->root_fd, old_fd);
	if (!err)
		err = rt_sys_chroot(rootfs->root_fd);
	return err;
}

static struct rt_error *pivot(struct rt_rootfs *rootfs)
{
	const struct rt_mount_attributes change = { .propagation = MS_SLAVE };
	_cleanup_close_ int old_fd = -1;
	struct rt_error *err;

	if (rt_rootfs_is_shared(rootfs) && (old_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
		return rt_fail_errno("cannot open '/'");
	err = rt_sys_pivot_root(rootfs->root_fd);
	if (err && err->errnum == EINVAL)
		return rt_while(err, "the root filesystem cannot be pivoted to (on an initramfs: --no-pivot)");
	/* Or unmounting here would unmount on the host. */
	if (!err && old_fd >= 0)
		err = rt_sys_set_mount_attributes(old_fd, "", RT_MOUNT_RECURSIVE, &change);
	if (!err)
		err = rt_sys_unmount(".");
	if (!err && chdir("/") < 0)
		err = rt_fail_errno("cannot enter '/'");
	return err;
}

struct rt_error *rt_rootfs_switch(struct rt_rootfs *rootfs)
{
	if (!rootfs->request.private_mount_namespace)
		return rt_sys_chroot(rootfs->root_fd);
	if (rootfs->request.no_pivot)
		return switch_without_pivot(rootfs);
	return pivot(rootfs);
}

static struct rt_error *finish_late_readonly(struct rt_rootfs *rootfs)
{
	const struct rt_mount_attributes change = { .set = MOUNT_ATTR_RDONLY };

	for (size_t i = 0; i < rootfs->entry_count; i++) {
		struct rt_rootfs_entry *entry = &rootfs->entries[i];
		unsigned flags = (entry->options.recursive_set & MOUNT_ATTR_RDONLY) ? RT_MOUNT_RECURSIVE : 0;
		struct rt_error *err;

		if (entry->mounted_fd < 0)
			continue;
		err = rt_sys_set_mount_attributes(entry->mounted_fd, "", flags, &change);
		if (err)
			return rt_while(err, "making '%s' read-only", entry->destination);
		close(rt_take_fd(entry->mounted_fd));
	}
	return NULL;
}

struct rt_error *rt_rootfs_seal(struct rt_rootfs *rootfs)
{
	const struct rt_mount_attributes readonly = { .set = MOUNT_ATTR_RDONLY };
	const struct rt_mount_attributes propagation = { .propagation = rootfs->propagation.type };
	unsigned flags = rootfs->propagation.recursive ? RT_MOUNT_RECURSIVE : 0;
	struct rt_error *err;

	if (!rootfs->request.private_mount_namespace)
		return NULL;
	err = rt_rootfs_make_readonly_paths(rootfs);
	if (!err)
		err = rt_rootfs_mask_paths(rootfs);
	if (!err)
		err = finish_late_readonly(rootfs);
	if (!err && rootfs->spec->root_readonly) {
		err = rt_sys_set_mount_attributes(rootfs->root_fd, "", 0, &readonly);
		if (err)
			return rt_while(err, "making the root filesystem read-only");
	}
	if (!err && propagation.propagation) {
		err = rt_sys_set_mount_attributes(rootfs->root_fd, "", flags, &propagation);
		if (err)
			return rt_while(err, "setting 'linux.rootfsPropagation'");
	}
	return err;
}
