#include "runtime/init/init.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

/* The cgroup namespace must be made by the process itself once it is in its cgroups: made by clone3 it would show the
 * parent's. The time namespace of clone3 could not be given offsets: the parent makes it for its child beforehand. */
static bool comes_with_clone(enum rt_namespace_kind kind)
{
	return kind != RT_NS_CGROUP && kind != RT_NS_TIME;
}

static struct rt_error *plan_namespaces(struct rt_init_plan *plan)
{
	const struct rt_spec_namespace *namespaces = plan->spec->namespaces;

	for (int kind = 0; kind < RT_NS_KINDS; kind++) {
		struct rt_error *err;

		if (!namespaces[kind].wanted)
			continue;
		if (namespaces[kind].path) {
			err = rt_sys_open_namespace(namespaces[kind].path, (enum rt_namespace_kind)kind, &plan->join_fds[kind]);
			if (err)
				return err;
		} else if (comes_with_clone((enum rt_namespace_kind)kind)) {
			plan->clone_flags |= rt_namespace_flag((enum rt_namespace_kind)kind);
		} else if (kind == RT_NS_CGROUP) {
			plan->unshare_flags |= rt_namespace_flag(RT_NS_CGROUP);
		}
	}
	/* A new namespace of any kind belongs to the user namespace its maker is in: who joins one must be in it first. */
	plan->enters_user_first = plan->join_fds[RT_NS_USER] >= 0;
	plan->in_user_namespace = namespaces[RT_NS_USER].wanted;
	return NULL;
}

static struct rt_error *plan_process(struct rt_init_plan *plan, int filter_cache_fd)
{
	struct rt_error *err;

	if (plan->process->arg_count == 0)
		return rt_fail(RT_CONFIG, "'process.args' must name a program");
	plan->apparmor_profile = plan->process->apparmor_profile;
	plan->selinux_label = plan->process->selinux_label;
	err = rt_lsm_check(plan->apparmor_profile, plan->selinux_label);
	if (!err)
		err = rt_caps_plan(&plan->process->capabilities, &plan->caps);
	if (!err && plan->spec->seccomp.present)
		err = rt_filter_compile(&plan->spec->seccomp, filter_cache_fd, &plan->filter);
	if (err)
		return err;
	plan->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (plan->proc_fd < 0)
		return rt_fail_errno("cannot open '/proc'");
	return NULL;
}

struct rt_error *rt_init_plan_create(struct rt_init_plan *plan, int filter_cache_fd)
{
	struct rt_error *err = plan_namespaces(plan);

	if (err)
		return err;
	return plan_process(plan, filter_cache_fd);
}

static bool same_namespace(pid_t pid, enum rt_namespace_kind kind, bool *ret_there)
{
	struct stat own, other;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", rt_namespace_file(kind));
	*ret_there = stat(path, &own) == 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, rt_namespace_file(kind));
	*ret_there = *ret_there && stat(path, &other) == 0;
	return *ret_there && own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

/* By what the kernel says of the target, not by the config: setns() into a user namespace we are in already is refused,
 * and a restored container may have others than it was made with. */
struct rt_error *rt_init_plan_exec(struct rt_init_plan *plan, pid_t target_pid, int filter_cache_fd)
{
	for (int kind = 0; kind < RT_NS_KINDS; kind++) {
		bool there;

		if (!same_namespace(target_pid, (enum rt_namespace_kind)kind, &there) && there)
			plan->target_flags |= rt_namespace_flag((enum rt_namespace_kind)kind);
	}
	plan->in_user_namespace = plan->target_flags & CLONE_NEWUSER;
	/* Without rights over the container's pid namespace we first need those of its user namespace. */
	plan->enters_user_first = plan->rootless && (plan->target_flags & CLONE_NEWUSER) && (plan->target_flags & CLONE_NEWPID);
	return plan_process(plan, filter_cache_fd);
}

void rt_init_plan_deinit(struct rt_init_plan *plan)
{
	for (int kind = 0; kind < RT_NS_KINDS; kind++)
		rt_closep(&plan->join_fds[kind]);
	rt_closep(&plan->target_pidfd);
	rt_closep(&plan->proc_fd);
	rt_closep(&plan->start_fd);
	rt_filter_deinit(&plan->filter);
	*plan = RT_INIT_PLAN_NULL;
}
