/* Sums of the blocks of files: to tell what has changed in a large one, and that nothing has where only its attributes did. Against accidents, not
 * against the container: a collision that it makes is to its own harm. */
#include "migrate/tree_private.h"

#include <string.h>
#include <xxhash.h>

/* 4 MiB of sums; larger files are sent whole. */
#define SIZE_MAX_SUMMED ((uint64_t)64 << 30)

static bool is_zero(const uint8_t *bytes, size_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

void rt_tree_sums_clear(struct rt_tree_sums *sums)
{
	if (sums->count > 1)
		free(sums->list);
	*sums = (struct rt_tree_sums){ 0 };
}

struct rt_error *rt_tree_sums_init(struct rt_tree_sums *sums, uint64_t size)
{
	*sums = (struct rt_tree_sums){ 0 };
	if (size > SIZE_MAX_SUMMED)
		return NULL;
	sums->known = true;
	sums->count = (size_t)((size + RT_TREE_BLOCK - 1) / RT_TREE_BLOCK);
	if (sums->count > 1) {
		sums->list = calloc(sums->count, sizeof(*sums->list));
		if (!sums->list)
			return rt_error_oom();
	}
	return NULL;
}

uint64_t *rt_tree_sums_at(struct rt_tree_sums *sums, size_t index)
{
	return sums->count > 1 ? &sums->list[index] : &sums->one;
}

uint64_t rt_tree_sum(const void *bytes, size_t size)
{
	return is_zero(bytes, size) ? 0 : XXH3_64bits(bytes, size);
}

struct rt_error *rt_tree_summing_begin(struct rt_tree_summing *summing, uint64_t size)
{
	struct rt_error *err = rt_tree_sums_init(&summing->sums, size);

	summing->at = 0;
	summing->size = size;
	summing->state = NULL;
	if (!err && summing->sums.known) {
		summing->state = XXH3_createState();
		if (!summing->state)
			return rt_error_oom();
	}
	return err;
}

void rt_tree_summing_deinit(struct rt_tree_summing *summing)
{
	XXH3_freeState(summing->state);
	rt_tree_sums_clear(&summing->sums);
}

/* Part of a block, or all of it. NULL: zeroes. */
static void add(struct rt_tree_summing *summing, const uint8_t *bytes, size_t size)
{
	static const uint8_t zeroes[4096];
	size_t inside = summing->at % RT_TREE_BLOCK;

	if (inside == 0) {
		XXH3_64bits_reset(summing->state);
		summing->zero = true;
	}
	if (bytes && !is_zero(bytes, size))
		summing->zero = false;
	for (size_t done = 0; bytes == NULL && done < size;) {
		size_t step = size - done < sizeof(zeroes) ? size - done : sizeof(zeroes);

		XXH3_64bits_update(summing->state, zeroes, step);
		done += step;
	}
	if (bytes)
		XXH3_64bits_update(summing->state, bytes, size);
	summing->at += size;
	if (inside + size == RT_TREE_BLOCK || summing->at == summing->size)
		*rt_tree_sums_at(&summing->sums, (size_t)((summing->at - 1) / RT_TREE_BLOCK)) = summing->zero ? 0 : XXH3_64bits_digest(summing->state);
}

void rt_tree_summing_add(struct rt_tree_summing *summing, const void *bytes, uint64_t size)
{
	if (!summing->sums.known)
		return;
	while (size > 0) {
		uint64_t room = RT_TREE_BLOCK - summing->at % RT_TREE_BLOCK, step = size < room ? size : room;

		if (!bytes && step == RT_TREE_BLOCK)
			summing->at += step; /* its sum is 0 already */
		else
			add(summing, bytes, (size_t)step);
		if (bytes)
			bytes = (const uint8_t *)bytes + step;
		size -= step;
	}
}
