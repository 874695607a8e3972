#include "migrate/clone_cache.h"

#include "checkpoint/cpu.h"
#include "migrate/clone_fill.h"
#include "migrate/lazy.h"
#include "migrate/scratch.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/lock.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>

#define WHOLE "whole"
#define UNFINISHED ".new" /* behind an id: it is being made, or taken away, or whoever did has died */
#define NAME_ROOM 64

void rt_clone_cache_deinit(struct rt_clone_cache *cache)
{
	rt_closep(&cache->lock_fd);
	rt_closep(&cache->dir_fd);
	rt_snapshot_free(cache->snapshot);
	rt_manifest_free(cache->manifest);
	free(cache->path);
	*cache = RT_CLONE_CACHE_NULL;
}

void rt_clone_cache_settle(struct rt_clone_cache *cache)
{
	rt_closep(&cache->lock_fd);
}

/* ---- can it run here? ---- */

/* "6.1.0-13-amd64" and "6.1.5" are alike: what CRIU relies on changes with the second number. */
static bool same_kernel(const char *a, const char *b)
{
	size_t length = strcspn(a, ".");

	length += a[length] ? 1 + strcspn(a + length + 1, ".-") : 0;
	return strncmp(a, b, length) == 0 && (b[length] < '0' || b[length] > '9');
}

struct rt_error *rt_clone_check_machine(const Rt__Manifest *manifest)
{
	_cleanup_manifest_ Rt__Manifest *self = NULL;
	_cleanup_free_ char *missing = NULL;
	const Rt__Maker *here, *there = manifest->maker;
	struct rt_error *err = rt_manifest_new(0, &self);

	if (err)
		return err;
	if (!there || !manifest->cpu || !manifest->container)
		return rt_fail(RT_CONFIG, "its manifest does not say where it was taken");
	here = self->maker;
	if (!rt_str_equal(there->architecture, here->architecture))
		return rt_fail(RT_CONFIG, "it was taken on %s, this host is %s", there->architecture, here->architecture);
	if (there->page_size != here->page_size)
		return rt_fail(RT_CONFIG, "it was taken with pages of %u bytes, here they have %u", there->page_size, here->page_size);
	if (!same_kernel(there->kernel_release, here->kernel_release))
		return rt_fail(RT_CONFIG, "it was taken on kernel %s, this host runs %s", there->kernel_release, here->kernel_release);
	if (!rt_str_equal(manifest->cpu->vendor, self->cpu->vendor))
		return rt_fail(RT_CONFIG, "it was taken on a processor of %s, this one is of %s", manifest->cpu->vendor, self->cpu->vendor);
	err = rt_cpu_missing(manifest->cpu, self->cpu, &missing);
	if (!err && missing)
		err = rt_fail(RT_CONFIG, "the processor here lacks what that of the snapshot has: %s", missing);
	return err;
}

/* ---- making and finding ---- */

static bool must_be_whole(const Rt__Manifest *manifest)
{
	const Rt__Container *container = manifest->container;

	for (size_t i = 0; i < container->n_namespaces; i++)
		if (container->namespaces[i]->kind == RT__NAMESPACE_KIND__NAMESPACE_USER && container->namespaces[i]->origin != RT__NAMESPACE_ORIGIN__NAMESPACE_HOST)
			return !rt_lazy_is_for_all();
	return false;
}

static struct rt_error *make(const struct rt_store *store, const Rt__Snapshot *snapshot, bool whole, int cache_fd, const char *cache_path)
{
	_cleanup_close_ int store_lock = -1, dir_fd = -1;
	_cleanup_free_ char *path = NULL;
	char name[NAME_ROOM];
	struct rt_error *err;

	snprintf(name, sizeof(name), "%s" UNFINISHED, snapshot->id);
	err = rt_format(&path, "%s/%s", cache_path, name);
	if (!err)
		err = rt_remove_tree_at(cache_fd, name); /* of one who died at it */
	if (err)
		return err;
	if (mkdirat(cache_fd, name, 0700) < 0)
		return rt_fail_errno("cannot make '%s'", path);
	dir_fd = openat(cache_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir_fd < 0)
		return rt_fail_errno("cannot open '%s'", path);
	if (rt_snapshot_is_sealed(snapshot))
		rt_scratch_warn_of_disk(dir_fd, path);
	err = rt_store_lock(store, &store_lock);
	if (!err)
		err = rt_clone_fill(store, snapshot, whole, dir_fd, path);
	if (!err && whole)
		err = rt_replace_file_at(dir_fd, WHOLE, "", 0, 0600);
	if (!err && renameat(cache_fd, name, cache_fd, snapshot->id) < 0)
		err = rt_fail_errno("cannot rename '%s'", path);
	if (err)
		rt_error_free(rt_remove_tree_at(cache_fd, name));
	return err ? rt_while(err, "bringing the snapshot into memory") : NULL;
}

static struct rt_error *find(const struct rt_context *context, const struct rt_store *store, struct rt_clone_cache *cache)
{
	_cleanup_free_ char *cache_path = NULL;
	_cleanup_close_ int cache_fd = -1;
	struct rt_error *err = rt_scratch_open(context, &cache_path, &cache_fd);

	if (!err)
		err = rt_format(&cache->path, "%s/%s", cache_path, cache->snapshot->id);
	if (!err)
		err = rt_lock_at(cache_fd, "lock", &cache->lock_fd);
	if (!err && faccessat(cache_fd, cache->snapshot->id, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		err = make(store, cache->snapshot, must_be_whole(cache->manifest), cache_fd, cache_path);
	if (err)
		return err;
	cache->dir_fd = openat(cache_fd, cache->snapshot->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (cache->dir_fd < 0)
		return rt_fail_errno("cannot open '%s'", cache->path);
	cache->whole = faccessat(cache->dir_fd, WHOLE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	return NULL;
}

struct rt_error *rt_clone_cache_open(const struct rt_context *context, const struct rt_store *store, const char *name, struct rt_clone_cache *ret)
{
	_cleanup_(rt_clone_cache_deinit) struct rt_clone_cache cache = RT_CLONE_CACHE_NULL;
	struct rt_error *err = rt_snapshot_load(store, name, &cache.snapshot);

	if (err)
		return err;
	err = rt_snapshot_check_key(store, cache.snapshot);
	if (!err)
		err = rt_manifest_parse(cache.snapshot->manifest.data, cache.snapshot->manifest.len, &cache.manifest);
	if (!err)
		err = rt_clone_check_machine(cache.manifest);
	if (!err)
		err = find(context, store, &cache);
	if (err)
		return rt_while(err, "snapshot '%s'", name);
	*ret = cache;
	cache = RT_CLONE_CACHE_NULL;
	return NULL;
}

/* ---- taking away ---- */

static int is_id(const struct dirent *entry)
{
	return strlen(entry->d_name) == 32 && strspn(entry->d_name, "0123456789abcdef") == 32;
}

static int is_unfinished(const struct dirent *entry)
{
	return strspn(entry->d_name, "0123456789abcdef") == 32 && rt_str_equal(entry->d_name + 32, UNFINISHED);
}

/* With the lock of all nobody is at work on one. */
static struct rt_error *remove_unfinished(int cache_fd)
{
	struct rt_error *err = NULL;
	struct dirent **entries;
	int count = scandirat(cache_fd, ".", &entries, is_unfinished, alphasort);

	if (count < 0)
		return rt_fail_errno("cannot list what snapshots have in memory");
	for (int i = 0; i < count; i++) {
		if (!err)
			err = rt_remove_tree_at(cache_fd, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return err;
}

/* Under its own name it is whole at all times: who finds it starts from it. */
static struct rt_error *take_away(int cache_fd, const char *id)
{
	char name[NAME_ROOM];

	snprintf(name, sizeof(name), "%.32s" UNFINISHED, id);
	if (renameat(cache_fd, id, cache_fd, name) < 0)
		return rt_fail_errno("cannot rename '%s'", id);
	return rt_remove_tree_at(cache_fd, name);
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static struct rt_error *is_used(const struct rt_context *context, const char *id, bool *ret)
{
	_cleanup_free_ char *path = NULL;
	struct dirent **entries;
	struct rt_error *err = rt_format(&path, "%s/" RT_CLONES, context->root);
	int count = err ? 0 : scandir(path, &entries, is_visible, alphasort);

	*ret = false;
	if (err || (count < 0 && errno == ENOENT))
		return err;
	if (count < 0)
		return rt_fail_errno("cannot list '%s'", path);
	for (int i = 0; i < count; i++) {
		_cleanup_free_ char *file = NULL, *used = NULL;

		if (!err)
			err = rt_format(&file, "%s/%s/snapshot", path, entries[i]->d_name);
		/* What can't be read is being taken away. */
		if (!err && !*ret) {
			rt_error_free(rt_read_file_at(AT_FDCWD, file, 64, &used, NULL));
			*ret = used && rt_str_equal(used, id);
		}
		free(entries[i]);
	}
	free(entries);
	return err;
}

/* Of this store, and not in it any more. */
static struct rt_error *is_gone(const struct rt_store *store, int cache_fd, const char *id, bool *ret)
{
	_cleanup_free_ char *path = NULL, *file = NULL;
	char **names = NULL;
	struct rt_error *err = rt_format(&file, "%s/store", id);

	*ret = false;
	if (!err)
		err = rt_read_file_at(cache_fd, file, 8192, &path, NULL);
	if (err || !rt_str_equal(path, store->path))
		return err;
	err = rt_store_names(store, &names);
	*ret = true;
	for (char **name = names; !err && *name; name++) {
		_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;

		err = rt_snapshot_load(store, *name, &snapshot);
		if (err && err->code == RT_NOT_FOUND)
			err = rt_error_free(err);
		else if (!err && rt_str_equal(snapshot->id, id))
			*ret = false;
	}
	rt_names_free(names);
	return err;
}

struct rt_error *rt_clone_cache_trim(const struct rt_context *context, const struct rt_store *store)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1, lock_fd = -1;
	struct dirent **entries;
	struct rt_error *err = rt_scratch_open(context, &path, &fd);
	int count;

	if (!err)
		err = rt_lock_at(fd, "lock", &lock_fd);
	if (!err)
		err = rt_scratch_trim(fd);
	if (!err)
		err = remove_unfinished(fd);
	if (err)
		return err;
	count = scandirat(fd, ".", &entries, is_id, alphasort);
	if (count < 0)
		return rt_fail_errno("cannot list '%s'", path);
	for (int i = 0; i < count; i++) {
		bool gone = false, used = true;

		if (!err)
			err = is_gone(store, fd, entries[i]->d_name, &gone);
		if (!err && gone)
			err = is_used(context, entries[i]->d_name, &used);
		if (!err && gone && !used)
			err = take_away(fd, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return err;
}
