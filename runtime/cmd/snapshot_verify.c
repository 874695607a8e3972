#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	RT_SNAPSHOT_KEY,
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_verify = {
	.name = "snapshot verify",
	.operands = "[name]",
	.min_operands = 0,
	.max_operands = 1,
	.summary = "look for damage in the store",
	.description =
		"Reads every byte of one snapshot, or of all and whatever else the store has, and tells what is\n"
		"missing or is not what was written. Exits with 1 where there is something. What is\n"
		"encrypted needs no key for that; with one it is seen that all of it opens, too.",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_helper,
};
