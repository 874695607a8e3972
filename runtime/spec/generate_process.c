#include "runtime/spec/generate_private.h"

#include <strings.h>

/* ---- the command and what it finds ---- */

void rt_flag_args(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	json_t *word = json_string(text);

	if (!generator->has_args)
		rt_edit_set(&generator->edit, "process.args", json_array());
	generator->has_args = true;
	if (word)
		rt_edit_append(&generator->edit, "process.args", word);
	else
		rt_flag_reject(generator, flag, text);
}

/* In the place of a variable of the same name. */
static void set_variable(struct rt_edit *edit, const char *text)
{
	json_t *array = rt_edit_array(edit, "process.env");
	size_t name = strcspn(text, "=") + 1;

	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *other = json_string_value(json_array_get(array, i));

		if (!other || strncmp(other, text, name) != 0)
			continue;
		if (json_array_set_new(array, i, json_string(text)) < 0)
			rt_edit_fail(edit, RT_USAGE, "'%s' is not text in UTF-8", text);
		return;
	}
	rt_edit_add_word(edit, "process.env", text);
}

void rt_flag_env(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	if (text[0] == '=' || !strchr(text, '='))
		rt_flag_reject(generator, flag, text);
	else
		set_variable(&generator->edit, text);
}

/* The text of such a file. */
void rt_flag_env_file(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	unsigned number = 0;

	while (*text && !generator->edit.err) {
		size_t length = strcspn(text, "\n");
		char *line = rt_arena_printf(&generator->edit.arena, "%.*s", (int)length, text);

		number++;
		text += length + (text[length] == '\n');
		if (!line) {
			rt_edit_reject(&generator->edit, rt_error_oom());
			return;
		}
		line += strspn(line, " \t");
		line[strcspn(line, "\r")] = '\0';
		if (!*line || *line == '#')
			continue;
		if (*line == '=' || !strchr(line, '='))
			rt_edit_fail(&generator->edit, RT_USAGE, "option '--%s' takes a file of lines NAME=VALUE; line %u is '%s'",
				     flag->name, number, line);
		else
			set_variable(&generator->edit, line);
	}
}

void rt_flag_console_size(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[2];
	size_t count = rt_edit_split(&generator->edit, text, ':', parts, 2);

	if (count < 2) {
		rt_flag_reject(generator, flag, text);
		return;
	}
	rt_flag_set(generator, "process.consoleSize.width", rt_flag_number(generator, flag, parts[0], false));
	rt_flag_set(generator, "process.consoleSize.height", rt_flag_number(generator, flag, parts[1], false));
}

void rt_flag_group(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	json_t *group = rt_flag_number(generator, flag, text, false);
	json_t *list = rt_edit_array(&generator->edit, "process.user.additionalGids");

	for (size_t i = 0; group && i < json_array_size(list); i++) {
		if (!json_equal(json_array_get(list, i), group))
			continue;
		json_decref(group);
		return;
	}
	if (group)
		rt_edit_append(&generator->edit, "process.user.additionalGids", group);
}

/* ---- limits ---- */

/* "nofile", "RLIMIT_NOFILE": as config.json has it. */
static const char *rlimit_name(struct rt_generator *generator, const char *text)
{
	bool prefixed = strncasecmp(text, "RLIMIT_", 7) == 0;
	char *name = rt_arena_printf(&generator->edit.arena, "RLIMIT_%s", prefixed ? text + 7 : text);

	if (!name)
		rt_edit_reject(&generator->edit, rt_error_oom());
	for (char *at = name; at && *at; at++)
		if (*at >= 'a' && *at <= 'z')
			*at = (char)(*at - 'a' + 'A');
	return name;
}

static json_t *rlimit_value(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	if (rt_str_equal(text, "unlimited") || rt_str_equal(text, "-1"))
		return rt_json_number(UINT64_MAX);
	return rt_flag_number(generator, flag, text, false);
}

void rt_flag_rlimit(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[3];
	size_t count = rt_edit_split(&generator->edit, text, ':', parts, 3);
	const char *name = count == 3 ? rlimit_name(generator, parts[0]) : NULL;
	json_t *entry;

	if (!name) {
		rt_flag_reject(generator, flag, text);
		return;
	}
	entry = rt_flag_new_object(generator);
	rt_flag_field(generator, entry, "type", json_string(name));
	rt_flag_field(generator, entry, "hard", rlimit_value(generator, flag, parts[1]));
	rt_flag_field(generator, entry, "soft", rlimit_value(generator, flag, parts[2]));
	rt_edit_replace(&generator->edit, "process.rlimits", "type", entry);
}

void rt_flag_rlimit_remove(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *name = rlimit_name(generator, text);

	if (name)
		rt_edit_remove_entry(&generator->edit, "process.rlimits", "type", name);
}

/* ---- capabilities ---- */

static const char *set_path(char path[static 64], const char *set)
{
	snprintf(path, 64, "process.capabilities.%s", set);
	return path;
}

/* NULL, and the generator stopped: nobody means a name that doesn't exist. */
static const char *cap_name(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	int cap;

	if (rt_cap_from_name(text, &cap))
		return rt_cap_name(cap);
	rt_edit_fail(&generator->edit, RT_USAGE, "option '--%s' takes a capability such as CAP_SYS_ADMIN, not '%s'", flag->name, text);
	return NULL;
}

void rt_flag_cap_add(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *name = cap_name(generator, flag, text);
	char path[64];

	if (name)
		rt_edit_add_word(&generator->edit, set_path(path, flag->data), name);
}

void rt_flag_cap_drop(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *name = cap_name(generator, flag, text);
	char path[64];

	if (name)
		rt_edit_remove_word(&generator->edit, set_path(path, flag->data), name);
}

static const char *const all_sets[] = { "bounding", "effective", "permitted", "inheritable", "ambient" };
enum { ROOTS_SETS = 3 }; /* those that a process of root starts with; the other two stay as they are */

void rt_flag_cap_add_all(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *name = cap_name(generator, flag, text);
	char path[64];

	for (size_t i = 0; i < ROOTS_SETS && name; i++)
		rt_edit_add_word(&generator->edit, set_path(path, all_sets[i]), name);
}

void rt_flag_cap_drop_all(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *name = cap_name(generator, flag, text);
	char path[64];

	for (size_t i = 0; i < RT_ARRAY_SIZE(all_sets) && name; i++)
		rt_edit_remove_word(&generator->edit, set_path(path, all_sets[i]), name);
}

void rt_flag_cap_clear(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	if (rt_str_equal(text, "true"))
		rt_edit_set(&generator->edit, "process.capabilities", json_object());
}

/* ---- everything at once ---- */

void rt_flag_privileged(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	static const char *const fences[] = {
		"linux.seccomp", "linux.maskedPaths", "linux.readonlyPaths", "process.apparmorProfile", "process.selinuxLabel",
		"linux.mountLabel",
	};
	struct rt_edit *edit = &generator->edit;
	json_t *rule = NULL;

	if (!rt_str_equal(text, "true"))
		return;
	for (size_t i = 0; i < ROOTS_SETS; i++)
		rt_edit_set_caps(edit, all_sets[i], UINT64_MAX);
	for (size_t i = 0; i < RT_ARRAY_SIZE(fences); i++)
		rt_edit_remove(edit, fences[i]);
	rt_edit_set(edit, "process.noNewPrivileges", json_false());
	rule = rt_flag_new_object(generator);
	rt_flag_field(generator, rule, "allow", json_true());
	rt_flag_field(generator, rule, "access", json_string("rwm"));
	rt_edit_set(edit, "linux.resources.devices", json_array());
	rt_edit_append(edit, "linux.resources.devices", rule);
	for (size_t i = 0; i < 2; i++) {
		json_t *mount = rt_edit_find(edit, "mounts", "destination", i == 0 ? "/sys" : "/sys/fs/cgroup");
		json_t *options = json_object_get(mount, "options");

		for (size_t k = json_array_size(options); k > 0; k--)
			if (json_is_string(json_array_get(options, k - 1)) &&
			    rt_str_equal(json_string_value(json_array_get(options, k - 1)), "ro"))
				json_array_remove(options, k - 1);
	}
}
