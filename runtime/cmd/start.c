#include "runtime/cmd/command.h"

static struct rt_error *run_start(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_container_start(invocation->context, invocation->operands[0]);
}

const struct rt_command rt_cmd_start = {
	.name = "start",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "run the process of a created container",
	.description = "The container must have been made by 'rt create' and not have been started yet.",
	.run = run_start,
};
