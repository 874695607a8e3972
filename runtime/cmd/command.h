/* What a command of `rt` is: one const row. The parser, the help, the man pages and the completions all come from the
 * rows, so that none of them can be forgotten.
 *
 * To add a command: write cmd/<name>.c with a `const struct rt_command rt_cmd_<name>`, declare it in commands.c and put
 * it into the table there, and name it in the list of commands in runtime/meson.build.
 *
 * A sub-command is a row like any other whose name is two words, "spec validate", in cmd/spec_validate.c; its page of the
 * manual is rt-spec-validate(1). The first word must have a row too: one that does something itself as `rt spec`, or, with
 * `.run` left out, one that is only there to be explained. Such a parent should take no operands: a word that names a
 * sub-command could not be told from one. */
#pragma once

#include "runtime/container/container.h"

#include <stdint.h>

enum rt_option_kind {
	RT_OPTION_FLAG, /* bool; "--x" sets it, "--x=false" clears it */
	RT_OPTION_STRING, /* const char *; the last one given counts */
	RT_OPTION_LIST, /* const char *const *, NULL-terminated, NULL where none was given; every one given counts */
	RT_OPTION_UNSIGNED, /* unsigned; a decimal number */
};

enum {
	RT_OPTION_HIDDEN = 1 << 0, /* accepted, but neither in the help nor completed */
	RT_OPTION_IGNORED = 1 << 1, /* of other runtimes, without a meaning here: accepted, warned of, stored nowhere */
	RT_OPTION_ORDERED = 1 << 2, /* stored in no field of its own, but with the others of its kind in the order they were given */
};

/* An option of the kind RT_OPTION_ORDERED as it was given; their list ends with a NULL option, and is NULL where there are none. */
struct rt_given_option {
	const struct rt_option *option;
	const char *argument; /* of a flag "true" or "false" */
};

struct rt_option {
	const char *name; /* "console-socket"; NULL ends a table */
	char letter; /* 'b'; 0: none */
	enum rt_option_kind kind;
	unsigned flags; /* RT_OPTION_* */
	const char *argument; /* what the help calls it, "DIR"; NULL for a flag */
	size_t offset; /* of the field in the command's values; of RT_OPTION_ORDERED that of the list */
	size_t given; /* of a bool that tells that the option was given at all; 0: nobody asks */
	const char *help; /* one sentence without a full stop */
};

enum {
	RT_CMD_ENTERS_CONTAINER = 1 << 0, /* main() makes the runtime's own binary unwritable first (CVE-2019-5736) */
	RT_CMD_NAMES_NEW = 1 << 1, /* the id on the command line is a new one: nothing to complete */
	RT_CMD_HIDDEN = 1 << 2, /* for the build, not for people */
};

struct rt_invocation;
typedef struct rt_error *(*rt_command_run)(const struct rt_invocation *invocation, int *ret_status);

struct rt_command {
	const char *name; /* "kill", or of a sub-command "spec validate" */
	const char *operands; /* "<container-id> [signal]" */
	size_t min_operands, max_operands; /* RT_OPERANDS_ANY: no upper limit */
	size_t options_end; /* after so many operands everything is an operand; 0: options may stand anywhere */
	const char *summary; /* one line, lower case */
	const char *description; /* paragraphs for --help and the man page; NULL: the summary says it all */
	const struct rt_option *options; /* ends with a NULL name; NULL: none */
	size_t values_size; /* of the struct that the offsets of the options point into; at most RT_VALUES_ROOM */
	unsigned flags; /* RT_CMD_* */
	int failure_status; /* exit status of a failure; 0: 1, as of nearly all */
	/* NULL: only its sub-commands do anything */
	rt_command_run run;
};

#define RT_OPERANDS_ANY SIZE_MAX
#define RT_VALUES_ROOM 512

/* One call of `rt`, parsed. Strings are argv's own. */
struct rt_invocation {
	const struct rt_context *context;
	const struct rt_command *command;
	char **argv; /* of the whole program */
	const void *values; /* the command's own struct, zeroed before its options were stored */
	const char *const *operands; /* NULL-terminated */
	size_t operand_count;
};

/* All commands, sorted by name, sub-commands after the one they belong to; ends with NULL. */
extern const struct rt_command *const rt_commands[];

/* By its whole name; NULL: there is none of that name. */
const struct rt_command *rt_command_find(const char *name);

/* The command that the first words name, a sub-command where the second is the name of one; *ret_count is how many words
 * that took. `words` ends with NULL. NULL: there is none. */
const struct rt_command *rt_command_find_words(const char *const *words, size_t *ret_count);

/* The word that makes `command` a sub-command of `parent`; of any command where that is NULL. NULL: it is none. */
const char *rt_command_subword(const struct rt_command *parent, const struct rt_command *command);
bool rt_command_has_subcommands(const struct rt_command *command);

/* What stands before the command. */
struct rt_global_values {
	bool debug;
	const char *log, *log_format;
	const char *root;
	bool systemd_cgroup;
	const char *cgroup_manager;
	const char *rootless;
	bool version;
};
extern const struct rt_option rt_global_options[];
