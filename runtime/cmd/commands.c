#include "runtime/base/str.h"
#include "runtime/cmd/command.h"

extern const struct rt_command rt_cmd_bundle, rt_cmd_bundle_create, rt_cmd_bundle_shift, rt_cmd_checkpoint,
	rt_cmd_completion, rt_cmd_create, rt_cmd_delete, rt_cmd_events, rt_cmd_exec, rt_cmd_features, rt_cmd_help,
	rt_cmd_kill, rt_cmd_list, rt_cmd_man, rt_cmd_migrate, rt_cmd_pause, rt_cmd_ps, rt_cmd_receive, rt_cmd_restore,
	rt_cmd_resume, rt_cmd_run, rt_cmd_snapshot, rt_cmd_snapshot_create, rt_cmd_snapshot_export, rt_cmd_snapshot_gc,
	rt_cmd_snapshot_import, rt_cmd_snapshot_inspect, rt_cmd_snapshot_ls, rt_cmd_snapshot_pull, rt_cmd_snapshot_push,
	rt_cmd_snapshot_rm, rt_cmd_snapshot_verify,
	rt_cmd_spec, rt_cmd_spec_generate, rt_cmd_spec_import, rt_cmd_spec_validate,
	rt_cmd_start, rt_cmd_state, rt_cmd_update;

const struct rt_command *const rt_commands[] = {
	&rt_cmd_bundle,
	&rt_cmd_bundle_create,
	&rt_cmd_bundle_shift,
	&rt_cmd_checkpoint,
	&rt_cmd_completion,
	&rt_cmd_create,
	&rt_cmd_delete,
	&rt_cmd_events,
	&rt_cmd_exec,
	&rt_cmd_features,
	&rt_cmd_help,
	&rt_cmd_kill,
	&rt_cmd_list,
	&rt_cmd_man,
	&rt_cmd_migrate,
	&rt_cmd_pause,
	&rt_cmd_ps,
	&rt_cmd_receive,
	&rt_cmd_restore,
	&rt_cmd_resume,
	&rt_cmd_run,
	&rt_cmd_snapshot,
	&rt_cmd_snapshot_create,
	&rt_cmd_snapshot_export,
	&rt_cmd_snapshot_gc,
	&rt_cmd_snapshot_import,
	&rt_cmd_snapshot_inspect,
	&rt_cmd_snapshot_ls,
	&rt_cmd_snapshot_pull,
	&rt_cmd_snapshot_push,
	&rt_cmd_snapshot_rm,
	&rt_cmd_snapshot_verify,
	&rt_cmd_spec,
	&rt_cmd_spec_generate,
	&rt_cmd_spec_import,
	&rt_cmd_spec_validate,
	&rt_cmd_start,
	&rt_cmd_state,
	&rt_cmd_update,
	NULL,
};

const struct rt_command *rt_command_find(const char *name)
{
	for (const struct rt_command *const *command = rt_commands; *command; command++)
		if (rt_str_equal((*command)->name, name))
			return *command;
	return NULL;
}

const struct rt_command *rt_command_find_words(const char *const *words, size_t *ret_count)
{
	const struct rt_command *command = words[0] ? rt_command_find(words[0]) : NULL;

	*ret_count = command ? 1 : 0;
	if (!command || !words[1])
		return command;
	for (const struct rt_command *const *row = rt_commands; *row; row++) {
		const char *word = rt_command_subword(command, *row);

		if (!word || !rt_str_equal(word, words[1]))
			continue;
		*ret_count = 2;
		return *row;
	}
	return command;
}

const char *rt_command_subword(const struct rt_command *parent, const struct rt_command *command)
{
	const char *blank = strchr(command->name, ' ');
	size_t length = blank ? (size_t)(blank - command->name) : 0;

	if (!blank)
		return NULL;
	if (parent && (strlen(parent->name) != length || memcmp(parent->name, command->name, length) != 0))
		return NULL;
	return blank + 1;
}

bool rt_command_has_subcommands(const struct rt_command *command)
{
	for (const struct rt_command *const *row = rt_commands; *row; row++)
		if (rt_command_subword(command, *row))
			return true;
	return false;
}

#define GLOBAL(field) offsetof(struct rt_global_values, field)

const struct rt_option rt_global_options[] = {
	{ "cgroup-manager", 0, RT_OPTION_STRING, .argument = "cgroupfs|systemd|disabled",
	  .offset = GLOBAL(cgroup_manager), .help = "who makes the cgroups (default: cgroupfs)" },
	{ "criu", 0, RT_OPTION_STRING, RT_OPTION_HIDDEN | RT_OPTION_IGNORED, .argument = "FILE",
	  .help = "criu is looked up in PATH" },
	{ "debug", 0, RT_OPTION_FLAG, .offset = GLOBAL(debug),
	  .help = "log what is done, and where an error comes from" },
	{ "log", 0, RT_OPTION_STRING, .argument = "FILE", .offset = GLOBAL(log),
	  .help = "file to append warnings and errors to (default: standard error)" },
	{ "log-format", 0, RT_OPTION_STRING, .argument = "text|json", .offset = GLOBAL(log_format),
	  .help = "form of the log (default: text)" },
	{ "root", 0, RT_OPTION_STRING, .argument = "DIR", .offset = GLOBAL(root),
	  .help = "where containers are kept (default: /run/rt; for a user: $XDG_RUNTIME_DIR/rt)" },
	{ "rootless", 0, RT_OPTION_STRING, .argument = "true|false|auto", .offset = GLOBAL(rootless),
	  .help = "do without what only root may do with cgroups (default: auto)" },
	{ "systemd-cgroup", 0, RT_OPTION_FLAG, .offset = GLOBAL(systemd_cgroup),
	  .help = "same as --cgroup-manager=systemd" },
	{ "version", 'v', RT_OPTION_FLAG, .offset = GLOBAL(version), .help = "print the version" },
	{ NULL },
};
