#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_gc = {
	.name = "snapshot gc",
	.operands = "",
	.min_operands = 0,
	.max_operands = 0,
	.summary = "free what no snapshot needs",
	.description =
		"Removes chunks that no snapshot names, what an interrupted 'rt snapshot create' left, and what\n"
		"starts have put into memory for snapshots that are gone. Others may create and start meanwhile.",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_helper,
};
