#include "runtime/base/lock.h"

#include <fcntl.h>
#include <sys/file.h>

struct rt_error *rt_lock_at(int dir_fd, const char *name, int *ret)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return rt_fail_errno("cannot open lock '%s'", name);
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return rt_fail_errno("cannot lock '%s'", name);
	*ret = rt_take_fd(fd);
	return NULL;
}

struct rt_error *rt_lock_try_at(int dir_fd, const char *name, int *ret)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	*ret = -1;
	if (fd < 0)
		return rt_fail_errno("cannot open lock '%s'", name);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return NULL;
		if (errno != EINTR)
			return rt_fail_errno("cannot lock '%s'", name);
	}
	*ret = rt_take_fd(fd);
	return NULL;
}
