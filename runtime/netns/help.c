/* Help for the terminal and the manual page, from the rows. (Those of runtime/cmd speak of `rt`.) */
#include "runtime/netns/commands.h"

#include "runtime/base/str.h"
#include "runtime/cmd/option_text.h"

#include "rt-config.h"

enum { WORDS_WIDTH = 40 };

static const char description[] =
	"Gives containers a network: a veth on a bridge, an address from a subnet or a fixed one, IPv4 and IPv6, and if asked NAT and "
	"published ports by nftables. Everything is undone when the container is removed. As an OCI hook, the same words stand in "
	"config.json below prestart or createRuntime, and below poststop.";

static void print_overview(FILE *stream)
{
	fprintf(stream, "rt-netns - networks for containers\n\nUsage: rt-netns [global options] <command> [options] [ID]\n\nCommands:\n");
	for (const struct rt_netns_command *command = rt_netns_commands; command->name; command++)
		if (!command->hidden)
			fprintf(stream, "  %-10s%s\n", command->name, command->summary);
	fprintf(stream, "\nGlobal options:\n");
	for (const struct rt_option *option = rt_netns_global_options; option->name; option++)
		rt_option_print(stream, option, WORDS_WIDTH);
	fprintf(stream, "\n'rt-netns <command> --help' says more about a command.\n");
}

void rt_netns_help(FILE *stream, const struct rt_netns_command *command)
{
	if (!command) {
		print_overview(stream);
		return;
	}
	fprintf(stream, "rt-netns %s - %s\n\nUsage: rt-netns [global options] %s%s%s%s\n", command->name, command->summary, command->name,
		command->options ? " [options]" : "", *command->operands ? " " : "", command->operands);
	if (command->options)
		fprintf(stream, "\nOptions:\n");
	for (const struct rt_option *option = command->options; option && option->name; option++)
		rt_option_print(stream, option, WORDS_WIDTH);
}

static void print_commands(FILE *stream)
{
	for (const struct rt_netns_command *command = rt_netns_commands; command->name; command++) {
		if (command->hidden)
			continue;
		fprintf(stream, ".TP\n\\fB%s\\fR%s%s\n", command->name, *command->operands ? " " : "", command->operands);
		rt_manual_print(stream, command->summary);
		fputs(".\n", stream);
	}
}

/* The options of create serve the hook and load too: once is enough. */
void rt_netns_manual(FILE *stream)
{
	fprintf(stream, ".TH RT\\-NETNS 1 \"\" \"rt %s\" \"rt manual\"\n.SH NAME\nrt\\-netns \\- networks for containers\n", RT_VERSION);
	fputs(".SH SYNOPSIS\n\\fBrt\\-netns\\fR [global options] \\fIcommand\\fR [options] [\\fIID\\fR]\n.SH DESCRIPTION\n", stream);
	rt_manual_print(stream, description);
	fputs("\n.SH COMMANDS\n", stream);
	print_commands(stream);
	fputs(".SH GLOBAL OPTIONS\n", stream);
	rt_option_print_manual(stream, rt_netns_global_options);
	for (const struct rt_netns_command *command = rt_netns_commands; command->name; command++) {
		if (!command->options || rt_str_equal(command->name, "hook") || rt_str_equal(command->name, "load") ||
		    rt_str_equal(command->name, "catch"))
			continue;
		fprintf(stream, ".SH OPTIONS OF %s\n", rt_str_equal(command->name, "create") ? "CREATE, LOAD, CATCH AND HOOK" : command->name);
		rt_option_print_manual(stream, command->options);
	}
	fputs(".SH FILES\n.TP\n\\fI/run/rt\\-netns\\fR\nOne file a container, and one for each bridge that was made.\n"
	      ".SH EXIT STATUS\n0, or 1 after a failure, of which one line on standard error says why.\n"
	      ".SH SEE ALSO\n.BR rt (1)\n",
	      stream);
}
