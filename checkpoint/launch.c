#include "checkpoint/launch.h"

#include "runtime/base/helper.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

/* Where root's programs are when PATH, as engines often set it, leaves them out. */
#define USUAL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static struct rt_error *find_in(const char *directories, char **ret)
{
	const char *at = directories;

	while (*at) {
		size_t length = strcspn(at, ":");

		/* Relative entries depend on where we stand; a program run as root is not looked for there. */
		if (*at == '/') {
			_cleanup_free_ char *path = NULL;
			struct rt_error *err = rt_format(&path, "%.*s/criu", (int)length, at);

			if (err)
				return err;
			if (access(path, X_OK) == 0) {
				*ret = rt_take_ptr(path);
				return NULL;
			}
		}
		at += length + (at[length] == ':');
	}
	return NULL;
}

struct rt_error *rt_criu_find(const char *path, char **ret)
{
	const char *search = getenv("PATH");
	struct rt_error *err = NULL;
	char *found = NULL;

	if (path && strchr(path, '/')) {
		if (access(path, X_OK) < 0)
			return rt_error_make(__FILE__, __LINE__, RT_CRIU, errno, NULL, "cannot run criu as '%s'", path);
		return rt_format(ret, "%s", path);
	}
	if (search)
		err = find_in(search, &found);
	if (!err && !found)
		err = find_in(USUAL_PATH, &found);
	if (err)
		return err;
	if (!found)
		return rt_fail(RT_CRIU, "criu is not installed: there is no 'criu' in PATH nor in the usual directories");
	*ret = found;
	return NULL;
}

/* In the child: leaves open what CRIU is to have, nothing else. Only calls that are safe after fork(). */
static int hand_over(const struct rt_criu_options *options, int socket)
{
	size_t i;

	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	if (fcntl(socket, F_SETFD, 0) < 0)
		return -1;
	for (i = 0; i < options->fd_count; i++)
		if (fcntl(options->fds[i], F_SETFD, 0) < 0)
			return -1;
	return 0;
}

/* Standard streams that are closed here must be open there: CRIU's first descriptors would take their numbers. */
static int set_streams(unsigned flags)
{
	int null = open("/dev/null", O_RDWR), fd;

	if (null < 0)
		return -1;
	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (((flags & RT_CRIU_QUIET) || fcntl(fd, F_GETFD) < 0) && dup2(null, fd) < 0)
			return -1;
	return 0;
}

static void exec_criu(const struct rt_criu_options *options, const char *path, char *const *environment, int socket,
		      int report)
{
	char name[] = "criu", verb[] = "swrk", number[16];
	sigset_t none;
	int why;

	snprintf(number, sizeof(number), "%d", socket);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Ctrl-C is for us to answer: CRIU must hear of it over the socket, where it can roll back. */
	if (!(options->flags & RT_CRIU_SHELL_JOB))
		setpgid(0, 0);
	if (set_streams(options->flags) == 0 && hand_over(options, socket) == 0)
		execve(path, (char *[]){ name, verb, number, NULL }, environment);
	why = errno;
	while (write(report, &why, sizeof(why)) < 0 && errno == EINTR)
		;
	_exit(127);
}

/* The pipe closes by itself when the exec succeeds. */
static struct rt_error *await_exec(int report, const char *path)
{
	ssize_t got;
	int why;

	do {
		got = read(report, &why, sizeof(why));
	} while (got < 0 && errno == EINTR);
	if (got == sizeof(why))
		return rt_error_make(__FILE__, __LINE__, RT_CRIU, why, NULL, "cannot run '%s'", path);
	return NULL;
}

/* The directory of what stands in for the machine's programs, with a colon behind it; "" where it isn't installed. The caller frees *ret. */
static struct rt_error *find_tools(char **ret)
{
	_cleanup_free_ char *tar = NULL;
	struct rt_error *err = rt_helper_find("criu-tools/tar", "checkpoint", "checkpoints", &tar);

	/* CRIU takes the machine's tar, which is only slower. */
	if (err || *tar != '/') {
		rt_error_free(err);
		return rt_format(ret, "%s", "");
	}
	return rt_format(ret, "%.*s:", (int)(strrchr(tar, '/') - tar), tar);
}

/* Our environment, with our own tools first in PATH, and the directories of root's programs last: CRIU runs iptables, ip, tar. The caller frees *ret and
 * *ret_path; the other strings are ours. */
static struct rt_error *make_environment(char ***ret, char **ret_path)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *entry = NULL, *tools = NULL;
	struct rt_error *err = find_tools(&tools);
	size_t count = 0, kept = 0;
	char **list;

	if (!err)
		err = rt_format(&entry, "PATH=%s%s%s" USUAL_PATH, tools, path ? path : "", path && *path ? ":" : "");
	if (err)
		return err;
	while (environ[count])
		count++;
	list = calloc(count + 2, sizeof(*list));
	if (!list)
		return rt_error_oom();
	list[kept++] = entry;
	for (size_t i = 0; i < count; i++)
		if (!rt_str_starts(environ[i], "PATH="))
			list[kept++] = environ[i];
	*ret = list;
	*ret_path = rt_take_ptr(entry);
	return NULL;
}

struct rt_error *rt_criu_launch(const struct rt_criu_options *options, const char *path, int socket, pid_t *ret)
{
	_cleanup_close_ int heard = -1, report = -1;
	_cleanup_free_ char **environment = NULL;
	_cleanup_free_ char *search = NULL;
	struct rt_error *err;
	int fds[2];
	pid_t pid;

	err = make_environment(&environment, &search);
	if (err)
		return err;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return rt_fail_errno("cannot make a pipe");
	heard = fds[0];
	report = fds[1];
	pid = fork();
	if (pid < 0)
		return rt_fail_errno("cannot fork");
	if (pid == 0)
		exec_criu(options, path, environment, socket, report);
	rt_closep(&report);
	report = -1;
	*ret = pid;
	return await_exec(heard, path);
}
