/* Who is in the cgroup, and signals to all of them. */
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/private.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <time.h>

#define PROCS_LIMIT (16 << 20)
/* A process that hasn't gone after SIGKILL by then hangs in the kernel. */
#define KILL_PATIENCE_MS 10000
/* The container may nest cgroups as deep as the kernel lets it; our stack ends earlier. */
#define DEPTH_MOST 256

static struct rt_error *walk(int dir_fd, const char *path, unsigned depth, rt_cgroup_visit *visit, void *userdata)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct rt_error *err = NULL;
	struct dirent *entry;
	int own = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = own < 0 ? NULL : fdopendir(own);
	if (!dir) {
		rt_closep(&own);
		if (errno == ENOENT)
			return NULL; /* removed meanwhile */
		return rt_fail_errno("cannot read cgroup '%s'", path);
	}
	while (!err && (entry = readdir(dir))) {
		_cleanup_close_ int child = -1;
		char below[PATH_MAX];

		if (entry->d_type != DT_DIR || rt_str_equal(entry->d_name, ".") || rt_str_equal(entry->d_name, ".."))
			continue;
		if (depth >= DEPTH_MOST || snprintf(below, sizeof(below), "%s/%s", path, entry->d_name) >= (int)sizeof(below))
			return rt_fail_with(ENAMETOOLONG, "cgroups are nested too deep below '%s'", path);
		child = openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child >= 0)
			err = walk(child, below, depth + 1, visit, userdata);
		else if (errno != ENOENT)
			err = rt_fail_errno("cannot open cgroup '%s'", below);
	}
	return err ? err : visit(dir_fd, path, userdata);
}

struct rt_error *rt_place_walk(const struct rt_cgroup_place *place, rt_cgroup_visit *visit, void *userdata)
{
	_cleanup_close_ int fd = open(place->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		if (errno == ENOENT)
			return NULL;
		return rt_fail_errno("cannot open cgroup '%s'", place->directory);
	}
	return walk(fd, place->directory, 0, visit, userdata);
}

struct rt_cgroup_place *rt_cgroup_process_place(const struct rt_cgroup *cgroup)
{
	static const char *const order[] = { "", "freezer", "devices", "pids", "name=systemd" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(order); i++) {
		struct rt_cgroup_place *place = rt_cgroup_place(cgroup, order[i]);

		if (place)
			return place;
	}
	return cgroup->count ? &cgroup->places[0] : NULL;
}

struct pid_list {
	pid_t *pids;
	size_t count, room;
};

static void pid_list_deinit(struct pid_list *list)
{
	rt_freep(&list->pids);
}

static struct rt_error *add_pid(struct pid_list *list, pid_t pid)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		pid_t *grown = reallocarray(list->pids, room, sizeof(*grown));

		if (!grown)
			return rt_error_oom();
		list->pids = grown;
		list->room = room;
	}
	list->pids[list->count++] = pid;
	return NULL;
}

static bool failed_with(const struct rt_error *err, int errnum)
{
	while (err->cause)
		err = err->cause;
	return err->errnum == errnum;
}

/* Processes we have no name for, outside of our pid namespace, are listed as 0. */
static struct rt_error *collect(int dir_fd, const char *path, void *userdata)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_read_file_at(dir_fd, "cgroup.procs", PROCS_LIMIT, &text, NULL);

	/* EOPNOTSUPP: threads only, whose processes the cgroup above lists. ENODEV, ENOENT: it is being removed. */
	if (err && (failed_with(err, EOPNOTSUPP) || failed_with(err, ENODEV) || failed_with(err, ENOENT))) {
		rt_error_free(err);
		return NULL;
	}
	if (err)
		return rt_while(err, "in cgroup '%s'", path);
	for (char *at = text; !err && *at;) {
		long pid = strtol(at, &at, 10);

		if (pid > 0)
			err = add_pid(userdata, (pid_t)pid);
		at += strspn(at, "\n ");
	}
	return err;
}

static struct rt_error *list_pids(const struct rt_cgroup *cgroup, struct pid_list *list)
{
	const struct rt_cgroup_place *place = rt_cgroup_process_place(cgroup);

	list->count = 0;
	return place ? rt_place_walk(place, collect, list) : NULL;
}

struct rt_error *rt_cgroup_pids(const struct rt_cgroup *cgroup, pid_t **ret, size_t *ret_count)
{
	_cleanup_(pid_list_deinit) struct pid_list list = { .count = 0 };
	struct rt_error *err = list_pids(cgroup, &list);

	if (err)
		return err;
	*ret_count = list.count;
	*ret = rt_take_ptr(list.pids);
	return NULL;
}

static void pause_ms(unsigned ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

static struct rt_error *signal_listed(const struct rt_cgroup *cgroup, struct pid_list *list, int signal)
{
	struct rt_error *err = list_pids(cgroup, list);

	for (size_t i = 0; !err && i < list->count; i++)
		if (kill(list->pids[i], signal) < 0 && errno != ESRCH)
			err = rt_fail_errno("cannot send signal %d to process %d", signal, list->pids[i]);
	return err;
}

/* A frozen v1 task doesn't die, it only has the signal pending. Nothing to thaw is fine. */
static void thaw(struct rt_cgroup *cgroup)
{
	const struct rt_cgroup_place *place = rt_cgroup_place_for(cgroup, "freezer");

	if (place)
		rt_error_free(rt_place_write(place, place->v2 ? "cgroup.freeze" : "freezer.state", place->v2 ? "0" : "THAWED"));
}

static bool freeze(struct rt_cgroup *cgroup)
{
	struct rt_error *err = rt_cgroup_freeze(cgroup, true);

	if (!err)
		return true;
	rt_debug("signalling without a freeze: %s", err->message);
	rt_error_free(err);
	return false;
}

/* cgroup.kill takes the cgroup and all below it at once, forks too (5.14). False: not there. */
static bool kill_at_once(const struct rt_cgroup *cgroup)
{
	const struct rt_cgroup_place *place = rt_cgroup_v2_place(cgroup);
	struct rt_error *err;

	if (!place)
		return false;
	err = rt_place_write(place, "cgroup.kill", "1");
	rt_error_free(err);
	return !err;
}

static struct rt_error *kill_all(struct rt_cgroup *cgroup)
{
	_cleanup_(pid_list_deinit) struct pid_list list = { .count = 0 };
	struct rt_error *err = NULL;
	unsigned waited = 0;

	if (!kill_at_once(cgroup)) {
		/* What can't run can't fork away from us. */
		freeze(cgroup);
		err = signal_listed(cgroup, &list, SIGKILL);
	}
	thaw(cgroup);
	for (unsigned wait = 1; !err; wait = wait < 50 ? 2 * wait : 50) {
		err = signal_listed(cgroup, &list, SIGKILL);
		if (err || list.count == 0)
			break;
		if (waited >= KILL_PATIENCE_MS)
			err = rt_fail(RT_SYSTEM, "%zu processes did not die, process %d for one", list.count, list.pids[0]);
		pause_ms(wait);
		waited += wait;
	}
	return err;
}

struct rt_error *rt_cgroup_signal(struct rt_cgroup *cgroup, int signal)
{
	_cleanup_(pid_list_deinit) struct pid_list list = { .count = 0 };
	bool was_frozen = true, frozen = false;
	struct rt_error *err;

	if (!cgroup->created)
		return NULL; /* who is there may not be ours to kill */
	if (signal == SIGKILL)
		return kill_all(cgroup);
	/* Frozen for a moment, so that none forks between being listed and being told. */
	err = rt_cgroup_is_frozen(cgroup, &was_frozen);
	if (err)
		return err;
	if (!was_frozen)
		frozen = freeze(cgroup);
	err = signal_listed(cgroup, &list, signal);
	if (frozen)
		thaw(cgroup);
	return err;
}
