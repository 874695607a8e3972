#include "runtime/cgroup/warm.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/cgroup/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The lock stays warm for a grace period at least, which is longer than this. */
#define PAUSE_MS 3
#define MOST_ROUNDS 330

/* `cgroup.procs` of the cgroup we are in, in whichever hierarchy; -1: there is none that we may write. */
static int open_own(void)
{
	_cleanup_(rt_arena_deinit) struct rt_arena arena = RT_ARENA_NULL;
	struct rt_layout layout = { .count = 0 };
	struct rt_error *err = rt_layout_find(RT_LAYOUT_NEED_OWN, &arena, &layout);
	char path[PATH_MAX];
	int fd = -1;

	for (size_t i = 0; i < layout.count && !err && fd < 0; i++) {
		const struct rt_cgroup_mount *mount = &layout.mounts[i];

		if (!mount->own || snprintf(path, sizeof(path), "%s%s/cgroup.procs", mount->mount_point, mount->own) >= (int)sizeof(path))
			continue;
		fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	rt_error_free(err);
	return fd;
}

static void keep_warm(int own, int life)
{
	struct pollfd end = { .fd = life, .events = POLLIN };
	char word;
	ssize_t got;

	do {
		got = read(life, &word, 1);
	} while (got < 0 && errno == EINTR);
	if (got != 1)
		return;
	for (int i = 0; i < MOST_ROUNDS; i++) {
		/* "0" is the writer itself. */
		if (write(own, "0", 1) < 0 || poll(&end, 1, PAUSE_MS) != 0)
			return;
	}
}

void rt_cgroup_warm_prepare(struct rt_cgroup_warmer *warmer)
{
	_cleanup_close_ int own = open_own();

	*warmer = RT_CGROUP_WARMER_NULL;
	if (own < 0)
		return;
	rt_error_free(rt_fork_with_pipe(RT_PIPE_TO_CHILD, &warmer->pid, &warmer->fd));
	if (warmer->fd >= 0 && warmer->pid == 0) {
		keep_warm(own, warmer->fd);
		_exit(0);
	}
}

static bool has_ended(const struct rt_cgroup_warmer *warmer)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)warmer->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

void rt_cgroup_warm(struct rt_cgroup_warmer *warmer)
{
	if (warmer->begun && has_ended(warmer))
		rt_cgroup_warm_end(warmer);
	if (warmer->fd < 0)
		rt_cgroup_warm_prepare(warmer);
	if (warmer->fd >= 0 && !warmer->begun)
		rt_error_free(rt_write_pipe(warmer->fd, "", 1));
	warmer->begun = warmer->fd >= 0;
}

void rt_cgroup_warm_stop(struct rt_cgroup_warmer *warmer)
{
	rt_closep(&warmer->fd);
}

void rt_cgroup_warm_end(struct rt_cgroup_warmer *warmer)
{
	rt_cgroup_warm_stop(warmer);
	while (warmer->pid > 0 && waitpid(warmer->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*warmer = RT_CGROUP_WARMER_NULL;
}
