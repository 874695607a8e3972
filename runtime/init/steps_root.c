/* Steps that see only the container's files, with all rights the container's user namespace gives. */
#include "runtime/init/child.h"

#include "runtime/base/fs.h"
#include "runtime/init/sync.h"
#include "runtime/tty/tty.h"

#include <fcntl.h>

struct rt_error *rt_step_switch(struct rt_init_child *child)
{
	return rt_rootfs_switch(child->plan->rootfs);
}

/* The pty is the container's own; its master goes to whoever asked for the terminal. */
struct rt_error *rt_step_console(struct rt_init_child *child)
{
	const struct rt_spec_process *process = child->plan->process;
	_cleanup_close_ int root = -1, master = -1, slave = -1;
	struct rt_error *err;
	char path[64];

	if (!process->terminal)
		return NULL;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return rt_fail_errno("cannot open '/'");
	err = rt_console_open(root, &process->console_size, &master, &slave, path);
	if (!err && child->plan->rootfs)
		err = rt_rootfs_console(child->plan->rootfs, slave);
	if (!err)
		err = rt_sync_send(child->sync, RT_SYNC_CONSOLE, 0, master);
	if (!err)
		err = rt_sync_wait_go(child->sync, NULL);
	if (!err)
		err = rt_console_become(slave, process->user.uid);
	return err;
}

struct rt_error *rt_step_sysctl(struct rt_init_child *child)
{
	return child->plan->spec->sysctl_count ? rt_rootfs_sysctl(child->plan->spec) : NULL;
}

struct rt_error *rt_step_working_directory(struct rt_init_child *child)
{
	_cleanup_close_ int root = -1, made = -1;
	struct rt_error *err;

	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return rt_fail_errno("cannot open '/'");
	err = rt_make_dirs_in_root(root, child->plan->process->cwd, 0755, &made);
	if (err)
		return rt_while(err, "'process.cwd'");
	return NULL;
}

struct rt_error *rt_step_seal_root(struct rt_init_child *child)
{
	return rt_rootfs_seal(child->plan->rootfs);
}

/* Those that take rights to set and are inherited over execve. */
struct rt_error *rt_step_attributes(struct rt_init_child *child)
{
	const struct rt_spec_process *process = child->plan->process;
	const struct rt_spec *spec = child->plan->spec;
	struct rt_error *err = NULL;

	if (process->scheduler.present)
		err = rt_scheduler_apply(&process->scheduler);
	if (!err && process->has_io_priority)
		err = rt_io_priority_apply(process->io_priority_class, process->io_priority);
	if (!err && spec->memory_policy.present)
		err = rt_memory_policy_apply(&spec->memory_policy);
	if (!err && spec->personality.present)
		err = rt_personality_apply(&spec->personality);
	return err;
}

struct rt_error *rt_step_label(struct rt_init_child *child)
{
	const struct rt_init_plan *plan = child->plan;

	if (!plan->apparmor_profile && !plan->selinux_label)
		return NULL;
	return rt_lsm_apply(plan->apparmor_profile, plan->selinux_label, plan->proc_fd);
}
