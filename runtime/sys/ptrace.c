#include "runtime/sys/ptrace.h"

#include "runtime/base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

/* Linux 6.4; older headers lack it. */
#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif

int rt_sys_trace_seize(pid_t tid, bool suspend_seccomp)
{
	/* Never EXITKILL: that our death costs the container's life is the one thing that must not be. */
	long options = PTRACE_O_TRACESYSGOOD | (suspend_seccomp ? PTRACE_O_SUSPEND_SECCOMP : 0);

	return ptrace(PTRACE_SEIZE, tid, NULL, options) < 0 ? -errno : 0;
}

int rt_sys_trace_interrupt(pid_t tid)
{
	return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 ? -errno : 0;
}

static enum rt_sys_stop stop_of(int status, int *ret_signal)
{
	if (!WIFSTOPPED(status))
		return RT_STOP_GONE;
	if (status >> 16 == PTRACE_EVENT_STOP)
		return RT_STOP_TRAP;
	if (WSTOPSIG(status) == (SIGTRAP | 0x80))
		return RT_STOP_CALL;
	*ret_signal = WSTOPSIG(status);
	return RT_STOP_SIGNAL;
}

enum rt_sys_stop rt_sys_trace_wait(pid_t tid, int64_t timeout_us, int *ret_signal)
{
	int64_t until = (int64_t)rt_now_us() + timeout_us;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		struct timespec left = { 0 };
		int status;
		pid_t got = waitpid(tid, &status, WNOHANG | __WALL);

		if (got == tid)
			return stop_of(status, ret_signal);
		if (got < 0 && errno != EINTR)
			return RT_STOP_GONE;
		if (timeout_us >= 0) {
			int64_t us = until - (int64_t)rt_now_us();

			if (us <= 0)
				return RT_STOP_LATE;
			left = (struct timespec){ .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
		}
		sigtimedwait(&child, NULL, timeout_us < 0 ? NULL : &left);
	}
}

int rt_sys_trace_continue(pid_t tid, int signal)
{
	return ptrace(PTRACE_CONT, tid, NULL, (long)signal) < 0 ? -errno : 0;
}

int rt_sys_trace_continue_to_call(pid_t tid)
{
	return ptrace(PTRACE_SYSCALL, tid, NULL, NULL) < 0 ? -errno : 0;
}

int rt_sys_trace_detach(pid_t tid)
{
	return ptrace(PTRACE_DETACH, tid, NULL, NULL) < 0 ? -errno : 0;
}

int rt_sys_trace_signal_info(pid_t tid, siginfo_t *ret)
{
	return ptrace(PTRACE_GETSIGINFO, tid, NULL, ret) < 0 ? -errno : 0;
}

/* The parts of the kernel's two structures that we look at. */
struct rseq_configuration {
	uint64_t area;
	uint32_t area_size, signature, flags, pad;
};
struct critical_section {
	uint32_t version, flags;
	uint64_t start, length, abort;
};

static bool in_critical_section(pid_t tid, uint64_t instruction)
{
	struct rseq_configuration rseq = { 0 };
	struct critical_section section;
	long words[sizeof(section) / sizeof(long)];
	long pointer;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(rseq), &rseq) < 0 || !rseq.area)
		return false;
	errno = 0;
	pointer = ptrace(PTRACE_PEEKDATA, tid, rseq.area + 8, NULL);
	if (errno || !pointer)
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		words[i] = ptrace(PTRACE_PEEKDATA, tid, (uint64_t)pointer + i * sizeof(long), NULL);
		if (errno)
			return false;
	}
	memcpy(&section, words, sizeof(section));
	return instruction - section.start < section.length;
}

bool rt_sys_trace_is_delicate(pid_t tid, const struct rt_sys_registers *registers)
{
	struct {
		uint64_t mode, selector, offset, length;
	} dispatch = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, tid, sizeof(dispatch), &dispatch) == 0 && dispatch.mode)
		return true;
	return in_critical_section(tid, rt_sys_registers_instruction(registers));
}
