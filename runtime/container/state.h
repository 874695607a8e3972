/* state.json: what one command must tell the next about a container. Read and written whole, under the container's lock.
 *
 * The directory <root>/<id> holds: state.json, config.json (as it was at create: exec and delete go by it, whatever the bundle
 * says since), lock, exec.fifo (from create until start). Knows the file's form, nothing about processes. */
#pragma once

#include "runtime/base/error.h"
#include "runtime/spec/spec.h"

#include <jansson.h>
#include <sys/types.h>

/* All 0: nobody. */
struct rt_state_hold {
	pid_t pid; /* of CRIU */
	uint64_t start_time;
	uint64_t counter; /* where the held process waits: its program counter */
};

struct rt_state {
	char *id;
	char *bundle; /* absolute */
	char *rootfs; /* absolute path on the host */
	char *created; /* RFC 3339, nanoseconds */
	char *owner; /* name of the user that created it */
	pid_t pid; /* of init; 0 while creating */
	uint64_t start_time; /* of init, so that a pid used again is not taken for it */
	bool creating; /* create has not finished: only delete --force may touch it */
	struct rt_state_hold hold; /* of a restore: who has the process and will let it go */
	bool started; /* start has released it */
	bool restored; /* came back from a checkpoint */
	bool rootless;
	bool systemd_cgroup;
	bool rdt_created; /* the resctrl group is ours to remove */
	/* What start and delete would otherwise parse config.json for, each time. False where in doubt. */
	bool self_contained; /* no poststart and poststop hooks, no intelRdt: they need not look into it */
	bool own_pid_namespace; /* made for it: all its processes end with init */
	json_t *cgroup; /* rt_cgroup_to_json(); NULL: none */
	json_t *extra; /* what other layers keep here, by their name ("checkpoint"); NULL: nothing */
};

#define RT_STATE_NULL ((struct rt_state){ .pid = 0 })

void rt_state_deinit(struct rt_state *state);
struct rt_error *rt_state_store(int dir_fd, const struct rt_state *state) _must_check_;
/* *ret_found is false where there is no state.json: a create that died early. */
struct rt_error *rt_state_load(int dir_fd, struct rt_state *ret, bool *ret_found) _must_check_;
