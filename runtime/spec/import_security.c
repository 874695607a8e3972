#include "runtime/spec/import_private.h"

#include "runtime/base/log.h"

/* The value after "name=" or, as old versions wrote it, "name:". */
static const char *option_value(const char *text, const char *name)
{
	size_t length = strlen(name);

	return strncmp(text, name, length) == 0 && (text[length] == '=' || text[length] == ':') ? text + length + 1 : NULL;
}

/* Docker puts the profile itself there, podman the name of a file. */
static void custom_seccomp(struct rt_import *import, const char *value)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = NULL;

	if (rt_str_equal(value, "unconfined")) {
		rt_edit_remove(&import->edit, "linux.seccomp");
		return;
	}
	if (value[strspn(value, " \t\n")] == '{') {
		rt_import_seccomp(import, value, "HostConfig.SecurityOpt");
		return;
	}
	err = import->options->host.read_file(import->options->host.userdata, value, &text);
	if (err)
		rt_edit_reject(&import->edit, rt_while(err, "reading the seccomp profile of 'HostConfig.SecurityOpt'"));
	else
		rt_import_seccomp(import, text, value);
}

/* "/proc/kcore:/proc/keys", or "ALL"; a trailing asterisk is for everything below. */
static void unmask(struct rt_import *import, const char *value)
{
	static const char *const lists[] = { "linux.maskedPaths", "linux.readonlyPaths" };
	const char *paths[64];
	size_t count = rt_edit_split(&import->edit, value, ':', paths, RT_ARRAY_SIZE(paths));

	for (size_t k = 0; k < RT_ARRAY_SIZE(lists); k++) {
		json_t *list = rt_edit_peek(&import->edit, lists[k]);

		for (size_t i = json_array_size(list); i > 0; i--) {
			const char *path = json_string_value(json_array_get(list, i - 1));
			bool open = false;

			for (size_t n = 0; n < count && !open; n++) {
				size_t length = strcspn(paths[n], "*");

				open = rt_str_equal(paths[n], "ALL") || rt_str_equal(paths[n], "all") || rt_str_equal(paths[n], path) ||
				       (paths[n][length] == '*' && strncmp(paths[n], path, length) == 0);
			}
			if (open)
				json_array_remove(list, i - 1);
		}
	}
}

static void mask(struct rt_import *import, const char *value)
{
	const char *paths[64];
	size_t count = rt_edit_split(&import->edit, value, ':', paths, RT_ARRAY_SIZE(paths));

	for (size_t i = 0; i < count; i++)
		rt_edit_add_word(&import->edit, "linux.maskedPaths", paths[i]);
}

/* What podman takes where nobody says anything: the machine's file, and that of its package. Docker's is inside of its daemon, and
 * ours is made after it. */
static void default_seccomp(struct rt_import *import)
{
	static const char *const files[] = { "/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(files) && import->podman; i++) {
		_cleanup_free_ char *text = NULL;
		struct rt_error *err = import->options->host.read_file(import->options->host.userdata, files[i], &text);

		if (!err) {
			rt_import_seccomp(import, text, files[i]);
			return;
		}
		rt_error_free(err);
	}
	rt_edit_default_seccomp(&import->edit);
}

static bool has_own_profile(struct rt_import *import, const struct rt_json *list)
{
	for (size_t i = 0; i < rt_json_count(list); i++) {
		const char *text = rt_import_element(import, list, i);

		if (text && option_value(text, "seccomp"))
			return true;
	}
	return false;
}

static void security_option(struct rt_import *import, const char *text)
{
	const char *privileges = option_value(text, "no-new-privileges"), *profile = option_value(text, "apparmor");

	if (rt_str_equal(text, "no-new-privileges") || (privileges && !rt_str_equal(privileges, "false")))
		rt_edit_set(&import->edit, "process.noNewPrivileges", json_true());
	else if (option_value(text, "seccomp"))
		custom_seccomp(import, option_value(text, "seccomp"));
	else if (profile && rt_str_equal(profile, "unconfined"))
		rt_edit_remove(&import->edit, "process.apparmorProfile");
	else if (profile)
		rt_edit_set_string(&import->edit, "process.apparmorProfile", profile);
	else if (option_value(text, "unmask"))
		unmask(import, option_value(text, "unmask"));
	else if (option_value(text, "mask"))
		mask(import, option_value(text, "mask"));
	/* Labels are among the fields of the container already, as the engine made them of this. */
	else if (!privileges && !option_value(text, "label") && !option_value(text, "systempaths"))
		rt_warn("'HostConfig.SecurityOpt' has '%s', which is unknown, ignoring", text);
}

/* Docker says them, podman doesn't. */
static void import_paths(struct rt_import *import)
{
	static const char *const masked[] = { "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
					      "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/fs/selinux",
					      "/sys/dev/block" };
	static const char *const readonly[] = { "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
	struct rt_json masks = rt_import_array(import, &import->host, "MaskedPaths");
	struct rt_json guards = rt_import_array(import, &import->host, "ReadonlyPaths");

	if (import->privileged)
		return;
	for (size_t i = 0; i < rt_json_count(&masks); i++)
		rt_edit_append(&import->edit, "linux.maskedPaths", json_string(rt_import_element(import, &masks, i)));
	for (size_t i = 0; i < rt_json_count(&guards); i++)
		rt_edit_append(&import->edit, "linux.readonlyPaths", json_string(rt_import_element(import, &guards, i)));
	for (size_t i = 0; i < RT_ARRAY_SIZE(masked) && !masks.value; i++)
		rt_edit_append(&import->edit, "linux.maskedPaths", json_string(masked[i]));
	for (size_t i = 0; i < RT_ARRAY_SIZE(readonly) && !guards.value; i++)
		rt_edit_append(&import->edit, "linux.readonlyPaths", json_string(readonly[i]));
}

void rt_import_security(struct rt_import *import)
{
	struct rt_json list = rt_import_array(import, &import->host, "SecurityOpt");
	const char *apparmor = rt_import_text(import, &import->container, "AppArmorProfile");
	const char *process = rt_import_text(import, &import->container, "ProcessLabel");
	const char *mount = rt_import_text(import, &import->container, "MountLabel");

	if (!import->privileged && !has_own_profile(import, &list))
		default_seccomp(import);
	import_paths(import);
	if (apparmor && !rt_str_equal(apparmor, "unconfined"))
		rt_edit_set_string(&import->edit, "process.apparmorProfile", apparmor);
	if (process)
		rt_edit_set_string(&import->edit, "process.selinuxLabel", process);
	if (mount)
		rt_edit_set_string(&import->edit, "linux.mountLabel", mount);
	for (size_t i = 0; i < rt_json_count(&list) && !import->edit.err; i++) {
		const char *text = rt_import_element(import, &list, i);

		if (text)
			security_option(import, text);
	}
}
