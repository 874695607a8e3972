#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/output.h"
#include "runtime/cmd/pstable.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

struct ps_values {
	const char *format;
};

static struct rt_error *print_json(const pid_t *pids, size_t count)
{
	_cleanup_json_ json_t *array = json_array();

	if (!array)
		return rt_error_oom();
	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(array, json_integer(pids[i])) < 0)
			return rt_error_oom();
	return rt_output_json(array, JSON_COMPACT);
}

/* Starts ps(1) with its output in a pipe. */
static struct rt_error *spawn_ps(const char *const *args, size_t count, pid_t *ret_pid, FILE **ret_output)
{
	_cleanup_free_ const char **argv = calloc(count + 2, sizeof(*argv));
	_cleanup_close_ int output = -1, input = -1;
	posix_spawn_file_actions_t actions;
	int pipe_fds[2], failure;

	if (!argv)
		return rt_error_oom();
	argv[0] = "ps";
	memcpy(argv + 1, args, count * sizeof(*argv));
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return rt_fail_errno("cannot make a pipe");
	output = pipe_fds[0];
	input = pipe_fds[1];
	if (posix_spawn_file_actions_init(&actions) != 0)
		return rt_error_oom();
	failure = posix_spawn_file_actions_adddup2(&actions, input, STDOUT_FILENO);
	if (failure == 0)
		failure = posix_spawnp(ret_pid, "ps", &actions, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (failure)
		return rt_fail_with(failure, "cannot run ps(1)");
	*ret_output = fdopen(output, "r");
	if (!*ret_output)
		return rt_error_oom();
	(void)rt_take_fd(output);
	return NULL;
}

static struct rt_error *wait_ps(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return rt_fail_errno("cannot wait for ps(1)");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return rt_fail(RT_SYSTEM, "ps(1) failed with %s %d", WIFEXITED(status) ? "status" : "signal",
			       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return NULL;
}

/* The lines of ps(1) that are about the container, under ps's own title. */
static struct rt_error *print_table(const pid_t *pids, size_t pid_count, const char *const *args, size_t count)
{
	_cleanup_fclose_ FILE *output = NULL;
	_cleanup_free_ char *line = NULL;
	struct rt_error *err, *ended;
	size_t room = 0;
	int column = -1;
	pid_t ps;

	err = spawn_ps(args, count, &ps, &output);
	if (err)
		return err;
	if (getline(&line, &room, output) > 0) {
		column = rt_ps_pid_column(line);
		if (column >= 0)
			fputs(line, stdout);
	}
	/* Read to the end in any case, so that ps never stands before a full pipe. */
	while (getline(&line, &room, output) > 0)
		if (column >= 0 && rt_ps_line_of(line, column, pids, pid_count))
			fputs(line, stdout);
	ended = wait_ps(ps);
	if (ended)
		return ended;
	if (column < 0)
		return rt_fail(RT_USAGE, "the output of ps(1) with these options has no column PID");
	return rt_output_finish();
}

static struct rt_error *run_ps(const struct rt_invocation *invocation, int *ret_status)
{
	static const char *const all_in_full[] = { "-ef" };
	const struct ps_values *values = invocation->values;
	size_t arg_count = invocation->operand_count - 1;
	const char *format = values->format ? values->format : "table";
	bool json = rt_str_equal(format, "json");
	_cleanup_free_ pid_t *pids = NULL;
	struct rt_error *err;
	size_t count = 0;

	if (!json && !rt_str_equal(format, "table"))
		return rt_fail(RT_USAGE, "option '--format' takes table or json, not '%s'", format);
	err = rt_container_pids(invocation->context, invocation->operands[0], &pids, &count);
	if (err)
		return err;
	if (json)
		return print_json(pids, count);
	if (arg_count == 0)
		return print_table(pids, count, all_in_full, RT_ARRAY_SIZE(all_in_full));
	return print_table(pids, count, invocation->operands + 1, arg_count);
}

static const struct rt_option options[] = {
	{ "format", 'f', RT_OPTION_STRING, .argument = "table|json", .offset = offsetof(struct ps_values, format),
	  .help = "how to print the processes (default: table)" },
	{ NULL },
};

const struct rt_command rt_cmd_ps = {
	.name = "ps",
	.operands = "<container-id> [ps-option...]",
	.min_operands = 1,
	.max_operands = RT_OPERANDS_ANY,
	.options_end = 1,
	.summary = "list the processes of a container",
	.description =
		"The table is what ps(1) prints, with the options given (default: -ef), less the\n"
		"processes that are not the container's. The process ids are those of the host.\n"
		"\n"
		"    rt ps web1 -o pid,rss,args",
	.options = options,
	.values_size = sizeof(struct ps_values),
	.run = run_ps,
};
