/* Time that only goes forward. */
#pragma once

#include <stdint.h>
#include <time.h>

/* Microseconds since an unknown moment, the same for all processes of a host (CLOCK_MONOTONIC). */
static inline uint64_t rt_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The moment so far from now, of the same clock, for the calls that wait until one. */
static inline struct timespec rt_after_ms(unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return until;
}
