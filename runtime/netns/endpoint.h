/* The verbs: a container's connection to a bridge is made, removed, held back, taken off and put on again.
 *
 * Each takes the store's lock for itself. What is half made is removed by the same means as what is whole. */
#pragma once

#include "runtime/netns/request.h"
#include "runtime/netns/store.h"

/* Whose network namespace: a process, or a file. */
struct rt_endpoint_target {
	pid_t pid; /* 0: not known */
	const char *path; /* NULL: by pid. With both, the file is what counts: it outlives the process */
};

enum {
	RT_ENDPOINT_AGAIN = 1 << 0, /* fine where the namespace has it already: two kinds of hooks may ask for it */
};

/* What an earlier life of this id left, whose namespace is gone, is taken over with its address, if no other is asked for. */
struct rt_error *rt_endpoint_make(const char *state_directory, const char *id, const struct rt_endpoint_target *target,
				  const struct rt_request *request, unsigned flags) _must_check_;

/* *ret_found is false where there was no record; leftovers that the id alone tells are removed all the same. */
struct rt_error *rt_endpoint_remove(const char *state_directory, const char *id, bool *ret_found) _must_check_;

enum {
	RT_ENDPOINT_QUIETLY = 1 << 1, /* what the bridge believes of where its hardware address is stays as it is, until it joins once more */
};
/* Joins the bridge, and announces the addresses: after `hold`, and after `detach`. Done already: fine, it announces again. `flags`: 0 or QUIETLY. */
struct rt_error *rt_endpoint_join(const char *state_directory, const char *id, unsigned flags) _must_check_;
/* Takes the host's end off the bridge: nothing gets in or out, so nobody answers in the name of a container that moved. */
struct rt_error *rt_endpoint_detach(const char *state_directory, const char *id) _must_check_;

struct rt_error *rt_endpoint_announce(const char *state_directory, const char *id, unsigned times) _must_check_;

/* RT_NOT_FOUND without a record. */
struct rt_error *rt_endpoint_load(const char *state_directory, const char *id, struct rt_record *ret) _must_check_;

/* Whether the namespace that the record speaks of is still there. */
bool rt_endpoint_is_alive(const struct rt_record *record);
