/* The process on the target that restores one container: a program of its own, as a restore is for a process with one thread.
 *
 *	daemon		worker
 *			PREPARED		bundle, id, cgroup are taken
 *	CATCH					frozen over there, where its network moves along
 *	SETS...					page sets, where memory comes as pages
 *	RESTORE
 *			READY			everything stands, network locked, no task runs
 *	COMMIT
 *			RUNNING			`a`: microseconds it took. Written down before
 *	ARRIVED...	WANT...			post-copy
 *			DONE			all memory is where it belongs
 *	ABORT		FAILED			nothing is left
 *
 * As long as it lives it holds a lock in the migration's directory: a new daemon must not believe that nothing was decided while it may just be deciding.
 *
 * When the daemon dies it undoes everything before COMMIT; after it, it goes on: memory that is there is handed out, and what is missing is waited for until a new daemon
 * connects to `worker.sock` in the migration's directory (ATTACH). */
#pragma once

#include "checkpoint/checkpoint.h"

#include <sys/types.h>

struct rt_worker_task {
	const struct rt_context *context;
	const char *id, *bundle;
	const char *directory; /* of the migration: images/, config.json, journal.json */
	bool lazy, post_copy;
	bool tcp_established, tcp_close, ext_unix_sk, file_locks, link_remap;
};

/* Starts it; *ret_fd is our end. */
struct rt_error *rt_worker_start(const struct rt_worker_task *task, int *ret_fd, pid_t *ret_pid) _must_check_;

/* What the hidden `rt receive --worker` does: the task comes as the first message on descriptor RT_WORKER_FD. */
#define RT_WORKER_FD 3
/* In the migration's directory where it has made the container's network ahead (network_ahead.h), which is to be undone if nothing comes of it. */
#define RT_WORKER_NETWORK "network"
struct rt_error *rt_worker_run(const struct rt_context *context) _must_check_;

/* The process that is at work on this migration, even if its daemon has died; 0: none, or none any more. What it wrote down before it ended is then on disk. */
struct rt_error *rt_worker_alive(int dir_fd, pid_t *ret) _must_check_;

/* Connects to a worker whose daemon has died; *ret_fd -1: there is none. */
struct rt_error *rt_worker_attach(const char *directory, int *ret_fd) _must_check_;
