#include "migrate/halt.h"

#include "migrate/pause.h"
#include "runtime/base/cleanup.h"
#include "runtime/base/proc.h"
#include "runtime/sys/cred.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Waits by a descriptor for the process, not for the end of a pipe: other children of the tool would hold that open. */
static void guard(struct rt_halt *halt, int tool)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	bool ended;

	setsid();
	rt_error_free(rt_sys_set_name("rt-halt"));
	for (int stream = STDIN_FILENO; stream <= STDERR_FILENO && null >= 0; stream++)
		dup2(null, stream);
	rt_error_free(rt_pidfd_wait(tool, -1, &ended));
	if (*halt->halted)
		rt_error_free(rt_cgroup_freeze(halt->cgroup, false));
	_exit(0);
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
	halt.guard = fork();
	if (halt.guard == 0)
		guard(&halt, tool);
	if (halt.guard < 0) {
		err = rt_fail_errno("cannot fork");
		munmap(shared, sizeof(*halt.halted));
		return err;
	}
	*ret = halt;
	return NULL;
}

void rt_halt_end(struct rt_halt *halt)
{
	if (halt->guard > 0) {
		kill(halt->guard, SIGKILL);
		while (waitpid(halt->guard, NULL, 0) < 0 && errno == EINTR)
			;
		munmap((void *)halt->halted, sizeof(*halt->halted));
	}
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
