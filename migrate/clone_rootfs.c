#include "migrate/clone_rootfs.h"

#include "migrate/clone_cache.h"
#include "migrate/clone_mapped.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/sys/mount.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

void rt_clone_rootfs_deinit(struct rt_clone_rootfs *rootfs)
{
	rt_closep(&rootfs->dir_fd);
	rt_closep(&rootfs->lock_fd);
	free(rootfs->path);
	*rootfs = RT_CLONE_ROOTFS_NULL;
}

static struct rt_error *container_exists(const struct rt_context *context, const char *id, bool *ret)
{
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = rt_format(&path, "%s/%s", context->root, id);

	*ret = !err && access(path, F_OK) == 0;
	return err;
}

struct rt_error *rt_clone_rootfs_remove(const char *path)
{
	_cleanup_free_ char *mounted = NULL;
	struct rt_error *err = rt_format(&mounted, "%s/rootfs", path);

	if (err)
		return err;
	/* Not mounted, or not there: as well. */
	err = rt_sys_unmount(mounted);
	if (err && (err->errnum == EINVAL || err->errnum == ENOENT))
		err = rt_error_free(err);
	if (!err)
		err = rt_clone_map_remove(path);
	return err ? err : rt_remove_tree_at(AT_FDCWD, path);
}

/* *ret is -1 where somebody holds it. */
static struct rt_error *try_lock(const char *path, int *ret)
{
	_cleanup_free_ char *file = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_format(&file, "%s/lock", path);

	*ret = -1;
	if (err)
		return err;
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return rt_fail_errno("cannot open '%s'", file);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		*ret = rt_take_fd(fd);
	else if (errno != EWOULDBLOCK)
		return rt_fail_errno("cannot lock '%s'", file);
	return NULL;
}

static struct rt_error *remove_stale(const struct rt_context *context, const char *path, const char *id)
{
	_cleanup_close_ int lock_fd = -1;
	struct rt_error *err;
	bool exists;

	if (access(path, F_OK) < 0)
		return NULL;
	err = container_exists(context, id, &exists);
	if (!err && !exists)
		err = try_lock(path, &lock_fd);
	if (err)
		return err;
	if (exists || lock_fd < 0)
		return rt_fail(RT_EXISTS, "container with id '%s' exists: it %s", id, exists ? "already exists" : "is being started");
	return rt_clone_rootfs_remove(path);
}

struct rt_error *rt_clone_rootfs_make(const struct rt_context *context, const char *id, const char *snapshot_id, struct rt_clone_rootfs *ret)
{
	static const char *const directories[] = { "rootfs", "upper", "work", "criu" };
	_cleanup_(rt_clone_rootfs_deinit) struct rt_clone_rootfs rootfs = RT_CLONE_ROOTFS_NULL;
	_cleanup_free_ char *parent = NULL;
	struct rt_error *err = rt_container_check_id(id);
	bool exists = false;

	if (!err)
		err = container_exists(context, id, &exists);
	if (!err && exists)
		err = rt_fail(RT_EXISTS, "container with id '%s' exists: it already exists", id);
	if (!err)
		err = rt_format(&parent, "%s/" RT_CLONES, context->root);
	if (!err)
		err = rt_make_dirs(parent, 0711);
	if (!err)
		err = rt_format(&rootfs.path, "%s/%s", parent, id);
	if (!err)
		err = remove_stale(context, rootfs.path, id);
	if (err)
		return err;
	if (mkdir(rootfs.path, 0711) < 0)
		return rt_fail_errno("cannot make '%s'", rootfs.path);
	rootfs.ours = true;
	rootfs.dir_fd = open(rootfs.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (rootfs.dir_fd < 0)
		err = rt_fail_errno("cannot open '%s'", rootfs.path);
	if (!err)
		err = try_lock(rootfs.path, &rootfs.lock_fd);
	for (size_t i = 0; i < RT_ARRAY_SIZE(directories) && !err; i++)
		if (mkdirat(rootfs.dir_fd, directories[i], 0700) < 0)
			err = rt_fail_errno("cannot make '%s/%s'", rootfs.path, directories[i]);
	if (!err)
		err = rt_replace_file_at(rootfs.dir_fd, "snapshot", snapshot_id, strlen(snapshot_id), 0600);
	if (err) {
		rt_error_free(rt_remove_tree_at(AT_FDCWD, rootfs.path));
		return err;
	}
	*ret = rootfs;
	rootfs = RT_CLONE_ROOTFS_NULL;
	return NULL;
}

/* ---- the overlay ---- */

static struct rt_error *add_lower(char **list, const char *path)
{
	_cleanup_free_ char *before = rt_take_ptr(*list);
	struct rt_error *err;
	struct stat st;

	if (stat(path, &st) < 0)
		err = rt_fail_errno("the root filesystem '%s' it stands on", path);
	else if (!S_ISDIR(st.st_mode))
		err = rt_fail(RT_CONFIG, "the root filesystem '%s' it stands on is no directory", path);
	/* What separates directories, and options, in overlayfs. */
	else if (strpbrk(path, ":,\\"))
		err = rt_fail(RT_CONFIG, "'%s' can't be a layer of an overlay: its name has a ':', ',' or '\\'", path);
	else
		err = rt_format(list, "%s%s%s", before ? before : "", before ? ":" : "", path);
	return err;
}

/* The merged root has the attributes of the upper directory, and CRIU compares them. */
static struct rt_error *like_lower(const struct rt_clone_rootfs *rootfs, const char *lower)
{
	_cleanup_close_ int fd = openat(rootfs->dir_fd, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || stat(lower, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0 || fchmod(fd, st.st_mode & 07777) < 0)
		return rt_fail_errno("cannot make '%s/upper' like '%s'", rootfs->path, lower);
	return NULL;
}

static struct rt_error *attach(const struct rt_clone_rootfs *rootfs, const struct rt_filesystem *overlay)
{
	_cleanup_close_ int tree_fd = -1, target_fd = openat(rootfs->dir_fd, "rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct rt_error *err;

	if (target_fd < 0)
		return rt_fail_errno("cannot open '%s/rootfs'", rootfs->path);
	if (rt_sys_needs_old_mount(overlay))
		return rt_sys_mount_filesystem(overlay, target_fd);
	err = rt_sys_make_filesystem(overlay, &tree_fd);
	return err ? err : rt_sys_attach(tree_fd, target_fd);
}

static struct rt_error *mount_overlay(const struct rt_clone_rootfs *rootfs, const char *changes, const char *const *lowers, size_t count)
{
	_cleanup_free_ char *list = NULL, *lower = NULL, *upper = NULL, *work = NULL;
	const char *options[3];
	struct rt_error *err = changes ? add_lower(&list, changes) : NULL;

	for (size_t i = 0; i < count && !err; i++)
		err = add_lower(&list, lowers[i]);
	if (!err)
		err = like_lower(rootfs, lowers[0]);
	if (!err)
		err = rt_format(&lower, "lowerdir=%s", list);
	if (!err)
		err = rt_format(&upper, "upperdir=%s/upper", rootfs->path);
	if (!err)
		err = rt_format(&work, "workdir=%s/work", rootfs->path);
	if (err)
		return err;
	options[0] = lower;
	options[1] = upper;
	options[2] = work;
	return attach(rootfs, &(struct rt_filesystem){ .type = "overlay", .source = "overlay", .options = options, .option_count = 3 });
}

/* Once it is made, the overlay has the layer for itself. */
static struct rt_error *mount_mapped(const struct rt_clone_rootfs *rootfs, const struct rt_clone_layers *layers)
{
	_cleanup_free_ char *mapped = NULL;
	struct rt_error *err, *second;

	/* There is no other way to such a snapshot: an overlay could not have been mounted with other ids. */
	if (layers->changes || layers->count != 1)
		return rt_fail(RT_CONFIG, "a root filesystem of several layers can't be mounted with other ids ('/' in 'mounts')");
	err = rt_clone_map_lower(rootfs, layers->lowers[0], layers->map_fd, &mapped);
	if (err)
		return err;
	err = mount_overlay(rootfs, NULL, (const char *const[]){ mapped }, 1);
	second = rt_clone_map_remove(rootfs->path);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}

struct rt_error *rt_clone_rootfs_mount(const struct rt_clone_rootfs *rootfs, const struct rt_clone_layers *layers)
{
	struct rt_error *err;

	if (layers->count == 0)
		err = rt_fail(RT_CONFIG, "the snapshot names no root filesystem");
	else if (layers->map_fd >= 0)
		err = mount_mapped(rootfs, layers);
	else
		err = mount_overlay(rootfs, layers->changes, layers->lowers, layers->count);
	return err ? rt_while(err, "mounting the root filesystem '%s/rootfs'", rootfs->path) : NULL;
}

/* ---- after a crash ---- */

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

struct rt_error *rt_clone_rootfs_trim(const struct rt_context *context)
{
	_cleanup_free_ char *parent = NULL;
	struct dirent **entries;
	struct rt_error *err = rt_format(&parent, "%s/" RT_CLONES, context->root);
	int count = err ? -1 : scandir(parent, &entries, is_visible, alphasort);

	if (count < 0)
		return err || errno == ENOENT ? err : rt_fail_errno("cannot list '%s'", parent);
	for (int i = 0; i < count; i++) {
		_cleanup_free_ char *path = NULL;
		struct rt_error *one = rt_format(&path, "%s/%s", parent, entries[i]->d_name);

		if (!one)
			one = remove_stale(context, path, entries[i]->d_name);
		if (one && one->code == RT_EXISTS)
			one = rt_error_free(one);
		rt_warn_ignored(one);
		free(entries[i]);
	}
	free(entries);
	return NULL;
}
