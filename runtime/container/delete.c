#include "runtime/container/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/init/hooks.h"

#include <fcntl.h>
#include <signal.h>

/* A killed process that the kernel does not let go within this time is stuck in it; waiting longer will not help. */
#define KILL_WAIT_MS 10000

static struct rt_error *kill_init(const struct rt_container *container)
{
	_cleanup_close_ int pidfd = -1;
	struct rt_error *err;
	bool ended = true, frozen = false;

	err = rt_container_pidfd(container, &pidfd);
	if (err || pidfd < 0)
		return err;
	err = rt_pidfd_kill(pidfd, SIGKILL, NULL);
	if (!err && container->cgroup)
		err = rt_cgroup_is_frozen(container->cgroup, &frozen);
	if (!err && frozen)
		err = rt_cgroup_freeze(container->cgroup, false);
	if (!err)
		err = rt_pidfd_wait(pidfd, KILL_WAIT_MS, &ended);
	if (!err && !ended)
		return rt_fail(RT_SYSTEM, "process %d did not end within %d s of SIGKILL", container->state.pid,
			       KILL_WAIT_MS / 1000);
	return err;
}

/* Init's end is everybody's end only where it was init of a pid namespace of the container's own. */
static bool dies_with_init(const struct rt_state *state)
{
	return state->pid > 0 && state->own_pid_namespace;
}

static struct rt_error *end_processes(struct rt_container *container)
{
	struct rt_error *err = kill_init(container);

	if (!err && container->cgroup && !dies_with_init(&container->state))
		err = rt_cgroup_signal(container->cgroup, SIGKILL);
	return err;
}

static void run_poststop(struct rt_container *container)
{
	_cleanup_json_ json_t *state = NULL;
	const struct rt_spec *spec;
	struct rt_error *err;

	if (container->state.self_contained)
		return;
	/* A create that died early has left no config, and has run no hooks. */
	if (faccessat(container->dir_fd, "config.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	err = rt_container_spec(container, &spec);
	if (!err && spec->hooks[RT_HOOK_POSTSTOP].count > 0)
		err = rt_container_state_json(&container->state, spec, RT_STATUS_STOPPED, 0, &state);
	if (err)
		rt_warn_ignored(err);
	else if (state)
		rt_hooks_run_tolerant(spec, RT_HOOK_POSTSTOP, state);
}

static struct rt_error *remove_directory(const struct rt_container *container)
{
	_cleanup_close_ int root = open(container->context->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0)
		return rt_fail_errno("cannot open '%s'", container->context->root);
	return rt_remove_tree_at(root, container->state.id);
}

/* Also where the group was there before us: what we made below it is ours. */
static struct rt_error *remove_rdt(struct rt_container *container)
{
	const struct rt_spec *spec;
	struct rt_error *err;

	if (container->state.self_contained || faccessat(container->dir_fd, "config.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	err = rt_container_spec(container, &spec);
	if (!err && spec->intel_rdt.present)
		err = rt_intel_rdt_destroy(&spec->intel_rdt, container->state.id, container->state.rdt_created);
	return err;
}

struct rt_error *rt_container_destroy(struct rt_container *container)
{
	struct rt_error *err = end_processes(container);

	if (!err && container->cgroup)
		err = rt_cgroup_destroy(container->cgroup);
	if (!err)
		err = remove_rdt(container);
	if (err)
		return err;
	run_poststop(container);
	return remove_directory(container);
}

struct rt_error *rt_container_delete(const struct rt_context *context, const char *id, unsigned flags)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	enum rt_status status;
	struct rt_error *err;

	err = rt_container_lookup(context, id, RT_OPEN_LOCKED, &container, &status);
	if (err && err->code == RT_NOT_FOUND && (flags & RT_DELETE_FORCE)) {
		rt_error_free(err);
		return NULL;
	}
	if (err)
		return err;
	/* One that was created and never started has nothing to lose. */
	if (status != RT_STATUS_STOPPED && status != RT_STATUS_CREATED && !(flags & RT_DELETE_FORCE))
		return rt_fail(RT_WRONG_STATE, "cannot delete container '%s' that is not stopped: %s", id, rt_status_name(status));
	err = rt_container_destroy(&container);
	if (err)
		return rt_while(err, "cannot delete '%s'", id);
	return NULL;
}
