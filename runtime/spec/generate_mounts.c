#include "runtime/spec/generate_private.h"

/* ---- mounts ---- */

/* Options are text with `separator` between; a mount at the same place is replaced. */
static void add_mount(struct rt_generator *generator, const char *destination, const char *type, const char *source,
		      const char *const *options, size_t count)
{
	json_t *mount = rt_flag_new_object(generator), *list = json_array();

	for (size_t i = 0; i < count; i++)
		if (*options[i] && json_array_append_new(list, json_string(options[i])) < 0)
			rt_edit_reject(&generator->edit, rt_error_oom());
	rt_flag_field(generator, mount, "destination", json_string(destination));
	rt_flag_field(generator, mount, "type", json_string(type));
	rt_flag_field(generator, mount, "source", json_string(source));
	rt_flag_field(generator, mount, "options", list);
	rt_edit_replace(&generator->edit, "mounts", "destination", mount);
}

static bool has_option(const char *const *options, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (rt_str_equal(options[i], name))
			return true;
	return false;
}

enum { MOST_OPTIONS = 32 };

void rt_flag_mount_bind(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[2 + MOST_OPTIONS + 1], *options[MOST_OPTIONS + 1];
	size_t count = rt_edit_split(&generator->edit, text, ':', parts, RT_ARRAY_SIZE(parts)), kept = 0;

	if (count < 2 || !*parts[0] || !*parts[1] || count > 2 + MOST_OPTIONS) {
		rt_flag_reject(generator, flag, text);
		return;
	}
	for (size_t i = 2; i < count; i++)
		options[kept++] = parts[i];
	/* Without one of the two it would be no bind mount at all. */
	if (!has_option(options, kept, "bind") && !has_option(options, kept, "rbind"))
		options[kept++] = "rbind";
	add_mount(generator, parts[1], "bind", parts[0], options, kept);
}

void rt_flag_tmpfs(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	static const char *const usual[] = { "nosuid", "nodev" };
	const char *parts[2], *options[MOST_OPTIONS];
	size_t count = rt_edit_split(&generator->edit, text, ':', parts, 2), kept = 0;

	if (count == 0 || parts[0][0] != '/') {
		rt_flag_reject(generator, flag, text);
		return;
	}
	if (count == 2)
		kept = rt_edit_split(&generator->edit, parts[1], ',', options, MOST_OPTIONS);
	add_mount(generator, parts[0], "tmpfs", "tmpfs", count == 2 ? options : usual, count == 2 ? kept : RT_ARRAY_SIZE(usual));
}

void rt_flag_mount_cgroups(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	static const char *const options[] = { "nosuid", "noexec", "nodev", "relatime", "ro" };

	if (rt_str_equal(text, "no"))
		rt_edit_remove_entry(&generator->edit, "mounts", "destination", "/sys/fs/cgroup");
	else if (rt_str_equal(text, "ro") || rt_str_equal(text, "rw"))
		add_mount(generator, "/sys/fs/cgroup", "cgroup", "cgroup", options, RT_ARRAY_SIZE(options) - (text[1] == 'w'));
	else
		rt_flag_reject(generator, flag, text);
}

void rt_flag_mount_json(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	json_t *mount = rt_flag_json(generator, flag, text);

	if (mount)
		rt_edit_replace(&generator->edit, "mounts", "destination", mount);
}

void rt_flag_mount_remove(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_remove_entry(&generator->edit, "mounts", "destination", text);
}

/* ---- hooks; `data` is their kind ---- */

static const char *hooks_path(char path[static 64], const char *kind)
{
	snprintf(path, 64, "hooks.%s", kind);
	return path;
}

void rt_flag_hook_json(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	json_t *hook = rt_flag_json(generator, flag, text);
	char path[64];

	if (hook)
		rt_edit_replace(&generator->edit, hooks_path(path, flag->data), "path", hook);
}

/* "/bin/test:-x:file": the path is args[0] too, as a shell would have it. */
void rt_flag_hook(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[64];
	size_t count = rt_edit_split(&generator->edit, text, ':', parts, RT_ARRAY_SIZE(parts));
	json_t *hook = rt_flag_new_object(generator), *args = json_array();
	char path[64];

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(args, json_string(parts[i])) < 0)
			rt_edit_reject(&generator->edit, rt_error_oom());
	rt_flag_field(generator, hook, "path", json_string(count > 0 ? parts[0] : ""));
	rt_flag_field(generator, hook, "args", args);
	rt_edit_replace(&generator->edit, hooks_path(path, flag->data), "path", hook);
}

/* The hook of a command; NULL, and the generator stopped, where there is none: it must be given first. */
static json_t *hook_of(struct rt_generator *generator, const struct rt_flag *flag, const char *command)
{
	char path[64];
	json_t *hook = rt_edit_find(&generator->edit, hooks_path(path, flag->data), "path", command);

	if (!hook)
		rt_edit_fail(&generator->edit, RT_USAGE, "option '--%s' speaks of '%s', which is no %s hook", flag->name, command,
			     flag->data);
	return hook;
}

void rt_flag_hook_env(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[2];
	json_t *hook, *env;

	if (rt_edit_split(&generator->edit, text, ':', parts, 2) < 2) {
		rt_flag_reject(generator, flag, text);
		return;
	}
	hook = hook_of(generator, flag, parts[0]);
	if (!hook)
		return;
	env = json_object_get(hook, "env");
	if (!json_is_array(env)) {
		env = json_array();
		rt_flag_field(generator, hook, "env", env);
	}
	if (!generator->edit.err && json_array_append_new(env, json_string(parts[1])) < 0)
		rt_edit_fail(&generator->edit, RT_USAGE, "'%s' is not text in UTF-8", parts[1]);
}

void rt_flag_hook_timeout(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[2];
	json_t *hook;

	if (rt_edit_split(&generator->edit, text, ':', parts, 2) < 2) {
		rt_flag_reject(generator, flag, text);
		return;
	}
	hook = hook_of(generator, flag, parts[0]);
	if (hook)
		rt_flag_field(generator, hook, "timeout", rt_flag_number(generator, flag, parts[1], false));
}
