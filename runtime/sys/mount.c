#include "runtime/sys/mount.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* fsconfig() takes values shorter than this, terminator included. */
#define VALUE_ROOM 256

struct rt_error *rt_sys_clone_tree(int dir_fd, const char *path, unsigned flags, int *ret)
{
	unsigned how = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	int fd;

	if (*path == '\0')
		how |= AT_EMPTY_PATH;
	if (flags & RT_MOUNT_RECURSIVE)
		how |= AT_RECURSIVE;
	if (flags & RT_MOUNT_NOFOLLOW)
		how |= AT_SYMLINK_NOFOLLOW;
	fd = open_tree(dir_fd, path, how);
	if (fd < 0)
		return rt_fail_errno("cannot bind '%s' (open_tree)", path);
	*ret = fd;
	return NULL;
}

struct rt_error *rt_sys_attach(int tree_fd, int target_fd)
{
	if (move_mount(tree_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return rt_fail_errno("cannot attach a mount (move_mount)");
	return NULL;
}

struct rt_error *rt_sys_attach_at(int tree_fd, int dir_fd, const char *name)
{
	if (move_mount(tree_fd, "", dir_fd, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return rt_fail_errno("cannot attach a mount to '%s' (move_mount)", name);
	return NULL;
}

struct rt_error *rt_sys_set_mount_attributes(int fd, const char *path, unsigned flags,
					     const struct rt_mount_attributes *attributes)
{
	struct mount_attr attr = {
		.attr_set = attributes->set,
		.attr_clr = attributes->clear,
		.propagation = attributes->propagation,
	};
	unsigned how = (*path == '\0') ? AT_EMPTY_PATH : 0;

	if (flags & RT_MOUNT_RECURSIVE)
		how |= AT_RECURSIVE;
	if (flags & RT_MOUNT_NOFOLLOW)
		how |= AT_SYMLINK_NOFOLLOW;
	if (mount_setattr(fd, path, how, &attr, sizeof(attr)) < 0)
		return rt_fail_errno("cannot change the attributes of a mount (mount_setattr)");
	return NULL;
}

struct rt_error *rt_sys_map_owners(int tree_fd, unsigned flags, int user_namespace_fd)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)user_namespace_fd };
	unsigned how = AT_EMPTY_PATH | (flags & RT_MOUNT_RECURSIVE ? AT_RECURSIVE : 0);

	if (mount_setattr(tree_fd, "", how, &attr, sizeof(attr)) == 0)
		return NULL;
	/* The kernel has two numbers for most of what can be wrong. */
	if (errno == EINVAL)
		return rt_fail_errno("the file system can't be mounted with other ids (mount_setattr)");
	if (errno == EPERM)
		return rt_fail_errno("it is mounted with other ids already, or on a file system that is not ours (mount_setattr)");
	return rt_fail_errno("cannot change the ids of a mount (mount_setattr)");
}

/* The context keeps a log: lines that begin with 'e', 'w' or 'i' for error, warning, information. */
static struct rt_error *fail_with_log(int fs_fd, int errnum, const char *what, const char *type)
{
	char line[512];
	ssize_t size;

	while ((size = read(fs_fd, line, sizeof(line) - 1)) > 0) {
		while (size > 0 && line[size - 1] == '\n')
			size--;
		line[size] = '\0';
		if (line[0] == 'e' && line[1] == ' ')
			return rt_fail_with(errnum, "%s of file system '%s': the kernel says \"%s\"", what, type, line + 2);
	}
	return rt_fail_with(errnum, "%s of file system '%s'", what, type);
}

static struct rt_error *configure_one(int fs_fd, const char *type, const char *option)
{
	const char *equals = strchr(option, '=');
	char key[VALUE_ROOM], what[VALUE_ROOM + 64];
	size_t length = equals ? (size_t)(equals - option) : strlen(option);
	int result;

	if (length >= sizeof(key))
		return rt_fail(RT_CONFIG, "the option '%s' is too long", option);
	memcpy(key, option, length);
	key[length] = '\0';
	if (equals)
		result = fsconfig(fs_fd, FSCONFIG_SET_STRING, key, equals + 1, 0);
	else
		result = fsconfig(fs_fd, FSCONFIG_SET_FLAG, key, NULL, 0);
	if (result == 0)
		return NULL;
	snprintf(what, sizeof(what), "cannot set option '%s'", key);
	return fail_with_log(fs_fd, errno, what, type);
}

static struct rt_error *configure(int fs_fd, const struct rt_filesystem *filesystem)
{
	for (size_t i = 0; i < filesystem->option_count; i++) {
		struct rt_error *err = configure_one(fs_fd, filesystem->type, filesystem->options[i]);

		if (err)
			return err;
	}
	for (size_t i = 0; i < filesystem->wish_count; i++)
		rt_warn_ignored(configure_one(fs_fd, filesystem->type, filesystem->wishes[i]));
	return NULL;
}

struct rt_error *rt_sys_mount_scratch_on(int target_fd, int *ret)
{
	static const struct rt_filesystem tmpfs = { .type = "tmpfs", .source = "scratch" };
	_cleanup_close_ int made = -1;
	struct rt_error *err = rt_sys_make_filesystem(&tmpfs, &made);

	if (!err)
		err = rt_sys_attach(made, target_fd);
	if (!err)
		*ret = rt_take_fd(made);
	return err;
}

struct rt_error *rt_sys_mount_scratch(int *ret)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return root < 0 ? rt_fail_errno("cannot open '/'") : rt_sys_mount_scratch_on(root, ret);
}

bool rt_sys_needs_old_mount(const struct rt_filesystem *filesystem)
{
	for (size_t i = 0; i < filesystem->option_count; i++) {
		const char *equals = strchr(filesystem->options[i], '=');

		if (equals && strlen(equals + 1) >= VALUE_ROOM)
			return true;
	}
	return filesystem->source && strlen(filesystem->source) >= VALUE_ROOM;
}

/* The bits of mount(2) that are not those of MOUNT_ATTR_*. */
static unsigned long old_flags(unsigned attributes)
{
	unsigned long flags = attributes & (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);

	switch (attributes & MOUNT_ATTR__ATIME) {
	case MOUNT_ATTR_NOATIME:
		flags |= MS_NOATIME;
		break;
	case MOUNT_ATTR_STRICTATIME:
		flags |= MS_STRICTATIME;
		break;
	default:
		flags |= MS_RELATIME;
	}
	if (attributes & MOUNT_ATTR_NODIRATIME)
		flags |= MS_NODIRATIME;
	if (attributes & MOUNT_ATTR_NOSYMFOLLOW)
		flags |= MS_NOSYMFOLLOW;
	return flags;
}

static struct rt_error *join_options(const struct rt_filesystem *filesystem, char **ret)
{
	size_t size = 1, used = 0;
	char *text;

	for (size_t i = 0; i < filesystem->option_count; i++)
		size += strlen(filesystem->options[i]) + 1;
	text = malloc(size);
	if (!text)
		return rt_error_oom();
	*text = '\0';
	for (size_t i = 0; i < filesystem->option_count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "," : "", filesystem->options[i]);
	*ret = text;
	return NULL;
}

struct rt_error *rt_sys_mount_filesystem(const struct rt_filesystem *filesystem, int target_fd)
{
	_cleanup_close_ int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *data = NULL;
	struct rt_error *err = join_options(filesystem, &data);

	if (err)
		return err;
	if (here < 0)
		return rt_fail_errno("cannot open the working directory");
	/* "." is the one path that can lead nowhere else. */
	if (fchdir(target_fd) < 0)
		return rt_fail_errno("cannot enter the mount point");
	if (mount(filesystem->source ? filesystem->source : "none", ".", filesystem->type,
		  old_flags(filesystem->attributes), data) < 0)
		err = rt_fail_errno("cannot make file system '%s' (mount)", filesystem->type);
	if (fchdir(here) < 0 && !err)
		err = rt_fail_errno("cannot go back to the working directory");
	return err;
}

struct rt_error *rt_sys_make_filesystem(const struct rt_filesystem *filesystem, int *ret)
{
	_cleanup_close_ int fs_fd = -1;
	struct rt_error *err;
	int fd;

	fs_fd = fsopen(filesystem->type, FSOPEN_CLOEXEC);
	if (fs_fd < 0)
		return rt_fail_errno("cannot make file system '%s' (fsopen)", filesystem->type);
	if (filesystem->source && fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", filesystem->source, 0) < 0)
		return fail_with_log(fs_fd, errno, "cannot set the source", filesystem->type);
	err = configure(fs_fd, filesystem);
	if (err)
		return err;
	if (fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fail_with_log(fs_fd, errno, "cannot make a mount", filesystem->type);
	fd = fsmount(fs_fd, FSMOUNT_CLOEXEC, filesystem->attributes);
	if (fd < 0)
		return fail_with_log(fs_fd, errno, "cannot make a mount (fsmount)", filesystem->type);
	*ret = fd;
	return NULL;
}

struct rt_error *rt_sys_reconfigure(int mount_fd, const struct rt_filesystem *filesystem)
{
	_cleanup_close_ int fs_fd = fspick(mount_fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	struct rt_error *err;

	if (fs_fd < 0)
		return rt_fail_errno("cannot change a file system (fspick)");
	err = configure(fs_fd, filesystem);
	if (err)
		return err;
	if (fsconfig(fs_fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return fail_with_log(fs_fd, errno, "cannot change the options", filesystem->type);
	return NULL;
}

struct rt_error *rt_sys_pivot_root(int root_fd)
{
	if (fchdir(root_fd) < 0)
		return rt_fail_errno("cannot enter the root filesystem");
	/* Both paths the same: the old root is stacked over the new one, no directory is needed for it. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return rt_fail_errno("pivot_root");
	return NULL;
}

struct rt_error *rt_sys_chroot(int root_fd)
{
	if (fchdir(root_fd) < 0)
		return rt_fail_errno("cannot enter the root filesystem");
	if (chroot(".") < 0)
		return rt_fail_errno("chroot");
	return NULL;
}

struct rt_error *rt_sys_unmount(const char *path)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
		return rt_fail_errno("cannot unmount '%s'", path);
	return NULL;
}

struct rt_error *rt_sys_make_node(int dir_fd, const char *name, mode_t mode, dev_t device, bool *ret_existed)
{
	bool existed = false;

	if (mknodat(dir_fd, name, mode, device) < 0) {
		if (errno != EEXIST)
			return rt_fail_errno("cannot create device node '%s' (mknod)", name);
		existed = true;
	}
	*ret_existed = existed;
	return NULL;
}
