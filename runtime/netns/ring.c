#include "runtime/netns/ring.h"

#include <stdlib.h>
#include <string.h>

struct rt_error *rt_ring_init(struct rt_ring *ring, size_t most_frames, size_t most_bytes)
{
	*ring = (struct rt_ring){ .frames = calloc(most_frames, sizeof(*ring->frames)), .room = most_frames, .most_bytes = most_bytes };
	return ring->frames ? NULL : rt_error_oom();
}

void rt_ring_deinit(struct rt_ring *ring)
{
	struct rt_ring_frame frame;

	while (rt_ring_pop(ring, &frame))
		free(frame.bytes);
	free(ring->frames);
	*ring = RT_RING_NULL;
}

bool rt_ring_pop(struct rt_ring *ring, struct rt_ring_frame *ret)
{
	if (ring->count == 0)
		return false;
	*ret = ring->frames[ring->first];
	ring->first = (ring->first + 1) % ring->room;
	ring->count--;
	ring->bytes -= ret->size;
	return true;
}

void rt_ring_push(struct rt_ring *ring, const void *bytes, size_t size)
{
	struct rt_ring_frame frame;
	void *copy = size <= ring->most_bytes ? malloc(size) : NULL;

	if (!copy) {
		ring->dropped++;
		return;
	}
	memcpy(copy, bytes, size);
	while (ring->count == ring->room || ring->bytes + size > ring->most_bytes) {
		(void)rt_ring_pop(ring, &frame);
		free(frame.bytes);
		ring->dropped++;
	}
	ring->frames[(ring->first + ring->count) % ring->room] = (struct rt_ring_frame){ copy, size };
	ring->count++;
	ring->bytes += size;
}
