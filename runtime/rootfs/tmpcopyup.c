#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* One entry on its way: a name in both directories. */
struct entry {
	int from_dir, to_dir;
	const char *name;
	struct stat st;
};

static struct rt_error *copy_attributes(int from, int to)
{
	char names[XATTR_LIST_MAX > 8192 ? 8192 : XATTR_LIST_MAX], value[8192];
	ssize_t size = flistxattr(from, names, sizeof(names));

	if (size < 0)
		return errno == ENOTSUP ? NULL : rt_fail_errno("cannot list extended attributes");
	for (const char *name = names; name < names + size; name += strlen(name) + 1) {
		ssize_t length = fgetxattr(from, name, value, sizeof(value));

		/* Labels are the new file system's to give; what a tmpfs can't hold isn't lost content. */
		if (rt_str_equal(name, "security.selinux"))
			continue;
		if (length < 0)
			return rt_fail_errno("cannot read extended attribute '%s'", name);
		if (fsetxattr(to, name, value, (size_t)length, 0) < 0 && errno != ENOTSUP && errno != EPERM)
			return rt_fail_errno("cannot set extended attribute '%s'", name);
	}
	return NULL;
}

/* Owner first: changing it drops the set-id bits, and file capabilities among the extended attributes. */
static struct rt_error *copy_metadata(int from, int to, const struct stat *st)
{
	const struct timespec times[] = { st->st_atim, st->st_mtim };
	struct rt_error *err;

	if (fchown(to, st->st_uid, st->st_gid) < 0)
		return rt_fail_errno("cannot change owner to %u:%u", st->st_uid, st->st_gid);
	if (fchmod(to, st->st_mode & 07777) < 0)
		return rt_fail_errno("cannot change mode");
	err = copy_attributes(from, to);
	if (!err && futimens(to, times) < 0)
		err = rt_fail_errno("cannot set times");
	return err;
}

static struct rt_error *copy_file(const struct entry *entry)
{
	_cleanup_close_ int from = openat(entry->from_dir, entry->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int to = -1;
	off_t left = entry->st.st_size;

	if (from < 0)
		return rt_fail_errno("cannot open it");
	to = openat(entry->to_dir, entry->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return rt_fail_errno("cannot create the copy");
	while (left > 0) {
		ssize_t sent = sendfile(to, from, NULL, (size_t)left);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return rt_fail_errno("cannot copy it");
		if (sent == 0)
			break; /* shorter than it was */
		left -= sent;
	}
	return copy_metadata(from, to, &entry->st);
}

static struct rt_error *copy_directory(const struct entry *entry)
{
	_cleanup_close_ int from = openat(entry->from_dir, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int to = -1;
	struct rt_error *err;

	if (from < 0)
		return rt_fail_errno("cannot open it");
	if (mkdirat(entry->to_dir, entry->name, 0700) < 0)
		return rt_fail_errno("cannot create the copy");
	to = openat(entry->to_dir, entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return rt_fail_errno("cannot open the copy");
	err = rt_rootfs_copy_content(from, to);
	/* Last, when its times and mode no longer change by what is put into it. */
	return err ? err : copy_metadata(from, to, &entry->st);
}

static struct rt_error *copy_link(const struct entry *entry)
{
	const struct timespec times[] = { entry->st.st_atim, entry->st.st_mtim };
	char target[PATH_MAX];
	ssize_t length = readlinkat(entry->from_dir, entry->name, target, sizeof(target) - 1);

	if (length < 0)
		return rt_fail_errno("cannot read the link");
	target[length] = '\0';
	if (symlinkat(target, entry->to_dir, entry->name) < 0)
		return rt_fail_errno("cannot create the copy");
	if (fchownat(entry->to_dir, entry->name, entry->st.st_uid, entry->st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot change owner to %u:%u", entry->st.st_uid, entry->st.st_gid);
	if (utimensat(entry->to_dir, entry->name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot set times");
	return NULL;
}

/* Devices, FIFOs, sockets. */
static struct rt_error *copy_node(const struct entry *entry)
{
	bool existed;
	struct rt_error *err = rt_sys_make_node(entry->to_dir, entry->name, entry->st.st_mode, entry->st.st_rdev, &existed);

	if (err)
		return err;
	if (fchownat(entry->to_dir, entry->name, entry->st.st_uid, entry->st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot change owner to %u:%u", entry->st.st_uid, entry->st.st_gid);
	return NULL;
}

static struct rt_error *copy_entry(int from_dir, int to_dir, const char *name)
{
	struct entry entry = { .from_dir = from_dir, .to_dir = to_dir, .name = name };

	if (fstatat(from_dir, name, &entry.st, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot stat it");
	switch (entry.st.st_mode & S_IFMT) {
	case S_IFREG:
		return copy_file(&entry);
	case S_IFDIR:
		return copy_directory(&entry);
	case S_IFLNK:
		return copy_link(&entry);
	default:
		return copy_node(&entry);
	}
}

struct rt_error *rt_rootfs_copy_content(int from_fd, int to_fd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int own = fcntl(from_fd, F_DUPFD_CLOEXEC, 3);
	struct dirent *entry;
	struct rt_error *err;

	if (own < 0)
		return rt_fail_errno("cannot duplicate a descriptor");
	dir = fdopendir(own);
	if (!dir) {
		close(own);
		return rt_fail_errno("cannot read the directory to copy");
	}
	while ((entry = readdir(dir))) {
		if (rt_str_equal(entry->d_name, ".") || rt_str_equal(entry->d_name, ".."))
			continue;
		err = copy_entry(from_fd, to_fd, entry->d_name);
		if (err)
			return rt_while(err, "copying '%s'", entry->d_name);
	}
	return NULL;
}
