/* What create, run, exec and restore owe to whoever called them. */
#include "runtime/container/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/unix.h"
#include "runtime/tty/tty.h"

#include <fcntl.h>
#include <sys/wait.h>

#define MOST_LISTEN_FDS 1024

/* As sd_listen_fds(3): what was meant for another process is left alone. Without LISTEN_PID it is taken as meant for us. */
static unsigned count_listen_fds(void)
{
	const char *count_text = getenv("LISTEN_FDS"), *pid_text = getenv("LISTEN_PID");
	uint64_t count, pid;

	if (pid_text && (!rt_str_to_u64(pid_text, &pid) || pid != (uint64_t)getpid()))
		return 0;
	if (!count_text || !rt_str_to_u64(count_text, &count) || count >= MOST_LISTEN_FDS)
		return 0;
	return (unsigned)count;
}

static bool is_inherited(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

struct rt_error *rt_plan_descriptors(unsigned preserve_fds, struct rt_init_plan *plan, char **ret_variable)
{
	unsigned listen_fds = count_listen_fds(), count = listen_fds + preserve_fds;
	struct rt_error *err;

	/* $LISTEN_FDS may promise more than there is, as far as runc and systemd go; what was asked for here may not. */
	for (unsigned fd = 3 + listen_fds; fd < 3 + count; fd++)
		if (!is_inherited((int)fd))
			return rt_fail(RT_USAGE, "cannot preserve %u descriptors: descriptor %u is not open", preserve_fds, fd);
	plan->preserve_fds = count;
	if (listen_fds == 0)
		return NULL;
	err = rt_format(ret_variable, "LISTEN_FDS=%u", listen_fds);
	if (!err)
		plan->listen_fds = *ret_variable;
	return err;
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
