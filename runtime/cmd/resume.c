#include "runtime/cmd/command.h"

static struct rt_error *run_resume(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_container_resume(invocation->context, invocation->operands[0]);
}

const struct rt_command rt_cmd_resume = {
	.name = "resume",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "let the processes of a paused container go on",
	.run = run_resume,
};
