#include "runtime/base/str.h"
#include "runtime/cmd/command.h"

static struct rt_error *run_exec(const struct rt_invocation *invocation, int *ret_status)
{
	struct rt_exec_options exec = *(const struct rt_exec_options *)invocation->values;
	const char *const *args = invocation->operands + 1;

	/* Everything after the id is the command; people write "--" between the two all the same. */
	if (*args && rt_str_equal(*args, "--"))
		args++;
	if (!exec.process && !*args)
		return rt_fail(RT_USAGE, "nothing to execute: name a command, or a file with --process");
	if (exec.process && *args)
		return rt_fail(RT_USAGE, "the command '%s' and --process exclude each other", *args);
	if (!exec.process)
		exec.args = args;
	return rt_container_exec(invocation->context, invocation->operands[0], &exec, ret_status);
}

#define FIELD(field) offsetof(struct rt_exec_options, field)

static const struct rt_option options[] = {
	{ "additional-gids", 'g', RT_OPTION_LIST, .argument = "GID", .offset = FIELD(additional_gids),
	  .help = "one more group of the process" },
	{ "apparmor", 0, RT_OPTION_STRING, .argument = "PROFILE", .offset = FIELD(apparmor),
	  .help = "AppArmor profile of the process" },
	{ "cap", 'c', RT_OPTION_LIST, .argument = "CAP", .offset = FIELD(caps),
	  .help = "one more capability for the process" },
	{ "cgroup", 0, RT_OPTION_LIST, .argument = "[CONTROLLER:]PATH", .offset = FIELD(cgroups),
	  .help = "existing cgroup below the container's to run the process in" },
	{ "console-socket", 0, RT_OPTION_STRING, .argument = "SOCKET", .offset = FIELD(console_socket),
	  .help = "unix socket that receives the master end of the process's terminal" },
	{ "cwd", 0, RT_OPTION_STRING, .argument = "DIR", .offset = FIELD(cwd),
	  .help = "working directory in the container" },
	{ "detach", 'd', RT_OPTION_FLAG, .offset = FIELD(detach),
	  .help = "return as soon as the process runs" },
	{ "env", 'e', RT_OPTION_LIST, .argument = "NAME=VALUE", .offset = FIELD(env),
	  .help = "one more environment variable of the process" },
	{ "ignore-paused", 0, RT_OPTION_FLAG, .offset = FIELD(ignore_paused),
	  .help = "enter a paused container too; the process waits until it is resumed" },
	{ "no-new-privs", 0, RT_OPTION_FLAG, .offset = FIELD(no_new_privs), .given = FIELD(has_no_new_privs),
	  .help = "forbid the process to gain privileges by exec" },
	{ "no-subreaper", 0, RT_OPTION_FLAG, RT_OPTION_HIDDEN, .offset = FIELD(no_subreaper),
	  .help = "do not adopt the processes that it leaves behind" },
	{ "pid-file", 0, RT_OPTION_STRING, .argument = "FILE", .offset = FIELD(pid_file),
	  .help = "file to write the process id to" },
	{ "pidfd-socket", 0, RT_OPTION_STRING, .argument = "SOCKET", .offset = FIELD(pidfd_socket),
	  .help = "unix socket that receives a pidfd of the process" },
	{ "preserve-fds", 0, RT_OPTION_UNSIGNED, .argument = "N", .offset = FIELD(preserve_fds),
	  .help = "pass N descriptors more than standard input, output, error and $LISTEN_FDS" },
	{ "process", 'p', RT_OPTION_STRING, .argument = "FILE", .offset = FIELD(process),
	  .help = "process object, as in config.json, to run in place of a command" },
	{ "process-label", 0, RT_OPTION_STRING, .argument = "LABEL", .offset = FIELD(process_label),
	  .help = "SELinux label of the process" },
	{ "tty", 't', RT_OPTION_FLAG, .offset = FIELD(tty), .given = FIELD(has_tty),
	  .help = "give the process a terminal" },
	{ "user", 'u', RT_OPTION_STRING, .argument = "UID[:GID]", .offset = FIELD(user),
	  .help = "user of the process" },
	{ NULL },
};

const struct rt_command rt_cmd_exec = {
	.name = "exec",
	.operands = "<container-id> [command [argument...]]",
	.min_operands = 1,
	.max_operands = RT_OPERANDS_ANY,
	.options_end = 1,
	.summary = "run one more process in a container",
	.description =
		"The process gets what the container's own has - user, capabilities, environment,\n"
		"limits, seccomp filter - as far as the options do not say otherwise. The exit status is\n"
		"that of the process, or 255 where it could not be run.\n"
		"\n"
		"    rt exec --tty web1 sh",
	.options = options,
	.values_size = sizeof(struct rt_exec_options),
	.flags = RT_CMD_ENTERS_CONTAINER,
	.failure_status = 255,
	.run = run_exec,
};
