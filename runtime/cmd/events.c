#include "runtime/cmd/command.h"
#include "runtime/cmd/duration.h"

#include <limits.h>

struct events_values {
	const char *interval;
	bool stats;
};

enum { DEFAULT_INTERVAL_MS = 5000 };

static struct rt_error *run_events(const struct rt_invocation *invocation, int *ret_status)
{
	const struct events_values *values = invocation->values;
	int64_t interval = DEFAULT_INTERVAL_MS;

	if (values->interval && !rt_duration_parse(values->interval, &interval))
		return rt_fail(RT_USAGE, "option '--interval' takes a time such as 5s or 1m30s, not '%s'",
			       values->interval);
	if (interval <= 0 || interval / 1000 >= INT_MAX)
		return rt_fail(RT_USAGE, "option '--interval' must be more than 0 and less than %d seconds", INT_MAX);
	return rt_container_events(invocation->context, invocation->operands[0], interval, values->stats);
}

static const struct rt_option options[] = {
	{ "interval", 0, RT_OPTION_STRING, .argument = "TIME", .offset = offsetof(struct events_values, interval),
	  .help = "time between two statistics, such as 500ms or 1m30s (default: 5s)" },
	{ "stats", 0, RT_OPTION_FLAG, .offset = offsetof(struct events_values, stats),
	  .help = "print the statistics once and end" },
	{ NULL },
};

const struct rt_command rt_cmd_events = {
	.name = "events",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "print statistics and out-of-memory events of a container as they come",
	.description =
		"One JSON object a line: of type \"stats\" every interval, with the usage of CPU, memory,\n"
		"processes and block I/O, and of type \"oom\" when the kernel had to kill for memory. Ends\n"
		"when the container does.",
	.options = options,
	.values_size = sizeof(struct events_values),
	.run = run_events,
};
