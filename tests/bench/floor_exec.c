// SPDX-License-Identifier: Apache-2.0
/*
 * The floor program's other half: what `exec` of one program in a running container has to cost.
 * The container is found by the pid of its init.
 */
#include "floor.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sched.h>

/* The cgroups of the container instead of new ones: the paths of its init in every hierarchy. */
static void find_cgroups_of(struct floor_options *opt, int pid)
{
	char line[4096];

	snprintf(line, sizeof(line), "/proc/%d/cgroup", pid);
	FILE *f = fopen(line, "re");

	if (!f)
		floor_die(line);
	while (fgets(line, sizeof(line), f)) {
		char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;

		if (!path)
			continue;
		*names++ = 0;
		*path++ = 0;
		path[strcspn(path, "\n")] = 0;
		for (int i = 0; i < opt->n_hierarchies; i++) {
			struct floor_hierarchy *h = &opt->hierarchy[i];

			if (strcmp(h->options ? h->options : "", names) != 0)
				continue;
			free(h->path);
			if (asprintf(&h->path, "%s%s", h->mountpoint, path) < 0)
				floor_die("asprintf");
		}
	}
	fclose(f);
}

/* The namespaces that `rt spec` asks for; the process moves itself, its child starts inside. */
static void enter_namespaces(int pid)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0 || setns(pidfd, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC |
					      CLONE_NEWNET | CLONE_NEWCGROUP) < 0)
		floor_die("setns");
	close(pidfd);
}

void floor_exec(struct floor_options *opt, char **argv)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	siginfo_t info = { 0 };
	int v2_fd = -1;

	find_cgroups_of(opt, opt->exec_pid);
	v2_fd = floor_cgroup_unified_fd(opt);
	if (v2_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = v2_fd;
	}
	/* While the host's paths can still be seen; the child inherits the v1 cgroups. */
	floor_cgroup_join_self(opt);
	enter_namespaces(opt->exec_pid);
	pid_t pid = syscall(SYS_clone3, &args, sizeof(args));

	if (pid < 0)
		floor_die("clone3");
	if (pid == 0) {
		floor_seal();
		execve(argv[0], argv, (char *[]){ "PATH=/bin", NULL });
		floor_die("exec");
	}
	if (waitid(P_PID, pid, &info, WEXITED) < 0)
		floor_die("waitid");
	if (info.si_code != CLD_EXITED || info.si_status != 0)
		floor_die("the program did not exit with 0");
}
