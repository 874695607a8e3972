#include "runtime/cmd/options_create.h"

static struct rt_error *run_create(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_container_create(invocation->context, invocation->operands[0], invocation->values);
}

static const struct rt_option options[] = {
	RT_CREATE_OPTIONS,
	{ NULL },
};

const struct rt_command rt_cmd_create = {
	.name = "create",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "create a container whose process waits for 'rt start'",
	.description =
		"Makes a container of a bundle: a directory with a configuration, config.json, and a\n"
		"root filesystem. Everything is set up - namespaces, mounts, cgroup, limits - but the\n"
		"process of the configuration does not run before 'rt start'.\n"
		"\n"
		"The id must be new below --root: letters, digits and any of '_+-.'.\n"
		"\n"
		"    rt spec --bundle web\n"
		"    rt create --bundle web web1\n"
		"    rt start web1",
	.options = options,
	.values_size = sizeof(struct rt_create_options),
	.flags = RT_CMD_ENTERS_CONTAINER | RT_CMD_NAMES_NEW,
	.run = run_create,
};
