/* `rt man [command [sub-command]]`: manual pages for man(1), from the command table. The build calls it; it is not for people. */
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/help.h"
#include "runtime/cmd/output.h"

#include "rt-config.h"

#include <ctype.h>

/* Text with what troff would read as its own made harmless. */
static void print_text(FILE *stream, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		bool line_start = i == 0 || text[i - 1] == '\n';

		if (line_start && (text[i] == '.' || text[i] == '\''))
			fputs("\\&", stream);
		if (text[i] == '\\')
			fputs("\\e", stream);
		else if (text[i] == '-')
			fputs("\\-", stream);
		else if (text[i] == '\'')
			fputs("\\(aq", stream);
		else
			fputc(text[i], stream);
	}
}

static void print_string(FILE *stream, const char *text)
{
	print_text(stream, text, strlen(text));
}

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

			print_text(stream, line + indent, size - indent);
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
	bool titled = false;

	for (; options && options->name; options++) {
		if (options->flags & RT_OPTION_HIDDEN)
			continue;
		if (!titled)
			fprintf(stream, ".SH %s\n", title);
		titled = true;
		fputs(".TP\n", stream);
		if (options->letter)
			fprintf(stream, "\\fB\\-%c\\fR, ", options->letter);
		fputs("\\fB\\-\\-", stream);
		print_string(stream, options->name);
		fputs("\\fR", stream);
		if (options->argument) {
			fputs(" \\fI", stream);
			print_string(stream, options->argument);
			fputs("\\fR", stream);
		}
		fputc('\n', stream);
		print_string(stream, options->help);
		fputs(options->kind == RT_OPTION_LIST ? "; may be repeated.\n" : ".\n", stream);
	}
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
		print_string(stream, word ? word : (*row)->name);
		fputs("\\fR\n", stream);
		print_string(stream, (*row)->summary);
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
	print_string(stream, command->summary);
	fputs("\n.SH SYNOPSIS\n\\fBrt\\fR [global options] ", stream);
	print_string(stream, synopsis ? synopsis : command->name);
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
	const struct rt_command *command;
	struct rt_error *err = rt_help_find(invocation, &command);

	if (err)
		return err;
	if (command)
		print_command_page(stdout, command);
	else
		print_main_page(stdout);
	return rt_output_finish();
}

const struct rt_command rt_cmd_man = {
	.name = "man",
	.operands = "[command [sub-command]]",
	.max_operands = 2,
	.summary = "print the manual page of rt or of a command for man(1)",
	.flags = RT_CMD_HIDDEN,
	.run = run_man,
};
