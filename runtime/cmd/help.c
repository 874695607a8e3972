#include "runtime/cmd/help.h"
#include "runtime/cmd/option_text.h"

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

	if (!command->run)
		return asprintf(&text, "%s <command> [options] [operands]", command->name) < 0 ? NULL : text;
	if (asprintf(&text, "%s%s%s%s", command->name, has_options(command->options) ? " [options]" : "",
		     *command->operands ? " " : "", command->operands) < 0)
		return NULL;
	return text;
}

static void print_options(FILE *stream, const char *title, const struct rt_option *options)
{
	static const struct rt_option help = { "help", 'h', RT_OPTION_FLAG, .help = "print this help" };

	fprintf(stream, "\n%s:\n", title);
	for (; options && options->name; options++)
		rt_option_print(stream, options, WORDS_WIDTH);
	rt_option_print(stream, &help, WORDS_WIDTH);
}

/* Those of one command, or where that is NULL those that are no sub-commands. */
static void print_commands(FILE *stream, const struct rt_command *parent)
{
	fputs("\nCommands:\n", stream);
	for (const struct rt_command *const *row = rt_commands; *row; row++) {
		const char *word = rt_command_subword(parent, *row);

		if ((*row)->flags & RT_CMD_HIDDEN || !parent != !word)
			continue;
		fprintf(stream, "  %-12s%s\n", word ? word : (*row)->name, (*row)->summary);
	}
}

void rt_help_command(FILE *stream, const struct rt_command *command)
{
	_cleanup_free_ char *synopsis = rt_help_synopsis(command);
	bool subcommands = rt_command_has_subcommands(command);

	fprintf(stream, "rt %s - %s\n\nUsage: rt [global options] %s\n", command->name, command->summary,
		synopsis ? synopsis : command->name);
	if (subcommands && command->run)
		fprintf(stream, "       rt [global options] %s <command> [options] [operands]\n", command->name);
	if (command->description)
		fprintf(stream, "\n%s\n", command->description);
	if (subcommands)
		print_commands(stream, command);
	print_options(stream, "Options", command->options);
	if (subcommands)
		fprintf(stream, "\n'rt %s <command> --help' says more about a command.\n", command->name);
}

void rt_help_overview(FILE *stream)
{
	fputs("rt - OCI container runtime\n"
	      "\n"
	      "Usage: rt [global options] <command> [options] [operands]\n",
	      stream);
	print_commands(stream, NULL);
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

/* The command that the operands name; NULL where there are none. */
static struct rt_error *find(const struct rt_invocation *invocation, const struct rt_command **ret)
{
	size_t count;
	const struct rt_command *command = rt_command_find_words(invocation->operands, &count);

	if (count == 0 && invocation->operand_count > 0)
		return rt_fail(RT_USAGE, "unknown command '%s'", invocation->operands[0]);
	if (count < invocation->operand_count)
		return rt_fail(RT_USAGE, "unknown command '%s %s'", invocation->operands[0], invocation->operands[1]);
	*ret = command;
	return NULL;
}

struct rt_error *rt_help_run(const struct rt_invocation *invocation, void (*all)(FILE *stream),
			     void (*one)(FILE *stream, const struct rt_command *command))
{
	const struct rt_command *command = NULL;
	struct rt_error *err = find(invocation, &command);

	if (err)
		return err;
	if (command)
		one(stdout, command);
	else
		all(stdout);
	return rt_output_finish();
}

static struct rt_error *run_help(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_help_run(invocation, rt_help_overview, rt_help_command);
}

const struct rt_command rt_cmd_help = {
	.name = "help",
	.operands = "[command [sub-command]]",
	.max_operands = 2,
	.summary = "say what the commands do and take",
	.run = run_help,
};
