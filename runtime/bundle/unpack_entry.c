#include "runtime/bundle/unpack.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/mount.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Removing a tree takes two descriptors a level. */
#define DEPTH_MAX 400
/* A block of zeroes this long becomes a hole. */
#define HOLE_MIN 4096

struct rt_error *rt_unpack_init(struct rt_unpack *unpack)
{
	ssize_t length = readlink(rt_fd_path(unpack->root_fd).text, unpack->root_path, sizeof(unpack->root_path) - 1);

	if (length < 0)
		return rt_fail_errno("cannot find out where the root is");
	unpack->root_path[length] = '\0';
	unpack->parent.fd = -1;
	return NULL;
}

void rt_unpack_deinit(struct rt_unpack *unpack)
{
	rt_closep(&unpack->parent.fd);
	rt_unpack_directories_deinit(&unpack->directories);
	rt_unpack_marks_clear(&unpack->marks);
	free(unpack->default_acl);
}

/* ---- the directory of an entry ---- */

static int open_in_root(int root_fd, const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
}

/* The real path of a directory that symlinks led to. */
static struct rt_error *real_path(struct rt_unpack *unpack, int fd, char path[PATH_MAX])
{
	char full[2 * PATH_MAX];
	ssize_t length = readlink(rt_fd_path(fd).text, full, sizeof(full) - 1);
	size_t root = rt_str_equal(unpack->root_path, "/") ? 0 : strlen(unpack->root_path);

	if (length < 0)
		return rt_fail_errno("cannot find out where '%s' is", path);
	full[length] = '\0';
	if (strncmp(full, unpack->root_path, root) != 0 || (full[root] != '/' && full[root] != '\0'))
		return rt_fail(RT_SYSTEM, "the root was moved");
	if (strlen(full + root) > PATH_MAX - 1)
		return rt_fail_with(ENAMETOOLONG, "cannot enter '%s'", path);
	snprintf(path, PATH_MAX, "%s", full + root + (full[root] == '/'));
	return NULL;
}

/* `path` is what was asked for, and becomes the real one. */
static struct rt_error *open_directory(struct rt_unpack *unpack, char path[PATH_MAX], int *ret)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_unpack_open_below(unpack->root_fd, path, ret);

	if (!err || err->errnum != ELOOP || (unpack->flags & RT_UNPACK_REAL_PARENTS))
		return err;
	rt_error_free(err);
	fd = open_in_root(unpack->root_fd, path);
	if (fd < 0)
		return rt_fail_errno("cannot enter '%s'", path);
	err = real_path(unpack, fd, path);
	if (!err)
		*ret = rt_take_fd(fd);
	return err;
}

/* Of a path that no entry named: as tar would make it, the container's root's. */
static struct rt_error *make_directory(struct rt_unpack *unpack, char *path)
{
	const struct rt_id_shift *shift = &unpack->shift;
	const char *name;
	uint32_t uid = 0, gid = 0;
	struct rt_error *err = rt_unpack_enter(unpack, path, true, &name);

	if (err)
		return err;
	if (mkdirat(unpack->parent.fd, name, 0755) < 0)
		return errno == EEXIST ? NULL : rt_fail_errno("cannot make the directory '%s'", path);
	if (!(unpack->flags & RT_UNPACK_AS_USER) && rt_id_map(&shift->uids, 0, &uid) && rt_id_map(&shift->gids, 0, &gid) &&
	    (uid || gid) && fchownat(unpack->parent.fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot set the owner of '%s'", path);
	return NULL;
}

static size_t depth_of(const char *path)
{
	size_t depth = 1;

	for (; *path; path++)
		depth += *path == '/';
	return depth;
}

static struct rt_error *mark_parents(struct rt_unpack *unpack)
{
	char path[PATH_MAX];
	struct rt_error *err = NULL;

	memcpy(path, unpack->parent.path, strlen(unpack->parent.path) + 1);
	while (!err && *path) {
		char *slash = strrchr(path, '/');

		err = rt_unpack_mark(&unpack->marks, path, "");
		*(slash ? slash : path) = '\0';
	}
	unpack->parent.marked = true;
	return err;
}

static struct rt_error *enter(struct rt_unpack *unpack, char *path, bool make, bool *ret_found)
{
	char real[PATH_MAX];
	struct rt_error *err;
	struct stat st;
	int fd = -1;

	*ret_found = true;
	if (unpack->parent.fd >= 0 && rt_str_equal(unpack->parent.asked, path))
		return NULL;
	if (depth_of(path) > DEPTH_MAX)
		return rt_fail(RT_CONFIG, "it is more than %d directories deep", DEPTH_MAX);
	snprintf(real, sizeof(real), "%s", path);
	err = open_directory(unpack, real, &fd);
	if (err && err->errnum == ENOENT && make) {
		/* Entries may leave their parents out. */
		rt_error_free(err);
		err = make_directory(unpack, path);
		if (!err)
			err = open_directory(unpack, real, &fd);
	} else if (err && !make && (err->errnum == ENOENT || err->errnum == ENOTDIR)) {
		*ret_found = false;
		return rt_error_free(err);
	}
	if (err)
		return err;
	rt_closep(&unpack->parent.fd);
	unpack->parent.fd = fd;
	unpack->parent.marked = false;
	snprintf(unpack->parent.asked, sizeof(unpack->parent.asked), "%s", path);
	memcpy(unpack->parent.path, real, strlen(real) + 1);
	if (depth_of(real) > DEPTH_MAX)
		return rt_fail(RT_CONFIG, "it is more than %d directories deep", DEPTH_MAX);
	if (fstat(fd, &st) < 0)
		return rt_fail_errno("cannot look at '%s'", path);
	return rt_unpack_note_directory(unpack, fd, real, NULL, st.st_mode & 07777, false);
}

struct rt_error *rt_unpack_enter(struct rt_unpack *unpack, char *path, bool make, const char **ret_name)
{
	char *slash = strrchr(path, '/'), empty[] = "";
	struct rt_error *err;
	bool found;

	if (slash)
		*slash = '\0';
	err = enter(unpack, slash ? path : empty, make, &found);
	if (!err && found && make && unpack->marking && !unpack->parent.marked)
		err = mark_parents(unpack);
	if (slash)
		*slash = '/';
	*ret_name = !found ? NULL : slash ? slash + 1 : path;
	return err;
}

/* ---- the kinds ---- */

static struct rt_error *make_room(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return NULL;
	if (errno == EISDIR || errno == EPERM)
		return rt_remove_tree_at(dir_fd, name);
	return rt_fail_errno("cannot replace it");
}

struct rt_error *rt_unpack_remove(struct rt_unpack *unpack, char *path)
{
	const char *name;
	struct rt_error *err = rt_unpack_enter(unpack, path, false, &name);

	return err || !name ? err : rt_remove_tree_at(unpack->parent.fd, name);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static struct rt_error *count_bytes(struct rt_unpack *unpack, uint64_t size)
{
	if (unpack->limit && size > unpack->limit - unpack->written)
		return rt_fail(RT_CONFIG, "with it there are more than %llu bytes, the most that is allowed here",
			       (unsigned long long)unpack->limit);
	unpack->written += size;
	return NULL;
}

/* Reads the content; *ret_end is where the last of it ended. */
static struct rt_error *write_parts(struct rt_unpack *unpack, struct archive *archive, int fd, uint64_t total, uint64_t *ret_end)
{
	*ret_end = 0;
	for (;;) {
		struct rt_error *err;
		const void *bytes;
		la_int64_t offset;
		size_t size;
		int result = archive_read_data_block(archive, &bytes, &size, &offset);

		if (result == ARCHIVE_EOF)
			return NULL;
		if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
			return rt_unpack_fail(archive, "cannot read it");
		if (offset < 0 || (uint64_t)offset > total || size > total - (uint64_t)offset)
			return rt_fail(RT_CONFIG, "it is longer than it says");
		err = count_bytes(unpack, size);
		if (err)
			return err;
		if (size == 0 || (size >= HOLE_MIN && !(unpack->flags & RT_UNPACK_NO_NEW_HOLES) && is_zero(bytes, size)))
			continue;
		err = rt_write_all_at(fd, bytes, size, offset);
		if (err)
			return err;
		*ret_end = (uint64_t)offset + size;
	}
}

static struct rt_error *write_data(struct rt_unpack *unpack, struct archive *archive, int fd, uint64_t total)
{
	uint64_t end;
	struct rt_error *err = write_parts(unpack, archive, fd, total, &end);

	/* A hole at the end is no data. */
	if (!err && end < total && ftruncate(fd, (off_t)total) < 0)
		return rt_fail_errno("cannot set its size");
	return err;
}

static struct rt_error *apply_directory(struct rt_unpack *unpack, struct archive_entry *entry, int dir_fd, const char *name,
					const char *real)
{
	const struct timespec mtime = { archive_entry_mtime(entry), archive_entry_mtime_nsec(entry) };
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct rt_error *err;

	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP) && unlinkat(dir_fd, name, 0) < 0)
		return rt_fail_errno("cannot replace it");
	if (fd < 0) {
		if (mkdirat(dir_fd, name, 0700) < 0)
			return rt_fail_errno("cannot make the directory");
		fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return rt_fail_errno("cannot open the directory");
	}
	err = rt_unpack_attributes(unpack, entry, fd);
	if (err)
		return err;
	return rt_unpack_note_directory(unpack, fd, real, archive_entry_mtime_is_set(entry) ? &mtime : NULL,
					archive_entry_perm(entry), true);
}

static struct rt_error *apply_file(struct rt_unpack *unpack, struct archive *archive, struct archive_entry *entry, int dir_fd,
				   const char *name)
{
	la_int64_t size = archive_entry_size(entry);
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	if (size < 0)
		return rt_fail(RT_CONFIG, "its size is no size");
	/* Before a byte of it is written. What holes hold is nothing. */
	if (unpack->limit && archive_entry_sparse_count(entry) == 0 && (uint64_t)size > unpack->limit - unpack->written)
		return count_bytes(unpack, (uint64_t)size);
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return rt_fail_errno("cannot create it");
	err = write_data(unpack, archive, fd, (uint64_t)size);
	if (!err)
		err = rt_unpack_attributes(unpack, entry, fd);
	return err ? err : rt_unpack_time(entry, fd);
}

static struct rt_error *set_time_at(struct archive_entry *entry, int dir_fd, const char *name)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
					   { .tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry) } };

	if (archive_entry_mtime_is_set(entry) && utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot set the time");
	return NULL;
}

static struct rt_error *apply_symlink(struct rt_unpack *unpack, struct archive_entry *entry, int dir_fd, const char *name)
{
	const char *target = archive_entry_symlink(entry);
	struct rt_error *err;

	if (!target)
		return rt_fail(RT_CONFIG, "it is a symlink to nowhere");
	if (symlinkat(target, dir_fd, name) < 0)
		return rt_fail_errno("cannot make the symlink");
	err = rt_unpack_attributes_at(unpack, entry, dir_fd, name);
	return err ? err : set_time_at(entry, dir_fd, name);
}

static struct rt_error *apply_hardlink(struct rt_unpack *unpack, const char *given, int dir_fd, const char *name)
{
	unsigned lenient = unpack->flags & RT_UNPACK_REAL_PARENTS ? 0 : RT_PATH_LENIENT;
	char path[PATH_MAX], directory[PATH_MAX], *slash;
	_cleanup_close_ int target_dir = -1;
	struct stat target, here;
	struct rt_error *err;

	if (!rt_unpack_clean_path(given, lenient, path, sizeof(path)) || !*path)
		return rt_fail(RT_CONFIG, "it links to '%.256s', which lies outside", given);
	slash = strrchr(path, '/');
	snprintf(directory, sizeof(directory), "%.*s", (int)(slash ? slash - path : 0), path);
	err = open_directory(unpack, directory, &target_dir);
	if (err)
		return err;
	given = slash ? slash + 1 : path;
	/* tar makes such of a file that it was told twice. */
	if (fstatat(target_dir, given, &target, AT_SYMLINK_NOFOLLOW) == 0 &&
	    fstatat(dir_fd, name, &here, AT_SYMLINK_NOFOLLOW) == 0 && target.st_ino == here.st_ino && target.st_dev == here.st_dev)
		return NULL;
	err = make_room(dir_fd, name);
	if (!err && linkat(target_dir, given, dir_fd, name, 0) < 0)
		err = rt_fail_errno("cannot link it to '%s'", path);
	return err;
}

/* FIFOs, and devices for root. */
static struct rt_error *apply_node(struct rt_unpack *unpack, struct archive_entry *entry, int dir_fd, const char *name)
{
	mode_t type = archive_entry_filetype(entry);
	struct rt_error *err = NULL;
	bool existed;

	if (type == AE_IFIFO) {
		if (mkfifoat(dir_fd, name, 0600) < 0)
			return rt_fail_errno("cannot make the FIFO");
	} else {
		err = rt_sys_make_node(dir_fd, name, type | 0600, archive_entry_rdev(entry), &existed);
		if (!err && existed)
			return rt_fail_with(EEXIST, "cannot make the device node");
		/* Root in a user namespace may not either. */
		if (err && err->errnum == EPERM) {
			unpack->left_out++;
			return rt_error_free(err);
		}
	}
	if (!err)
		err = rt_unpack_attributes_at(unpack, entry, dir_fd, name);
	if (!err && fchmodat(dir_fd, name, archive_entry_perm(entry), 0) < 0)
		err = rt_fail_errno("cannot set the mode");
	return err ? err : set_time_at(entry, dir_fd, name);
}

/* Whether an entry of this kind is unpacked at all. */
static struct rt_error *check_kind(struct rt_unpack *unpack, struct archive_entry *entry, bool *ret_skip)
{
	mode_t type = archive_entry_filetype(entry);

	*ret_skip = false;
	if (type == AE_IFREG || type == AE_IFLNK || type == AE_IFIFO || type == AE_IFDIR)
		return NULL;
	if (type == AE_IFCHR && archive_entry_rdev(entry) == 0 && (unpack->flags & RT_UNPACK_WHITEOUTS))
		return NULL;
	if (type == AE_IFCHR || type == AE_IFBLK) {
		if (unpack->flags & RT_UNPACK_NO_DEVICES) {
			unpack->left_out++;
			*ret_skip = true;
			return NULL;
		}
		if (unpack->flags & RT_UNPACK_DEVICES)
			return NULL;
	}
	/* A device node would open the host's devices to whoever made the archive. */
	return rt_fail(RT_CONFIG, "it is a device or a socket, which is not unpacked");
}

/* EEXIST, and nothing of the content read: something is in the way. */
static struct rt_error *apply_other(struct rt_unpack *unpack, struct archive *archive, struct archive_entry *entry, const char *name)
{
	mode_t type = archive_entry_filetype(entry);

	if (type == AE_IFLNK)
		return apply_symlink(unpack, entry, unpack->parent.fd, name);
	if (type == AE_IFREG)
		return apply_file(unpack, archive, entry, unpack->parent.fd, name);
	return apply_node(unpack, entry, unpack->parent.fd, name);
}

static struct rt_error *apply(struct rt_unpack *unpack, struct archive *archive, struct archive_entry *entry, const char *name)
{
	const char *hardlink = archive_entry_hardlink(entry);
	mode_t type = archive_entry_filetype(entry);
	int dir_fd = unpack->parent.fd;
	struct rt_error *err;
	char real[PATH_MAX];

	if (hardlink)
		return apply_hardlink(unpack, hardlink, dir_fd, name);
	if (type == AE_IFDIR) {
		if (snprintf(real, sizeof(real), "%s%s%s", unpack->parent.path, *unpack->parent.path ? "/" : "", name) >=
		    (int)sizeof(real))
			return rt_fail_with(ENAMETOOLONG, "cannot make the directory");
		return apply_directory(unpack, entry, dir_fd, name, real);
	}
	err = apply_other(unpack, archive, entry, name);
	if (!err || err->errnum != EEXIST)
		return err;
	/* Rare, so that most files need no look for one first. */
	rt_error_free(err);
	err = make_room(dir_fd, name);
	return err ? err : apply_other(unpack, archive, entry, name);
}

struct rt_error *rt_unpack_entry(struct rt_unpack *unpack, struct archive *archive, struct archive_entry *entry, char *path)
{
	mode_t type = archive_entry_filetype(entry);
	const char *name;
	struct rt_error *err;
	bool skip = false;

	if (!*path) /* the root itself */
		return type == AE_IFDIR ? apply_directory(unpack, entry, unpack->root_fd, ".", "")
					: rt_fail(RT_CONFIG, "the root is no directory");
	if (!archive_entry_hardlink(entry)) {
		err = check_kind(unpack, entry, &skip);
		if (err || skip)
			return err;
	}
	err = rt_unpack_enter(unpack, path, true, &name);
	if (!err)
		err = apply(unpack, archive, entry, name);
	if (!err && unpack->marking)
		err = rt_unpack_mark(&unpack->marks, unpack->parent.path, name);
	return err;
}

static struct rt_error *open_existing(struct rt_unpack *unpack, char *path, int flags, int *ret)
{
	const char *name;
	struct rt_error *err = rt_unpack_enter(unpack, path, false, &name);
	struct stat st;

	if (err)
		return err;
	if (!*path || !name || fstatat(unpack->parent.fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return rt_fail(RT_CONFIG, "it is a change, but there is no such file");
	flags |= O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	*ret = openat(unpack->parent.fd, name, flags);
	if (*ret < 0 && errno == EACCES && fchmodat(unpack->parent.fd, name, 0600, 0) == 0)
		*ret = openat(unpack->parent.fd, name, flags);
	return *ret < 0 ? rt_fail_errno("cannot open it") : NULL;
}

struct rt_error *rt_unpack_change(struct rt_unpack *unpack, struct archive_entry *entry, char *path)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err = open_existing(unpack, path, O_RDONLY, &fd);

	if (!err)
		err = rt_unpack_attributes(unpack, entry, fd);
	return err ? err : rt_unpack_time(entry, fd);
}

struct rt_error *rt_unpack_patch(struct rt_unpack *unpack, struct archive *archive, struct archive_entry *entry, char *path)
{
	la_int64_t size = archive_entry_size(entry);
	_cleanup_close_ int fd = -1;
	struct rt_error *err = open_existing(unpack, path, O_WRONLY, &fd);
	uint64_t end;

	if (!err && size < 0)
		err = rt_fail(RT_CONFIG, "its size is no size");
	if (!err && ftruncate(fd, size) < 0)
		err = rt_fail_errno("cannot set its size");
	if (!err)
		err = write_parts(unpack, archive, fd, (uint64_t)size, &end);
	if (!err)
		err = rt_unpack_attributes(unpack, entry, fd);
	return err ? err : rt_unpack_time(entry, fd);
}

struct rt_error *rt_unpack_finish(struct rt_unpack *unpack)
{
	return rt_unpack_finish_directories(unpack);
}
