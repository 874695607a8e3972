// SPDX-License-Identifier: Apache-2.0
/*
 * How a runtime must not do it. Each mode is a step of a container start as it was once written,
 * before somebody found out: the tests run every attack against it too, and an attack that does not
 * succeed here proves nothing elsewhere.
 *
 *   naive enter PID PROGRAM [ARG...]   joins the PID and mount namespaces, runs a program there
 *                                      (CVE-2019-5736)
 *   naive hold                         does nothing, until killed
 *   naive mkdir ROOT PATH              resolves PATH in ROOT by hand, then makes it by name
 *                                      (CVE-2024-45310)
 *   naive mount SOURCE ROOT PATH       the same with a mount; prints where it went
 *                                      (CVE-2021-30465)
 *   naive cwd ROOT CWD PROGRAM [ARG..] changes to the root with a descriptor of the host open, then
 *                                      to CWD (CVE-2024-21626)
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/securebits.h>

static int fail(const char *what)
{
	fprintf(stderr, "naive: %s: %s\n", what, strerror(errno));
	return 1;
}

static int enter(int pid, char **argv)
{
	int pidfd = syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0 || setns(pidfd, CLONE_NEWPID | CLONE_NEWNS) < 0)
		return fail("setns");
	close(pidfd);
	pid_t child = fork();

	if (child == 0) {
		/* As a runtime does before it lets go: a program with more capabilities than the
		 * attacker could not be looked at. */
		if (prctl(PR_SET_SECUREBITS, SECBIT_NOROOT) < 0)
			_exit(fail("securebits"));
		execv(argv[0], argv);
		_exit(fail(argv[0]));
	}
	return waitpid(child, NULL, 0) < 0 ? fail("waitpid") : 0;
}

/* Walks PATH below root, taking symbolic links as if root were "/": right, if nobody else moved. */
static void resolve(const char *root, const char *path, char *out)
{
	char left[PATH_MAX], link[PATH_MAX], rest[PATH_MAX];
	struct stat st;

	snprintf(out, PATH_MAX, "%s", root);
	snprintf(left, sizeof(left), "%s", path);
	for (int links = 0; *left && links < 40;) {
		char *slash = strchr(left[0] == '/' ? left + 1 : left, '/');
		size_t n = strlen(out);

		snprintf(rest, sizeof(rest), "%s", slash ? slash : "");
		if (slash)
			*slash = 0;
		snprintf(out + n, PATH_MAX - n, "/%s", left[0] == '/' ? left + 1 : left);
		ssize_t got = lstat(out, &st) == 0 && S_ISLNK(st.st_mode) ?
				      readlink(out, link, sizeof(link) - 1) : -1;

		if (got >= 0) {
			link[got] = 0;
			out[link[0] == '/' ? strlen(root) : n] = 0;
			snprintf(left, sizeof(left), "%.2000s%.2000s", link, rest);
			links++;
		} else {
			memcpy(left, rest, sizeof(left));
		}
	}
}

static void make_all(char *path, size_t from)
{
	for (char *p = path + from + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		mkdir(path, 0755);
		*p = '/';
	}
	mkdir(path, 0755);
}

static int mount_at(const char *source, const char *root, const char *path)
{
	char where[PATH_MAX], line[PATH_MAX], at[PATH_MAX], last[PATH_MAX] = "";

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail("mount namespace");
	resolve(root, path, where);
	make_all(where, strlen(root));
	if (mount(source, where, NULL, MS_BIND, NULL) < 0)
		return fail(where);
	FILE *f = fopen("/proc/self/mountinfo", "re");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %*s %*s %*s %s", at) == 1)
			memcpy(last, at, sizeof(last));
	puts(last);
	return 0;
}

static int with_cwd(const char *root, const char *cwd, char **argv)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return fail("mount namespace");
	/* The forgotten one: without O_CLOEXEC, and open when the root changes. */
	if (open("/", O_RDONLY | O_DIRECTORY) < 0)
		return fail("/");
	if (chroot(root) < 0 || chdir("/") < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0 || chdir(cwd) < 0)
		return fail(cwd);
	execv(argv[0], argv);
	return fail(argv[0]);
}

int main(int argc, char **argv)
{
	char where[PATH_MAX];

	if (argc > 3 && strcmp(argv[1], "enter") == 0)
		return enter(atoi(argv[2]), argv + 3);
	if (argc > 1 && strcmp(argv[1], "hold") == 0)
		return pause();
	if (argc == 4 && strcmp(argv[1], "mkdir") == 0) {
		resolve(argv[2], argv[3], where);
		make_all(where, strlen(argv[2]));
		return 0;
	}
	if (argc == 5 && strcmp(argv[1], "mount") == 0)
		return mount_at(argv[2], argv[3], argv[4]);
	if (argc > 4 && strcmp(argv[1], "cwd") == 0)
		return with_cwd(argv[2], argv[3], argv + 4);
	return 2;
}
