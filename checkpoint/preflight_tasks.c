#include "checkpoint/preflight.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/sys/peek.h"

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* CRIU's own default for --ghost-limit. */
#define GHOST_LIMIT (1u << 20)
/* As many guests are told by name. */
#define NAMED_GUESTS 3
#define PROC_FILE_LIMIT (16u << 20)

/* linux/major.h, linux/miscdevice.h */
#define MISC_MAJOR 10
#define TUN_MINOR 200
#define TTY_MAJOR 4
#define TTYAUX_MAJOR 5
#define PTY_FIRST 136
#define PTY_LAST 143

struct task {
	const struct rt_preflight_subject *subject;
	struct rt_preflight *report;
	pid_t pid;
	char name[32]; /* comm */
	uint32_t uid; /* the one of the four ids that differs from root's, as the host sees it */
	pid_t tracer;
	uint64_t memory;
	bool says_tcp; /* sockets are reported once, by the first process that holds one */
};

/* A process may end while we look at it; then it is no obstacle. */
static bool has_gone(const struct rt_error *err)
{
	return err->errnum == ENOENT || err->errnum == ESRCH;
}

static struct rt_error *read_status(struct task *task, bool *ret_there)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long rss_anon = 0, rss_shmem = 0;
	unsigned ids[4] = { 0 };
	char *rest, *line;
	struct rt_error *err;
	char path[64];

	*ret_there = false;
	snprintf(path, sizeof(path), "/proc/%d/status", task->pid);
	err = rt_read_file_at(AT_FDCWD, path, PROC_FILE_LIMIT, &text, NULL);
	if (err && has_gone(err)) {
		rt_error_free(err);
		return NULL;
	}
	if (err)
		return err;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		sscanf(line, "Name:\t%31s", task->name);
		sscanf(line, "TracerPid:\t%d", &task->tracer);
		sscanf(line, "Uid:\t%u\t%u\t%u\t%u", &ids[0], &ids[1], &ids[2], &ids[3]);
		sscanf(line, "RssAnon:\t%llu kB", &rss_anon);
		sscanf(line, "RssShmem:\t%llu kB", &rss_shmem);
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(ids); i++)
		task->uid = ids[i] ? ids[i] : task->uid;
	task->memory = (rss_anon + rss_shmem) << 10;
	*ret_there = true;
	return NULL;
}

static struct rt_error *check_tracer(const struct task *task)
{
	return task->tracer ? rt_preflight_add(task->report, "process %d (%s) is traced by process %d", task->pid, task->name, task->tracer) : NULL;
}

static struct rt_error *check_status(const struct task *task)
{
	struct rt_error *err = check_tracer(task);

	/* CRIU reads a task's limits through prlimit(), which takes CAP_SYS_RESOURCE in the task's user namespace for another uid. */
	if (!err && task->uid && !task->subject->own_user_namespace && !task->subject->may_raise_limits)
		err = rt_preflight_add(task->report, "process %d (%s) runs as uid %u in the host's user namespace, and without "
				       "CAP_SYS_RESOURCE its limits can't be read; give the container a user namespace of its own",
				       task->pid, task->name, task->uid);
	return err;
}

static struct rt_error *check_pid_namespace(const struct task *task)
{
	struct stat own, init;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", task->pid);
	if (stat(path, &own) < 0)
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", task->subject->init);
	if (stat(path, &init) < 0 || own.st_ino == init.st_ino)
		return NULL;
	return rt_preflight_add(task->report, "process %d (%s) is in a pid namespace made inside of the container, which CRIU does not support",
				task->pid, task->name);
}

/* CRIU (4.2) makes an ordinary one of it, whose reader gets the whole count. Kernels before 6.5 do not tell. */
static struct rt_error *check_eventfd(const struct task *task, const char *fd)
{
	_cleanup_free_ char *text = NULL;
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", task->pid, fd);
	rt_error_free(rt_read_file_at(AT_FDCWD, path, PROC_FILE_LIMIT, &text, NULL));
	if (!text || !strstr(text, "\neventfd-semaphore: 1"))
		return NULL;
	return rt_preflight_add(task->report, "process %d (%s) holds an eventfd that is a semaphore (EFD_SEMAPHORE, descriptor %s), which CRIU "
				"would bring back as one that is not", task->pid, task->name, fd);
}

static struct rt_error *check_anonymous(const struct task *task, const char *fd, const char *kind)
{
	static const struct {
		const char *kind, *words;
	} unsupported[] = {
		{ "[io_uring]", "io_uring" },
		{ "[perf_event]", "a perf event" },
		{ "[userfaultfd]", "a userfaultfd" },
		{ "bpf-prog", "a BPF program" },
		{ "bpf_link", "a BPF link" },
		{ "kvm-vm", "a KVM machine" },
		{ "kvm-vcpu", "a KVM processor" },
		{ "[landlock-ruleset]", "a Landlock rule set" },
		{ "[secretmem]", "secret memory" },
	};

	if (rt_str_starts(kind, "[eventfd"))
		return check_eventfd(task, fd);
	for (size_t i = 0; i < RT_ARRAY_SIZE(unsupported); i++)
		if (rt_str_starts(kind, unsupported[i].kind))
			return rt_preflight_add(task->report, "process %d (%s) uses %s (descriptor %s), which CRIU does not support",
						task->pid, task->name, unsupported[i].words, fd);
	return NULL;
}

static struct rt_error *check_removed(const struct task *task, const char *fd, const char *name, const struct stat *st)
{
	uint64_t limit = task->subject->settings->ghost_limit ? task->subject->settings->ghost_limit : GHOST_LIMIT;

	if (!S_ISREG(st->st_mode))
		return NULL;
	if (st->st_nlink == 0 && (uint64_t)st->st_blocks * 512 > limit)
		return rt_preflight_add(task->report, "process %d (%s) holds the removed file '%s' of %llu bytes (descriptor %s), more than "
					"--ghost-limit allows (%llu)", task->pid, task->name, name,
					(unsigned long long)st->st_size, fd, (unsigned long long)limit);
	if (st->st_nlink > 0 && !task->subject->settings->link_remap)
		return rt_preflight_add(task->report, "process %d (%s) holds the file '%s', removed under this name but not under another "
					"(descriptor %s): --link-remap takes it along", task->pid, task->name, name, fd);
	return NULL;
}

/* Memory devices, terminals and tun are CRIU's; the state of others is in their drivers. */
static struct rt_error *check_device(const struct task *task, const char *fd, const char *name, const struct stat *st)
{
	unsigned number = major(st->st_rdev);

	if (!S_ISCHR(st->st_mode) && !S_ISBLK(st->st_mode))
		return NULL;
	if (S_ISCHR(st->st_mode) && (number == 1 || number == TTY_MAJOR || number == TTYAUX_MAJOR ||
				     (number >= PTY_FIRST && number <= PTY_LAST) ||
				     (number == MISC_MAJOR && minor(st->st_rdev) == TUN_MINOR)))
		return NULL;
	return rt_preflight_add(task->report, "process %d (%s) has device '%s' open (descriptor %s), whose state CRIU can't take along",
				task->pid, task->name, name, fd);
}

static struct rt_error *check_locks(const struct task *task, const char *fd)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	char path[96];

	if (task->subject->settings->file_locks)
		return NULL;
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", task->pid, fd);
	err = rt_read_file_at(AT_FDCWD, path, PROC_FILE_LIMIT, &text, NULL);
	if (err) {
		rt_error_free(err); /* closed meanwhile */
		return NULL;
	}
	if (!strstr(text, "\nlock:"))
		return NULL;
	return rt_preflight_add(task->report, "process %d (%s) holds a file lock (descriptor %s): --file-locks takes it along", task->pid,
				task->name, fd);
}

/* From ESTABLISHED to CLOSING, but not TIME_WAIT and CLOSE. */
static bool is_connected(unsigned state)
{
	return state == 1 || state == 4 || state == 5 || state == 8 || state == 9 || state == 11;
}

/* Asks the socket itself. To find it in /proc/net/tcp takes the kernel through its hash table, 3 ms a read. False where that can't be done. */
static bool ask_socket(pid_t pid, const char *number, bool *ret_connected)
{
	_cleanup_close_ int fd = rt_sys_peek_fd(pid, pid, atoi(number));
	socklen_t size = sizeof(int);
	struct tcp_info info;
	int protocol;

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0)
		return false;
	*ret_connected = false;
	size = sizeof(info);
	if (protocol != IPPROTO_TCP || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return true; /* a protocol of netlink's has the same number */
	*ret_connected = is_connected(info.tcpi_state);
	return true;
}

/* Column 4 of /proc/net/tcp is the state, column 10 the inode. */
static bool is_connection(const char *line, unsigned long inode)
{
	unsigned state;
	unsigned long number;

	if (sscanf(line, " %*d: %*s %*s %x %*s %*s %*s %*s %*s %lu", &state, &number) != 2 || number != inode)
		return false;
	return is_connected(state);
}

static bool find_in_tables(pid_t pid, unsigned long inode)
{
	static const char *const tables[] = { "tcp", "tcp6" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(tables); i++) {
		_cleanup_free_ char *text = NULL;
		char *rest, *line;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, tables[i]);
		rt_error_free(rt_read_file_at(AT_FDCWD, path, PROC_FILE_LIMIT, &text, NULL));
		for (rest = text; rest && (line = strsep(&rest, "\n"));)
			if (is_connection(line, inode))
				return true;
	}
	return false;
}

static struct rt_error *check_connection(struct task *task, const char *fd, const char *link)
{
	const struct rt_criu_settings *settings = task->subject->settings;
	unsigned long inode;
	bool connected;

	if (settings->tcp_established || settings->tcp_close || task->says_tcp || sscanf(link, "socket:[%lu]", &inode) != 1)
		return NULL;
	if (!ask_socket(task->pid, fd, &connected))
		connected = find_in_tables(task->pid, inode);
	if (!connected)
		return NULL;
	task->says_tcp = true;
	return rt_preflight_add(task->report, "process %d (%s) has an established TCP connection (descriptor %s): --tcp-established takes it along",
				task->pid, task->name, fd);
}

static struct rt_error *check_descriptor(struct task *task, int dir_fd, const char *fd)
{
	static const char removed[] = " (deleted)";
	struct rt_error *err;
	char link[PATH_MAX];
	struct stat st;
	ssize_t length = readlinkat(dir_fd, fd, link, sizeof(link) - 1);

	if (length < 0 || fstatat(dir_fd, fd, &st, 0) < 0)
		return NULL; /* closed meanwhile */
	link[length] = '\0';
	if (rt_str_starts(link, "anon_inode:"))
		return check_anonymous(task, fd, link + strlen("anon_inode:"));
	if (rt_str_starts(link, "/secretmem")) /* a file system of its own, mounted nowhere */
		return check_anonymous(task, fd, "[secretmem]");
	if (rt_str_starts(link, "socket:"))
		return check_connection(task, fd, link);
	err = check_device(task, fd, link, &st);
	if (!err && (size_t)length > strlen(removed) && rt_str_equal(link + length - strlen(removed), removed) &&
	    !rt_str_starts(link, "/memfd:")) {
		link[(size_t)length - strlen(removed)] = '\0';
		err = check_removed(task, fd, link, &st);
	}
	return err ? err : check_locks(task, fd);
}

static struct rt_error *check_descriptors(struct task *task)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *entry;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", task->pid);
	dir = opendir(path);
	if (!dir && (errno == ENOENT || errno == ESRCH))
		return NULL;
	if (!dir)
		return rt_fail_errno("cannot read '%s'", path);
	while ((entry = readdir(dir))) {
		struct rt_error *err;

		if (entry->d_name[0] == '.')
			continue;
		err = check_descriptor(task, dirfd(dir), entry->d_name);
		if (err)
			return err;
	}
	return NULL;
}

/* They are seized with the rest, which a tracer prevents; all else they do is no concern of CRIU's. Named: the first ones. */
static struct rt_error *check_guests(const struct rt_preflight_subject *subject, const struct rt_members *members, struct rt_preflight *report)
{
	_cleanup_free_ char *names = NULL;
	size_t known = 0;

	for (size_t i = 0; i < members->guests; i++) {
		struct task task = { .subject = subject, .report = report, .pid = members->pids[members->count + i] };
		_cleanup_free_ char *before = NULL;
		struct rt_error *err;
		bool there;

		err = read_status(&task, &there);
		if (!err && there)
			err = check_tracer(&task);
		if (err)
			return err;
		if (!there || ++known > NAMED_GUESTS)
			continue;
		before = rt_take_ptr(names);
		err = rt_format(&names, "%s%s%d (%s)", before ? before : "", before ? ", " : "", task.pid, task.name);
		if (err)
			return err;
	}
	if (known == 0 || subject->settings->pre_dump)
		return NULL;
	return rt_format(&report->note, "a restore will not bring back what 'rt exec' put in, as it is no child of the container's init: process%s %s%s%s",
			 known > 1 ? "es" : "", names, known > NAMED_GUESTS ? " and others" : "",
			 subject->settings->leave_running ? "" : known > 1 ? ", which end with it" : ", which ends with it");
}

struct rt_error *rt_preflight_tasks(const struct rt_preflight_subject *subject, const struct rt_members *members,
				    struct rt_preflight *report, uint64_t *ret_memory)
{
	bool says_tcp = false;

	*ret_memory = 0;
	for (size_t i = 0; i < members->count; i++) {
		struct task task = { .subject = subject, .report = report, .pid = members->pids[i], .says_tcp = says_tcp };
		struct rt_error *err;
		bool there;

		err = read_status(&task, &there);
		if (!err && there)
			err = check_status(&task);
		if (!err && there)
			err = check_pid_namespace(&task);
		if (!err && there)
			err = check_descriptors(&task);
		if (err)
			return err;
		*ret_memory += task.memory;
		says_tcp = task.says_tcp;
	}
	return check_guests(subject, members, report);
}
