/* What of a snapshot has to go along when it goes elsewhere. */
#include "checkpoint/snapshot_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define WORDS (RT_DIGEST / sizeof(uint64_t))

struct listing {
	const Rt__Snapshot *snapshot;
	struct rt_chunk_list *list;
	uint8_t (*seen)[RT_DIGEST]; /* a hash table; zeros: free */
	unsigned bits; /* of the table's size */
	uint64_t random[WORDS]; /* odd */
};

/* Digests are as good as random only where they are some: in a stranger's index all may be alike but for the bits that a simpler function leaves out. */
static size_t place_of(const struct listing *listing, const uint8_t digest[RT_DIGEST])
{
	uint64_t words[WORDS], sum = 0;

	memcpy(words, digest, RT_DIGEST);
	for (size_t i = 0; i < WORDS; i++)
		sum += words[i] * listing->random[i];
	return (size_t)(sum >> (64 - listing->bits));
}

/* False where it was there already. */
static bool note_seen(struct listing *listing, const uint8_t digest[RT_DIGEST])
{
	size_t last = ((size_t)1 << listing->bits) - 1, at;

	for (at = place_of(listing, digest); !rt_chunk_is_zero(listing->seen[at]); at = (at + 1) & last)
		if (memcmp(listing->seen[at], digest, RT_DIGEST) == 0)
			return false;
	memcpy(listing->seen[at], digest, RT_DIGEST);
	return true;
}

static struct rt_error *list_file(void *userdata, const Rt__StoredFile *file)
{
	struct listing *listing = userdata;

	for (uint64_t i = 0; i < rt_chunk_count(file); i++) {
		const uint8_t *digest = rt_chunk_digest(file, i);
		struct rt_listed_chunk *chunk = &listing->list->chunks[listing->list->count];

		if (rt_chunk_is_zero(digest) || !note_seen(listing, digest))
			continue;
		memcpy(chunk->digest, digest, RT_DIGEST);
		chunk->size = rt_chunk_stored(listing->snapshot, file, i);
		listing->list->count++;
	}
	return NULL;
}

static struct rt_error *count_file(void *userdata, const Rt__StoredFile *file)
{
	*(size_t *)userdata += rt_chunk_count(file);
	return NULL;
}

void rt_chunk_list_deinit(struct rt_chunk_list *list)
{
	free(list->chunks);
	*list = (struct rt_chunk_list){ 0 };
}

struct rt_error *rt_snapshot_chunks(const Rt__Snapshot *snapshot, struct rt_chunk_list *ret)
{
	_cleanup_(rt_chunk_list_deinit) struct rt_chunk_list list = { 0 };
	struct listing listing = { .snapshot = snapshot, .list = &list, .bits = 4 };
	size_t count = 0;
	struct rt_error *err = rt_snapshot_each_file(snapshot, count_file, &count);

	if (!err && getrandom(listing.random, sizeof(listing.random), 0) != sizeof(listing.random))
		err = rt_fail_errno("cannot draw random numbers");
	for (size_t i = 0; i < WORDS; i++)
		listing.random[i] |= 1;
	while ((size_t)1 << listing.bits < 2 * count)
		listing.bits++;
	listing.seen = calloc((size_t)1 << listing.bits, RT_DIGEST);
	list.chunks = calloc(count + 1, sizeof(*list.chunks));
	if (!err && (!listing.seen || !list.chunks))
		err = rt_error_oom();
	if (!err)
		err = rt_snapshot_each_file(snapshot, list_file, &listing);
	free(listing.seen);
	if (err)
		return err;
	*ret = list;
	list = (struct rt_chunk_list){ 0 };
	return NULL;
}

struct rt_error *rt_store_each_chunk(const struct rt_store *store, const Rt__Snapshot *snapshot, rt_chunk_fn each, void *userdata)
{
	_cleanup_(rt_chunk_list_deinit) struct rt_chunk_list list = { 0 };
	_cleanup_free_ uint8_t *buffer = malloc(snapshot->chunk_size + RT_CIPHER_TAG);
	struct rt_error *err = buffer ? rt_snapshot_chunks(snapshot, &list) : rt_error_oom();

	for (size_t i = 0; i < list.count && !err; i++) {
		char text[RT_DIGEST_TEXT_ROOM];

		rt_digest_text(list.chunks[i].digest, text);
		err = rt_chunk_load(store, list.chunks[i].digest, buffer, list.chunks[i].size);
		if (!err)
			err = each(userdata, text, buffer, list.chunks[i].size);
	}
	return err;
}
