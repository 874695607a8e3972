#include "migrate/precopy.h"

/* Rounds in a row without progress after which more of them won't help. */
#define STUCK_ROUNDS 3
/* Less than this in one round says little about the link. */
#define RATE_MIN_BYTES (1u << 20)

uint64_t rt_precopy_sending(const struct rt_precopy *precopy, uint64_t bytes)
{
	return precopy->rate ? (uint64_t)((double)bytes * 1e6 / (double)precopy->rate) : 0;
}

uint64_t rt_precopy_predict(const struct rt_precopy *precopy, uint64_t dirty)
{
	return precopy->fixed_us + rt_precopy_sending(precopy, dirty);
}

/* Below the target a further round still pays as long as it takes much off what is to be sent: it costs the container nothing but faults. */
static bool is_good_enough(const struct rt_precopy *precopy, uint64_t dirty)
{
	uint64_t predicted = rt_precopy_predict(precopy, dirty);

	if (predicted > precopy->target_us)
		return false;
	return rt_precopy_sending(precopy, dirty) <= precopy->fixed_us / 8 || (precopy->rounds > 1 && dirty > precopy->last_dirty / 2) ||
	       precopy->rounds >= precopy->max_rounds;
}

enum rt_precopy_verdict rt_precopy_after(struct rt_precopy *precopy, uint64_t sent, uint64_t us, uint64_t dirty)
{
	precopy->rounds++;
	if (us > 0 && (sent >= RATE_MIN_BYTES || precopy->rate == 0)) {
		uint64_t rate = (uint64_t)((double)sent * 1e6 / (double)us);

		precopy->rate = precopy->rate ? (precopy->rate + rate) / 2 : rate;
	}
	if (is_good_enough(precopy, dirty))
		return RT_PRECOPY_FREEZE;
	/* A tenth less is progress. */
	precopy->stuck = precopy->rounds > 1 && dirty > precopy->last_dirty - precopy->last_dirty / 10 ? precopy->stuck + 1 : 0;
	precopy->last_dirty = dirty;
	if (precopy->stuck >= STUCK_ROUNDS)
		return RT_PRECOPY_STUCK;
	return precopy->rounds >= precopy->max_rounds ? RT_PRECOPY_ENOUGH : RT_PRECOPY_AGAIN;
}
