/* The child's half: its whole sequence can be read from these tables. A step that does not apply returns NULL at once. */
#include "runtime/init/child.h"

#include "runtime/base/log.h"
#include "runtime/init/sync.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/ns.h"

#include <sched.h>

static const struct rt_init_step create_steps[] = {
	{ RT_PHASE_HOST, "waiting for the runtime", rt_step_wait_for_parent }, /* id maps, a systemd scope */
	{ RT_PHASE_HOST, "hiding from other processes", rt_step_hide },
	{ RT_PHASE_HOST, "entering cgroups", rt_step_enter_cgroups }, /* before the namespace that shows them as root */
	{ RT_PHASE_HOST, "entering namespaces", rt_step_enter_namespaces },
	{ RT_PHASE_HOST, "becoming root of the user namespace", rt_step_become_root },
	{ RT_PHASE_HOST, "making namespaces", rt_step_make_namespaces },
	{ RT_PHASE_HOST, "making a session", rt_step_new_session },
	{ RT_PHASE_HOST, "setting up the network namespace", rt_step_loopback },
	{ RT_PHASE_HOST, "setting the host name", rt_step_names },
	{ RT_PHASE_HOST, "preparing the root filesystem", rt_step_isolate },
	{ RT_PHASE_HOST, "mounting", rt_step_mount },
	{ RT_PHASE_HOST, "getting hooks run", rt_step_host_hooks }, /* before the pivot: they may mount things into it */
	{ RT_PHASE_HOST, "running hooks", rt_step_container_hooks },
	{ RT_PHASE_ROOT, "switching root", rt_step_switch },
	{ RT_PHASE_ROOT, "setting up the terminal", rt_step_console }, /* its /dev/pts is the container's */
	{ RT_PHASE_ROOT, "setting kernel parameters", rt_step_sysctl }, /* before /proc/sys is made read-only */
	{ RT_PHASE_ROOT, "making the working directory", rt_step_working_directory }, /* before the root is made read-only */
	{ RT_PHASE_ROOT, "protecting paths", rt_step_seal_root },
	{ RT_PHASE_ROOT, "setting process attributes", rt_step_attributes },
	{ RT_PHASE_ROOT, "labelling the process", rt_step_label },
	{ RT_PHASE_ROOT, "reopening standard streams", rt_step_reopen_null },
	{ RT_PHASE_USER, "handing over standard streams", rt_step_stdio_owner },
	{ RT_PHASE_USER, "entering the working directory", rt_step_try_directory },
	{ RT_PHASE_USER, "switching user", rt_step_switch_user },
	{ RT_PHASE_USER, "entering the working directory", rt_step_enter_directory },
	{ RT_PHASE_USER, "finding the program", rt_step_find_executable },
	{ RT_PHASE_USER, "closing descriptors", rt_step_close_descriptors },
	{ RT_PHASE_USER, "resetting signals", rt_step_reset_signals },
	{ RT_PHASE_USER, "loading seccomp", rt_step_seal_with_listener }, /* an agent must have it before start */
	{ RT_PHASE_USER, "reporting ready", rt_step_report_ready },
	{ RT_PHASE_USER, "waiting for start", rt_step_wait_for_start },
	{ RT_PHASE_USER, "running hooks", rt_step_start_hooks },
	{ RT_PHASE_USER, "setting process attributes", rt_step_final_attributes },
	{ RT_PHASE_SEALED, "loading seccomp", rt_step_seal }, /* the filter may forbid all that stands above */
	{ RT_PHASE_SEALED, "starting the process", rt_step_exec },
	{ 0 },
};

static const struct rt_init_step exec_steps[] = {
	{ RT_PHASE_HOST, "waiting for the runtime", rt_step_wait_for_parent },
	{ RT_PHASE_HOST, "entering cgroups", rt_step_enter_cgroups },
	{ RT_PHASE_HOST, "making a session", rt_step_new_session }, /* the keyring is looked up by the host's ids */
	{ RT_PHASE_ROOT, "entering namespaces", rt_step_enter_namespaces },
	{ RT_PHASE_ROOT, "becoming root of the user namespace", rt_step_become_root },
	{ RT_PHASE_ROOT, "setting up the terminal", rt_step_console },
	{ RT_PHASE_ROOT, "setting process attributes", rt_step_attributes },
	{ RT_PHASE_ROOT, "labelling the process", rt_step_label },
	{ RT_PHASE_ROOT, "reopening standard streams", rt_step_reopen_null },
	{ RT_PHASE_USER, "handing over standard streams", rt_step_stdio_owner },
	{ RT_PHASE_USER, "entering the working directory", rt_step_try_directory },
	{ RT_PHASE_USER, "switching user", rt_step_switch_user },
	{ RT_PHASE_USER, "entering the working directory", rt_step_enter_directory },
	{ RT_PHASE_USER, "finding the program", rt_step_find_executable },
	{ RT_PHASE_USER, "closing descriptors", rt_step_close_descriptors },
	{ RT_PHASE_USER, "resetting signals", rt_step_reset_signals },
	{ RT_PHASE_USER, "loading seccomp", rt_step_seal_with_listener },
	{ RT_PHASE_USER, "reporting ready", rt_step_report_ready },
	{ RT_PHASE_USER, "waiting for start", rt_step_wait_for_start },
	{ RT_PHASE_USER, "setting process attributes", rt_step_final_attributes },
	{ RT_PHASE_SEALED, "loading seccomp", rt_step_seal },
	{ RT_PHASE_SEALED, "starting the process", rt_step_exec },
	{ 0 },
};

static void walk(struct rt_init_child *child, const struct rt_init_step *step)
{
	struct rt_error *err = NULL;

	for (; step->run && !err; step++) {
		err = step->run(child);
		if (err)
			err = rt_while(err, "%s", step->what);
	}
	if (child->report >= 0)
		rt_sync_send_error(child->report, err);
	_exit(1);
}

void rt_init_child_main(struct rt_init_plan *plan, int sync, bool cloned_into_cgroup, bool must_wait)
{
	struct rt_init_child child = {
		.plan = plan,
		.sync = sync,
		.report = sync,
		.cloned_into_cgroup = cloned_into_cgroup,
		.must_wait = must_wait,
	};

	rt_closep(&plan->lock_fd);
	walk(&child, plan->rootfs ? create_steps : exec_steps);
	_exit(1);
}

/* Enters what the real child must be born into. */
static struct rt_error *enter_first(struct rt_init_plan *plan)
{
	struct rt_error *err;

	if (plan->target_pidfd >= 0) {
		err = rt_sys_setns(plan->target_pidfd, CLONE_NEWUSER);
		if (!err)
			err = rt_sys_setns(plan->target_pidfd, CLONE_NEWPID);
		plan->target_flags &= ~(uint64_t)(CLONE_NEWUSER | CLONE_NEWPID);
		return err;
	}
	err = rt_sys_setns(plan->join_fds[RT_NS_USER], CLONE_NEWUSER);
	if (!err)
		err = rt_sys_become_root();
	if (!err && plan->join_fds[RT_NS_PID] >= 0)
		err = rt_sys_setns(plan->join_fds[RT_NS_PID], CLONE_NEWPID);
	rt_closep(&plan->join_fds[RT_NS_USER]);
	rt_closep(&plan->join_fds[RT_NS_PID]);
	plan->join_fds[RT_NS_USER] = plan->join_fds[RT_NS_PID] = -1;
	return err;
}

void rt_init_intermediate_main(struct rt_init_plan *plan, int sync, bool must_wait)
{
	struct rt_error *err = enter_first(plan);
	int pidfd = -1;
	pid_t pid = -1;

	/* Not into the cgroup at once: the rights for that stayed outside. */
	if (!err)
		err = rt_sys_clone(&(struct rt_clone_options){ .flags = plan->clone_flags | CLONE_PARENT, .cgroup_fd = -1 },
				   &pid, &pidfd);
	if (!err && pid == 0)
		rt_init_child_main(plan, sync, false, must_wait);
	if (!err)
		err = rt_sync_send(sync, RT_SYNC_FORKED, 0, pidfd);
	if (err) {
		rt_sync_send_error(sync, rt_while(err, "entering the user namespace"));
		_exit(1);
	}
	_exit(0);
}
