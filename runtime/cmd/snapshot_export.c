#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	{ "encrypt", 0, RT_OPTION_STRING, .argument = "KEYFILE", .offset = offsetof(struct rt_snapshot_values, encrypt),
	  .help = "encrypt it with the 32 bytes of this file, which must be of mode 0600" },
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_export = {
	.name = "snapshot export",
	.operands = "<name> <file>",
	.min_operands = 2,
	.max_operands = 2,
	.summary = "write a snapshot to one file",
	.description =
		"A tar of mode 0600, with everything that is needed to start from it but the root filesystem under its\n"
		"changes. What is encrypted in the store stays it, and needs no key for this.\n"
		"\n"
		"    rt snapshot export web-warm web-warm.tar\n"
		"    rt snapshot import web-warm.tar",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_helper,
};
