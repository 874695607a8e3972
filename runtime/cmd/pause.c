#include "runtime/cmd/command.h"

static struct rt_error *run_pause(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_container_pause(invocation->context, invocation->operands[0]);
}

const struct rt_command rt_cmd_pause = {
	.name = "pause",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "suspend all processes of a container",
	.description = "The processes are frozen by the kernel where they stand, until 'rt resume'.",
	.run = run_pause,
};
