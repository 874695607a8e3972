/* One layer of an image onto a root: the blob is read, checked and unpacked in one pass. In the helper program. It fails where we are asked to
 * stop (base/interrupt.h). */
#pragma once

#include "runtime/bundle/source.h"

/* Of everything that is unpacked, together. */
struct rt_layer_totals {
	uint64_t entries, entries_max;
	uint64_t packed, unpacked; /* bytes of blobs, and of the tars in them */
	bool any_ratio; /* whoever named a limit has decided what a bomb is */
};

struct rt_layer {
	const char *path; /* in the source; NULL: the source itself is the tar */
	const char *hex; /* SHA-256 of the blob; NULL: not known */
	const char *diff_hex; /* of the tar in it; NULL: not known */
	bool has_size;
	uint64_t size; /* of the blob */
	bool whiteouts; /* entries called ".wh.NAME" take NAME away; in the first layer there is nothing to take */
};

struct rt_error *rt_layer_apply(struct rt_source *source, const struct rt_layer *layer, struct rt_unpack *unpack,
				struct rt_layer_totals *totals) _must_check_;

/* A directory, file by file, as if it were a layer. */
struct rt_error *rt_layer_copy(const char *path, struct rt_unpack *unpack, struct rt_layer_totals *totals) _must_check_;
