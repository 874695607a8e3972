#include "checkpoint/archive_helper.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define DELETED_MAX ((size_t)64 << 20)
#define ENTRIES_MAX 10000000

struct rt_error *rt_archive_open_below(int root_fd, const char *path, int *ret)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
		/* The diff names real directories: a symlink on the way was put there to lead us elsewhere. */
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));

	if (fd < 0)
		return rt_fail_errno("cannot enter '%s'", path);
	*ret = fd;
	return NULL;
}

/* The directory an entry goes to, and its name there. *ret_name points into `path`. */
static struct rt_error *open_parent(int root_fd, char *path, bool make, int *ret, const char **ret_name)
{
	char *slash = strrchr(path, '/');
	struct rt_error *err;

	*ret_name = slash ? slash + 1 : path;
	if (!slash)
		return rt_archive_open_below(root_fd, "", ret);
	*slash = '\0';
	err = rt_archive_open_below(root_fd, path, ret);
	if (err && err->errnum == ENOENT && make) {
		_cleanup_close_ int above = -1;
		const char *name;

		/* Entries of a diff may leave their parents out. */
		rt_error_free(err);
		err = open_parent(root_fd, path, true, &above, &name);
		if (!err && mkdirat(above, name, 0755) < 0 && errno != EEXIST)
			err = rt_fail_errno("cannot make the directory '%s'", path);
		if (!err)
			err = rt_archive_open_below(root_fd, path, ret);
	}
	*slash = '/';
	return err;
}

static struct rt_error *make_room(int dir_fd, const char *name, const char *path)
{
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return NULL;
	if (errno == EISDIR || errno == EPERM)
		return rt_remove_tree_at(dir_fd, name);
	return rt_fail_errno("cannot replace '%s'", path);
}

static struct rt_error *write_data(struct archive *archive, int fd)
{
	const void *bytes;
	la_int64_t offset;
	size_t size;

	for (;;) {
		int result = archive_read_data_block(archive, &bytes, &size, &offset);

		if (result == ARCHIVE_EOF)
			return NULL;
		if (result != ARCHIVE_OK)
			return rt_archive_fail(archive, "cannot read the changes");
		while (size > 0) {
			ssize_t written = pwrite(fd, bytes, size, offset);

			if (written < 0 && errno == EINTR)
				continue;
			if (written < 0)
				return rt_fail_errno("cannot write");
			bytes = (const char *)bytes + written;
			size -= (size_t)written;
			offset += written;
		}
	}
}

static struct rt_error *set_xattrs(struct archive_entry *entry, int fd)
{
	const char *name;
	const void *value;
	size_t size;

	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		if (!rt_str_starts(name, "user.") && !rt_str_equal(name, "security.capability"))
			continue;
		if (fsetxattr(fd, name, value, size, 0) < 0 && errno != ENOTSUP)
			return rt_fail_errno("cannot set the extended attribute '%.64s'", name);
	}
	return NULL;
}

/* Owner before mode: a change of owner drops set-user-id bits. Times last. */
static struct rt_error *set_attributes(struct archive_entry *entry, int fd)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
				     { .tv_sec = archive_entry_mtime(entry),
				       .tv_nsec = archive_entry_mtime_nsec(entry) } };
	struct rt_error *err;

	if (fchown(fd, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry)) < 0)
		return rt_fail_errno("cannot set the owner");
	if (fchmod(fd, archive_entry_perm(entry)) < 0)
		return rt_fail_errno("cannot set the mode");
	err = set_xattrs(entry, fd);
	if (!err && archive_entry_mtime_is_set(entry) && futimens(fd, times) < 0)
		err = rt_fail_errno("cannot set the time");
	return err;
}

static struct rt_error *apply_directory(struct archive_entry *entry, int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP) && unlinkat(dir_fd, name, 0) < 0)
		return rt_fail_errno("cannot replace it");
	if (fd < 0) {
		if (mkdirat(dir_fd, name, 0700) < 0)
			return rt_fail_errno("cannot make the directory");
		fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return rt_fail_errno("cannot open the directory");
	}
	return set_attributes(entry, fd);
}

static struct rt_error *apply_file(struct archive *archive, struct archive_entry *entry, int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct rt_error *err;

	if (fd < 0)
		return rt_fail_errno("cannot create it");
	err = write_data(archive, fd);
	/* A hole at the end is no data. */
	if (!err && ftruncate(fd, archive_entry_size(entry)) < 0)
		err = rt_fail_errno("cannot set its size");
	return err ? err : set_attributes(entry, fd);
}

static struct rt_error *apply_symlink(struct archive_entry *entry, int dir_fd, const char *name)
{
	const char *target = archive_entry_symlink(entry);

	if (!target || symlinkat(target, dir_fd, name) < 0)
		return rt_fail_errno("cannot make the symlink");
	if (fchownat(dir_fd, name, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry),
		     AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot set the owner");
	return NULL;
}

static struct rt_error *apply_hardlink(int root_fd, struct archive_entry *entry, int dir_fd, const char *name)
{
	_cleanup_close_ int target_dir = -1;
	const char *target = archive_entry_hardlink(entry), *target_name;
	char path[PATH_MAX];
	struct rt_error *err;

	if (!rt_archive_clean_path(target, path, sizeof(path)) || !*path)
		return rt_fail(RT_CONFIG, "it links to '%.256s', which lies outside", target);
	err = open_parent(root_fd, path, false, &target_dir, &target_name);
	if (err)
		return err;
	if (linkat(target_dir, target_name, dir_fd, name, 0) < 0)
		return rt_fail_errno("cannot link it to '%s'", path);
	return NULL;
}

static struct rt_error *apply_fifo(struct archive_entry *entry, int dir_fd, const char *name)
{
	if (mkfifoat(dir_fd, name, 0600) < 0 ||
	    fchownat(dir_fd, name, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry),
		     AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(dir_fd, name, archive_entry_perm(entry), 0) < 0)
		return rt_fail_errno("cannot make the FIFO");
	return NULL;
}

static struct rt_error *apply_entry(int root_fd, struct archive *archive, struct archive_entry *entry, char *path)
{
	__LA_MODE_T type = archive_entry_filetype(entry);
	_cleanup_close_ int dir_fd = -1;
	const char *name;
	struct rt_error *err;

	if (!*path) /* the root itself: its mode and owner may have changed */
		return type == AE_IFDIR ? apply_directory(entry, root_fd, ".")
					: rt_fail(RT_CONFIG, "the root is no directory");
	err = open_parent(root_fd, path, true, &dir_fd, &name);
	if (err)
		return err;
	if (type == AE_IFDIR && !archive_entry_hardlink(entry))
		return apply_directory(entry, dir_fd, name);
	/* A device node would open the host's devices to whoever made the archive. */
	if (!archive_entry_hardlink(entry) && type != AE_IFREG && type != AE_IFLNK && type != AE_IFIFO)
		return rt_fail(RT_CONFIG, "it is a device or a socket, which is not unpacked");
	err = make_room(dir_fd, name, path);
	if (err)
		return err;
	if (archive_entry_hardlink(entry))
		return apply_hardlink(root_fd, entry, dir_fd, name);
	if (type == AE_IFLNK)
		return apply_symlink(entry, dir_fd, name);
	if (type == AE_IFIFO)
		return apply_fifo(entry, dir_fd, name);
	return apply_file(archive, entry, dir_fd, name);
}

static struct rt_error *apply_tar(int root_fd, int tar_fd)
{
	_cleanup_(rt_archive_read_freep) struct archive *archive = archive_read_new();
	struct archive_entry *entry;
	char path[PATH_MAX];
	size_t count = 0;

	if (!archive)
		return rt_error_oom();
	if (archive_read_support_format_tar(archive) != ARCHIVE_OK ||
	    archive_read_open_fd(archive, tar_fd, 65536) != ARCHIVE_OK)
		return rt_archive_fail(archive, "cannot read the changes");
	for (;;) {
		int result = archive_read_next_header(archive, &entry);
		struct rt_error *err;

		if (result == ARCHIVE_EOF)
			return NULL;
		if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
			return rt_archive_fail(archive, "cannot read the changes");
		if (++count > ENTRIES_MAX)
			return rt_fail(RT_CONFIG, "the changes are more than %d files", ENTRIES_MAX);
		if (!archive_entry_pathname(entry) ||
		    !rt_archive_clean_path(archive_entry_pathname(entry), path, sizeof(path)))
			return rt_fail(RT_CONFIG, "the changes name '%.256s', which lies outside",
				       archive_entry_pathname(entry) ? archive_entry_pathname(entry) : "");
		err = apply_entry(root_fd, archive, entry, path);
		if (err)
			return rt_while(err, "'%s'", path);
	}
}

static struct rt_error *delete_one(int root_fd, const char *absolute)
{
	_cleanup_close_ int dir_fd = -1;
	char path[PATH_MAX];
	const char *name;
	struct rt_error *err;

	if (!rt_archive_clean_path(absolute + strspn(absolute, "/"), path, sizeof(path)) || !*path)
		return rt_fail(RT_CONFIG, "the list of deleted files names '%.256s', which lies outside", absolute);
	err = open_parent(root_fd, path, false, &dir_fd, &name);
	if (err && err->errnum == ENOENT) {
		/* Gone with its directory. */
		rt_error_free(err);
		return NULL;
	}
	return err ? err : rt_remove_tree_at(dir_fd, name);
}

static struct rt_error *apply_deleted(int root_fd, int deleted_fd)
{
	_cleanup_json_ json_t *list = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	json_t *path;
	size_t index, size;

	err = rt_read_all(deleted_fd, DELETED_MAX, &text, &size);
	if (err)
		return err;
	list = json_loadb(text, size, 0, NULL);
	if (!json_is_array(list))
		return rt_fail(RT_CONFIG, "the list of deleted files is no JSON array");
	json_array_foreach(list, index, path)
	{
		if (!json_is_string(path))
			return rt_fail(RT_CONFIG, "the list of deleted files has something else than paths");
		err = delete_one(root_fd, json_string_value(path));
		if (err)
			return err;
	}
	return NULL;
}

struct rt_error *rt_archive_apply(const char *rootfs, int tar_fd, int deleted_fd)
{
	_cleanup_close_ int root_fd = open(rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct rt_error *err = NULL;

	if (root_fd < 0)
		return rt_fail_errno("cannot open the root filesystem '%s'", rootfs);
	if (tar_fd >= 0)
		err = apply_tar(root_fd, tar_fd);
	if (!err && deleted_fd >= 0)
		err = apply_deleted(root_fd, deleted_fd);
	return err ? rt_while(err, "changing the root filesystem '%s'", rootfs) : NULL;
}
