/* Files to entries of a tar. */
#include "migrate/tree_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"
#include "runtime/bundle/unpack.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define CHUNK ((size_t)256 << 10)
/* More extents than this are not told apart: the map is in memory on both sides. */
#define EXTENTS_MAX 65536

static la_ssize_t pass_on(struct archive *archive, void *data, const void *bytes, size_t size)
{
	struct rt_tree_pack *pack = data;

	if (!pack->err)
		pack->err = pack->write(pack->userdata, bytes, size);
	if (!pack->err)
		return (la_ssize_t)size;
	pack->broken = true;
	archive_set_error(archive, EIO, "the stream is broken");
	return -1;
}

static struct rt_error *fail(struct rt_tree_pack *pack)
{
	return pack->err ? rt_take_ptr(pack->err) : rt_unpack_fail(pack->archive, "cannot pack it");
}

struct rt_error *rt_tree_pack_begin(struct rt_tree_pack *pack)
{
	pack->archive = archive_write_new();
	pack->chunk = malloc(CHUNK);
	pack->names = malloc(RT_TREE_XATTR_MAX);
	pack->value = malloc(RT_TREE_XATTR_MAX);
	if (!pack->archive || !pack->chunk || !pack->names || !pack->value)
		return rt_error_oom();
	/* Names are bytes, of no character set. Of the two ways there are to write extended attributes, only this one gives every name back as it was. */
	if (archive_write_set_format_pax(pack->archive) != ARCHIVE_OK ||
	    archive_write_set_options(pack->archive, "pax:hdrcharset=BINARY,pax:xattrheader=LIBARCHIVE") != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(pack->archive, CHUNK) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(pack->archive, 1) != ARCHIVE_OK ||
	    archive_write_open(pack->archive, pack, NULL, pass_on, NULL) != ARCHIVE_OK)
		return fail(pack);
	return NULL;
}

void rt_tree_pack_deinit(struct rt_tree_pack *pack)
{
	if (pack->archive) {
		/* Else it would write its end. */
		archive_write_fail(pack->archive);
		archive_write_free(pack->archive);
	}
	rt_archive_zeroes_deinit(&pack->zeroes);
	rt_error_free(pack->err);
	free(pack->chunk);
	free(pack->names);
	free(pack->value);
}

/* ---- attributes ---- */

static bool is_sent(const struct rt_tree_pack *pack, const char *name)
{
	/* Labels of this host's LSM mean nothing elsewhere; nor what an overlay notes of its lower layers' inodes. */
	if (rt_str_starts(name, "trusted.overlay."))
		return (pack->flags & RT_TREE_UPPER) && !rt_str_equal(name, "trusted.overlay.origin") && !rt_str_equal(name, "trusted.overlay.uuid") &&
		       !rt_str_equal(name, "trusted.overlay.impure") && !rt_str_equal(name, "trusted.overlay.nlink");
	return rt_str_starts(name, "user.") || rt_str_starts(name, "trusted.") || rt_str_equal(name, RT_XATTR_CAPS) ||
	       rt_str_equal(name, RT_XATTR_ACL_ACCESS) || rt_str_equal(name, RT_XATTR_ACL_DEFAULT);
}

/* What isn't open is reached through its directory's descriptor: there is no call for that. */
static void path_of(const struct rt_tree_item *item, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", rt_fd_path(item->dir_fd).text, item->name);
}

static struct rt_error *add_xattrs(struct rt_tree_pack *pack, struct archive_entry *entry, const struct rt_tree_item *item)
{
	char path[PATH_MAX];
	ssize_t size;

	path_of(item, path);
	size = item->fd >= 0 ? flistxattr(item->fd, pack->names, RT_TREE_XATTR_MAX) : llistxattr(path, pack->names, RT_TREE_XATTR_MAX);
	/* ENOENT: about to be found out again. */
	if (size < 0)
		return errno == ENOTSUP || errno == ENOENT ? NULL : rt_fail_errno("cannot list its extended attributes");
	for (const char *name = pack->names; name < pack->names + size; name += strlen(name) + 1) {
		ssize_t length;

		if (!is_sent(pack, name))
			continue;
		length = item->fd >= 0 ? fgetxattr(item->fd, name, pack->value, RT_TREE_XATTR_MAX) : lgetxattr(path, name, pack->value, RT_TREE_XATTR_MAX);
		if (length >= 0)
			archive_entry_xattr_add_entry(entry, name, pack->value, (size_t)length);
		else if (errno != ENODATA && errno != ENOENT)
			return rt_fail_errno("cannot read its extended attribute '%.64s'", name);
	}
	return NULL;
}

static struct rt_error *new_entry(struct rt_tree_pack *pack, const struct rt_tree_item *item, struct archive_entry **ret)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = archive_entry_new();
	const struct statx *st = item->st;
	struct rt_error *err;

	if (!entry)
		return rt_error_oom();
	archive_entry_copy_pathname(entry, *item->path ? item->path : ".");
	archive_entry_set_mode(entry, st->stx_mode);
	archive_entry_set_uid(entry, st->stx_uid);
	archive_entry_set_gid(entry, st->stx_gid);
	archive_entry_set_mtime(entry, st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec);
	archive_entry_set_size(entry, 0);
	err = add_xattrs(pack, entry, item);
	if (!err)
		*ret = rt_take_ptr(entry);
	return err;
}

static struct rt_error *put(struct rt_tree_pack *pack, struct archive_entry *entry)
{
	pack->totals.files++;
	return archive_write_header(pack->archive, entry) == ARCHIVE_OK ? NULL : fail(pack);
}

/* ---- entries without content ---- */

struct rt_error *rt_tree_pack_node(struct rt_tree_pack *pack, const struct rt_tree_item *item, bool *ret_gone)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = NULL;
	const struct statx *st = item->st;
	char target[PATH_MAX];
	struct rt_error *err = new_entry(pack, item, &entry);

	*ret_gone = false;
	if (err)
		return err;
	if (S_ISLNK(st->stx_mode)) {
		ssize_t length = readlinkat(item->dir_fd, item->name, target, sizeof(target) - 1);

		if (length < 0 && (errno == ENOENT || errno == EINVAL)) {
			*ret_gone = true;
			return NULL;
		}
		if (length < 0)
			return rt_fail_errno("cannot read the link");
		target[length] = '\0';
		archive_entry_copy_symlink(entry, target);
	}
	if (S_ISCHR(st->stx_mode) || S_ISBLK(st->stx_mode))
		archive_entry_set_rdev(entry, makedev(st->stx_rdev_major, st->stx_rdev_minor));
	return put(pack, entry);
}

static struct rt_error *put_marked(struct rt_tree_pack *pack, struct archive_entry *entry, const char *mark, const char *value)
{
	archive_entry_xattr_add_entry(entry, mark, value, strlen(value));
	return put(pack, entry);
}

struct rt_error *rt_tree_pack_metadata(struct rt_tree_pack *pack, const struct rt_tree_item *item)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = NULL;
	struct rt_error *err = new_entry(pack, item, &entry);

	return err ? err : put_marked(pack, entry, RT_TREE_METADATA, "1");
}

struct rt_error *rt_tree_pack_link(struct rt_tree_pack *pack, const struct rt_tree_item *item, const char *target)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return rt_error_oom();
	archive_entry_copy_pathname(entry, item->path);
	archive_entry_set_mode(entry, item->st->stx_mode);
	archive_entry_copy_hardlink(entry, target);
	archive_entry_set_size(entry, 0);
	return put(pack, entry);
}

static struct rt_error *put_record(struct rt_tree_pack *pack, const char *path, const char *mark, const char *value)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return rt_error_oom();
	archive_entry_copy_pathname(entry, path);
	archive_entry_set_mode(entry, S_IFREG | 0600);
	archive_entry_set_size(entry, 0);
	return put_marked(pack, entry, mark, value);
}

struct rt_error *rt_tree_pack_removal(struct rt_tree_pack *pack, const char *path)
{
	struct rt_error *err = put_record(pack, path, RT_TREE_REMOVED, "1");

	pack->totals.files--;
	pack->totals.removed++;
	return err;
}

struct rt_error *rt_tree_pack_end(struct rt_tree_pack *pack)
{
	char counts[96];
	struct rt_error *err;

	snprintf(counts, sizeof(counts), "%llu %llu %llu", (unsigned long long)pack->totals.files, (unsigned long long)pack->totals.bytes,
		 (unsigned long long)pack->totals.removed);
	err = put_record(pack, ".", RT_TREE_END, counts);
	pack->totals.files--;
	if (!err && archive_write_close(pack->archive) != ARCHIVE_OK)
		err = fail(pack);
	return err;
}

/* ---- content ---- */

static struct rt_error *write_bytes(struct rt_tree_pack *pack, const uint8_t *bytes, size_t size)
{
	return rt_archive_write(pack->archive, bytes, size) ? NULL : fail(pack);
}

static struct rt_error *write_zeroes(struct rt_tree_pack *pack, uint64_t size)
{
	return rt_archive_write_zeroes(pack->archive, &pack->zeroes, size) ? NULL : fail(pack);
}

static struct rt_error *write_extent(struct rt_tree_pack *pack, int fd, struct rt_tree_extent extent, bool *ret_short)
{
	pack->totals.bytes += extent.size;
	while (extent.size > 0) {
		size_t want = extent.size < CHUNK ? (size_t)extent.size : CHUNK;
		ssize_t got = pread(fd, pack->chunk, want, (off_t)extent.offset);
		struct rt_error *err;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return rt_fail_errno("cannot read it");
		if (got == 0) {
			*ret_short = true;
			rt_tree_summing_add(&pack->summing, NULL, extent.size);
			return write_zeroes(pack, extent.size);
		}
		rt_tree_summing_add(&pack->summing, pack->chunk, (uint64_t)got);
		err = write_bytes(pack, pack->chunk, (size_t)got);
		if (err)
			return err;
		extent.offset += (uint64_t)got;
		extent.size -= (uint64_t)got;
	}
	return NULL;
}

/* Where there is data. One extent of everything where the file has no holes, or its file system can't tell. */
static struct rt_error *find_extents(int fd, const struct statx *st, struct rt_tree_extent **ret, size_t *ret_count)
{
	_cleanup_free_ struct rt_tree_extent *extents = NULL;
	bool sparse = st->stx_blocks * 512 < st->stx_size;
	uint64_t at = 0;
	size_t count = 0, room = 0;

	while (at < st->stx_size) {
		off_t data = sparse ? lseek(fd, (off_t)at, SEEK_DATA) : (off_t)at, end = (off_t)st->stx_size;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			data = (off_t)at;
		else if (sparse && count < EXTENTS_MAX - 1)
			end = lseek(fd, data, SEEK_HOLE);
		if (end < 0 || (uint64_t)end > st->stx_size)
			end = (off_t)st->stx_size;
		if (data >= end)
			break;
		if (count == room) {
			struct rt_tree_extent *more = reallocarray(extents, room = room ? room * 2 : 4, sizeof(*extents));

			if (!more)
				return rt_error_oom();
			extents = more;
		}
		extents[count++] = (struct rt_tree_extent){ (uint64_t)data, (uint64_t)(end - data) };
		at = (uint64_t)end;
	}
	*ret = rt_take_ptr(extents);
	*ret_count = count;
	return NULL;
}

/* The map, when there is more to say than "all of it". */
static void set_extents(struct archive_entry *entry, uint64_t size, const struct rt_tree_extent *extents, size_t count)
{
	archive_entry_set_size(entry, (la_int64_t)size);
	if (size == 0 || (count == 1 && extents[0].size == size))
		return;
	for (size_t i = 0; i < count; i++)
		archive_entry_sparse_add_entry(entry, (la_int64_t)extents[i].offset, (la_int64_t)extents[i].size);
	if (count == 0)
		archive_entry_sparse_add_entry(entry, 0, 0);
}

enum content {
	WHOLE,
	PARTS, /* what lies between is as the other side has it */
};

static struct rt_error *put_content(struct rt_tree_pack *pack, struct archive_entry *entry, const struct rt_tree_item *item, enum content content,
				    const struct rt_tree_extent *extents, size_t count, bool *ret_short)
{
	uint64_t at = 0;
	struct rt_error *err;

	*ret_short = false;
	set_extents(entry, item->st->stx_size, extents, count);
	err = put(pack, entry);
	for (size_t i = 0; !err && i < count; i++) {
		if (content == WHOLE)
			rt_tree_summing_add(&pack->summing, NULL, extents[i].offset - at);
		else
			pack->summing.at = extents[i].offset;
		err = write_zeroes(pack, extents[i].offset - at);
		if (!err)
			err = write_extent(pack, item->fd, extents[i], ret_short);
		at = extents[i].offset + extents[i].size;
	}
	if (content == WHOLE)
		rt_tree_summing_add(&pack->summing, NULL, item->st->stx_size - at);
	return err ? err : write_zeroes(pack, item->st->stx_size - at);
}

/* Hands over what was summed up. */
static void end_summing(struct rt_tree_pack *pack, struct rt_tree_sums *ret)
{
	*ret = pack->summing.sums;
	pack->summing.sums = (struct rt_tree_sums){ 0 };
	rt_tree_summing_deinit(&pack->summing);
}

struct rt_error *rt_tree_pack_file(struct rt_tree_pack *pack, const struct rt_tree_item *item, struct rt_tree_sums *ret_sums, bool *ret_short)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = NULL;
	_cleanup_free_ struct rt_tree_extent *extents = NULL;
	size_t count = 0;
	struct rt_error *err = new_entry(pack, item, &entry);

	if (!err)
		err = find_extents(item->fd, item->st, &extents, &count);
	if (err)
		return err;
	err = rt_tree_summing_begin(&pack->summing, item->st->stx_size);
	if (!err)
		err = put_content(pack, entry, item, WHOLE, extents, count, ret_short);
	end_summing(pack, ret_sums);
	return err;
}

/* They are read once more than to be compared, and may have changed meanwhile: the sums are of what was sent. */
struct rt_error *rt_tree_pack_patch(struct rt_tree_pack *pack, const struct rt_tree_item *item, const struct rt_tree_extent *extents, size_t count,
				    struct rt_tree_sums *sums, bool *ret_short)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = NULL;
	struct rt_error *err = new_entry(pack, item, &entry);

	if (err)
		return err;
	archive_entry_xattr_add_entry(entry, RT_TREE_PATCH, "1", 1);
	err = rt_tree_summing_begin(&pack->summing, item->st->stx_size);
	rt_tree_sums_clear(&pack->summing.sums);
	pack->summing.sums = *sums;
	*sums = (struct rt_tree_sums){ 0 };
	if (!err)
		err = put_content(pack, entry, item, PARTS, extents, count, ret_short);
	end_summing(pack, sums);
	return err;
}
