// SPDX-License-Identifier: Apache-2.0
/*
 * Kills a program at a system call of one's choice.
 *
 *   kill_at parent|child N RESULT COMMAND [ARG...]
 *
 * parent: the program itself gets SIGKILL as it is about to make its Nth system call; what it has
 * started lives on. child: the same for what the program starts, counted over all its descendants
 * up to their execve; the program itself lives on. N = 0 kills nobody. Writes "killed" or
 * "ended STATUS CALLS" to the file RESULT, and ends when the program does; with child, as it does.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int die(const char *what)
{
	fprintf(stderr, "kill_at: %s: %s\n", what, strerror(errno));
	return 125;
}

static pid_t launch(char **argv)
{
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static int report(const char *file, const char *what, int status, long calls)
{
	FILE *f = fopen(file, "we");

	if (!f)
		return die(file);
	if (what)
		fprintf(f, "%s\n", what);
	else
		fprintf(f, "ended %d %ld\n", status, calls);
	return fclose(f) == 0 ? 0 : die(file);
}

/* One stop of a traced process: resumes it, or kills it at the chosen call, and returns 1 then. */
static int handle_stop(pid_t pid, int status, int counts, long n, long *calls)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (sig == (SIGTRAP | 0x80)) {
		struct __ptrace_syscall_info info = { 0 };

		ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info);
		if (counts && info.op == PTRACE_SYSCALL_INFO_ENTRY && ++*calls == n) {
			kill(pid, SIGKILL);
			return 1;
		}
		sig = 0;
	} else if (event || sig == SIGSTOP || sig == SIGTRAP) {
		sig = 0;
	}
	ptrace(PTRACE_SYSCALL, pid, 0, sig);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	int of_child = strcmp(argv[1], "child") == 0, killed = 0, status;
	long n = atol(argv[2]), calls = 0;
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC;
	pid_t main_pid = launch(argv + 4), pid;

	if (main_pid < 0 || waitpid(main_pid, &status, 0) < 0)
		return die("starting the program");
	if (of_child)
		options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
	if (ptrace(PTRACE_SETOPTIONS, main_pid, 0, options) < 0 ||
	    ptrace(PTRACE_SYSCALL, main_pid, 0, 0) < 0)
		return die("tracing the program");
	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		int is_main = pid == main_pid;

		if (!WIFSTOPPED(status)) {
			if (!is_main)
				continue;
			status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			if (report(argv[3], killed ? "killed" : NULL, status, calls) != 0)
				return 125;
			return of_child ? status : 0;
		}
		if (!is_main && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
			/* It is the user's program now, or a hook: none of our business. */
			ptrace(PTRACE_DETACH, pid, 0, 0);
			continue;
		}
		killed |= handle_stop(pid, status, is_main != of_child, n, &calls);
	}
	return die("waitpid");
}
