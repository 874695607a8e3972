#include "runtime/cmd/snapshot.h"

static const struct rt_option options[] = {
	{ "encrypt", 0, RT_OPTION_STRING, .argument = "KEYFILE", .offset = offsetof(struct rt_snapshot_values, encrypt),
	  .help = "encrypt it with the 32 bytes of this file, which must be of mode 0600" },
	{ "ext-unix-sk", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_snapshot_values, ext_unix_sk),
	  .help = "allow unix sockets whose other end is outside of the container" },
	{ "file-locks", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_snapshot_values, file_locks),
	  .help = "allow file locks" },
	{ "leave-running", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_snapshot_values, leave_running),
	  .help = "let the container run on afterwards" },
	{ "link-remap", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_snapshot_values, link_remap),
	  .help = "allow open files that were removed, by linking them back for a moment" },
	{ "shell-job", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_snapshot_values, shell_job),
	  .help = "allow a terminal that was not made for the container" },
	RT_SNAPSHOT_STORE,
	{ NULL },
};

const struct rt_command rt_cmd_snapshot_create = {
	.name = "snapshot create",
	.operands = "<container-id> <name>",
	.min_operands = 2,
	.max_operands = 2,
	.summary = "take a snapshot of a running container",
	.description =
		"The container is gone afterwards, unless --leave-running is given. When it fails the container\n"
		"runs on as it did. Connections are not taken along: containers that are started from the\n"
		"snapshot find them closed.\n"
		"\n"
		"    rt snapshot create --leave-running web1 web-warm\n"
		"    rt run --detach --from-snapshot web-warm web2\n"
		"\n"
		"With --encrypt nothing of it is on the disk that could be read without the key, which must then be\n"
		"given ('--key') to start from it. The dump is kept in memory (--root) until it is encrypted.",
	.options = options,
	.values_size = sizeof(struct rt_snapshot_values),
	.run = rt_snapshot_to_helper,
};
