/* What the command lines of `rt migrate` and `rt receive` hold: stored by their rows, used by the helper programs that do the work. */
#pragma once

#include <stdbool.h>

struct rt_migrate_values {
	const char *mode, *track, *bandwidth, *compress, *new_id, *rootfs, *report, *cacert, *cert, *key, *token_file;
	unsigned downtime, max_rounds, parallel, timeout;
	bool has_downtime, has_max_rounds, has_parallel;
	bool tcp_established, has_tcp_established, ext_unix_sk, file_locks, link_remap;
	bool keep, dry_run, json, insecure, recover;
};

struct rt_receive_values {
	const char *listen, *bundles, *state_dir, *cert, *key, *client_ca, *token_file, *max_memory, *max_rootfs;
	const char *const *allow_ids, *const *allow_mounts, *const *allow_hooks;
	unsigned max_migrations, timeout;
	bool insecure, allow_config;
	bool worker; /* what the daemon runs for one migration: not for people */
};
