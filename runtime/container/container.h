/* The life of a container: one verb each in a file of its own. The command line above, init/ and the drivers below.
 *
 * Every verb opens the container, takes its lock, checks that its status allows the verb (status.c), acts, and stores the
 * state. Errors carry the texts engines look for ("container not running", "does not exist"). */
#pragma once

#include "runtime/base/error.h"
#include "runtime/cgroup/cgroup.h"
#include "runtime/container/state.h"

/* What main() knows before it knows the command. */
struct rt_context {
	const char *root; /* --root: absolute */
	enum rt_cgroup_manager manager;
	bool rootless; /* decided: --rootless, or not root of the initial user namespace */
};

enum rt_status { RT_STATUS_CREATING, RT_STATUS_CREATED, RT_STATUS_RUNNING, RT_STATUS_PAUSED, RT_STATUS_STOPPED };
const char *rt_status_name(enum rt_status status); /* "creating", ... */

/* An open container. The lock is held while `lock_fd` is. */
struct rt_container {
	const struct rt_context *context;
	int dir_fd; /* <root>/<id> */
	int lock_fd; /* -1: opened without the lock */
	struct rt_state state;
	struct rt_cgroup *cgroup; /* from the state; NULL: none */
	struct rt_spec *spec; /* loaded by rt_container_spec() when somebody asks */
};
#define RT_CONTAINER_NULL ((struct rt_container){ .dir_fd = -1, .lock_fd = -1 })

/* Letters, digits, "_+-.", not "." or "..", at most 1024: runc's rule. */
struct rt_error *rt_container_check_id(const char *id) _must_check_;

enum { RT_OPEN_LOCKED = 1 << 0 };
/* RT_NOT_FOUND "container does not exist". */
struct rt_error *rt_container_open(const struct rt_context *context, const char *id, unsigned flags, struct rt_container *ret) _must_check_;
void rt_container_deinit(struct rt_container *container);

/* The config.json it was created with. Borrowed. */
struct rt_error *rt_container_spec(struct rt_container *container, const struct rt_spec **ret) _must_check_;

/* Asks the kernel: the state alone doesn't know whether init still lives or is frozen. */
struct rt_error *rt_container_status(const struct rt_container *container, enum rt_status *ret) _must_check_;

/* pidfd of init, checked against its start time; -1: it has ended. */
struct rt_error *rt_container_pidfd(const struct rt_container *container, int *ret) _must_check_;

struct rt_create_options {
	const char *bundle; /* NULL: the current directory */
	const char *config; /* crun's --config; NULL: <bundle>/config.json */
	const char *console_socket, *pid_file, *pidfd_socket; /* NULL: none */
	unsigned preserve_fds; /* descriptors after 2 that the process keeps */
	bool no_pivot, no_new_keyring;
	/* run only */
	bool detach, keep, no_subreaper;
};
struct rt_error *rt_container_create(const struct rt_context *context, const char *id, const struct rt_create_options *options) _must_check_;
struct rt_error *rt_container_start(const struct rt_context *context, const char *id) _must_check_;
/* *ret_status: exit status of the process for a shell (128 + signal), 0 when detached. */
struct rt_error *rt_container_run(const struct rt_context *context, const char *id, const struct rt_create_options *options, int *ret_status) _must_check_;

/* The state as `rt state` prints it (ociVersion, id, pid, status, bundle, rootfs, created, annotations, owner). The caller decrefs. */
struct rt_error *rt_container_state(const struct rt_context *context, const char *id, json_t **ret) _must_check_;

/* Array of such states of all containers below the root, by id; broken ones are a warning. The caller decrefs. */
struct rt_error *rt_container_list(const struct rt_context *context, json_t **ret) _must_check_;

enum { RT_KILL_ALL = 1 << 0 };
struct rt_error *rt_container_kill(const struct rt_context *context, const char *id, int signal, unsigned flags) _must_check_;

enum { RT_DELETE_FORCE = 1 << 0 };
struct rt_error *rt_container_delete(const struct rt_context *context, const char *id, unsigned flags) _must_check_;

struct rt_error *rt_container_pause(const struct rt_context *context, const char *id) _must_check_;
struct rt_error *rt_container_resume(const struct rt_context *context, const char *id) _must_check_;

/* All processes of it, the caller frees *ret. */
struct rt_error *rt_container_pids(const struct rt_context *context, const char *id, pid_t **ret, size_t *ret_count) _must_check_;

/* `update` is from rt_spec_load_resources(). `l3_schema` and `mem_bw_schema` may be NULL. */
struct rt_error *rt_container_update(const struct rt_context *context, const char *id, const struct rt_spec *update,
				     const char *l3_schema, const char *mem_bw_schema) _must_check_;

struct rt_exec_options {
	const char *process; /* file with a process object, or NULL: made of the container's process and the fields below */
	const char *const *args; /* NULL-terminated; NULL with `process` */
	const char *cwd; /* NULL: the container's */
	const char *const *env; /* added; NULL-terminated, may be NULL */
	const char *user; /* "uid[:gid]"; NULL: the container's */
	const char *const *additional_gids; /* decimal texts, NULL-terminated, may be NULL */
	const char *const *caps; /* added; NULL-terminated, may be NULL */
	const char *process_label, *apparmor, *console_socket, *pid_file, *pidfd_socket; /* NULL: none */
	const char *const *cgroups; /* below the container's, as rt_cgroup_enter_below() takes them; NULL: the container's own */
	unsigned preserve_fds;
	bool tty, has_tty; /* has_tty: --tty was given and overrides the process file */
	bool detach, ignore_paused;
	bool no_new_privs, has_no_new_privs;
	bool no_subreaper;
};
struct rt_error *rt_container_exec(const struct rt_context *context, const char *id, const struct rt_exec_options *options, int *ret_status) _must_check_;

/* `rt events`: one JSON object a line on standard output: {"type":"stats","id":..,"data":..} every interval, {"type":"oom",..}; with `once` one stats
 * line. Ends when the container ends. */
struct rt_error *rt_container_events(const struct rt_context *context, const char *id, int64_t interval_ms, bool once) _must_check_;
