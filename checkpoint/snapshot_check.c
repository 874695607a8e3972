/* The whole store at once: is everything as it was written, and what does nobody need any more? */
#include "checkpoint/snapshot_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* ---- every chunk there is ---- */

typedef struct rt_error *(*chunk_fn)(void *userdata, int folder_fd, const char *name);

static int no_dots(const struct dirent *entry)
{
	return !rt_str_equal(entry->d_name, ".") && !rt_str_equal(entry->d_name, "..");
}

/* `name` is that of a file that is no chunk, too: whoever asks tells them apart. */
static struct rt_error *each_in(int dir_fd, void *userdata, struct rt_error *(*each)(void *userdata, int dir_fd, const char *name))
{
	struct rt_error *err = NULL;
	struct dirent **entries;
	int count = scandirat(dir_fd, ".", &entries, no_dots, alphasort);

	if (count < 0)
		return rt_fail_errno("cannot list the chunks");
	for (int i = 0; i < count; i++) {
		if (!err)
			err = each(userdata, dir_fd, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return err;
}

struct walk {
	chunk_fn each;
	void *userdata;
};

static struct rt_error *walk_folder(void *userdata, int dir_fd, const char *name)
{
	struct walk *walk = userdata;
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || strlen(name) != 2)
		return walk->each(walk->userdata, dir_fd, name);
	return each_in(fd, walk->userdata, walk->each);
}

static struct rt_error *each_chunk(const struct rt_store *store, chunk_fn each, void *userdata)
{
	struct walk walk = { each, userdata };

	return each_in(store->chunks_fd, &walk, walk_folder);
}

/* ---- digests that are named ---- */

struct digests {
	uint8_t (*list)[RT_DIGEST];
	size_t count, room;
};

static void digests_deinit(struct digests *digests)
{
	free(digests->list);
}

static struct rt_error *note_file(void *userdata, const Rt__StoredFile *file)
{
	struct digests *digests = userdata;
	size_t count = rt_chunk_count(file);

	if (digests->room - digests->count < count) {
		size_t room = 2 * digests->room + count;
		void *more = reallocarray(digests->list, room, RT_DIGEST);

		if (!more)
			return rt_error_oom();
		digests->list = more;
		digests->room = room;
	}
	for (size_t i = 0; i < count; i++)
		if (!rt_chunk_is_zero(rt_chunk_digest(file, i)))
			memcpy(digests->list[digests->count++], rt_chunk_digest(file, i), RT_DIGEST);
	return NULL;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, RT_DIGEST);
}

/* Of all snapshots but `except`, which may be NULL; sorted. */
static struct rt_error *note_all(const struct rt_store *store, const char *except, struct digests *ret)
{
	char **names;
	struct rt_error *err = rt_store_names(store, &names);

	if (err)
		return err;
	for (char **name = names; *name && !err; name++) {
		_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;

		if (except && rt_str_equal(except, *name))
			continue;
		err = rt_snapshot_load_stored(store, *name, &snapshot);
		if (err && err->code == RT_NOT_FOUND) /* removed just now */
			err = rt_error_free(err);
		else if (!err)
			err = rt_snapshot_each_file(snapshot, note_file, ret);
	}
	rt_names_free(names);
	if (!err && ret->count > 0)
		qsort(ret->list, ret->count, RT_DIGEST, compare);
	return err;
}

static bool is_named(const struct digests *digests, const uint8_t digest[RT_DIGEST])
{
	return digests->count > 0 && bsearch(digest, digests->list, digests->count, RT_DIGEST, compare);
}

/* ---- what a snapshot takes ---- */

struct sized {
	uint8_t digest[RT_DIGEST];
	uint32_t size;
};

struct sizes {
	struct sized *list;
	size_t count;
	const Rt__Snapshot *snapshot;
	uint64_t bytes;
};

static struct rt_error *note_sizes(void *userdata, const Rt__StoredFile *file)
{
	struct sizes *sizes = userdata;
	size_t chunks = rt_chunk_count(file);
	struct sized *more = reallocarray(sizes->list, sizes->count + chunks + 1, sizeof(*more));

	if (!more)
		return rt_error_oom();
	sizes->list = more;
	sizes->bytes += file->size;
	for (size_t i = 0; i < chunks; i++) {
		struct sized *one = &more[sizes->count];

		memcpy(one->digest, rt_chunk_digest(file, i), RT_DIGEST);
		one->size = rt_chunk_stored(sizes->snapshot, file, i);
		sizes->count += !rt_chunk_is_zero(one->digest);
	}
	return NULL;
}

struct rt_error *rt_snapshot_usage(const struct rt_store *store, const Rt__Snapshot *snapshot, struct rt_snapshot_usage *ret)
{
	_cleanup_(digests_deinit) struct digests others = { 0 };
	struct sizes sizes = { .snapshot = snapshot };
	struct rt_error *err = rt_snapshot_each_file(snapshot, note_sizes, &sizes);

	if (!err)
		err = note_all(store, snapshot->name, &others);
	*ret = (struct rt_snapshot_usage){ .size = sizes.bytes };
	if (!err && sizes.count > 0)
		qsort(sizes.list, sizes.count, sizeof(*sizes.list), compare); /* the digest stands first */
	for (size_t i = 0; i < sizes.count && !err; i++) {
		if (i > 0 && compare(sizes.list[i - 1].digest, sizes.list[i].digest) == 0)
			continue;
		ret->stored += sizes.list[i].size;
		if (is_named(&others, sizes.list[i].digest))
			ret->shared += sizes.list[i].size;
	}
	free(sizes.list);
	return err;
}

/* ---- gc ---- */

struct collection {
	struct digests named;
	struct rt_store_collected *result;
};

static struct rt_error *consider(void *userdata, int dir_fd, const char *name)
{
	struct collection *collection = userdata;
	uint8_t digest[RT_DIGEST];
	struct stat st;

	if (rt_chunk_parse(name, digest) && is_named(&collection->named, digest)) {
		collection->result->kept++;
		return NULL;
	}
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || unlinkat(dir_fd, name, 0) < 0)
		return rt_fail_errno("cannot remove chunk '%s'", name);
	collection->result->freed++;
	collection->result->freed_bytes += (uint64_t)st.st_size;
	return NULL;
}

static struct rt_error *remove_leftover(void *userdata, int dir_fd, const char *name)
{
	return rt_remove_tree_at(dir_fd, name);
}

struct rt_error *rt_store_collect(const struct rt_store *store, struct rt_store_collected *ret)
{
	struct collection collection = { .result = ret };
	_cleanup_close_ int lock_fd = -1;
	struct rt_error *err;

	*ret = (struct rt_store_collected){ 0 };
	err = rt_store_lock_as(store, LOCK_EX, &lock_fd);
	if (!err)
		err = note_all(store, NULL, &collection.named);
	if (!err)
		err = each_chunk(store, consider, &collection);
	/* Whoever was adding something holds the lock, or is dead. */
	if (!err)
		err = each_in(store->tmp_fd, NULL, remove_leftover);
	digests_deinit(&collection.named);
	return err ? rt_while(err, "cannot clean '%s'", store->path) : NULL;
}

/* ---- verify ---- */

struct check {
	const struct rt_store *store;
	void (*fault)(void *userdata, const char *sentence);
	void *userdata;
	struct rt_store_verdict *verdict;
	const Rt__Snapshot *snapshot; /* whose files are looked at */
	uint8_t *buffer, *opened; /* a chunk, and the same when it is opened */
	size_t room;
};

/* What is wrong with the store is told; what keeps us from looking is an error. */
static struct rt_error *tell(struct check *check, struct rt_error *err)
{
	_cleanup_free_ char *text = NULL;

	if (!err || err->code != RT_CONFIG)
		return err;
	text = rt_error_text(err);
	check->fault(check->userdata, text ? text : err->message);
	check->verdict->faults++;
	return rt_error_free(err);
}

static struct rt_error *check_bytes(struct check *check, const uint8_t digest[RT_DIGEST], uint64_t size)
{
	if (size > check->room) {
		uint8_t *more = realloc(check->buffer, size), *opened;

		if (!more)
			return rt_error_oom();
		check->buffer = more;
		opened = realloc(check->opened, size);
		if (!opened)
			return rt_error_oom();
		check->opened = opened;
		check->room = size;
	}
	return rt_chunk_load(check->store, digest, check->buffer, (uint32_t)size);
}

static struct rt_error *check_chunk(void *userdata, int dir_fd, const char *name)
{
	struct check *check = userdata;
	uint8_t digest[RT_DIGEST];
	struct stat st;

	check->verdict->chunks++;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) /* gc was quicker, of what nobody needs */
		return errno == ENOENT ? NULL : rt_fail_errno("cannot look at chunk '%s'", name);
	if (!S_ISREG(st.st_mode) || st.st_size > RT_SNAPSHOT_CHUNK_MAX + RT_CIPHER_TAG || !rt_chunk_parse(name, digest))
		return tell(check, rt_fail(RT_CONFIG, "'%s' is no chunk", name));
	return tell(check, check_bytes(check, digest, (uint64_t)st.st_size));
}

/* The bytes were looked at already; here it counts that they are there, and as many as the file needs. */
static struct rt_error *check_file(void *userdata, const Rt__StoredFile *file)
{
	struct check *check = userdata;
	struct rt_error *err = NULL;

	for (uint64_t i = 0; i < rt_chunk_count(file) && !err; i++) {
		char path[RT_CHUNK_PATH_ROOM];
		uint32_t size = rt_chunk_stored(check->snapshot, file, i);
		struct stat st;

		if (rt_chunk_is_zero(rt_chunk_digest(file, i)))
			continue;
		rt_chunk_path(rt_chunk_digest(file, i), path);
		if (fstatat(check->store->chunks_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			err = tell(check, rt_fail(RT_CONFIG, "snapshot '%s': '%s': chunk '%s' is missing", check->snapshot->name, file->name, path + 3));
		else if (st.st_size != size)
			err = tell(check, rt_fail(RT_CONFIG, "snapshot '%s': '%s': chunk '%s' has not %u bytes", check->snapshot->name, file->name,
						  path + 3, size));
	}
	return err;
}

static struct rt_error *check_file_bytes(void *userdata, const Rt__StoredFile *file)
{
	struct check *check = userdata;
	struct rt_error *err = NULL;

	for (uint64_t i = 0; i < rt_chunk_count(file) && !err; i++) {
		uint32_t size = rt_chunk_stored(check->snapshot, file, i);

		if (rt_chunk_is_zero(rt_chunk_digest(file, i)))
			continue;
		check->verdict->chunks++;
		err = check_bytes(check, rt_chunk_digest(file, i), size);
		if (!err && check->store->cipher)
			err = rt_chunk_open(check->store, rt_chunk_digest(file, i), check->buffer, size, check->opened);
		if (err)
			err = tell(check, rt_while(err, "snapshot '%s': '%s'", check->snapshot->name, file->name));
	}
	return err;
}

static struct rt_error *check_snapshot(struct check *check, const char *name, rt_stored_file_fn each)
{
	_cleanup_snapshot_ Rt__Snapshot *snapshot = NULL;
	struct rt_error *err = rt_snapshot_load(check->store, name, &snapshot);

	check->verdict->snapshots++;
	if (err)
		return tell(check, err);
	if (check->store->cipher) {
		err = rt_snapshot_check_key(check->store, snapshot);
		if (err)
			return rt_while(err, "snapshot '%s'", name);
	}
	check->snapshot = snapshot;
	return rt_snapshot_each_file(snapshot, each, check);
}

static struct rt_error *check_all(struct check *check)
{
	char **names;
	struct rt_error *err = rt_store_names(check->store, &names);

	if (err)
		return err;
	err = each_chunk(check->store, check_chunk, check);
	for (char **name = names; *name && !err; name++) {
		err = check_snapshot(check, *name, check_file);
		if (err && err->code == RT_NOT_FOUND)
			err = rt_error_free(err);
	}
	rt_names_free(names);
	return err;
}

struct rt_error *rt_store_verify(const struct rt_store *store, const char *name, void (*fault)(void *userdata, const char *sentence), void *userdata,
				 struct rt_store_verdict *ret)
{
	struct check check = { .store = store, .fault = fault, .userdata = userdata, .verdict = ret };
	_cleanup_close_ int lock_fd = -1;
	struct rt_error *err;

	*ret = (struct rt_store_verdict){ 0 };
	err = rt_store_lock(store, &lock_fd);
	if (!err)
		err = name ? check_snapshot(&check, name, check_file_bytes) : check_all(&check);
	free(check.buffer);
	free(check.opened);
	return err;
}
