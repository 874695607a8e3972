#include "runtime/sys/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 5.11, 6.4 and 6.7; older headers lack them. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif

long rt_sys_uffd_flags(void)
{
	return O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY;
}

int rt_sys_uffd_open(void)
{
	int fd = (int)syscall(SYS_userfaultfd, rt_sys_uffd_flags());

	return fd < 0 ? -errno : fd;
}

int rt_sys_uffd_enable(int fd)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		/* Unpopulated ones too, or asynchronous protection refuses anonymous memory. */
		.features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_ASYNC,
	};

	return ioctl(fd, UFFDIO_API, &api) < 0 ? -errno : 0;
}

int rt_sys_uffd_watch(int fd, uint64_t start, uint64_t end)
{
	struct uffdio_register range = { .range = { .start = start, .len = end - start }, .mode = UFFDIO_REGISTER_MODE_WP };

	return ioctl(fd, UFFDIO_REGISTER, &range) < 0 ? -errno : 0;
}

int rt_sys_uffd_unwatch(int fd, uint64_t start, uint64_t end)
{
	struct uffdio_range range = { .start = start, .len = end - start };

	return ioctl(fd, UFFDIO_UNREGISTER, &range) < 0 ? -errno : 0;
}

int rt_sys_uffd_unprotect(int fd, uint64_t start, uint64_t end)
{
	struct uffdio_writeprotect range = { .range = { .start = start, .len = end - start }, .mode = UFFDIO_WRITEPROTECT_MODE_DONTWAKE };
	int result;

	do
		result = ioctl(fd, UFFDIO_WRITEPROTECT, &range);
	while (result < 0 && errno == EAGAIN);
	return result < 0 ? -errno : 0;
}
