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

static bool is_up(const char *path)
{
	size_t length = strlen(path);

	return length >= 3 && rt_str_equal(path + length - 3, "/..");
}

/* Neither "/srv/../etc" nor "/srvx" is below "/srv". */
static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	while (length > 1 && directory[length - 1] == '/')
		length--;
	if (strstr(path, "/../") || is_up(path))
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

/* File systems that are nobody's before they are mounted. Any other one may be a disk of this host, or an overlay of its directories. */
static bool is_made_of_nothing(const char *type)
{
	static const char *const types[] = { "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "ramfs" };

	for (size_t i = 0; type && i < RT_ARRAY_SIZE(types); i++)
		if (rt_str_equal(type, types[i]))
			return true;
	return false;
}

/* A bundle that is made here has its root filesystem in itself. */
static struct rt_error *check_root(const struct rt_receive_values *values, const struct rt_spec *spec)
{
	const char *path = spec->root_path;

	if (!path || *path != '/') {
		if (path && (rt_str_equal(path, "..") || rt_str_starts(path, "../") || strstr(path, "/../") || is_up(path)))
			return rt_fail(RT_PEER, "its configuration has its root filesystem at '%s', outside of its bundle", path);
		return NULL;
	}
	return is_allowed(path, values->allow_mounts) ? NULL : rt_fail(RT_PEER, "its configuration has its root filesystem at '%s', which no --allow-mount of this "
									 "host covers", path);
}

static bool is_usual_device(const struct rt_spec_device *device)
{
	static const struct {
		int64_t major, minor;
	} usual[] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 }, { 1, 9 }, { 5, 0 }, { 5, 2 } }; /* null, zero, full, random, urandom, tty, ptmx */

	if (device->type == 'p')
		return true;
	for (size_t i = 0; i < RT_ARRAY_SIZE(usual); i++)
		if (device->type == 'c' && device->major == usual[i].major && device->minor == usual[i].minor)
			return true;
	return false;
}

static struct rt_error *check_devices(const struct rt_spec *spec)
{
	for (size_t i = 0; i < spec->device_count; i++)
		if (!is_usual_device(&spec->devices[i]))
			return rt_fail(RT_PEER, "its configuration wants the device '%s' (%c %lld:%lld), which a host does not give to a source", spec->devices[i].path,
				       spec->devices[i].type, (long long)spec->devices[i].major, (long long)spec->devices[i].minor);
	if (spec->net_device_count > 0)
		return rt_fail(RT_PEER, "its configuration takes a network device of the host, which a host does not give to a source");
	if (spec->seccomp.listener_path)
		return rt_fail(RT_PEER, "its configuration connects to the socket '%s', which a host does not let a source choose", spec->seccomp.listener_path);
	return NULL;
}

/* With other ids, by a mount at "/" of the very path that check_root() was asked about. What else would be mounted there is refused by every start. */
static bool is_own_root(const struct rt_spec *spec, const struct rt_spec_mount *mount)
{
	return rt_str_equal(mount->destination, "/") && mount->source && spec->root_path && rt_str_equal(mount->source, spec->root_path);
}

static struct rt_error *check_mounts(const struct rt_receive_values *values, const struct rt_spec *spec)
{
	for (size_t i = 0; i < spec->mount_count; i++) {
		const struct rt_spec_mount *mount = &spec->mounts[i];

		if (is_own_root(spec, mount))
			continue;
		if (rt_spec_mount_is_bind(mount) && mount->source && !is_allowed(mount->source, values->allow_mounts))
			return rt_fail(RT_PEER, "its configuration binds '%s', which no --allow-mount of this host covers", mount->source);
		if (!rt_spec_mount_is_bind(mount) && mount->type && !is_made_of_nothing(mount->type))
			return rt_fail(RT_PEER, "its configuration mounts a file system of type '%s', which a host does not let a source choose", mount->type);
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
	struct rt_error *err = check_root(values, spec);

	if (!err)
		err = check_mounts(values, spec);
	if (!err)
		err = check_hooks(values, spec);
	if (!err)
		err = check_devices(spec);
	return err ? err : check_namespaces(spec);
}
