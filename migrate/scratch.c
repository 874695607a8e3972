#include "migrate/scratch.h"

#include "runtime/base/fs.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#define SCRATCH "dump-"

struct rt_error *rt_scratch_open(const struct rt_context *context, char **ret_path, int *ret)
{
	struct rt_error *err = rt_format(ret_path, "%s/" RT_CLONE_CACHE, context->root);

	if (!err)
		err = rt_make_dirs(*ret_path, 0711);
	if (err)
		return err;
	if (chmod(*ret_path, 0700) < 0)
		return rt_fail_errno("cannot change the mode of '%s'", *ret_path);
	*ret = open(*ret_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? rt_fail_errno("cannot open '%s'", *ret_path) : NULL;
}

void rt_scratch_warn_of_disk(int dir_fd, const char *path)
{
	struct statfs fs;

	if (fstatfs(dir_fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
		return;
	rt_warn("'%s' is not in memory: what is to be encrypted lies there as it is, and may be found on the disk afterwards ('--root' should be on a tmpfs)",
		path);
}

struct rt_error *rt_scratch_make(const struct rt_context *context, struct rt_scratch *ret)
{
	struct rt_scratch scratch = RT_SCRATCH_NULL;
	_cleanup_free_ char *root_path = NULL;
	_cleanup_close_ int root_fd = -1, lock_fd = -1;
	struct rt_error *err = rt_scratch_open(context, &root_path, &root_fd);

	/* With the lock of all, so that it is not taken for one that was left before it is locked itself. */
	if (!err)
		err = rt_lock_at(root_fd, "lock", &lock_fd);
	if (!err)
		err = rt_format(&scratch.path, "%s/" SCRATCH "XXXXXX", root_path);
	if (err)
		return err;
	if (!mkdtemp(scratch.path))
		err = rt_fail_errno("cannot make a directory like '%s'", scratch.path);
	if (!err && (scratch.dir_fd = open(scratch.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0)
		err = rt_fail_errno("cannot open '%s'", scratch.path);
	if (!err)
		err = rt_lock_at(scratch.dir_fd, "lock", &scratch.lock_fd);
	if (err)
		rt_scratch_remove(&scratch);
	if (err)
		return err;
	rt_scratch_warn_of_disk(scratch.dir_fd, scratch.path);
	*ret = scratch;
	return NULL;
}

struct rt_error *rt_scratch_directory(const struct rt_scratch *scratch, const char *name, char **ret)
{
	if (mkdirat(scratch->dir_fd, name, 0700) < 0)
		return rt_fail_errno("cannot make '%s/%s'", scratch->path, name);
	return rt_format(ret, "%s/%s", scratch->path, name);
}

void rt_scratch_remove(struct rt_scratch *scratch)
{
	struct rt_error *err = scratch->dir_fd >= 0 ? rt_remove_tree_at(AT_FDCWD, scratch->path) : NULL;

	/* Who looked for what was left has made a new lock in it. */
	if (err && err->errnum == ENOTEMPTY) {
		rt_error_free(err);
		err = rt_remove_tree_at(AT_FDCWD, scratch->path);
	}
	rt_warn_ignored(err);
	rt_closep(&scratch->dir_fd);
	rt_closep(&scratch->lock_fd);
	free(scratch->path);
	*scratch = RT_SCRATCH_NULL;
}

static int is_scratch(const struct dirent *entry)
{
	return rt_str_starts(entry->d_name, SCRATCH);
}

/* Of one who died: nobody holds its lock. */
static struct rt_error *remove_if_left(int root_fd, const char *name)
{
	_cleanup_close_ int dir_fd = openat(root_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), lock_fd = -1;
	struct rt_error *err;

	if (dir_fd < 0)
		return errno == ENOENT ? NULL : rt_fail_errno("cannot open '%s'", name);
	err = rt_lock_try_at(dir_fd, "lock", &lock_fd);
	if (err && err->errnum == ENOENT) /* its owner has just removed it */
		return rt_error_free(err);
	return err || lock_fd < 0 ? err : rt_remove_tree_at(root_fd, name);
}

struct rt_error *rt_scratch_trim(int root_fd)
{
	struct dirent **entries;
	int count = scandirat(root_fd, ".", &entries, is_scratch, alphasort);
	struct rt_error *err = NULL;

	if (count < 0)
		return rt_fail_errno("cannot list what snapshots left in memory");
	for (int i = 0; i < count; i++) {
		if (!err)
			err = remove_if_left(root_fd, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return err;
}
