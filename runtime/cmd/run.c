#include "runtime/cmd/options_create.h"
#include "runtime/cmd/snapshot.h"

static struct rt_error *run_run(const struct rt_invocation *invocation, int *ret_status)
{
	const struct rt_run_values *values = invocation->values;
	const char *alone = values->store ? "store" : values->hostname ? "hostname" : values->key ? "key" : values->has_count ? "count" :
			    values->on_demand ? "on-demand" : values->merge ? "merge" : NULL;

	if (values->from_snapshot)
		return rt_snapshot_to_clone(invocation, ret_status);
	if (alone)
		return rt_fail(RT_USAGE, "'--%s' needs '--from-snapshot'", alone);
	return rt_container_run(invocation->context, invocation->operands[0], &values->create, ret_status);
}

static const struct rt_option options[] = {
	RT_CREATE_OPTIONS,
	{ "count", 0, RT_OPTION_UNSIGNED, .argument = "N", .offset = offsetof(struct rt_run_values, count),
	  .given = offsetof(struct rt_run_values, has_count), .help = "with --from-snapshot: start N containers, <container-id>-1 and on" },
	{ "detach", 'd', RT_OPTION_FLAG, .offset = offsetof(struct rt_create_options, detach),
	  .help = "return as soon as the container runs" },
	{ "from-snapshot", 0, RT_OPTION_STRING, .argument = "NAME", .offset = offsetof(struct rt_run_values, from_snapshot),
	  .help = "start it from the memory of another container (see 'rt snapshot')" },
	{ "hostname", 0, RT_OPTION_STRING, .argument = "NAME", .offset = offsetof(struct rt_run_values, hostname),
	  .help = "with --from-snapshot: the host name inside; with --count NAME-1 and on" },
	{ "keep", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_create_options, keep),
	  .help = "do not delete the container when its process has ended" },
	{ "key", 0, RT_OPTION_STRING, .argument = "KEYFILE", .offset = offsetof(struct rt_run_values, key),
	  .help = "with --from-snapshot: the key file that it was encrypted with" },
	{ "merge", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_run_values, merge),
	  .help = "with --from-snapshot: let the kernel keep equal memory of such containers once (KSM)" },
	{ "no-subreaper", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_create_options, no_subreaper),
	  .help = "do not adopt the processes that the container leaves behind" },
	{ "on-demand", 0, RT_OPTION_FLAG, .offset = offsetof(struct rt_run_values, on_demand),
	  .help = "with --from-snapshot: give it only memory that it touches, as long as it lives" },
	{ "store", 0, RT_OPTION_STRING, .argument = "DIR", .offset = offsetof(struct rt_run_values, store),
	  .help = "with --from-snapshot: where snapshots are kept (default: /var/lib/rt/snapshots)" },
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
		"    rt run --bundle web web1\n"
		"\n"
		"With --from-snapshot it begins where the container of the snapshot stood, in a root filesystem of\n"
		"its own over that one's. The configuration is the snapshot's, unless --bundle or --config is given.",
	.options = options,
	.values_size = sizeof(struct rt_run_values),
	.flags = RT_CMD_ENTERS_CONTAINER | RT_CMD_NAMES_NEW,
	.run = run_run,
};
