#include "migrate/clone_fill.h"

#include "checkpoint/archive.h"
#include "checkpoint/images.h"
#include "checkpoint/manifest.h"
#include "migrate/pageset.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"
#include "runtime/sys/mount.h"

#include <fcntl.h>
#include <sys/stat.h>

#define PAGE RT_PAGESET_PAGE
#define PIECE (64u * PAGE)
#define CHANGES_TAR "changes.tar"

struct fill {
	const struct rt_store *store;
	const Rt__Snapshot *snapshot;
	int images_fd;
	bool whole;
	struct rt_pagesets *sets;
	uint8_t buffer[PIECE];
};

static struct rt_error *make_below(int dir_fd, const char *name, int *ret)
{
	if (mkdirat(dir_fd, name, 0700) < 0)
		return rt_fail_errno("cannot make '%s'", name);
	*ret = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret < 0 ? rt_fail_errno("cannot open '%s'", name) : NULL;
}

/* ---- images ---- */

/* The manifest has digests of the small ones, so these must be whole. */
static bool is_split(const Rt__StoredFile *file)
{
	return rt_str_starts(file->name, "pages-") && file->size > RT_MANIFEST_SMALL;
}

static struct rt_error *make_image(const struct fill *fill, const Rt__StoredFile *file)
{
	_cleanup_close_ int fd = openat(fill->images_fd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return rt_fail_errno("cannot create '%s'", file->name);
	if (!is_split(file))
		return rt_store_extract(fill->store, fill->snapshot, file, fd);
	return ftruncate(fd, (off_t)file->size) < 0 ? rt_fail_errno("cannot size '%s'", file->name) : NULL;
}

static const Rt__StoredFile *find_file(const Rt__Snapshot *snapshot, const char *name)
{
	for (size_t i = 0; i < snapshot->n_images; i++)
		if (rt_str_equal(snapshot->images[i]->name, name))
			return snapshot->images[i];
	return NULL;
}

/* ---- memory ---- */

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

static struct rt_error *store_pages(struct rt_pageset *set, uint64_t start, const uint8_t *bytes, uint64_t size)
{
	struct rt_error *err = NULL;

	for (uint64_t at = 0; at < size && !err;) {
		bool zero = is_zero(bytes + at);
		uint64_t end = at + PAGE;

		while (end < size && is_zero(bytes + end) == zero)
			end += PAGE;
		err = zero ? rt_pageset_store_zero(set, start + at, end - at) : rt_pageset_store(set, start + at, bytes + at, end - at);
		at = end;
	}
	return err;
}

/* One address space, or a piece of shared memory: where its pages go. */
struct target {
	struct rt_store_reader reader;
	struct rt_pageset *set; /* NULL: none of them is handed out lazily */
	int fd; /* the image of pages; -1: it is whole already */
	uint64_t offset;
};

static struct rt_error *move_entry(struct fill *fill, struct target *target, const Img__PagemapEntry *entry)
{
	uint64_t size = rt_pagemap_pages(entry) * PAGE;
	bool lazy = target->set && entry->flags & RT_ENTRY_LAZY;
	struct rt_error *err = NULL;

	if (!(entry->flags & RT_ENTRY_PRESENT))
		return NULL;
	for (uint64_t at = 0; at < size && !err;) {
		size_t part = size - at < PIECE ? (size_t)(size - at) : PIECE;

		if (lazy || target->fd >= 0)
			err = rt_store_read(&target->reader, target->offset + at, fill->buffer, part);
		if (!err && lazy)
			err = store_pages(target->set, entry->vaddr + at, fill->buffer, part);
		else if (!err && target->fd >= 0)
			err = rt_write_all_at(target->fd, fill->buffer, part, (off_t)(target->offset + at));
		at += part;
	}
	target->offset += size;
	return err;
}

static struct rt_error *open_target(struct fill *fill, const Img__PagemapHead *head, struct target *target)
{
	const Rt__StoredFile *file;
	char name[64];
	struct rt_error *err;

	snprintf(name, sizeof(name), "pages-%u.img", head->pages_id);
	file = find_file(fill->snapshot, name);
	if (!file)
		return rt_fail(RT_CONFIG, "the snapshot has no image '%s'", name);
	err = rt_store_reader_init(&target->reader, fill->store, fill->snapshot, file);
	if (err || !is_split(file))
		return err;
	target->fd = openat(fill->images_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	return target->fd < 0 ? rt_fail_errno("cannot open '%s'", name) : NULL;
}

static struct rt_error *move_pages(struct fill *fill, struct rt_image *image, struct target *target)
{
	struct rt_error *err = NULL;

	for (bool head = true; !err; head = false) {
		_cleanup_unpacked_ ProtobufCMessage *message = NULL;

		err = rt_image_next(image, &message);
		if (err || !message)
			return err;
		err = head ? open_target(fill, (const Img__PagemapHead *)message, target) : move_entry(fill, target, (const Img__PagemapEntry *)message);
	}
	return err;
}

static struct rt_error *fill_pages(struct fill *fill, const char *name)
{
	_cleanup_image_ struct rt_image *image = NULL;
	struct target target = { .fd = -1 };
	enum rt_image_kind kind;
	struct rt_error *err;
	uint64_t number;

	if (!rt_image_kind_of(name, &kind, &number) || kind != RT_IMAGE_PAGEMAP)
		return NULL;
	err = rt_image_open(fill->images_fd, name, RT_IMAGE_PAGEMAP, &image);
	/* CRIU restores shared memory at once. */
	if (!err && !fill->whole && !rt_str_starts(name, "pagemap-shmem-"))
		err = rt_pagesets_get(fill->sets, number, &target.set);
	if (!err && image)
		err = move_pages(fill, image, &target);
	rt_store_reader_deinit(&target.reader);
	rt_closep(&target.fd);
	return err ? rt_while(err, "image '%s'", name) : NULL;
}

static struct rt_error *fill_images(struct fill *fill)
{
	const Rt__Snapshot *snapshot = fill->snapshot;
	struct rt_error *err;

	err = rt_replace_file_at(fill->images_fd, RT_MANIFEST_NAME, snapshot->manifest.data, snapshot->manifest.len, 0600);
	for (size_t i = 0; i < snapshot->n_images && !err; i++)
		err = make_image(fill, snapshot->images[i]);
	for (size_t i = 0; i < snapshot->n_images && !err; i++)
		err = fill_pages(fill, snapshot->images[i]->name);
	return err;
}

/* ---- the root filesystem ---- */

/* Directories in which something was deleted came with the changes, as they are in the overlay they were taken from. */
static struct rt_error *make_parent(int changes_fd, const char *path, int *ret)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = NULL;
	struct rt_error *err = rt_format(&parent, "/%.*s", slash ? (int)(slash - path) : 0, path);

	return err ? err : rt_make_dirs_in_root(changes_fd, parent, 0755, ret);
}

static struct rt_error *delete_one(int changes_fd, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	_cleanup_close_ int parent_fd = -1;
	struct rt_error *err;
	bool existed;

	if (!*name || rt_str_equal(name, ".") || rt_str_equal(name, ".."))
		return rt_fail(RT_CONFIG, "the list of deleted files names '%.256s'", path);
	err = make_parent(changes_fd, path, &parent_fd);
	/* What overlayfs takes for "not there". */
	return err ? err : rt_sys_make_node(parent_fd, name, S_IFCHR, 0, &existed);
}

static struct rt_error *delete_all(const Rt__Snapshot *snapshot, int changes_fd)
{
	_cleanup_json_ json_t *list = NULL;
	struct rt_error *err;
	size_t index;
	json_t *path;

	err = rt_json_parse((const char *)snapshot->rootfs_deleted.data, snapshot->rootfs_deleted.len, "the list of deleted files", &list);
	if (err)
		return err;
	json_array_foreach(list, index, path)
	{
		if (!json_is_string(path))
			return rt_fail(RT_CONFIG, "the list of deleted files has something else than paths");
		err = delete_one(changes_fd, json_string_value(path) + strspn(json_string_value(path), "/"));
		if (err)
			return err;
	}
	return NULL;
}

/* By a helper program that links libarchive: only the first start comes here, and all the others need not load it. */
static struct rt_error *unpack_changes(const struct rt_store *store, const Rt__Snapshot *snapshot, int dir_fd, const char *path, const char *changes)
{
	_cleanup_close_ int fd = openat(dir_fd, CHANGES_TAR, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	_cleanup_free_ char *tar = NULL;
	struct rt_error *err;

	if (fd < 0)
		return rt_fail_errno("cannot create '%s/" CHANGES_TAR "'", path);
	err = rt_format(&tar, "%s/" CHANGES_TAR, path);
	if (!err)
		err = rt_store_extract(store, snapshot, snapshot->rootfs_changes, fd);
	if (!err)
		err = rt_archive_unpack_changes(tar, changes);
	unlinkat(dir_fd, CHANGES_TAR, 0);
	return err;
}

static struct rt_error *fill_changes(const struct rt_store *store, const Rt__Snapshot *snapshot, int dir_fd, const char *path)
{
	_cleanup_close_ int changes_fd = -1;
	_cleanup_free_ char *changes = NULL;
	struct rt_error *err = rt_format(&changes, "%s/changes", path);

	if (!err)
		err = make_below(dir_fd, "changes", &changes_fd);
	if (!err && fchmod(changes_fd, 0755) < 0)
		err = rt_fail_errno("cannot change the mode of '%s'", changes);
	if (!err && snapshot->rootfs_changes)
		err = unpack_changes(store, snapshot, dir_fd, path, changes);
	if (!err && snapshot->rootfs_deleted.len > 0)
		err = delete_all(snapshot, changes_fd);
	return err;
}

struct rt_error *rt_clone_fill(const struct rt_store *store, const Rt__Snapshot *snapshot, bool whole, int dir_fd, const char *path)
{
	_cleanup_close_ int images_fd = -1, pages_fd = -1;
	_cleanup_free_ struct fill *fill = calloc(1, sizeof(*fill));
	struct rt_error *err;

	if (!fill)
		return rt_error_oom();
	err = make_below(dir_fd, "images", &images_fd);
	if (!err)
		err = make_below(dir_fd, "pages", &pages_fd);
	fill->store = store;
	fill->snapshot = snapshot;
	fill->images_fd = images_fd;
	fill->whole = whole;
	if (!err)
		err = rt_pagesets_new_in(pages_fd, UINT64_MAX, &fill->sets);
	if (!err)
		err = fill_images(fill);
	rt_pagesets_free(fill->sets);
	if (!err && (snapshot->rootfs_changes || snapshot->rootfs_deleted.len > 0))
		err = fill_changes(store, snapshot, dir_fd, path);
	if (!err)
		err = rt_replace_file_at(dir_fd, "store", store->path, strlen(store->path), 0600);
	return err;
}
