/* `rt man [command]`: manual pages for man(1), from the command table. The build calls it; it is not for people. */
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

static void print_title(FILE *stream, const char *page)
{
	fputs(".TH ", stream);
	for (; *page; page++)
		fputc(toupper((unsigned char)*page), stream);
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

static void print_command_page(FILE *stream, const struct rt_command *command)
{
	_cleanup_free_ char *synopsis = rt_help_synopsis(command);
	_cleanup_free_ char *page = NULL;

	if (asprintf(&page, "rt-%s", command->name) < 0)
		page = NULL;
	print_title(stream, page ? page : command->name);
	fputs(".SH NAME\nrt\\-", stream);
	print_string(stream, command->name);
	fputs(" \\- ", stream);
	print_string(stream, command->summary);
	fputs("\n.SH SYNOPSIS\n\\fBrt\\fR [global options] ", stream);
	print_string(stream, synopsis ? synopsis : command->name);
	fputs("\n", stream);
	if (command->description) {
		fputs(".SH DESCRIPTION\n", stream);
		print_description(stream, command->description);
	}
	print_options(stream, "OPTIONS", command->options);
	fputs(".SH SEE ALSO\n.BR rt (1)\n", stream);
}

static void print_main_page(FILE *stream)
{
	print_title(stream, "rt");
	fputs(".SH NAME\n"
	      "rt \\- OCI container runtime\n"
	      ".SH SYNOPSIS\n"
	      "\\fBrt\\fR [global options] \\fIcommand\\fR [options] [operands]\n"
	      ".SH DESCRIPTION\n"
	      "Runs containers as the runtime specification of the Open Container Initiative has them. Engines such\n"
	      "as podman, containerd and Docker call it; so can you.\n"
	      ".PP\n"
	      "Long options may be written with one dash or two, and their argument as the next word or after an\n"
	      "equals sign. A double dash ends the options.\n"
	      ".SH COMMANDS\n",
	      stream);
	for (const struct rt_command *const *command = rt_commands; *command; command++) {
		if ((*command)->flags & RT_CMD_HIDDEN)
			continue;
		fprintf(stream, ".TP\n\\fB%s\\fR\n", (*command)->name);
		print_string(stream, (*command)->summary);
		fprintf(stream, "; see\n.BR rt\\-%s (1)\n", (*command)->name);
	}
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
	const char *name = invocation->operands[0];
	const struct rt_command *command = name ? rt_command_find(name) : NULL;

	if (name && !command)
		return rt_fail(RT_USAGE, "unknown command '%s'", name);
	if (command)
		print_command_page(stdout, command);
	else
		print_main_page(stdout);
	return rt_output_finish();
}

const struct rt_command rt_cmd_man = {
	.name = "man",
	.operands = "[command]",
	.max_operands = 1,
	.summary = "print the manual page of rt or of a command for man(1)",
	.flags = RT_CMD_HIDDEN,
	.run = run_man,
};
