#include "migrate/inject_guard.h"

#include "runtime/base/clock.h"
#include "runtime/base/io.h"
#include "runtime/sys/peek.h"
#include "runtime/sys/ptrace.h"
#include "runtime/sys/uffd.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* Signals that come while a thread is on its way to our call are delivered first, and the call is tried again. */
#define CALL_TRIES 5
#define DELICATE_TRIES 10

enum outcome {
	DONE,
	GONE,
	REFUSED, /* the reason is in the reply; registers are its own */
	LATE, /* not stopped; registers are its own */
};

/* One thread that we trace. */
struct victim {
	pid_t tid;
	const struct rt_guard_request *request;
	struct rt_guard_reply *reply;
	struct rt_sys_registers own; /* what goes back in the end */
	bool must_finish; /* its process has a descriptor of ours: no giving up */
	int64_t stopped_at;
	int64_t altered_at; /* 0: never */
};

static enum outcome __attribute__((format(printf, 2, 3))) refuse(struct victim *victim, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(victim->reply->reason, sizeof(victim->reply->reason), format, arguments);
	va_end(arguments);
	return REFUSED;
}

/* Stops it where no system call is under way any more, and takes its registers. Signals on the way are delivered. */
static enum outcome stop(struct victim *victim)
{
	int64_t limit = victim->must_finish ? -1 : RT_GUARD_STOP_US;
	int signal = 0, result;

	if (rt_sys_trace_interrupt(victim->tid) < 0)
		return GONE;
	for (;;) {
		switch (rt_sys_trace_wait(victim->tid, limit, &signal)) {
		case RT_STOP_TRAP:
			victim->stopped_at = (int64_t)rt_now_us();
			result = rt_sys_trace_get_registers(victim->tid, &victim->own);
			if (result == -EOPNOTSUPP)
				return refuse(victim, "runs code of a processor mode that we can't drive");
			if (result < 0)
				return GONE;
			rt_sys_registers_mend_restart(&victim->own);
			return DONE;
		case RT_STOP_SIGNAL:
			rt_sys_trace_continue(victim->tid, signal);
			break;
		case RT_STOP_CALL:
			rt_sys_trace_continue(victim->tid, 0);
			break;
		case RT_STOP_GONE:
			return GONE;
		case RT_STOP_LATE:
			refuse(victim, "could not be stopped within %d ms", RT_GUARD_STOP_US / 1000);
			return LATE;
		}
	}
}

/* Is the signal that stops it the doing of the instruction that we sent it to? */
static bool is_our_fault(pid_t tid, int signal)
{
	siginfo_t info;

	if (signal != SIGSEGV && signal != SIGBUS && signal != SIGILL && signal != SIGSYS && signal != SIGTRAP)
		return false;
	return rt_sys_trace_signal_info(tid, &info) < 0 || info.si_code > 0;
}

/* With its own registers again: delivers the signal that came in between, and stops it once more. */
static enum outcome deliver(struct victim *victim, int signal)
{
	if (rt_sys_trace_set_registers(victim->tid, &victim->own) < 0)
		return GONE;
	if (is_our_fault(victim->tid, signal))
		return refuse(victim, "answers a system call with signal %d", signal);
	if (rt_sys_trace_interrupt(victim->tid) < 0 || rt_sys_trace_continue(victim->tid, signal) < 0)
		return GONE;
	return stop(victim);
}

/* It did not get to our call in time: no processor time, or frozen a moment ago. It is brought back, unless it arrives while we do so. Its registers are not its
 * own, so this waits for as long as it takes. */
static enum outcome bring_back(struct victim *victim)
{
	enum outcome outcome;
	int signal = 0;

	if (rt_sys_trace_interrupt(victim->tid) < 0)
		return GONE;
	switch (rt_sys_trace_wait(victim->tid, -1, &signal)) {
	case RT_STOP_CALL:
		return DONE;
	case RT_STOP_TRAP:
		return refuse(victim, "did not get to run within %d ms", RT_GUARD_STOP_US / 1000);
	case RT_STOP_SIGNAL:
		outcome = deliver(victim, signal);
		return outcome == DONE ? refuse(victim, "did not get to run within %d ms", RT_GUARD_STOP_US / 1000) : outcome;
	case RT_STOP_GONE:
	case RT_STOP_LATE:
		break;
	}
	return GONE;
}

/* Sets it on its way, until it stands at the beginning of our call. */
static enum outcome enter_call(struct victim *victim, long call, const uint64_t arguments[3])
{
	enum outcome outcome;
	int tries = 0, signal = 0;

	for (;;) {
		struct rt_sys_registers registers = victim->own;

		rt_sys_registers_call(&registers, victim->request->instruction, call, arguments);
		if (rt_sys_trace_set_registers(victim->tid, &registers) < 0 || rt_sys_trace_continue_to_call(victim->tid) < 0)
			return GONE;
		switch (rt_sys_trace_wait(victim->tid, victim->must_finish ? -1 : RT_GUARD_STOP_US, &signal)) {
		case RT_STOP_CALL:
			return DONE;
		case RT_STOP_SIGNAL:
			outcome = deliver(victim, signal);
			if (outcome != DONE)
				return outcome;
			if (++tries >= CALL_TRIES && !victim->must_finish)
				return refuse(victim, "gets signals faster than it can be asked");
			break;
		case RT_STOP_TRAP: /* a late echo of PTRACE_INTERRUPT, or a group-stop: once more */
			break;
		case RT_STOP_LATE:
			return bring_back(victim);
		case RT_STOP_GONE:
			return GONE;
		}
	}
}

static enum outcome call(struct victim *victim, long call, uint64_t argument, int64_t *ret)
{
	uint64_t arguments[3] = { argument };
	struct rt_sys_registers after;
	enum outcome outcome;
	int signal = 0;

	if (!victim->altered_at)
		victim->altered_at = (int64_t)rt_now_us();
	outcome = enter_call(victim, call, arguments);
	if (outcome != DONE)
		return outcome;
	if (rt_sys_trace_continue_to_call(victim->tid) < 0 || rt_sys_trace_wait(victim->tid, -1, &signal) != RT_STOP_CALL ||
	    rt_sys_trace_get_registers(victim->tid, &after) < 0)
		return GONE;
	*ret = rt_sys_registers_result(&after);
	return DONE;
}

static enum outcome close_there(struct victim *victim, int fd)
{
	int64_t result;
	enum outcome outcome = call(victim, SYS_close, (uint64_t)fd, &result);

	if (outcome == DONE && result < 0)
		return refuse(victim, "can't close its descriptor %d: %s", fd, strerror((int)-result));
	return outcome;
}

static enum outcome make_userfaultfd(struct victim *victim, int *ret_fd)
{
	_cleanup_close_ int copy = -1;
	enum outcome outcome;
	int64_t there;
	int result;

	outcome = call(victim, SYS_userfaultfd, (uint64_t)rt_sys_uffd_flags(), &there);
	if (outcome != DONE)
		return outcome;
	if (there < 0)
		return refuse(victim, "can't make a userfaultfd: %s", strerror((int)-there));
	copy = rt_sys_peek_fd(victim->tid, victim->request->pid, (int)there);
	result = copy < 0 ? copy : rt_sys_uffd_enable(copy);
	/* Another thread closed our number and got it for a file of its own: that must stay open. */
	if (result == -EBADF || result == -ENOTTY)
		return refuse(victim, "closed the userfaultfd before we had it");
	victim->must_finish = true;
	outcome = close_there(victim, (int)there);
	if (outcome != DONE)
		return outcome;
	if (result < 0)
		return refuse(victim, "gives no usable userfaultfd: %s", strerror(-result));
	*ret_fd = rt_take_fd(copy);
	return DONE;
}

/* 0: none; 1: the thread has a filter, which may forbid our calls, or kill. */
static bool has_filter(pid_t tid)
{
	_cleanup_close_ int fd = -1;
	char path[48], text[4096];
	const char *line;
	ssize_t size;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (size < 0)
		return true;
	text[size] = '\0';
	line = strstr(text, "\nSeccomp:\t");
	return line && line[10] != '0';
}

static enum outcome seize(struct victim *victim)
{
	int result = rt_sys_trace_seize(victim->tid, true);

	if (result == -EPERM || result == -EINVAL) {
		if (has_filter(victim->tid))
			return refuse(victim, "is traced by somebody else, or its seccomp filter can't be suspended (that takes CAP_SYS_ADMIN)");
		result = rt_sys_trace_seize(victim->tid, false);
	}
	if (result == -ESRCH)
		return GONE;
	if (result < 0)
		return refuse(victim, "can't be traced: %s", strerror(-result));
	return DONE;
}

/* As it was: its registers, and through the way out of the kernel that restarts the system call it was stopped in. */
static void let_go(struct victim *victim)
{
	rt_sys_trace_set_registers(victim->tid, &victim->own);
	if (victim->altered_at)
		victim->reply->altered_us += (uint32_t)((int64_t)rt_now_us() - victim->altered_at);
	rt_sys_trace_interrupt(victim->tid);
	rt_sys_trace_detach(victim->tid);
	victim->reply->stopped_us += (uint32_t)((int64_t)rt_now_us() - victim->stopped_at);
}

static enum outcome serve_thread(struct victim *victim, int *ret_fd)
{
	for (int tries = 0;; tries++) {
		enum outcome outcome = seize(victim);

		if (outcome != DONE)
			return outcome;
		outcome = stop(victim);
		if (outcome == LATE || outcome == GONE)
			return outcome;
		if (outcome == REFUSED) {
			/* We have no registers of it to put back. */
			rt_sys_trace_detach(victim->tid);
			return outcome;
		}
		if (!rt_sys_trace_is_delicate(victim->tid, &victim->own)) {
			outcome = victim->request->close_fd < 0 ? make_userfaultfd(victim, ret_fd) : close_there(victim, victim->request->close_fd);
			if (outcome != LATE && outcome != GONE)
				let_go(victim);
			return outcome;
		}
		let_go(victim);
		if (tries == DELICATE_TRIES)
			return refuse(victim, "is never seen outside of a restartable sequence, or has its system calls redirected");
		usleep(500);
	}
}

static void serve(const struct rt_guard_request *request, struct rt_guard_reply *reply, int *ret_fd)
{
	int64_t until = (int64_t)rt_now_us() + RT_GUARD_STOP_US;

	reply->gone = true;
	for (uint32_t i = 0; i < request->thread_count && i < RT_GUARD_THREADS && (i == 0 || (int64_t)rt_now_us() < until); i++) {
		struct victim victim = { .tid = request->threads[i], .request = request, .reply = reply };

		switch (serve_thread(&victim, ret_fd)) {
		case DONE:
			reply->done = true;
			reply->gone = false;
			return;
		case GONE:
			break;
		case REFUSED:
			reply->gone = false;
			break;
		case LATE:
			reply->gone = false;
			reply->leaving = true;
			return;
		}
	}
}

/* Nothing of our parent's: a guard that outlives it must not keep its sockets, nor its terminal. */
static int shed(int socket)
{
	sigset_t all;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would not tell of stops */
	setsid();
	prctl(PR_SET_NAME, "rt-guard");
	if (null < 0)
		return -1;
	for (int fd = 0; fd < 3; fd++)
		if (fd != socket)
			dup2(null, fd);
	if (socket != 3 && dup3(socket, 3, O_CLOEXEC) < 0)
		return -1;
	close_range(4, ~0u, 0);
	return 3;
}

_Noreturn void rt_guard_run(int socket)
{
	socket = shed(socket);
	if (socket < 0)
		_exit(1);
	for (;;) {
		struct rt_guard_request request;
		struct rt_guard_reply reply = { 0 };
		_cleanup_close_ int fd = -1;
		size_t size = 0, fd_count;

		if (rt_receive_message(socket, &request, sizeof(request), &size, NULL, 0, &fd_count) || size != sizeof(request))
			_exit(0);
		serve(&request, &reply, &fd);
		/* Our copy is gone when the answer comes: closing theirs must end the watching. */
		if (fd >= 0 && rt_send_message(socket, "", 1, &fd, 1))
			_exit(0);
		rt_closep(&fd);
		fd = -1;
		if (rt_send_message(socket, &reply, sizeof(reply), NULL, 0))
			_exit(0);
		if (reply.leaving)
			_exit(0);
	}
}
