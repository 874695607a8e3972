#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	RT_SNAPSHOT_KEY,
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_inspect = {
	.name = "snapshot inspect",
	.operands = "<name>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "show what a snapshot holds",
	.description =
		"Where it comes from, what its parts are, and how much of them others share, as JSON. Of one that is\n"
		"encrypted only names and sizes are shown without its key.",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_helper,
};
