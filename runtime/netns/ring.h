/* Frames in memory, the oldest first, up to a number and a size: the oldest go where there is no room for a new one. Knows nothing of
 * what is in them.
 *
 * Pure: no I/O. */
#pragma once

#include "runtime/base/error.h"

#include <stddef.h>
#include <stdint.h>

struct rt_ring_frame {
	void *bytes;
	size_t size;
};

struct rt_ring {
	struct rt_ring_frame *frames; /* its own, and what they hold */
	size_t room, first, count;
	size_t most_bytes, bytes;
	uint64_t dropped; /* so far */
};

#define RT_RING_NULL ((struct rt_ring){ .frames = NULL })

struct rt_error *rt_ring_init(struct rt_ring *ring, size_t most_frames, size_t most_bytes) _must_check_;
void rt_ring_deinit(struct rt_ring *ring);
#define _cleanup_ring_ _cleanup_(rt_ring_deinit)

/* Copies it. One that is larger than all the room there is, or for which there is no memory, is dropped and counted. */
void rt_ring_push(struct rt_ring *ring, const void *bytes, size_t size);

/* The oldest, whose bytes are the caller's to free; false: there is none. */
bool rt_ring_pop(struct rt_ring *ring, struct rt_ring_frame *ret);
