/* Reads the command line, sets up the log, calls one command, and tells of the one error there may be. */
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/context.h"
#include "runtime/cmd/help.h"
#include "runtime/cmd/output.h"
#include "runtime/cmd/parse.h"
#include "runtime/sys/seal.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <signal.h>

/* What came of it, for report(). */
struct outcome {
	int status; /* exit status of a success */
	int failure_status; /* exit status of a failure */
	const char *help; /* what to read after a wrong command line; NULL: nothing to read */
};

static void warn_of_ignored(const struct rt_parse *parse)
{
	for (const char *const *name = parse->ignored; name && *name; name++)
		rt_warn("option '--%s' has no effect, ignoring", *name);
}

static struct rt_error *open_log(const struct rt_global_values *globals)
{
	struct rt_log_options options = { .path = globals->log, .debug = globals->debug };
	struct rt_error *err = rt_context_log_format(globals->log_format, &options.format);

	return err ? err : rt_log_open(&options);
}

/* A command whose sub-commands alone do anything, or a word that was meant for one. */
static struct rt_error *fail_without_subcommand(const struct rt_command *command, const char *word)
{
	_cleanup_free_ char *names = NULL;

	for (const struct rt_command *const *row = rt_commands; *row; row++) {
		const char *name = rt_command_subword(command, *row);
		_cleanup_free_ char *before = name ? rt_take_ptr(names) : NULL;
		struct rt_error *err = name ? rt_format(&names, "%s%s%s", before ? before : "", before ? ", " : "", name) : NULL;

		if (err)
			return err;
	}
	if (word)
		return rt_fail(RT_USAGE, "'rt %s' has no command '%s', only: %s", command->name, word, names);
	return rt_fail(RT_USAGE, "'rt %s' needs a command: %s", command->name, names);
}

static struct rt_error *check_operands(const struct rt_command *command, const char *first, size_t count)
{
	if (rt_command_has_subcommands(command) && (!command->run || count > command->max_operands))
		return fail_without_subcommand(command, first);
	if (count < command->min_operands)
		return rt_fail(RT_USAGE, "'rt %s' needs %s", command->name, command->operands);
	if (count > command->max_operands)
		return rt_fail(RT_USAGE, "'rt %s' takes %s", command->name,
			       *command->operands ? command->operands : "no operands");
	return NULL;
}

static struct rt_error *run_command(const struct rt_command *command, char **words, const struct rt_context *context,
				    struct rt_arena *arena, struct outcome *outcome)
{
	_Alignas(max_align_t) char values[RT_VALUES_ROOM];
	struct rt_parse parse = {
		.options = command->options,
		.words = words,
		.options_end = command->options_end,
		.values = values,
		.arena = arena,
	};
	struct rt_invocation invocation = { .context = context, .command = command, .values = values };
	struct rt_error *err;

	assert(command->values_size <= sizeof(values));
	memset(values, 0, command->values_size);
	outcome->help = command->name;
	err = rt_parse_words(&parse);
	if (err)
		return err;
	if (parse.help) {
		rt_help_command(stdout, command);
		return rt_output_finish();
	}
	warn_of_ignored(&parse);
	err = check_operands(command, parse.operands[0], parse.operand_count);
	if (err)
		return err;
	invocation.operands = parse.operands;
	invocation.operand_count = parse.operand_count;
	outcome->help = NULL;
	outcome->failure_status = command->failure_status ? command->failure_status : 1;
	return command->run(&invocation, &outcome->status);
}

static struct rt_error *run_words(char **argv, struct rt_arena *arena, struct outcome *outcome)
{
	struct rt_global_values globals = { .debug = false };
	struct rt_parse parse = {
		.options = rt_global_options,
		.words = argv + 1,
		.stop_at_operand = true,
		.values = &globals,
		.arena = arena,
	};
	struct rt_error *err = rt_parse_words(&parse);
	const struct rt_command *command = NULL;
	struct rt_context context;
	size_t command_words;
	char **words;

	outcome->help = "";
	if (err)
		return err;
	words = argv + 1 + parse.consumed;
	if (globals.version) {
		rt_help_version(stdout);
		return rt_output_finish();
	}
	if (parse.help || !*words) {
		rt_help_overview(stdout);
		return rt_output_finish();
	}
	command = rt_command_find_words((const char *const *)words, &command_words);
	/* First of all: it starts the program anew, from a place that no container can write to. */
	if (command && command->flags & RT_CMD_ENTERS_CONTAINER) {
		err = rt_sys_seal_self(argv);
		if (err)
			return rt_while(err, "sealing the runtime's binary");
	}
	err = open_log(&globals);
	if (err)
		return err;
	warn_of_ignored(&parse);
	if (!command)
		return rt_fail(RT_USAGE, "unknown command '%s'", *words);
	err = rt_context_make(&globals, arena, &context);
	return err ? err : run_command(command, words + command_words, &context, arena, outcome);
}

/* Where in the source each link of the chain was made; paths as from the root of the source tree. */
static void debug_places(const struct rt_error *err)
{
	static const char self[] = "runtime/cmd/main.c";
	size_t prefix = strlen(__FILE__) - (sizeof(self) - 1);

	for (; err && rt_log_debug_enabled(); err = err->cause) {
		bool ours = strncmp(err->file, __FILE__, prefix) == 0;

		rt_log_write(RT_LOG_DEBUG, NULL, 0, "at %s:%d: %s", err->file + (ours ? prefix : 0), err->line,
			     err->message);
	}
}

/* The one place that prints errors: into the log, for the engine, and to the person at the terminal. */
static void report(const struct rt_error *err, const char *help)
{
	_cleanup_free_ char *text = rt_error_text(err);
	const char *message = text ? text : err->message;

	debug_places(err);
	rt_log_write(RT_LOG_ERROR, NULL, 0, "%s", message);
	if (rt_log_to_file())
		rt_log_tell(message);
	if (err->code == RT_USAGE && help && isatty(STDERR_FILENO))
		fprintf(stderr, "'rt %s%s--help' says more\n", help, *help ? " " : "");
}

/* Where standard input, output or error is closed, the next file opened would be taken for it, and written to. */
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
	struct outcome outcome = { .failure_status = 1 };
	struct rt_error *err;

	if (argc < 1 || !fill_stdio())
		return 1;
	/* A caller that ignores it would have us wait for children in vain. */
	signal(SIGCHLD, SIG_DFL);
	err = run_words(argv, &arena, &outcome);
	if (err)
		report(err, outcome.help);
	rt_arena_deinit(&arena);
	if (!err)
		return outcome.status;
	rt_error_free(err);
	return outcome.failure_status;
}
