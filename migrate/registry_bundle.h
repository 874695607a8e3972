/* Which chunks of a snapshot travel in one blob (docs/decisions/0016-one-blob-a-chunk.md).
 *
 * As long as the manifest has room for all of them, each chunk is a blob. Beyond, a bundle ends behind a chunk whose digest ends with `bits` bits
 * of 0, so that two snapshots that have a run of chunks in common have the bundles in it in common, too. Pure. */
#pragma once

#include "checkpoint/snapshot.h"

#define RT_BUNDLE_BITS_MAX 16
/* More chunks than that are put together: a manifest of so many is 0.7 MiB, of the 4 that registries take, and each costs three requests. */
#define RT_BUNDLE_COUNT 4096
#define RT_BUNDLE_BYTES (32u << 20) /* unless a single chunk is larger, which none is */

struct rt_bundle {
	size_t first, count; /* chunks of the list */
	uint32_t size; /* bytes */
};

struct rt_bundles {
	struct rt_bundle *list; /* owned */
	size_t count;
};

unsigned rt_bundle_bits(size_t chunks);
struct rt_error *rt_bundles_make(const struct rt_chunk_list *chunks, unsigned bits, struct rt_bundles *ret) _must_check_;
void rt_bundles_deinit(struct rt_bundles *bundles);
