#include "runtime/cmd/command.h"

const struct rt_command rt_cmd_bundle = {
	.name = "bundle",
	.operands = "",
	.summary = "make bundles of images, and give them other owners",
	.description =
		"A bundle is what 'rt run' takes: a directory with 'config.json' and, in 'rootfs',\n"
		"the root filesystem of a container.",
};
