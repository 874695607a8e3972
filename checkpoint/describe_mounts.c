#include "checkpoint/describe_private.h"

#include "checkpoint/manifest.h"
#include "runtime/base/fs.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>

struct search {
	const struct rt_container *container;
	const struct rt_spec *spec;
	const struct rt_mountinfo *theirs;
	struct rt_mountinfo ours;
	const struct rt_mountinfo_entry *root;
	int root_fd; /* of the container */
	char **destinations; /* of spec->mounts, symlinks resolved; NULL where it is not there */
};

static void search_deinit(struct search *search)
{
	for (size_t i = 0; search->destinations && i < search->spec->mount_count; i++)
		free(search->destinations[i]);
	free(search->destinations);
	rt_mountinfo_deinit(&search->ours);
	rt_closep(&search->root_fd);
}

/* The kernel's own name for what a path leads to, as the container sees it. */
static struct rt_error *resolve(int root_fd, const char *path, char **ret)
{
	_cleanup_close_ int fd = -1;
	char name[PATH_MAX];
	ssize_t length;
	struct rt_error *err = rt_open_in_root(root_fd, path, O_PATH, 0, &fd);

	*ret = NULL;
	/* Covered or removed since: then it is no mount of the container's any more. */
	if (err && (err->errnum == ENOENT || err->errnum == ENOTDIR)) {
		rt_error_free(err);
		return NULL;
	}
	if (err)
		return err;
	length = readlink(rt_fd_path(fd).text, name, sizeof(name) - 1);
	if (length < 0)
		return rt_fail_errno("cannot name '%s' of the container", path);
	name[length] = '\0';
	*ret = strdup(name);
	return *ret ? NULL : rt_error_oom();
}

static struct rt_error *search_init(struct search *search)
{
	struct rt_error *err;
	char path[32];

	search->root = rt_mountinfo_by_point(search->theirs, "/");
	if (!search->root)
		return rt_fail(RT_SYSTEM, "the container has no root mount");
	snprintf(path, sizeof(path), "/proc/%d/root", search->container->state.pid);
	search->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (search->root_fd < 0)
		return rt_fail_errno("cannot open '%s'", path);
	search->destinations = calloc(search->spec->mount_count + 1, sizeof(char *));
	if (!search->destinations)
		return rt_error_oom();
	err = rt_mountinfo_load(0, &search->ours);
	for (size_t i = 0; i < search->spec->mount_count && !err; i++)
		err = resolve(search->root_fd, search->spec->mounts[i].destination, &search->destinations[i]);
	return err;
}

static const struct rt_spec_mount *bind_of(const struct search *search, const char *point)
{
	for (size_t i = search->spec->mount_count; i > 0; i--)
		if (search->destinations[i - 1] && rt_str_equal(search->destinations[i - 1], point))
			return rt_spec_mount_is_bind(&search->spec->mounts[i - 1]) ? &search->spec->mounts[i - 1] : NULL;
	return NULL;
}

static bool is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	if (rt_str_equal(directory, "/"))
		return true;
	return strncmp(path, directory, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

/* CRIU mounts these afresh, whoever else on the host has the same one. */
static bool is_kernel_file_system(const char *type)
{
	static const char *const types[] = { "proc", "sysfs", "mqueue", "devpts" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(types); i++)
		if (rt_str_equal(type, types[i]))
			return true;
	return false;
}

/* A file system that the host has mounted too is not the container's own; but for what lies below its root directory, of which
 * CRIU can bind a part again. A cgroup mount shows another part of the tree when the container gets another cgroup. */
static bool is_external(const struct search *search, const struct rt_mountinfo_entry *mount)
{
	if (bind_of(search, mount->point) || rt_str_starts(mount->type, "cgroup"))
		return true;
	if (is_kernel_file_system(mount->type) || !rt_mountinfo_has_device(&search->ours, mount->device))
		return false;
	return mount->device != search->root->device || !is_below(mount->root, search->root->root);
}

static const Rt__Mount *find_mount(const Rt__Container *container, const char *destination)
{
	for (size_t i = container->n_mounts; i > 0; i--)
		if (rt_str_equal(container->mounts[i - 1]->destination, destination))
			return container->mounts[i - 1];
	return NULL;
}

/* Where the same thing is on the host: what the spec says, a device node, or a place below an rbind. Empty where nobody can tell:
 * cgroups, which the restore finds by itself. */
static struct rt_error *find_source(const struct search *search, const Rt__Container *container,
				    const struct rt_mountinfo_entry *mount, char **ret)
{
	const struct rt_spec_mount *bind = bind_of(search, mount->point);
	const struct rt_mountinfo_entry *parent = rt_mountinfo_by_id(search->theirs, mount->parent);
	const Rt__Mount *above = parent ? find_mount(container, parent->point) : NULL;

	if (bind && bind->source && *bind->source == '/')
		return rt_format(ret, "%s", bind->source);
	if (bind && bind->source)
		return rt_format(ret, "%s/%s", search->container->state.bundle, bind->source);
	if (rt_str_equal(mount->type, "devtmpfs"))
		return rt_format(ret, "/dev%s", mount->root);
	if (above && above->external_key && *above->external_key)
		return rt_format(ret, "%s%s", above->source, mount->point + strlen(parent->point));
	return rt_format(ret, "%s", "");
}

static struct rt_error *add_mount(const struct search *search, const struct rt_mountinfo_entry *mount, Rt__Container *into)
{
	_cleanup_free_ char *source = NULL;
	_cleanup_close_ int fd = -1;
	Rt__Mount *made;
	struct stat st;
	struct rt_error *err;

	err = find_source(search, into, mount, &source);
	if (!err)
		err = rt_manifest_append(&into->mounts, &into->n_mounts, &rt__mount__descriptor, &made);
	if (!err)
		err = rt_manifest_set(&made->destination, mount->point);
	if (!err)
		err = rt_manifest_set(&made->source, source);
	if (!err)
		err = rt_manifest_set(&made->type, mount->type);
	if (err)
		return err;
	/* By the names that runc gives them: all masks are one. */
	made->masked = rt_str_equal(mount->type, "devtmpfs") && rt_str_equal(mount->root, "/null");
	err = rt_manifest_set(&made->external_key, made->masked ? "/dev/null" : mount->point);
	if (err)
		return err;
	err = rt_open_in_root(search->root_fd, mount->point, O_PATH | O_NOFOLLOW, 0, &fd);
	if (err)
		return err;
	made->is_directory = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
	return NULL;
}

struct rt_error *rt_describe_mounts(const struct rt_container *container, const struct rt_spec *spec,
				    const struct rt_mountinfo *theirs, Rt__Container *into)
{
	_cleanup_(search_deinit) struct search search = {
		.container = container, .spec = spec, .theirs = theirs, .root_fd = -1,
	};
	struct rt_error *err = search_init(&search);

	for (size_t i = 0; i < theirs->count && !err; i++)
		if (&theirs->entries[i] != search.root && is_external(&search, &theirs->entries[i]))
			err = add_mount(&search, &theirs->entries[i], into);
	return err;
}
