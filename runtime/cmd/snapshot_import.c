#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	{ "encrypt", 0, RT_OPTION_STRING, .argument = "KEYFILE", .offset = offsetof(struct rt_snapshot_values, encrypt),
	  .help = "it is encrypted with the 32 bytes of this file" },
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_import = {
	.name = "snapshot import",
	.operands = "<file> [name]",
	.min_operands = 1,
	.max_operands = 2,
	.summary = "take in a snapshot that was exported",
	.description =
		"Every byte is held against its digest; what the store has already is not stored again. The snapshot\n"
		"keeps its name unless another is given. It brings a configuration along: whoever made it decides what\n"
		"is run and mounted when it is started, so it must come from somebody you trust.",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_helper,
};
