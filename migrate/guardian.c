#include "migrate/guardian.h"

#include "runtime/base/io.h"
#include "runtime/sys/cred.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static void guard(const struct rt_context *context, const char *id, int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char word = 0;

	setsid();
	rt_error_free(rt_sys_set_name("rt-guardian"));
	/* Whoever reads our caller's output waits for the caller, not for us. */
	for (int stream = STDIN_FILENO; stream <= STDERR_FILENO && null >= 0; stream++)
		dup2(null, stream);
	close_range(3, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0u, 0);
	while (read(fd, &word, 1) < 0 && errno == EINTR)
		;
	if (word != 'd')
		rt_error_free(rt_container_kill(context, id, SIGKILL, RT_KILL_ALL));
	_exit(0);
}

struct rt_error *rt_guardian_start(const struct rt_context *context, const char *id, int *ret)
{
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return rt_fail_errno("cannot make a socket");
	pid = fork();
	if (pid == 0) {
		close(ends[1]);
		guard(context, id, ends[0]);
	}
	close(ends[0]);
	if (pid < 0) {
		struct rt_error *err = rt_fail_errno("cannot fork");

		close(ends[1]);
		return err;
	}
	*ret = ends[1];
	return NULL;
}

void rt_guardian_dismiss(int *guardian)
{
	/* A restore that failed has killed it like all other children: no reason to die of SIGPIPE, and keep to ourselves why it did. */
	while (*guardian >= 0 && send(*guardian, "d", 1, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
	rt_closep(guardian);
}
