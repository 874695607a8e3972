/* Shared by those who implement a verb: this folder, and checkpoint/. Not for the command line. */
#pragma once

#include "runtime/container/container.h"
#include "runtime/init/init.h"

/* In the container's directory from create until start: the child listens there; its being there means "created". */
#define RT_START_SOCKET "start.sock"
/* In the root directory beside the containers; '@' is in no container's id. */
#define RT_FILTER_CACHE "@seccomp"

struct rt_error *rt_container_open_dir(const struct rt_context *context, const char *id, int *ret) _must_check_;

/* rt_container_open() and rt_container_status() in one. */
struct rt_error *rt_container_lookup(const struct rt_context *context, const char *id, unsigned flags,
				     struct rt_container *ret, enum rt_status *ret_status) _must_check_;

/* hold.c: a restored container is "creating" until CRIU has let its processes go and rt has said so on disk. Where rt was killed in between, the next
 * command finds out. */

/* Of a process that CRIU holds; `holder` is CRIU. */
struct rt_error *rt_hold_note(pid_t holder, pid_t pid, struct rt_state_hold *ret) _must_check_;

/* Nothing where the container is not held, or rt or CRIU may still be at it. Else it is one like others: in `container`, and on disk. */
struct rt_error *rt_hold_adopt(struct rt_container *container) _must_check_;

/* The state of the specification, as hooks and `rt state` get it. `pid` 0 leaves it out of a stopped container. The caller
 * decrefs. */
struct rt_error *rt_container_state_json(const struct rt_state *state, const struct rt_spec *spec, enum rt_status status,
					 pid_t pid, json_t **ret) _must_check_;

/* Ends init and all else of the container and waits until it has; then takes away what it left on the host: cgroup,
 * resctrl group, directory. Poststop hooks run last; their failure is a warning. Any step may find its work done already. */
struct rt_error *rt_container_destroy(struct rt_container *container) _must_check_;

/* "pid" as text with no newline, written atomically as engines poll for it. */
struct rt_error *rt_write_pid_file(const char *path, pid_t pid) _must_check_;

/* Sends the pidfd over a unix socket (--pidfd-socket). */
struct rt_error *rt_send_pidfd(const char *socket_path, int pidfd) _must_check_;

/* The descriptors after the standard streams that the process is to keep: those of socket activation ($LISTEN_FDS), then the
 * `preserve_fds` of --preserve-fds. They must be there, and not be ours: called before anything is opened. `*ret_variable`, for
 * plan->listen_fds, is the caller's to free; NULL: none. */
struct rt_error *rt_plan_descriptors(unsigned preserve_fds, struct rt_init_plan *plan, char **ret_variable) _must_check_;

/* Relays terminal (master -1: none) and signals until the process ends; *ret_status is as a shell tells it. */
struct rt_error *rt_wait_in_foreground(const struct rt_init_process *process, int master, int *ret_status) _must_check_;
