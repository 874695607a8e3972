#include "migrate/clone_mapped.h"

#include "migrate/clone_config.h"
#include "runtime/base/str.h"
#include "runtime/spec/spec.h"
#include "runtime/sys/mount.h"
#include "runtime/sys/ns.h"

#include <fcntl.h>
#include <sys/stat.h>

#define LOWER "lower"

/* Its own ids, or those of the container: as runtime/rootfs/sources.c has it for a start. */
static struct rt_error *open_namespace(const struct rt_spec *spec, const struct rt_spec_mount *mount, int *ret)
{
	if (mount->uid_mappings.count > 0)
		return rt_sys_make_user_namespace(&mount->uid_mappings, &mount->gid_mappings, ret);
	if (spec->namespaces[RT_NS_USER].path)
		return rt_sys_open_namespace(spec->namespaces[RT_NS_USER].path, RT_NS_USER, ret);
	if (spec->uid_mappings.count == 0 || spec->gid_mappings.count == 0)
		return rt_fail(RT_CONFIG, "the mount at '/' needs mappings, of its own or of the container's user namespace");
	return rt_sys_make_user_namespace(&spec->uid_mappings, &spec->gid_mappings, ret);
}

struct rt_error *rt_clone_map_open(const json_t *config, int *ret)
{
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;

	*ret = -1;
	if (!rt_clone_root_mount(config))
		return NULL;
	text = json_dumps(config, JSON_COMPACT);
	if (!text)
		return rt_error_oom();
	err = rt_spec_load_text(text, strlen(text), "the configuration", &spec);
	for (size_t i = 0; !err && i < spec->mount_count; i++)
		if (rt_str_equal(spec->mounts[i].destination, "/"))
			return open_namespace(spec, &spec->mounts[i], ret);
	return err;
}

struct rt_error *rt_clone_map_lower(const struct rt_clone_rootfs *rootfs, const char *lower, int map_fd, char **ret)
{
	_cleanup_close_ int tree_fd = -1, target_fd = -1;
	struct rt_error *err = NULL;

	if (mkdirat(rootfs->dir_fd, LOWER, 0700) < 0)
		return rt_fail_errno("cannot make '%s/" LOWER "'", rootfs->path);
	target_fd = openat(rootfs->dir_fd, LOWER, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (target_fd < 0)
		return rt_fail_errno("cannot open '%s/" LOWER "'", rootfs->path);
	err = rt_sys_clone_tree(AT_FDCWD, lower, 0, &tree_fd);
	if (!err)
		err = rt_sys_map_owners(tree_fd, 0, map_fd);
	if (!err)
		err = rt_sys_attach(tree_fd, target_fd);
	if (err)
		return rt_while(err, "mapping the ids of '%s'", lower);
	return rt_format(ret, "%s/" LOWER, rootfs->path);
}

struct rt_error *rt_clone_map_remove(const char *path)
{
	_cleanup_free_ char *lower = NULL;
	struct rt_error *err = rt_format(&lower, "%s/" LOWER, path);

	if (err)
		return err;
	err = rt_sys_unmount(lower);
	if (err && (err->errnum == EINVAL || err->errnum == ENOENT))
		err = rt_error_free(err);
	if (!err && rmdir(lower) < 0 && errno != ENOENT)
		return rt_fail_errno("cannot remove '%s'", lower);
	return err;
}
