#include "runtime/security/bitlist.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#define WORD_BITS (8 * sizeof(unsigned long))

static const char *skip_blanks(const char *at)
{
	while (isspace((unsigned char)*at))
		at++;
	return at;
}

/* The number at *at, which moves behind it; false where there is none below the limit. */
static bool take_number(const char **at, unsigned limit, unsigned *ret)
{
	unsigned value = 0;

	*at = skip_blanks(*at);
	if (!isdigit((unsigned char)**at))
		return false;
	for (; isdigit((unsigned char)**at); (*at)++) {
		value = value * 10 + (unsigned)(**at - '0');
		if (value >= limit)
			return false;
	}
	*at = skip_blanks(*at);
	*ret = value;
	return true;
}

struct rt_error *rt_bitlist_parse(const char *text, unsigned limit, const char *field, struct rt_bitlist *ret)
{
	struct rt_bitlist bits = {0};
	const char *at = skip_blanks(text);
	bool any = false;

	assert(limit <= RT_BITLIST_MAX);
	while (*at) {
		unsigned first, last;

		if (*at == ',') {
			at = skip_blanks(at + 1);
			continue;
		}
		if (!take_number(&at, limit, &first))
			goto bad;
		last = first;
		if (*at == '-') {
			at++;
			if (!take_number(&at, limit, &last) || last < first)
				goto bad;
		}
		if (*at && *at != ',')
			goto bad;
		for (unsigned bit = first; bit <= last; bit++)
			bits.words[bit / WORD_BITS] |= 1UL << bit % WORD_BITS;
		any = true;
	}
	if (!any)
		goto bad;
	*ret = bits;
	return NULL;
bad:
	return rt_fail(RT_CONFIG, "'%s' must be a list such as '0-3,7' of numbers below %u, not '%s'", field, limit,
		       text);
}
