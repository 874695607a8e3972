#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_rm = {
	.name = "snapshot rm",
	.operands = "<name>...",
	.min_operands = 1,
	.max_operands = RT_OPERANDS_ANY,
	.summary = "remove snapshots",
	.description =
		"Containers that were started from them are not affected. The space is free after 'rt snapshot gc'.",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_helper,
};
