/* Help for the terminal, from the command table. */
#pragma once

#include "runtime/cmd/command.h"

#include <stdio.h>

void rt_help_overview(FILE *stream);
void rt_help_command(FILE *stream, const struct rt_command *command);

/* What `--version` prints; engines parse it. */
void rt_help_version(FILE *stream);

/* The command that the operands of `rt help` or `rt man` name; NULL where there are none. */
struct rt_error *rt_help_find(const struct rt_invocation *invocation, const struct rt_command **ret) _must_check_;

/* How a command is called, "exec [options] <container-id> ..."; the caller frees it, NULL without memory. */
char *rt_help_synopsis(const struct rt_command *command);
