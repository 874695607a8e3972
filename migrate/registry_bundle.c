#include "migrate/registry_bundle.h"

#include <stdlib.h>

unsigned rt_bundle_bits(size_t chunks)
{
	unsigned bits = 0;

	while (bits < RT_BUNDLE_BITS_MAX && chunks >> bits > RT_BUNDLE_COUNT)
		bits++;
	return bits;
}

/* Four times as many as are expected, so that a run without an end doesn't grow for ever. */
static bool ends(const struct rt_chunk_list *chunks, const struct rt_bundle *bundle, unsigned bits)
{
	const uint8_t *digest = chunks->chunks[bundle->first + bundle->count - 1].digest;
	unsigned tail = (unsigned)digest[SHA256_DIGEST_SIZE - 2] << 8 | digest[SHA256_DIGEST_SIZE - 1];

	return (tail & ((1u << bits) - 1)) == 0 || bundle->count >= (size_t)4 << bits;
}

void rt_bundles_deinit(struct rt_bundles *bundles)
{
	free(bundles->list);
	*bundles = (struct rt_bundles){ 0 };
}

struct rt_error *rt_bundles_make(const struct rt_chunk_list *chunks, unsigned bits, struct rt_bundles *ret)
{
	struct rt_bundles bundles = { .list = calloc(chunks->count + 1, sizeof(*bundles.list)) };
	struct rt_bundle *bundle = bundles.list;

	if (!bundle)
		return rt_error_oom();
	for (size_t i = 0; i < chunks->count; i++) {
		if (bundle->count > 0 && bundle->size + chunks->chunks[i].size > RT_BUNDLE_BYTES)
			*++bundle = (struct rt_bundle){ .first = i };
		bundle->count++;
		bundle->size += chunks->chunks[i].size;
		if (ends(chunks, bundle, bits))
			*++bundle = (struct rt_bundle){ .first = i + 1 };
	}
	bundles.count = (size_t)(bundle - bundles.list) + (bundle->count > 0);
	*ret = bundles;
	return NULL;
}
