/* `rt snapshot export` and `import`: a snapshot as one file, a tar with
 *
 *	rt-snapshot		the index
 *	chunks/<SHA-256>	each chunk it names, once
 *
 * so that what comes in is held against the digests of the index, and of it the store takes only what it lacks. */
#include "migrate/snapshot.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/bundle/unpack.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define INDEX_ENTRY "rt-snapshot"
#define CHUNKS "chunks/"

/* ---- export ---- */

static struct rt_error *put(struct archive *archive, const char *name, const void *bytes, size_t size)
{
	struct archive_entry *entry = archive_entry_new();
	struct rt_error *err = NULL;

	if (!entry)
		return rt_error_oom();
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, S_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_size(entry, (la_int64_t)size);
	if (archive_write_header(archive, entry) != ARCHIVE_OK || archive_write_data(archive, bytes, size) != (la_ssize_t)size)
		err = rt_unpack_fail(archive, "cannot write");
	archive_entry_free(entry);
	return err;
}

static struct rt_error *put_chunk(void *userdata, const char *digest, const void *bytes, size_t size)
{
	char name[128];

	snprintf(name, sizeof(name), CHUNKS "%s", digest);
	return put(userdata, name, bytes, size);
}

static struct rt_error *write_tar(const struct rt_store *store, const Rt__Snapshot *snapshot, int fd)
{
	_cleanup_(rt_archive_write_freep) struct archive *archive = archive_write_new();
	_cleanup_free_ void *index = NULL;
	struct rt_error *err;
	size_t size;

	if (!archive)
		return rt_error_oom();
	if (archive_write_set_format_pax_restricted(archive) != ARCHIVE_OK || archive_write_open_fd(archive, fd) != ARCHIVE_OK)
		return rt_unpack_fail(archive, "cannot begin");
	err = rt_snapshot_pack(snapshot, &index, &size);
	if (!err)
		err = put(archive, INDEX_ENTRY, index, size);
	if (!err)
		err = rt_store_each_chunk(store, snapshot, put_chunk, archive);
	if (!err && archive_write_close(archive) != ARCHIVE_OK)
		err = rt_unpack_fail(archive, "cannot finish");
	return err;
}

/* Under another name first: no half of an archive is taken for one. */
static struct rt_error *write_file(const struct rt_store *store, const Rt__Snapshot *snapshot, const char *file)
{
	_cleanup_free_ char *fresh = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_format(&fresh, "%s.XXXXXX", file);

	if (err)
		return err;
	fd = mkostemp(fresh, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return rt_fail_errno("cannot create a file like '%s'", fresh);
	err = write_tar(store, snapshot, fd);
	if (!err && (fsync(fd) < 0 || rename(fresh, file) < 0))
		err = rt_fail_errno("cannot put it into its place");
	if (err)
		unlink(fresh);
	return err;
}

struct rt_error *rt_snapshot_export(const char *name, const char *file, const struct rt_snapshot_values *values)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	_cleanup_close_ int lock_fd = -1;
	struct rt_error *err = rt_store_open(values->store, &store);

	if (!err)
		err = rt_store_lock(&store, &lock_fd);
	if (!err)
		err = rt_snapshot_load(&store, name, &snapshot);
	if (!err)
		err = write_file(&store, snapshot, file);
	return err ? rt_while(err, "cannot export snapshot '%s' to '%s'", name, file) : NULL;
}

/* ---- import ---- */

/* The data of an entry, which says how large it is; never more than `limit`. */
static struct rt_error *take(struct archive *archive, struct archive_entry *entry, uint64_t limit, uint8_t **ret, size_t *ret_size)
{
	la_int64_t size = archive_entry_size(entry);
	_cleanup_free_ uint8_t *bytes = NULL;

	if (archive_entry_filetype(entry) != S_IFREG || !archive_entry_size_is_set(entry) || size < 0 || (uint64_t)size > limit)
		return rt_fail(RT_CONFIG, "entry '%.128s' is no part of a snapshot", archive_entry_pathname(entry));
	bytes = malloc((size_t)size + 1);
	if (!bytes)
		return rt_error_oom();
	if (archive_read_data(archive, bytes, (size_t)size) != (la_ssize_t)size)
		return rt_fail(RT_CONFIG, "entry '%.128s' ends too early", archive_entry_pathname(entry));
	*ret = rt_take_ptr(bytes);
	*ret_size = (size_t)size;
	return NULL;
}

/* The name of the file says nothing; that of the snapshot is in its index. */
static struct rt_error *begin(const struct rt_store *store, struct archive *archive, const char *name, struct rt_store_addition **ret)
{
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct archive_entry *entry;
	struct rt_error *err;
	size_t size;

	if (archive_read_next_header(archive, &entry) != ARCHIVE_OK || !archive_entry_pathname(entry) ||
	    !rt_str_equal(archive_entry_pathname(entry), INDEX_ENTRY))
		return rt_fail(RT_CONFIG, "it is no exported snapshot");
	err = take(archive, entry, RT_SNAPSHOT_INDEX_MAX, &bytes, &size);
	if (!err)
		err = rt_snapshot_parse(bytes, size, NULL, &snapshot);
	if (!err)
		err = rt_store_add(store, name ? name : snapshot->name, ret);
	return err ? err : rt_store_addition_index(*ret, bytes, size);
}

static struct rt_error *read_chunks(struct archive *archive, struct rt_store_addition *addition)
{
	for (;;) {
		_cleanup_free_ uint8_t *bytes = NULL;
		struct archive_entry *entry;
		int result = archive_read_next_header(archive, &entry);
		const char *name;
		struct rt_error *err;
		size_t size;

		if (result == ARCHIVE_EOF)
			return NULL;
		if (result != ARCHIVE_OK)
			return rt_unpack_fail(archive, "cannot read on");
		name = archive_entry_pathname(entry);
		if (!name || !rt_str_starts(name, CHUNKS))
			return rt_fail(RT_CONFIG, "entry '%.128s' is no part of a snapshot", name ? name : "");
		err = take(archive, entry, rt_store_addition_snapshot(addition)->chunk_size, &bytes, &size);
		if (!err)
			err = rt_store_addition_chunk(addition, name + strlen(CHUNKS), bytes, size);
		if (err)
			return err;
	}
}

static struct rt_error *import(const struct rt_store *store, const char *file, const char *name)
{
	_cleanup_(rt_store_addition_freep) struct rt_store_addition *addition = NULL;
	_cleanup_(rt_archive_read_freep) struct archive *archive = archive_read_new();
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct rt_error *err;

	if (!archive)
		return rt_error_oom();
	if (fd < 0)
		return rt_fail_errno("cannot open it");
	if (archive_read_support_format_tar(archive) != ARCHIVE_OK || archive_read_open_fd(archive, fd, 1 << 20) != ARCHIVE_OK)
		return rt_fail(RT_CONFIG, "it is no exported snapshot");
	err = begin(store, archive, name, &addition);
	if (!err)
		err = read_chunks(archive, addition);
	return err ? err : rt_store_addition_publish(addition);
}

struct rt_error *rt_snapshot_import(const char *file, const char *name, const struct rt_snapshot_values *values)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	struct rt_error *err = name ? rt_snapshot_check_name(name) : NULL;

	if (!err)
		err = rt_store_open(values->store, &store);
	if (!err)
		err = import(&store, file, name);
	return err ? rt_while(err, "cannot import a snapshot from '%s'", file) : NULL;
}
