#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	{ "format", 0, RT_OPTION_STRING, .argument = "FORMAT", .offset = offsetof(struct rt_snapshot_values, format),
	  .help = "'table' (the default) or 'json'" },
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_ls = {
	.name = "snapshot ls",
	.operands = "",
	.min_operands = 0,
	.max_operands = 0,
	.summary = "list snapshots",
	.description =
		"One line a snapshot: name, when it was made, of which container, and its size in full.",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_helper,
};
