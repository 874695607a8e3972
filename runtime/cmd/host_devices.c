#include "runtime/cmd/host_devices.h"

#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum { DEEPEST = 8 };

static void tell(const char *path, const struct stat *st, void (*visit)(void *visitor, const struct rt_import_device *device),
		 void *visitor)
{
	const struct rt_import_device device = {
		.path = path,
		.type = S_ISBLK(st->st_mode) ? 'b' : 'c',
		.major = major(st->st_rdev),
		.minor = minor(st->st_rdev),
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
	};

	visit(visitor, &device);
}

/* Mounts and links of the container's own /dev. */
static bool is_everybodys(const char *name)
{
	static const char *const names[] = { ".", "..", "pts", "shm", "fd", "mqueue", "console", "ptmx", "hugepages" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++)
		if (rt_str_equal(names[i], name))
			return true;
	return false;
}

static struct rt_error *list(const char *path, int depth, void (*visit)(void *visitor, const struct rt_import_device *device),
			     void *visitor)
{
	_cleanup_closedir_ DIR *directory = opendir(path);
	struct rt_error *err = NULL;
	struct dirent *entry;

	if (!directory)
		return rt_fail_errno("cannot list '%s'", path);
	while (!err && (entry = readdir(directory))) {
		_cleanup_free_ char *below = NULL;
		struct stat st;

		if (is_everybodys(entry->d_name))
			continue;
		err = rt_format(&below, "%s/%s", path, entry->d_name);
		if (err || lstat(below, &st) < 0) /* gone in between */
			continue;
		if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
			tell(below, &st, visit, visitor);
		else if (S_ISDIR(st.st_mode) && depth < DEEPEST)
			err = list(below, depth + 1, visit, visitor);
	}
	return err;
}

struct rt_error *rt_host_find_devices(void *userdata, const char *path,
				      void (*visit)(void *visitor, const struct rt_import_device *device), void *visitor)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return rt_fail_errno("cannot find device '%s'", path);
	if (S_ISDIR(st.st_mode))
		return list(path, 0, visit, visitor);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return rt_fail(RT_SYSTEM, "'%s' is no device", path);
	tell(path, &st, visit, visitor);
	return NULL;
}
