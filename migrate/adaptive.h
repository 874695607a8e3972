/* Whether what goes out next gets over sooner if it is compressed first. Pure arithmetic.
 *
 * It does where the compressor makes more bytes ready in a second than the link takes. What does not get smaller is found out, and left alone for a while. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* All zero: nothing is known. */
struct rt_adaptive {
	uint64_t speed; /* of the compressor of late: bytes of input a second */
	unsigned futile; /* pieces still to be left alone, as one did not get smaller */
};

/* `rate`: bytes a second that the link delivers; 0: not known. */
bool rt_adaptive_wants(struct rt_adaptive *adaptive, uint64_t rate);

/* `size` bytes have become `stored` in `us`. */
void rt_adaptive_learn(struct rt_adaptive *adaptive, uint64_t size, uint64_t stored, uint64_t us);
