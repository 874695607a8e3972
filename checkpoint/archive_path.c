#include "checkpoint/archive_helper.h"

#include "runtime/base/str.h"

#include <limits.h>
#include <string.h>

struct rt_error *rt_archive_fail(struct archive *archive, const char *what)
{
	int number = archive_errno(archive);
	const char *text = archive_error_string(archive);

	/* libarchive's own conditions are negative or above any errno. */
	return rt_error_make(__FILE__, __LINE__, number > 0 && number < 4096 ? RT_SYSTEM : RT_CONFIG, 0, NULL, "%s: %s", what,
			     text ? text : "no reason given");
}

bool rt_archive_clean_path(const char *name, char *clean, size_t room)
{
	size_t length = 0;

	while (name[0] == '.' && name[1] == '/')
		for (name += 2; *name == '/'; name++)
			;
	if (rt_str_equal(name, ".") || !*name) {
		*clean = '\0';
		return true;
	}
	if (*name == '/')
		return false;
	while (*name) {
		size_t part = strcspn(name, "/");

		if (part == 0 || part > NAME_MAX || (part == 1 && name[0] == '.') ||
		    (part == 2 && name[0] == '.' && name[1] == '.') || length + part + 2 > room)
			return false;
		if (length)
			clean[length++] = '/';
		memcpy(clean + length, name, part);
		length += part;
		name += part;
		/* A directory's name may end with one. */
		if (*name == '/')
			name++;
	}
	clean[length] = '\0';
	return true;
}
