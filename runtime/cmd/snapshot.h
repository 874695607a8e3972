/* What the command lines of `rt snapshot` and `rt run --from-snapshot` hold: stored by their rows, used by the helper program `rt-snapshot` that does the work. */
#pragma once

#include "runtime/cmd/command.h"

#include <stdbool.h>

struct rt_snapshot_values {
	const char *store; /* NULL: the default */
	const char *format;
	const char *encrypt; /* key file; export and import */
	bool leave_running, ext_unix_sk, file_locks, link_remap, shell_job; /* create */
};

#define RT_SNAPSHOT_STORE                                                                                              \
	{ "store", 0, RT_OPTION_STRING, .argument = "DIR", .offset = offsetof(struct rt_snapshot_values, store),       \
	  .help = "where snapshots are kept (default: /var/lib/rt/snapshots)" }

struct rt_run_values {
	struct rt_create_options create; /* first: the options of create */
	const char *from_snapshot, *store, *hostname;
	unsigned count;
	bool has_count;
	bool on_demand; /* memory goes to the clone only as it is touched */
	bool merge; /* the kernel may make one of equal pages (KSM) */
};

/* run() of all of them: becomes the helper. */
struct rt_error *rt_snapshot_to_helper(const struct rt_invocation *invocation, int *ret_status) _must_check_;
