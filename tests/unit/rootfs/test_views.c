/* Which descriptor a path of the container is resolved from. No root, no mounts: any descriptor will do. */
#include "runtime/rootfs/private.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define ROOT_FD 1000

static struct rt_rootfs make_rootfs(void)
{
	return (struct rt_rootfs){ .root_fd = ROOT_FD, .view_fds = { -1, -1 } };
}

static void forget(struct rt_rootfs *rootfs)
{
	for (size_t i = 0; i < RT_VIEW_COUNT; i++)
		rt_closep(&rootfs->view_fds[i]);
}

static void mount_at(struct rt_rootfs *rootfs, enum rt_rootfs_entry_kind kind, const char *type, const char *destination,
		     const char *mounted)
{
	const struct rt_rootfs_entry entry = { .kind = kind, .type = type, .destination = destination };
	_cleanup_close_ int fd = mounted ? open(mounted, O_PATH | O_CLOEXEC) : -1;

	assert_null(rt_rootfs_remember_view(rootfs, &entry, fd));
}

static void assert_place(struct rt_rootfs *rootfs, const char *path, int fd, const char *from_there)
{
	const struct rt_rootfs_place place = rt_rootfs_find_place(rootfs, path);

	assert_int_equal(place.fd, fd);
	assert_string_equal(place.path, from_there);
}

static void without_views_everything_is_resolved_from_the_root(void **state)
{
	struct rt_rootfs rootfs = make_rootfs();

	assert_place(&rootfs, "/proc/kcore", ROOT_FD, "/proc/kcore");
	assert_place(&rootfs, "/sys", ROOT_FD, "/sys");
	assert_place(&rootfs, "/", ROOT_FD, "/");
}

static void what_is_in_a_view_is_resolved_from_its_mount(void **state)
{
	struct rt_rootfs rootfs = make_rootfs();

	mount_at(&rootfs, RT_ENTRY_FILESYSTEM, "proc", "/proc", "/");
	assert_true(rootfs.view_fds[RT_VIEW_PROC] >= 0);
	assert_place(&rootfs, "/proc/kcore", rootfs.view_fds[RT_VIEW_PROC], "/kcore");
	assert_place(&rootfs, "/proc", rootfs.view_fds[RT_VIEW_PROC], "/");
	assert_place(&rootfs, "/process", ROOT_FD, "/process");
	assert_place(&rootfs, "/sys/firmware", ROOT_FD, "/sys/firmware");
	mount_at(&rootfs, RT_ENTRY_FILESYSTEM, "sysfs", "/sys", "/");
	assert_place(&rootfs, "/sys/firmware", rootfs.view_fds[RT_VIEW_SYS], "/firmware");
	forget(&rootfs);
}

static void only_its_mount_point_stands_for_a_view(void **state)
{
	struct rt_rootfs rootfs = make_rootfs();

	mount_at(&rootfs, RT_ENTRY_FILESYSTEM, "proc", "/proc", "/");
	assert_ptr_equal(rt_rootfs_find_place(&rootfs, "/proc").view_fd, &rootfs.view_fds[RT_VIEW_PROC]);
	assert_null(rt_rootfs_find_place(&rootfs, "/proc/sys").view_fd);
	assert_null(rt_rootfs_find_place(&rootfs, "/sys").view_fd);
	forget(&rootfs);
}

static void a_bound_procfs_is_a_view_and_a_bound_directory_is_none(void **state)
{
	struct rt_rootfs rootfs = make_rootfs();

	mount_at(&rootfs, RT_ENTRY_BIND, "bind", "/sys", "/");
	assert_int_equal(rootfs.view_fds[RT_VIEW_SYS], -1);
	mount_at(&rootfs, RT_ENTRY_BIND, NULL, "/proc", "/proc");
	assert_true(rootfs.view_fds[RT_VIEW_PROC] >= 0);
	forget(&rootfs);
}

static void what_covers_a_view_ends_it_and_what_is_mounted_elsewhere_does_not(void **state)
{
	struct rt_rootfs rootfs = make_rootfs();

	mount_at(&rootfs, RT_ENTRY_FILESYSTEM, "sysfs", "/sys", "/");
	mount_at(&rootfs, RT_ENTRY_CGROUP, "cgroup", "/sys/fs/cgroup", "/");
	mount_at(&rootfs, RT_ENTRY_FILESYSTEM, "tmpfs", "/system", "/");
	assert_true(rootfs.view_fds[RT_VIEW_SYS] >= 0);
	mount_at(&rootfs, RT_ENTRY_FILESYSTEM, "tmpfs", "/sys", NULL);
	assert_place(&rootfs, "/sys/firmware", ROOT_FD, "/sys/firmware");
	forget(&rootfs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_views_everything_is_resolved_from_the_root),
		cmocka_unit_test(what_is_in_a_view_is_resolved_from_its_mount),
		cmocka_unit_test(only_its_mount_point_stands_for_a_view),
		cmocka_unit_test(a_bound_procfs_is_a_view_and_a_bound_directory_is_none),
		cmocka_unit_test(what_covers_a_view_ends_it_and_what_is_mounted_elsewhere_does_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
