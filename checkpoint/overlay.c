#include "checkpoint/overlay.h"

#include "runtime/base/str.h"

#include <limits.h>

/* mountinfo writes white space and backslashes as three octal digits; overlayfs puts a backslash before commas and
 * colons. */
static void unescape_octal(char *text)
{
	char *to = text;

	for (char *at = text; *at; at++) {
		if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' && at[3] >= '0' &&
		    at[3] <= '7') {
			*to++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 3;
		} else {
			*to++ = *at;
		}
	}
	*to = '\0';
}

/* Copy of an option's value: up to a comma that has no backslash before it. NULL: not there, or no memory. */
static char *option_value(const char *options, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = options; *at;) {
		const char *end = at;

		while (*end && *end != ',')
			end += end[0] == '\\' && end[1] ? 2 : 1;
		if (strncmp(at, name, length) == 0 && at[length] == '=')
			return strndup(at + length + 1, (size_t)(end - at) - length - 1);
		at = end + (*end == ',');
	}
	return NULL;
}

/* Super block options of the last mount on `path`, where that is an overlay; *ret is NULL where it is none. */
static struct rt_error *find_overlay(const char *path, char **ret)
{
	_cleanup_fclose_ FILE *stream = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL, *found = NULL;
	size_t room = 0;

	if (!stream)
		return rt_fail_errno("cannot open '/proc/self/mountinfo'");
	while (getline(&line, &room, stream) > 0) {
		char point[PATH_MAX], type[64];
		int options = 0;
		char *separator = strstr(line, " - ");

		if (!separator || sscanf(line, "%*d %*d %*s %*s %4095s", point) != 1 ||
		    sscanf(separator, " - %63s %*s %n", type, &options) != 1 || options == 0)
			continue;
		unescape_octal(point);
		if (!rt_str_equal(point, path))
			continue;
		free(found);
		found = NULL;
		if (!rt_str_equal(type, "overlay"))
			continue;
		separator[options + strcspn(separator + options, "\n")] = '\0';
		found = strdup(separator + options);
		if (!found)
			return rt_error_oom();
		unescape_octal(found);
	}
	*ret = rt_take_ptr(found);
	return NULL;
}

void rt_overlay_unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1])
			text++;
		*to++ = *text;
	}
	*to = '\0';
}

struct rt_error *rt_overlay_find(const char *path, char **ret_upper, char **ret_lowers)
{
	_cleanup_free_ char *options = NULL;
	struct rt_error *err = find_overlay(path, &options);

	if (err)
		return err;
	*ret_upper = *ret_lowers = NULL;
	if (!options)
		return NULL;
	*ret_upper = option_value(options, "upperdir");
	*ret_lowers = option_value(options, "lowerdir");
	if (*ret_upper)
		rt_overlay_unescape(*ret_upper);
	return NULL;
}
