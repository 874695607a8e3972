/* Help for the terminal, from the command table. */
#pragma once

#include "runtime/cmd/command.h"

#include <stdio.h>

void rt_help_overview(FILE *stream);
void rt_help_command(FILE *stream, const struct rt_command *command);

/* What `--version` prints; engines parse it. */
void rt_help_version(FILE *stream);

/* What `rt help` and `rt man` do: prints the command that the operands name, or where there are none all. */
struct rt_error *rt_help_run(const struct rt_invocation *invocation, void (*all)(FILE *stream),
			     void (*one)(FILE *stream, const struct rt_command *command)) _must_check_;

/* How a command is called, "exec [options] <container-id> ..."; the caller frees it, NULL without memory. */
char *rt_help_synopsis(const struct rt_command *command);
