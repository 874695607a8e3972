/* Bringing a process up inside a container: the container's first (create, run) or a further one (exec).
 *
 * rt_init_launch() clones the process and serves its requests until only execve is left to do; the child walks one of the step tables
 * of child.c. Plan and descriptors are made before the clone and inherited by it; the child opens nothing of the host.
 * Knows namespaces, steps and their order. Knows nothing of state files, ids or commands: what belongs to a container
 * is asked for through struct rt_init_requests. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/rootfs/rootfs.h"
#include "runtime/security/security.h"
#include "runtime/spec/spec.h"

#include <sys/types.h>

struct rt_init_plan {
	const struct rt_spec *spec; /* of the container; borrowed */
	const struct rt_spec_process *process; /* what to run; borrowed */
	struct rt_rootfs *rootfs; /* borrowed; NULL: the process enters a container that stands already (exec) */
	struct rt_cgroup *cgroup; /* borrowed; NULL: none */
	json_t *hook_state; /* borrowed; the state for hooks run in the container, without the pid; NULL: no such hooks */

	struct rt_filter filter;
	struct rt_spec_caps caps;
	uint64_t clone_flags; /* namespaces that come into being with the process */
	uint64_t unshare_flags; /* those it makes itself, after it entered its cgroups */
	int join_fds[RT_NS_KINDS]; /* namespaces joined by path, -1: none */
	int target_pidfd; /* exec: init of the container, -1: none */
	uint64_t target_flags; /* exec: which namespaces of it to enter */
	bool enters_user_first; /* an intermediate process must enter the user namespace before the process can be cloned */
	bool in_user_namespace; /* the process is to become root of one before anything else */
	bool rootless; /* our own rights end at our user namespace */

	int proc_fd; /* the host's /proc */
	int start_fd; /* listening socket on which start calls; -1: the parent's GO after READY starts the process */
	int lock_fd; /* the parent's lock, of which the child drops its copy, or it would hold it until execve; -1: none */
	unsigned preserve_fds;
	const char *listen_fds; /* "LISTEN_FDS=2" for the process; NULL: none */
	const char *keyring; /* name for a session keyring of its own; NULL: keep the caller's */
	const char *apparmor_profile, *selinux_label; /* of the process; NULL: none */
};
#define RT_INIT_PLAN_NULL \
	((struct rt_init_plan){ .join_fds = { -1, -1, -1, -1, -1, -1, -1, -1 }, .target_pidfd = -1, .proc_fd = -1, .start_fd = -1, \
	  .lock_fd = -1 })

/* Fills in what follows from the spec: flags, joined namespaces (opened), capabilities, seccomp program. `filter_cache_fd` as in
 * rt_filter_compile(). spec, process, rootfs, cgroup and rootless must be set. */
struct rt_error *rt_init_plan_create(struct rt_init_plan *plan, int filter_cache_fd) _must_check_;

/* The same for a process that enters the container whose init is plan->target_pidfd, `target_pid`. */
struct rt_error *rt_init_plan_exec(struct rt_init_plan *plan, pid_t target_pid, int filter_cache_fd) _must_check_;

/* Frees and closes what rt_init_plan_*() made, and start_fd. */
void rt_init_plan_deinit(struct rt_init_plan *plan);

/* What the parent does for the child. Each is called at most once, in this order; NULL members are skipped. A failure ends the child. */
struct rt_init_requests {
	void *context;
	struct rt_error *(*run_hooks)(void *context, pid_t pid); /* namespaces exist, mounts stand, the root is not switched */
	struct rt_error *(*take_console)(void *context, int master); /* takes the descriptor over */
	struct rt_error *(*take_listener)(void *context, pid_t pid, int listener); /* takes the descriptor over */
	struct rt_error *(*ready)(void *context, pid_t pid, int pidfd); /* the last thing before it may start */
};

/* The child as its parent holds it. */
struct rt_init_process {
	pid_t pid; /* ours to wait for */
	int pidfd;
	int sync_fd; /* at its end when the process has called execve */
};
#define RT_INIT_PROCESS_NULL ((struct rt_init_process){ .pidfd = -1, .sync_fd = -1 })

/* When it fails, the child is dead and waited for. */
struct rt_error *rt_init_launch(struct rt_init_plan *plan, const struct rt_init_requests *requests,
				struct rt_init_process *ret) _must_check_;

/* Without a start socket: waits until execve has happened or gives the child's error. */
struct rt_error *rt_init_wait_started(struct rt_init_process *process) _must_check_;
void rt_init_process_deinit(struct rt_init_process *process);

/* The other end of start_fd: tells the child to go and waits until execve has happened, or gives its error. `socket` is connected. */
struct rt_error *rt_init_start(int socket) _must_check_;
