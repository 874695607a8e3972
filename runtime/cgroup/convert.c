#include "runtime/cgroup/convert.h"

#include <math.h>

uint64_t rt_convert_shares(uint64_t shares)
{
	double log, exponent;

	if (shares == 0)
		return 0;
	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	/* A line through minimum and maximum would make the default of 1024 a 39; this curve meets all three. */
	log = log2((double)shares);
	exponent = (log * log + 125 * log) / 612 - 7.0 / 34;
	return (uint64_t)ceil(pow(10, exponent));
}

uint64_t rt_convert_io_weight(uint16_t weight)
{
	if (weight == 0)
		return 0;
	if (weight < 10)
		return 1;
	return 1 + ((uint64_t)weight - 10) * 9999 / 990;
}

struct rt_error *rt_convert_swap(int64_t swap, int64_t limit, int64_t *ret)
{
	if (swap < 0 || limit < 0) {
		/* Unlimited memory and a limited sum make no difference to take: the sum then bounds swap alone, as in runc. */
		*ret = swap < 0 ? -1 : swap;
		return NULL;
	}
	if (swap < limit)
		return rt_fail(RT_CONFIG, "'linux.resources.memory.swap' counts memory and swap and must not be below the memory limit");
	*ret = swap - limit;
	return NULL;
}
