#include "runtime/sys/pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct scan_argument { /* struct pm_scan_arg */
	uint64_t size, flags, start, end, walk_end, regions, room, max_pages;
	uint64_t inverted, all, any, returned;
};
#define SCAN _IOWR('f', 16, struct scan_argument)

static int open_of(pid_t pid, const char *file, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int rt_sys_pagemap_open(pid_t pid)
{
	return open_of(pid, "pagemap", O_RDONLY);
}

int rt_sys_pagemap_scan(int fd, struct rt_sys_page_scan *scan)
{
	struct scan_argument argument = {
		.size = sizeof(argument),
		.flags = scan->flags,
		.start = scan->start,
		.end = scan->end,
		.regions = (uintptr_t)scan->regions,
		.room = scan->room,
		.max_pages = scan->max_pages,
		.inverted = scan->inverted,
		.all = scan->all,
		.any = scan->any,
	};
	int found;

	do
		found = ioctl(fd, SCAN, &argument);
	while (found < 0 && errno == EINTR);
	if (found < 0)
		return -errno;
	scan->start = argument.walk_end;
	return found;
}

ssize_t rt_sys_pagemap_read(int fd, uint64_t page, uint64_t *entries, size_t count)
{
	ssize_t size = pread(fd, entries, count * sizeof(*entries), (off_t)(page * sizeof(*entries)));

	return size < 0 ? -errno : size / (ssize_t)sizeof(*entries);
}

int rt_sys_clear_soft_dirty(pid_t pid)
{
	int fd = open_of(pid, "clear_refs", O_WRONLY);
	int result = 0;

	if (fd < 0)
		return fd;
	if (write(fd, "4", 1) != 1)
		result = -errno;
	close(fd);
	return result;
}
