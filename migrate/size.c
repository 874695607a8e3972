#include "migrate/size.h"

#include <string.h>

struct rt_error *rt_size_option(const char *option, const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	char *end;
	const char *unit;
	unsigned shift = 0;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || end == text || *text == '-' || *text == '+' || *text == ' ')
		return rt_fail(RT_USAGE, "invalid value '%s' for %s: it must be a number of bytes, with K, M or G", text, option);
	unit = *end && *end != ' ' ? strchr(units, *end & ~0x20) : NULL; /* a space would become the 0 at the end of `units` */
	if (unit)
		shift = 10 * (unsigned)(unit - units + 1);
	if ((*end && !unit) || (unit && end[1]) || number > UINT64_MAX >> shift)
		return rt_fail(RT_USAGE, "invalid value '%s' for %s: it must be a number of bytes, with K, M or G", text, option);
	*ret = (uint64_t)number << shift;
	return NULL;
}
