#include "migrate/clone_stay.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"

#include <signal.h>
#include <sys/wait.h>

struct rt_error *rt_clone_stay(const struct rt_context *context, const char *id)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	_cleanup_close_ int pidfd = -1;
	struct rt_error *err = rt_container_open(context, id, 0, &container);
	pid_t pid;

	/* Deleted already: fine, too. */
	if (err)
		return err->code == RT_NOT_FOUND ? rt_error_free(err) : err;
	/* Not reaped, its number stays its own. */
	pid = container.state.pid;
	err = rt_pidfd_open(pid, &pidfd);
	if (!err && pidfd >= 0)
		err = rt_pidfd_wait(pidfd, -1, NULL);
	if (!err)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	rt_error_free(rt_container_kill(context, id, SIGKILL, RT_KILL_ALL));
	return err;
}
