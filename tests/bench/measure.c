// SPDX-License-Identifier: Apache-2.0
/*
 * Runs commands one after the other and says what they cost, as one line of JSON.
 *
 *   measure [--wait-for-orphan=N] COMMAND [ARG...] [';' COMMAND [ARG...]]...
 *
 * It exists because a script cannot measure this well: a child's peak memory starts at its
 * parent's, so the parent has to be tiny; and what an interpreter does between two commands would
 * count as theirs.
 *
 * After command N (from 1) it waits for a process that N left behind: a container's init, whose
 * parent this program becomes. Times are nanoseconds, memory is KiB, and the memory of a command is
 * that of its largest process. Kernel threads that work on a container's behalf are in the wall
 * time only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct cost {
	uint64_t user_ns, system_ns;
	long max_kib, voluntary, involuntary, faults;
};

static void die(const char *what)
{
	fprintf(stderr, "measure: %s: %s\n", what, strerror(errno));
	exit(125);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static uint64_t ns(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

/* Waits for one process and adds what it and the children it waited for used. */
static int wait_and_add(pid_t pid, struct cost *sum)
{
	struct rusage used;
	int status;

	while (wait4(pid, &status, 0, &used) < 0)
		if (errno != EINTR)
			die("wait4");
	sum->user_ns += ns(used.ru_utime);
	sum->system_ns += ns(used.ru_stime);
	sum->voluntary += used.ru_nvcsw;
	sum->involuntary += used.ru_nivcsw;
	sum->faults += used.ru_minflt;
	if (used.ru_maxrss > sum->max_kib)
		sum->max_kib = used.ru_maxrss;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(char **argv, struct cost *sum)
{
	/* vfork: a copy of even this small address space would be a part of what is measured. */
	pid_t pid = vfork();

	if (pid < 0)
		die("vfork");
	if (pid == 0) {
		execv(argv[0], argv);
		_exit(127);
	}
	return wait_and_add(pid, sum);
}

static int run_all(char **argv, int orphan_of, uint64_t *step_ns, int max_steps, struct cost *sum)
{
	int n = 0;

	while (*argv && n < max_steps) {
		char **end = argv;
		uint64_t before = now_ns();
		int status;

		while (*end && strcmp(*end, ";") != 0)
			end++;
		char **next = *end ? end + 1 : end;

		*end = NULL;
		status = run(argv, sum);
		if (status != 0) {
			fprintf(stderr, "measure: '%s %s' ended with %d\n", argv[0],
				argv[1] ? argv[1] : "", status);
			exit(124);
		}
		if (n + 1 == orphan_of)
			wait_and_add(-1, sum);
		step_ns[n++] = now_ns() - before;
		argv = next;
	}
	return n;
}

int main(int argc, char **argv)
{
	static const char option[] = "--wait-for-orphan=";
	struct cost sum = { 0 };
	uint64_t step_ns[16];
	int orphan_of = 0;

	argv++;
	if (argc > 1 && strncmp(*argv, option, sizeof(option) - 1) == 0)
		orphan_of = atoi(*argv++ + sizeof(option) - 1);
	if (!*argv) {
		fprintf(stderr, "usage: measure [--wait-for-orphan=N] COMMAND [';' COMMAND]...\n");
		return 2;
	}
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		die("becoming a reaper");
	/* The container inherits stdout; the result must be the only thing on ours. */
	int result = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (result < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		die("/dev/null");
	uint64_t before = now_ns();
	int n = run_all(argv, orphan_of, step_ns, 16, &sum);
	uint64_t wall = now_ns() - before;

	dprintf(result, "{\"wall\": %lu, \"user\": %lu, \"system\": %lu, \"kib\": %ld, "
		"\"faults\": %ld, \"switches\": %ld, \"steps\": [", wall, sum.user_ns,
		sum.system_ns, sum.max_kib, sum.faults, sum.voluntary + sum.involuntary);
	for (int i = 0; i < n; i++)
		dprintf(result, "%s%lu", i ? ", " : "", step_ns[i]);
	dprintf(result, "]}\n");
	return 0;
}
