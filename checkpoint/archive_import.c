#include "checkpoint/archive_helper.h"

#include "checkpoint/manifest.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define ENTRIES_MAX 1000000
/* A bomb is told by both: large, and out of next to nothing. Memory full of zeroes compresses well too, so the ratio
 * counts only beyond the first gigabyte. zstd reaches some 10,000 on zeroes. */
#define RATIO_FREE ((uint64_t)1 << 30)
#define RATIO_MAX 20000

struct seen {
	char *name; /* in checkpoint/ */
	uint64_t size;
	uint8_t digest[SHA256_DIGEST_SIZE];
};

struct importer {
	const struct rt_archive_import *options;
	struct archive *archive;
	int root_fd; /* the directory */
	int images_fd, parent_fd; /* checkpoint/, pre-checkpoint/; -1 until they come */
	uint64_t limit, written;
	size_t entries;
	struct seen *seen;
	size_t seen_count;
};

static void importer_deinit(struct importer *in)
{
	rt_archive_read_freep(&in->archive);
	rt_closep(&in->root_fd);
	rt_closep(&in->images_fd);
	rt_closep(&in->parent_fd);
	for (size_t i = 0; i < in->seen_count; i++)
		free(in->seen[i].name);
	free(in->seen);
}

/* What an entry is to us, by its name. */
enum place { PLACE_NONE, PLACE_TOP, PLACE_IMAGES, PLACE_PARENT };

static enum place place_of(const char *path, const char **ret_name)
{
	static const char *const top[] = { RT_ARCHIVE_CONFIG,  RT_ARCHIVE_SPEC,	  "network.status", "stats-dump",
					   RT_ARCHIVE_DELETED, RT_ARCHIVE_ROOTFS, "dump.log" };
	static const struct {
		const char *prefix;
		enum place place;
	} directories[] = { { RT_ARCHIVE_IMAGES "/", PLACE_IMAGES }, { RT_ARCHIVE_PARENT_IMAGES "/", PLACE_PARENT } };

	*ret_name = path;
	for (size_t i = 0; i < RT_ARRAY_SIZE(top); i++)
		if (rt_str_equal(path, top[i]))
			return PLACE_TOP;
	for (size_t i = 0; i < RT_ARRAY_SIZE(directories); i++) {
		const char *rest = path + strlen(directories[i].prefix);

		if (rt_str_starts(path, directories[i].prefix) && *rest && !strchr(rest, '/')) {
			*ret_name = rest;
			return directories[i].place;
		}
	}
	return PLACE_NONE;
}

static struct rt_error *directory_of(struct importer *in, enum place place, int *ret)
{
	int *fd = place == PLACE_IMAGES ? &in->images_fd : &in->parent_fd;
	const char *name = place == PLACE_IMAGES ? RT_ARCHIVE_IMAGES : RT_ARCHIVE_PARENT_IMAGES;

	if (place == PLACE_TOP) {
		*ret = in->root_fd;
		return NULL;
	}
	if (*fd < 0) {
		if (mkdirat(in->root_fd, name, 0700) < 0)
			return rt_fail_errno("cannot make the directory '%s'", name);
		*fd = openat(in->root_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (*fd < 0)
			return rt_fail_errno("cannot open the directory '%s'", name);
	}
	*ret = *fd;
	return NULL;
}

static struct rt_error *count_bytes(struct importer *in, uint64_t size)
{
	uint64_t packed = (uint64_t)archive_filter_bytes(in->archive, -1);

	in->written += size;
	if (in->written > in->limit)
		return rt_fail(RT_CONFIG, "it unpacks to more than %llu bytes, the most that is allowed here",
			       (unsigned long long)in->limit);
	if (in->written > RATIO_FREE && in->written / RATIO_MAX > packed)
		return rt_fail(RT_CONFIG, "it unpacks to more than %d times its size: this is no checkpoint",
			       RATIO_MAX);
	return NULL;
}

/* Holes of a sparse entry count as the zeroes they are. */
static void digest_zeroes(struct sha256_ctx *context, uint64_t size)
{
	static const uint8_t zeroes[4096];

	while (size > 0) {
		size_t here = size < sizeof(zeroes) ? (size_t)size : sizeof(zeroes);

		sha256_update(context, here, zeroes);
		size -= here;
	}
}

static struct rt_error *unpack_data(struct importer *in, int fd, uint64_t size, uint8_t digest[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx context;
	uint64_t at = 0;

	sha256_init(&context);
	for (;;) {
		struct rt_error *err;
		const void *bytes;
		la_int64_t offset;
		size_t here;
		int result = archive_read_data_block(in->archive, &bytes, &here, &offset);

		if (result == ARCHIVE_EOF)
			break;
		if (result != ARCHIVE_OK)
			return rt_unpack_fail(in->archive, "the archive is damaged");
		if (offset < 0 || (uint64_t)offset < at || (uint64_t)offset > size || here > size - (uint64_t)offset)
			return rt_fail(RT_CONFIG, "the archive is damaged: a file is longer than it says");
		err = count_bytes(in, (uint64_t)offset - at + here);
		if (!err)
			err = rt_write_all_at(fd, bytes, here, offset);
		if (err)
			return err;
		digest_zeroes(&context, (uint64_t)offset - at);
		sha256_update(&context, here, bytes);
		at = (uint64_t)offset + here;
	}
	if (at < size) {
		struct rt_error *err = count_bytes(in, size - at);

		if (err)
			return err;
		digest_zeroes(&context, size - at);
		if (ftruncate(fd, (off_t)size) < 0)
			return rt_fail_errno("cannot set its size");
	}
	sha256_digest(&context, SHA256_DIGEST_SIZE, digest);
	return NULL;
}

static struct rt_error *remember(struct importer *in, const char *name, uint64_t size,
				 const uint8_t digest[SHA256_DIGEST_SIZE])
{
	struct seen *grown = reallocarray(in->seen, in->seen_count + 1, sizeof(*grown));
	char *copy = strdup(name);

	if (grown)
		in->seen = grown;
	if (!grown || !copy) {
		free(copy);
		return rt_error_oom();
	}
	in->seen[in->seen_count] = (struct seen){ .name = copy, .size = size };
	memcpy(in->seen[in->seen_count].digest, digest, SHA256_DIGEST_SIZE);
	in->seen_count++;
	return NULL;
}

/* What `inspect` has no use for. */
static bool is_bulk(const char *name)
{
	return rt_str_starts(name, "pages-") || rt_str_equal(name, RT_ARCHIVE_ROOTFS) || rt_str_starts(name, "tmpfs-");
}

static struct rt_error *unpack_file(struct importer *in, struct archive_entry *entry, enum place place,
				    const char *name)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	_cleanup_close_ int fd = -1;
	la_int64_t size = archive_entry_size(entry);
	struct rt_error *err;
	int dir_fd;

	if (in->options->metadata_only && is_bulk(name))
		return NULL;
	if (!archive_entry_size_is_set(entry) || size < 0)
		return rt_fail(RT_CONFIG, "it has no size");
	/* Before a byte of it is written. */
	if ((uint64_t)size > in->limit - in->written)
		return count_bytes(in, (uint64_t)size);
	err = directory_of(in, place, &dir_fd);
	if (err)
		return err;
	fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return rt_fail(RT_CONFIG, "it is there twice");
	if (fd < 0)
		return rt_fail_errno("cannot create it");
	err = unpack_data(in, fd, (uint64_t)size, digest);
	if (!err && place == PLACE_IMAGES)
		err = remember(in, name, (uint64_t)size, digest);
	return err;
}

/* podman's pre-checkpoints: the one symlink of the layout, and only with the target it has there. */
static bool is_parent_link(const char *path, struct archive_entry *entry)
{
	const char *target = archive_entry_symlink(entry);

	return rt_str_equal(path, RT_ARCHIVE_IMAGES "/parent") && archive_entry_filetype(entry) == AE_IFLNK && target &&
	       (rt_str_equal(target, "../" RT_ARCHIVE_PARENT_IMAGES) ||
		rt_str_equal(target, "../" RT_ARCHIVE_PARENT_IMAGES "/"));
}

static struct rt_error *unpack_entry(struct importer *in, struct archive_entry *entry)
{
	const char *given = archive_entry_pathname(entry), *name;
	struct rt_error *err;
	char path[PATH_MAX];
	enum place place;
	int dir_fd;

	if (!given || !rt_unpack_clean_path(given, 0, path, sizeof(path)))
		return rt_fail(RT_CONFIG, "'%.256s' lies outside of the archive", given ? given : "");
	place = place_of(path, &name);
	/* Volumes, artifacts and logs of engines are theirs to unpack. */
	if (place == PLACE_NONE)
		return NULL;
	if (is_parent_link(path, entry)) {
		err = directory_of(in, place, &dir_fd);
		if (!err && symlinkat("../" RT_ARCHIVE_PARENT_IMAGES, dir_fd, name) < 0)
			err = rt_fail_errno("cannot make the link to the parent images");
		return err;
	}
	if (archive_entry_hardlink(entry) || archive_entry_filetype(entry) != AE_IFREG)
		return rt_fail(RT_CONFIG, "'%s' is no regular file", path);
	err = unpack_file(in, entry, place, name);
	return err ? rt_while(err, "'%s'", path) : NULL;
}

static struct rt_error *open_archive(struct importer *in)
{
	in->archive = archive_read_new();
	if (!in->archive)
		return rt_error_oom();
	if (archive_read_support_format_tar(in->archive) != ARCHIVE_OK ||
	    archive_read_support_filter_gzip(in->archive) != ARCHIVE_OK ||
	    archive_read_support_filter_zstd(in->archive) != ARCHIVE_OK ||
	    archive_read_open_filename(in->archive, in->options->file, 1 << 20) != ARCHIVE_OK)
		return rt_unpack_fail(in->archive, "cannot read the archive");
	return NULL;
}

static struct rt_error *unpack_all(struct importer *in)
{
	for (;;) {
		struct archive_entry *entry;
		int result = archive_read_next_header(in->archive, &entry);
		struct rt_error *err;

		if (result == ARCHIVE_EOF)
			return NULL;
		if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
			return rt_unpack_fail(in->archive, "the archive is damaged");
		if (++in->entries > ENTRIES_MAX)
			return rt_fail(RT_CONFIG, "the archive has more than %d entries", ENTRIES_MAX);
		err = unpack_entry(in, entry);
		if (err)
			return err;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->name, ((const struct seen *)b)->name);
}

/* The digests were taken as the bytes came in; nothing is read again. */
static struct rt_error *check_digests(struct importer *in)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	struct rt_error *err;

	if (in->images_fd < 0)
		return rt_fail(RT_CONFIG, "the archive holds no checkpoint: '" RT_ARCHIVE_IMAGES "' is missing");
	err = rt_manifest_load(in->images_fd, &manifest);
	/* Archives of engines have none; CRIU's own checks must do for them. */
	if (err || !manifest)
		return err;
	if (in->seen_count > 0)
		qsort(in->seen, in->seen_count, sizeof(*in->seen), by_name);
	for (size_t i = 0; i < manifest->n_files; i++) {
		const Rt__File *file = manifest->files[i];
		const struct seen key = { .name = file->name };
		const struct seen *seen =
			in->seen_count ? bsearch(&key, in->seen, in->seen_count, sizeof(key), by_name) : NULL;

		if (in->options->metadata_only && is_bulk(file->name))
			continue;
		if (!seen)
			return rt_fail(RT_CONFIG, "image '%s' is missing in the archive", file->name);
		if (seen->size != file->size || file->sha256.len == 0 ||
		    memcmp(seen->digest, file->sha256.data, SHA256_DIGEST_SIZE) != 0)
			return rt_fail(RT_CONFIG, "image '%s' is damaged: its digest is not that of the manifest",
				       file->name);
	}
	/* Images that were added. Sizes are right already, so this reads nothing large. */
	return in->options->metadata_only ? NULL : rt_manifest_verify(in->images_fd, manifest, 0);
}

static struct rt_error *apply_changes(struct importer *in)
{
	_cleanup_close_ int tar_fd = -1, deleted_fd = -1;

	if (!in->options->rootfs || in->options->metadata_only)
		return NULL;
	tar_fd = openat(in->root_fd, RT_ARCHIVE_ROOTFS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (tar_fd < 0 && errno != ENOENT)
		return rt_fail_errno("cannot open '" RT_ARCHIVE_ROOTFS "'");
	deleted_fd = openat(in->root_fd, RT_ARCHIVE_DELETED, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (deleted_fd < 0 && errno != ENOENT)
		return rt_fail_errno("cannot open '" RT_ARCHIVE_DELETED "'");
	return rt_archive_apply(in->options->rootfs, tar_fd, deleted_fd);
}

static struct rt_error *set_limit(struct importer *in)
{
	struct statvfs free_space;

	in->limit = in->options->size_limit;
	if (in->limit)
		return NULL;
	if (fstatvfs(in->root_fd, &free_space) < 0)
		return rt_fail_errno("cannot ask how much room there is in '%s'", in->options->directory);
	in->limit = (uint64_t)free_space.f_bavail * free_space.f_frsize;
	return NULL;
}

struct rt_error *rt_archive_do_import(const struct rt_archive_import *options)
{
	_cleanup_(importer_deinit) struct importer in = {
		.options = options, .root_fd = -1, .images_fd = -1, .parent_fd = -1
	};
	struct rt_error *err;

	in.root_fd = open(options->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in.root_fd < 0)
		return rt_fail_errno("cannot open '%s'", options->directory);
	err = set_limit(&in);
	if (!err)
		err = open_archive(&in);
	if (!err)
		err = unpack_all(&in);
	if (!err)
		err = check_digests(&in);
	if (!err)
		err = apply_changes(&in);
	return err;
}
