#include "runtime/cgroup/seat.h"

#include "runtime/base/proc.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void sit(pid_t parent)
{
	rt_signals_reset();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	close_range(0, ~0u, 0);
	for (;;)
		pause();
}

struct rt_error *rt_cgroup_seat_take(struct rt_cgroup *cgroup, struct rt_cgroup_seat *ret)
{
	struct rt_cgroup_seat seat = RT_CGROUP_SEAT_NULL;
	pid_t parent = getpid();
	struct rt_error *err;

	if (!cgroup || !rt_cgroup_needs_adopt(cgroup))
		return NULL;
	seat.pid = fork();
	if (seat.pid < 0)
		return rt_fail_errno("cannot fork");
	if (seat.pid == 0)
		sit(parent);
	err = rt_cgroup_adopt(cgroup, seat.pid);
	if (err)
		rt_cgroup_seat_leave(&seat);
	else
		*ret = seat;
	return err;
}

void rt_cgroup_seat_leave(struct rt_cgroup_seat *seat)
{
	if (seat->pid > 0) {
		kill(seat->pid, SIGKILL);
		while (waitpid(seat->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*seat = RT_CGROUP_SEAT_NULL;
}
