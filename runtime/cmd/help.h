/* Help for the terminal, from the command table. */
#pragma once

#include "runtime/cmd/command.h"

#include <stdio.h>

void rt_help_overview(FILE *stream);
void rt_help_command(FILE *stream, const struct rt_command *command);

/* What `--version` prints; engines parse it. */
void rt_help_version(FILE *stream);

/* How a command is called, "exec [options] <container-id> ..."; the caller frees it, NULL without memory. */
char *rt_help_synopsis(const struct rt_command *command);
