/* A snapshot that is not encrypted in the store, but is to be where it goes. */
#include "checkpoint/snapshot_private.h"

#include <stdlib.h>
#include <string.h>

struct replacement {
	uint8_t digest[RT_DIGEST], sealed[RT_DIGEST];
};

struct replacements {
	struct replacement *list; /* sorted by digest */
	size_t count;
};

struct rt_error *rt_chunk_load_sealed(const struct rt_store *store, const uint8_t digest[RT_DIGEST], uint32_t size, uint8_t *ret)
{
	_cleanup_free_ uint8_t *bytes = malloc(size);
	struct rt_error *err = bytes ? rt_chunk_load(store, digest, bytes, size) : rt_error_oom();

	if (!err)
		rt_cipher_seal(store->cipher, RT_CIPHER_CHUNK, NULL, 0, bytes, size, ret);
	return err;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, RT_DIGEST);
}

static struct rt_error *replace_in(void *userdata, const Rt__StoredFile *file)
{
	const struct replacements *replacements = userdata;

	for (uint64_t i = 0; i < rt_chunk_count(file); i++) {
		const uint8_t *digest = rt_chunk_digest(file, i);
		const struct replacement *found;

		if (rt_chunk_is_zero(digest))
			continue;
		found = bsearch(digest, replacements->list, replacements->count, sizeof(*replacements->list), compare);
		memcpy(file->digests.data + i * RT_DIGEST, found->sealed, RT_DIGEST);
	}
	return NULL;
}

static struct rt_error *seal_all(const struct rt_store *store, const struct rt_chunk_list *chunks, struct replacement *list, struct rt_chunk_list *ret)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; i < chunks->count && !err; i++) {
		const struct rt_listed_chunk *chunk = &chunks->chunks[i];
		_cleanup_free_ uint8_t *sealed = malloc(chunk->size + RT_CIPHER_TAG);

		err = sealed ? rt_chunk_load_sealed(store, chunk->digest, chunk->size, sealed) : rt_error_oom();
		if (err)
			break;
		rt_digest(sealed, chunk->size + RT_CIPHER_TAG, list[i].sealed);
		memcpy(list[i].digest, chunk->digest, RT_DIGEST);
		memcpy(ret->chunks[i].digest, list[i].sealed, RT_DIGEST);
		ret->chunks[i].size = chunk->size + RT_CIPHER_TAG;
	}
	return err;
}

struct rt_error *rt_snapshot_encrypt(const struct rt_store *store, Rt__Snapshot *snapshot, const struct rt_chunk_list *chunks, struct rt_chunk_list *ret)
{
	struct replacements replacements = { .list = calloc(chunks->count + 1, sizeof(*replacements.list)), .count = chunks->count };
	struct rt_chunk_list sealed = { .chunks = calloc(chunks->count + 1, sizeof(*sealed.chunks)), .count = chunks->count };
	struct rt_error *err = replacements.list && sealed.chunks ? seal_all(store, chunks, replacements.list, &sealed) : rt_error_oom();

	if (!err) {
		qsort(replacements.list, replacements.count, sizeof(*replacements.list), compare);
		err = rt_snapshot_each_file(snapshot, replace_in, &replacements);
	}
	if (!err)
		err = rt_snapshot_seal(snapshot, store->cipher);
	free(replacements.list);
	if (err)
		rt_chunk_list_deinit(&sealed);
	else
		*ret = sealed;
	return err;
}
