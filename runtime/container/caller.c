/* What create, run, exec and restore owe to whoever called them. */
#include "runtime/container/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/unix.h"
#include "runtime/tty/tty.h"

#include <fcntl.h>
#include <sys/wait.h>

struct rt_error *rt_check_preserved_fds(unsigned count)
{
	for (unsigned fd = 3; fd < 3 + count; fd++) {
		int flags = fcntl((int)fd, F_GETFD);

		if (flags < 0 || (flags & FD_CLOEXEC))
			return rt_fail(RT_USAGE, "cannot preserve %u descriptors: descriptor %u is not open", count, fd);
	}
	return NULL;
}

struct rt_error *rt_write_pid_file(const char *path, pid_t pid)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	_cleanup_close_ int dir = -1;
	struct rt_error *err;
	char text[16];

	if (!parent)
		return rt_error_oom();
	dir = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return rt_fail_errno("cannot write pid file '%s'", path);
	snprintf(text, sizeof(text), "%d", pid);
	err = rt_replace_file_at(dir, slash ? slash + 1 : path, text, strlen(text), 0666);
	if (err)
		return rt_while(err, "writing pid file '%s'", path);
	return NULL;
}

struct rt_error *rt_send_pidfd(const char *socket_path, int pidfd)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_sys_connect(socket_path, &fd);

	if (err)
		return rt_while(err, "connecting to the pidfd socket");
	err = rt_send_message(fd, "pidfd", strlen("pidfd"), &pidfd, 1);
	if (err)
		return rt_while(err, "sending the pidfd to '%s'", socket_path);
	return NULL;
}

struct rt_error *rt_wait_in_foreground(const struct rt_init_process *process, int master, int *ret_status)
{
	const struct rt_tty_relay relay = { .master = master, .pidfd = process->pidfd, .pid = process->pid };
	struct rt_error *err;
	int status;

	err = rt_tty_relay(&relay, &status);
	if (err)
		return err;
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return NULL;
}
