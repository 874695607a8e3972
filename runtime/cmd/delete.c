#include "runtime/cmd/command.h"

struct delete_values {
	bool force;
};

static struct rt_error *run_delete(const struct rt_invocation *invocation, int *ret_status)
{
	const struct delete_values *values = invocation->values;

	return rt_container_delete(invocation->context, invocation->operands[0], values->force ? RT_DELETE_FORCE : 0);
}

static const struct rt_option options[] = {
	{ "force", 'f', RT_OPTION_FLAG, .offset = offsetof(struct delete_values, force),
	  .help = "kill the container first if it still runs; do not mind if there is none" },
	{ NULL },
};

const struct rt_command rt_cmd_delete = {
	.name = "delete",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "remove a container that has ended, and all it held",
	.description =
		"Removes the container's cgroup, its state and whatever else was made for it, and runs\n"
		"its poststop hooks. With --force it also cleans up after an 'rt' that was killed.",
	.options = options,
	.values_size = sizeof(struct delete_values),
	.run = run_delete,
};
