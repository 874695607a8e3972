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
