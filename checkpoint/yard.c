#include "checkpoint/yard.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/layout.h"
#include "runtime/sys/mount.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct yard {
	const struct rt_layout *layout;
	int tree_fd;
};

/* criu/cgroup.c: collect_cgroups(), ctrl_dir_and_opt(). */
static const char *name_of(const struct rt_cgroup_mount *mount)
{
	if (mount->v2)
		return "unified";
	return rt_str_starts(mount->spelling, "name=") ? mount->spelling + strlen("name=") : mount->spelling;
}

static struct rt_error *add(int yard_fd, const struct rt_cgroup_mount *mount)
{
	_cleanup_close_ int tree_fd = -1;
	const char *name = name_of(mount);
	struct rt_error *err = rt_sys_clone_tree(AT_FDCWD, mount->mount_point, 0, &tree_fd);

	if (err)
		return err;
	if (mkdirat(yard_fd, name, 0700) < 0)
		return rt_fail_errno("cannot make a directory '%s'", name);
	return rt_sys_attach_at(tree_fd, yard_fd, name);
}

static struct rt_error *build(void *userdata)
{
	struct yard *yard = userdata;
	_cleanup_close_ int top = -1;
	struct rt_error *err = rt_sys_mount_scratch(&top);

	for (size_t i = 0; i < yard->layout->count && !err; i++)
		err = add(top, &yard->layout->mounts[i]);
	return err ? err : rt_sys_clone_tree(top, "", RT_MOUNT_RECURSIVE, &yard->tree_fd);
}

struct rt_error *rt_yard_set_up(struct rt_criu_opts *options, int *ret_fd)
{
	_cleanup_(rt_arena_deinit) struct rt_arena arena = RT_ARENA_NULL;
	struct rt_layout layout = { .count = 0 };
	struct yard yard = { .layout = &layout, .tree_fd = -1 };
	struct rt_error *err = rt_layout_find(RT_LAYOUT_NEED_OWN, &arena, &layout);

	*ret_fd = -1;
	if (!err && !layout.whole)
		return NULL;
	if (!err)
		err = rt_sys_call_in_own_mounts(build, &yard);
	if (err) {
		rt_debug("criu mounts cgroups by itself: %s", err->message);
		rt_error_free(err);
		return NULL;
	}
	*ret_fd = yard.tree_fd;
	options->opts.cgroup_yard = rt_arena_printf(&options->arena, "/proc/%d/fd/%d", getpid(), yard.tree_fd);
	return options->opts.cgroup_yard ? NULL : rt_error_oom();
}
