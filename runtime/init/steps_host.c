/* Steps that still see the host's mounts. */
#include "runtime/init/child.h"

#include "runtime/init/hooks.h"
#include "runtime/init/sync.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/ns.h"
#include "runtime/sys/session.h"

#include <sched.h>

struct rt_error *rt_step_wait_for_parent(struct rt_init_child *child)
{
	return child->must_wait ? rt_sync_wait_go(child->sync, NULL) : NULL;
}

/* Not before the id maps are written: the files of /proc that take them would belong to the wrong user. */
struct rt_error *rt_step_hide(struct rt_init_child *child)
{
	return rt_sys_set_dumpable(false);
}

struct rt_error *rt_step_enter_cgroups(struct rt_init_child *child)
{
	if (!child->plan->cgroup)
		return NULL;
	return rt_cgroup_enter_self(child->plan->cgroup, child->cloned_into_cgroup);
}

struct rt_error *rt_step_enter_namespaces(struct rt_init_child *child)
{
	struct rt_init_plan *plan = child->plan;

	if (plan->target_pidfd >= 0 && plan->target_flags)
		return rt_sys_setns(plan->target_pidfd, plan->target_flags);
	for (int kind = 0; kind < RT_NS_KINDS; kind++) {
		struct rt_error *err;

		if (plan->join_fds[kind] < 0)
			continue;
		err = rt_sys_setns(plan->join_fds[kind], rt_namespace_flag((enum rt_namespace_kind)kind));
		if (err)
			return rt_while(err, "joining the %s namespace '%s'", rt_namespace_name((enum rt_namespace_kind)kind),
					plan->spec->namespaces[kind].path);
	}
	return NULL;
}

struct rt_error *rt_step_become_root(struct rt_init_child *child)
{
	return child->plan->in_user_namespace ? rt_sys_become_root() : NULL;
}

struct rt_error *rt_step_make_namespaces(struct rt_init_child *child)
{
	return child->plan->unshare_flags ? rt_sys_unshare(child->plan->unshare_flags) : NULL;
}

struct rt_error *rt_step_new_session(struct rt_init_child *child)
{
	struct rt_error *err = rt_sys_new_session();

	if (!err && child->plan->keyring)
		err = rt_sys_new_session_keyring(child->plan->keyring);
	return err;
}

struct rt_error *rt_step_loopback(struct rt_init_child *child)
{
	return (child->plan->clone_flags & CLONE_NEWNET) ? rt_sys_loopback_up() : NULL;
}

struct rt_error *rt_step_names(struct rt_init_child *child)
{
	const struct rt_spec *spec = child->plan->spec;
	struct rt_error *err = NULL;

	if (spec->hostname && *spec->hostname)
		err = rt_sys_set_host_name(spec->hostname);
	if (!err && spec->domainname && *spec->domainname)
		err = rt_sys_set_domain_name(spec->domainname);
	return err;
}

struct rt_error *rt_step_isolate(struct rt_init_child *child)
{
	return rt_rootfs_isolate(child->plan->rootfs);
}

struct rt_error *rt_step_mount(struct rt_init_child *child)
{
	return rt_rootfs_mount(child->plan->rootfs);
}

struct rt_error *rt_step_host_hooks(struct rt_init_child *child)
{
	const struct rt_spec *spec = child->plan->spec;
	struct rt_error *err;

	if (spec->hooks[RT_HOOK_PRESTART].count == 0 && spec->hooks[RT_HOOK_CREATE_RUNTIME].count == 0 &&
	    spec->net_device_count == 0)
		return NULL;
	err = rt_sync_send(child->sync, RT_SYNC_HOOKS, 0, -1);
	return err ? err : rt_sync_wait_go(child->sync, NULL);
}

/* These hooks see the container's namespaces, so also its pid. */
struct rt_error *rt_step_container_hooks(struct rt_init_child *child)
{
	const struct rt_spec *spec = child->plan->spec;

	if (spec->hooks[RT_HOOK_CREATE_CONTAINER].count == 0)
		return NULL;
	if (json_object_set_new(child->plan->hook_state, "pid", json_integer(getpid())) < 0)
		return rt_error_oom();
	return rt_hooks_run(spec, RT_HOOK_CREATE_CONTAINER, child->plan->hook_state);
}
