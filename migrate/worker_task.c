#include "migrate/worker_private.h"

#include "migrate/link.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#define SOCKET "worker.sock"
#define LOCK "worker.lock"
#define TASK_MAX 32768

/* ---- the task, which goes from process to process as JSON ---- */

static const struct {
	const char *key;
	size_t offset;
} strings[] = {
	{ "id", offsetof(struct rt_worker_task, id) },
	{ "bundle", offsetof(struct rt_worker_task, bundle) },
	{ "directory", offsetof(struct rt_worker_task, directory) },
}, flags[] = {
	{ "lazy", offsetof(struct rt_worker_task, lazy) },
	{ "postCopy", offsetof(struct rt_worker_task, post_copy) },
	{ "tcpEstablished", offsetof(struct rt_worker_task, tcp_established) },
	{ "tcpClose", offsetof(struct rt_worker_task, tcp_close) },
	{ "extUnixSk", offsetof(struct rt_worker_task, ext_unix_sk) },
	{ "fileLocks", offsetof(struct rt_worker_task, file_locks) },
	{ "linkRemap", offsetof(struct rt_worker_task, link_remap) },
};

static struct rt_error *send_task(const struct rt_worker_task *task, int fd)
{
	_cleanup_json_ json_t *words = json_object();
	_cleanup_free_ char *text = NULL;
	int failed = words ? 0 : -1;

	for (size_t i = 0; i < RT_ARRAY_SIZE(strings); i++)
		failed |= json_object_set_new(words, strings[i].key, json_string(*(const char *const *)((const char *)task + strings[i].offset)));
	for (size_t i = 0; i < RT_ARRAY_SIZE(flags); i++)
		failed |= json_object_set_new(words, flags[i].key, json_boolean(*(const bool *)((const char *)task + flags[i].offset)));
	text = failed ? NULL : json_dumps(words, JSON_COMPACT);
	return text ? rt_send_message(fd, text, strlen(text), NULL, 0) : rt_error_oom();
}

struct rt_error *rt_worker_take_task(int fd, const struct rt_context *context, json_t **ret_words, struct rt_worker_task *ret)
{
	char text[TASK_MAX];
	size_t size;
	struct rt_error *err = rt_receive_message(fd, text, sizeof(text), &size, NULL, 0, NULL);
	json_t *words;

	if (err)
		return err;
	*ret_words = words = json_loadb(text, size, 0, NULL);
	*ret = (struct rt_worker_task){ .context = context };
	for (size_t i = 0; i < RT_ARRAY_SIZE(flags); i++)
		*(bool *)((char *)ret + flags[i].offset) = json_is_true(json_object_get(words, flags[i].key));
	for (size_t i = 0; i < RT_ARRAY_SIZE(strings); i++) {
		const char *string = json_string_value(json_object_get(words, strings[i].key));

		if (!string)
			return rt_fail(RT_USAGE, "'rt receive --worker' is not for people");
		*(const char **)((char *)ret + strings[i].offset) = string;
	}
	return NULL;
}

/* ---- starting one ---- */

static const char *manager_word(enum rt_cgroup_manager manager)
{
	switch (manager) {
	case RT_CGROUP_CGROUPFS:
		return "cgroupfs";
	case RT_CGROUP_SYSTEMD:
		return "systemd";
	case RT_CGROUP_DISABLED:
		return "disabled";
	}
	return "cgroupfs";
}

/* In the child. Its standard output is the container's; what it has to say itself goes where the daemon's words go. */
static void become_worker(const struct rt_worker_task *task, int end, int output)
{
	const char *argv[] = { "rt-migrate", "--root", task->context->root, "--cgroup-manager", manager_word(task->context->manager), "--log",
			       "/proc/self/fd/4", "receive", "--worker", NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	rt_signals_reset();
	setsid();
	/* Above all that is put in place here. */
	end = fcntl(end, F_DUPFD_CLOEXEC, 10);
	output = fcntl(output, F_DUPFD_CLOEXEC, 10);
	if (dup2(STDERR_FILENO, RT_WORKER_LOG_FD) < 0 || dup2(end, RT_WORKER_FD) < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
	    dup2(output, STDERR_FILENO) < 0)
		_exit(126);
	execv("/proc/self/exe", (char **)argv);
	_exit(127);
}

struct rt_error *rt_worker_start(const struct rt_worker_task *task, int *ret_fd, pid_t *ret_pid)
{
	_cleanup_free_ char *log = NULL;
	_cleanup_close_ int output = -1, ours = -1, theirs = -1;
	struct rt_error *err;
	int ends[2];

	err = rt_format(&log, "%s/output.log", task->bundle);
	if (!err)
		err = rt_link_pair(ends);
	if (err)
		return err;
	ours = ends[0];
	theirs = ends[1];
	output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (output < 0)
		return rt_fail_errno("cannot open '%s'", log);
	*ret_pid = fork();
	if (*ret_pid < 0)
		return rt_fail_errno("cannot fork");
	if (*ret_pid == 0)
		become_worker(task, theirs, output);
	err = send_task(task, ours);
	if (err)
		return err;
	*ret_fd = rt_take_fd(ours);
	return NULL;
}

/* ---- finding one again ---- */

static const struct flock whole_file = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

/* A POSIX lock: what we fork does not hold it, and it tells who does. */
struct rt_error *rt_worker_take_lock(int dir_fd)
{
	struct flock lock = whole_file;
	int fd = openat(dir_fd, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0)
		return rt_fail_errno("cannot lock '" LOCK "'");
	return NULL; /* it stays open as long as we live */
}

struct rt_error *rt_worker_alive(int dir_fd, pid_t *ret)
{
	_cleanup_close_ int fd = openat(dir_fd, LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct flock lock = whole_file;

	*ret = 0;
	if (fd < 0)
		return errno == ENOENT ? NULL : rt_fail_errno("cannot open '" LOCK "'");
	if (fcntl(fd, F_GETLK, &lock) < 0)
		return rt_fail_errno("cannot look at '" LOCK "'");
	*ret = lock.l_type == F_UNLCK ? 0 : lock.l_pid;
	return NULL;
}

struct sockaddr_un rt_worker_address(int dir_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/" SOCKET, rt_fd_path(dir_fd).text);
	return address;
}

struct rt_error *rt_worker_attach(const char *directory, int *ret_fd)
{
	struct sockaddr_un address;
	_cleanup_close_ int dir_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;

	*ret_fd = -1;
	if (dir_fd < 0)
		return rt_fail_errno("cannot open '%s'", directory);
	address = rt_worker_address(dir_fd);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return rt_fail_errno("cannot make a socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == ENOENT || errno == ECONNREFUSED ? NULL : rt_fail_errno("cannot reach the worker in '%s'", directory);
	*ret_fd = rt_take_fd(fd);
	return NULL;
}
