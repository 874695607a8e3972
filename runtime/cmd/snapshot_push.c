#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	RT_SNAPSHOT_AUTHFILE,
	RT_SNAPSHOT_CACERT,
	{ "encrypt", 0, RT_OPTION_STRING, .argument = "KEYFILE", .offset = offsetof(struct rt_snapshot_values, encrypt),
	  .help = "encrypt it with the 32 bytes of this file, which must be of mode 0600" },
	RT_SNAPSHOT_PLAIN_HTTP,
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_push = {
	.name = "snapshot push",
	.operands = "<name> <registry/repo:tag>",
	.min_operands = 2,
	.max_operands = 2,
	.summary = "send a snapshot to a registry",
	.description =
		"To any OCI registry, as an artifact. Only what the registry lacks is sent. User and password are those\n"
		"that engines keep in a file ('podman login', 'docker login'). What the container held in its memory is\n"
		"readable to whoever may read the repository, unless the snapshot is encrypted: by 'rt snapshot create\n"
		"--encrypt', or here.\n"
		"\n"
		"    rt snapshot push web-warm registry.example/team/web:warm\n"
		"    rt snapshot pull registry.example/team/web:warm",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_registry,
};
