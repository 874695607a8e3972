/* `rt completion SHELL`: what a shell needs to complete rt's command lines, from the command table. */
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/output.h"

/* What may follow: ids come from `rt list`, fixed words from the table, the rest is left to the shell's file names. */
static bool completes_id(const struct rt_command *command)
{
	return rt_str_starts(command->operands, "<container-id>") && !(command->flags & RT_CMD_NAMES_NEW);
}

static bool has_choices(const struct rt_option *option)
{
	return option->argument && strchr(option->argument, '|');
}

static bool shown(const struct rt_option *option)
{
	return !(option->flags & RT_OPTION_HIDDEN);
}

/* The words of the sub-commands, or where `parent` is NULL of the commands, with a blank after each. */
static void print_words(const struct rt_command *parent)
{
	for (const struct rt_command *const *row = rt_commands; *row; row++) {
		const char *word = rt_command_subword(parent, *row);

		if (!((*row)->flags & RT_CMD_HIDDEN) && !parent == !word)
			printf("%s ", word ? word : (*row)->name);
	}
}

/* "table|json" with blanks between. */
static void print_choices(const char *argument)
{
	for (; *argument; argument++)
		putchar(*argument == '|' ? ' ' : *argument);
}

/* ---- bash ---- */

static void bash_option_words(const struct rt_option *options)
{
	for (; options && options->name; options++)
		if (shown(options))
			printf(" --%s", options->name);
	printf(" --help");
}

/* Options whose argument is one of a few words, and those with any other argument, as patterns of a case. */
static void bash_arguments(const struct rt_option *options)
{
	for (; options && options->name; options++) {
		if (!shown(options) || options->kind == RT_OPTION_FLAG)
			continue;
		printf("\t\t--%s", options->name);
		if (options->letter)
			printf("|-%c", options->letter);
		if (has_choices(options)) {
			printf(") COMPREPLY=($(compgen -W '");
			print_choices(options->argument);
			printf("' -- \"$word\")); return ;;\n");
		} else {
			printf(") COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n");
		}
	}
}

static void bash_command(const struct rt_command *command)
{
	printf("\t'%s')\n\t\twords='", command->name);
	bash_option_words(command->options);
	printf("'\n");
	if (command->options) {
		printf("\t\tcase $previous in\n");
		bash_arguments(command->options);
		printf("\t\tesac\n");
	}
	if (completes_id(command))
		printf("\t\tids=$(rt \"${root[@]}\" list -q 2>/dev/null)\n");
	if (rt_command_has_subcommands(command)) {
		printf("\t\t((i + 1 == COMP_CWORD)) && ids='");
		print_words(command);
		printf("'\n");
	}
	printf("\t\t;;\n");
}

/* The second word belongs to the command where it is the name of a sub-command. */
static void bash_subcommands(void)
{
	for (const struct rt_command *const *row = rt_commands; *row; row++)
		if (!((*row)->flags & RT_CMD_HIDDEN) && rt_command_subword(NULL, *row))
			printf("'%s'|", (*row)->name);
}

/* Those before the command that take the word after them. */
static void print_global_options(const char *before, const char *after)
{
	for (const struct rt_option *option = rt_global_options; option->name; option++)
		if (option->kind != RT_OPTION_FLAG)
			printf("%s--%s%s", before, option->name, after);
}

static void print_bash(void)
{
	printf("# bash completion for rt\n"
	       "_rt()\n{\n"
	       "\tlocal word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
	       "\tlocal command= words= ids= i root=()\n"
	       "\t[[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD-2]}\n"
	       "\tCOMPREPLY=()\n"
	       "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	       "\t\tcase ${COMP_WORDS[i]} in\n"
	       "\t\t--root) root=(--root \"${COMP_WORDS[++i]}\") ;;\n"
	       "\t\t");
	print_global_options("", "|");
	printf("-) ((i++)) ;;\n"
	       "\t\t-*|=) ;;\n"
	       "\t\t*) command=${COMP_WORDS[i]}; break ;;\n"
	       "\t\tesac\n"
	       "\tdone\n"
	       "\t((i + 1 < COMP_CWORD)) && case \"$command ${COMP_WORDS[i+1]}\" in\n"
	       "\t");
	bash_subcommands();
	printf("-) command+=\" ${COMP_WORDS[++i]}\" ;;\n"
	       "\tesac\n"
	       "\tcase $command in\n"
	       "\t'')\n\t\twords='");
	bash_option_words(rt_global_options);
	printf("'\n\t\tcase $previous in\n");
	bash_arguments(rt_global_options);
	printf("\t\tesac\n\t\tids='");
	print_words(NULL);
	printf("'\n\t\t;;\n");
	for (const struct rt_command *const *command = rt_commands; *command; command++)
		if (!((*command)->flags & RT_CMD_HIDDEN))
			bash_command(*command);
	printf("\tesac\n"
	       "\t[[ $word == -* ]] || words=$ids\n"
	       "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
	       "}\n"
	       "complete -F _rt rt\n");
}

/* ---- zsh ---- */

/* Within '[...]' of an _arguments specification. */
static void zsh_quote(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			printf("'\\''");
		else if (strchr("[]:\\", *text))
			printf("\\%c", *text);
		else
			putchar(*text);
	}
}

static void zsh_option(const struct rt_option *option)
{
	const char *repeat = option->kind == RT_OPTION_LIST ? "*" : "";

	for (int form = option->letter ? 0 : 1; form < 2; form++) {
		if (form == 0)
			printf(" \\\n\t\t'%s-%c[", repeat, option->letter);
		else
			printf(" \\\n\t\t'%s--%s[", repeat, option->name);
		zsh_quote(option->help);
		printf("]");
		if (has_choices(option)) {
			printf(":value:(");
			print_choices(option->argument);
			printf(")");
		} else if (option->argument) {
			printf(":value:_files");
		}
		printf("'");
	}
}

static void zsh_options(const struct rt_option *options)
{
	for (; options && options->name; options++)
		if (shown(options))
			zsh_option(options);
	printf(" \\\n\t\t'--help[print help]'");
}

/* Those of one command, or where that is NULL those that are no sub-commands. */
static void zsh_commands(const struct rt_command *parent)
{
	for (const struct rt_command *const *row = rt_commands; *row; row++) {
		const char *word = rt_command_subword(parent, *row);

		if ((*row)->flags & RT_CMD_HIDDEN || !parent != !word)
			continue;
		printf("\t\t'%s:", word ? word : (*row)->name);
		zsh_quote((*row)->summary);
		printf("'\n");
	}
}

static void print_zsh(void)
{
	printf("#compdef rt\n"
	       "_rt_ids()\n{\n"
	       "\tlocal -a ids=(${(f)\"$(rt list -q 2>/dev/null)\"})\n"
	       "\tcompadd -a ids\n"
	       "}\n"
	       "_rt()\n{\n"
	       "\tlocal state line curcontext=$curcontext command\n"
	       "\tlocal -a commands=(\n");
	zsh_commands(NULL);
	printf("\t)\n\t_arguments -C");
	zsh_options(rt_global_options);
	printf(" \\\n\t\t'1: :{_describe command commands}' '*:: :->operands'\n"
	       "\t[[ $state == operands ]] || return\n"
	       "\tcommand=$words[1]\n"
	       "\t((CURRENT > 2)) && case \"$words[1] $words[2]\" in\n"
	       "\t(");
	bash_subcommands();
	printf("-) command=\"$words[1] $words[2]\"; shift words; ((CURRENT--)) ;;\n"
	       "\tesac\n"
	       "\tcase $command in\n");
	for (const struct rt_command *const *command = rt_commands; *command; command++) {
		if ((*command)->flags & RT_CMD_HIDDEN)
			continue;
		printf("\t'%s')\n", (*command)->name);
		if (rt_command_has_subcommands(*command)) {
			printf("\t\tcommands=(\n");
			zsh_commands(*command);
			printf("\t\t)\n");
		}
		printf("\t\t_arguments");
		zsh_options((*command)->options);
		if (rt_command_has_subcommands(*command))
			printf(" \\\n\t\t'1: :{_describe command commands}'");
		if (completes_id(*command))
			printf(" \\\n\t\t'1:container:_rt_ids'");
		printf("\n\t\t;;\n");
	}
	printf("\tesac\n}\n_rt \"$@\"\n");
}

/* ---- fish ---- */

static void fish_quote(const char *text)
{
	putchar('\'');
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putchar('\\');
		putchar(*text);
	}
	putchar('\'');
}

static void fish_options(const char *condition, const struct rt_option *options)
{
	for (; options && options->name; options++) {
		if (!shown(options))
			continue;
		printf("complete -c rt -n '%s' -l %s", condition, options->name);
		if (options->letter)
			printf(" -s %c", options->letter);
		if (options->kind != RT_OPTION_FLAG)
			printf(has_choices(options) ? " -x" : " -r -F");
		if (has_choices(options)) {
			printf(" -a '");
			print_choices(options->argument);
			printf("'");
		}
		printf(" -d ");
		fish_quote(options->help);
		printf("\n");
	}
}

/* Tells which command the words before the cursor name, as the table names it: "spec", "spec validate". */
static void fish_function(void)
{
	printf("function __rt_command\n"
	       "\tset -l words (commandline -opc)\n"
	       "\tset -l command\n"
	       "\tset -e words[1]\n"
	       "\twhile set -q words[1]\n"
	       "\t\tset -l word $words[1]\n"
	       "\t\tset -e words[1]\n"
	       "\t\tswitch $word\n"
	       "\t\tcase");
	print_global_options(" ", "");
	printf("\n"
	       "\t\t\tset -e words[1]\n"
	       "\t\tcase '-*'\n"
	       "\t\tcase '*'\n"
	       "\t\t\tset command $word\n"
	       "\t\t\tbreak\n"
	       "\t\tend\n"
	       "\tend\n"
	       "\tif contains -- \"$command $words[1]\"");
	for (const struct rt_command *const *row = rt_commands; *row; row++)
		if (!((*row)->flags & RT_CMD_HIDDEN) && rt_command_subword(NULL, *row))
			printf(" '%s'", (*row)->name);
	printf("\n"
	       "\t\tset command \"$command $words[1]\"\n"
	       "\tend\n"
	       "\techo $command\n"
	       "end\n");
}

static void print_fish(void)
{
	printf("complete -c rt -f\n");
	fish_function();
	fish_options("__fish_use_subcommand", rt_global_options);
	for (const struct rt_command *const *row = rt_commands; *row; row++) {
		const struct rt_command *command = *row;
		const char *word = rt_command_subword(NULL, command);
		char condition[80];

		if (command->flags & RT_CMD_HIDDEN)
			continue;
		if (word)
			printf("complete -c rt -n 'test (__rt_command) = \"%.*s\"' -a %s -d ", (int)(word - 1 - command->name),
			       command->name, word);
		else
			printf("complete -c rt -n __fish_use_subcommand -a %s -d ", command->name);
		fish_quote(command->summary);
		printf("\n");
		snprintf(condition, sizeof(condition), "test (__rt_command) = \"%s\"", command->name);
		fish_options(condition, command->options);
		if (completes_id(command))
			printf("complete -c rt -n '%s' -a '(rt list -q 2>/dev/null)'\n", condition);
	}
}

static struct rt_error *run_completion(const struct rt_invocation *invocation, int *ret_status)
{
	const char *shell = invocation->operands[0];

	if (rt_str_equal(shell, "bash"))
		print_bash();
	else if (rt_str_equal(shell, "zsh"))
		print_zsh();
	else if (rt_str_equal(shell, "fish"))
		print_fish();
	else
		return rt_fail(RT_USAGE, "no completion for the shell '%s', only for bash, zsh and fish", shell);
	return rt_output_finish();
}

const struct rt_command rt_cmd_completion = {
	.name = "completion",
	.operands = "<bash|zsh|fish>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "print the completion of rt's command lines for a shell",
	.description = "To try it in bash: source <(rt completion bash)",
	.run = run_completion,
};
