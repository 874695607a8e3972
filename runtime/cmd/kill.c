#include "runtime/cmd/command.h"
#include "runtime/cmd/signal.h"

#include <signal.h>

struct kill_values {
	bool all;
};

static struct rt_error *run_kill(const struct rt_invocation *invocation, int *ret_status)
{
	const struct kill_values *values = invocation->values;
	const char *name = invocation->operands[1];
	int signal = SIGTERM;

	if (name && *name && !rt_signal_parse(name, &signal))
		return rt_fail(RT_USAGE, "unknown signal '%s'", name);
	return rt_container_kill(invocation->context, invocation->operands[0], signal, values->all ? RT_KILL_ALL : 0);
}

static const struct rt_option options[] = {
	{ "all", 'a', RT_OPTION_FLAG, .offset = offsetof(struct kill_values, all),
	  .help = "signal every process of the container, even when its init has ended" },
	{ NULL },
};

const struct rt_command rt_cmd_kill = {
	.name = "kill",
	.operands = "<container-id> [signal]",
	.min_operands = 1,
	.max_operands = 2,
	.summary = "send a signal (default SIGTERM) to the container's init process",
	.description =
		"The signal is a name, with or without SIG, or a number; RTMIN+1 and RTMAX-1 count\n"
		"real-time signals.\n"
		"\n"
		"    rt kill web1 HUP",
	.options = options,
	.values_size = sizeof(struct kill_values),
	.run = run_kill,
};
