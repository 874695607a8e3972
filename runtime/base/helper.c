#include "runtime/base/helper.h"

#include "runtime/base/str.h"
#include "rt-config.h"

#include <limits.h>

/* *ret stays NULL where it is not there. */
static struct rt_error *look_beside(const char *program, const char *folder, const char *name, char **ret)
{
	const char *slash = strrchr(program, '/');
	const char *const folders[] = { "", folder };

	for (size_t i = 0; slash && i < RT_ARRAY_SIZE(folders); i++) {
		_cleanup_free_ char *path = NULL;
		struct rt_error *err = rt_format(&path, "%.*s%s/%s", (int)(slash - program + 1), program, folders[i], name);

		if (err)
			return err;
		if (access(path, X_OK) == 0) {
			*ret = rt_take_ptr(path);
			return NULL;
		}
	}
	return NULL;
}

/* Called by a bare name: from wherever that was found. */
static struct rt_error *look_in_path(const char *folder, const char *name, char **ret)
{
	const char *path = strchr(program_invocation_name, '/') ? NULL : getenv("PATH");
	struct rt_error *err = NULL;

	while (path && *path && !err && !*ret) {
		size_t length = strcspn(path, ":");
		_cleanup_free_ char *program = NULL;

		err = rt_format(&program, "%.*s/%s", (int)length, path, program_invocation_name);
		if (!err && access(program, X_OK) == 0) /* the first that is there is the one that was run */
			return look_beside(program, folder, name, ret);
		path += length + (path[length] == ':');
	}
	return err;
}

/* A sealed binary (sys/seal.h) has lost its path in /proc/self/exe; its name is still the one it was called by. */
struct rt_error *rt_helper_find(const char *name, const char *folder, const char *needed_by, char **ret)
{
	_cleanup_free_ char *installed = NULL;
	char own[PATH_MAX];
	ssize_t length;
	struct rt_error *err = rt_format(&installed, "%s/%s", RT_LIBEXEC, name);

	if (err)
		return err;
	if (access(installed, X_OK) == 0) {
		*ret = rt_take_ptr(installed);
		return NULL;
	}
	*ret = NULL;
	length = readlink("/proc/self/exe", own, sizeof(own) - 1);
	own[length > 0 ? length : 0] = '\0';
	err = look_beside(own, folder, name, ret);
	if (!err && !*ret)
		err = look_beside(program_invocation_name, folder, name, ret);
	if (!err && !*ret)
		err = look_in_path(folder, name, ret);
	if (err || *ret)
		return err;
	return rt_fail(RT_SYSTEM, "'%s' is not installed, which is needed for %s", installed, needed_by);
}
