#include "runtime/sys/seal.h"

#include "runtime/base/str.h"
#include "runtime/sys/cred.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10U
#endif

#define SELF "/proc/self/exe"

struct rt_error *rt_sys_load_filter(const struct sock_filter *program, uint16_t length, unsigned flags,
				    int *ret_listener)
{
	const struct sock_fprog filter = {.len = length, .filter = (struct sock_filter *)program};
	long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);

	if (result < 0)
		return rt_fail_errno("cannot load the seccomp filter");
	if (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
		*ret_listener = (int)result;
	else if (result > 0)
		return rt_fail(RT_SYSTEM, "cannot load the seccomp filter: thread %ld has another one", result);
	return NULL;
}

/* 0 where it can be executed, else the errno that says why not. */
static int why_not_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EACCES;
	/* By the effective ids: what execve goes by. */
	return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 ? errno : 0;
}

static struct rt_error *take_copy(const char *path, char **ret)
{
	char *copy = strdup(path);

	if (!copy)
		return rt_error_oom();
	*ret = copy;
	return NULL;
}

static const char *path_of(const char *const *env)
{
	for (; *env; env++)
		if (rt_str_starts(*env, "PATH="))
			return *env + strlen("PATH=");
	return "";
}

/* An empty element is the working directory. */
static struct rt_error *search_path(const char *name, const char *path, char **ret, bool *ret_denied)
{
	while (*path) {
		size_t length = strcspn(path, ":");
		_cleanup_free_ char *candidate = NULL;
		struct rt_error *err;
		int errnum;

		err = rt_format(&candidate, "%.*s%s%s", (int)length, path, length > 0 ? "/" : "./", name);
		if (err)
			return err;
		errnum = why_not_executable(candidate);
		if (errnum == 0) {
			*ret = rt_take_ptr(candidate);
			return NULL;
		}
		if (errnum == EACCES)
			*ret_denied = true;
		path += length;
		if (*path == ':')
			path++;
	}
	return NULL;
}

struct rt_error *rt_sys_find_executable(const char *name, const char *const *env, char **ret)
{
	char *found = NULL;
	bool denied = false;
	struct rt_error *err;

	if (strchr(name, '/')) {
		int errnum = why_not_executable(name);

		return errnum == 0 ? take_copy(name, ret) : rt_fail_with(errnum, "exec: \"%s\"", name);
	}
	/* An empty name would find the first directory of the path. */
	if (*name) {
		err = search_path(name, path_of(env), &found, &denied);
		if (err)
			return err;
	}
	if (!found && denied)
		return rt_fail_with(EACCES, "exec: \"%s\"", name);
	if (!found)
		return rt_fail_with(ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
	*ret = found;
	return NULL;
}

struct rt_error *rt_sys_exec(const char *path, const char *const *args, const char *const *env)
{
	execve(path, (char *const *)args, (char *const *)env);
	return rt_fail_errno("exec: \"%s\"", path);
}

/* True where nobody can write to our binary through the link to it in procfs. */
static struct rt_error *is_sealed(bool *ret)
{
	_cleanup_close_ int fd = -1;
	const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct statfs fs;
	int seals;

	if (statfs(SELF, &fs) < 0)
		return rt_fail_errno("cannot look at '" SELF "'");
	*ret = fs.f_flags & ST_RDONLY;
	/* A copy in memory looks like a file of a tmpfs. */
	if (*ret || fs.f_type != TMPFS_MAGIC)
		return NULL;
	fd = open(SELF, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	seals = fcntl(fd, F_GET_SEALS);
	*ret = seals >= 0 && (seals & wanted) == wanted;
	return NULL;
}

/* -1: we may not, or the kernel can't (open_tree 5.2, mount_setattr 5.12). Once the descriptor is closed, by execve,
 * the mount belongs to no namespace any more, so that no process, whatever its rights, can make it writable. */
static int clone_readonly(void)
{
	_cleanup_close_ int fd = (int)syscall(SYS_open_tree, AT_FDCWD, SELF, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};

	if (fd < 0)
		return -1;
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attributes, sizeof(attributes)) < 0)
		return -1;
	return rt_take_fd(fd);
}

/* Without rights over mounts: a binary that its user can neither write to nor make writable is safe from the user's
 * containers. */
static bool is_out_of_reach(void)
{
	struct stat st;

	return geteuid() != 0 && stat(SELF, &st) == 0 && st.st_uid != geteuid() &&
	       faccessat(AT_FDCWD, SELF, W_OK, AT_EACCESS) < 0;
}

static struct rt_error *copy_to_memory(int *ret)
{
	_cleanup_close_ int from = open(SELF, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int copy = memfd_create("rt", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	ssize_t sent;

	if (from < 0)
		return rt_fail_errno("cannot open '" SELF "'");
	/* Kernels before 6.3 don't know MFD_EXEC, and make it executable anyway. */
	if (copy < 0 && errno == EINVAL)
		copy = memfd_create("rt", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (copy < 0)
		return rt_fail_errno("cannot create a file in memory");
	do {
		sent = sendfile(copy, from, NULL, 1 << 30);
	} while (sent > 0 || (sent < 0 && errno == EINTR));
	if (sent < 0)
		return rt_fail_errno("cannot copy the runtime's binary into memory");
	if (fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return rt_fail_errno("cannot seal the copy of the runtime's binary");
	*ret = rt_take_fd(copy);
	return NULL;
}

static bool has_own_mark(void)
{
	const char *mark = getenv(RT_SEAL_MARK);
	uint64_t pid;

	return mark && rt_str_to_u64(mark, &pid) && pid == (uint64_t)getpid();
}

/* Who has a descriptor of a read-only mount of our binary, as a container may that looked at one of us, can open it for writing in vain as often as he
 * likes; but the kernel counts him among the writers until it has looked at the mount, and nobody can run the binary for that moment. */
#define BUSY_TRIES 1000
#define BUSY_PAUSE_NS 100000

static struct rt_error *run_again_from(int fd, char **argv)
{
	char mark[32];

	snprintf(mark, sizeof(mark), "%d", getpid());
	if (setenv(RT_SEAL_MARK, mark, 1) < 0)
		return rt_error_oom();
	for (int i = 0; i < BUSY_TRIES; i++) {
		syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
		if (errno != ETXTBSY)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = BUSY_PAUSE_NS }, NULL);
	}
	return rt_fail_errno("cannot run the runtime's sealed binary");
}

struct rt_error *rt_sys_seal_self(char **argv)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	bool sealed = false, again = has_own_mark();

	err = is_sealed(&sealed);
	if (err)
		return err;
	if (again) {
		unsetenv(RT_SEAL_MARK);
		/* execveat by descriptor leaves its number as the name of the process. */
		if (sealed)
			return rt_sys_set_name("rt");
		/* Never a third time: it would go on for ever. */
		return rt_fail(RT_SYSTEM,
			       "cannot protect the runtime's binary: it is still writable after it was sealed");
	}
	if (sealed)
		return NULL;
	fd = clone_readonly();
	if (fd < 0) {
		if (is_out_of_reach())
			return NULL;
		err = copy_to_memory(&fd);
		if (err)
			return rt_while(err, "protecting the runtime's binary");
	}
	return run_again_from(fd, argv);
}
