#include "runtime/spec/import_private.h"

#include "runtime/base/log.h"

#include <linux/capability.h>
#include <strings.h>

/* ---- what runs ---- */

/* Docker's are lists; podman wrote the entry point as one string until version 5. */
static void add_words(struct rt_import *import, const char *key)
{
	struct rt_json field = rt_json_field(&import->config, key);
	struct rt_json array;

	if (json_is_string(field.value)) {
		const char *text = rt_import_text(import, &import->config, key), *words[64];
		size_t count = text ? rt_edit_split(&import->edit, text, ' ', words, RT_ARRAY_SIZE(words)) : 0;

		for (size_t i = 0; i < count; i++)
			if (*words[i])
				rt_edit_append(&import->edit, "process.args", json_string(words[i]));
		return;
	}
	array = rt_import_array(import, &import->config, key);
	for (size_t i = 0; i < rt_json_count(&array); i++) {
		const char *word = rt_import_element(import, &array, i);

		if (word)
			rt_edit_append(&import->edit, "process.args", json_string(word));
	}
}

/* podman says of a command without arguments that it is its own argument. */
static bool is_alone(struct rt_import *import, const char *path, const struct rt_json *args)
{
	struct rt_json command = rt_import_array(import, &import->config, "Cmd"), entry = rt_json_field(&import->config, "Entrypoint");
	bool has_entry = json_is_array(entry.value) ? json_array_size(entry.value) > 0 : json_string_length(entry.value) > 0;
	const char *only = rt_json_count(args) == 1 ? rt_import_element(import, args, 0) : NULL;

	return import->podman && only && rt_str_equal(only, path) && rt_json_count(&command) == (has_entry ? 0 : 1);
}

/* Path and Args are what the engine made of entry point and command. */
static void import_args(struct rt_import *import)
{
	const char *path = rt_import_text(import, &import->container, "Path");
	struct rt_json args = rt_import_array(import, &import->container, "Args");

	rt_edit_set(&import->edit, "process.args", json_array());
	if (!path) {
		add_words(import, "Entrypoint");
		add_words(import, "Cmd");
	} else {
		rt_edit_append(&import->edit, "process.args", json_string(path));
		for (size_t i = is_alone(import, path, &args) ? 1 : 0; i < rt_json_count(&args); i++) {
			const char *word = rt_import_element(import, &args, i);

			if (word)
				rt_edit_append(&import->edit, "process.args", json_string(word));
		}
	}
	if (!import->edit.err && json_array_size(rt_edit_peek(&import->edit, "process.args")) == 0)
		rt_edit_fail(&import->edit, RT_CONFIG, "the container has no command: 'Path', 'Config.Entrypoint' and 'Config.Cmd' are empty");
}

static void set_variable(struct rt_import *import, const char *name, const char *value)
{
	char *text = rt_arena_printf(&import->edit.arena, "%s=%s", name, value);
	json_t *env = rt_edit_array(&import->edit, "process.env");
	size_t length = strlen(name) + 1, i = 0;

	if (!text)
		rt_edit_reject(&import->edit, rt_error_oom());
	for (; text && i < json_array_size(env); i++)
		if (strncmp(json_string_value(json_array_get(env, i)), text, length) == 0)
			break;
	if (!text || !env)
		return;
	if (i < json_array_size(env) ? json_array_set_new(env, i, json_string(text)) < 0 : json_array_append_new(env, json_string(text)) < 0)
		rt_edit_reject(&import->edit, rt_error_oom());
}

/* Docker adds these when it makes the container, and doesn't show them; podman does. HOME is the runtime's to add. */
static void import_env(struct rt_import *import)
{
	struct rt_json env = rt_import_array(import, &import->config, "Env");
	const char *hostname = rt_import_text(import, &import->config, "Hostname");

	rt_edit_set(&import->edit, "process.env", json_array());
	set_variable(import, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (hostname)
		set_variable(import, "HOSTNAME", hostname);
	if (rt_import_flag(import, &import->config, "Tty"))
		set_variable(import, "TERM", "xterm");
	for (size_t i = 0; i < rt_json_count(&env) && !import->edit.err; i++) {
		const char *text = rt_import_element(import, &env, i), *parts[2];
		size_t count = text ? rt_edit_split(&import->edit, text, '=', parts, 2) : 0;

		if (count == 2 && *parts[0])
			set_variable(import, parts[0], parts[1]);
	}
}

static void import_user(struct rt_import *import)
{
	const char *text = rt_import_text(import, &import->config, "User");
	const char *umask = rt_import_text(import, &import->config, "Umask");
	struct rt_json more = rt_import_array(import, &import->host, "GroupAdd");
	struct rt_edit *edit = &import->edit;
	struct rt_import_user user;
	struct rt_error *err = rt_import_find_user(text, import->options->passwd, import->options->group, &user);

	if (err) {
		rt_edit_reject(edit, rt_while(err, "reading 'Config.User'"));
		return;
	}
	rt_edit_set(edit, "process.user.uid", json_integer(user.uid));
	rt_edit_set(edit, "process.user.gid", json_integer(user.gid));
	if (umask)
		rt_edit_set(edit, "process.user.umask", json_integer(strtol(umask, NULL, 8)));
	/* The group itself is one of them, or setgroups(2) in a set-gid program would lose it (CVE-2022-36109). podman leaves it out for
	 * a user that nobody chose. */
	if (!import->podman || text)
		rt_edit_append(edit, "process.user.additionalGids", json_integer(user.gid));
	for (size_t i = 0; i < user.group_count; i++)
		rt_edit_append(edit, "process.user.additionalGids", json_integer(user.groups[i]));
	for (size_t i = 0; i < rt_json_count(&more) && !edit->err; i++) {
		const char *name = rt_import_element(import, &more, i);
		uint32_t gid = 0;

		if (name && rt_str_equal(name, "keep-groups")) {
			rt_warn("'HostConfig.GroupAdd' keeps the groups of who starts the container, ignoring");
			continue;
		}
		err = name ? rt_import_find_group(name, import->options->group, &gid) : NULL;
		if (err)
			rt_edit_reject(edit, rt_while(err, "reading 'HostConfig.GroupAdd'"));
		else if (name)
			rt_edit_append(edit, "process.user.additionalGids", json_integer(gid));
	}
}

/* ---- capabilities ---- */

/* Docker's, and podman's of the same time; podman says itself what it gave. */
#define DEFAULT_CAPS                                                                                                   \
	(1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FSETID | 1ULL << CAP_FOWNER | 1ULL << CAP_MKNOD |   \
	 1ULL << CAP_NET_RAW | 1ULL << CAP_SETGID | 1ULL << CAP_SETUID | 1ULL << CAP_SETFCAP | 1ULL << CAP_SETPCAP |    \
	 1ULL << CAP_NET_BIND_SERVICE | 1ULL << CAP_SYS_CHROOT | 1ULL << CAP_KILL | 1ULL << CAP_AUDIT_WRITE)

static uint64_t all_caps(void)
{
	uint64_t caps = 0;

	for (int cap = 0; rt_cap_name(cap); cap++)
		caps |= UINT64_C(1) << cap;
	return caps;
}

static uint64_t read_caps(struct rt_import *import, const struct rt_json *object, const char *key)
{
	struct rt_json array = rt_import_array(import, object, key);
	uint64_t caps = 0;

	for (size_t i = 0; i < rt_json_count(&array); i++) {
		const char *name = rt_import_element(import, &array, i);
		int cap;

		if (!name)
			continue;
		if (strcasecmp(name, "ALL") == 0 || strcasecmp(name, "CAP_ALL") == 0)
			caps = all_caps();
		else if (rt_cap_from_name(name, &cap))
			caps |= UINT64_C(1) << cap;
		else
			rt_warn("'%s' has '%s', which is no capability this runtime knows, ignoring", key, name);
	}
	return caps;
}

static bool has_word(struct rt_import *import, const struct rt_json *object, const char *key, const char *wanted)
{
	struct rt_json array = rt_import_array(import, object, key);

	for (size_t i = 0; i < rt_json_count(&array); i++) {
		const char *word = rt_import_element(import, &array, i);

		if (word && strcasecmp(word, wanted) == 0)
			return true;
	}
	return false;
}

/* Docker: "all" in one list gives way to single names in the other. */
static uint64_t docker_caps(struct rt_import *import)
{
	uint64_t add = read_caps(import, &import->host, "CapAdd"), drop = read_caps(import, &import->host, "CapDrop");

	if (import->privileged)
		return all_caps();
	if (has_word(import, &import->host, "CapAdd", "ALL"))
		return all_caps() & ~drop;
	if (has_word(import, &import->host, "CapDrop", "ALL"))
		return add;
	return (DEFAULT_CAPS & ~drop) | add;
}

/* A user who is not root keeps none over execve(2), but in podman those that were added for him: they are ambient. */
static void import_caps(struct rt_import *import)
{
	bool root = json_integer_value(rt_edit_peek(&import->edit, "process.user.uid")) == 0;
	bool told = import->podman && rt_json_field(&import->container, "BoundingCaps").value;
	uint64_t bounding = told ? read_caps(import, &import->container, "BoundingCaps") : docker_caps(import);
	uint64_t effective = told ? read_caps(import, &import->container, "EffectiveCaps") : root ? bounding : 0;

	import->bounding = bounding;
	rt_edit_set_caps(&import->edit, "bounding", bounding);
	rt_edit_set_caps(&import->edit, "effective", effective);
	rt_edit_set_caps(&import->edit, "permitted", effective);
	if (!told || root || !effective)
		return;
	rt_edit_set_caps(&import->edit, "inheritable", effective);
	rt_edit_set_caps(&import->edit, "ambient", effective);
}

/* ---- limits of the process ---- */

static json_t *limit(int64_t value)
{
	return value < 0 ? rt_json_number(UINT64_MAX) : json_integer(value);
}

static void import_ulimits(struct rt_import *import)
{
	struct rt_json array = rt_import_array(import, &import->host, "Ulimits");

	for (size_t i = 0; i < rt_json_count(&array) && !import->edit.err; i++) {
		struct rt_json entry = rt_json_element(&array, i);
		const char *name = rt_import_text(import, &entry, "Name");
		char type[32];
		json_t *rlimit;

		if (!name)
			continue;
		snprintf(type, sizeof(type), "RLIMIT_%s", strncasecmp(name, "RLIMIT_", 7) == 0 ? name + 7 : name);
		for (char *at = type; *at; at++)
			*at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
		rlimit = json_object();
		rt_import_put(import, rlimit, "type", json_string(type));
		rt_import_put(import, rlimit, "hard", limit(rt_import_number(import, &entry, "Hard")));
		rt_import_put(import, rlimit, "soft", limit(rt_import_number(import, &entry, "Soft")));
		rt_edit_replace(&import->edit, "process.rlimits", "type", rlimit);
	}
}

static void import_console_size(struct rt_import *import)
{
	struct rt_json size = rt_import_array(import, &import->host, "ConsoleSize");
	json_t *height = rt_json_count(&size) == 2 ? rt_json_element(&size, 0).value : NULL;
	json_t *width = rt_json_count(&size) == 2 ? rt_json_element(&size, 1).value : NULL;

	if (json_integer_value(height) <= 0 || json_integer_value(width) <= 0)
		return;
	rt_edit_set(&import->edit, "process.consoleSize.height", json_incref(height));
	rt_edit_set(&import->edit, "process.consoleSize.width", json_incref(width));
}

void rt_import_process(struct rt_import *import)
{
	struct rt_edit *edit = &import->edit;
	const char *directory = rt_import_text(import, &import->config, "WorkingDir");
	int64_t oom = rt_import_number(import, &import->host, "OomScoreAdj");

	rt_edit_set(edit, "process.terminal", json_boolean(rt_import_flag(import, &import->config, "Tty")));
	import_console_size(import);
	import_user(import);
	import_args(import);
	import_env(import);
	rt_edit_set_string(edit, "process.cwd", directory ? directory : "/");
	import_caps(import);
	import_ulimits(import);
	/* To set what is so already takes a privilege where a caller's own score is raised. */
	if (oom != 0)
		rt_edit_set(edit, "process.oomScoreAdj", json_integer(oom));
	if (rt_import_flag(import, &import->host, "Init"))
		rt_warn("'HostConfig.Init' asks for the engine's init program, which belongs to the engine: the command itself is process 1, ignoring");
}
