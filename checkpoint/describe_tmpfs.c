#include "checkpoint/describe_private.h"

#include "checkpoint/manifest.h"
#include "runtime/base/str.h"

#include <string.h>

#define KEY "tmpfs:"

bool rt_mount_is_elsewhere(const Rt__Mount *mount)
{
	return mount->external_key && rt_str_starts(mount->external_key, KEY) && rt_str_equal(mount->type, "tmpfs");
}

static bool is_described(const Rt__Container *container, const char *point)
{
	for (size_t i = 0; i < container->n_mounts; i++)
		if (rt_str_equal(container->mounts[i]->destination, point))
			return true;
	return false;
}

/* Has its root directory and room for nothing else, as that which all masks of a container share: nobody can tell copies of it from one another. */
static bool holds_nothing(const struct rt_mountinfo_entry *mount)
{
	const char *limit = strstr(mount->options, ",nr_inodes=1");
	char behind = limit ? limit[strlen(",nr_inodes=1")] : 'x';

	return behind == '\0' || behind == ',';
}

/* One that is mounted in several places, or covered by another mount, is left to CRIU, which knows how. */
static bool is_alone(const struct rt_mountinfo *mounts, const struct rt_mountinfo_entry *mount)
{
	for (size_t i = 0; i < mounts->count; i++) {
		const struct rt_mountinfo_entry *other = &mounts->entries[i];

		if (other != mount && ((other->device == mount->device && !holds_nothing(mount)) || rt_str_equal(other->point, mount->point)))
			return false;
	}
	return true;
}

/* Those that a new one can be made with. */
static struct rt_error *add_options(Rt__Mount *mount, const char *text)
{
	static const char *const known[] = { "size=", "nr_blocks=", "nr_inodes=", "mode=", "uid=", "gid=", "huge=" };
	_cleanup_free_ char *copy = strdup(text);
	char *rest = copy, *word;
	struct rt_error *err = copy ? NULL : rt_error_oom();

	while (!err && (word = strsep(&rest, ",")))
		for (size_t i = 0; i < RT_ARRAY_SIZE(known) && !err; i++)
			if (rt_str_starts(word, known[i]))
				err = rt_manifest_append_string(&mount->options, &mount->n_options, word);
	return err;
}

static struct rt_error *add(const struct rt_mountinfo_entry *mount, Rt__Container *into)
{
	_cleanup_free_ char *key = NULL;
	Rt__Mount *made;
	struct rt_error *err = rt_format(&key, KEY "%zu", into->n_mounts);

	if (!err)
		err = rt_manifest_append(&into->mounts, &into->n_mounts, &rt__mount__descriptor, &made);
	if (!err)
		err = rt_manifest_set(&made->destination, mount->point);
	if (!err)
		err = rt_manifest_set(&made->type, mount->type);
	if (!err)
		err = rt_manifest_set(&made->external_key, key);
	if (err)
		return err;
	made->is_directory = true;
	return add_options(made, mount->options);
}

struct rt_error *rt_describe_tmpfs(const struct rt_container *container, const struct rt_spec *spec, Rt__Container *into)
{
	_cleanup_(rt_mountinfo_deinit) struct rt_mountinfo mounts = RT_MOUNTINFO_NULL;
	struct rt_error *err;

	/* Made in a user namespace it belongs to that one, and so must the new one. */
	if (spec->namespaces[RT_NS_USER].wanted || !spec->namespaces[RT_NS_MOUNT].wanted || spec->namespaces[RT_NS_MOUNT].path)
		return NULL;
	err = rt_mountinfo_load(container->state.pid, &mounts);
	for (size_t i = 0; i < mounts.count && !err; i++) {
		const struct rt_mountinfo_entry *mount = &mounts.entries[i];

		if (rt_str_equal(mount->type, "tmpfs") && rt_str_equal(mount->root, "/") && !rt_str_equal(mount->point, "/") &&
		    !is_described(into, mount->point) && is_alone(&mounts, mount))
			err = add(mount, into);
	}
	return err;
}
