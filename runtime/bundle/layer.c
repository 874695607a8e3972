#include "runtime/bundle/layer.h"

#include "runtime/base/digest.h"
#include "runtime/base/fs.h"
#include "runtime/base/interrupt.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define WHITEOUT ".wh."
#define WHITEOUT_META ".wh..wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
/* A bomb is told by both: large, and out of next to nothing. gzip reaches 1,030 on zeroes. */
#define RATIO_FREE ((uint64_t)1 << 30)
#define RATIO_MAX 2000

/* The blob's bytes -> `packed`, a filter without a format -> the tar's bytes -> `tar`. */
struct pipeline {
	struct rt_source *source;
	struct rt_layer_totals *totals;
	struct archive *packed, *tar;
	struct sha256_ctx blob_hash, tar_hash;
	uint64_t blob_size;
	bool compressed;
	bool ended; /* no more bytes of the tar */
	struct rt_error *err; /* of a callback, which libarchive can only be told of */
};

static void pipeline_deinit(struct pipeline *pipeline)
{
	rt_archive_read_freep(&pipeline->tar);
	rt_archive_read_freep(&pipeline->packed);
	rt_error_free(pipeline->err);
}

/* Our own reason goes before libarchive's. */
static struct rt_error *pipeline_fail(struct pipeline *pipeline, struct archive *archive, const char *what)
{
	return pipeline->err ? rt_take_ptr(pipeline->err) : rt_unpack_fail(archive, what);
}

static la_ssize_t read_blob(struct archive *archive, void *userdata, const void **ret)
{
	struct pipeline *pipeline = userdata;
	size_t size = 0;

	if (!pipeline->err)
		pipeline->err = rt_source_next(pipeline->source, ret, &size);
	if (pipeline->err) {
		archive_set_error(archive, EIO, "stopped");
		return -1;
	}
	sha256_update(&pipeline->blob_hash, size, *ret);
	pipeline->blob_size += size;
	pipeline->totals->packed += size;
	return (la_ssize_t)size;
}

static struct rt_error *count_unpacked(struct pipeline *pipeline, size_t size)
{
	struct rt_layer_totals *totals = pipeline->totals;

	totals->unpacked += size;
	if (!totals->any_ratio && totals->unpacked > RATIO_FREE && totals->unpacked / RATIO_MAX > totals->packed)
		return rt_fail(RT_CONFIG, "it unpacks to more than %d times its size: a bomb (--max-size allows it)", RATIO_MAX);
	return rt_interrupt_check();
}

static la_ssize_t read_tar(struct archive *archive, void *userdata, const void **ret)
{
	struct pipeline *pipeline = userdata;
	la_int64_t offset;
	size_t size = 0;
	int result = pipeline->ended ? ARCHIVE_EOF : archive_read_data_block(pipeline->packed, ret, &size, &offset);

	if (result == ARCHIVE_EOF) {
		pipeline->ended = true;
		return 0;
	}
	if (result != ARCHIVE_OK && result != ARCHIVE_WARN && !pipeline->err)
		pipeline->err = rt_unpack_fail(pipeline->packed, "it is damaged");
	if (!pipeline->err)
		pipeline->err = count_unpacked(pipeline, size);
	if (pipeline->err) {
		archive_set_error(archive, EIO, "stopped");
		return -1;
	}
	if (pipeline->compressed)
		sha256_update(&pipeline->tar_hash, size, *ret);
	return (la_ssize_t)size;
}

static struct rt_error *open_packed(struct pipeline *pipeline)
{
	struct archive *packed = pipeline->packed = archive_read_new();
	struct archive_entry *entry;
	int result;

	if (!packed)
		return rt_error_oom();
	if (archive_read_support_format_raw(packed) != ARCHIVE_OK || archive_read_support_format_empty(packed) != ARCHIVE_OK ||
	    archive_read_support_filter_gzip(packed) != ARCHIVE_OK || archive_read_support_filter_zstd(packed) != ARCHIVE_OK ||
	    archive_read_support_filter_xz(packed) != ARCHIVE_OK || archive_read_support_filter_bzip2(packed) != ARCHIVE_OK ||
	    archive_read_open(packed, pipeline, NULL, read_blob, NULL) != ARCHIVE_OK)
		return pipeline_fail(pipeline, packed, "cannot read it");
	result = archive_read_next_header(packed, &entry);
	if (result == ARCHIVE_EOF)
		pipeline->ended = true;
	else if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
		return pipeline_fail(pipeline, packed, "cannot read it");
	/* One filter, and the bytes as they come. More of them, one in the other, is nobody's layer. */
	if (archive_filter_count(packed) > 2)
		return rt_fail(RT_CONFIG, "it is compressed more than once");
	pipeline->compressed = archive_filter_count(packed) == 2;
	return NULL;
}

static struct rt_error *open_tar(struct pipeline *pipeline)
{
	struct archive *tar = pipeline->tar = archive_read_new();

	if (!tar)
		return rt_error_oom();
	if (archive_read_support_format_tar(tar) != ARCHIVE_OK || archive_read_support_format_empty(tar) != ARCHIVE_OK ||
	    archive_read_open(tar, pipeline, NULL, read_tar, NULL) != ARCHIVE_OK)
		return pipeline_fail(pipeline, tar, "cannot read it");
	return NULL;
}

/* ---- whiteouts ---- */

/* What lower layers have in an opaque directory goes, what this one has stays; where both have a directory, further down. */
static struct rt_error *hide_lower(struct rt_unpack *unpack, int dir_fd, const char *path)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct rt_error *err = NULL;
	const struct dirent *entry;
	int own = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = own < 0 ? NULL : fdopendir(own);
	if (!dir)
		return rt_fail_errno("cannot list '%s'", path);
	while (!err && (entry = readdir(dir))) {
		_cleanup_close_ int child = -1;
		_cleanup_free_ char *inner = NULL;

		if (rt_str_equal(entry->d_name, ".") || rt_str_equal(entry->d_name, ".."))
			continue;
		if (!rt_unpack_marked(&unpack->marks, path, entry->d_name)) {
			err = rt_remove_tree_at(dir_fd, entry->d_name);
			continue;
		}
		child = openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0)
			continue;
		err = rt_format(&inner, "%s%s%s", path, *path ? "/" : "", entry->d_name);
		if (!err)
			err = hide_lower(unpack, child, inner);
	}
	return err;
}

static struct rt_error *apply_whiteout(struct rt_unpack *unpack, char *path, const char *base)
{
	const char *hidden = base + strlen(WHITEOUT), *name;
	struct rt_error *err;

	if (rt_str_starts(base, WHITEOUT_META) && !rt_str_equal(base, WHITEOUT_OPAQUE))
		return NULL; /* aufs kept its books under such names */
	if (!*hidden || rt_str_equal(hidden, ".") || rt_str_equal(hidden, ".."))
		return rt_fail(RT_CONFIG, "it is a whiteout of nothing");
	err = rt_unpack_enter(unpack, path, false, &name);
	if (err || !name)
		return err;
	if (rt_str_equal(base, WHITEOUT_OPAQUE))
		return hide_lower(unpack, unpack->parent.fd, unpack->parent.path);
	/* What the layer itself has under that name is not what it takes away, whichever stands first. */
	if (rt_unpack_marked(&unpack->marks, unpack->parent.path, hidden))
		return NULL;
	return rt_remove_tree_at(unpack->parent.fd, hidden);
}

/* ---- entries ---- */

static struct rt_error *apply_entry(struct archive *archive, struct archive_entry *entry, const struct rt_layer *layer,
				    struct rt_unpack *unpack)
{
	const char *given = archive_entry_pathname(entry), *slash, *base;
	char path[PATH_MAX];

	if (!given || !rt_unpack_clean_path(given, RT_PATH_LENIENT, path, sizeof(path)))
		return rt_fail(RT_CONFIG, "it lies outside, or its name is none");
	slash = strrchr(path, '/');
	base = slash ? slash + 1 : path;
	if (layer->path && rt_str_starts(base, WHITEOUT))
		return layer->whiteouts ? apply_whiteout(unpack, path, base) : NULL;
	return rt_unpack_entry(unpack, archive, entry, path);
}

static struct rt_error *apply_entries(struct pipeline *pipeline, const struct rt_layer *layer, struct rt_unpack *unpack)
{
	for (;;) {
		struct archive_entry *entry;
		int result = archive_read_next_header(pipeline->tar, &entry);
		struct rt_error *err;

		if (result == ARCHIVE_EOF)
			return NULL;
		if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
			return pipeline_fail(pipeline, pipeline->tar, "it is damaged");
		if (++pipeline->totals->entries > pipeline->totals->entries_max)
			return rt_fail(RT_CONFIG, "with it there are more than %llu files",
				       (unsigned long long)pipeline->totals->entries_max);
		err = apply_entry(pipeline->tar, entry, layer, unpack);
		if (err && pipeline->err) {
			rt_error_free(err);
			return rt_take_ptr(pipeline->err);
		}
		if (err)
			return rt_while(err, "'%.512s'", archive_entry_pathname(entry) ? archive_entry_pathname(entry) : "");
	}
}

/* ---- the whole ---- */

/* A tar ends before its blob does. */
static struct rt_error *drain(struct pipeline *pipeline)
{
	const void *bytes;
	la_ssize_t size;

	while ((size = read_tar(pipeline->tar, pipeline, &bytes)) > 0)
		;
	if (size < 0)
		return pipeline_fail(pipeline, pipeline->tar, "it is damaged");
	while ((size = read_blob(pipeline->packed, pipeline, &bytes)) > 0)
		;
	return size < 0 ? pipeline_fail(pipeline, pipeline->packed, "cannot read it") : NULL;
}

static struct rt_error *check_digest(struct sha256_ctx *context, const char *expected, const char *what)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	char text[RT_DIGEST_TEXT_ROOM];

	sha256_digest(context, sizeof(digest), digest);
	rt_digest_text(digest, text);
	if (rt_str_equal(text, expected))
		return NULL;
	return rt_fail(RT_CONFIG, "%s is sha256:%s, which is not the digest that the image says", what, text);
}

static struct rt_error *check_digests(struct pipeline *pipeline, const struct rt_layer *layer)
{
	struct sha256_ctx copy = pipeline->blob_hash;
	struct rt_error *err = NULL;

	if (layer->has_size && pipeline->blob_size != layer->size)
		return rt_fail(RT_CONFIG, "it has %llu bytes, where the image says %llu", (unsigned long long)pipeline->blob_size,
			       (unsigned long long)layer->size);
	if (layer->hex)
		err = check_digest(&copy, layer->hex, "it");
	if (!err && layer->diff_hex)
		err = check_digest(pipeline->compressed ? &pipeline->tar_hash : &pipeline->blob_hash, layer->diff_hex,
				   "what is packed in it");
	return err;
}

struct rt_error *rt_layer_apply(struct rt_source *source, const struct rt_layer *layer, struct rt_unpack *unpack,
				struct rt_layer_totals *totals)
{
	_cleanup_(pipeline_deinit) struct pipeline pipeline = { .source = source, .totals = totals };
	struct rt_error *err;
	uint64_t size;

	sha256_init(&pipeline.blob_hash);
	sha256_init(&pipeline.tar_hash);
	unpack->marking = layer->whiteouts;
	rt_unpack_marks_clear(&unpack->marks);
	unpack->parent.marked = false;
	err = rt_source_start(source, layer->path, &size);
	if (!err)
		err = open_packed(&pipeline);
	if (!err)
		err = open_tar(&pipeline);
	if (!err)
		err = apply_entries(&pipeline, layer, unpack);
	if (!err)
		err = drain(&pipeline);
	return err ? err : check_digests(&pipeline, layer);
}
