#include "checkpoint/criulog.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define READ_EACH_END ((size_t)4 << 20)
#define LINE_MAX_SHOWN 300
#define LINES_FOLLOWED 3

/* What is known beyond a line. All of `parts` must occur in it, in any order. The first row that fits counts, so the
 * special stand before the general. */
struct known {
	const char *parts[3];
	const char *words;
};

static const struct known known[] = {
	/* files */
	{ { "io_uring" }, "a process uses io_uring, which CRIU cannot checkpoint" },
	{ { "Can't lookup mount" },
	  "an open file lies outside the container's mounts: redirect it to a pipe or /dev/null, or close it" },
	{ { "Can't dump ghost file" },
	  "a deleted file that is still open is larger than the limit: raise it with --ghost-limit" },
	{ { "Can't create link remap" }, "a deleted file that is still open has other names: allow linking it with --link-remap" },
	{ { "overmounted mounts are not supported" }, "an open file lies below a directory that was mounted over later" },
	{ { "overmounted so paths are invisible" }, "an open file lies below a directory that was mounted over later" },
	{ { "Can't dump file", "anon" }, "a process holds a descriptor of a kind CRIU cannot checkpoint" },
	{ { "Can't dump file", "chr" }, "a process holds a device open that CRIU cannot checkpoint" },
	{ { "Can't dump file" }, "a process holds a descriptor of a kind CRIU cannot checkpoint" },
	{ { "Some file locks are hold" }, "a process holds a file lock: allow checkpointing it with --file-locks" },
	{ { "Unresolved lock found" }, "a file is locked by somebody outside the container" },
	{ { "PIDFD_THREAD" }, "a process holds a pidfd of a thread, which CRIU cannot checkpoint" },
	{ { "has bad size", "expect" }, "a file of the root filesystem is not the one of the checkpoint: its size differs" },
	{ { "has bad mode", "expect" }, "a file of the root filesystem is not the one of the checkpoint: its mode differs" },
	{ { "has bad build-ID" }, "a program of the root filesystem is not the one of the checkpoint" },
	{ { "Can't open file", "on restore", "No such file" },
	  "a file the process had open is missing: the root filesystem is not that of the checkpoint" },
	{ { "Can't open file", "No such file" },
	  "a file the process had open is missing: the root filesystem is not that of the checkpoint" },
	/* sockets */
	{ { "consider using --tcp-established" },
	  "there is an established TCP connection: keep it with --tcp-established, or allow cutting it with --tcp-close at restore" },
	{ { "Connected TCP socket in image" },
	  "the checkpoint has established TCP connections: restore it with --tcp-established, or cut them with --tcp-close" },
	{ { "consider using", "skip-in-flight" },
	  "a TCP connection is being made just now: leave it out with --tcp-skip-in-flight, or try again" },
	{ { "In-flight connection" },
	  "a TCP connection is being made just now: leave it out with --tcp-skip-in-flight, or try again" },
	{ { "--ext-unix-sk" }, "a unix socket is connected to somebody outside the container: allow it with --ext-unix-sk" },
	{ { "half of stream unix connection" },
	  "a unix stream socket is connected to somebody outside the container: close that connection" },
	{ { "name-less external socket" }, "an unnamed unix socket is connected to somebody outside the container" },
	{ { "unreachable peer" }, "a unix socket is connected to somebody outside the container" },
	{ { "Can't get 1:16 opt" }, "this criu does not understand the sockets of Linux 6.16 and later: criu 4.2 or later is needed" },
	{ { "Can't get 1:34 opt" }, "this criu does not understand the sockets of Linux 6.16 and later: criu 4.2 or later is needed" },
	{ { "Can't dump corked dgram" }, "a UDP socket holds corked data, which CRIU cannot checkpoint" },
	{ { "socket from an external network namespace" }, "a socket belongs to a network namespace outside the container" },
	{ { "Unsupported proto" }, "a socket of a protocol CRIU cannot checkpoint is open" },
	{ { "Unknown socket collected" }, "a socket of a family CRIU cannot checkpoint is open" },
	{ { "Unknown pair family" }, "a socket of a family CRIU cannot checkpoint is open" },
	{ { "Can't bind inet socket", "Address already in use" }, "a port the container listened on is taken on this host" },
	{ { "Can't bind inet socket", "Cannot assign requested address" },
	  "an address of the container does not exist here: its network must be made before the restore" },
	{ { "Can't bind inet socket" }, "an address or port of the container cannot be had here" },
	{ { "Can't bind", "assign requested address" },
	  "an address of the container does not exist here: its network must be made before the restore" },
	{ { "Can't connect inet socket back" }, "the address of an established connection does not exist here" },
	{ { "the --tcp-close option" }, "the checkpoint was made with --tcp-close and must be restored with it" },
	{ { "Diag module missing" }, "the kernel lacks the socket diagnosis modules (inet_diag, unix_diag, ...)" },
	/* terminals */
	{ { "--shell-job" }, "the container is bound to the terminal it was started from: allow it with --shell-job" },
	{ { "dangling tty" }, "the container is bound to the terminal it was started from: allow it with --shell-job" },
	{ { "Found slave peer index", "without" }, "the container's terminal has its other end outside: allow it with --shell-job" },
	{ { "Standard stream is not a terminal" }, "the checkpoint had a terminal and there is none now" },
	/* mounts */
	{ { "--enable-external-masters" }, "a mount shares its propagation with the host: make it private" },
	{ { "unreachable sharing" }, "a mount shares its propagation with the host: make it private" },
	{ { "autodetected external mount" }, "a mount comes from outside the container and was not declared" },
	{ { "doesn't have a proper root mount" }, "a mount comes from outside the container and was not declared" },
	{ { "unsupported id" }, "a mount is of a file system CRIU cannot checkpoint" },
	{ { "FS mnt" }, "a mount is of a file system CRIU cannot checkpoint" },
	{ { "Unsupported FS" }, "a mount is of a file system CRIU cannot checkpoint" },
	{ { "Nested mount namespaces" }, "a process made a mount namespace of its own inside a user namespace, which CRIU cannot checkpoint" },
	{ { "has two children with same" }, "two mounts lie on the same directory" },
	{ { "No mapping for" }, "a mount from outside the container was not given at restore" },
	{ { "Can't mount at", "No such file" }, "a mount point or its source is missing: the root filesystem is not that of the checkpoint" },
	{ { "mnt", "Can't bind-mount", "No such file" }, "the source of a bind mount is missing" },
	/* processes and kernel */
	{ { "Can't get rlimit" },
	  "the container's user cannot be inspected without CAP_SYS_RESOURCE (prlimit): run rt with it, or give the container a user namespace" },
	{ { "prlimit", "Operation not permitted" },
	  "the container's user cannot be inspected without CAP_SYS_RESOURCE (prlimit): run rt with it, or give the container a user namespace" },
	{ { "Can't fork for", "File exists" }, "a process id of the checkpoint is taken here: restore into a new PID namespace" },
	{ { "do not match expected" }, "a process id of the checkpoint is taken here: restore into a new PID namespace" },
	{ { "criu itself is within dumped tree" }, "CRIU would have to checkpoint itself: run rt from outside the container" },
	{ { "Unable to freeze cgroup" }, "the processes could not be frozen in time: raise --timeout" },
	{ { "Unseizable" }, "a process cannot be traced: a debugger is attached, or it runs with more privileges than we" },
	{ { "SEIZE", "Operation not permitted" },
	  "a process cannot be traced: a debugger is attached, or it runs with more privileges than we" },
	{ { "Zombies with threads" }, "a zombie process still has threads" },
	{ { "Can't dump nested" }, "a process made a namespace of its own of a kind CRIU cannot checkpoint" },
	{ { "rt vDSO" }, "this criu does not understand this kernel's vDSO: a newer criu is needed" },
	{ { "vdso:" }, "this criu does not get on with this kernel's vDSO: a newer criu may be needed" },
	{ { "vDSO" }, "this criu does not get on with this kernel's vDSO: a newer criu may be needed" },
	{ { "cpu:", "do not match" }, "the processor here lacks features of the one the checkpoint was made on" },
	{ { "FPU feature required" }, "the processor here lacks features of the one the checkpoint was made on" },
	{ { "xsave size mismatch" }, "the processor here has another extended state than the one the checkpoint was made on" },
	{ { "xsave max size mismatch" }, "the processor here has another extended state than the one the checkpoint was made on" },
	{ { "dirty memory tracker" }, "the kernel cannot track memory changes (CONFIG_MEM_SOFT_DIRTY): no pre-dump here" },
	{ { "Tracking memory is not available" },
	  "the kernel cannot track memory changes (CONFIG_MEM_SOFT_DIRTY): no pre-dump here" },
	{ { "page-pipe: splice", "Bad file descriptor" },
	  "CRIU could not enlarge a pipe: raise fs.pipe-max-size, or run rt with CAP_SYS_RESOURCE" },
	{ { "Can't make pipe for page-pipe" }, "CRIU ran out of pipes: raise fs.pipe-user-pages-soft or the limit of open files" },
	{ { "Too many open files" }, "CRIU ran out of file descriptors: raise the limit of open files (RLIMIT_NOFILE)" },
	{ { "No space left on device" }, "the disk is full" },
	{ { "Disk quota exceeded" }, "the disk quota is used up" },
	{ { "suspend seccomp" }, "the kernel cannot suspend seccomp filters for CRIU" },
	{ { "seccomp", "not supported" }, "the kernel cannot read seccomp filters back" },
	{ { "Can't dump high memory" }, "the kernel has an old defect that keeps CRIU from a memory mapping" },
	{ { "Unsupported mapping" }, "a process has mapped memory of a kind CRIU cannot checkpoint (of a device, say)" },
	{ { "aio", "ring" }, "a process uses asynchronous I/O in a way CRIU cannot checkpoint" },
	/* network */
	{ { "iptables-restore returned" }, "iptables does not work here: choose --network-lock nftables" },
	{ { "iptables", "execvp" }, "iptables is not installed: install it, or choose --network-lock nftables" },
	{ { "ip6tables", "execvp" }, "iptables is not installed: install it, or choose --network-lock nftables" },
	{ { "without libnftables support" }, "this criu was built without nftables: choose --network-lock iptables" },
	{ { "Locking network failed using nftables" }, "the kernel refused CRIU's nftables rules: choose --network-lock iptables" },
	{ { "Locking connection failed using nftables" },
	  "the kernel refused CRIU's nftables rules: choose --network-lock iptables" },
	{ { "Unable to find an external netns" }, "the network namespace the container had joined was not given at restore" },
	{ { "Unsupported link" }, "the container has a network device CRIU cannot checkpoint: give it a network namespace by path" },
	{ { "IP tool failed" }, "the program 'ip' (iproute2) failed or is missing" },
	{ { "execvp", "\"tar\"" }, "the program 'tar' is missing: CRIU needs it for tmpfs contents" },
	{ { "execvp", "No such file" }, "a program CRIU needs is not installed" },
	/* security modules, cgroups, images */
	{ { "apparmor not supported by kernel" }, "the checkpoint wants AppArmor, which this kernel does not have" },
	{ { "selinux not supported by kernel" }, "the checkpoint wants SELinux, which this kernel does not have" },
	{ { "mismatched lsm types" }, "the checkpoint was made under another security module than this kernel's" },
	{ { "Abort restore of existing cgroups" }, "a cgroup of the checkpoint exists already" },
	{ { "controller", "not found" }, "a cgroup controller of the checkpoint does not exist here" },
	{ { "Not supported images version" }, "the images are of a CRIU this one does not know" },
	{ { "agic doesn't match" }, "an image is damaged, or not CRIU's" },
	{ { "Failed unpacking" }, "an image is damaged" },
	{ { "Unexpected EOF" }, "an image is cut off" },
	{ { "Missing", "in parent pagemap" }, "the parent image is not the one this checkpoint was made on" },
	{ { "parent image directory" }, "the parent image is missing" },
	{ { "Permission denied", ".img" }, "the images cannot be read by root of the container's user namespace" },
};

/* Errors CRIU logs and then lives with, or that only report what another process met: they explain something only where
 * nothing else does. */
static const char *const tolerated[] = {
	"rlimit: Can't setup RLIMIT_NOFILE",
	"RPC client reported script error",
	"One of more action scripts failed",
	"cgroupd: recv req error",
	"Dumping FAILED",
	"Restoring FAILED",
	"Pre-dumping FAILED",
	"exited, status=",
	"killed by signal",
	"Unable to detach from",
	"Could not initialize kernel features detection",
	"Can't wait or bad status",
	"Unable to wait",
	"Task cookie mismatch",
	"Can't read request",
	"Failed to unlock TCP connection",
	"pidfd_open syscall is not supported",
	"Managed to open locked pty",
	"finished with error",
};

void rt_criulog_deinit(struct rt_criulog *log)
{
	free(log->line);
	*log = RT_CRIULOG_NULL;
}

static bool fits(const struct known *row, const char *line)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(row->parts) && row->parts[i]; i++)
		if (!strstr(line, row->parts[i]))
			return false;
	return true;
}

const char *rt_criulog_words(const char *line)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(known); i++)
		if (fits(&known[i], line))
			return known[i].words;
	return NULL;
}

/* How well a line explains. */
enum rank { RANK_NONE, RANK_TOLERATED, RANK_ERROR };

static enum rank rank_of(const char *message)
{
	for (size_t i = 0; i < RT_ARRAY_SIZE(tolerated); i++)
		if (strstr(message, tolerated[i]))
			return RANK_TOLERATED;
	return RANK_ERROR;
}

/* One line of the log, taken apart: "(00.010516)     13: Error (criu/mount.c:724): mnt: text". */
struct line {
	const char *message; /* from "mnt: " on */
	size_t size;
	int pid; /* 0: none */
};

/* False: no error line. `text` is one line, not NUL-terminated. */
static bool take_apart(const char *text, size_t size, struct line *ret)
{
	const char *end = text + size, *at, *close;
	long pid = 0;

	if (size > 0 && *text == '(') {
		while (text < end && *text != ')')
			text++;
		if (text < end)
			text++;
	}
	while (text < end && *text == ' ')
		text++;
	for (at = text; at < end && isdigit((unsigned char)*at) && pid < INT_MAX / 10; at++)
		pid = pid * 10 + (*at - '0');
	if (at > text && at < end && *at == ':') {
		for (text = at + 1; text < end && *text == ' '; text++)
			;
	} else {
		pid = 0;
	}
	if (end - text < 7 || memcmp(text, "Error (", 7) != 0)
		return false;
	close = memmem(text, (size_t)(end - text), "): ", 3);
	if (!close)
		return false;
	ret->message = close + 3;
	ret->size = (size_t)(end - ret->message);
	ret->pid = (int)pid;
	return true;
}

/* "pid: 13", "pid=13", "pid 13" in a message; 0 where there is none. */
static int pid_in(const char *message)
{
	const char *at = message;

	while ((at = strstr(at, "pid"))) {
		const char *number = at + 3 + strspn(at + 3, " :=");

		if (number > at + 3 && isdigit((unsigned char)*number)) {
			long pid = strtol(number, NULL, 10);

			return pid > 0 && pid < INT_MAX ? (int)pid : 0;
		}
		at += 3;
	}
	return 0;
}

/* A printable copy: the log holds names the container chose. */
static char *printable(const char *text, size_t size)
{
	size_t shown = size > LINE_MAX_SHOWN ? LINE_MAX_SHOWN : size;
	char *copy = malloc(shown + sizeof("..."));

	if (!copy)
		return NULL;
	for (size_t i = 0; i < shown; i++)
		copy[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
	while (shown > 0 && copy[shown - 1] == ' ')
		shown--;
	memcpy(copy + shown, size > LINE_MAX_SHOWN ? "..." : "", size > LINE_MAX_SHOWN ? sizeof("...") : 1);
	return copy;
}

struct rt_error *rt_criulog_parse(const char *text, size_t size, struct rt_criulog *ret)
{
	_cleanup_free_ char *best = NULL;
	enum rank best_rank = RANK_NONE;
	const char *end = text + size;
	unsigned follow = 0;
	int pid = 0;

	while (text < end && (best_rank < RANK_ERROR || (!pid && follow < LINES_FOLLOWED))) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *stop = newline ? newline : end;
		struct line line;

		if (take_apart(text, (size_t)(stop - text), &line)) {
			_cleanup_free_ char *message = printable(line.message, line.size);
			enum rank rank;

			if (!message)
				return rt_error_oom();
			rank = rank_of(message);
			if (best_rank == RANK_ERROR) {
				/* The functions above the one that failed often know whom it was about. */
				follow++;
				pid = line.pid ? line.pid : pid_in(message);
			} else if (rank > best_rank) {
				free(best);
				best = rt_take_ptr(message);
				best_rank = rank;
				pid = line.pid ? line.pid : pid_in(best);
			}
		}
		text = newline ? newline + 1 : end;
	}
	*ret = (struct rt_criulog){ .line = best, .pid = pid, .words = best ? rt_criulog_words(best) : NULL };
	best = NULL;
	return NULL;
}

static struct rt_error *read_ends(int fd, off_t size, char **ret, size_t *ret_size)
{
	size_t head = (size_t)size < 2 * READ_EACH_END ? (size_t)size : READ_EACH_END;
	size_t tail = head == (size_t)size ? 0 : READ_EACH_END;
	_cleanup_free_ char *text = malloc(head + tail + 1);
	size_t done = 0;

	if (!text)
		return rt_error_oom();
	while (done < head + tail) {
		off_t at = done < head ? (off_t)done : size - (off_t)(head + tail - done);
		ssize_t got = pread(fd, text + done, done < head ? head - done : head + tail - done, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot read it");
		if (got == 0)
			break;
		done += (size_t)got;
	}
	*ret = rt_take_ptr(text);
	*ret_size = done;
	return NULL;
}

struct rt_error *rt_criulog_load(int work_dir_fd, const char *name, struct rt_criulog *ret)
{
	_cleanup_close_ int fd = openat(work_dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	struct stat st;
	size_t size = 0;

	*ret = RT_CRIULOG_NULL;
	if (fd < 0 && errno == ENOENT)
		return NULL;
	if (fd < 0 || fstat(fd, &st) < 0)
		return rt_fail_errno("cannot open criu's log '%s'", name);
	if (!S_ISREG(st.st_mode))
		return rt_fail(RT_SYSTEM, "criu's log '%s' is no regular file", name);
	err = read_ends(fd, st.st_size, &text, &size);
	if (err)
		return rt_while(err, "reading criu's log '%s'", name);
	return rt_criulog_parse(text, size, ret);
}

struct rt_error *rt_criulog_explain(struct rt_error *err, int work_dir_fd, const char *name, bool kept)
{
	_cleanup_(rt_criulog_deinit) struct rt_criulog log = RT_CRIULOG_NULL;
	_cleanup_error_ struct rt_error *trouble = NULL;
	char process[32] = "", where[64];
	enum rt_code code = err->code;

	trouble = rt_criulog_load(work_dir_fd, name, &log);
	/* Where the refusal was ours, its reason is in `err` and CRIU's log only has that there was one. */
	if (trouble || !log.line || code != RT_CRIU || rank_of(log.line) < RANK_ERROR)
		return err;
	if (log.pid)
		snprintf(process, sizeof(process), "process %d: ", log.pid);
	snprintf(where, sizeof(where), kept ? "see '%s'" : "--work-path keeps its log, '%s'", name);
	rt_error_free(err);
	if (log.words)
		return rt_fail(RT_CRIU, "%s%s (criu: '%s'; %s)", process, log.words, log.line, where);
	return rt_fail(RT_CRIU, "%scriu: %s (%s)", process, log.line, where);
}
