#include "checkpoint/rescue.h"

#include "checkpoint/netlock.h"
#include "checkpoint/restart.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/ns.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* How long the guard waits for a CRIU that rolls back. */
#define CRIU_PATIENCE_MS 60000
/* How long a task takes from the thaw to its death by the trap, amply. */
#define TRAP_PATIENCE_MS 50

/* ---- what CRIU leaves in a container ---- */

/* A socket in repair mode neither sends nor says good-bye. Nobody but CRIU puts one of a container there. */
static void end_repair(int process, const char *number)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_getfd, process, atoi(number), 0U);
	int protocol = 0, on = 0, off = 0;
	socklen_t size = sizeof(protocol), room = sizeof(on);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0 || protocol != IPPROTO_TCP)
		return;
	if (getsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, &room) == 0 && on && setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) < 0)
		rt_warn_ignored(rt_fail_errno("cannot let a connection of the container go on"));
}

static void end_repairs_of(pid_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_close_ int process = -1;
	struct dirent *entry;
	char path[64], link[32];

	rt_error_free(rt_pidfd_open(pid, &process));
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = process < 0 ? NULL : opendir(path);
	while (dir && (entry = readdir(dir))) {
		ssize_t length = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);

		link[length > 0 ? length : 0] = '\0';
		if (rt_str_starts(link, "socket:"))
			end_repair(process, entry->d_name);
	}
}

static struct rt_error *end_repairs(const struct rt_rescue *rescue)
{
	_cleanup_free_ pid_t *pids = NULL;
	struct rt_error *err = NULL;
	size_t count = 0;

	if (rescue->container->cgroup)
		err = rt_cgroup_pids(rescue->container->cgroup, &pids, &count);
	if (!err && count == 0)
		end_repairs_of(rescue->container->state.pid);
	for (size_t i = 0; i < count && !err; i++)
		end_repairs_of(pids[i]);
	return err;
}

/* What CRIU left. */
static struct rt_error *unlock_network(const struct rt_rescue *rescue)
{
	_cleanup_free_ char *ids = NULL;
	struct rt_error *err;

	if (rescue->network_fd < 0 || rescue->work_fd < 0)
		return NULL;
	err = rt_netlock_run_ids(rescue->work_fd, rescue->log_name, &ids);
	if (!err)
		err = rt_netlock_remove(rescue->network_fd, ids);
	if (!err && rescue->lock == RT_LOCK_IPTABLES)
		err = rt_netlock_remove_iptables(rescue->network_fd);
	return err;
}

static struct rt_error *remove_lock(struct rt_rescue *rescue)
{
	return rescue->lock == RT_LOCK_OWN && rescue->network_fd >= 0 ? rt_netlock_remove_own(rescue->network_fd, &rescue->rules_fd) : NULL;
}

static struct rt_error *open_door(struct rt_rescue *rescue)
{
	return rescue->door && rescue->network_fd >= 0 ? rt_netlock_open_door(rescue->network_fd, &rescue->rules_fd) : NULL;
}

struct rt_error *rt_rescue_lock(struct rt_rescue *rescue)
{
	return rescue->lock == RT_LOCK_OWN ? rt_netlock_add_own(rescue->network_fd, &rescue->rules_fd) : NULL;
}

struct rt_error *rt_rescue_thaw(struct rt_rescue *rescue)
{
	struct rt_cgroup *cgroup = rescue->container->cgroup;
	struct rt_error *err;
	bool frozen;

	if (!cgroup)
		return NULL;
	err = rt_cgroup_is_frozen(cgroup, &frozen);
	if (err || frozen == rescue->was_frozen)
		return err;
	return rt_cgroup_freeze(cgroup, rescue->was_frozen);
}

/* Of tasks that CRIU has been in. */
static struct rt_error *thaw_mended(struct rt_rescue *rescue)
{
	struct rt_restart restart = RT_RESTART_NULL;
	struct rt_error *err;

	if (rescue->container->cgroup && !rescue->was_frozen)
		rt_warn_ignored(rt_restart_stop(rescue->container, &restart));
	err = rt_rescue_thaw(rescue);
	rt_restart_let_go(&restart);
	return err;
}

struct rt_error *rt_rescue_resume(struct rt_rescue *rescue)
{
	struct rt_error *lock = remove_lock(rescue), *door = open_door(rescue), *thaw = thaw_mended(rescue);
	struct rt_error *first = lock ? lock : door ? door : thaw;

	if (door != first)
		rt_error_free(door);
	if (thaw != first)
		rt_error_free(thaw);
	return first;
}

static bool has_ended(const struct rt_rescue *rescue, int patience_ms)
{
	bool ended = true;

	if (rescue->init_fd >= 0)
		rt_error_free(rt_pidfd_wait(rescue->init_fd, patience_ms, &ended));
	return ended;
}

bool rt_rescue_is_alive(const struct rt_rescue *rescue)
{
	return !has_ended(rescue, 0);
}

bool rt_rescue_ends_soon(const struct rt_rescue *rescue)
{
	return has_ended(rescue, TRAP_PATIENCE_MS);
}

/* The freezer last: what runs should find its connections in order. */
void rt_rescue_revive(struct rt_rescue *rescue)
{
	if (!rt_rescue_is_alive(rescue))
		return;
	rt_warn_ignored(end_repairs(rescue));
	rt_warn_ignored(unlock_network(rescue));
	rt_warn_ignored(remove_lock(rescue));
	rt_warn_ignored(open_door(rescue));
	rt_warn_ignored(thaw_mended(rescue));
}

/* ---- before ---- */

struct rt_error *rt_rescue_close_door(struct rt_rescue *rescue)
{
	return rt_netlock_close_door(rescue->network_fd, &rescue->rules_fd);
}

struct rt_error *rt_rescue_freeze(struct rt_rescue *rescue)
{
	struct rt_cgroup *cgroup = rescue->container->cgroup;

	if (!cgroup || rescue->was_frozen || (!rt_cgroup_directory(cgroup, "freezer") && !rt_cgroup_directory(cgroup, "")))
		return NULL;
	return rt_cgroup_freeze(cgroup, true);
}

/* ---- the guard ---- */

enum { WORD_CRIU = RT_GUARD_DISMISSED + 1 };

/* A CRIU that rolls back must have done so: it would stop halfway in a container that is thawed under its hands. */
static void wait_for(int criu_fd)
{
	bool ended;

	if (criu_fd >= 0)
		rt_error_free(rt_pidfd_wait(criu_fd, CRIU_PATIENCE_MS, &ended));
}

/* First CRIU's pid, then the dismissal, where all went well. */
static void watch(void *userdata, int pipe_fd)
{
	struct rt_rescue *rescue = userdata;
	struct rt_guard_message message;
	int criu_fd;

	rt_error_free(rt_sys_set_name("rt-guard"));
	if (!rt_guard_hear(pipe_fd, &message) || message.word != WORD_CRIU)
		return;
	criu_fd = rt_guard_open(&message);
	if (rt_guard_hear(pipe_fd, &message))
		return;
	wait_for(criu_fd);
	rt_rescue_revive(rescue);
}

struct rt_error *rt_rescue_arm(struct rt_rescue *rescue, const struct rt_container *container, int work_fd, const char *log_name,
			       enum rt_lock lock, bool door)
{
	struct rt_error *err;

	rescue->container = container;
	rescue->work_fd = work_fd;
	rescue->log_name = log_name;
	rescue->lock = lock;
	rescue->door = door;
	err = rt_sys_open_namespace_of(container->state.pid, RT_NS_NETWORK, &rescue->network_fd);
	if (!err)
		err = rt_container_pidfd(container, &rescue->init_fd);
	if (!err && container->cgroup)
		err = rt_cgroup_is_frozen(container->cgroup, &rescue->was_frozen);
	return err ? err : rt_guard_start(&(struct rt_guard_plan){ .watch = watch, .userdata = rescue }, &rescue->guard);
}

struct rt_error *rt_rescue_watch(struct rt_rescue *rescue, pid_t criu)
{
	return rt_guard_tell(&rescue->guard, WORD_CRIU, criu);
}

struct rt_error *rt_rescue_hold(struct rt_rescue *rescue)
{
	return rt_guard_tell(&rescue->guard, RT_GUARD_DISMISSED, 0);
}

void rt_rescue_deinit(struct rt_rescue *rescue)
{
	rt_guard_dismiss(&rescue->guard);
	rt_closep(&rescue->init_fd);
	rt_closep(&rescue->rules_fd);
	rt_closep(&rescue->network_fd);
	*rescue = RT_RESCUE_NULL;
}

/* ---- much later ---- */

/* 0: none. */
static pid_t tracer_of(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	char path[32], *line;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	rt_error_free(rt_read_file_at(AT_FDCWD, path, 64u << 10, &text, NULL));
	line = text ? strstr(text, "\nTracerPid:") : NULL;
	return line ? atoi(line + strlen("\nTracerPid:")) : 0;
}

/* And nobody's debugger. */
static bool is_criu(pid_t pid)
{
	_cleanup_free_ char *name = NULL;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	rt_error_free(rt_read_file_at(AT_FDCWD, path, 64, &name, NULL));
	return name && rt_str_starts(name, "criu");
}

/* It wants the tasks thawed for what it undoes. */
static void let_criu_end(const struct rt_container *container)
{
	pid_t criu = tracer_of(container->state.pid);
	_cleanup_close_ int criu_fd = -1;

	if (criu == 0 || !is_criu(criu))
		return;
	rt_error_free(rt_pidfd_open(criu, &criu_fd));
	rt_warn_ignored(rt_cgroup_freeze(container->cgroup, false));
	wait_for(criu_fd);
	if (tracer_of(container->state.pid) == criu)
		kill(criu, SIGKILL);
}

struct rt_error *rt_rescue_late(const struct rt_container *container, const char *work_path, bool was_frozen, bool own_network)
{
	_cleanup_close_ int work_fd = open(work_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct rt_rescue rescue = RT_RESCUE_NULL;
	struct rt_error *err;

	/* Without it nobody knows what CRIU called its rules; all the rest can be undone. */
	if (work_fd < 0 && errno != ENOENT)
		return rt_fail_errno("cannot open '%s'", work_path);
	if (container->cgroup)
		let_criu_end(container);
	rescue.container = container;
	rescue.work_fd = work_fd;
	rescue.log_name = "dump.log";
	rescue.lock = own_network ? RT_LOCK_OWN : RT_LOCK_CRIU;
	rescue.door = own_network;
	rescue.was_frozen = was_frozen;
	err = rt_sys_open_namespace_of(container->state.pid, RT_NS_NETWORK, &rescue.network_fd);
	if (!err)
		err = rt_container_pidfd(container, &rescue.init_fd);
	if (!err)
		rt_rescue_revive(&rescue);
	rt_rescue_deinit(&rescue);
	return err;
}
