#include "runtime/cmd/parse.h"

#include "runtime/base/str.h"

#include <limits.h>

bool rt_parse_bool(const char *text, bool *ret)
{
	static const char *const words[][6] = {
		{ "0", "f", "F", "false", "False", "FALSE" },
		{ "1", "t", "T", "true", "True", "TRUE" },
	};

	for (int value = 0; value < 2; value++)
		for (size_t i = 0; i < RT_ARRAY_SIZE(words[value]); i++)
			if (rt_str_equal(text, words[value][i])) {
				*ret = value;
				return true;
			}
	return false;
}

static const struct rt_option *find_long(const struct rt_option *options, const char *name, size_t length)
{
	for (const struct rt_option *option = options; option && option->name; option++)
		if (strncmp(option->name, name, length) == 0 && option->name[length] == '\0')
			return option;
	return NULL;
}

static const struct rt_option *find_letter(const struct rt_option *options, char letter)
{
	for (const struct rt_option *option = options; option && option->name; option++)
		if (option->letter == letter)
			return option;
	return NULL;
}

/* Lists grow by one: they are short, and their arena goes with the command. */
static struct rt_error *append(struct rt_parse *parse, const char *const **list, const char *argument)
{
	const char **grown;
	size_t count = 0;

	while (*list && (*list)[count])
		count++;
	grown = rt_arena_calloc(parse->arena, count + 2, sizeof(*grown));
	if (!grown)
		return rt_error_oom();
	if (count)
		memcpy(grown, *list, count * sizeof(*grown));
	grown[count] = argument;
	*list = grown;
	return NULL;
}

static struct rt_error *append_ordered(struct rt_parse *parse, const struct rt_option *option, const char *argument)
{
	const struct rt_given_option **list = (const struct rt_given_option **)((char *)parse->values + option->offset);
	struct rt_given_option *grown;
	size_t count = 0;

	while (*list && (*list)[count].option)
		count++;
	grown = rt_arena_calloc(parse->arena, count + 2, sizeof(*grown));
	if (!grown)
		return rt_error_oom();
	if (count)
		memcpy(grown, *list, count * sizeof(*grown));
	grown[count] = (struct rt_given_option){ option, argument };
	*list = grown;
	return NULL;
}

static struct rt_error *store_flag(struct rt_parse *parse, const struct rt_option *option, const char *argument)
{
	bool value = true;

	if (argument && !rt_parse_bool(argument, &value))
		return rt_fail(RT_USAGE, "option '--%s' takes true or false, not '%s'", option->name, argument);
	if (option->flags & RT_OPTION_ORDERED)
		return append_ordered(parse, option, value ? "true" : "false");
	*(bool *)((char *)parse->values + option->offset) = value;
	return NULL;
}

static struct rt_error *store(struct rt_parse *parse, const struct rt_option *option, const char *argument)
{
	char *field = (char *)parse->values + option->offset;
	uint64_t number;

	if (option->flags & RT_OPTION_IGNORED)
		return append(parse, &parse->ignored, option->name);
	if (option->given)
		*(bool *)((char *)parse->values + option->given) = true;
	if (option->flags & RT_OPTION_ORDERED && option->kind != RT_OPTION_FLAG)
		return append_ordered(parse, option, argument);
	switch (option->kind) {
	case RT_OPTION_FLAG:
		return store_flag(parse, option, argument);
	case RT_OPTION_STRING:
		*(const char **)field = argument;
		return NULL;
	case RT_OPTION_LIST:
		return append(parse, (const char *const **)field, argument);
	case RT_OPTION_UNSIGNED:
		if (!rt_str_to_u64(argument, &number) || number > INT_MAX)
			return rt_fail(RT_USAGE, "option '--%s' takes a number, not '%s'", option->name, argument);
		*(unsigned *)field = (unsigned)number;
		return NULL;
	}
	return NULL;
}

/* "-dt": letters of flags only, so that a misspelt long option is never taken for letters and an argument. */
static bool all_flags(const struct rt_option *options, const char *letters)
{
	for (; *letters; letters++) {
		const struct rt_option *option = find_letter(options, *letters);

		if (!option || option->kind != RT_OPTION_FLAG)
			return false;
	}
	return true;
}

static struct rt_error *store_letters(struct rt_parse *parse, const char *letters)
{
	struct rt_error *err = NULL;

	for (; *letters && !err; letters++)
		err = store(parse, find_letter(parse->options, *letters), NULL);
	return err;
}

/* One option word, and the next word where that is its argument. */
static struct rt_error *parse_option(struct rt_parse *parse, const char *word)
{
	bool two_dashes = word[1] == '-';
	const char *name = word + (two_dashes ? 2 : 1);
	size_t length = strcspn(name, "=");
	const char *argument = name[length] ? name + length + 1 : NULL;
	const struct rt_option *option = find_long(parse->options, name, length);

	if (!option && !two_dashes && length == 1)
		option = find_letter(parse->options, *name);
	if (!option) {
		if ((length == 4 && memcmp(name, "help", 4) == 0) || (!two_dashes && rt_str_equal(name, "h"))) {
			parse->help = true;
			return NULL;
		}
		if (!two_dashes && all_flags(parse->options, name))
			return store_letters(parse, name);
		return rt_fail(RT_USAGE, "unknown option '%.*s'", (int)(name + length - word), word);
	}
	if (!argument && option->kind != RT_OPTION_FLAG) {
		argument = parse->words[parse->consumed];
		/* podman asks what a runtime can do by looking for these words. */
		if (!argument)
			return rt_fail(RT_USAGE, "flag needs an argument: -%s", option->name);
		parse->consumed++;
	}
	return store(parse, option, argument);
}

struct rt_error *rt_parse_words(struct rt_parse *parse)
{
	bool options_over = false;
	const char **operands;
	size_t count = 0;

	while (parse->words[count])
		count++;
	operands = rt_arena_calloc(parse->arena, count + 1, sizeof(*operands));
	if (!operands)
		return rt_error_oom();
	parse->operands = operands;
	while (parse->words[parse->consumed] && !parse->help) {
		const char *word = parse->words[parse->consumed];
		/* "-" is standard input and "-9" a number: neither has ever been an option. */
		bool option = !options_over && word[0] == '-' && word[1] && !(word[1] >= '0' && word[1] <= '9');
		struct rt_error *err;

		if (!option && parse->stop_at_operand)
			return NULL;
		parse->consumed++;
		if (!option) {
			operands[parse->operand_count++] = word;
			options_over = options_over || parse->operand_count == parse->options_end;
		} else if (rt_str_equal(word, "--")) {
			options_over = true;
		} else {
			err = parse_option(parse, word);
			if (err)
				return err;
		}
	}
	return NULL;
}
