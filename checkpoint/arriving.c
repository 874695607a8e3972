#include "checkpoint/arriving.h"

#include "runtime/base/lock.h"
#include "runtime/container/private.h"

#include <fcntl.h>

#define LOCK "memory.lock"

struct rt_error *rt_memory_arrives(const struct rt_context *context, const char *id, int *ret_fd)
{
	_cleanup_close_ int dir_fd = -1;
	struct rt_error *err = rt_container_open_dir(context, id, &dir_fd);

	return err ? err : rt_lock_at(dir_fd, LOCK, ret_fd);
}

struct rt_error *rt_memory_is_arriving(int container_dir_fd, bool *ret)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	*ret = false;
	if (faccessat(container_dir_fd, LOCK, F_OK, 0) < 0)
		return NULL;
	err = rt_lock_try_at(container_dir_fd, LOCK, &fd);
	*ret = !err && fd < 0;
	return err;
}
