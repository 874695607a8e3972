/* Words of a command line -> values, by an option table. Pure: it prints nothing and asks nobody.
 *
 * Long options take one dash or two and their argument after '=' or as the next word; letters take it as the next word
 * or after '=', and letters of flags can be joined ("-dt"). "--" ends the options. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/cmd/command.h"

struct rt_parse {
	/* what to read */
	const struct rt_option *options; /* NULL: none */
	char *const *words; /* NULL-terminated */
	size_t options_end; /* as in struct rt_command */
	bool stop_at_operand; /* the first operand ends it, and is left unread: the global options */
	/* where it goes */
	void *values; /* the offsets of the options point into it */
	struct rt_arena *arena; /* lists and operands live there */
	/* what was found */
	const char *const *operands; /* NULL-terminated */
	size_t operand_count;
	size_t consumed; /* words read */
	const char *const *ignored; /* names of options without an effect, NULL-terminated; NULL: none */
	bool help; /* --help or -h: everything else may be incomplete */
};

/* RT_USAGE names the option. */
struct rt_error *rt_parse_words(struct rt_parse *parse) _must_check_;

/* What every command line may have: "true", "1", "t" and their like as strconv.ParseBool of Go takes them, because
 * engines are written against that. False: it is neither. */
bool rt_parse_bool(const char *text, bool *ret);
