/* kill, pause, resume and the list of processes: what reaches all of a container through its cgroup or its init. */
#include "runtime/container/private.h"

#include "runtime/base/proc.h"
#include "runtime/base/str.h"

#include <signal.h>

/* SIGKILL must end a frozen container too; in v1 the signal waits until it is thawed. */
static struct rt_error *kill_init(const struct rt_container *container, int signal, enum rt_status status)
{
	_cleanup_close_ int pidfd = -1;
	struct rt_error *err;
	bool gone = true;

	err = rt_container_pidfd(container, &pidfd);
	if (!err && pidfd >= 0)
		err = rt_pidfd_kill(pidfd, signal, &gone);
	if (err)
		return err;
	if (gone)
		return rt_fail(RT_WRONG_STATE, "container not running");
	if (signal == SIGKILL && status == RT_STATUS_PAUSED)
		return rt_cgroup_freeze(container->cgroup, false);
	return NULL;
}

struct rt_error *rt_container_kill(const struct rt_context *context, const char *id, int signal, unsigned flags)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	enum rt_status status;
	struct rt_error *err;

	err = rt_container_lookup(context, id, 0, &container, &status);
	if (err)
		return err;
	/* With --all processes may be left though init has ended; none left is fine, engines ask to be sure. */
	if ((flags & RT_KILL_ALL) && container.cgroup)
		err = rt_cgroup_signal(container.cgroup, signal);
	else if (status == RT_STATUS_STOPPED || status == RT_STATUS_CREATING)
		err = rt_fail(RT_WRONG_STATE, "container not running");
	else
		err = kill_init(&container, signal, status);
	if (err)
		return rt_while(err, "cannot kill '%s'", id);
	return NULL;
}

static struct rt_error *set_frozen(const struct rt_context *context, const char *id, bool frozen)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	enum rt_status status;
	struct rt_error *err;

	err = rt_container_lookup(context, id, RT_OPEN_LOCKED, &container, &status);
	if (err)
		return err;
	if (frozen && status != RT_STATUS_RUNNING && status != RT_STATUS_CREATED)
		return rt_fail(RT_WRONG_STATE, "cannot pause '%s': container not running: it is %s", id, rt_status_name(status));
	if (!frozen && status != RT_STATUS_PAUSED)
		return rt_fail(RT_WRONG_STATE, "cannot resume '%s': container not paused: it is %s", id, rt_status_name(status));
	if (!container.cgroup)
		return rt_fail(RT_WRONG_STATE, "cannot %s '%s': it has no cgroup", frozen ? "pause" : "resume", id);
	err = rt_cgroup_freeze(container.cgroup, frozen);
	if (err)
		return rt_while(err, "cannot %s '%s'", frozen ? "pause" : "resume", id);
	return NULL;
}

struct rt_error *rt_container_pause(const struct rt_context *context, const char *id)
{
	return set_frozen(context, id, true);
}

struct rt_error *rt_container_resume(const struct rt_context *context, const char *id)
{
	return set_frozen(context, id, false);
}

struct rt_error *rt_container_pids(const struct rt_context *context, const char *id, pid_t **ret, size_t *ret_count)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	_cleanup_close_ int pidfd = -1;
	struct rt_error *err;

	err = rt_container_open(context, id, 0, &container);
	if (err)
		return err;
	if (container.cgroup)
		return rt_cgroup_pids(container.cgroup, ret, ret_count);
	err = rt_container_pidfd(&container, &pidfd);
	if (err)
		return err;
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return rt_error_oom();
	**ret = container.state.pid;
	*ret_count = pidfd >= 0;
	return NULL;
}
