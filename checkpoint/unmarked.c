#include "checkpoint/unmarked.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/sys/mount.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <unistd.h>

#define CACHE_LIMIT 4096
/* criu/include/kerndat.h: two magic numbers, a dev_t, an int and an u64 come before has_dirty_track. Of those before, and of its own size, CRIU checks the magic numbers, which change with what the
 * file holds. */
#define HAS_DIRTY_TRACK 32

static struct rt_error *read_cache(char **ret, size_t *ret_size)
{
	struct rt_error *err = rt_read_file_at(AT_FDCWD, RT_CRIU_KERNEL_CACHE, CACHE_LIMIT, ret, ret_size);

	if (err)
		return err;
	return *ret_size > HAS_DIRTY_TRACK ? NULL : rt_fail(RT_CRIU, "'" RT_CRIU_KERNEL_CACHE "' is too short");
}

bool rt_unmarked_is_needed(void)
{
	_cleanup_free_ char *bytes = NULL;
	size_t size;
	struct rt_error *err = read_cache(&bytes, &size);
	bool needed = !err && bytes[HAS_DIRTY_TRACK] == 0;

	rt_error_free(err);
	return needed;
}

/* Only what is attached somewhere can be cloned. That is on the root here, where it hides nothing: paths begin below it. */
static struct rt_error *cover_cache(void)
{
	static const struct rt_filesystem tmpfs = { .type = "tmpfs", .source = "kdat" };
	_cleanup_close_ int top = -1, copy = -1, tree = -1, root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC),
			    cache = open(RT_CRIU_KERNEL_CACHE, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_free_ char *bytes = NULL;
	struct rt_error *err;
	size_t size = 0;

	if (root < 0 || cache < 0)
		return rt_fail_errno("cannot open '%s'", root < 0 ? "/" : RT_CRIU_KERNEL_CACHE);
	err = read_cache(&bytes, &size);
	if (!err)
		err = rt_sys_make_filesystem(&tmpfs, &top);
	if (!err)
		err = rt_sys_attach(top, root);
	if (err)
		return err;
	bytes[HAS_DIRTY_TRACK] = 1;
	copy = openat(top, "copy", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (copy < 0)
		return rt_fail_errno("cannot create a file");
	err = rt_write_all(copy, bytes, size);
	if (!err)
		err = rt_sys_clone_tree(top, "copy", 0, &tree);
	return err ? err : rt_sys_attach(tree, cache);
}

struct call {
	struct rt_error *(*start)(void *userdata);
	void *userdata;
	bool covered;
};

static struct rt_error *start_covered(void *userdata)
{
	struct call *call = userdata;
	struct rt_error *err = cover_cache();

	call->covered = !err;
	return err ? err : call->start(call->userdata);
}

struct rt_error *rt_unmarked_start(struct rt_error *(*start)(void *userdata), void *userdata)
{
	struct call call = { .start = start, .userdata = userdata };
	struct rt_error *err = rt_sys_call_in_own_mounts(start_covered, &call);

	if (!err || call.covered)
		return err;
	rt_debug("criu will look at all memory: %s", err->message);
	rt_error_free(err);
	return start(userdata);
}
