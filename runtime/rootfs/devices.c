#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* What config-linux.md says every container has. */
static const struct rt_spec_device default_devices[] = {
	{ .type = 'c', .path = "/dev/null", .major = 1, .minor = 3, .mode = 0666 },
	{ .type = 'c', .path = "/dev/zero", .major = 1, .minor = 5, .mode = 0666 },
	{ .type = 'c', .path = "/dev/full", .major = 1, .minor = 7, .mode = 0666 },
	{ .type = 'c', .path = "/dev/tty", .major = 5, .minor = 0, .mode = 0666 },
	{ .type = 'c', .path = "/dev/random", .major = 1, .minor = 8, .mode = 0666 },
	{ .type = 'c', .path = "/dev/urandom", .major = 1, .minor = 9, .mode = 0666 },
};

static const char *const links[][2] = {
	{ "/proc/self/fd", "fd" },
	{ "/proc/self/fd/0", "stdin" },
	{ "/proc/self/fd/1", "stdout" },
	{ "/proc/self/fd/2", "stderr" },
};

static mode_t node_mode(const struct rt_spec_device *device)
{
	mode_t type = device->type == 'b' ? S_IFBLK : device->type == 'p' ? S_IFIFO : S_IFCHR;

	return type | (device->mode & 07777);
}

static bool is_that_device(const struct stat *st, const struct rt_spec_device *device)
{
	if ((st->st_mode & S_IFMT) != (node_mode(device) & S_IFMT))
		return false;
	return device->type == 'p' || st->st_rdev == makedev((unsigned)device->major, (unsigned)device->minor);
}

/* Where nodes cannot be made, in a user namespace, the host's is mounted. It is still the host's mount namespace as to
 * paths: nothing of the image can stand in the device's place, and what was found is checked. */
static struct rt_error *bind_device(const struct rt_spec_device *device, int dir_fd, const char *name)
{
	_cleanup_close_ int tree_fd = -1, target_fd = -1;
	struct rt_error *err = rt_rootfs_clone_from_host(device->path, 0, 0, &tree_fd);
	struct stat st;

	if (err)
		return err;
	if (fstat(tree_fd, &st) < 0 || !is_that_device(&st, device))
		return rt_fail(RT_CONFIG, "'%s' of the host is another device", device->path);
	target_fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (target_fd < 0 && errno == EEXIST)
		target_fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (target_fd < 0)
		return rt_fail_errno("cannot create '%s'", name);
	return rt_sys_attach(tree_fd, target_fd);
}

/* What an image has in place of a usual device is its own affair; a device the config asks for must be that one. */
static struct rt_error *check_existing(const struct rt_spec_device *device, int dir_fd, const char *name)
{
	bool is_default = device >= default_devices && device < default_devices + RT_ARRAY_SIZE(default_devices);
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || is_that_device(&st, device))
		return NULL;
	if (!is_default)
		return rt_fail(RT_CONFIG, "the root filesystem has something else there");
	rt_warn("'%s' of the root filesystem is not the device it should be, leaving it", device->path);
	return NULL;
}

static struct rt_error *make_node(const struct rt_spec_device *device, int dir_fd, const char *name)
{
	struct rt_error *err;
	bool existed;

	err = rt_sys_make_node(dir_fd, name, node_mode(device), makedev((unsigned)device->major, (unsigned)device->minor),
			       &existed);
	if (err)
		return err;
	if (existed)
		return check_existing(device, dir_fd, name);
	if ((device->uid || device->gid) && fchownat(dir_fd, name, device->uid, device->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return rt_fail_errno("cannot give '%s' to %u:%u", name, device->uid, device->gid);
	return NULL;
}

/* Opens the directory the device goes to; /dev itself is open already. */
static struct rt_error *open_parent(const struct rt_rootfs *rootfs, const char *path, size_t length, int dev_fd,
				    int *ret)
{
	_cleanup_free_ char *parent = NULL;
	struct rt_error *err;

	if (length == strlen("/dev") && strncmp(path, "/dev", length) == 0) {
		*ret = fcntl(dev_fd, F_DUPFD_CLOEXEC, 3);
		return *ret < 0 ? rt_fail_errno("cannot duplicate a descriptor") : NULL;
	}
	err = rt_format(&parent, "%.*s", (int)length, path);
	if (!err)
		err = rt_make_dirs_in_root(rootfs->root_fd, *parent ? parent : "/", 0755, ret);
	return err;
}

static struct rt_error *make_device(struct rt_rootfs *rootfs, const struct rt_spec_device *device, int dev_fd)
{
	const char *path = rt_rootfs_clean_path(&rootfs->arena, device->path);
	_cleanup_close_ int dir_fd = -1;
	struct rt_error *err;
	const char *name;

	if (!path)
		return rt_error_oom();
	/* The container's own /dev/ptmx is a link to its own devpts, always. */
	if (rt_str_equal(path, "/dev/ptmx"))
		return NULL;
	name = strrchr(path, '/') + 1;
	if (!*name)
		return rt_fail(RT_CONFIG, "'%s' cannot be a device", device->path);
	err = open_parent(rootfs, path, (size_t)(name - 1 - path), dev_fd, &dir_fd);
	if (err)
		return err;
	if (rt_is_procfs(dir_fd))
		return rt_fail(RT_CONFIG, "'%s' leads into a procfs", device->path);
	if (rootfs->request.new_user_namespace && device->type != 'p')
		return bind_device(device, dir_fd, name);
	err = make_node(device, dir_fd, name);
	if (err && err->errnum == EPERM && device->type != 'p') {
		rt_error_free(err);
		err = bind_device(device, dir_fd, name);
	}
	return err;
}

static bool spec_has(const struct rt_spec *spec, const char *path)
{
	for (size_t i = 0; i < spec->device_count; i++)
		if (rt_str_equal(spec->devices[i].path, path))
			return true;
	return false;
}

static struct rt_error *make_defaults(struct rt_rootfs *rootfs, int dev_fd)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(default_devices); i++) {
		const struct rt_spec_device *device = &default_devices[i];
		const char *name = device->path + strlen("/dev/");
		struct rt_error *err = NULL;

		if (spec_has(rootfs->spec, device->path))
			continue;
		if (!rootfs->request.new_user_namespace)
			err = make_node(device, dev_fd, name);
		if (rootfs->request.new_user_namespace || (err && err->errnum == EPERM)) {
			rt_error_free(err);
			err = bind_device(device, dev_fd, name);
		}
		if (err)
			return rt_while(err, "making device '%s'", device->path);
	}
	return NULL;
}

static struct rt_error *make_link(int dev_fd, const char *target, const char *name)
{
	if (symlinkat(target, dev_fd, name) < 0 && errno != EEXIST)
		return rt_fail_errno("cannot create link '/dev/%s'", name);
	return NULL;
}

/* An image's own /dev/ptmx, node or link to anywhere, would hand out terminals of another devpts. */
static struct rt_error *make_ptmx(int dev_fd)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		if (symlinkat("pts/ptmx", dev_fd, "ptmx") == 0)
			return NULL;
		if (errno != EEXIST)
			break;
		/* Busy: something is mounted on it, as the config wants. */
		if (unlinkat(dev_fd, "ptmx", 0) < 0)
			return errno == EBUSY ? NULL : rt_fail_errno("cannot replace '/dev/ptmx'");
	}
	return rt_fail_errno("cannot create link '/dev/ptmx'");
}

static struct rt_error *make_links(int dev_fd)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(links); i++)
		err = make_link(dev_fd, links[i][0], links[i][1]);
	if (!err && faccessat(AT_FDCWD, "/proc/kcore", F_OK, 0) == 0)
		err = make_link(dev_fd, "/proc/kcore", "core");
	if (!err)
		err = make_ptmx(dev_fd);
	return err;
}

/* A /dev bound from elsewhere is taken as it is. */
static bool dev_is_bound(const struct rt_rootfs *rootfs)
{
	for (size_t i = 0; i < rootfs->entry_count; i++)
		if (rootfs->entries[i].kind == RT_ENTRY_BIND && rt_str_equal(rootfs->entries[i].destination, "/dev"))
			return true;
	return false;
}

struct rt_error *rt_rootfs_make_devices(struct rt_rootfs *rootfs)
{
	const struct rt_spec *spec = rootfs->spec;
	_cleanup_close_ int dev_fd = -1;
	struct rt_error *err;

	if (!rootfs->request.private_mount_namespace || dev_is_bound(rootfs))
		return NULL;
	/* The image may have made /dev a link: it is resolved inside the root, once, and only the descriptor is used
	 * from then on (CVE-2026-41579). */
	err = rt_make_dirs_in_root(rootfs->root_fd, "/dev", 0755, &dev_fd);
	if (!err && rt_is_procfs(dev_fd))
		err = rt_fail(RT_CONFIG, "'/dev' leads into a procfs");
	if (!err)
		err = make_defaults(rootfs, dev_fd);
	for (size_t i = 0; !err && i < spec->device_count; i++) {
		err = make_device(rootfs, &spec->devices[i], dev_fd);
		if (err)
			return rt_while(err, "making device '%s'", spec->devices[i].path);
	}
	if (!err)
		err = make_links(dev_fd);
	return err;
}
