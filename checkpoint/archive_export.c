#include "checkpoint/archive_helper.h"

#include "checkpoint/manifest.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <nettle/sha2.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define CHUNK ((size_t)1 << 20)

struct exporter {
	struct archive *archive;
	uint8_t *chunk;
	time_t now;
};

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && rt_str_equal(text + length - tail, end);
}

static struct rt_error *choose_filter(struct archive *archive, const struct rt_archive_export *options)
{
	enum rt_archive_compression compression = options->compression;
	int result = ARCHIVE_OK;

	if (compression == RT_ARCHIVE_BY_NAME) {
		compression = RT_ARCHIVE_NONE;
		if (ends_with(options->file, ".gz") || ends_with(options->file, ".tgz"))
			compression = RT_ARCHIVE_GZIP;
		else if (ends_with(options->file, ".zst"))
			compression = RT_ARCHIVE_ZSTD;
	}
	/* The quickest levels: memory is large, and the container's owner waits. */
	if (compression == RT_ARCHIVE_GZIP) {
		result = archive_write_add_filter_gzip(archive);
		if (result == ARCHIVE_OK)
			result = archive_write_set_filter_option(archive, "gzip", "compression-level", "1");
	} else if (compression == RT_ARCHIVE_ZSTD) {
		result = archive_write_add_filter_zstd(archive);
		if (result == ARCHIVE_OK)
			result = archive_write_set_filter_option(archive, "zstd", "compression-level", "1");
	}
	/* A warning (ARCHIVE_WARN) would mean that libarchive runs an external program instead. */
	return result == ARCHIVE_OK ? NULL : rt_unpack_fail(archive, "cannot set up the compression");
}

static struct rt_error *put_header(struct exporter *to, const char *name, mode_t type, mode_t mode, uint64_t size)
{
	_cleanup_(rt_archive_entry_freep) struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return rt_error_oom();
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, mode);
	archive_entry_set_size(entry, (la_int64_t)size);
	archive_entry_set_mtime(entry, to->now, 0);
	if (archive_write_header(to->archive, entry) != ARCHIVE_OK)
		return rt_unpack_fail(to->archive, "cannot write to the archive");
	return NULL;
}

static struct rt_error *put_data(struct exporter *to, const void *bytes, size_t size)
{
	while (size > 0) {
		la_ssize_t written = archive_write_data(to->archive, bytes, size);

		if (written <= 0)
			return rt_unpack_fail(to->archive, "cannot write to the archive");
		bytes = (const char *)bytes + written;
		size -= (size_t)written;
	}
	return NULL;
}

static struct rt_error *put_bytes(struct exporter *to, const char *name, const void *bytes, size_t size)
{
	struct rt_error *err = put_header(to, name, AE_IFREG, 0600, size);

	return err ? err : put_data(to, bytes, size);
}

/* Exactly `size` bytes of a descriptor; *digest, where it is wanted, is taken on the way. */
static struct rt_error *put_descriptor(struct exporter *to, const char *name, int fd, uint64_t size,
				       uint8_t digest[SHA256_DIGEST_SIZE])
{
	struct rt_error *err = put_header(to, name, AE_IFREG, 0600, size);
	struct sha256_ctx context;

	sha256_init(&context);
	while (!err && size > 0) {
		size_t want = size < CHUNK ? (size_t)size : CHUNK;

		err = rt_read_exact(fd, to->chunk, want);
		if (err)
			return rt_while(err, "reading '%s'", name);
		if (digest)
			sha256_update(&context, want, to->chunk);
		err = put_data(to, to->chunk, want);
		size -= want;
	}
	if (!err && digest)
		sha256_digest(&context, SHA256_DIGEST_SIZE, digest);
	return err;
}

static struct rt_error *open_regular(int dir_fd, const char *name, int *ret, uint64_t *ret_size)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return rt_fail_errno("cannot open '%s'", name);
	if (!S_ISREG(st.st_mode))
		return rt_fail(RT_CONFIG, "'%s' is no regular file", name);
	*ret = rt_take_fd(fd);
	*ret_size = (uint64_t)st.st_size;
	return NULL;
}

/* Logs and statistics: there or not. */
static struct rt_error *put_optional(struct exporter *to, int dir_fd, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	uint64_t size;

	if (faccessat(dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return NULL;
	err = open_regular(dir_fd, name, &fd, &size);
	return err ? err : put_descriptor(to, name, fd, size, NULL);
}

static const char *annotation(const json_t *config, const char *const keys[])
{
	const json_t *annotations = json_object_get(config, "annotations");

	for (; *keys; keys++) {
		const char *value = json_string_value(json_object_get(annotations, *keys));

		if (value && *value)
			return value;
	}
	return NULL;
}

/* Who imports the archive lays the changes over the image again. A runtime knows the image only from what engines, or
 * people, noted in annotations. podman wants the id along with the name: 64 hex digits, where CRI-O may have a digest. */
static struct rt_error *name_image(json_t *dump, const json_t *config)
{
	static const char *const names[] = { "io.kubernetes.cri-o.ImageName", "io.kubernetes.cri.image-name",
					     "org.opencontainers.image.ref.name", NULL };
	static const char *const ids[] = { "io.kubernetes.cri-o.ImageRef", NULL };
	const char *name = annotation(config, names), *id = annotation(config, ids);

	if (id && rt_str_starts(id, "sha256:"))
		id += strlen("sha256:");
	if (id && strspn(id, "0123456789abcdef") == 64 && !id[64] &&
	    json_object_set_new(dump, "rootfsImageID", json_string(id)) < 0)
		return rt_error_oom();
	return json_object_set_new(dump, "rootfsImageName", json_string(name ? name : "")) < 0 ? rt_error_oom() : NULL;
}

/* The field names are podman's; its stop signal and timeout (s) are those it gives to a container by default. */
static struct rt_error *put_config(struct exporter *to, const Rt__Manifest *manifest)
{
	const Rt__Container *container = manifest->container;
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *dump = NULL, *config = NULL;
	struct rt_error *err;

	config = json_loadb((const char *)container->config.data, container->config.len, 0, NULL);
	dump = json_pack("{s:s,s:s,s:s,s:s,s:s,s:i,s:i}", "id", container->id, "name", container->id, "runtime", "rt",
			 "createdTime", container->created, "checkpointedTime", manifest->created, "stopSignal",
			 SIGTERM, "stopTimeout", 10);
	if (!config || !dump)
		return rt_fail(RT_CONFIG, "the manifest names the container in no readable way");
	err = name_image(dump, config);
	if (err)
		return err;
	text = json_dumps(dump, JSON_INDENT(2));
	if (!text)
		return rt_error_oom();
	err = put_bytes(to, RT_ARCHIVE_CONFIG, text, strlen(text));
	if (!err)
		err = put_bytes(to, RT_ARCHIVE_SPEC, container->config.data, container->config.len);
	return err;
}

static struct rt_error *put_image(struct exporter *to, int dir_fd, Rt__File *file)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	_cleanup_close_ int fd = -1;
	char name[sizeof(RT_ARCHIVE_IMAGES) + 1 + NAME_MAX];
	struct rt_error *err;
	uint64_t size;

	snprintf(name, sizeof(name), RT_ARCHIVE_IMAGES "/%s", file->name);
	err = open_regular(dir_fd, file->name, &fd, &size);
	if (!err && size != file->size)
		err = rt_fail(RT_CONFIG, "image '%s' has changed since the checkpoint was made", file->name);
	if (!err)
		err = put_descriptor(to, name, fd, size, digest);
	if (err)
		return err;
	if (file->sha256.len == 0)
		return rt_manifest_set_bytes(&file->sha256, digest, sizeof(digest));
	if (memcmp(file->sha256.data, digest, sizeof(digest)) != 0)
		return rt_fail(RT_CONFIG, "image '%s' is damaged: its digest is not that of the manifest", file->name);
	return NULL;
}

/* The manifest comes last: it has digests of bytes that pass only now. */
static struct rt_error *put_images(struct exporter *to, int dir_fd, Rt__Manifest *manifest)
{
	struct rt_error *err = put_header(to, RT_ARCHIVE_IMAGES "/", AE_IFDIR, 0700, 0);
	_cleanup_close_ int fd = -1;
	uint64_t size;

	for (size_t i = 0; !err && i < manifest->n_files; i++)
		err = put_image(to, dir_fd, manifest->files[i]);
	if (!err)
		err = rt_manifest_store(dir_fd, manifest);
	if (!err)
		err = open_regular(dir_fd, RT_MANIFEST_NAME, &fd, &size);
	if (!err)
		err = put_descriptor(to, RT_ARCHIVE_IMAGES "/" RT_MANIFEST_NAME, fd, size, NULL);
	return err;
}

static void changes_deinit(struct rt_rootfs_changes *changes)
{
	rt_closep(&changes->tar_fd);
	free(changes->deleted);
}

static struct rt_error *put_rootfs(struct exporter *to, const struct rt_archive_export *options, const char *spool_dir)
{
	_cleanup_(changes_deinit) struct rt_rootfs_changes changes = { .tar_fd = -1 };
	struct rt_error *err;
	struct stat st;
	bool found;

	if (!options->rootfs)
		return NULL;
	err = rt_archive_rootfs_changes(options->rootfs, options->upper, spool_dir, &changes, &found);
	if (err)
		return rt_while(err, "collecting the changes of '%s'", options->rootfs);
	if (changes.deleted)
		err = put_bytes(to, RT_ARCHIVE_DELETED, changes.deleted, strlen(changes.deleted));
	if (err || changes.tar_fd < 0)
		return err;
	if (fstat(changes.tar_fd, &st) < 0)
		return rt_fail_errno("cannot look at the changes of '%s'", options->rootfs);
	return put_descriptor(to, RT_ARCHIVE_ROOTFS, changes.tar_fd, (uint64_t)st.st_size, NULL);
}

static struct rt_error *put_all(struct exporter *to, const struct rt_archive_export *options, const char *spool_dir)
{
	_cleanup_close_ int images = open(options->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int work =
		open(options->work ? options->work : options->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	struct rt_error *err;

	if (images < 0 || work < 0)
		return rt_fail_errno("cannot open '%s'",
				     images < 0 || !options->work ? options->images : options->work);
	err = rt_manifest_load(images, &manifest);
	if (err)
		return err;
	if (!manifest || !manifest->container)
		return rt_fail(RT_CONFIG, "'%s' has no manifest: it is no checkpoint of rt, or an unfinished one",
			       options->images);
	if (*manifest->parent_id || *manifest->options->parent_path)
		return rt_fail(RT_CONFIG, "the checkpoint needs a parent and can't be exported alone");
	/* Small things first, for readers that want only those. */
	err = put_config(to, manifest);
	if (!err)
		err = put_optional(to, work, "stats-dump");
	if (!err)
		err = put_optional(to, work, "dump.log");
	if (!err)
		err = put_rootfs(to, options, spool_dir);
	if (!err)
		err = put_images(to, images, manifest);
	return err;
}

static struct rt_error *write_archive(const struct rt_archive_export *options, int fd, const char *spool_dir)
{
	_cleanup_(rt_archive_write_freep) struct archive *archive = archive_write_new();
	_cleanup_free_ uint8_t *chunk = malloc(CHUNK);
	struct exporter to = { .archive = archive, .chunk = chunk, .now = time(NULL) };
	struct rt_error *err;

	if (!archive || !chunk)
		return rt_error_oom();
	if (archive_write_set_format_pax_restricted(archive) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(archive, 1) != ARCHIVE_OK)
		return rt_unpack_fail(archive, "cannot set up the archive");
	err = choose_filter(archive, options);
	if (!err && archive_write_open_fd(archive, fd) != ARCHIVE_OK)
		err = rt_unpack_fail(archive, "cannot begin the archive");
	if (!err)
		err = put_all(&to, options, spool_dir);
	if (!err && archive_write_close(archive) != ARCHIVE_OK)
		err = rt_unpack_fail(archive, "cannot finish the archive");
	if (err)
		archive_write_fail(archive); /* no end marker: what is there is not to be taken for an archive */
	return err;
}

struct rt_error *rt_archive_do_export(const struct rt_archive_export *options)
{
	_cleanup_free_ char *beside = NULL, *copy = strdup(options->file);
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	if (!copy)
		return rt_error_oom();
	err = rt_format(&beside, "%s.XXXXXX", options->file);
	if (err)
		return err;
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot create a file beside '%s'", options->file);
	err = write_archive(options, fd, dirname(copy));
	if (!err && rename(beside, options->file) < 0)
		err = rt_fail_errno("cannot create '%s'", options->file);
	if (err)
		unlink(beside);
	return err;
}
