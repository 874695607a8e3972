#include "runtime/cmd/command.h"
#include "runtime/cmd/output.h"

static struct rt_error *run_state(const struct rt_invocation *invocation, int *ret_status)
{
	_cleanup_json_ json_t *state = NULL;
	struct rt_error *err = rt_container_state(invocation->context, invocation->operands[0], &state);

	return err ? err : rt_output_json(state, JSON_INDENT(2));
}

const struct rt_command rt_cmd_state = {
	.name = "state",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "print the state of a container as JSON",
	.description =
		"The state is that of the runtime specification: id, status (creating, created, running,\n"
		"paused or stopped), pid, bundle and annotations; and rootfs, created and owner.",
	.run = run_state,
};
