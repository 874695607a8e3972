/* The parent's half: clones the child, does for it what only the host may do, and answers its requests. */
#include "runtime/init/child.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/init/sync.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Our own namespaces, kept while we wear those the child is to be born into. */
struct worn {
	int own[RT_NS_KINDS]; /* -1: not changed */
};
#define WORN_NULL ((struct worn){ { -1, -1, -1, -1, -1, -1, -1, -1 } })

static void worn_deinit(struct worn *worn)
{
	for (int kind = 0; kind < RT_NS_KINDS; kind++)
		rt_closep(&worn->own[kind]);
}

static struct rt_error *keep_own(struct worn *worn, enum rt_namespace_kind kind)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", rt_namespace_file(kind));
	return rt_sys_open_namespace(path, kind, &worn->own[kind]);
}

/* A process is born into the namespaces its parent wears. So a joined namespace needs no second process, and works
 * together with a new user namespace, whose root would have no right to enter it. Mount and user namespaces cannot be
 * taken off again: those the child enters itself. */
static struct rt_error *put_on(struct rt_init_plan *plan, struct worn *worn)
{
	for (int kind = RT_NS_MOUNT + 1; kind < RT_NS_KINDS; kind++) {
		struct rt_error *err;

		if (plan->join_fds[kind] < 0)
			continue;
		err = keep_own(worn, (enum rt_namespace_kind)kind);
		if (!err)
			err = rt_sys_setns(plan->join_fds[kind], rt_namespace_flag((enum rt_namespace_kind)kind));
		if (err && err->errnum == EPERM && plan->enters_user_first) {
			/* It may belong to the user namespace that is joined: tried again from in there. */
			rt_error_free(err);
			rt_closep(&worn->own[kind]);
			worn->own[kind] = -1;
			continue;
		}
		if (err)
			return rt_while(err, "joining the %s namespace '%s'", rt_namespace_name((enum rt_namespace_kind)kind),
					plan->spec->namespaces[kind].path);
		rt_closep(&plan->join_fds[kind]);
		plan->join_fds[kind] = -1;
	}
	return NULL;
}

static struct rt_error *put_on_target_pid(struct rt_init_plan *plan, struct worn *worn)
{
	struct rt_error *err;

	if (!(plan->target_flags & CLONE_NEWPID) || plan->enters_user_first)
		return NULL;
	err = keep_own(worn, RT_NS_PID);
	if (!err)
		err = rt_sys_setns(plan->target_pidfd, CLONE_NEWPID);
	if (err)
		return rt_while(err, "joining the pid namespace of the container");
	plan->target_flags &= ~(uint64_t)CLONE_NEWPID;
	return NULL;
}

/* The namespace for our next child only; its offsets can be set until that child exists. */
static struct rt_error *put_on_time(struct rt_init_plan *plan, struct worn *worn)
{
	const struct rt_spec_namespace *time = &plan->spec->namespaces[RT_NS_TIME];
	struct rt_error *err;

	if (!plan->rootfs || !time->wanted || time->path)
		return NULL;
	err = keep_own(worn, RT_NS_TIME);
	if (!err)
		err = rt_sys_unshare(rt_namespace_flag(RT_NS_TIME));
	if (!err)
		err = rt_sys_write_time_offsets(&plan->spec->offset_monotonic, &plan->spec->offset_boottime);
	if (err)
		return rt_while(err, "making the time namespace");
	return NULL;
}

static struct rt_error *take_off(struct worn *worn)
{
	for (int kind = 0; kind < RT_NS_KINDS; kind++) {
		struct rt_error *err;

		if (worn->own[kind] < 0)
			continue;
		err = rt_sys_setns(worn->own[kind], rt_namespace_flag((enum rt_namespace_kind)kind));
		if (err)
			return rt_while(err, "leaving the %s namespace", rt_namespace_name((enum rt_namespace_kind)kind));
	}
	return NULL;
}

/* process.execCPUAffinity is, by the specification, not for a container's first process. */
static const char *initial_affinity(const struct rt_init_plan *plan)
{
	return plan->rootfs ? NULL : plan->process->cpu_affinity_initial;
}

/* One that another process clones for us must not speak before that one has told us who it is. */
static bool must_wait(const struct rt_init_plan *plan)
{
	return plan->enters_user_first || (plan->clone_flags & CLONE_NEWUSER) ||
	       (plan->cgroup && rt_cgroup_needs_adopt(plan->cgroup)) || initial_affinity(plan);
}

static struct rt_error *clone_child(struct rt_init_plan *plan, const int sync[2], struct rt_init_process *process)
{
	int cgroup_fd = plan->cgroup ? rt_cgroup_clone_fd(plan->cgroup) : -1;
	bool wait = must_wait(plan);
	struct rt_error *err;

	if (plan->enters_user_first)
		err = rt_sys_clone(&(struct rt_clone_options){ .cgroup_fd = -1 }, &process->pid, &process->pidfd);
	else
		err = rt_sys_clone(&(struct rt_clone_options){ .flags = plan->clone_flags, .cgroup_fd = cgroup_fd },
				   &process->pid, &process->pidfd);
	if (err || process->pid > 0)
		return err;
	close(sync[0]);
	if (plan->enters_user_first)
		rt_init_intermediate_main(plan, sync[1], wait);
	rt_init_child_main(plan, sync[1], cgroup_fd >= 0, wait);
}

/* Strangers who share the child's pid namespace must not look into it while it still holds what is the host's
 * (CVE-2016-9962); it inherits this from us. */
static struct rt_error *hide_from_strangers(const struct rt_init_plan *plan)
{
	if (plan->rootfs && plan->join_fds[RT_NS_PID] < 0)
		return NULL;
	return rt_sys_set_dumpable(false);
}

static struct rt_error *bear(struct rt_init_plan *plan, const int sync[2], struct rt_init_process *process)
{
	_cleanup_(worn_deinit) struct worn worn = WORN_NULL;
	struct rt_error *err, *second;

	err = rt_rlimits_raise(plan->process->rlimits, plan->process->rlimit_count);
	if (!err)
		err = hide_from_strangers(plan);
	if (!err && plan->cgroup)
		err = rt_cgroup_open_entries(plan->cgroup);
	if (!err)
		err = put_on(plan, &worn);
	if (!err)
		err = put_on_target_pid(plan, &worn);
	if (!err)
		err = put_on_time(plan, &worn);
	if (!err)
		err = clone_child(plan, sync, process);
	second = take_off(&worn);
	if (err)
		rt_error_free(second);
	return err ? err : second;
}

/* The process that entered the user namespace is done: from now on its sibling is the child. */
static struct rt_error *follow_fork(struct rt_init_process *process)
{
	struct rt_sync_message message;
	struct rt_error *err;
	bool alive;
	int fd;

	err = rt_sync_receive(process->sync_fd, &message, &fd, &alive);
	if (err)
		return err;
	if (!alive || message.kind != RT_SYNC_FORKED || fd < 0) {
		rt_closep(&fd);
		return rt_fail(RT_SYSTEM, "the process that enters the user namespace has ended");
	}
	while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
		;
	rt_closep(&process->pidfd);
	process->pidfd = fd;
	err = rt_pidfd_pid(fd, &process->pid);
	if (!err && process->pid < 0)
		return rt_fail(RT_SYSTEM, "the container's process has ended");
	return err;
}

static struct rt_error *set_oom_score_adj(const struct rt_init_plan *plan, pid_t pid)
{
	_cleanup_close_ int dir = -1;
	char name[16];

	snprintf(name, sizeof(name), "%d", pid);
	dir = openat(plan->proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return rt_fail_errno("cannot open '/proc/%s'", name);
	return rt_oom_score_adj_apply(*plan->process->oom_score_adj, dir, plan->rootless);
}

/* With the host's rights, on a child that has not begun or cannot begin without us. */
static struct rt_error *prepare_child(const struct rt_init_plan *plan, const struct rt_init_process *process)
{
	const struct rt_spec_process *want = plan->process;
	bool waits = must_wait(plan); /* as the child was told, whatever is done by then */
	struct rt_error *err = NULL;

	if (plan->clone_flags & CLONE_NEWUSER)
		err = rt_sys_write_id_maps(process->pid, &plan->spec->uid_mappings, &plan->spec->gid_mappings);
	if (!err && initial_affinity(plan))
		err = rt_cpu_affinity_apply(initial_affinity(plan), process->pid);
	if (!err && plan->cgroup && rt_cgroup_needs_adopt(plan->cgroup))
		err = rt_cgroup_adopt(plan->cgroup, process->pid);
	if (!err && want->oom_score_adj)
		err = set_oom_score_adj(plan, process->pid);
	if (!err && waits)
		err = rt_sync_send(process->sync_fd, RT_SYNC_GO, 0, -1);
	return err;
}

static struct rt_error *fetch_listener(const struct rt_init_requests *requests, const struct rt_init_process *process,
				       int number)
{
	int listener = (int)syscall(SYS_pidfd_getfd, process->pidfd, number, 0U);

	if (listener < 0)
		return rt_fail_errno("cannot take the seccomp listener over");
	if (!requests->take_listener) {
		close(listener);
		return NULL;
	}
	return requests->take_listener(requests->context, process->pid, listener);
}

static struct rt_error *serve_one(const struct rt_init_requests *requests, const struct rt_init_process *process,
				  const struct rt_sync_message *message, int fd)
{
	switch (message->kind) {
	case RT_SYNC_HOOKS:
		return requests->run_hooks ? requests->run_hooks(requests->context, process->pid) : NULL;
	case RT_SYNC_CONSOLE:
		if (fd < 0 || !requests->take_console)
			break;
		return requests->take_console(requests->context, fd);
	case RT_SYNC_LISTENER:
		return fetch_listener(requests, process, message->value);
	case RT_SYNC_READY:
		return requests->ready ? requests->ready(requests->context, process->pid, process->pidfd) : NULL;
	case RT_SYNC_GO:
	case RT_SYNC_ERROR:
	case RT_SYNC_FORKED:
		break;
	}
	rt_closep(&fd);
	return rt_fail(RT_SYSTEM, "unexpected message %d from the container's process", (int)message->kind);
}

static struct rt_error *serve(const struct rt_init_requests *requests, const struct rt_init_process *process)
{
	struct rt_sync_message message = { .kind = RT_SYNC_GO };

	while (message.kind != RT_SYNC_READY) {
		struct rt_error *err;
		bool alive;
		int fd;

		err = rt_sync_receive(process->sync_fd, &message, &fd, &alive);
		if (!err && !alive)
			return rt_fail(RT_SYSTEM, "the container's process ended before it was ready");
		if (!err)
			err = serve_one(requests, process, &message, fd);
		if (!err)
			err = rt_sync_send(process->sync_fd, RT_SYNC_GO, process->pid, -1);
		if (err)
			return err;
	}
	return NULL;
}

/* What the child says of itself is the cause; that our message found nobody is only the consequence. */
static struct rt_error *childs_own_error(struct rt_init_process *process, struct rt_error *err)
{
	struct rt_sync_message message;
	struct rt_error *said;
	bool alive;
	int fd;

	if (err->errnum != EPIPE)
		return err;
	said = rt_sync_receive(process->sync_fd, &message, &fd, &alive);
	if (!said) {
		rt_closep(&fd);
		return err;
	}
	rt_error_free(err);
	return said;
}

struct rt_error *rt_init_launch(struct rt_init_plan *plan, const struct rt_init_requests *requests,
				struct rt_init_process *ret)
{
	struct rt_init_process process = RT_INIT_PROCESS_NULL;
	struct rt_error *err;
	int sync[2];

	err = rt_sync_pair(sync);
	if (err)
		return err;
	process.sync_fd = sync[0];
	err = bear(plan, sync, &process);
	close(sync[1]);
	if (!err && plan->enters_user_first)
		err = follow_fork(&process);
	if (!err)
		err = prepare_child(plan, &process);
	if (!err)
		err = serve(requests, &process);
	if (err) {
		err = childs_own_error(&process, err);
		if (process.pidfd >= 0)
			rt_error_free(rt_pidfd_kill(process.pidfd, SIGKILL, NULL));
		while (process.pid > 0 && waitpid(process.pid, NULL, 0) < 0 && errno == EINTR)
			;
		rt_init_process_deinit(&process);
		return err;
	}
	*ret = process;
	return NULL;
}

/* Shared by both ends that start a process: silence until the end means that execve has happened. */
static struct rt_error *wait_for_exec(int socket)
{
	struct rt_sync_message message;
	struct rt_error *err;
	bool alive;
	int fd;

	err = rt_sync_receive(socket, &message, &fd, &alive);
	if (err)
		return err;
	rt_closep(&fd);
	if (alive)
		return rt_fail(RT_SYSTEM, "unexpected message %d from the container's process", (int)message.kind);
	return NULL;
}

struct rt_error *rt_init_wait_started(struct rt_init_process *process)
{
	return wait_for_exec(process->sync_fd);
}

struct rt_error *rt_init_start(int socket)
{
	struct rt_error *err = rt_sync_send(socket, RT_SYNC_GO, 0, -1);

	return err ? err : wait_for_exec(socket);
}

void rt_init_process_deinit(struct rt_init_process *process)
{
	rt_closep(&process->pidfd);
	rt_closep(&process->sync_fd);
	*process = RT_INIT_PROCESS_NULL;
}
