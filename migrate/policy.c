#include "migrate/policy.h"

#include "runtime/base/str.h"

#include <fnmatch.h>
#include <string.h>

bool rt_policy_allows_id(const struct rt_receive_values *values, const char *id)
{
	if (!values->allow_ids)
		return true;
	for (const char *const *pattern = values->allow_ids; *pattern; pattern++)
		if (fnmatch(*pattern, id, 0) == 0)
			return true;
	return false;
}

/* Neither "/srv/../etc" nor "/srvx" is below "/srv". */
static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	while (length > 1 && directory[length - 1] == '/')
		length--;
	if (strstr(path, "/../") || (strlen(path) >= 3 && rt_str_equal(path + strlen(path) - 3, "/..")))
		return false;
	return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0' || (length == 1 && *directory == '/'));
}

static bool is_allowed(const char *path, const char *const *directories)
{
	for (; directories && *directories; directories++)
		if (is_below(path, *directories))
			return true;
	return false;
}

static bool is_bind(const struct rt_spec_mount *mount)
{
	if (mount->type && rt_str_equal(mount->type, "bind"))
		return true;
	for (size_t i = 0; i < mount->option_count; i++)
		if (rt_str_equal(mount->options[i], "bind") || rt_str_equal(mount->options[i], "rbind"))
			return true;
	return false;
}

static struct rt_error *check_mounts(const struct rt_receive_values *values, const struct rt_spec *spec)
{
	for (size_t i = 0; i < spec->mount_count; i++) {
		const struct rt_spec_mount *mount = &spec->mounts[i];

		if (is_bind(mount) && mount->source && !is_allowed(mount->source, values->allow_mounts))
			return rt_fail(RT_PEER, "its configuration binds '%s', which no --allow-mount of this host covers", mount->source);
	}
	return NULL;
}

static struct rt_error *check_hooks(const struct rt_receive_values *values, const struct rt_spec *spec)
{
	for (int kind = 0; kind < RT_HOOK_KINDS; kind++) {
		for (size_t i = 0; i < spec->hooks[kind].count; i++) {
			const char *path = spec->hooks[kind].entries[i].path;
			bool allowed = false;

			for (const char *const *hook = values->allow_hooks; hook && *hook && !allowed; hook++)
				allowed = rt_str_equal(*hook, path);
			if (!allowed)
				return rt_fail(RT_PEER, "its configuration names the hook '%s', which no --allow-hook of this host does", path);
		}
	}
	return NULL;
}

static struct rt_error *check_namespaces(const struct rt_spec *spec)
{
	for (int kind = 0; kind < RT_NS_KINDS; kind++)
		if (spec->namespaces[kind].path)
			return rt_fail(RT_PEER, "its configuration joins the namespace '%s', which a host does not let a source choose",
				       spec->namespaces[kind].path);
	return NULL;
}

struct rt_error *rt_policy_check(const struct rt_receive_values *values, const struct rt_spec *spec)
{
	struct rt_error *err = check_mounts(values, spec);

	if (!err)
		err = check_hooks(values, spec);
	return err ? err : check_namespaces(spec);
}
