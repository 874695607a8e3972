#include "checkpoint/rescue.h"

#include "checkpoint/images.h"
#include "checkpoint/netlock.h"
#include "checkpoint/rpc.h"
#include "checkpoint/unpack.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <signal.h>

#define CHILDREN_LIMIT (1u << 20)
/* Between two looks at the init of a restore whose rt has been killed. */
#define LOOK_MS 100
/* A killed process that has not ended by then is stuck in the kernel. */
#define KILL_PATIENCE_MS 10000

static struct rt_error *read_run_id(int image_fd, char **ret)
{
	Img__Inventory *inventory;
	struct rt_error *err = rt_images_inventory(image_fd, &inventory);

	if (err)
		return err;
	err = rt_format(ret, "%s", inventory->run_id ? inventory->run_id : "");
	rt_unpack_free(&inventory->base);
	return err;
}

static struct rt_error *look_at_network(struct rt_restore_rescue *rescue, int image_fd, uint32_t criu_version)
{
	const struct rt_spec_namespace *network = &rescue->container->spec->namespaces[RT_NS_NETWORK];
	struct rt_error *err;

	if (!network->wanted || !network->path)
		return NULL;
	err = read_run_id(image_fd, &rescue->run_id);
	if (!err)
		err = rt_sys_open_namespace(network->path, RT_NS_NETWORK, &rescue->network_fd);
	if (!err)
		err = rt_netlock_is_there(rescue->network_fd, rescue->run_id, &rescue->was_locked);
	if (err || !rescue->was_locked || criu_version >= RT_CRIU_LOCKS_AGAIN)
		return err;
	/* What is there of CRIU's from now on is this restore's. */
	err = rt_netlock_take_over(rescue->network_fd, rescue->run_id);
	rescue->was_locked = err != NULL;
	return err;
}

static void remove_rules(const struct rt_restore_rescue *rescue)
{
	if (rescue->network_fd >= 0 && !rescue->was_locked)
		rt_warn_ignored(rt_netlock_remove(rescue->network_fd, rescue->run_id));
}

/* ---- the guard ---- */

enum { WORD_INIT = RT_GUARD_DISMISSED + 1, WORD_COMMITTED };

/* Of the guard alone. */
struct watch {
	struct rt_restore_rescue *rescue;
	int lock_fd;
	int init_fd; /* -1: there is none yet, or no more */
	struct rt_guard_message init;
	bool committed;
};

/* All of CRIU's group, which has us in it: a process outside of it goes on in our place. False: there is none. */
static bool end_group(pid_t criu)
{
	_cleanup_close_ int pipe_fd = -1;
	struct rt_error *err;
	pid_t pid;
	char none;

	if (getpgrp() != criu)
		return false;
	err = rt_fork_with_pipe(RT_PIPE_TO_CHILD, &pid, &pipe_fd);
	if (err) {
		rt_warn_ignored(err);
		return false;
	}
	if (pid > 0) {
		setpgid(pid, pid);
		kill(0, SIGKILL);
	}
	/* The other end closes with the one who killed itself, too. */
	while (read(pipe_fd, &none, 1) < 0 && errno == EINTR)
		;
	return true;
}

static void end_criu(const struct watch *watch)
{
	bool ended = false;

	/* It may be in a group with others than its own. */
	if (!end_group(watch->rescue->criu))
		rt_warn_ignored(rt_pidfd_kill(watch->rescue->criu_fd, SIGKILL, NULL));
	rt_warn_ignored(rt_pidfd_wait(watch->rescue->criu_fd, KILL_PATIENCE_MS, &ended));
}

/* CRIU gets the time to remove what files it made; it notices our end at its next notification. */
static void undo(const struct watch *watch)
{
	bool ended = false;

	rt_warn_ignored(rt_pidfd_wait(watch->rescue->criu_fd, RT_CRIU_PATIENCE_MS, &ended));
	end_criu(watch);
	if (watch->rescue->container->cgroup)
		rt_warn_ignored(rt_cgroup_signal(watch->rescue->container->cgroup, SIGKILL));
	if (watch->init_fd >= 0)
		rt_warn_ignored(rt_pidfd_kill(watch->init_fd, SIGKILL, NULL));
	remove_rules(watch->rescue);
}

static bool init_lives(const struct watch *watch)
{
	struct rt_proc_stat stat;
	bool found = false;

	/* Its pidfd would not tell: an init waits for the others of its pid namespace, and these for CRIU. */
	rt_error_free(rt_proc_stat(watch->init.pid, &stat, &found));
	return found && stat.start_time == watch->init.start_time && !stat.exiting && stat.state != 'Z';
}

static void see_off(const struct watch *watch)
{
	int patience_ms = RT_CRIU_PATIENCE_MS;
	bool ended = false;

	while (patience_ms > 0) {
		rt_warn_ignored(rt_pidfd_wait(watch->rescue->criu_fd, LOOK_MS, &ended));
		if (ended)
			return;
		if (!init_lives(watch))
			patience_ms -= LOOK_MS;
	}
	end_criu(watch);
}

static void watch(void *userdata, int pipe_fd)
{
	struct watch *watch = userdata;
	struct rt_guard_message message;

	rt_error_free(rt_sys_set_name("rt-guard"));
	while (rt_guard_hear(pipe_fd, &message)) {
		if (message.word == RT_GUARD_DISMISSED)
			return;
		if (message.word == WORD_INIT) {
			rt_closep(&watch->init_fd);
			watch->init_fd = rt_guard_open(&message);
			watch->init = message;
		}
		if (message.word == WORD_COMMITTED) {
			watch->committed = true;
			rt_closep(&watch->lock_fd);
		}
	}
	if (watch->committed)
		see_off(watch);
	else
		undo(watch);
}

/* ---- before, on the way, after ---- */

struct rt_error *rt_restore_rescue_arm(struct rt_restore_rescue *rescue, const struct rt_container *container, int image_fd, pid_t criu, uint32_t criu_version)
{
	struct watch watching = { .rescue = rescue, .lock_fd = container->lock_fd, .init_fd = -1 };
	struct rt_error *err;
	int keep[3];

	rescue->container = container;
	rescue->criu = criu;
	err = look_at_network(rescue, image_fd, criu_version);
	if (!err)
		err = rt_pidfd_open(criu, &rescue->criu_fd);
	if (err)
		return err;
	keep[0] = rescue->criu_fd;
	keep[1] = rescue->network_fd;
	keep[2] = container->lock_fd;
	return rt_guard_start(&(struct rt_guard_plan){
		.watch = watch, .userdata = &watching, .group = getpgid(criu) == criu ? criu : 0, .keep = keep, .keep_count = RT_ARRAY_SIZE(keep),
	}, &rescue->guard);
}

struct rt_error *rt_restore_rescue_note_init(struct rt_restore_rescue *rescue, pid_t pid)
{
	return rt_guard_tell(&rescue->guard, WORD_INIT, pid);
}

struct rt_error *rt_restore_rescue_commit(struct rt_restore_rescue *rescue)
{
	struct rt_error *err = rescue->network_fd >= 0 ? rt_netlock_let_go(rescue->network_fd, rescue->run_id) : NULL;

	return err ? err : rt_guard_tell(&rescue->guard, WORD_COMMITTED, 0);
}

void rt_restore_rescue_dismiss(struct rt_restore_rescue *rescue)
{
	rt_error_free(rt_guard_tell(&rescue->guard, RT_GUARD_DISMISSED, 0));
}

/* With rst_sibling the restored tasks are our children, not CRIU's: nobody else kills what a dead CRIU leaves waiting for it. Besides the guard we have
 * no other children by now. They are not waited for: one in a frozen cgroup ends only when our caller has thawed that. */
static void end_children(pid_t guard)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *at, *end;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	rt_error_free(rt_read_file_at(AT_FDCWD, path, CHILDREN_LIMIT, &text, NULL));
	for (at = text; at && *at; at = end) {
		pid_t pid = (pid_t)strtol(at, &end, 10);

		if (end == at)
			break;
		if (pid != guard)
			kill(pid, SIGKILL);
	}
}

void rt_restore_rescue_clean(struct rt_restore_rescue *rescue)
{
	end_children(rescue->guard.pid);
	remove_rules(rescue);
}

void rt_restore_rescue_deinit(struct rt_restore_rescue *rescue)
{
	rt_guard_dismiss(&rescue->guard);
	rt_closep(&rescue->criu_fd);
	rt_closep(&rescue->network_fd);
	free(rescue->run_id);
	*rescue = RT_RESTORE_RESCUE_NULL;
}
