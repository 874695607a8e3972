#include "runtime/base/proc.h"

#include "runtime/base/clock.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

#define OUTPUT_ROOM 4096
/* linux/sched.h: PF_EXITING, in the flags of /proc/PID/stat */
#define TASK_EXITING 0x4u

/* A program that is running, and our ends of its pipes. */
struct run {
	pid_t pid;
	int pidfd;
	int input; /* -1 once everything is written */
	int output; /* -1 at its end */
	size_t written;
	char said[OUTPUT_ROOM];
	size_t said_size;
};

static void run_deinit(struct run *run)
{
	rt_closep(&run->pidfd);
	rt_closep(&run->input);
	rt_closep(&run->output);
}

const char *const rt_plain_environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };

void rt_signals_reset(void)
{
	const struct sigaction usual = { .sa_handler = SIG_DFL };
	sigset_t none;

	/* Those that can't be changed, and those that libc keeps for itself, say no; they are as they should be. */
	for (int number = 1; number < NSIG; number++)
		sigaction(number, &usual, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void exec_program(const struct rt_run_options *options, int input, int output)
{
	static const char *const empty[] = { NULL };

	rt_signals_reset();
	setpgid(0, 0); /* before our caller goes on, and may have to kill the group */
	if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
		_exit(126);
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		_exit(126);
	if (options->before_exec && options->before_exec(options->userdata))
		_exit(126);
	execvpe(options->path, (char *const *)options->argv, (char *const *)(options->envp ? options->envp : empty));
	dprintf(STDERR_FILENO, "cannot execute: %s\n", strerror(errno));
	_exit(127);
}

/* vfork, not fork: a child that only wants to execve needs no copy of our page tables, which for a process with threads
 * and images mapped costs milliseconds, of a frozen container's time too. Until then the two share memory, and so no
 * handler of ours may run in the child: signals stay blocked until it has reset them. */
static pid_t start_child(const struct rt_run_options *options, int input, int output)
{
	sigset_t all, kept;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &kept);
	pid = vfork();
	if (pid == 0)
		exec_program(options, input, output);
	pthread_sigmask(SIG_SETMASK, &kept, NULL);
	return pid;
}

static struct rt_error *run_start(const struct rt_run_options *options, struct run *run)
{
	_cleanup_close_ int child_in = -1, child_out = -1;
	int pipe_in[2], pipe_out[2];

	if (options->input) {
		if (pipe2(pipe_in, O_CLOEXEC) < 0)
			return rt_fail_errno("cannot make a pipe");
		child_in = pipe_in[0];
		run->input = pipe_in[1];
		if (fcntl(run->input, F_SETFL, O_NONBLOCK) < 0)
			return rt_fail_errno("cannot set up a pipe");
	} else {
		child_in = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (child_in < 0)
			return rt_fail_errno("cannot open '/dev/null'");
	}
	if (pipe2(pipe_out, O_CLOEXEC) < 0)
		return rt_fail_errno("cannot make a pipe");
	run->output = pipe_out[0];
	child_out = pipe_out[1];
	run->pid = start_child(options, child_in, child_out);
	if (run->pid < 0)
		return rt_fail_errno("cannot fork");
	return rt_pidfd_open(run->pid, &run->pidfd);
}

static void feed_input(const struct rt_run_options *options, struct run *run)
{
	ssize_t written = write(run->input, (const char *)options->input + run->written, options->input_size - run->written);

	if (written > 0)
		run->written += (size_t)written;
	/* A program need not read what it is told (EPIPE); that alone is no failure. */
	if ((written < 0 && errno != EAGAIN && errno != EINTR) || run->written == options->input_size) {
		rt_closep(&run->input);
		run->input = -1;
	}
}

static void collect_output(struct run *run)
{
	char spill[OUTPUT_ROOM];
	bool room = run->said_size < sizeof(run->said) - 1;
	ssize_t got = read(run->output, room ? run->said + run->said_size : spill,
			   room ? sizeof(run->said) - 1 - run->said_size : sizeof(spill));

	if (got > 0 && room)
		run->said_size += (size_t)got;
	if (got == 0 || (got < 0 && errno != EINTR)) {
		rt_closep(&run->output);
		run->output = -1;
	}
}

/* Until the program has ended; *ret_late when the time was up first. A grandchild that keeps the pipe open does not
 * hold us up: the program's own end counts. */
static struct rt_error *run_converse(const struct rt_run_options *options, struct run *run, bool *ret_late)
{
	int64_t deadline = options->timeout_ms ? (int64_t)(rt_now_us() / 1000) + options->timeout_ms : 0;

	for (;;) {
		struct pollfd fds[] = {
			{ .fd = run->pidfd, .events = POLLIN },
			{ .fd = run->input, .events = POLLOUT },
			{ .fd = run->output, .events = POLLIN },
			{ .fd = options->interruptible ? rt_interrupt_fd() : -1, .events = POLLIN },
		};
		int64_t left = deadline ? deadline - (int64_t)(rt_now_us() / 1000) : -1;

		if (deadline && left <= 0) {
			*ret_late = true;
			return NULL;
		}
		if (poll(fds, RT_ARRAY_SIZE(fds), (int)left) < 0) {
			if (errno == EINTR)
				continue;
			return rt_fail_errno("cannot poll");
		}
		if (fds[3].revents)
			return rt_interrupt_check();
		if (fds[1].revents)
			feed_input(options, run);
		if (fds[2].revents)
			collect_output(run);
		if (fds[0].revents && !(fds[2].revents & POLLIN))
			return NULL;
	}
}

static const char *last_line(struct run *run)
{
	char *newline;

	run->said[run->said_size] = '\0';
	while (run->said_size > 0 && run->said[run->said_size - 1] == '\n')
		run->said[--run->said_size] = '\0';
	newline = strrchr(run->said, '\n');
	return newline ? newline + 1 : run->said;
}

static struct rt_error *run_verdict(const struct rt_run_options *options, struct run *run, int status)
{
	const char *said = last_line(run);
	const char *colon = *said ? ": " : "";

	if (WIFSIGNALED(status))
		return rt_fail(RT_SYSTEM, "'%s' died of signal %d%s%s", options->path, WTERMSIG(status), colon, said);
	if (WEXITSTATUS(status) != 0)
		return rt_fail(RT_SYSTEM, "'%s' exited with %d%s%s", options->path, WEXITSTATUS(status), colon, said);
	return NULL;
}

struct rt_error *rt_run_program(const struct rt_run_options *options)
{
	_cleanup_(run_deinit) struct run run = { .pidfd = -1, .input = -1, .output = -1 };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, kept;
	struct rt_error *err;
	bool late = false;
	int status = 0;

	err = run_start(options, &run);
	if (err)
		return rt_while(err, "starting '%s'", options->path);
	sigaction(SIGPIPE, &ignore, &kept);
	err = run_converse(options, &run, &late);
	sigaction(SIGPIPE, &kept, NULL);
	if (err || late)
		kill(-run.pid, SIGKILL);
	while (waitpid(run.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (err)
		return rt_while(err, "running '%s'", options->path);
	if (late)
		return rt_fail(RT_SYSTEM, "'%s' took longer than %d ms", options->path, options->timeout_ms);
	return run_verdict(options, &run, status);
}

struct rt_error *rt_fork_with_pipe(enum rt_pipe_direction direction, pid_t *ret_pid, int *ret_fd)
{
	int ends[2], parents = direction == RT_PIPE_TO_CHILD ? 1 : 0;
	struct rt_error *err;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return rt_fail_errno("cannot make a pipe");
	pid = fork();
	if (pid < 0) {
		err = rt_fail_errno("cannot fork");
		close(ends[0]);
		close(ends[1]);
		return err;
	}
	close(ends[pid == 0 ? parents : !parents]);
	*ret_fd = ends[pid == 0 ? !parents : parents];
	*ret_pid = pid;
	return NULL;
}

struct rt_error *rt_pidfd_open(pid_t pid, int *ret)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0U);

	if (fd < 0 && errno != ESRCH && errno != EINVAL)
		return rt_fail_errno("cannot open process %d", pid);
	*ret = fd;
	return NULL;
}

struct rt_error *rt_pidfd_pid(int pidfd, pid_t *ret)
{
	_cleanup_free_ char *text = NULL;
	const char *line;
	struct rt_error *err;
	char path[64];
	int pid;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	err = rt_read_file_at(AT_FDCWD, path, 4096, &text, NULL);
	if (err)
		return err;
	line = strstr(text, "\nPid:");
	if (!line || sscanf(line, " Pid: %d", &pid) != 1)
		return rt_fail(RT_SYSTEM, "'%s' names no process", path);
	*ret = pid > 0 ? pid : -1;
	return NULL;
}

struct rt_error *rt_pidfd_kill(int pidfd, int signal, bool *ret_gone)
{
	bool gone = false;

	if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0U) < 0) {
		if (errno != ESRCH)
			return rt_fail_errno("cannot send signal %d", signal);
		gone = true;
	}
	if (ret_gone)
		*ret_gone = gone;
	return NULL;
}

struct rt_error *rt_pidfd_wait(int pidfd, int timeout_ms, bool *ret_ended)
{
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };
	int64_t deadline = (int64_t)(rt_now_us() / 1000) + timeout_ms;

	for (;;) {
		int left = timeout_ms < 0 ? -1 : (int)(deadline > (int64_t)(rt_now_us() / 1000) ? deadline - (int64_t)(rt_now_us() / 1000) : 0);
		int count = poll(&ended, 1, left);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return rt_fail_errno("cannot wait for a process");
		*ret_ended = count > 0;
		return NULL;
	}
}

struct rt_error *rt_proc_stat(pid_t pid, struct rt_proc_stat *ret, bool *ret_found)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long start;
	char path[32], state;
	struct rt_error *err;
	const char *after;
	unsigned flags;
	int parent;

	*ret_found = false;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	err = rt_read_file_at(AT_FDCWD, path, 64 << 10, &text, NULL);
	if (err && (err->errnum == ENOENT || err->errnum == ESRCH ||
		    (err->cause && (err->cause->errnum == ENOENT || err->cause->errnum == ESRCH)))) {
		rt_error_free(err);
		return NULL;
	}
	if (err)
		return err;
	/* The name in parentheses may hold anything, parentheses too: read from the last one. */
	after = strrchr(text, ')');
	if (!after || sscanf(after + 1, " %c %d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			     &state, &parent, &flags, &start) != 4)
		return rt_fail(RT_SYSTEM, "cannot understand '%s'", path);
	*ret = (struct rt_proc_stat){ .state = state, .exiting = flags & TASK_EXITING, .parent = parent, .start_time = start };
	*ret_found = true;
	return NULL;
}

struct rt_error *rt_close_on_exec_from(int first)
{
	if (syscall(SYS_close_range, (unsigned)first, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return rt_fail_errno("cannot mark descriptors close-on-exec");
	return NULL;
}
