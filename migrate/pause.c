#include "migrate/pause.h"

#include "runtime/base/cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_US 2000

void rt_pause(const char *point)
{
	const char *path = secure_getenv("RT_MIGRATE_PAUSE");
	_cleanup_close_ int fd = -1;
	struct stat seen;
	char here[64];

	if (!path)
		return;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &seen) < 0 || seen.st_uid != geteuid() || (seen.st_mode & (S_IWGRP | S_IWOTH)))
		return;
	snprintf(here, sizeof(here), "%s.%d", point, getpid());
	if (renameat(fd, point, fd, here) < 0)
		return;
	while (faccessat(fd, here, F_OK, 0) == 0)
		usleep(LOOK_US);
}
