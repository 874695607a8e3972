/* rt-netns: networks for containers, as an OCI hook and by hand. Reads the command line, calls one command, tells of the one error.
 *
 * A program of its own, as `rt` links no shared libraries. Layer: uses runtime/base and runtime/sys, and of runtime/cmd the parser
 * of command lines. */
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cmd/parse.h"
#include "runtime/netns/commands.h"
#include "runtime/netns/defaults.h"

#include "rt-config.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static const struct rt_netns_command *find(const char *name)
{
	for (const struct rt_netns_command *command = rt_netns_commands; command->name; command++)
		if (rt_str_equal(command->name, name))
			return command;
	return NULL;
}

static struct rt_error *run_command(const struct rt_netns_command *command, char **words, const struct rt_netns_globals *globals,
				    struct rt_arena *arena)
{
	_Alignas(max_align_t) char values[RT_VALUES_ROOM];
	struct rt_parse parse = { .options = command->options, .words = words, .values = values, .arena = arena };
	struct rt_netns_invocation invocation = { .globals = globals, .values = values };
	struct rt_error *err;

	assert(command->values_size <= sizeof(values));
	memset(values, 0, sizeof(values));
	err = rt_parse_words(&parse);
	if (err)
		return err;
	if (parse.help) {
		rt_netns_help(stdout, command);
		return NULL;
	}
	if (parse.operand_count != command->operand_count)
		return rt_fail(RT_USAGE, "'rt-netns %s' takes %s", command->name, *command->operands ? command->operands : "no operands");
	invocation.operands = parse.operands;
	return command->run(&invocation);
}

static struct rt_error *run_words(char **argv, struct rt_arena *arena)
{
	struct rt_netns_globals globals = { .state_directory = RT_NETNS_STATE_DIR };
	struct rt_parse parse = {
		.options = rt_netns_global_options, .words = argv + 1, .stop_at_operand = true, .values = &globals, .arena = arena,
	};
	struct rt_error *err = rt_parse_words(&parse);
	const struct rt_netns_command *command;
	const char *name;

	if (err)
		return err;
	if (globals.version) {
		printf("rt-netns version %s\n", RT_VERSION);
		return NULL;
	}
	name = argv[1 + parse.consumed];
	if (parse.help || !name) {
		rt_netns_help(stdout, NULL);
		return NULL;
	}
	command = find(name);
	if (!command)
		return rt_fail(RT_USAGE, "unknown command '%s': 'rt-netns help' lists them", name);
	if (globals.state_directory[0] != '/')
		return rt_fail(RT_USAGE, "option '--state-dir' takes an absolute path, not '%s'", globals.state_directory);
	err = rt_log_open(&(struct rt_log_options){ .debug = globals.debug });
	return err ? err : run_command(command, argv + 2 + parse.consumed, &globals, arena);
}

/* A hook may be started with its standard streams closed: the next file opened would be taken for one. */
static bool fill_stdio(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct rt_arena arena = RT_ARENA_NULL;
	struct rt_error *err;
	char *text;

	if (argc < 1 || !fill_stdio())
		return EXIT_FAILURE;
	umask(077);
	err = run_words(argv, &arena);
	rt_arena_deinit(&arena);
	if (!err)
		return EXIT_SUCCESS;
	for (const struct rt_error *link = err; link && rt_log_debug_enabled(); link = link->cause)
		rt_debug("made at %s:%d: %s", link->file, link->line, link->message);
	text = rt_error_text(err);
	fprintf(stderr, "rt-netns: %s\n", text ? text : "out of memory");
	free(text);
	rt_error_free(err);
	return EXIT_FAILURE;
}
