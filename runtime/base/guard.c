#include "runtime/base/guard.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

static void stand_apart(pid_t group)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (group <= 0 || setpgid(0, group) < 0)
		setsid();
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && null >= 0; fd++)
		dup2(null, fd);
}

static bool is_kept(const struct rt_guard_plan *plan, int pipe_fd, int fd)
{
	for (size_t i = 0; i < plan->keep_count; i++)
		if (plan->keep[i] == fd)
			return true;
	return fd <= STDERR_FILENO || fd == pipe_fd || fd == rt_log_fd();
}

/* From one that is kept to the next, as there may be a million numbers between them. */
static void let_go_of_others(const struct rt_guard_plan *plan, int pipe_fd)
{
	int last = pipe_fd > rt_log_fd() ? pipe_fd : rt_log_fd();
	unsigned first = STDERR_FILENO + 1;

	for (size_t i = 0; i < plan->keep_count; i++)
		last = plan->keep[i] > last ? plan->keep[i] : last;
	for (int fd = (int)first; fd <= last; fd++) {
		if (!is_kept(plan, pipe_fd, fd))
			continue;
		if ((unsigned)fd > first)
			close_range(first, (unsigned)fd - 1, 0);
		first = (unsigned)fd + 1;
	}
	close_range(first, ~0u, 0);
}

struct rt_error *rt_guard_start(const struct rt_guard_plan *plan, struct rt_guard *ret)
{
	struct rt_guard guard = RT_GUARD_NULL;
	struct rt_error *err = rt_fork_with_pipe(RT_PIPE_TO_CHILD, &guard.pid, &guard.fd);

	if (err)
		return err;
	if (guard.pid == 0) {
		stand_apart(plan->group);
		if (plan->keep)
			let_go_of_others(plan, guard.fd);
		plan->watch(plan->userdata, guard.fd);
		_exit(0);
	}
	*ret = guard;
	return NULL;
}

struct rt_error *rt_guard_tell(const struct rt_guard *guard, int word, pid_t pid)
{
	struct rt_guard_message message = { .word = word, .pid = pid };
	struct rt_proc_stat stat = { 0 };
	struct rt_error *err = NULL;
	bool found;

	if (pid > 0)
		err = rt_proc_stat(pid, &stat, &found);
	message.start_time = stat.start_time;
	if (!err)
		err = rt_write_pipe(guard->fd, &message, sizeof(message)); /* somebody may have killed it */
	return err ? rt_while(err, "telling the guard, process %d", guard->pid) : NULL;
}

bool rt_guard_hear(int pipe_fd, struct rt_guard_message *ret)
{
	ssize_t got;

	do {
		got = read(pipe_fd, ret, sizeof(*ret));
	} while (got < 0 && errno == EINTR);
	return got == sizeof(*ret);
}

int rt_guard_open(const struct rt_guard_message *message)
{
	_cleanup_close_ int fd = -1;
	struct rt_proc_stat stat;
	bool found = false;

	rt_error_free(rt_pidfd_open(message->pid, &fd));
	/* Opened first: it was this one all the time if it still is. */
	if (fd >= 0)
		rt_error_free(rt_proc_stat(message->pid, &stat, &found));
	return found && stat.start_time == message->start_time ? rt_take_fd(fd) : -1;
}

void rt_guard_dismiss(struct rt_guard *guard)
{
	const struct rt_guard_message dismissed = { .word = RT_GUARD_DISMISSED };

	if (guard->fd >= 0)
		rt_error_free(rt_write_pipe(guard->fd, &dismissed, sizeof(dismissed)));
	rt_closep(&guard->fd);
	while (guard->pid > 0 && waitpid(guard->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*guard = RT_GUARD_NULL;
}
