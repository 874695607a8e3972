/* Pieces of files on their way into the store, and out of it. */
#include "checkpoint/snapshot_private.h"

#include "checkpoint/manifest.h"
#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

void rt_chunk_path(const uint8_t digest[RT_DIGEST], char path[RT_CHUNK_PATH_ROOM])
{
	rt_digest_text(digest, path + 3);
	memcpy(path, path + 3, 2);
	path[2] = '/';
}

bool rt_chunk_parse(const char *text, uint8_t ret[RT_DIGEST])
{
	if (strlen(text) != 2 * RT_DIGEST || strspn(text, "0123456789abcdef") != 2 * RT_DIGEST)
		return false;
	for (size_t i = 0; i < RT_DIGEST; i++) {
		char pair[3] = { text[2 * i], text[2 * i + 1], '\0' };

		ret[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* ---- in ---- */

struct rt_store_addition {
	const struct rt_store *store;
	char *name, *directory; /* of the snapshot; below STORE/tmp */
	int lock_fd, dir_fd;
	int chunks_fd; /* a directory in `directory`: chunks that are new */
	uint8_t *buffer, *sealed; /* a chunk, and the same when it is encrypted */
	uint64_t new_bytes;
	Rt__Snapshot *snapshot;
};

void rt_store_addition_free(struct rt_store_addition *addition)
{
	if (!addition)
		return;
	rt_closep(&addition->chunks_fd);
	rt_closep(&addition->dir_fd);
	if (addition->directory)
		rt_warn_ignored(rt_remove_tree_at(addition->store->tmp_fd, addition->directory));
	rt_closep(&addition->lock_fd);
	rt_snapshot_free(addition->snapshot);
	free(addition->buffer);
	free(addition->sealed);
	free(addition->name);
	free(addition->directory);
	free(addition);
}

static struct rt_error *make_directory(struct rt_store_addition *addition)
{
	const struct rt_store *store = addition->store;
	_cleanup_free_ char *path = NULL;
	struct rt_error *err;
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return rt_fail_errno("cannot draw a random name");
	err = rt_format(&path, "%016llx", (unsigned long long)random);
	if (err)
		return err;
	if (mkdirat(store->tmp_fd, path, 0700) < 0)
		return rt_fail_errno("cannot make '%s/tmp/%s'", store->path, path);
	addition->directory = rt_take_ptr(path);
	addition->dir_fd = openat(store->tmp_fd, addition->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (addition->dir_fd < 0 || mkdirat(addition->dir_fd, "chunks", 0700) < 0)
		return rt_fail_errno("cannot make a directory in '%s/tmp/%s'", store->path, addition->directory);
	addition->chunks_fd = openat(addition->dir_fd, "chunks", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return addition->chunks_fd < 0 ? rt_fail_errno("cannot open the directory for new chunks") : NULL;
}

struct rt_error *rt_store_add(const struct rt_store *store, const char *name, struct rt_store_addition **ret)
{
	_cleanup_(rt_store_addition_freep) struct rt_store_addition *addition = calloc(1, sizeof(*addition));
	struct rt_error *err = rt_snapshot_check_name(name);

	if (!addition)
		return rt_error_oom();
	*addition = (struct rt_store_addition){ .store = store, .lock_fd = -1, .dir_fd = -1, .chunks_fd = -1 };
	if (err)
		return err;
	if (faccessat(store->index_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return rt_fail(RT_EXISTS, "there is a snapshot '%s' already", name);
	addition->buffer = malloc(RT_SNAPSHOT_CHUNK);
	addition->sealed = malloc(RT_SNAPSHOT_CHUNK + RT_CIPHER_TAG);
	addition->snapshot = calloc(1, sizeof(*addition->snapshot));
	if (!addition->buffer || !addition->sealed || !addition->snapshot)
		return rt_error_oom();
	rt__snapshot__init(addition->snapshot);
	addition->snapshot->format = RT_SNAPSHOT_FORMAT;
	addition->snapshot->chunk_size = RT_SNAPSHOT_CHUNK;
	err = rt_manifest_set(&addition->snapshot->name, name);
	if (!err)
		err = rt_format(&addition->name, "%s", name);
	if (!err)
		err = rt_store_lock(store, &addition->lock_fd);
	if (!err)
		err = make_directory(addition);
	if (err)
		return err;
	*ret = rt_take_ptr(addition);
	return NULL;
}

struct rt_error *rt_store_addition_directory(struct rt_store_addition *addition, const char *name, char **ret)
{
	if (mkdirat(addition->dir_fd, name, 0700) < 0)
		return rt_fail_errno("cannot make '%s/tmp/%s/%s'", addition->store->path, addition->directory, name);
	return rt_format(ret, "%s/tmp/%s/%s", addition->store->path, addition->directory, name);
}

Rt__Snapshot *rt_store_addition_snapshot(struct rt_store_addition *addition)
{
	return addition->snapshot;
}

uint64_t rt_store_addition_new_bytes(const struct rt_store_addition *addition)
{
	return addition->new_bytes;
}

/* One that lost bytes in a crash of the machine is written anew. */
static bool is_there(int dir_fd, const char *path, size_t size)
{
	struct stat st;

	return fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size == size;
}

bool rt_store_addition_has(const struct rt_store_addition *addition, const uint8_t digest[RT_DIGEST], uint32_t size)
{
	char path[RT_CHUNK_PATH_ROOM];

	rt_chunk_path(digest, path);
	return is_there(addition->store->chunks_fd, path, size) || is_there(addition->chunks_fd, path + 3, size);
}

static struct rt_error *put_chunk(struct rt_store_addition *addition, const void *bytes, size_t size, const uint8_t digest[RT_DIGEST])
{
	char path[RT_CHUNK_PATH_ROOM];
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	if (rt_store_addition_has(addition, digest, (uint32_t)size))
		return NULL;
	rt_chunk_path(digest, path);
	fd = openat(addition->chunks_fd, path + 3, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return rt_fail_errno("cannot create a chunk");
	err = rt_write_all(fd, bytes, size);
	addition->new_bytes += size;
	return err ? rt_while(err, "writing a chunk") : NULL;
}

static struct rt_error *add_chunk(struct rt_store_addition *addition, size_t size, uint8_t digest[RT_DIGEST])
{
	const uint8_t *bytes = addition->buffer;

	if (is_zero(addition->buffer, size)) {
		memset(digest, 0, RT_DIGEST);
		return NULL;
	}
	if (addition->store->cipher) {
		rt_cipher_seal(addition->store->cipher, RT_CIPHER_CHUNK, NULL, 0, addition->buffer, size, addition->sealed);
		bytes = addition->sealed;
		size += RT_CIPHER_TAG;
	}
	rt_digest(bytes, size, digest);
	return put_chunk(addition, bytes, size, digest);
}

/* What errors and lists quote of a manifest: it may not steer a terminal. */
static bool can_be_shown(const Rt__Manifest *manifest)
{
	const char *const shown[] = {
		manifest->container ? manifest->container->id : "", manifest->maker ? manifest->maker->architecture : "",
		manifest->maker ? manifest->maker->kernel_release : "", manifest->cpu ? manifest->cpu->vendor : "",
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(shown); i++)
		for (const char *at = shown[i]; *at; at++)
			if (*at < ' ' || *at > '~')
				return false;
	return true;
}

/* Before it is in the store, where whatever reads it would stumble. */
static struct rt_error *check_manifest(const Rt__Snapshot *snapshot)
{
	_cleanup_manifest_ Rt__Manifest *manifest = NULL;
	struct rt_error *err;

	if (rt_snapshot_is_sealed(snapshot))
		return NULL;
	err = rt_manifest_parse(snapshot->manifest.data, snapshot->manifest.len, &manifest);
	if (!err && !rt_str_equal(manifest->id, snapshot->id))
		err = rt_fail(RT_CONFIG, "its manifest is of another checkpoint");
	if (!err && !can_be_shown(manifest))
		err = rt_fail(RT_CONFIG, "its manifest has a name that is not printable");
	return err;
}

struct rt_error *rt_store_add_index(const struct rt_store *store, const char *name, const void *bytes, size_t size, struct rt_store_addition **ret)
{
	_cleanup_(rt_store_addition_freep) struct rt_store_addition *addition = NULL;
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	struct rt_error *err = rt_snapshot_parse(bytes, size, NULL, &snapshot);

	if (!err)
		err = check_manifest(snapshot);
	if (err)
		return rt_while(err, "the index of the snapshot");
	err = rt_store_add(store, name ? name : snapshot->name, &addition);
	if (!err)
		err = rt_manifest_set(&snapshot->name, addition->name);
	if (err)
		return err;
	rt_snapshot_free(addition->snapshot);
	addition->snapshot = rt_take_ptr(snapshot);
	*ret = rt_take_ptr(addition);
	return NULL;
}

struct rt_error *rt_store_addition_chunk(struct rt_store_addition *addition, const char *digest, const void *bytes, size_t size)
{
	uint8_t told[RT_DIGEST], own[RT_DIGEST];

	if (!rt_chunk_parse(digest, told))
		return rt_fail(RT_CONFIG, "'%.80s' is no digest of a chunk", digest);
	rt_digest(bytes, size, own);
	if (memcmp(told, own, RT_DIGEST) != 0)
		return rt_fail(RT_CONFIG, "chunk '%s' is damaged: its digest is another", digest);
	return put_chunk(addition, bytes, size, own);
}

/* Of one that came from elsewhere, nobody else has made sure. */
static struct rt_error *check_chunks(void *userdata, const Rt__StoredFile *file)
{
	const struct rt_store_addition *addition = userdata;

	for (uint64_t i = 0; i < rt_chunk_count(file); i++) {
		const uint8_t *digest = rt_chunk_digest(file, i);
		char text[RT_DIGEST_TEXT_ROOM];

		if (rt_chunk_is_zero(digest) || rt_store_addition_has(addition, digest, rt_chunk_stored(addition->snapshot, file, i)))
			continue;
		rt_digest_text(digest, text);
		return rt_fail(RT_CONFIG, "'%s': chunk '%s' is missing", file->name, text);
	}
	return NULL;
}

/* Up to a whole chunk, less at the end of the file. */
static struct rt_error *read_chunk(int fd, uint8_t *buffer, uint64_t offset, size_t *ret)
{
	size_t got = 0;

	while (got < RT_SNAPSHOT_CHUNK) {
		ssize_t more = pread(fd, buffer + got, RT_SNAPSHOT_CHUNK - got, (off_t)(offset + got));

		if (more < 0 && errno == EINTR)
			continue;
		if (more < 0)
			return rt_fail_errno("cannot read");
		if (more == 0)
			break;
		got += (size_t)more;
	}
	*ret = got;
	return NULL;
}

struct rt_error *rt_store_addition_file(struct rt_store_addition *addition, int fd, const char *name, Rt__StoredFile *ret)
{
	_cleanup_free_ uint8_t *digests = NULL;
	size_t count = 0, room = 0, got = 0;
	uint64_t size = 0;

	for (;;) {
		struct rt_error *err = read_chunk(fd, addition->buffer, size, &got);

		if (!err && got > 0 && count == room) {
			uint8_t *more = realloc(digests, (room = room ? 2 * room : 16) * RT_DIGEST);

			if (!more)
				return rt_error_oom();
			digests = more;
		}
		if (!err && got > 0)
			err = add_chunk(addition, got, digests + count++ * RT_DIGEST);
		if (err)
			return rt_while(err, "storing '%s'", name);
		size += got;
		if (got < RT_SNAPSHOT_CHUNK)
			break;
	}
	ret->size = size;
	ret->digests.data = rt_take_ptr(digests);
	ret->digests.len = count * RT_DIGEST;
	return rt_manifest_set(&ret->name, name);
}

static struct rt_error *move_chunk(struct rt_store_addition *addition, const char *name)
{
	int chunks_fd = addition->store->chunks_fd;
	char folder[3] = { name[0], name[1], '\0' }, path[RT_CHUNK_PATH_ROOM];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (renameat(addition->chunks_fd, name, chunks_fd, path) == 0)
		return NULL;
	if (errno != ENOENT || (mkdirat(chunks_fd, folder, 0700) < 0 && errno != EEXIST) ||
	    renameat(addition->chunks_fd, name, chunks_fd, path) < 0)
		return rt_fail_errno("cannot put chunk '%s' into '%s'", name, addition->store->path);
	return NULL;
}

static struct rt_error *move_chunks(struct rt_store_addition *addition)
{
	int own = fcntl(addition->chunks_fd, F_DUPFD_CLOEXEC, 3);
	_cleanup_closedir_ DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	struct rt_error *err = NULL;
	struct dirent *entry;

	if (!dir) {
		rt_closep(&own);
		return rt_fail_errno("cannot list the new chunks");
	}
	while (!err && (entry = readdir(dir)))
		if (strlen(entry->d_name) == 2 * RT_DIGEST)
			err = move_chunk(addition, entry->d_name);
	return err;
}

struct rt_error *rt_store_addition_publish(struct rt_store_addition *addition)
{
	const struct rt_store *store = addition->store;
	_cleanup_free_ void *bytes = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	size_t size;

	if (store->cipher && !rt_snapshot_is_sealed(addition->snapshot)) {
		err = rt_snapshot_seal(addition->snapshot, store->cipher);
		if (err)
			return err;
	}
	err = rt_snapshot_each_file(addition->snapshot, check_chunks, addition);
	if (err)
		return err;
	/* A chunk under its name has its bytes, whatever ends the machine. */
	if (syncfs(store->dir_fd) < 0)
		return rt_fail_errno("cannot write '%s' to the disk", store->path);
	err = move_chunks(addition);
	if (!err)
		err = rt_snapshot_pack(addition->snapshot, &bytes, &size);
	if (err)
		return err;
	fd = openat(addition->dir_fd, "index", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return rt_fail_errno("cannot create the index of '%s'", addition->name);
	err = rt_write_all(fd, bytes, size);
	if (err)
		return rt_while(err, "writing the index of '%s'", addition->name);
	if (syncfs(store->dir_fd) < 0)
		return rt_fail_errno("cannot write '%s' to the disk", store->path);
	if (renameat2(addition->dir_fd, "index", store->index_fd, addition->name, RENAME_NOREPLACE) < 0) {
		if (errno == EEXIST)
			return rt_fail(RT_EXISTS, "there is a snapshot '%s' already", addition->name);
		return rt_fail_errno("cannot put the index of '%s' into its place", addition->name);
	}
	return fsync(store->index_fd) < 0 ? rt_fail_errno("cannot write '%s/index' to the disk", store->path) : NULL;
}

/* ---- out ---- */

struct rt_error *rt_chunk_load(const struct rt_store *store, const uint8_t digest[RT_DIGEST], void *buffer, uint32_t size)
{
	char path[RT_CHUNK_PATH_ROOM];
	uint8_t own[RT_DIGEST];
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	struct stat st;

	rt_chunk_path(digest, path);
	fd = openat(store->chunks_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return rt_fail(RT_CONFIG, "chunk '%s' is missing", path + 3);
	if (fd < 0 || fstat(fd, &st) < 0)
		return rt_fail_errno("cannot open chunk '%s'", path + 3);
	if (!S_ISREG(st.st_mode) || st.st_size != size)
		return rt_fail(RT_CONFIG, "chunk '%s' is damaged: it has not %u bytes", path + 3, size);
	err = rt_read_exact(fd, buffer, size);
	if (err)
		return rt_while(err, "reading chunk '%s'", path + 3);
	rt_digest(buffer, size, own);
	if (memcmp(own, digest, RT_DIGEST) != 0)
		return rt_fail(RT_CONFIG, "chunk '%s' is damaged: its digest is another", path + 3);
	return NULL;
}

struct rt_error *rt_store_reader_init(struct rt_store_reader *reader, const struct rt_store *store, const Rt__Snapshot *snapshot,
				      const Rt__StoredFile *file)
{
	struct rt_error *err = rt_snapshot_check_key(store, snapshot);

	*reader = (struct rt_store_reader){ .store = store, .file = file, .chunk_size = snapshot->chunk_size, .index = UINT64_MAX };
	if (err)
		return err;
	reader->chunk = malloc(snapshot->chunk_size);
	reader->sealed = rt_snapshot_is_sealed(snapshot) ? malloc(snapshot->chunk_size + RT_CIPHER_TAG) : NULL;
	return reader->chunk && (reader->sealed || !rt_snapshot_is_sealed(snapshot)) ? NULL : rt_error_oom();
}

void rt_store_reader_deinit(struct rt_store_reader *reader)
{
	free(rt_take_ptr(reader->chunk));
	free(rt_take_ptr(reader->sealed));
}

static struct rt_error *fetch(struct rt_store_reader *reader, uint64_t index)
{
	const uint8_t *digest = rt_chunk_digest(reader->file, index);
	uint32_t size = rt_chunk_bytes(reader->file, reader->chunk_size, index);
	struct rt_error *err = NULL;

	reader->index = UINT64_MAX;
	if (rt_chunk_is_zero(digest))
		memset(reader->chunk, 0, size);
	else if (!reader->sealed)
		err = rt_chunk_load(reader->store, digest, reader->chunk, size);
	else
		err = rt_chunk_load(reader->store, digest, reader->sealed, size + RT_CIPHER_TAG);
	if (!err && reader->sealed && !rt_chunk_is_zero(digest))
		err = rt_chunk_open(reader->store, digest, reader->sealed, size + RT_CIPHER_TAG, reader->chunk);
	if (err)
		return rt_while(err, "'%s' of the snapshot", reader->file->name);
	reader->index = index;
	return NULL;
}

struct rt_error *rt_store_read(struct rt_store_reader *reader, uint64_t offset, void *buffer, size_t size)
{
	if (offset > reader->file->size || size > reader->file->size - offset)
		return rt_fail(RT_CONFIG, "'%s' of the snapshot has only %llu bytes", reader->file->name, (unsigned long long)reader->file->size);
	while (size > 0) {
		uint64_t index = offset / reader->chunk_size, at = offset % reader->chunk_size;
		size_t part = size < reader->chunk_size - at ? size : (size_t)(reader->chunk_size - at);
		struct rt_error *err = index == reader->index ? NULL : fetch(reader, index);

		if (err)
			return err;
		memcpy(buffer, reader->chunk + at, part);
		buffer = (uint8_t *)buffer + part;
		offset += part;
		size -= part;
	}
	return NULL;
}

struct rt_error *rt_store_extract(const struct rt_store *store, const Rt__Snapshot *snapshot, const Rt__StoredFile *file, int fd)
{
	_cleanup_(rt_store_reader_deinit) struct rt_store_reader reader = { .store = NULL };
	struct rt_error *err = rt_store_reader_init(&reader, store, snapshot, file);

	if (!err && ftruncate(fd, (off_t)file->size) < 0)
		err = rt_fail_errno("cannot size '%s'", file->name);
	for (uint64_t i = 0; i < rt_chunk_count(file) && !err; i++) {
		if (rt_chunk_is_zero(rt_chunk_digest(file, i)))
			continue;
		err = fetch(&reader, i);
		if (!err && lseek(fd, (off_t)(i * snapshot->chunk_size), SEEK_SET) < 0)
			err = rt_fail_errno("cannot seek in '%s'", file->name);
		if (!err)
			err = rt_write_all(fd, reader.chunk, rt_chunk_bytes(file, snapshot->chunk_size, i));
	}
	return err;
}
