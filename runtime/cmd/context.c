#include "runtime/cmd/context.h"

#include "runtime/base/str.h"
#include "runtime/cmd/parse.h"

#include <fcntl.h>
#include <limits.h>
#include <strings.h>

/* True where uid 0 of this namespace is uid 0 of the machine: the initial user namespace, or one that maps all ids.
 * Where /proc cannot tell, nothing suggests a user namespace. */
static bool in_initial_user_namespace(void)
{
	_cleanup_close_ int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
	unsigned inside, outside, count;
	char text[128];
	ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (size <= 0)
		return true;
	text[size] = '\0';
	return sscanf(text, "%u %u %u", &inside, &outside, &count) == 3 && inside == 0 && outside == 0 &&
	       count == UINT32_MAX;
}

char *rt_absolute_path(struct rt_arena *arena, const char *directory, const char *path)
{
	char *text =
		*path == '/' ? rt_arena_printf(arena, "%s", path) : rt_arena_printf(arena, "%s/%s", directory, path);
	char *end = text;
	const char *from = text;

	if (!text)
		return NULL;
	/* The result is never longer than what has been read, so it is written over it. */
	while (*from) {
		size_t length;

		from += strspn(from, "/");
		length = strcspn(from, "/");
		if (length == 2 && memcmp(from, "..", 2) == 0) {
			while (end > text && *--end != '/')
				;
		} else if (length > 0 && !(length == 1 && *from == '.')) {
			*end++ = '/';
			memmove(end, from, length);
			end += length;
		}
		from += length;
	}
	if (end == text)
		*end++ = '/';
	*end = '\0';
	return text;
}

/* /run/rt is the machine's; a user, and root of a user's own namespace, has a runtime directory instead. */
static struct rt_error *default_root(bool machine_root, struct rt_arena *arena, const char **ret)
{
	const char *runtime_dir = machine_root ? NULL : getenv("XDG_RUNTIME_DIR");
	char *root;

	if (machine_root) {
		*ret = "/run/rt";
		return NULL;
	}
	if (runtime_dir && *runtime_dir == '/')
		root = rt_arena_printf(arena, "%s/rt", runtime_dir);
	else
		root = rt_arena_printf(arena, "/run/user/%u/rt", geteuid());
	if (!root)
		return rt_error_oom();
	*ret = root;
	return NULL;
}

static struct rt_error *chosen_root(const char *path, struct rt_arena *arena, const char **ret)
{
	char directory[PATH_MAX] = "";
	char *root;

	if (*path != '/' && !getcwd(directory, sizeof(directory)))
		return rt_fail_errno("cannot find the current directory");
	root = rt_absolute_path(arena, directory, path);
	if (!root)
		return rt_error_oom();
	if (rt_str_equal(root, "/") || !*path)
		return rt_fail(RT_USAGE, "option '--root' cannot be '%s': its subdirectories are taken for containers",
			       path);
	*ret = root;
	return NULL;
}

static struct rt_error *choose_manager(const struct rt_global_values *globals, enum rt_cgroup_manager *ret)
{
	static const char *const names[] = {
		[RT_CGROUP_CGROUPFS] = "cgroupfs",
		[RT_CGROUP_SYSTEMD] = "systemd",
		[RT_CGROUP_DISABLED] = "disabled",
	};
	const char *name = globals->cgroup_manager;

	if (!name) {
		*ret = globals->systemd_cgroup ? RT_CGROUP_SYSTEMD : RT_CGROUP_CGROUPFS;
		return NULL;
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++) {
		if (!rt_str_equal(names[i], name))
			continue;
		if (globals->systemd_cgroup && i != RT_CGROUP_SYSTEMD)
			return rt_fail(RT_USAGE,
				       "options '--systemd-cgroup' and '--cgroup-manager=%s' exclude each other", name);
		*ret = (enum rt_cgroup_manager)i;
		return NULL;
	}
	return rt_fail(RT_USAGE, "option '--cgroup-manager' takes cgroupfs, systemd or disabled, not '%s'", name);
}

struct rt_error *rt_context_make(const struct rt_global_values *globals, struct rt_arena *arena, struct rt_context *ret)
{
	bool machine_root = geteuid() == 0 && in_initial_user_namespace();
	struct rt_context context = { .rootless = !machine_root };
	const char *rootless = globals->rootless;
	struct rt_error *err;

	if (rootless && *rootless && strcasecmp(rootless, "auto") != 0 && !rt_parse_bool(rootless, &context.rootless))
		return rt_fail(RT_USAGE, "option '--rootless' takes true, false or auto, not '%s'", rootless);
	err = choose_manager(globals, &context.manager);
	if (err)
		return err;
	err = globals->root ? chosen_root(globals->root, arena, &context.root)
			    : default_root(machine_root, arena, &context.root);
	if (err)
		return err;
	*ret = context;
	return NULL;
}

struct rt_error *rt_context_log_format(const char *text, enum rt_log_format *ret)
{
	if (!text || rt_str_equal(text, "text")) {
		*ret = RT_LOG_TEXT;
		return NULL;
	}
	if (rt_str_equal(text, "json")) {
		*ret = RT_LOG_JSON;
		return NULL;
	}
	return rt_fail(RT_USAGE, "option '--log-format' takes text or json, not '%s'", text);
}
