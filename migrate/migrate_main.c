/* rt-migrate: what `rt migrate` and `rt receive` become. They need libcurl, libmicrohttpd and more, which `rt` itself does not carry. */
#include "migrate/source.h"
#include "migrate/target.h"
#include "migrate/worker.h"
#include "runtime/cmd/dispatch.h"
#include "runtime/cmd/migrate.h"

#include <malloc.h>
#include <sys/stat.h>

/* More than the largest buffer, of a request that is sent (http_client.c). */
#define MEMORY_KEPT (32 << 20)

/* Each request for images has buffers of some megabytes. Given back to the kernel, and taken anew for the next, they cost page faults, at a time when CRIU wants the processors. */
static void keep_memory(void)
{
	mallopt(M_MMAP_THRESHOLD, MEMORY_KEPT);
	mallopt(M_TRIM_THRESHOLD, MEMORY_KEPT);
}

static struct rt_error *run_migrate(const struct rt_invocation *invocation, int *ret_status)
{
	const struct rt_migrate_values *values = invocation->values;

	if (values->recover && invocation->operand_count <= 1)
		return rt_migrate_recover(invocation->context, invocation->operands[0], values);
	if (values->recover || invocation->operand_count != 2)
		return rt_fail(RT_USAGE, "'rt migrate' needs %s", values->recover ? "at most a container with --recover" : invocation->command->operands);
	keep_memory();
	return rt_migrate(invocation->context, invocation->operands[0], invocation->operands[1], values);
}

static struct rt_error *run_receive(const struct rt_invocation *invocation, int *ret_status)
{
	const struct rt_receive_values *values = invocation->values;

	return values->worker ? rt_worker_run(invocation->context) : rt_receive(invocation->context, values);
}

int main(int argc, char **argv)
{
	static const struct rt_command_override overrides[] = { { "migrate", run_migrate }, { "receive", run_receive }, { NULL, NULL } };

	/* What is written holds a container's memory. */
	umask(077);
	return rt_dispatch(argc, argv, overrides);
}
