#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Files are masked with the null device of the host: the container's own may be a link to anything (CVE-2025-31133). Taken
 * while the host's mounts are still there. */
struct rt_error *rt_rootfs_open_null(struct rt_rootfs *rootfs)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	struct stat st;

	if (rootfs->spec->masked_path_count == 0)
		return NULL;
	err = rt_rootfs_clone_from_host("/dev/null", RT_MOUNT_NOFOLLOW, 0, &fd);
	if (err)
		return err;
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return rt_fail(RT_SYSTEM, "'/dev/null' of the host is not the null device");
	rootfs->null_fd = rt_take_fd(fd);
	return NULL;
}

/* A mask of one kind. The first place gets the mount itself, the others copies of it. */
struct mask {
	int fd;
	bool attached;
};

static struct rt_error *put_mask(struct mask *mask, int target_fd)
{
	_cleanup_close_ int copy = -1;
	struct rt_error *err = NULL;

	if (mask->attached)
		err = rt_sys_clone_tree(mask->fd, "", 0, &copy);
	if (!err)
		err = rt_sys_attach(mask->attached ? copy : mask->fd, target_fd);
	if (!err)
		mask->attached = true;
	return err;
}

/* Read-only and without room: one file system serves all masked directories. */
static struct rt_error *make_empty_directory(struct rt_rootfs *rootfs, int *ret)
{
	_cleanup_free_ char *context = NULL;
	const char *words[] = { "ro", "nr_blocks=1", "nr_inodes=1", NULL };
	struct rt_filesystem filesystem = { .type = "tmpfs", .source = "tmpfs", .options = words, .option_count = 3,
					    .attributes = MOUNT_ATTR_RDONLY };

	if (rootfs->spec->mount_label && *rootfs->spec->mount_label) {
		struct rt_error *err = rt_format(&context, "context=%s", rootfs->spec->mount_label);

		if (err)
			return err;
		words[filesystem.option_count++] = context;
	}
	return rt_sys_make_filesystem(&filesystem, ret);
}

/* Paths that begin in a view count as they are written, so that "//proc/kcore" is not taken for something else. */
static struct rt_error *open_target(struct rt_rootfs *rootfs, const char *path, struct rt_rootfs_place *ret_place, int *ret)
{
	const char *clean = rt_rootfs_clean_path(&rootfs->arena, path);

	if (!clean)
		return rt_error_oom();
	*ret_place = rt_rootfs_find_place(rootfs, clean);
	if (ret_place->fd == rootfs->root_fd)
		ret_place->path = path;
	return rt_open_in_root(ret_place->fd, ret_place->path, O_PATH, 0, ret);
}

static bool is_absent(const struct rt_error *err)
{
	return err->errnum == ENOENT || err->errnum == ENOTDIR;
}

struct rt_error *rt_rootfs_mask_paths(struct rt_rootfs *rootfs)
{
	const struct rt_spec *spec = rootfs->spec;
	_cleanup_close_ int empty_fd = -1;
	struct mask null = { .fd = rootfs->null_fd }, empty = { .fd = -1 };

	for (size_t i = 0; i < spec->masked_path_count; i++) {
		const char *path = spec->masked_paths[i];
		_cleanup_close_ int target_fd = -1;
		struct rt_rootfs_place place;
		struct rt_error *err = open_target(rootfs, path, &place, &target_fd);
		struct stat st;

		if (err && is_absent(err)) {
			rt_error_free(err);
			continue;
		}
		if (!err && fstat(target_fd, &st) < 0)
			err = rt_fail_errno("cannot stat it");
		if (!err && S_ISDIR(st.st_mode) && empty_fd < 0) {
			err = make_empty_directory(rootfs, &empty_fd);
			empty.fd = empty_fd;
		}
		if (!err)
			err = put_mask(S_ISDIR(st.st_mode) ? &empty : &null, target_fd);
		if (err)
			return rt_while(err, "masking '%s' ('linux.maskedPaths')", path);
	}
	return NULL;
}

/* A copy of the mount on itself: its other flags stay, nosuid and the like. */
static struct rt_error *make_readonly(const struct rt_rootfs_place *place, int target_fd)
{
	const struct rt_mount_attributes change = { .set = MOUNT_ATTR_RDONLY };
	_cleanup_close_ int tree_fd = -1;
	struct rt_error *err = rt_sys_clone_tree(target_fd, "", RT_MOUNT_RECURSIVE, &tree_fd);

	if (!err)
		err = rt_sys_set_mount_attributes(tree_fd, "", 0, &change);
	if (!err)
		err = rt_sys_attach(tree_fd, target_fd);
	/* Masks go on what is seen. */
	if (!err && place->view_fd)
		err = rt_rootfs_set_view(place->view_fd, tree_fd);
	return err;
}

struct rt_error *rt_rootfs_make_readonly_paths(struct rt_rootfs *rootfs)
{
	const struct rt_spec *spec = rootfs->spec;

	for (size_t i = 0; i < spec->readonly_path_count; i++) {
		const char *path = spec->readonly_paths[i];
		_cleanup_close_ int target_fd = -1;
		struct rt_rootfs_place place;
		struct rt_error *err = open_target(rootfs, path, &place, &target_fd);

		if (err && is_absent(err)) {
			rt_error_free(err);
			continue;
		}
		if (!err)
			err = make_readonly(&place, target_fd);
		if (err)
			return rt_while(err, "making '%s' read-only ('linux.readonlyPaths')", path);
	}
	return NULL;
}
