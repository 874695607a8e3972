// SPDX-License-Identifier: Apache-2.0
/*
 * The least a container start can cost on this machine.
 *
 * Does what a runtime must ask the kernel for to run one static program with the default
 * configuration (`rt spec` plus a cgroup namespace) and to remove everything again, and nothing
 * else: no configuration is parsed, no state is written, no second command is started. What is left
 * between this program's time and a runtime's is the runtime's own doing.
 *
 * Variants of the expensive steps can be chosen, so that the cheapest way of asking is known rather
 * than believed. --phases prints what each step took.
 *
 * It is a measuring tool: it exits at the first failure and cleans up only its cgroups.
 */
#include "floor.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/sched.h>

/* Written by parent and child alike, hence shared memory; times are CLOCK_MONOTONIC. */
struct marks {
	int n;
	struct {
		const char *name;
		uint64_t ns;
	} mark[FLOOR_MAX_MARKS];
};

static struct marks *marks;

void floor_mark(const char *name)
{
	struct timespec now;

	if (!marks)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	/* Parent and child never mark at the same time where order matters; a lost mark is only a
	 * lost line of output. */
	int i = __atomic_fetch_add(&marks->n, 1, __ATOMIC_RELAXED);

	if (i >= FLOOR_MAX_MARKS)
		return;
	marks->mark[i].name = name;
	marks->mark[i].ns = (uint64_t)now.tv_sec * 1000000000u + now.tv_nsec;
}

void floor_die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void wait_for_parent(int sync_fd)
{
	char go;

	if (read(sync_fd, &go, 1) != 1)
		floor_die("waiting for the parent");
	floor_mark("child woken");
}

/* The child's side of a start, from clone3 to exec; sync_fd says when the parent has done its part
 * of the cgroups. */
static void child(const struct floor_options *opt, int sync_fd, char **argv)
{
	floor_mark("child runs");
	if (opt->overlap) {
		if (!opt->no_net && unshare(CLONE_NEWNET) < 0)
			floor_die("unshare net");
		floor_mark("network namespace");
		floor_rootfs_mounts(opt);
	}
	if (opt->overlap || opt->join == FLOOR_JOIN_PARENT)
		wait_for_parent(sync_fd);
	if (opt->join == FLOOR_JOIN_TASKS || opt->join == FLOOR_JOIN_SELF_PROCS) {
		floor_cgroup_join_self(opt);
		floor_mark("child joins its cgroups");
	}
	if (!opt->no_cgroupns && opt->join != FLOOR_JOIN_NONE) {
		/* Only now: the namespace's root is the cgroup of the moment it is made in. And no
		 * later: mounting a v1 hierarchy from the host's namespace waits for RCU. */
		if (unshare(CLONE_NEWCGROUP) < 0)
			floor_die("unshare cgroup");
		floor_mark("cgroup namespace");
	}
	if (!opt->overlap)
		floor_rootfs_mounts(opt);
	floor_rootfs_finish(opt);
	floor_seal();
	floor_mark("caps, rlimits, no_new_privs");
	if (opt->no_exec)
		_exit(0);
	execve(argv[0], argv, (char *[]){ "PATH=/bin", NULL });
	floor_die("exec");
}

static pid_t clone_child(const struct floor_options *opt, int *ret_pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC,
		.pidfd = (uintptr_t)ret_pidfd,
		.exit_signal = SIGCHLD,
	};
	int cgroup_fd = -1;

	if (!opt->no_net && !opt->overlap)
		args.flags |= CLONE_NEWNET;
	if (!opt->no_into_cgroup && opt->join != FLOOR_JOIN_NONE)
		cgroup_fd = floor_cgroup_unified_fd(opt);
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = cgroup_fd;
	}
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		floor_die("clone3");
	if (pid > 0 && cgroup_fd >= 0)
		close(cgroup_fd);
	return pid;
}

static void start_once(const struct floor_options *opt, char **argv)
{
	int pidfd = -1, sync[2] = { -1, -1 };
	siginfo_t info = { 0 };

	floor_mark("begin");
	floor_cgroup_create(opt, opt->overlap ? FLOOR_V2 : FLOOR_V1 | FLOOR_V2);
	floor_mark("cgroups made");
	if (pipe2(sync, O_CLOEXEC) < 0)
		floor_die("pipe");
	pid_t pid = clone_child(opt, &pidfd);

	if (pid == 0)
		child(opt, sync[0], argv);
	floor_mark("clone3 returns");
	if (opt->overlap) {
		floor_cgroup_create(opt, FLOOR_V1);
		floor_mark("v1 cgroups made");
	}
	if (opt->join == FLOOR_JOIN_PARENT) {
		floor_cgroup_join_pid(opt, pid);
		floor_mark("parent joins the child");
	}
	if (write(sync[1], "", 1) != 1)
		floor_die("releasing the child");
	close(sync[0]);
	close(sync[1]);
	if (waitid(P_PIDFD, pidfd, &info, WEXITED) < 0)
		floor_die("waitid");
	floor_mark("child reaped");
	close(pidfd);
	floor_cgroup_remove(opt);
	floor_mark("cgroups removed");
	if (info.si_code != CLD_EXITED || info.si_status != 0) {
		errno = ECHILD;
		floor_die("the program did not exit with 0");
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* How long the phase of that name took in one run: since the mark before it, whoever made that. */
static int phase_time(const struct marks *run, const char *name, uint64_t *ret_ns)
{
	for (int m = 1; m < run->n; m++) {
		if (strcmp(run->mark[m].name, name) != 0)
			continue;
		*ret_ns = run->mark[m].ns - run->mark[m - 1].ns;
		return 1;
	}
	return 0;
}

static void print_phases(const struct marks *runs, int n_runs)
{
	uint64_t *value = calloc(n_runs, sizeof(*value));

	if (!value)
		floor_die("calloc");
	for (int m = 1; m < runs[0].n; m++) {
		int n = 0;

		for (int r = 0; r < n_runs; r++)
			n += phase_time(&runs[r], runs[0].mark[m].name, &value[n]);
		qsort(value, n, sizeof(*value), by_value);
		printf("%10.1f us  %s\n", value[n / 2] / 1e3, runs[0].mark[m].name);
	}
	for (int r = 0; r < n_runs; r++)
		value[r] = runs[r].mark[runs[r].n - 1].ns - runs[r].mark[0].ns;
	qsort(value, n_runs, sizeof(*value), by_value);
	printf("%10.1f us  whole (median; min %.1f, 90%% %.1f)\n", value[n_runs / 2] / 1e3,
	       value[0] / 1e3, value[n_runs * 9 / 10] / 1e3);
	free(value);
}

static int by_time(const void *a, const void *b)
{
	const uint64_t *x = &((__typeof__(&((struct marks *)0)->mark[0]))a)->ns;
	const uint64_t *y = &((__typeof__(&((struct marks *)0)->mark[0]))b)->ns;

	return *x < *y ? -1 : *x > *y;
}

static const char usage[] =
	"usage: floor [options] ROOTFS PROGRAM [ARG...]\n"
	"       floor --exec=PID / PROGRAM [ARG...]     in the container whose init is PID\n"
	"  --join=tasks|self-procs|parent|none  who writes what to put the child into v1 cgroups\n"
	"  --no-into-cgroup  write to the v2 cgroup.procs, instead of CLONE_INTO_CGROUP\n"
	"  --no-cgroupns     no cgroup namespace\n"
	"  --overlap         make v1 cgroups and network namespace at the same time\n"
	"  --no-net          no network namespace\n"
	"  --no-mounts       no mounts at all, only the root\n"
	"  --no-cgroup-mount leave /sys/fs/cgroup out\n"
	"  --old-mounts      mount(2) instead of fsopen, fsmount, move_mount\n"
	"  --mask-each       a tmpfs for each masked directory instead of a shared one\n"
	"  --no-exec         the child exits where it would exec\n"
	"  --pause=MS        between runs; without, kernel locks stay biased by the run before\n"
	"  --runs=N          in this process, one after the other\n"
	"  --phases          print the median of each phase\n";

static void parse(int argc, char **argv, struct floor_options *opt)
{
	static const struct option options[] = {
		{ "join", required_argument, NULL, 'j' },
		{ "no-into-cgroup", no_argument, NULL, 'i' },
		{ "no-cgroupns", no_argument, NULL, 'l' },
		{ "overlap", no_argument, NULL, 'O' },
		{ "no-net", no_argument, NULL, 'n' },
		{ "no-mounts", no_argument, NULL, 'm' },
		{ "no-cgroup-mount", no_argument, NULL, 'c' },
		{ "old-mounts", no_argument, NULL, 'o' },
		{ "mask-each", no_argument, NULL, 'e' },
		{ "no-exec", no_argument, NULL, 'x' },
		{ "pause", required_argument, NULL, 'P' },
		{ "exec", required_argument, NULL, 'E' },
		{ "runs", required_argument, NULL, 'r' },
		{ "phases", no_argument, NULL, 'p' },
		{ 0 },
	};
	static const char *const joins[] = { "tasks", "self-procs", "parent", "none" };
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 'j':
			for (opt->join = 0; opt->join < 4; opt->join++)
				if (strcmp(joins[opt->join], optarg) == 0)
					break;
			break;
		case 'i': opt->no_into_cgroup = 1; break;
		case 'l': opt->no_cgroupns = 1; break;
		case 'O': opt->overlap = 1; break;
		case 'n': opt->no_net = 1; break;
		case 'm': opt->no_mounts = 1; break;
		case 'c': opt->no_cgroup_mount = 1; break;
		case 'o': opt->old_mounts = 1; break;
		case 'e': opt->mask_each = 1; break;
		case 'x': opt->no_exec = 1; break;
		case 'P': opt->pause_ms = atoi(optarg); break;
		case 'E': opt->exec_pid = atoi(optarg); break;
		case 'r': opt->runs = atoi(optarg); break;
		case 'p': opt->phases = 1; break;
		default: opt->join = 4; break;
		}
	}
	if (argc - optind < 2 || opt->join > FLOOR_JOIN_NONE || opt->runs < 1) {
		fputs(usage, stderr);
		exit(2);
	}
	opt->rootfs = argv[optind];
}

int main(int argc, char **argv)
{
	struct floor_options opt = { .runs = 1 };
	struct marks *all = NULL;

	parse(argc, argv, &opt);
	floor_cgroup_find(&opt);
	if (opt.exec_pid) {
		floor_exec(&opt, argv + optind + 1);
		return 0;
	}
	if (opt.phases) {
		all = calloc(opt.runs, sizeof(*all));
		marks = mmap(NULL, sizeof(*marks), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (!all || marks == MAP_FAILED)
			floor_die("memory");
	}
	for (int i = 0; i < opt.runs; i++) {
		if (opt.pause_ms)
			usleep(opt.pause_ms * 1000);
		if (marks)
			marks->n = 0;
		start_once(&opt, argv + optind + 1);
		if (!marks)
			continue;
		if (marks->n > FLOOR_MAX_MARKS)
			marks->n = FLOOR_MAX_MARKS;
		qsort(marks->mark, marks->n, sizeof(marks->mark[0]), by_time);
		all[i] = *marks;
	}
	if (all)
		print_phases(all, opt.runs);
	return 0;
}
