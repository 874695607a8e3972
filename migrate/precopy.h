/* When to stop copying the memory of a running container and freeze it. Pure arithmetic. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rt_precopy {
	uint64_t target_us; /* --downtime */
	uint64_t fixed_us; /* what a freeze costs without any page: estimated from the container's memory */
	unsigned max_rounds;
	/* state */
	unsigned rounds; /* done */
	uint64_t rate; /* bytes of memory a second, over the last rounds; 0: not known */
	uint64_t last_dirty; /* bytes */
	unsigned stuck; /* rounds in a row that did not get the rest smaller */
};

enum rt_precopy_verdict {
	RT_PRECOPY_AGAIN,
	RT_PRECOPY_FREEZE, /* the prediction is below the target */
	RT_PRECOPY_STUCK, /* it does not get smaller: freeze now, or let hybrid take over */
	RT_PRECOPY_ENOUGH, /* max_rounds */
};

/* A round is over: it sent `sent` bytes of memory, however few they were on the wire, in `us`; `dirty` bytes have changed since it began. */
enum rt_precopy_verdict rt_precopy_after(struct rt_precopy *precopy, uint64_t sent, uint64_t us, uint64_t dirty);

/* How long it takes to send so many bytes, as far as rounds have told; 0: they have not. */
uint64_t rt_precopy_sending(const struct rt_precopy *precopy, uint64_t bytes);

/* Downtime, if it were frozen with so many bytes to send. */
uint64_t rt_precopy_predict(const struct rt_precopy *precopy, uint64_t dirty);
