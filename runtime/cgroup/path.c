#include "runtime/cgroup/path.h"

#include "runtime/base/str.h"

#include <limits.h>

static bool is_dots(const char *name, size_t length)
{
	return (length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.');
}

/* Appends the components of `path` to `out` (absolute, no slash at its end); ".." stops at the first `floor` bytes. */
static void append_clean(char *out, size_t floor, const char *path)
{
	size_t used = strlen(out);

	while (*path) {
		size_t length;

		path += strspn(path, "/");
		length = strcspn(path, "/");
		if (length == 2 && is_dots(path, length)) {
			while (used > floor && out[used - 1] != '/')
				used--;
			used -= used > floor;
		} else if (length > 0 && !is_dots(path, length)) {
			out[used++] = '/';
			memcpy(out + used, path, length);
			used += length;
		}
		out[used] = '\0';
		path += length;
	}
}

struct rt_error *rt_cgroup_path(const char *cgroups_path, const char *own, struct rt_arena *arena, char **ret)
{
	bool absolute = cgroups_path[0] == '/';
	char *path = rt_arena_calloc(arena, strlen(cgroups_path) + strlen(own) + 3, 1);
	size_t floor;

	if (!path)
		return rt_error_oom();
	if (strchr(cgroups_path, '\n'))
		return rt_fail(RT_CONFIG, "'linux.cgroupsPath' must not contain a line break");
	if (!absolute)
		append_clean(path, 0, own);
	floor = strlen(path);
	append_clean(path, floor, cgroups_path);
	if (strlen(path) <= floor)
		return rt_fail(RT_CONFIG, "'linux.cgroupsPath' must name a cgroup below the %s, '%s' does not",
			       absolute ? "root" : "runtime's own", cgroups_path);
	if (strlen(path) >= PATH_MAX - 256)
		return rt_fail(RT_CONFIG, "'linux.cgroupsPath' is too long");
	*ret = path;
	return NULL;
}

static struct rt_error *bad_path(const char *path, const char *why)
{
	return rt_fail(RT_CONFIG, "'linux.cgroupsPath' must read slice:prefix:name under systemd, '%s' %s", path, why);
}

/* systemd accepts these in unit names; anything else would have to be escaped, which engines do themselves. */
static bool is_unit_text(const char *text)
{
	return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@+")] == '\0';
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length > end_length && rt_str_equal(text + length - end_length, end);
}

/* "a-b.slice" lies in "a.slice": /a.slice/a-b.slice. "-.slice" is the root. */
static struct rt_error *expand_slice(const char *slice, const char *config, struct rt_arena *arena, char **ret)
{
	size_t length = strlen(slice) - strlen(".slice"), used = 0;
	char *out = rt_arena_calloc(arena, 1, (length + 8) * (length + 2));

	if (!out)
		return rt_error_oom();
	*ret = out;
	if (rt_str_equal(slice, "-.slice"))
		return NULL;
	if (slice[0] == '-' || slice[length - 1] == '-' || strstr(slice, "--") || strchr(slice, '/'))
		return bad_path(config, "has a slice that isn't a valid name");
	for (size_t i = 1; i <= length; i++)
		if (i == length || slice[i] == '-')
			used += (size_t)sprintf(out + used, "/%.*s.slice", (int)i, slice);
	return NULL;
}

static struct rt_error *split(const char *config, struct rt_arena *arena, char *parts[3])
{
	char *at = rt_arena_printf(arena, "%s", config);

	if (!at)
		return rt_error_oom();
	for (size_t i = 0; i < 3; i++) {
		char *colon = i < 2 ? strchr(at, ':') : NULL;

		if (i < 2 && !colon)
			return bad_path(config, "does not");
		parts[i] = at;
		if (!colon)
			break;
		*colon = '\0';
		at = colon + 1;
	}
	if (strchr(parts[2], ':'))
		return bad_path(config, "has too many colons");
	return NULL;
}

struct rt_error *rt_cgroup_unit_name(const char *cgroups_path, const char *id, bool user, struct rt_arena *arena,
				     struct rt_unit_name *ret)
{
	char *parts[3] = { NULL }, *in_slice = NULL;
	const char *slice, *unit;
	struct rt_error *err;

	if (!cgroups_path || !*cgroups_path) {
		cgroups_path = rt_arena_printf(arena, ":rt:%s", id);
		if (!cgroups_path)
			return rt_error_oom();
	}
	err = split(cgroups_path, arena, parts);
	if (err)
		return err;
	if (!*parts[2])
		return bad_path(cgroups_path, "has no name");
	if (!is_unit_text(parts[0]) || !is_unit_text(parts[1]) || !is_unit_text(parts[2]))
		return bad_path(cgroups_path, "has characters that unit names can't have");
	slice = *parts[0] ? parts[0] : user ? "user.slice" : "system.slice";
	if (!ends_with(slice, ".slice"))
		return bad_path(cgroups_path, "has a slice that doesn't end in '.slice'");
	ret->is_slice = ends_with(parts[2], ".slice");
	err = expand_slice(ret->is_slice ? parts[2] : slice, cgroups_path, arena, &in_slice);
	if (err)
		return err;
	unit = ret->is_slice ? parts[2] :
		rt_arena_printf(arena, "%s%s%s.scope", parts[1], *parts[1] ? "-" : "", parts[2]);
	if (!unit)
		return rt_error_oom();
	if (strlen(unit) > 255)
		return bad_path(cgroups_path, "makes a unit name that is too long");
	ret->slice = slice;
	ret->unit = unit;
	ret->path = ret->is_slice ? in_slice : rt_arena_printf(arena, "%s/%s", in_slice, unit);
	return ret->path ? NULL : rt_error_oom();
}
