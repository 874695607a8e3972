/* Steps on the way down to the rights of the process, and its start. */
#include "runtime/init/child.h"

#include "runtime/base/io.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/init/hooks.h"
#include "runtime/init/sync.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/seal.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* The host's /etc/passwd has no say; the container's may be huge or hostile. */
#define PASSWD_LIMIT (4u << 20)

static bool is_null_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

/* A /dev/null that was opened on the host's mounts ties the process to them: it could not be checkpointed. The
 * container's own takes its place. */
struct rt_error *rt_step_reopen_null(struct rt_init_child *child)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		_cleanup_close_ int own = -1;
		struct stat st;
		int flags;

		if (fstat(fd, &st) < 0 || !is_null_device(&st))
			continue;
		flags = fcntl(fd, F_GETFL);
		own = open("/dev/null", (flags & (O_ACCMODE | O_APPEND | O_NONBLOCK)) | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY);
		/* An image need not have one, and what it has may be anything. */
		if (own < 0 || fstat(own, &st) < 0 || !is_null_device(&st))
			continue;
		if (dup2(own, fd) < 0)
			return rt_fail_errno("cannot replace descriptor %d", fd);
	}
	return NULL;
}

/* So that the process can open its own /dev/stdout again. A host's /dev/null must not change hands. */
struct rt_error *rt_step_stdio_owner(struct rt_init_child *child)
{
	const struct rt_spec_user *user = &child->plan->process->user;

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		struct stat st;

		if (fstat(fd, &st) < 0) {
			if (errno == EBADF)
				continue;
			return rt_fail_errno("cannot stat descriptor %d", fd);
		}
		if (st.st_uid == user->uid || is_null_device(&st))
			continue;
		/* What is not ours, unmapped or on a read-only file system stays as it is. */
		if (fchown(fd, user->uid, (gid_t)-1) < 0 && errno != EINVAL && errno != EPERM && errno != EROFS)
			return rt_fail_errno("cannot change the owner of descriptor %d", fd);
	}
	return NULL;
}

static bool will_seal(const struct rt_init_plan *plan)
{
	return plan->filter.program != NULL;
}

struct rt_error *rt_step_switch_user(struct rt_init_child *child)
{
	const struct rt_init_plan *plan = child->plan;
	const struct rt_spec_user *user = &plan->process->user;
	uint64_t extra = 0;
	struct rt_error *err;

	/* A filter without no_new_privs takes CAP_SYS_ADMIN to load. It is loaded last of all, so this one is kept until
	 * then; execve takes it away, as it is in neither the bounding nor the ambient set. */
	if (will_seal(plan) && !plan->process->no_new_privileges)
		extra = 1ull << CAP_SYS_ADMIN;
	umask(user->has_umask ? user->umask : 0022);
	err = rt_caps_bound(&plan->caps);
	if (!err)
		err = rt_sys_set_keep_caps(true);
	if (!err)
		err = rt_sys_set_user(user->uid, user->gid, user->additional_gids, user->additional_gid_count);
	if (!err)
		err = rt_caps_set(&plan->caps, extra);
	return err;
}

/* As root first, whose rights may be needed to get there; where root has none (a network file system), as the user. */
struct rt_error *rt_step_try_directory(struct rt_init_child *child)
{
	child->in_directory = chdir(child->plan->process->cwd) == 0;
	if (!child->in_directory && errno != EACCES)
		return rt_fail_errno("cannot enter 'process.cwd' '%s'", child->plan->process->cwd);
	return NULL;
}

/* A cwd that leads through /proc/self/fd to a directory of the host is outside of our root: the kernel then gives a name
 * that does not begin with a slash (CVE-2024-21626). */
struct rt_error *rt_step_enter_directory(struct rt_init_child *child)
{
	const char *cwd = child->plan->process->cwd;
	char name[PATH_MAX + 16];

	if (!child->in_directory && chdir(cwd) < 0)
		return rt_fail_errno("cannot enter 'process.cwd' '%s'", cwd);
	if (!getcwd(name, sizeof(name)) || name[0] != '/')
		return rt_fail(RT_CONFIG, "'process.cwd' '%s' is outside of the container's root filesystem", cwd);
	return NULL;
}

/* Field 6 of the first line whose third is the uid; "/" where there is none. */
static struct rt_error *find_home(uid_t uid, char **ret)
{
	_cleanup_free_ char *passwd = NULL;
	char *rest, *line;
	const char *home = "/";
	_cleanup_close_ int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		rt_error_free(rt_read_all(fd, PASSWD_LIMIT, &passwd, NULL));
	for (rest = passwd; rest && (line = strsep(&rest, "\n"));) {
		const char *fields[7] = { NULL };
		uint64_t value;
		size_t count = 0;

		while (count < RT_ARRAY_SIZE(fields) && (fields[count] = strsep(&line, ":")))
			count++;
		if (count >= 6 && rt_str_to_u64(fields[2], &value) && value == uid && *fields[5]) {
			home = fields[5];
			break;
		}
	}
	return rt_format(ret, "HOME=%s", home);
}

static bool has_variable(const char *const *env, const char *prefix)
{
	for (; *env; env++)
		if (rt_str_starts(*env, prefix))
			return true;
	return false;
}

/* The spec's environment and what runtimes add to it: HOME, and the variables of socket activation. All of it lives until
 * execve, or until the child ends. */
static struct rt_error *make_environment(struct rt_init_child *child)
{
	const struct rt_spec_process *process = child->plan->process;
	const char **env = calloc(process->env_count + 4, sizeof(*env));
	struct rt_error *err = NULL;
	size_t count = process->env_count;
	char *text;

	if (!env)
		return rt_error_oom();
	child->env = env;
	memcpy(env, process->env, count * sizeof(*env));
	if (!has_variable(process->env, "HOME=")) {
		err = find_home(process->user.uid, &text);
		if (err)
			return err;
		env[count++] = text;
	}
	if (child->plan->listen_fds) {
		/* 1 only where it is the first process of a pid namespace. */
		err = rt_format(&text, "LISTEN_PID=%d", getpid());
		if (err)
			return err;
		env[count++] = child->plan->listen_fds;
		env[count++] = text;
	}
	return NULL;
}

struct rt_error *rt_step_find_executable(struct rt_init_child *child)
{
	const struct rt_spec_process *process = child->plan->process;
	struct rt_error *err = make_environment(child);

	if (err)
		return err;
	return rt_sys_find_executable(process->args[0], process->env, &child->executable);
}

struct rt_error *rt_step_close_descriptors(struct rt_init_child *child)
{
	return rt_close_on_exec_from(3 + (int)child->plan->preserve_fds);
}

/* A container is the same whoever starts it: a shell ignores SIGINT for what runs in its background, nohup SIGHUP, conmon
 * SIGPIPE, and all that would outlast execve. */
struct rt_error *rt_step_reset_signals(struct rt_init_child *child)
{
	rt_signals_reset();
	return NULL;
}

static struct rt_error *load_filter(struct rt_init_child *child, int *ret_listener)
{
	struct rt_init_plan *plan = child->plan;
	struct rt_error *err = NULL;

	if (plan->process->no_new_privileges)
		err = rt_sys_set_no_new_privs();
	if (!err && will_seal(plan))
		err = rt_sys_load_filter(plan->filter.program, plan->filter.length, plan->filter.flags, ret_listener);
	return err;
}

/* From here on only calls that such a profile must let through: write(2), and recvmsg(2), which its agent may answer. */
struct rt_error *rt_step_seal_with_listener(struct rt_init_child *child)
{
	_cleanup_close_ int listener = -1;
	struct rt_error *err;

	if (!child->plan->filter.has_listener)
		return NULL;
	err = load_filter(child, &listener);
	if (!err)
		err = rt_sync_write(child->sync, RT_SYNC_LISTENER, listener);
	return err ? err : rt_sync_wait_go(child->sync, NULL);
}

struct rt_error *rt_step_report_ready(struct rt_init_child *child)
{
	struct rt_error *err = rt_sync_write(child->sync, RT_SYNC_READY, 0);

	return err ? err : rt_sync_wait_go(child->sync, NULL);
}

/* `rt start` connects, says GO, and reads our error or, at execve, the end. If it dies in between, so do we: nobody
 * else would ever start us. */
struct rt_error *rt_step_wait_for_start(struct rt_init_child *child)
{
	if (child->plan->start_fd < 0)
		return NULL;
	close(child->sync);
	child->sync = child->report = -1;
	do
		child->report = accept4(child->plan->start_fd, NULL, NULL, SOCK_CLOEXEC);
	while (child->report < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (child->report < 0)
		return rt_fail_errno("cannot wait for start");
	return rt_sync_wait_go(child->report, NULL);
}

struct rt_error *rt_step_start_hooks(struct rt_init_child *child)
{
	const struct rt_spec *spec = child->plan->spec;
	json_t *state = child->plan->hook_state;

	if (spec->hooks[RT_HOOK_START_CONTAINER].count == 0)
		return NULL;
	if (json_object_set_new(state, "pid", json_integer(getpid())) < 0 ||
	    json_object_set_new(state, "status", json_string("created")) < 0)
		return rt_error_oom();
	return rt_hooks_run(spec, RT_HOOK_START_CONTAINER, state);
}

/* What would slow or hinder our own last steps, or must not reach hooks. */
struct rt_error *rt_step_final_attributes(struct rt_init_child *child)
{
	const struct rt_spec_process *process = child->plan->process;
	struct rt_error *err = NULL;

	/* execCPUAffinity: not for a container's first process. */
	if (process->cpu_affinity_final && !child->plan->rootfs)
		err = rt_cpu_affinity_apply(process->cpu_affinity_final, 0);
	return err ? err : rt_rlimits_apply(process->rlimits, process->rlimit_count);
}

struct rt_error *rt_step_seal(struct rt_init_child *child)
{
	return child->plan->filter.has_listener ? NULL : load_filter(child, NULL);
}

struct rt_error *rt_step_exec(struct rt_init_child *child)
{
	return rt_sys_exec(child->executable, child->plan->process->args, child->env);
}
