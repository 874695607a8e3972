#include "tests/fake/kernel.h"

#include "runtime/cgroup/cgroup.h"
#include "runtime/rootfs/rootfs.h"
#include "runtime/security/security.h"
#include "runtime/sys/cred.h"
#include "runtime/sys/ns.h"
#include "runtime/sys/seal.h"
#include "runtime/sys/session.h"
#include "runtime/tty/tty.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define ROOM 8192

/* Shared with the children, which only ever append one at a time. */
static struct shared {
	pid_t parent;
	bool needs_adopt;
	char failing[64];
	char calls_of_parent[ROOM], calls_of_child[ROOM];
} *shared;

void fake_reset(void)
{
	if (!shared)
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert(shared != MAP_FAILED);
	*shared = (struct shared){ .parent = getpid() };
}

void fake_fail(const char *name)
{
	snprintf(shared->failing, sizeof(shared->failing), "%s", name);
}

void fake_cgroup_needs_adopt(bool needs)
{
	shared->needs_adopt = needs;
}

const char *fake_calls_of_parent(void)
{
	return shared->calls_of_parent;
}

const char *fake_calls_of_child(void)
{
	return shared->calls_of_child;
}

static struct rt_error *called(const char *name)
{
	char *calls = getpid() == shared->parent ? shared->calls_of_parent : shared->calls_of_child;
	size_t used = strlen(calls);

	snprintf(calls + used, ROOM - used, "%s ", name);
	if (strcmp(shared->failing, name) == 0)
		return rt_fail_with(EIO, "told to fail");
	return NULL;
}

/* "rt_sys_setns" is written down as "setns": tests read better. */
#define FAKE(name, parameters)                  \
	struct rt_error *rt_##name parameters   \
	{                                       \
		return called(#name);           \
	}

FAKE(caps_bound, (const struct rt_spec_caps *caps))
FAKE(caps_set, (const struct rt_spec_caps *caps, uint64_t extra))
FAKE(lsm_apply, (const char *apparmor_profile, const char *selinux_label, int proc_fd))
FAKE(rlimits_apply, (const struct rt_spec_rlimit *rlimits, size_t count))
FAKE(rlimits_raise, (const struct rt_spec_rlimit *rlimits, size_t count))
FAKE(scheduler_apply, (const struct rt_spec_scheduler *scheduler))
FAKE(io_priority_apply, (int io_class, int priority))
FAKE(cpu_affinity_apply, (const char *cpus, pid_t pid))
FAKE(memory_policy_apply, (const struct rt_spec_memory_policy *policy))
FAKE(personality_apply, (const struct rt_spec_personality *personality))
FAKE(oom_score_adj_apply, (int32_t value, int proc_fd, bool tolerate_refusal))

FAKE(cgroup_open_entries, (struct rt_cgroup *cgroup))
FAKE(cgroup_enter_self, (const struct rt_cgroup *cgroup, bool cloned_into))
FAKE(rootfs_isolate, (struct rt_rootfs *rootfs))
FAKE(rootfs_mount, (struct rt_rootfs *rootfs))
FAKE(rootfs_console, (struct rt_rootfs *rootfs, int pty_fd))
FAKE(rootfs_switch, (struct rt_rootfs *rootfs))
FAKE(rootfs_seal, (struct rt_rootfs *rootfs))
FAKE(rootfs_sysctl, (const struct rt_spec *spec))
FAKE(console_become, (int slave, uid_t uid))

FAKE(sys_setns, (int fd, uint64_t flag))
FAKE(sys_unshare, (uint64_t flags))
FAKE(sys_write_id_maps, (pid_t pid, const struct rt_id_maps *uids, const struct rt_id_maps *gids))
FAKE(sys_write_time_offsets, (const struct rt_spec_time_offset *monotonic, const struct rt_spec_time_offset *boottime))
FAKE(sys_loopback_up, (void))
FAKE(sys_become_root, (void))
FAKE(sys_set_user, (uid_t uid, gid_t gid, const uint32_t *additional_gids, size_t count))
FAKE(sys_set_keep_caps, (bool keep))
FAKE(sys_set_dumpable, (bool dumpable))
FAKE(sys_set_no_new_privs, (void))
FAKE(sys_new_session, (void))
FAKE(sys_new_session_keyring, (const char *name))
FAKE(sys_set_host_name, (const char *name))
FAKE(sys_set_domain_name, (const char *name))
FAKE(sys_load_filter, (const struct sock_filter *program, uint16_t length, unsigned flags, int *ret_listener))

int rt_cgroup_clone_fd(const struct rt_cgroup *cgroup)
{
	return -1;
}

bool rt_cgroup_needs_adopt(const struct rt_cgroup *cgroup)
{
	return shared->needs_adopt;
}

/* As the real one: once it is done, nothing is left to adopt. */
struct rt_error *rt_cgroup_adopt(struct rt_cgroup *cgroup, pid_t pid)
{
	shared->needs_adopt = false;
	return called("cgroup_adopt");
}

struct rt_error *rt_console_open(int root_fd, const struct rt_spec_box *size, int *ret_master, int *ret_slave, char slave_path[64])
{
	int pair[2];
	struct rt_error *err = called("console_open");

	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return rt_fail_errno("socketpair");
	*ret_master = pair[0];
	*ret_slave = pair[1];
	strcpy(slave_path, "/dev/pts/0");
	return NULL;
}

struct rt_error *rt_sys_open_namespace(const char *path, enum rt_namespace_kind kind, int *ret)
{
	struct rt_error *err = called("sys_open_namespace");

	if (!err)
		*ret = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return err;
}

struct rt_error *rt_sys_clone(const struct rt_clone_options *options, pid_t *ret_pid, int *ret_pidfd)
{
	struct rt_error *err = called("sys_clone");
	int pidfd = -1;
	struct clone_args args = {
		.flags = (options->flags & CLONE_PARENT) | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = (options->flags & CLONE_PARENT) ? 0 : SIGCHLD,
	};
	long pid;

	if (err)
		return err;
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return rt_fail_errno("clone3");
	*ret_pid = (pid_t)pid;
	if (pid > 0)
		*ret_pidfd = pidfd;
	return NULL;
}

struct rt_error *rt_sys_find_executable(const char *name, const char *const *env, char **ret)
{
	struct rt_error *err = called("sys_find_executable");

	if (err)
		return err;
	*ret = strdup(name);
	return *ret ? NULL : rt_error_oom();
}

/* The program, as far as anybody can tell: its descriptors are closed at its end as by execve. */
struct rt_error *rt_sys_exec(const char *path, const char *const *args, const char *const *env)
{
	struct rt_error *err = called("sys_exec");

	if (err)
		return err;
	_exit(42);
}
