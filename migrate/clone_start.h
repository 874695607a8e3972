/* One container from a snapshot: inside clone.c and clone_start.c. */
#pragma once

#include "migrate/snapshot.h"

struct rt_clone_start {
	const struct rt_context *context;
	struct rt_store *store;
	const struct rt_run_values *values;
	const char *id;
	/* Called once it runs, detached or not, and its resume hook has succeeded where it was detached. */
	void (*running)(void *userdata);
	void *userdata;
};

/* Comes back when all memory is where it belongs and, where it is not detached, the container has ended. */
struct rt_error *rt_clone_start(const struct rt_clone_start *start, int *ret_status) _must_check_;
