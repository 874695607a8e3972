#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	RT_SNAPSHOT_AUTHFILE,
	RT_SNAPSHOT_CACERT,
	RT_SNAPSHOT_PLAIN_HTTP,
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_pull = {
	.name = "snapshot pull",
	.operands = "<registry/repo:tag> [name]",
	.min_operands = 1,
	.max_operands = 2,
	.summary = "get a snapshot from a registry",
	.description =
		"Only what the store lacks is fetched, and every byte is held against its digest. The snapshot keeps its\n"
		"name unless another is given. REGISTRY/REPO@sha256:DIGEST takes exactly the one that was pushed. It\n"
		"brings a configuration along: whoever made it decides what is run and mounted when it is started, so it\n"
		"must come from somebody you trust.",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_registry,
};
