#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

static const char *const points[RT_VIEW_COUNT] = {
	[RT_VIEW_PROC] = "/proc",
	[RT_VIEW_SYS] = "/sys",
};

bool rt_rootfs_is_view(const struct rt_rootfs_entry *entry)
{
	return entry->kind == RT_ENTRY_FILESYSTEM &&
	       (rt_str_equal(entry->type, "proc") || rt_str_equal(entry->type, "sysfs"));
}

/* Of a directory bound there we know nothing: its links may well mean the container's root. */
static bool is_kernels_own(const struct rt_rootfs_entry *entry, int mount_fd)
{
	struct statfs fs;

	if (rt_rootfs_is_view(entry))
		return true;
	return entry->kind == RT_ENTRY_BIND && fstatfs(mount_fd, &fs) == 0 &&
	       (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC);
}

struct rt_error *rt_rootfs_set_view(int *view_fd, int mount_fd)
{
	int copy = mount_fd < 0 ? -1 : fcntl(mount_fd, F_DUPFD_CLOEXEC, 3);

	if (mount_fd >= 0 && copy < 0)
		return rt_fail_errno("cannot duplicate a descriptor");
	rt_closep(view_fd);
	*view_fd = copy;
	return NULL;
}

struct rt_error *rt_rootfs_remember_view(struct rt_rootfs *rootfs, const struct rt_rootfs_entry *entry, int mount_fd)
{
	for (size_t i = 0; i < RT_VIEW_COUNT; i++)
		if (rt_str_equal(entry->destination, points[i]))
			return rt_rootfs_set_view(&rootfs->view_fds[i], is_kernels_own(entry, mount_fd) ? mount_fd : -1);
	return NULL;
}

struct rt_rootfs_place rt_rootfs_find_place(struct rt_rootfs *rootfs, const char *path)
{
	for (size_t i = 0; i < RT_VIEW_COUNT; i++) {
		const char *rest;

		if (rootfs->view_fds[i] < 0 || !rt_rootfs_path_is_below(path, points[i]))
			continue;
		rest = path + strlen(points[i]);
		return (struct rt_rootfs_place){ .fd = rootfs->view_fds[i], .path = *rest ? rest : "/",
						 .view_fd = *rest ? NULL : &rootfs->view_fds[i] };
	}
	return (struct rt_rootfs_place){ .fd = rootfs->root_fd, .path = path };
}
