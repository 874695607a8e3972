#include "runtime/base/fs.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

/* The kernel answers EAGAIN where a rename or mount elsewhere races with the walk; the walk is then tried again. */
#define RACE_ATTEMPTS 64
/* As many links as the kernel follows in one walk. */
#define MOST_LINKS 40

static int open_in_root(int root_fd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_CLOEXEC,
		.mode = (flags & O_CREAT) ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	int fd = -1;

	for (int attempt = 0; attempt < RACE_ATTEMPTS; attempt++) {
		fd = (int)syscall(SYS_openat2, root_fd, *path ? path : "/", &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd;
}

struct rt_error *rt_open_in_root(int root_fd, const char *path, int flags, mode_t mode, int *ret)
{
	int fd = open_in_root(root_fd, path, flags, mode);

	if (fd < 0)
		return rt_fail_errno("cannot open '%s' inside the root filesystem", path);
	*ret = fd;
	return NULL;
}

/* Where the walk stands: what is still to be walked, as the container would spell it. */
struct walk {
	int root_fd;
	mode_t mode;
	int links;
	char done[PATH_MAX]; /* from the root to the directory we stand in, no symlinks in it */
	char left[PATH_MAX];
};

static const char *take_component(struct walk *walk, char *name)
{
	char *at = walk->left;
	size_t length;

	while (*at == '/')
		at++;
	length = strcspn(at, "/");
	if (length == 0)
		return NULL;
	if (length > NAME_MAX)
		length = NAME_MAX; /* the kernel will say ENAMETOOLONG or ENOENT about the rest */
	memcpy(name, at, length);
	name[length] = '\0';
	memmove(walk->left, at + length, strlen(at + length) + 1);
	return name;
}

static struct rt_error *follow_link(struct walk *walk, int dir_fd, const char *name)
{
	char target[PATH_MAX], rest[PATH_MAX];
	ssize_t length = readlinkat(dir_fd, name, target, sizeof(target) - 1);

	if (length < 0)
		return rt_fail_errno("cannot read link '%s'", name);
	target[length] = '\0';
	if (++walk->links > MOST_LINKS)
		return rt_fail_with(ELOOP, "cannot follow '%s'", name);
	if (target[0] == '/')
		walk->done[0] = '\0';
	memcpy(rest, walk->left, strlen(walk->left) + 1);
	if (snprintf(walk->left, sizeof(walk->left), "%s/%s", target, rest) >= (int)sizeof(walk->left))
		return rt_fail_with(ENAMETOOLONG, "cannot follow '%s'", name);
	return NULL;
}

static void leave_directory(char *done)
{
	char *slash = strrchr(done, '/');

	if (slash)
		*slash = '\0';
}

/* One component further down. The directory we stand in is opened afresh from the root each time: should anybody move
 * it meanwhile, the kernel's own walk still cannot leave the root, and we make directories only through that descriptor. */
static struct rt_error *step_into(struct walk *walk, const char *name)
{
	_cleanup_close_ int here = open_in_root(walk->root_fd, walk->done, O_PATH | O_DIRECTORY, 0);
	size_t used = strlen(walk->done);
	struct stat st;

	if (here < 0)
		return rt_fail_errno("cannot open '%s/' inside the root filesystem", walk->done);
	if (fstatat(here, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
		return follow_link(walk, here, name);
	if (mkdirat(here, name, walk->mode) < 0 && errno != EEXIST)
		return rt_fail_errno("cannot create '%s/%s' inside the root filesystem", walk->done, name);
	if (snprintf(walk->done + used, sizeof(walk->done) - used, "/%s", name) >= (int)(sizeof(walk->done) - used))
		return rt_fail_with(ENAMETOOLONG, "cannot create '%s'", name);
	return NULL;
}

struct rt_error *rt_make_dirs_in_root(int root_fd, const char *path, mode_t mode, int *ret)
{
	struct walk walk = { .root_fd = root_fd, .mode = mode };
	char name[NAME_MAX + 1];
	int fd = open_in_root(root_fd, path, O_PATH | O_DIRECTORY, 0);

	if (fd >= 0) {
		*ret = fd;
		return NULL;
	}
	if (snprintf(walk.left, sizeof(walk.left), "%s", path) >= (int)sizeof(walk.left))
		return rt_fail_with(ENAMETOOLONG, "cannot create '%s'", path);
	while (take_component(&walk, name)) {
		struct rt_error *err = NULL;

		if (rt_str_equal(name, ".."))
			leave_directory(walk.done);
		else if (!rt_str_equal(name, "."))
			err = step_into(&walk, name);
		if (err)
			return err;
	}
	return rt_open_in_root(root_fd, walk.done, O_PATH | O_DIRECTORY, 0, ret);
}

/* Splits a path at its last slash, so that "/a/b//" is made in "/a". *ret_name points into *ret_parent's memory. */
static struct rt_error *split_path(const char *path, char **ret_parent, const char **ret_name)
{
	char *parent, *slash;
	struct rt_error *err = rt_format(&parent, "/%s", path);

	if (err)
		return err;
	while ((slash = strrchr(parent, '/'))[1] == '\0' && slash > parent)
		*slash = '\0';
	*slash = '\0';
	*ret_parent = parent;
	*ret_name = slash + 1;
	return NULL;
}

/* Where a dangling link points, as a path from the root; *ret stays NULL where there is no link. */
static struct rt_error *read_dangling(int dir_fd, const char *parent, const char *name, char **ret)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(dir_fd, name, target, sizeof(target) - 1);

	*ret = NULL;
	if (length < 0)
		return NULL;
	target[length] = '\0';
	if (target[0] == '/')
		return rt_format(ret, "%s", target);
	return rt_format(ret, "%s/%s", parent, target);
}

static struct rt_error *make_file(int root_fd, const char *path, mode_t mode, int links)
{
	_cleanup_free_ char *parent = NULL, *target = NULL;
	_cleanup_close_ int dir_fd = -1, made = -1;
	const char *name;
	struct rt_error *err;

	if (links > MOST_LINKS)
		return rt_fail_with(ELOOP, "too many links");
	err = split_path(path, &parent, &name);
	if (!err)
		err = rt_make_dirs_in_root(root_fd, *parent ? parent : "/", 0755, &dir_fd);
	if (err)
		return err;
	made = open_in_root(dir_fd, name, O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK, mode);
	if (made >= 0)
		return NULL;
	if (errno != ELOOP)
		return rt_fail_errno("cannot create '%s'", path);
	err = read_dangling(dir_fd, parent, name, &target);
	if (err)
		return err;
	return target ? make_file(root_fd, target, mode, links + 1) : rt_fail_with(ELOOP, "cannot create '%s'", path);
}

struct rt_error *rt_make_file_in_root(int root_fd, const char *path, mode_t mode, int *ret)
{
	struct rt_error *err;
	int fd = open_in_root(root_fd, path, O_PATH, 0);

	if (fd >= 0) {
		*ret = fd;
		return NULL;
	}
	if (errno != ENOENT)
		return rt_fail_errno("cannot open '%s' inside the root filesystem", path);
	err = make_file(root_fd, path, mode, 0);
	if (err)
		return rt_while(err, "creating '%s' inside the root filesystem", path);
	return rt_open_in_root(root_fd, path, O_PATH, 0, ret);
}

struct rt_error *rt_make_dirs(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);

	if (!copy)
		return rt_error_oom();
	for (char *at = copy + 1; at[-1]; at++) {
		char kept = *at;

		if (kept != '/' && kept != '\0')
			continue;
		*at = '\0';
		if (mkdir(copy, mode) < 0 && errno != EEXIST)
			return rt_fail_errno("cannot create directory '%s'", copy);
		*at = kept;
	}
	return NULL;
}

struct rt_error *rt_replace_file_at(int dir_fd, const char *name, const void *bytes, size_t size, mode_t mode)
{
	_cleanup_free_ char *fresh = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_format(&fresh, "%s.new", name);

	if (err)
		return err;
	fd = openat(dir_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return rt_fail_errno("cannot create '%s'", fresh);
	err = rt_write_all(fd, bytes, size);
	if (err)
		return rt_while(err, "writing '%s'", fresh);
	if (renameat(dir_fd, fresh, dir_fd, name) < 0)
		return rt_fail_errno("cannot replace '%s'", name);
	return NULL;
}

static struct rt_error *remove_entries(int dir_fd, dev_t device)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int own = fcntl(dir_fd, F_DUPFD_CLOEXEC, 3);
	struct dirent *entry;

	if (own < 0)
		return rt_fail_errno("cannot duplicate a descriptor");
	dir = fdopendir(own);
	if (!dir) {
		close(own);
		return rt_fail_errno("cannot read a directory");
	}
	while ((entry = readdir(dir))) {
		_cleanup_close_ int child = -1;
		struct rt_error *err;
		struct stat st;

		if (rt_str_equal(entry->d_name, ".") || rt_str_equal(entry->d_name, ".."))
			continue;
		if (unlinkat(dir_fd, entry->d_name, 0) == 0 || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			return rt_fail_errno("cannot remove '%s'", entry->d_name);
		child = openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0 || fstat(child, &st) < 0)
			return rt_fail_errno("cannot open '%s'", entry->d_name);
		if (st.st_dev != device)
			return rt_fail_with(EXDEV, "'%s' is on another file system", entry->d_name);
		err = remove_entries(child, device);
		if (err)
			return rt_while(err, "in '%s'", entry->d_name);
		if (unlinkat(dir_fd, entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return rt_fail_errno("cannot remove '%s'", entry->d_name);
	}
	return NULL;
}

struct rt_error *rt_remove_tree_at(int dir_fd, const char *name)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct rt_error *err;
	struct stat st;

	if (fd < 0) {
		if (errno == ENOENT)
			return NULL;
		if (errno != ENOTDIR && errno != ELOOP)
			return rt_fail_errno("cannot open '%s'", name);
		if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
			return rt_fail_errno("cannot remove '%s'", name);
		return NULL;
	}
	if (fstat(fd, &st) < 0)
		return rt_fail_errno("cannot stat '%s'", name);
	err = remove_entries(fd, st.st_dev);
	if (err)
		return rt_while(err, "removing '%s'", name);
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return rt_fail_errno("cannot remove '%s'", name);
	return NULL;
}

struct rt_error *rt_real_path(const char *path, char **ret)
{
	char *real = realpath(path, NULL);

	if (!real)
		return rt_fail_errno("cannot resolve '%s'", path);
	*ret = real;
	return NULL;
}

struct rt_fd_path rt_fd_path(int fd)
{
	struct rt_fd_path path;

	snprintf(path.text, sizeof(path.text), "/proc/self/fd/%d", fd);
	return path;
}

struct rt_error *rt_reopen(int fd, int flags, int *ret)
{
	int again = open(rt_fd_path(fd).text, flags | O_CLOEXEC);

	if (again < 0)
		return rt_fail_errno("cannot reopen a descriptor");
	*ret = again;
	return NULL;
}

bool rt_is_procfs(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}
