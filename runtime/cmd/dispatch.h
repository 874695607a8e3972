/* From argv to an exit status: reads the command line, sets up the log, calls one command, and tells of the one error there may be. What main() of `rt` is, and of
 * the helper programs that `rt` becomes for commands it does not carry itself. */
#pragma once

#include "runtime/cmd/command.h"

/* What a helper does for a row whose run() in `rt` only starts the helper. */
struct rt_command_override {
	const char *name; /* NULL ends the list */
	rt_command_run run;
};

/* `overrides` may be NULL. */
int rt_dispatch(int argc, char **argv, const struct rt_command_override *overrides);

/* run() of such rows: becomes the helper program, with the same words. Returns only if that fails. */
struct rt_error *rt_dispatch_to_helper(const struct rt_invocation *invocation, const char *helper, const char *folder) _must_check_;
