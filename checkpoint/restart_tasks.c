#include "checkpoint/restart.h"

#include "checkpoint/members.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/sys/ptrace.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

/* From the thaw to a thread's stop, amply. */
#define STOP_US 1000000

/* What a frozen thread is in, by /proc/PID/syscall. False: in no call, or it has ended. */
static bool read_call(int dir_fd, const char *tid, long *ret_call, uint64_t ret_arguments[4])
{
	_cleanup_free_ char *text = NULL;
	char name[NAME_MAX + sizeof("/syscall")];

	snprintf(name, sizeof(name), "%s/syscall", tid);
	rt_error_free(rt_read_file_at(dir_fd, name, 512, &text, NULL));
	return text && sscanf(text, "%ld 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64, ret_call, &ret_arguments[0], &ret_arguments[1], &ret_arguments[2],
			      &ret_arguments[3]) == 5;
}

static struct rt_error *add(struct rt_restart *restart, pid_t tid)
{
	if (restart->count == restart->room) {
		size_t room = restart->room ? restart->room * 2 : 16;
		pid_t *more = realloc(restart->tids, room * sizeof(*more));

		if (!more)
			return rt_error_oom();
		restart->tids = more;
		restart->room = room;
	}
	/* Where that fails the thread has ended, or is another's to trace. */
	if (rt_sys_trace_seize(tid, false) == 0 && rt_sys_trace_interrupt(tid) == 0)
		restart->tids[restart->count++] = tid;
	return NULL;
}

static struct rt_error *stop_threads(struct rt_restart *restart, pid_t pid)
{
	_cleanup_closedir_ DIR *dir = NULL;
	const struct dirent *entry;
	struct rt_error *err = NULL;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && !err && (entry = readdir(dir))) {
		uint64_t arguments[4];
		long call;

		if (*entry->d_name != '.' && read_call(dirfd(dir), entry->d_name, &call, arguments) && rt_restart_says_the_same(call, arguments))
			err = add(restart, (pid_t)strtol(entry->d_name, NULL, 10));
	}
	return err;
}

struct rt_error *rt_restart_stop(const struct rt_container *container, struct rt_restart *ret)
{
	_cleanup_(rt_members_deinit) struct rt_members members = RT_MEMBERS_NULL;
	struct rt_error *err = rt_members_find(container, &members);

	for (size_t i = 0; i < members.count && !err; i++)
		err = stop_threads(ret, members.pids[i]);
	return err;
}

static void mend(pid_t tid)
{
	struct rt_sys_registers registers;
	uint64_t arguments[4];
	long call;

	if (rt_sys_trace_get_registers(tid, &registers) < 0 || !rt_sys_registers_interrupted(&registers, &call, arguments) || !rt_restart_says_the_same(call, arguments))
		return;
	rt_sys_registers_make_again(&registers);
	if (rt_sys_trace_set_registers(tid, &registers) < 0)
		rt_debug("cannot have thread %d make its system call again", tid);
}

void rt_restart_let_go(struct rt_restart *restart)
{
	int64_t patience_us = STOP_US;
	sigset_t child, before;
	int signal;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	for (size_t i = 0; i < restart->count; i++) {
		pid_t tid = restart->tids[i];
		enum rt_sys_stop stop = rt_sys_trace_wait(tid, patience_us, &signal);

		/* A signal to come first; the stop that we asked for comes after it. */
		while (stop == RT_STOP_SIGNAL && rt_sys_trace_continue(tid, signal) == 0)
			stop = rt_sys_trace_wait(tid, patience_us, &signal);
		if (stop == RT_STOP_TRAP)
			mend(tid);
		if (stop == RT_STOP_LATE)
			patience_us = 0; /* it has not been thawed, nor have the others; our end lets go of them */
		if (stop != RT_STOP_GONE)
			rt_sys_trace_detach(tid);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	free(restart->tids);
	*restart = RT_RESTART_NULL;
}
