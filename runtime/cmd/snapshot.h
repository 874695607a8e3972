/* What the command lines of `rt snapshot` and `rt run --from-snapshot` hold: stored by their rows, used by the helper program `rt-snapshot` that does the work. */
#pragma once

#include "runtime/cmd/command.h"

#include <stdbool.h>

struct rt_snapshot_values {
	const char *store; /* NULL: the default */
	const char *format;
	const char *encrypt, *key; /* key files: to encrypt with, or what is encrypted with in a file; of what is encrypted in the store */
	const char *authfile, *cacert; /* push and pull */
	bool plain_http;
	bool leave_running, ext_unix_sk, file_locks, link_remap, shell_job; /* create */
};

#define RT_SNAPSHOT_STORE                                                                                              \
	{ "store", 0, RT_OPTION_STRING, .argument = "DIR", .offset = offsetof(struct rt_snapshot_values, store),       \
	  .help = "where snapshots are kept (default: /var/lib/rt/snapshots)" }

#define RT_SNAPSHOT_AUTHFILE                                                                                           \
	{ "authfile", 0, RT_OPTION_STRING, .argument = "FILE", .offset = offsetof(struct rt_snapshot_values, authfile), \
	  .help = "credentials (default: $REGISTRY_AUTH_FILE, or where engines keep them)" }
#define RT_SNAPSHOT_CACERT                                                                                             \
	{ "cacert", 0, RT_OPTION_STRING, .argument = "FILE", .offset = offsetof(struct rt_snapshot_values, cacert),    \
	  .help = "certificates that the registry's must be signed by (default: the system's)" }
#define RT_SNAPSHOT_PLAIN_HTTP                                                                                         \
	{ "plain-http", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_snapshot_values, plain_http),                  \
	  .help = "speak plain http to the registry: what is sent can be read and changed on the way" }

#define RT_SNAPSHOT_KEY                                                                                                \
	{ "key", 0, RT_OPTION_STRING, .argument = "KEYFILE", .offset = offsetof(struct rt_snapshot_values, key),       \
	  .help = "the key file that it was encrypted with" }

struct rt_run_values {
	struct rt_create_options create; /* first: the options of create */
	const char *from_snapshot, *store, *hostname, *key;
	unsigned count;
	bool has_count;
	bool on_demand; /* memory goes to the clone only as it is touched */
	bool merge; /* the kernel may make one of equal pages (KSM) */
};

/* run() of all of them: becomes the helper. */
struct rt_error *rt_snapshot_to_helper(const struct rt_invocation *invocation, int *ret_status) _must_check_;
/* Of `rt run --from-snapshot`: becomes that helper, which loads no libraries. */
struct rt_error *rt_snapshot_to_clone(const struct rt_invocation *invocation, int *ret_status) _must_check_;
/* Of push and pull: becomes another, which carries libcurl. */
struct rt_error *rt_snapshot_to_registry(const struct rt_invocation *invocation, int *ret_status) _must_check_;
