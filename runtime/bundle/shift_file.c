#include "runtime/bundle/shift_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define LIST_ROOM 65536 /* XATTR_LIST_MAX */

void rt_shift_file_deinit(struct rt_shift_file *file)
{
	free(file->access.bytes);
	free(file->standard.bytes);
	file->access.bytes = file->standard.bytes = NULL;
}

static struct rt_error *read_acl(const char *path, const char *name, struct rt_shift_acl *ret)
{
	uint8_t bytes[LIST_ROOM];
	ssize_t size = getxattr(path, name, bytes, sizeof(bytes));

	if (size < 0)
		return errno == ENODATA ? NULL : rt_fail_errno("cannot read its '%s'", name);
	ret->bytes = malloc((size_t)size + 1);
	if (!ret->bytes)
		return rt_error_oom();
	memcpy(ret->bytes, bytes, (size_t)size);
	ret->size = (size_t)size;
	return NULL;
}

/* Most files have no extended attributes at all: one call tells. A descriptor that is O_PATH takes these only by its path. */
static struct rt_error *read_attributes(int fd, struct rt_shift_file *file)
{
	struct rt_fd_path path = rt_fd_path(fd);
	char names[LIST_ROOM];
	ssize_t size = listxattr(path.text, names, sizeof(names));
	struct rt_error *err = NULL;

	if (size < 0)
		return errno == ENOTSUP ? NULL : rt_fail_errno("cannot list its extended attributes");
	for (const char *name = names; !err && name < names + size; name += strlen(name) + 1) {
		if (rt_str_equal(name, RT_XATTR_ACL_ACCESS)) {
			err = read_acl(path.text, name, &file->access);
		} else if (rt_str_equal(name, RT_XATTR_ACL_DEFAULT)) {
			err = read_acl(path.text, name, &file->standard);
		} else if (rt_str_equal(name, RT_XATTR_CAPS)) {
			ssize_t got = getxattr(path.text, name, file->caps, sizeof(file->caps));

			if (got < 0)
				return rt_fail_errno("cannot read its capabilities");
			file->caps_size = (size_t)got;
		}
	}
	return err;
}

struct rt_error *rt_shift_file_look(int fd, struct rt_shift_file *ret, nlink_t *ret_links)
{
	struct statx now;

	*ret = (struct rt_shift_file){ 0 };
	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &now) < 0)
		return rt_fail_errno("cannot look at it");
	ret->inode = now.stx_ino;
	if (now.stx_mask & STATX_BTIME) {
		ret->born_s = now.stx_btime.tv_sec;
		ret->born_ns = now.stx_btime.tv_nsec;
	}
	ret->uid = now.stx_uid;
	ret->gid = now.stx_gid;
	ret->mode = now.stx_mode;
	*ret_links = now.stx_nlink;
	/* A symlink has neither ACL nor capabilities. */
	return S_ISLNK(now.stx_mode) ? NULL : read_attributes(fd, ret);
}

static struct rt_error *note_result(enum rt_id_result result, const char *what, uint32_t id, struct rt_shift_change *change)
{
	if (result == RT_ID_DAMAGED)
		return rt_fail(RT_SYSTEM, "its %s are of an unknown form", what);
	if (result == RT_ID_CHANGED)
		change->attributes = true;
	if (result == RT_ID_OUTSIDE && !change->outside) {
		change->outside = true;
		change->outside_id = id;
		change->outside_what = what;
	}
	return NULL;
}

static struct rt_error *shift_acl(struct rt_shift_acl *acl, const char *what, const struct rt_id_shift *shift,
				  struct rt_shift_change *change)
{
	enum rt_id_result result;
	uint32_t id = 0;

	if (acl->size == 0)
		return NULL;
	result = rt_acl_shift(acl->bytes, acl->size, shift, &id);
	return note_result(result, what, id, change);
}

struct rt_error *rt_shift_file_shift(struct rt_shift_file *file, const struct rt_id_shift *shift, struct rt_shift_change *change)
{
	struct rt_error *err = NULL;
	uint32_t id = 0;

	change->uid = change->new_uid = file->uid;
	change->gid = change->new_gid = file->gid;
	change->attributes = change->outside = false;
	if (!rt_id_shift_uid(shift, file->uid, &change->new_uid))
		err = note_result(RT_ID_OUTSIDE, "owner", file->uid, change);
	if (!err && !rt_id_shift_gid(shift, file->gid, &change->new_gid))
		err = note_result(RT_ID_OUTSIDE, "group", file->gid, change);
	file->uid = change->new_uid;
	file->gid = change->new_gid;
	if (!err && file->caps_size) {
		enum rt_id_result result = rt_caps_shift(file->caps, &file->caps_size, shift, &id);

		err = note_result(result, "capabilities", id, change);
	}
	if (!err)
		err = shift_acl(&file->access, "ACL", shift, change);
	return err ? err : shift_acl(&file->standard, "default ACL", shift, change);
}

static struct rt_error *write_attribute(const char *path, const char *name, const void *bytes, size_t size)
{
	if (size && setxattr(path, name, bytes, size, 0) < 0)
		return rt_fail_errno("cannot set its '%s'", name);
	return NULL;
}

/* The owner first: its change drops capabilities and set-user-id bits, which an earlier run may have lost on the way. */
struct rt_error *rt_shift_file_apply(int fd, const struct rt_shift_file *file)
{
	struct rt_fd_path path = rt_fd_path(fd);
	struct rt_error *err;
	struct stat now;

	if (fstat(fd, &now) < 0)
		return rt_fail_errno("cannot look at it");
	if ((now.st_uid != file->uid || now.st_gid != file->gid) &&
	    fchownat(fd, "", file->uid, file->gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot change its owner");
	if (S_ISLNK(file->mode))
		return NULL;
	err = write_attribute(path.text, RT_XATTR_ACL_ACCESS, file->access.bytes, file->access.size);
	if (!err)
		err = write_attribute(path.text, RT_XATTR_ACL_DEFAULT, file->standard.bytes, file->standard.size);
	if (!err && (file->mode & 06000) && chmod(path.text, file->mode & 07777) < 0)
		err = rt_fail_errno("cannot set its mode again");
	return err ? err : write_attribute(path.text, RT_XATTR_CAPS, file->caps, file->caps_size);
}

/* ---- the walk ---- */

static int open_no_mount(int dir_fd, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV | RESOLVE_BENEATH };

	return (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
}

static struct rt_error *walk_directory(int path_fd, const char *path, const struct rt_shift_walk *walk);

static struct rt_error *visit(int dir_fd, const char *name, const char *path, const struct rt_shift_walk *walk)
{
	_cleanup_close_ int fd = open_no_mount(dir_fd, name), below = -1;
	struct rt_error *err;
	struct stat st;

	if (fd < 0) /* a mount is somebody else's; and what is gone is gone */
		return errno == EXDEV || errno == ENOENT ? NULL : rt_fail_errno("cannot open '%s'", path);
	if (fstat(fd, &st) < 0)
		return rt_fail_errno("cannot look at '%s'", path);
	if (S_ISDIR(st.st_mode)) {
		below = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (below < 0)
			return rt_fail_errno("cannot enter '%s'", path);
	}
	err = walk->visit(walk->userdata, &fd, path);
	if (err)
		return rt_while(err, "'%s'", path);
	rt_closep(&fd);
	fd = -1;
	return below < 0 ? NULL : walk_directory(rt_take_fd(below), path, walk);
}

/* Takes the descriptor over. */
static struct rt_error *walk_directory(int fd, const char *path, const struct rt_shift_walk *walk)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	struct rt_error *err = NULL;
	const struct dirent *entry;

	if (!dir) {
		close(fd);
		return rt_fail_errno("cannot list '%s'", path);
	}
	while (!err && (errno = 0, entry = readdir(dir))) {
		_cleanup_free_ char *inner = NULL;

		if (rt_str_equal(entry->d_name, ".") || rt_str_equal(entry->d_name, ".."))
			continue;
		err = rt_str_equal(path, ".") ? rt_format(&inner, "%s", entry->d_name) : rt_format(&inner, "%s/%s", path, entry->d_name);
		if (!err)
			err = visit(dirfd(dir), entry->d_name, inner, walk);
	}
	if (!err && errno)
		err = rt_fail_errno("cannot list '%s'", path);
	return err;
}

struct rt_error *rt_shift_walk(int root_fd, const struct rt_shift_walk *walk)
{
	return visit(root_fd, ".", ".", walk);
}
