/* How a container comes into the world, by create, run or restore: directory, lock, state and cgroup, and their undoing.
 *
 *	rt_birth_load()		configuration read and checked; nothing of the machine touched
 *	rt_birth_register()	directory, lock; the cgroup planned
 *	rt_birth_commit()	configuration and state on disk, then the cgroup made
 *	rt_birth_complete()	its process exists: pid in the state, pid file, resctrl group
 *	rt_birth_release()	where it was held until now (restore): it runs
 *	rt_birth_undo()		after a failure anywhere between
 *
 * Whatever kills us in between, delete --force knows from the state what to look for. */
#pragma once

#include "runtime/container/private.h"

struct rt_birth {
	struct rt_container container; /* its spec included */
	char *config_text; /* of config.json, as read */
	size_t config_size;
	int root_fd; /* context->root; -1 before rt_birth_register() */
	struct rt_spec *limits; /* only its resources: in force instead of the config's; NULL: those */
	pid_t holder; /* CRIU: when all is complete it has yet to let the processes go, "creating" until rt_birth_release(); 0: nobody */
	bool registered; /* from here on a failure must undo */
};

#define RT_BIRTH_NULL ((struct rt_birth){ .container = RT_CONTAINER_NULL, .root_fd = -1 })
void rt_birth_deinit(struct rt_birth *birth);

/* `config` NULL: <bundle>/config.json; `bundle` NULL: the current directory. Checks the id too. */
struct rt_error *rt_birth_load(struct rt_birth *birth, const struct rt_context *context, const char *id, const char *bundle,
			       const char *config) _must_check_;

/* Before rt_birth_register(), or before rt_birth_change_limits(): the container gets these limits (a resources object), not those of its config. */
struct rt_error *rt_birth_set_limits(struct rt_birth *birth, const json_t *resources) _must_check_;

/* RT_EXISTS where the id is taken. */
struct rt_error *rt_birth_register(struct rt_birth *birth) _must_check_;

/* container.state.rootfs must be set. */
struct rt_error *rt_birth_commit(struct rt_birth *birth) _must_check_;

/* pid_file and pidfd_socket may be NULL. */
struct rt_error *rt_birth_complete(struct rt_birth *birth, pid_t pid, int pidfd, const char *pid_file,
				   const char *pidfd_socket) _must_check_;

/* What rt_birth_set_limits() said, where that came after rt_birth_commit(): now. */
struct rt_error *rt_birth_change_limits(struct rt_birth *birth) _must_check_;

/* Only where `holder` was set before rt_birth_complete(). Where we are killed before it, rt_hold_adopt() does its work. */
struct rt_error *rt_birth_release(struct rt_birth *birth) _must_check_;

/* Returns `err`: the failure to report is the first one, whatever the undoing meets. */
struct rt_error *rt_birth_undo(struct rt_birth *birth, struct rt_error *err) _must_check_;

/* The prestart and createRuntime hooks, after the network devices of the config were moved. */
struct rt_error *rt_birth_run_hooks(const struct rt_birth *birth, pid_t pid) _must_check_;
struct rt_error *rt_birth_run_poststart(const struct rt_container *container) _must_check_;

/* In the foreground until its process ends; then it is deleted unless `keep`. Others must be able to look at, enter and stop it
 * meanwhile, so the lock is given up. */
struct rt_error *rt_birth_stay(struct rt_birth *birth, const struct rt_init_process *process, int master, bool keep,
			       int *ret_status) _must_check_;

/* With a terminal: to a socket when detached, to ourselves when not; anything else is RT_USAGE. */
struct rt_error *rt_check_terminal(bool terminal, bool detaches, const char *console_socket) _must_check_;
