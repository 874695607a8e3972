/* `rt snapshot export` and `import`: a snapshot as one file, a tar with
 *
 *	rt-snapshot		the index
 *	chunks/<SHA-256>	each chunk it names, once
 *
 * so that what comes in is held against the digests of the index, and of it the store takes only what it lacks. Encrypted, it is
 *
 *	sealed-rt-snapshot	the salt (snapshot_seal.h)
 *	sealed/N		the index, then the chunks; their names would tell of their content */
#include "migrate/snapshot.h"

#include "migrate/snapshot_seal.h"
#include "runtime/base/digest.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/bundle/unpack.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define INDEX_ENTRY "rt-snapshot"
#define CHUNKS "chunks/"
#define SALT_ENTRY "sealed-rt-snapshot"
#define SEALED "sealed/"

/* A file that is being written or read. */
struct file {
	struct archive *archive;
	const uint8_t *key; /* NULL: not encrypted */
	struct rt_seal seal;
};

static void file_deinit(struct file *file)
{
	rt_seal_deinit(&file->seal);
}

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

static struct rt_error *put_piece(struct file *file, const char *name, const void *bytes, size_t size)
{
	_cleanup_free_ uint8_t *sealed = NULL;
	char number[40];

	if (!file->key)
		return put(file->archive, name, bytes, size);
	sealed = malloc(size + RT_SEAL_TAG);
	if (!sealed)
		return rt_error_oom();
	snprintf(number, sizeof(number), SEALED "%llu", (unsigned long long)file->seal.number);
	rt_seal_close(&file->seal, bytes, size, sealed);
	return put(file->archive, number, sealed, size + RT_SEAL_TAG);
}

static struct rt_error *put_chunk(void *userdata, const char *digest, const void *bytes, size_t size)
{
	char name[128];

	snprintf(name, sizeof(name), CHUNKS "%s", digest);
	return put_piece(userdata, name, bytes, size);
}

static struct rt_error *put_salt(struct file *file)
{
	uint8_t salt[RT_SEAL_SALT];
	struct rt_error *err;

	if (!file->key)
		return NULL;
	err = rt_seal_draw_salt(salt);
	if (err)
		return err;
	rt_seal_init(&file->seal, file->key, salt);
	return put(file->archive, SALT_ENTRY, salt, sizeof(salt));
}

static struct rt_error *write_tar(const struct rt_store *store, const Rt__Snapshot *snapshot, const uint8_t *key, int fd)
{
	_cleanup_(rt_archive_write_freep) struct archive *archive = archive_write_new();
	_cleanup_(file_deinit) struct file file = { .archive = archive, .key = key };
	_cleanup_free_ void *index = NULL;
	struct rt_error *err;
	size_t size;

	if (!archive)
		return rt_error_oom();
	if (archive_write_set_format_pax_restricted(archive) != ARCHIVE_OK || archive_write_open_fd(archive, fd) != ARCHIVE_OK)
		return rt_unpack_fail(archive, "cannot begin");
	err = rt_snapshot_pack(snapshot, &index, &size);
	if (!err)
		err = put_salt(&file);
	if (!err)
		err = put_piece(&file, INDEX_ENTRY, index, size);
	if (!err)
		err = rt_store_each_chunk(store, snapshot, put_chunk, &file);
	if (!err && archive_write_close(archive) != ARCHIVE_OK)
		err = rt_unpack_fail(archive, "cannot finish");
	return err;
}

/* Under another name first: no half of an archive is taken for one. */
static struct rt_error *write_file(const struct rt_store *store, const Rt__Snapshot *snapshot, const uint8_t *key, const char *file)
{
	_cleanup_free_ char *fresh = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err = rt_format(&fresh, "%s.XXXXXX", file);

	if (err)
		return err;
	fd = mkostemp(fresh, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return rt_fail_errno("cannot create a file like '%s'", fresh);
	err = write_tar(store, snapshot, key, fd);
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
	uint8_t key[RT_SEAL_KEY];
	struct rt_error *err = values->encrypt ? rt_key_read(values->encrypt, key) : NULL;

	if (!err)
		err = rt_store_open(values->store, &store);
	if (!err)
		err = rt_store_lock(&store, &lock_fd);
	if (!err)
		err = rt_snapshot_load(&store, name, &snapshot);
	if (!err)
		err = write_file(&store, snapshot, values->encrypt ? key : NULL, file);
	explicit_bzero(key, sizeof(key));
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

/* The name of the next entry, which starts with `prefix`; NULL at the end. Borrowed, until the next. */
static struct rt_error *next_entry(struct archive *archive, const char *prefix, struct archive_entry **ret, const char **ret_name)
{
	int result = archive_read_next_header(archive, ret);

	*ret_name = NULL;
	if (result == ARCHIVE_EOF)
		return NULL;
	if (result != ARCHIVE_OK)
		return rt_fail(RT_CONFIG, "it is no exported snapshot, or damaged: %s", archive_error_string(archive) ? archive_error_string(archive) : "not a tar");
	*ret_name = archive_entry_pathname(*ret);
	if (*ret_name && rt_str_starts(*ret_name, prefix))
		return NULL;
	if (*ret_name && rt_str_equal(*ret_name, SALT_ENTRY))
		return rt_fail(RT_CONFIG, "it is encrypted: its key must be given ('--encrypt')");
	return rt_fail(RT_CONFIG, "it is no exported snapshot, or damaged: it has an entry '%.128s'", *ret_name ? *ret_name : "");
}

/* The next piece, opened where it is sealed; *ret NULL at the end. `name`, with room for what comes after the prefix, may be NULL. */
static struct rt_error *take_piece(struct file *file, const char *prefix, uint64_t limit, uint8_t **ret, size_t *ret_size, char name[RT_DIGEST_TEXT_ROOM])
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct archive_entry *entry;
	const char *found;
	struct rt_error *err;

	*ret = NULL;
	if (file->key)
		prefix = SEALED;
	err = next_entry(file->archive, prefix, &entry, &found);
	if (err || !found)
		return err;
	if (name)
		snprintf(name, RT_DIGEST_TEXT_ROOM, "%s", found + strlen(prefix));
	err = take(file->archive, entry, limit + (file->key ? RT_SEAL_TAG : 0), &bytes, ret_size);
	if (!err && file->key)
		err = rt_seal_open(&file->seal, bytes, *ret_size, ret_size);
	if (!err)
		*ret = rt_take_ptr(bytes);
	return err;
}

/* Nothing but the first entry tells whether it is encrypted: what was not is no less to be believed, but the user should know. */
static struct rt_error *take_salt(struct file *file)
{
	_cleanup_free_ uint8_t *salt = NULL;
	struct archive_entry *entry;
	const char *name;
	struct rt_error *err;
	size_t size;

	if (!file->key)
		return NULL;
	err = next_entry(file->archive, "", &entry, &name);
	if (!err && (!name || !rt_str_equal(name, SALT_ENTRY)))
		err = rt_fail(RT_CONFIG, "it is not encrypted: leave '--encrypt' out");
	if (!err)
		err = take(file->archive, entry, RT_SEAL_SALT, &salt, &size);
	if (!err && size != RT_SEAL_SALT)
		err = rt_fail(RT_CONFIG, "its salt is damaged");
	if (!err)
		rt_seal_init(&file->seal, file->key, salt);
	return err;
}

/* The name of the file says nothing; that of the snapshot is in its index. */
static struct rt_error *begin(const struct rt_store *store, struct file *file, const char *name, struct rt_store_addition **ret)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct rt_error *err = take_salt(file);
	size_t size = 0;

	if (!err)
		err = take_piece(file, INDEX_ENTRY, RT_SNAPSHOT_INDEX_MAX, &bytes, &size, NULL);
	if (!err && !bytes)
		err = rt_fail(RT_CONFIG, "it is no exported snapshot: it is empty");
	return err ? err : rt_store_add_index(store, name, bytes, size, ret);
}

static struct rt_error *read_chunks(struct file *file, struct rt_store_addition *addition)
{
	const Rt__Snapshot *snapshot = rt_store_addition_snapshot(addition);
	uint64_t limit = snapshot->chunk_size + (rt_snapshot_is_sealed(snapshot) ? RT_CIPHER_TAG : 0);

	for (;;) {
		_cleanup_free_ uint8_t *bytes = NULL;
		char digest[RT_DIGEST_TEXT_ROOM];
		size_t size = 0;
		struct rt_error *err = take_piece(file, CHUNKS, limit, &bytes, &size, digest);

		if (err || !bytes)
			return err;
		/* A sealed piece is what it is; that it is the right one tells the index. */
		if (file->key)
			rt_digest_bytes(bytes, size, digest);
		err = rt_store_addition_chunk(addition, digest, bytes, size);
		if (err)
			return err;
	}
}

static struct rt_error *import(const struct rt_store *store, const char *path, const uint8_t *key, const char *name)
{
	_cleanup_(rt_store_addition_freep) struct rt_store_addition *addition = NULL;
	_cleanup_(rt_archive_read_freep) struct archive *archive = archive_read_new();
	_cleanup_(file_deinit) struct file file = { .archive = archive, .key = key };
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct rt_error *err;

	if (!archive)
		return rt_error_oom();
	if (fd < 0)
		return rt_fail_errno("cannot open it");
	if (archive_read_support_format_tar(archive) != ARCHIVE_OK || archive_read_open_fd(archive, fd, 1 << 20) != ARCHIVE_OK)
		return rt_fail(RT_CONFIG, "it is no exported snapshot");
	err = begin(store, &file, name, &addition);
	if (!err)
		err = read_chunks(&file, addition);
	return err ? err : rt_store_addition_publish(addition);
}

struct rt_error *rt_snapshot_import(const char *file, const char *name, const struct rt_snapshot_values *values)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	struct rt_error *err = name ? rt_snapshot_check_name(name) : NULL;
	uint8_t key[RT_SEAL_KEY];

	if (!err && values->encrypt)
		err = rt_key_read(values->encrypt, key);
	if (!err)
		err = rt_store_open(values->store, &store);
	if (!err)
		err = import(&store, file, values->encrypt ? key : NULL, name);
	explicit_bzero(key, sizeof(key));
	return err ? rt_while(err, "cannot import a snapshot from '%s'", file) : NULL;
}
