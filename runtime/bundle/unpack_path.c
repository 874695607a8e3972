#include "runtime/bundle/unpack.h"

#include "runtime/base/str.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

struct rt_error *rt_unpack_fail(struct archive *archive, const char *what)
{
	int number = archive_errno(archive);
	const char *text = archive_error_string(archive);

	/* libarchive's own conditions are negative or above any errno. */
	return rt_error_make(__FILE__, __LINE__, number > 0 && number < 4096 ? RT_SYSTEM : RT_CONFIG, 0, NULL, "%s: %s", what,
			     text ? text : "no reason given");
}

/* What stands before the first component. NULL: no path begins so. */
static const char *skip_start(const char *name, unsigned flags)
{
	if (flags & RT_PATH_LENIENT)
		name += strspn(name, "/");
	while (name[0] == '.' && name[1] == '/')
		for (name += 2; *name == '/'; name++)
			;
	return *name == '/' ? NULL : name;
}

bool rt_unpack_clean_path(const char *name, unsigned flags, char *clean, size_t room)
{
	size_t length = 0;

	name = skip_start(name, flags);
	if (!name)
		return false;
	if (rt_str_equal(name, ".")) {
		*clean = '\0';
		return true;
	}
	while (*name) {
		size_t part = strcspn(name, "/");
		bool nothing = part == 0 || (part == 1 && name[0] == '.');

		if ((nothing && !(flags & RT_PATH_LENIENT)) || part > NAME_MAX || (part == 2 && name[0] == '.' && name[1] == '.') ||
		    length + part + 2 > room)
			return false;
		if (!nothing) {
			if (length)
				clean[length++] = '/';
			memcpy(clean + length, name, part);
			length += part;
		}
		name += part;
		/* A directory's name may end with one. */
		if (*name == '/')
			name++;
	}
	clean[length] = '\0';
	return true;
}

struct rt_error *rt_unpack_open_below(int root_fd, const char *path, int *ret)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, /* with O_NOFOLLOW a symlink at the end would be ENOTDIR, not ELOOP */
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));

	if (fd < 0)
		return rt_fail_errno("cannot enter '%s'", path);
	*ret = fd;
	return NULL;
}
