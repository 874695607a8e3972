#include "runtime/cmd/command.h"
#include "runtime/cmd/output.h"

static struct rt_error *run_features(const struct rt_invocation *invocation, int *ret_status)
{
	_cleanup_json_ json_t *features = NULL;
	struct rt_error *err = rt_spec_features(&features);

	return err ? err : rt_output_json(features, JSON_INDENT(4));
}

const struct rt_command rt_cmd_features = {
	.name = "features",
	.operands = "",
	.summary = "print as JSON what this runtime can do",
	.description = "The form is that of features.md of the runtime specification.",
	.run = run_features,
};
