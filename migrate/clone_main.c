/* rt-clone: what `rt run --from-snapshot` becomes, and the poststop hook of containers that were started so. It needs the server of lazy memory, which `rt` itself does
 * not carry; like `rt` it is linked statically, as loading libraries takes longer than all that it does before CRIU is at work. */
#include "migrate/clone.h"
#include "migrate/clone_cache.h"
#include "migrate/clone_rootfs.h"
#include "runtime/base/str.h"
#include "runtime/cmd/dispatch.h"

#include <sys/stat.h>

static struct rt_error *run_run(const struct rt_invocation *invocation, int *ret_status)
{
	return rt_clone_run(invocation->context, invocation->operands[0], invocation->values, ret_status);
}

/* The poststop hook of a clone. The state on its standard input says nothing that is not known. */
static int forget(const char *path)
{
	struct rt_error *err = strstr(path, "/" RT_CLONES "/") ? rt_clone_rootfs_remove(path) :
								  rt_fail(RT_USAGE, "'%s' is no directory of a container from a snapshot", path);
	_cleanup_free_ char *text = err ? rt_error_text(err) : NULL;

	if (!err)
		return EXIT_SUCCESS;
	fprintf(stderr, "%s\n", text ? text : "out of memory");
	rt_error_free(err);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	static const struct rt_command_override overrides[] = { { "run", run_run }, { NULL, NULL } };

	umask(022);
	if (argc == 3 && rt_str_equal(argv[1], RT_CLONE_GONE))
		return forget(argv[2]);
	return rt_dispatch(argc, argv, overrides);
}
