#include "runtime/sys/peek.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PIDFD_OF_THREAD O_EXCL /* PIDFD_THREAD, Linux 6.9 */

ssize_t rt_sys_peek(pid_t pid, const struct iovec *pieces, size_t count, void *buffer, size_t size)
{
	struct iovec local = { .iov_base = buffer, .iov_len = size };
	ssize_t got = process_vm_readv(pid, &local, 1, pieces, count, 0);

	return got < 0 ? -errno : got;
}

int rt_sys_peek_fd(pid_t tid, pid_t leader, int fd)
{
	int pidfd = (int)syscall(SYS_pidfd_open, tid, PIDFD_OF_THREAD);
	int copy;

	if (pidfd < 0 && errno == EINVAL)
		pidfd = (int)syscall(SYS_pidfd_open, leader, 0);
	if (pidfd < 0)
		return -errno;
	copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (copy < 0)
		copy = -errno;
	close(pidfd);
	return copy;
}

int rt_sys_peek_same_memory(pid_t a, pid_t b)
{
	long order = syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0);

	return order < 0 ? -errno : order == 0;
}

int rt_sys_peek_same_file(pid_t pid, int fd, int own)
{
	long order = syscall(SYS_kcmp, pid, getpid(), KCMP_FILE, fd, own);

	return order < 0 ? -errno : order == 0;
}
