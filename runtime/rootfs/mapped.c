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

static struct rt_error *mount_all(struct rt_rootfs *rootfs, char **paths)
{
	for (size_t i = 0; i < rootfs->entry_count; i++) {
		struct rt_error *err = comes_from_host(&rootfs->entries[i]) ? rt_real_path(rootfs->entries[i].source, &paths[i]) : NULL;

		/* What is not mapped may be missing: CRIU's errand, not ours. */
		if (err && rt_rootfs_is_mapped(&rootfs->entries[i]))
			return rt_while(err, "mount '%s'", rootfs->entries[i].destination);
		rt_error_free(err);
	}
	for (size_t i = 0; i < rootfs->entry_count; i++) {
		struct rt_error *err;
		bool done;

		if (!comes_from_host(&rootfs->entries[i]) || !rt_rootfs_is_mapped(&rootfs->entries[i]))
			continue;
		forget_attributes(&rootfs->entries[i].options);
		err = check_others(rootfs, paths, i, &done);
		if (!err && !done)
			err = mount_over_source(rootfs, &rootfs->entries[i], paths[i]);
		if (err)
			return rt_while(err, "mount '%s'", rootfs->entries[i].destination);
	}
	return NULL;
}

static bool asks_for_mapping(const struct rt_spec_mount *mount)
{
	for (size_t i = 0; i < mount->option_count; i++)
		if (rt_str_equal(mount->options[i], "idmap") || rt_str_equal(mount->options[i], "ridmap"))
			return true;
	return mount->uid_mappings.count > 0 || mount->gid_mappings.count > 0;
}

struct rt_error *rt_rootfs_mount_mapped(const struct rt_rootfs_request *request, bool *ret_root)
{
	_cleanup_(rt_rootfs_freep) struct rt_rootfs *rootfs = NULL;
	_cleanup_free_ char **paths = NULL;
	struct rt_error *err;
	bool any = false;

	*ret_root = false;
	for (size_t i = 0; i < request->spec->mount_count; i++)
		any = any || asks_for_mapping(&request->spec->mounts[i]);
	if (!any)
		return NULL;
	err = rt_rootfs_plan_paths(request, &rootfs);
	if (err)
		return err;
	paths = calloc(rootfs->entry_count + 1, sizeof(*paths));
	err = paths ? mount_all(rootfs, paths) : rt_error_oom();
	for (size_t i = 0; paths && i < rootfs->entry_count; i++)
		free(paths[i]);
	if (!err)
		*ret_root = rootfs->root_entry != NULL;
	return err;
}
