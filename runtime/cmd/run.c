#include "runtime/cmd/options_create.h"

static struct rt_error *run_run(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_container_run(invocation->context, invocation->operands[0], invocation->values, ret_status);
}

static const struct rt_option options[] = {
	RT_CREATE_OPTIONS,
	{ "detach", 'd', RT_OPTION_FLAG, .offset = offsetof(struct rt_create_options, detach),
	  .help = "return as soon as the container runs" },
	{ "keep", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_create_options, keep),
	  .help = "do not delete the container when its process has ended" },
	{ "no-subreaper", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_create_options, no_subreaper),
	  .help = "do not adopt the processes that the container leaves behind" },
	{ NULL },
};

const struct rt_command rt_cmd_run = {
	.name = "run",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "create a container, start it and wait for its end",
	.description =
		"Does what 'rt create' and 'rt start' do, passes signals on while the container runs,\n"
		"and deletes it at the end. Its exit status is that of the container's process, or 128\n"
		"and the number of the signal that ended it.\n"
		"\n"
		"    rt spec --bundle web\n"
		"    rt run --bundle web web1",
	.options = options,
	.values_size = sizeof(struct rt_create_options),
	.flags = RT_CMD_ENTERS_CONTAINER | RT_CMD_NAMES_NEW,
	.run = run_run,
};
