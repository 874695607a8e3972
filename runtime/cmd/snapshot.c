#include "runtime/cmd/snapshot.h"

#include "runtime/cmd/dispatch.h"

struct rt_error *rt_snapshot_to_helper(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_dispatch_to_helper(invocation, "rt-snapshot", "migrate");
}

struct rt_error *rt_snapshot_to_clone(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_dispatch_to_helper(invocation, "rt-clone", "migrate");
}

struct rt_error *rt_snapshot_to_registry(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_dispatch_to_helper(invocation, "rt-registry", "migrate");
}

const struct rt_command rt_cmd_snapshot = {
	.name = "snapshot",
	.operands = "",
	.summary = "keep containers to start others from",
	.description =
		"A snapshot is a container as it was at one moment: its processes with their memory, its\n"
		"configuration, and what it changed in its root filesystem. 'rt run --from-snapshot' starts new\n"
		"containers from it, as often as wanted.\n"
		"\n"
		"Snapshots hold the secrets that the processes held. They are readable to root only.",
};
