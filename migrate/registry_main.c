/* rt-registry: what `rt snapshot push` and `rt snapshot pull` become. */
#include "migrate/registry_snapshot.h"
#include "runtime/cmd/dispatch.h"

#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct rt_error *run_push(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_snapshot_push(invocation->operands[0], invocation->operands[1], invocation->values);
}

static struct rt_error *run_pull(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_snapshot_pull(invocation->operands[0], invocation->operand_count > 1 ? invocation->operands[1] : NULL, invocation->values);
}

/* Passwords and tokens come as JSON, of which jansson has copies nobody else can reach. */
static void wipe_and_free(void *memory)
{
	if (memory)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

int main(int argc, char **argv)
{
	static const struct rt_command_override overrides[] = {
		{ "snapshot pull", run_pull },
		{ "snapshot push", run_push },
		{ NULL, NULL },
	};

	umask(022);
	json_set_alloc_funcs(malloc, wipe_and_free);
	signal(SIGPIPE, SIG_IGN); /* a registry that hangs up is an error like any other */
	return rt_dispatch(argc, argv, overrides);
}
