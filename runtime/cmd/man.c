/* `rt man [command [sub-command]]`: manual pages for man(1), from the command table. The build calls it; it is not for people. */
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/help.h"
#include "runtime/cmd/option_text.h"

#include "rt-config.h"

#include <ctype.h>

/* The page of "spec validate" is rt-spec-validate. */
static void print_page_name(FILE *stream, const char *name)
{
	fputs("rt\\-", stream);
	for (; *name; name++) {
		if (*name == ' ' || *name == '-')
			fputs("\\-", stream);
		else
			fputc(*name, stream);
	}
}

static void print_title(FILE *stream, const char *name)
{
	fputs(*name ? ".TH RT-" : ".TH RT", stream);
	for (; *name; name++)
		fputc(*name == ' ' ? '-' : toupper((unsigned char)*name), stream);
	fprintf(stream, " 1 \"\" \"rt %s\" \"rt manual\"\n", RT_VERSION);
}

/* Paragraphs as in the help: those indented by four blanks are commands to type. */
static void print_description(FILE *stream, const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		size_t length = end ? (size_t)(end - text) : strlen(text);
		bool example = rt_str_starts(text, "    ");

		fputs(example ? ".PP\n.in +4n\n.EX\n" : ".PP\n", stream);
		for (const char *line = text; line < text + length;) {
			size_t size = strcspn(line, "\n");
			size_t indent = example ? strspn(line, " ") : 0;

			rt_manual_print_part(stream, line + indent, size - indent);
			fputc('\n', stream);
			line += size + (line[size] == '\n');
		}
		if (example)
			fputs(".EE\n.in\n", stream);
		text += length + (end ? 2 : 0);
	}
}

static void print_options(FILE *stream, const char *title, const struct rt_option *options)
{
	const struct rt_option *shown = options;

	while (shown && shown->name && (shown->flags & RT_OPTION_HIDDEN))
		shown++;
	if (shown && shown->name)
		fprintf(stream, ".SH %s\n", title);
	rt_option_print_manual(stream, shown);
}

/* Those of one command, or where that is NULL those that are no sub-commands. */
static void print_commands(FILE *stream, const struct rt_command *parent)
{
	fputs(".SH COMMANDS\n", stream);
	for (const struct rt_command *const *row = rt_commands; *row; row++) {
		const char *word = rt_command_subword(parent, *row);

		if ((*row)->flags & RT_CMD_HIDDEN || !parent != !word)
			continue;
		fputs(".TP\n\\fB", stream);
		rt_manual_print(stream, word ? word : (*row)->name);
		fputs("\\fR\n", stream);
		rt_manual_print(stream, (*row)->summary);
		fputs("; see\n.BR ", stream);
		print_page_name(stream, (*row)->name);
		fputs(" (1)\n", stream);
	}
}

static void print_see_also(FILE *stream, const struct rt_command *command)
{
	fputs(".SH SEE ALSO\n", stream);
	for (const struct rt_command *const *row = rt_commands; *row; row++) {
		if (!rt_command_subword(*row, command))
			continue;
		fputs(".BR ", stream);
		print_page_name(stream, (*row)->name);
		fputs(" (1),\n", stream);
	}
	fputs(".BR rt (1)\n", stream);
}

static void print_command_page(FILE *stream, const struct rt_command *command)
{
	_cleanup_free_ char *synopsis = rt_help_synopsis(command);
	bool subcommands = rt_command_has_subcommands(command);

	print_title(stream, command->name);
	fputs(".SH NAME\n", stream);
	print_page_name(stream, command->name);
	fputs(" \\- ", stream);
	rt_manual_print(stream, command->summary);
	fputs("\n.SH SYNOPSIS\n\\fBrt\\fR [global options] ", stream);
	rt_manual_print(stream, synopsis ? synopsis : command->name);
	fputs("\n", stream);
	if (subcommands && command->run)
		fprintf(stream, ".br\n\\fBrt\\fR [global options] %s \\fIcommand\\fR [options] [operands]\n", command->name);
	if (command->description) {
		fputs(".SH DESCRIPTION\n", stream);
		print_description(stream, command->description);
	}
	if (subcommands)
		print_commands(stream, command);
	print_options(stream, "OPTIONS", command->options);
	print_see_also(stream, command);
}

static void print_main_page(FILE *stream)
{
	print_title(stream, "");
	fputs(".SH NAME\n"
	      "rt \\- OCI container runtime\n"
	      ".SH SYNOPSIS\n"
	      "\\fBrt\\fR [global options] \\fIcommand\\fR [options] [operands]\n"
	      ".SH DESCRIPTION\n"
	      "Runs containers as the runtime specification of the Open Container Initiative has them. Engines such\n"
	      "as podman, containerd and Docker call it; so can you.\n"
	      ".PP\n"
	      "Long options may be written with one dash or two, and their argument as the next word or after an\n"
	      "equals sign. A double dash ends the options.\n",
	      stream);
	print_commands(stream, NULL);
	print_options(stream, "GLOBAL OPTIONS", rt_global_options);
	fputs(".SH FILES\n"
	      ".TP\n\\fI/run/rt\\fR, \\fI$XDG_RUNTIME_DIR/rt\\fR\n"
	      "One directory a container: its state, its configuration and its lock.\n"
	      ".SH EXIT STATUS\n"
	      "0, or 1 after a failure, of which one line on standard error and in the log says why.\n"
	      ".B rt run\nand\n.B rt exec\nexit as the process that they ran.\n",
	      stream);
}

static struct rt_error *run_man(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_help_run(invocation, print_main_page, print_command_page);
}

const struct rt_command rt_cmd_man = {
	.name = "man",
	.operands = "[command [sub-command]]",
	.max_operands = 2,
	.summary = "print the manual page of rt or of a command for man(1)",
	.flags = RT_CMD_HIDDEN,
	.run = run_man,
};
