#include "runtime/rootfs/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>

static bool same_maps(const struct rt_id_maps *a, const struct rt_id_maps *b)
{
	return a->count == b->count && (a->count == 0 || memcmp(a->entries, b->entries, a->count * sizeof(*a->entries)) == 0);
}

static bool same_mapping(const struct rt_rootfs_entry *a, const struct rt_rootfs_entry *b)
{
	return rt_rootfs_is_mapped(a) == rt_rootfs_is_mapped(b) && a->options.recursive_idmap == b->options.recursive_idmap &&
	       same_maps(&a->uid_mappings, &b->uid_mappings) && same_maps(&a->gid_mappings, &b->gid_mappings);
}

static bool comes_from_host(const struct rt_rootfs_entry *entry)
{
	return entry->kind == RT_ENTRY_BIND || entry->kind == RT_ENTRY_ROOT;
}

/* Mounted over its source an entry is in the way of each other one that comes from there. *ret_done: an earlier one was the same. */
static struct rt_error *check_others(const struct rt_rootfs *rootfs, char *const *paths, size_t which, bool *ret_done)
{
	const struct rt_rootfs_entry *entry = &rootfs->entries[which];

	*ret_done = false;
	for (size_t i = 0; i < rootfs->entry_count; i++) {
		const struct rt_rootfs_entry *other = &rootfs->entries[i];

		if (i == which || !paths[i])
			continue;
		if (rt_str_equal(paths[i], paths[which]) && same_mapping(entry, other)) {
			*ret_done = *ret_done || i < which;
			continue;
		}
		if (rt_rootfs_path_is_below(paths[i], paths[which]) ||
		    (other->options.recursive && rt_rootfs_path_is_below(paths[which], paths[i])))
			return rt_fail(RT_CONFIG, "it and '%s' are of one source, '%s', with other id mappings: a restore can't have both",
				       other->destination, paths[which]);
	}
	return NULL;
}

static struct rt_error *mount_over_source(struct rt_rootfs *rootfs, struct rt_rootfs_entry *entry, const char *path)
{
	_cleanup_close_ int target_fd = open(path, O_PATH | O_CLOEXEC);
	struct rt_error *err;

	if (target_fd < 0)
		return rt_fail_errno("cannot open '%s'", path);
	err = rt_rootfs_open_source(rootfs, entry);
	if (!err)
		err = rt_sys_attach(entry->tree_fd, target_fd);
	rt_closep(&entry->tree_fd);
	entry->tree_fd = -1;
	return err;
}

/* They are in CRIU's images, one set for each mount. */
static void forget_attributes(struct rt_mount_options *options)
{
	options->set = options->clear = options->recursive_set = options->recursive_clear = 0;
	options->propagation_count = 0;
}

/* Of what comes from the host; NULL where it isn't there. */
static struct rt_error *find_paths(const struct rt_rootfs *rootfs, char ***ret)
{
	char **paths = calloc(rootfs->entry_count + 1, sizeof(*paths));

	if (!paths)
		return rt_error_oom();
	for (size_t i = 0; i < rootfs->entry_count; i++)
		if (comes_from_host(&rootfs->entries[i]))
			rt_error_free(rt_real_path(rootfs->entries[i].source, &paths[i]));
	*ret = paths;
	return NULL;
}

static struct rt_error *mount_one(struct rt_rootfs *rootfs, char *const *paths, size_t which, bool only_check)
{
	struct rt_rootfs_entry *entry = &rootfs->entries[which];
	struct rt_error *err;
	bool done;

	if (!paths[which])
		return only_check ? NULL : rt_fail(RT_CONFIG, "its source '%s' is not there", entry->source);
	err = check_others(rootfs, paths, which, &done);
	if (err || done || only_check)
		return err;
	forget_attributes(&entry->options);
	return mount_over_source(rootfs, entry, paths[which]);
}

static struct rt_error *mount_all(struct rt_rootfs *rootfs, bool only_check)
{
	char **paths = NULL;
	struct rt_error *err = find_paths(rootfs, &paths);

	if (err)
		return err;
	for (size_t i = 0; i < rootfs->entry_count && !err; i++) {
		if (!comes_from_host(&rootfs->entries[i]) || !rt_rootfs_is_mapped(&rootfs->entries[i]))
			continue;
		err = mount_one(rootfs, paths, i, only_check);
		if (err)
			err = rt_while(err, "mount '%s'", rootfs->entries[i].destination);
	}
	for (size_t i = 0; i < rootfs->entry_count; i++)
		free(paths[i]);
	free(paths);
	return err;
}

static bool has_mapped(const struct rt_spec *spec)
{
	for (size_t i = 0; i < spec->mount_count; i++)
		if (rt_spec_mount_is_mapped(&spec->mounts[i]))
			return true;
	return false;
}

struct rt_error *rt_rootfs_mount_mapped(const struct rt_rootfs_request *request, bool *ret_root)
{
	_cleanup_(rt_rootfs_freep) struct rt_rootfs *rootfs = NULL;
	struct rt_error *err;

	*ret_root = false;
	if (!has_mapped(request->spec))
		return NULL;
	err = rt_rootfs_plan_paths(request, &rootfs);
	if (!err)
		err = mount_all(rootfs, false);
	if (!err)
		*ret_root = rootfs->root_entry != NULL;
	return err;
}

struct rt_error *rt_rootfs_check_mapped(const struct rt_rootfs_request *request)
{
	_cleanup_(rt_rootfs_freep) struct rt_rootfs *rootfs = NULL;
	struct rt_error *err;

	if (!has_mapped(request->spec))
		return NULL;
	err = rt_rootfs_plan_paths(request, &rootfs);
	/* Moved or removed since it was started: nobody knows yet where it will be restored. */
	return err ? rt_error_free(err) : mount_all(rootfs, true);
}
