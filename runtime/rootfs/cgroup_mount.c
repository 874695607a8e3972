#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define SAFE_ATTRIBUTES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define UNIFIED_MOUNT "/sys/fs/cgroup"

static bool has_own_namespace(const struct rt_rootfs *rootfs)
{
	return rootfs->spec->namespaces[RT_NS_CGROUP].wanted;
}

static const struct rt_cgroup_hierarchy *find_v2(const struct rt_rootfs *rootfs)
{
	const struct rt_cgroup_view *view = &rootfs->request.cgroup;

	for (size_t i = 0; i < view->count; i++)
		if (view->hierarchies[i].controllers[0] == '\0')
			return &view->hierarchies[i];
	return NULL;
}

static unsigned attributes_of(const struct rt_rootfs_entry *entry)
{
	return (unsigned)(entry->options.set | entry->options.recursive_set);
}

/* The container's part of a hierarchy as the host sees it; where it is not known, the whole. */
static struct rt_error *host_path(const struct rt_cgroup_hierarchy *hierarchy, bool part, char **ret)
{
	if (!hierarchy)
		return rt_format(ret, "%s", UNIFIED_MOUNT);
	return rt_format(ret, "%s%s", hierarchy->mount_point, part ? hierarchy->path : "");
}

/* v2. In a user namespace without a cgroup namespace of its own the kernel refuses (EPERM), and so it does inside
 * another container (EBUSY): then the host's mount has to do. */
static struct rt_error *mount_unified(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	const struct rt_filesystem filesystem = { .type = "cgroup2",
						  .source = entry->source,
						  .options = entry->options.data,
						  .option_count = entry->options.data_count,
						  .attributes = attributes_of(entry) };
	_cleanup_close_ int target_fd = -1, tree_fd = -1;
	_cleanup_free_ char *path = NULL;
	struct rt_error *err;

	err = rt_rootfs_open_target(rootfs, entry, true, NULL, &target_fd);
	if (err)
		return err;
	err = rt_sys_make_filesystem(&filesystem, &tree_fd);
	if (!err)
		return rt_rootfs_attach_entry(rootfs, entry, tree_fd, target_fd);
	if (err->errnum != EPERM && err->errnum != EBUSY)
		return err;
	rt_error_free(err);
	err = host_path(find_v2(rootfs), has_own_namespace(rootfs), &path);
	if (!err)
		err = rt_rootfs_bind_instead(rootfs, entry, path, target_fd);
	return err;
}

/* "cpu,cpuacct" as one word each; "name=systemd" is one. */
static struct rt_error *split_controllers(struct rt_rootfs *rootfs, const char *controllers, const char ***ret,
					  size_t *ret_count)
{
	char *copy = rt_arena_printf(&rootfs->arena, "%s", controllers);
	const char **words = rt_arena_calloc(&rootfs->arena, strlen(controllers) / 2 + 1, sizeof(*words));
	size_t count = 0;
	char *save = NULL;

	if (!copy || !words)
		return rt_error_oom();
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save))
		words[count++] = word;
	*ret = words;
	*ret_count = count;
	return NULL;
}

static struct rt_error *mount_fresh(struct rt_rootfs *rootfs, const struct rt_cgroup_hierarchy *hierarchy,
				    unsigned attributes, int *ret)
{
	struct rt_filesystem filesystem = { .type = "cgroup2", .source = "cgroup", .attributes = attributes };
	const char **words = NULL;

	if (hierarchy->controllers[0]) {
		struct rt_error *err = split_controllers(rootfs, hierarchy->controllers, &words, &filesystem.option_count);

		if (err)
			return err;
		filesystem.type = "cgroup";
		filesystem.options = words;
	}
	return rt_sys_make_filesystem(&filesystem, ret);
}

static struct rt_error *bind_hierarchy(const struct rt_cgroup_hierarchy *hierarchy, unsigned attributes, int *ret)
{
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = host_path(hierarchy, true, &path);

	if (!err)
		err = rt_rootfs_clone_from_host(path, RT_MOUNT_RECURSIVE, attributes, ret);
	return err;
}

/* With a namespace of its own the container gets each hierarchy anew, rooted at its cgroup. Without one that would
 * show it the host's whole tree (and cost an RCU grace period): then its directory is bound. */
static struct rt_error *mount_hierarchy(struct rt_rootfs *rootfs, const struct rt_cgroup_hierarchy *hierarchy,
					unsigned attributes, int dir_fd)
{
	_cleanup_close_ int tree_fd = -1;
	struct rt_error *err = NULL;

	if (mkdirat(dir_fd, hierarchy->mount_name, 0755) < 0)
		return rt_fail_errno("cannot create directory '%s'", hierarchy->mount_name);
	if (has_own_namespace(rootfs)) {
		err = mount_fresh(rootfs, hierarchy, attributes, &tree_fd);
		if (err && (err->errnum == EPERM || err->errnum == EBUSY))
			err = rt_error_free(err);
	}
	if (!err && tree_fd < 0)
		err = bind_hierarchy(hierarchy, attributes, &tree_fd);
	if (!err)
		err = rt_sys_attach_at(tree_fd, dir_fd, hierarchy->mount_name);
	return err;
}

/* Programs look for /sys/fs/cgroup/cpu also where the machine has "cpu,cpuacct". */
static struct rt_error *link_joint_controllers(struct rt_rootfs *rootfs, const char *name, int dir_fd)
{
	const char **words;
	size_t count;
	struct rt_error *err;

	if (!strchr(name, ','))
		return NULL;
	err = split_controllers(rootfs, name, &words, &count);
	for (size_t i = 0; !err && i < count; i++)
		if (symlinkat(name, dir_fd, words[i]) < 0 && errno != EEXIST)
			err = rt_fail_errno("cannot create link '%s'", words[i]);
	return err;
}

/* v1 and hybrid: a tmpfs with one directory for each hierarchy, named as on the host. */
static struct rt_error *mount_apart(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	static const char *const words[] = { "mode=755" };
	const struct rt_filesystem filesystem = { .type = "tmpfs", .source = "tmpfs", .options = words, .option_count = 1,
						  .attributes = SAFE_ATTRIBUTES };
	const struct rt_cgroup_view *view = &rootfs->request.cgroup;
	const struct rt_mount_attributes read_only = { .set = attributes_of(entry) & MOUNT_ATTR_RDONLY };
	_cleanup_close_ int target_fd = -1, tree_fd = -1;
	struct rt_error *err;

	err = rt_rootfs_open_target(rootfs, entry, true, NULL, &target_fd);
	if (!err)
		err = rt_sys_make_filesystem(&filesystem, &tree_fd);
	if (!err)
		err = rt_rootfs_attach_entry(rootfs, entry, tree_fd, target_fd);
	for (size_t i = 0; !err && i < view->count; i++) {
		err = mount_hierarchy(rootfs, &view->hierarchies[i], SAFE_ATTRIBUTES | (unsigned)read_only.set,
				      tree_fd);
		if (!err)
			err = link_joint_controllers(rootfs, view->hierarchies[i].mount_name, tree_fd);
		if (err)
			return rt_while(err, "mounting hierarchy '%s'", view->hierarchies[i].mount_name);
	}
	if (!err && read_only.set)
		err = rt_sys_set_mount_attributes(tree_fd, "", 0, &read_only);
	return err;
}

struct rt_error *rt_rootfs_mount_cgroup(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry)
{
	if (entry->kind == RT_ENTRY_FILESYSTEM || rootfs->request.cgroup.layout == RT_CGROUP_V2)
		return mount_unified(rootfs, entry);
	return mount_apart(rootfs, entry);
}
