#include "checkpoint/dump_private.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* Of a server that takes more connections all the time than it accepts no dump can be made. */
#define FREEZE_TRIES 5

/* By a signal, frozen on top of it or not: the state of a task does not tell any more once the freezer has it. */
static struct rt_error *is_stopped(pid_t pid, bool *ret)
{
	_cleanup_free_ char *place = NULL;
	struct rt_proc_stat stat;
	struct rt_error *err;
	char path[32];
	bool found;

	*ret = false;
	err = rt_proc_stat(pid, &stat, &found);
	if (err || !found)
		return err;
	snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
	rt_error_free(rt_read_file_at(AT_FDCWD, path, 256, &place, NULL)); /* it may have ended meanwhile */
	*ret = stat.state == 'T' || (place && rt_str_equal(place, "do_signal_stop"));
	return NULL;
}

/* A stopped task can't be seized while the freezer of v1 holds it: ptrace waits for ever for it to move. CRIU has to do without the
 * freezer then, and seize one after the other. */
static struct rt_error *look_for_stopped(const struct rt_dump *dump, bool *ret)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	struct rt_error *err;
	bool frozen;

	*ret = false;
	err = rt_cgroup_pids(dump->container.cgroup, &pids, &count);
	for (size_t i = 0; i < count && !err && !*ret; i++)
		err = is_stopped(pids[i], ret);
	if (err || !*ret)
		return err;
	err = rt_cgroup_is_frozen(dump->container.cgroup, &frozen);
	if (!err && frozen)
		err = rt_fail(RT_CRIU, "the container is paused and one of its processes is stopped by a signal, which CRIU can't cope with "
				       "in cgroup v1: resume it first");
	return err;
}

struct rt_error *rt_dump_set_freezer(struct rt_dump *dump)
{
	const struct rt_cgroup *cgroup = dump->container.cgroup;
	const char *directory;
	struct rt_error *err;
	bool stopped;

	if (!cgroup)
		return NULL;
	directory = rt_cgroup_directory(cgroup, "freezer");
	if (directory) {
		err = look_for_stopped(dump, &stopped);
		if (err || stopped)
			return err;
	} else {
		directory = rt_cgroup_directory(cgroup, "");
	}
	if (!directory)
		return NULL;
	dump->options.opts.freeze_cgroup = rt_arena_printf(&dump->options.arena, "%s", directory);
	return dump->options.opts.freeze_cgroup ? NULL : rt_error_oom();
}

/* A handshake that began before the door was closed may end after the container was looked at. */
static struct rt_error *freeze_settled(struct rt_dump *dump)
{
	const struct rt_dump_hooks *hooks = dump->hooks;
	struct rt_error *err = rt_rescue_close_door(&dump->rescue);
	int tries = dump->rescue.was_frozen ? 1 : FREEZE_TRIES;

	while (!err) {
		hooks->settle(hooks->userdata);
		err = rt_rescue_freeze(&dump->rescue);
		if (err || hooks->is_settled(hooks->userdata) || --tries == 0)
			break;
		err = rt_rescue_thaw(&dump->rescue);
	}
	return err;
}

bool rt_dump_keeps_door(const struct rt_dump *dump)
{
	return dump->hooks && dump->hooks->settle;
}

struct rt_error *rt_dump_freeze(struct rt_dump *dump)
{
	struct rt_error *err = NULL;

	if (dump->settings->pre_dump)
		return NULL;
	if (dump->options.opts.freeze_cgroup)
		err = rt_dump_keeps_door(dump) ? freeze_settled(dump) : rt_rescue_freeze(&dump->rescue);
	else if (dump->hooks && dump->hooks->frozen)
		err = rt_fail(RT_CRIU, "the container can't be frozen as a whole: it has no cgroup with a freezer, or one of its processes is stopped by a signal");
	/* Before the lock: handshakes that are in the middle are to end, or to begin anew elsewhere. A lock would swallow their last packets. */
	if (!err && dump->hooks && dump->hooks->frozen)
		err = dump->hooks->frozen(dump->hooks->userdata, dump->container.state.pid, dump->manifest->container, dump->image_fd);
	return err ? err : rt_rescue_lock(&dump->rescue);
}

static bool criu_lives(const struct rt_dump *dump)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, (id_t)rt_criu_pid(dump->criu), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

/* CRIU holds the tasks by ptrace alone, its freezer is open: were it killed, they would run. */
struct rt_error *rt_dump_hold(struct rt_dump *dump)
{
	struct rt_error *err = rt_cgroup_freeze(dump->container.cgroup, true);

	/* After the freezing: if it lives now, nothing has run since the images were made. */
	if (!err && !criu_lives(dump))
		err = rt_fail(RT_CRIU, "criu has died, and the container may have run on");
	if (!err)
		err = rt_rescue_hold(&dump->rescue);
	dump->held = true;
	return err;
}

/* Given away, all of it dies before anything can let it run, whether CRIU still lives or not. Else CRIU needs the tasks to be thawed for undoing what it did to them;
 * where it has died, that is done last (rescue.h). */
struct rt_error *rt_dump_end_hold(struct rt_dump *dump, struct rt_error *err)
{
	if (!err) {
		dump->given_away = true;
		return rt_cgroup_signal(dump->container.cgroup, SIGKILL);
	}
	if (criu_lives(dump))
		rt_warn_ignored(rt_cgroup_freeze(dump->container.cgroup, false));
	return err;
}

enum rt_lock rt_dump_choose_lock(const struct rt_dump *dump)
{
	const struct rt_spec_namespace *network = &dump->spec->namespaces[RT_NS_NETWORK];
	const char *wanted = dump->settings->network_lock;

	if (dump->inside)
		return wanted && rt_str_equal(wanted, "skip") ? RT_LOCK_CRIU : RT_LOCK_OWN;
	return network->wanted && !network->path && wanted && rt_str_equal(wanted, "iptables") ? RT_LOCK_IPTABLES : RT_LOCK_CRIU;
}
