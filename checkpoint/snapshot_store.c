#include "checkpoint/snapshot_private.h"

#include "checkpoint/unpack.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <assert.h>
#include <ctype.h>
#include <fcntl.h>
#include <sys/file.h>

#define NAME_MAX_BYTES 128
#define CHUNK_MIN 4096u

void rt_store_deinit(struct rt_store *store)
{
	rt_closep(&store->dir_fd);
	rt_closep(&store->index_fd);
	rt_closep(&store->chunks_fd);
	rt_closep(&store->tmp_fd);
	rt_store_forget_key(store);
	free(store->path);
	*store = RT_STORE_NULL;
}

static struct rt_error *open_below(const struct rt_store *store, const char *name, int *ret)
{
	if (mkdirat(store->dir_fd, name, 0700) < 0 && errno != EEXIST)
		return rt_fail_errno("cannot make '%s/%s'", store->path, name);
	*ret = openat(store->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret < 0 ? rt_fail_errno("cannot open '%s/%s'", store->path, name) : NULL;
}

struct rt_error *rt_store_open(const char *path, struct rt_store *ret)
{
	_cleanup_(rt_store_deinit) struct rt_store store = RT_STORE_NULL;
	_cleanup_free_ char *here = NULL, *given = NULL;
	struct rt_error *err;

	path = path ? path : RT_STORE_DEFAULT;
	if (*path != '/' && !(here = getcwd(NULL, 0)))
		return rt_fail_errno("cannot tell the current directory");
	err = rt_format(&given, "%s%s%s", here ? here : "", here ? "/" : "", path);
	if (!err)
		err = rt_make_dirs(given, 0700);
	if (!err)
		err = rt_real_path(given, &store.path);
	if (err)
		return rt_while(err, "making the store of snapshots");
	store.dir_fd = open(store.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store.dir_fd < 0)
		return rt_fail_errno("cannot open the store of snapshots '%s'", store.path);
	err = open_below(&store, "index", &store.index_fd);
	if (!err)
		err = open_below(&store, "chunks", &store.chunks_fd);
	if (!err)
		err = open_below(&store, "tmp", &store.tmp_fd);
	if (err)
		return err;
	*ret = store;
	store = RT_STORE_NULL;
	return NULL;
}

struct rt_error *rt_store_lock_as(const struct rt_store *store, int operation, int *ret)
{
	_cleanup_close_ int fd = openat(store->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return rt_fail_errno("cannot open '%s/lock'", store->path);
	while (flock(fd, operation) < 0)
		if (errno != EINTR)
			return rt_fail_errno("cannot lock '%s'", store->path);
	*ret = rt_take_fd(fd);
	return NULL;
}

struct rt_error *rt_store_lock(const struct rt_store *store, int *ret)
{
	return rt_store_lock_as(store, LOCK_SH, ret);
}

struct rt_error *rt_snapshot_check_name(const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_+-.", name[i]))
			return rt_fail(RT_USAGE, "'%.200s' is no name of a snapshot: only letters, digits and '_+-.' are", name);
	if (length == 0 || length > NAME_MAX_BYTES || *name == '.')
		return rt_fail(RT_USAGE, "'%.200s' is no name of a snapshot: it must have 1 to %d characters and no dot in front", name, NAME_MAX_BYTES);
	return NULL;
}

/* ---- an index ---- */

void rt_snapshot_free(Rt__Snapshot *snapshot)
{
	rt_unpack_free(snapshot ? &snapshot->base : NULL);
}

struct rt_error *rt_snapshot_each_file(const Rt__Snapshot *snapshot, rt_stored_file_fn each, void *userdata)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; i < snapshot->n_images && !err; i++)
		err = each(userdata, snapshot->images[i]);
	return err || !snapshot->rootfs_changes ? err : each(userdata, snapshot->rootfs_changes);
}

uint32_t rt_chunk_bytes(const Rt__StoredFile *file, uint32_t chunk_size, uint64_t index)
{
	uint64_t left = file->size - index * chunk_size;

	return left < chunk_size ? (uint32_t)left : chunk_size;
}

/* What a stranger wrote is shown to people: nothing in it may steer a terminal. */
static bool is_printable(const char *text)
{
	while (*text > ' ' && *text <= '~')
		text++;
	return *text == '\0';
}

/* RFC 3339: '0' stands for a digit in `form`; a fraction and the zone come behind. */
static bool is_time(const char *text)
{
	static const char form[] = "0000-00-00T00:00:00", zone[] = "+00:00";

	for (const char *at = form; *at; at++, text++)
		if (*at == '0' ? !isdigit((unsigned char)*text) : *text != *at)
			return false;
	if (*text == '.') {
		size_t digits = strspn(text + 1, "0123456789");

		if (digits < 1 || digits > 9)
			return false;
		text += 1 + digits;
	}
	if (rt_str_equal(text, "Z"))
		return true;
	for (const char *at = zone; *at; at++, text++)
		if (*at == '0' ? !isdigit((unsigned char)*text) : *text != *at && !(*at == '+' && *text == '-'))
			return false;
	return *text == '\0';
}

static struct rt_error *check_file(void *userdata, const Rt__StoredFile *file)
{
	const Rt__Snapshot *snapshot = userdata;
	uint64_t chunks = file->size / snapshot->chunk_size + (file->size % snapshot->chunk_size != 0);

	if (!*file->name || *file->name == '.' || strchr(file->name, '/') || strlen(file->name) > 255 || !is_printable(file->name))
		return rt_fail(RT_CONFIG, "it names a file as none can be named");
	if (file->digests.len % RT_DIGEST != 0 || file->digests.len / RT_DIGEST != chunks)
		return rt_fail(RT_CONFIG, "'%.128s' has not as many chunks as its size needs", file->name);
	return NULL;
}

uint32_t rt_chunk_stored(const Rt__Snapshot *snapshot, const Rt__StoredFile *file, uint64_t index)
{
	return rt_chunk_bytes(file, snapshot->chunk_size, index) + (rt_snapshot_is_sealed(snapshot) ? RT_CIPHER_TAG : 0);
}

static struct rt_error *check(const Rt__Snapshot *snapshot, const char *name)
{
	if (snapshot->format != RT_SNAPSHOT_FORMAT && snapshot->format != RT_SNAPSHOT_SEALED)
		return rt_fail(RT_CONFIG, "it is of format %u, this rt knows %u and %u", snapshot->format, RT_SNAPSHOT_FORMAT, RT_SNAPSHOT_SEALED);
	if (rt_snapshot_is_sealed(snapshot) ? !snapshot->sealed.len || snapshot->manifest.len || snapshot->rootfs_deleted.len || snapshot->n_rootfs :
					      snapshot->sealed.len > 0)
		return rt_fail(RT_CONFIG, "one half of it is encrypted");
	if (!is_printable(snapshot->name))
		return rt_fail(RT_CONFIG, "it names itself as none can be named");
	if (name && !rt_str_equal(snapshot->name, name))
		return rt_fail(RT_CONFIG, "it names itself '%.128s'", snapshot->name);
	if (strspn(snapshot->id, "0123456789abcdef") != 32 || strlen(snapshot->id) != 32)
		return rt_fail(RT_CONFIG, "its id is none");
	if (!is_time(snapshot->created))
		return rt_fail(RT_CONFIG, "when it was made is no time");
	if (snapshot->chunk_size < CHUNK_MIN || snapshot->chunk_size > RT_SNAPSHOT_CHUNK_MAX)
		return rt_fail(RT_CONFIG, "its chunks are of %u bytes", snapshot->chunk_size);
	return rt_snapshot_each_file(snapshot, check_file, (void *)snapshot);
}

struct rt_error *rt_snapshot_parse(const void *bytes, size_t size, const char *name, Rt__Snapshot **ret)
{
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	uint8_t own[RT_DIGEST];
	ProtobufCMessage *message;
	struct rt_error *err;

	if (size < RT_DIGEST)
		return rt_fail(RT_CONFIG, "it has only %zu bytes", size);
	rt_digest((const uint8_t *)bytes + RT_DIGEST, size - RT_DIGEST, own);
	if (memcmp(own, bytes, RT_DIGEST) != 0)
		return rt_fail(RT_CONFIG, "its digest is not that of its content");
	err = rt_unpack(&rt__snapshot__descriptor, (const uint8_t *)bytes + RT_DIGEST, size - RT_DIGEST, &message);
	if (err)
		return err;
	snapshot = (Rt__Snapshot *)message;
	err = check(snapshot, name);
	if (err)
		return err;
	*ret = rt_take_ptr(snapshot);
	return NULL;
}

struct rt_error *rt_snapshot_load_stored(const struct rt_store *store, const char *name, Rt__Snapshot **ret)
{
	_cleanup_free_ char *bytes = NULL;
	struct rt_error *err = rt_snapshot_check_name(name);
	size_t size;

	if (err)
		return err;
	err = rt_read_file_at(store->index_fd, name, RT_SNAPSHOT_INDEX_MAX, &bytes, &size);
	if (err && err->errnum == ENOENT) {
		rt_error_free(err);
		return rt_fail(RT_NOT_FOUND, "there is no snapshot '%s' in '%s'", name, store->path);
	}
	if (!err)
		err = rt_snapshot_parse(bytes, size, name, ret);
	return err ? rt_while(err, "the index of snapshot '%s' is damaged", name) : NULL;
}

struct rt_error *rt_snapshot_load(const struct rt_store *store, const char *name, Rt__Snapshot **ret)
{
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	struct rt_error *err = rt_snapshot_load_stored(store, name, &snapshot);

	if (!err && store->cipher && rt_snapshot_is_sealed(snapshot)) {
		err = rt_snapshot_unseal(snapshot, store->cipher);
		err = err ? rt_while(err, "the index of snapshot '%s'", name) : NULL;
	}
	if (!err)
		*ret = rt_take_ptr(snapshot);
	return err;
}

struct rt_error *rt_snapshot_pack(const Rt__Snapshot *snapshot, void **ret, size_t *ret_size)
{
	_cleanup_free_ void *packed = NULL;
	size_t size;
	uint8_t *bytes;
	struct rt_error *err;

	assert(!rt_snapshot_is_sealed(snapshot) || snapshot->manifest.len == 0); /* else what is secret would go along */
	err = rt_pack(&snapshot->base, &packed, &size);
	if (err)
		return err;
	if (size > RT_SNAPSHOT_INDEX_MAX - RT_DIGEST)
		return rt_fail(RT_SYSTEM, "the index would have %zu bytes, more than can be read", size);
	bytes = malloc(size + RT_DIGEST);
	if (!bytes)
		return rt_error_oom();
	rt_digest(packed, size, bytes);
	memcpy(bytes + RT_DIGEST, packed, size);
	*ret = bytes;
	*ret_size = size + RT_DIGEST;
	return NULL;
}

/* ---- all of them ---- */

void rt_names_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

static int no_dot(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

struct rt_error *rt_store_names(const struct rt_store *store, char ***ret)
{
	struct dirent **entries;
	int count = scandirat(store->index_fd, ".", &entries, no_dot, alphasort);
	char **names;
	bool failed;

	if (count < 0)
		return rt_fail_errno("cannot list '%s/index'", store->path);
	names = calloc((size_t)count + 1, sizeof(*names));
	failed = !names;
	for (int i = 0; i < count; i++) {
		if (names && !failed && !(names[i] = strdup(entries[i]->d_name)))
			failed = true;
		free(entries[i]);
	}
	free(entries);
	if (failed) {
		rt_names_free(names);
		return rt_error_oom();
	}
	*ret = names;
	return NULL;
}

struct rt_error *rt_store_remove(const struct rt_store *store, const char *name)
{
	struct rt_error *err = rt_snapshot_check_name(name);

	if (err)
		return err;
	if (unlinkat(store->index_fd, name, 0) == 0)
		return NULL;
	if (errno == ENOENT)
		return rt_fail(RT_NOT_FOUND, "there is no snapshot '%s' in '%s'", name, store->path);
	return rt_fail_errno("cannot remove '%s/index/%s'", store->path, name);
}
