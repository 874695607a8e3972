/* The command line of rt-netns: rows as in runtime/cmd, read by the parser there; help and manual page come from them. */
#pragma once

#include "runtime/cmd/command.h"
#include "runtime/netns/request.h"

#include <stdio.h>

struct rt_netns_globals {
	const char *state_directory;
	bool debug, version;
};

struct rt_netns_invocation {
	const struct rt_netns_globals *globals;
	const void *values; /* of the command's options */
	const char *const *operands; /* NULL-terminated */
};

struct rt_netns_command {
	const char *name;
	const char *operands; /* "ID"; empty: none */
	size_t operand_count; /* neither more nor less */
	const char *summary;
	const struct rt_option *options; /* ends with a NULL name; NULL: none */
	size_t values_size; /* at most RT_VALUES_ROOM */
	bool hidden; /* for the build, not for people */
	struct rt_error *(*run)(const struct rt_netns_invocation *invocation);
};

/* In the order of the help; ends with a NULL name. */
extern const struct rt_netns_command rt_netns_commands[];
extern const struct rt_option rt_netns_global_options[];

/* For a terminal: all commands, or one. */
void rt_netns_help(FILE *stream, const struct rt_netns_command *command);
/* For man(1). */
void rt_netns_manual(FILE *stream);
