#include "runtime/bundle/bundle.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/file.h>

struct rt_error *rt_bundle_partial_name(const char *directory, char **ret)
{
	size_t length = strlen(directory);

	while (length > 1 && directory[length - 1] == '/')
		length--;
	return rt_format(ret, "%.*s.partial", (int)length, directory);
}

struct rt_error *rt_bundle_sweep(const char *partial)
{
	_cleanup_close_ int fd = open(partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct rt_error *err;

	if (fd < 0)
		return errno == ENOENT ? NULL : rt_fail_errno("'%s' is in the way", partial);
	/* Whoever makes it holds it; the kernel lets go of it for the dead. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return rt_fail(RT_EXISTS, "'%s' is being made by somebody else", partial);
	err = rt_remove_tree_at(AT_FDCWD, partial);
	return err ? rt_while(err, "removing '%s', which a create that was killed has left", partial) : NULL;
}
