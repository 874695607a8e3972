#include "runtime/cmd/help.h"

#include "runtime/base/str.h"
#include "runtime/cmd/output.h"

#include "rt-config.h"

#include <seccomp.h>

enum { WORDS_WIDTH = 34 }; /* columns for an option and its argument before its sentence starts on a line of its own */

static bool has_options(const struct rt_option *options)
{
	for (; options && options->name; options++)
		if (!(options->flags & RT_OPTION_HIDDEN))
			return true;
	return false;
}

char *rt_help_synopsis(const struct rt_command *command)
{
	char *text = NULL;

	if (asprintf(&text, "%s%s%s%s", command->name, has_options(command->options) ? " [options]" : "",
		     *command->operands ? " " : "", command->operands) < 0)
		return NULL;
	return text;
}

static void print_option(FILE *stream, const struct rt_option *option)
{
	char letter[5] = "    ";
	int width;

	if (option->letter)
		snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	width = fprintf(stream, "  %s--%s%s%s", letter, option->name, option->argument ? " " : "",
			option->argument ? option->argument : "");
	if (width >= WORDS_WIDTH) {
		fputc('\n', stream);
		width = 0;
	}
	fprintf(stream, "%*s%s%s\n", WORDS_WIDTH - width, "", option->help,
		option->kind == RT_OPTION_LIST ? "; may be repeated" : "");
}

static void print_options(FILE *stream, const char *title, const struct rt_option *options)
{
	static const struct rt_option help = { "help", 'h', RT_OPTION_FLAG, .help = "print this help" };

	fprintf(stream, "\n%s:\n", title);
	for (; options && options->name; options++)
		if (!(options->flags & RT_OPTION_HIDDEN))
			print_option(stream, options);
	print_option(stream, &help);
}

void rt_help_command(FILE *stream, const struct rt_command *command)
{
	_cleanup_free_ char *synopsis = rt_help_synopsis(command);

	fprintf(stream, "rt %s - %s\n\nUsage: rt [global options] %s\n", command->name, command->summary,
		synopsis ? synopsis : command->name);
	if (command->description)
		fprintf(stream, "\n%s\n", command->description);
	print_options(stream, "Options", command->options);
}

void rt_help_overview(FILE *stream)
{
	fputs("rt - OCI container runtime\n"
	      "\n"
	      "Usage: rt [global options] <command> [options] [operands]\n"
	      "\n"
	      "Commands:\n",
	      stream);
	for (const struct rt_command *const *command = rt_commands; *command; command++)
		if (!((*command)->flags & RT_CMD_HIDDEN))
			fprintf(stream, "  %-12s%s\n", (*command)->name, (*command)->summary);
	print_options(stream, "Global options", rt_global_options);
	fputs("\n'rt <command> --help' says more about a command.\n", stream);
}

void rt_help_version(FILE *stream)
{
	const struct scmp_version *seccomp = seccomp_version();

	fprintf(stream, "rt version %s\n", RT_VERSION);
	if (*RT_COMMIT)
		fprintf(stream, "commit: %s\n", RT_COMMIT);
	fprintf(stream, "spec: %s\n", RT_SPEC_VERSION);
	if (seccomp)
		fprintf(stream, "libseccomp: %u.%u.%u\n", seccomp->major, seccomp->minor, seccomp->micro);
	/* In crun's form, which scripts and its test suite look at. */
	fprintf(stream, "+SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU\n");
}

static struct rt_error *run_help(const struct rt_invocation *invocation, int *ret_status)
{
	const char *name = invocation->operands[0];
	const struct rt_command *command = name ? rt_command_find(name) : NULL;

	if (name && !command)
		return rt_fail(RT_USAGE, "unknown command '%s'", name);
	if (command)
		rt_help_command(stdout, command);
	else
		rt_help_overview(stdout);
	return rt_output_finish();
}

const struct rt_command rt_cmd_help = {
	.name = "help",
	.operands = "[command]",
	.max_operands = 1,
	.summary = "say what the commands do and take",
	.run = run_help,
};
