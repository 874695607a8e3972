#include "migrate/halt.h"

#include "migrate/pause.h"
#include "runtime/base/proc.h"
#include "runtime/sys/cred.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

struct watch {
	struct rt_halt *halt;
	int tool; /* pidfd */
};

/* It is the process whose end counts, not that of the pipe: other children of the tool hold that open. */
static void watch(void *userdata, int pipe_fd)
{
	const struct watch *watch = userdata;
	struct pollfd fds[] = { { .fd = watch->tool, .events = POLLIN }, { .fd = pipe_fd, .events = POLLIN } };
	struct rt_guard_message message;

	rt_error_free(rt_sys_set_name("rt-halt"));
	while (poll(fds, RT_ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
		;
	/* The end of the pipe may come before that of the process. */
	if (fds[1].revents && rt_guard_hear(pipe_fd, &message))
		return;
	if (*watch->halt->halted)
		rt_error_free(rt_cgroup_freeze(watch->halt->cgroup, false));
}

struct rt_error *rt_halt_start(struct rt_cgroup *cgroup, struct rt_halt *ret)
{
	_cleanup_close_ int tool = -1;
	struct rt_halt halt = { .cgroup = cgroup };
	struct rt_error *err;
	void *shared;

	if (!cgroup || (!rt_cgroup_directory(cgroup, "freezer") && !rt_cgroup_directory(cgroup, "")))
		return NULL;
	err = rt_pidfd_open(getpid(), &tool);
	if (err)
		return err;
	shared = mmap(NULL, sizeof(*halt.halted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return rt_fail_errno("cannot map memory");
	halt.halted = shared;
	err = rt_guard_start(&(struct rt_guard_plan){ .watch = watch, .userdata = &(struct watch){ &halt, tool } }, &halt.guard);
	if (err) {
		munmap(shared, sizeof(*halt.halted));
		return err;
	}
	*ret = halt;
	return NULL;
}

void rt_halt_end(struct rt_halt *halt)
{
	rt_guard_dismiss(&halt->guard);
	if (halt->halted)
		munmap((void *)halt->halted, sizeof(*halt->halted));
	*halt = RT_HALT_NULL;
}

static struct rt_error *resume(void *userdata)
{
	struct rt_halt *halt = userdata;
	struct rt_error *err;

	if (!*halt->halted)
		return NULL;
	err = rt_cgroup_freeze(halt->cgroup, false);
	/* One that can't be let go is the guard's to try again. */
	if (!err)
		*halt->halted = 0;
	return err;
}

static struct rt_error *stop(void *userdata)
{
	struct rt_halt *halt = userdata;
	bool paused;
	struct rt_error *err = rt_cgroup_is_frozen(halt->cgroup, &paused);

	if (err || paused)
		return err;
	*halt->halted = 1;
	err = rt_cgroup_freeze(halt->cgroup, true);
	if (err) {
		rt_error_free(resume(halt));
		return err;
	}
	rt_pause("tool-halted");
	return NULL;
}

struct rt_tracker_pause rt_halt_pause(struct rt_halt *halt)
{
	return (struct rt_tracker_pause){ .pause = stop, .resume = resume, .userdata = halt };
}
