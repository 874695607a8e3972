/* Standing in for a container towards its neighbours: what is to be done with a frame that reaches the place where it will be, and the
 * answer to whoever asks who has its addresses (ARP, RFC 826; neighbour solicitations, RFC 4861).
 *
 * Pure: frames in, frames out. */
#pragma once

#include "runtime/netns/announce.h"

enum rt_neighbour_verdict {
	RT_NEIGHBOUR_PASS, /* not the container's, or broadcast: nothing waits for an answer to it */
	RT_NEIGHBOUR_KEEP, /* to its hardware address */
	RT_NEIGHBOUR_ANSWER, /* asks for one of its addresses */
};

struct rt_neighbour_answer {
	uint8_t frame[RT_ADVERTISEMENT_FRAME];
	size_t size;
};

/* `ret` is written where the verdict is ANSWER. */
enum rt_neighbour_verdict rt_neighbour_judge(const struct rt_network *network, const uint8_t *frame, size_t size,
					     struct rt_neighbour_answer *ret);
