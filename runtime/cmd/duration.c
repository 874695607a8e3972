#include "runtime/cmd/duration.h"

#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	double ms;
} units[] = {
	/* "ms" before "m": the longer name first. */
	{ "ns", 1e-6 }, { "us", 1e-3 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 }, { NULL },
};

bool rt_duration_parse(const char *text, int64_t *ret_ms)
{
	double total = 0;

	if (strcmp(text, "0") == 0) {
		*ret_ms = 0;
		return true;
	}
	if (!*text)
		return false;
	while (*text) {
		size_t digits = strspn(text, "0123456789.");
		int unit = 0;
		char *end;
		double number;

		if (digits == 0)
			return false;
		number = strtod(text, &end);
		if (end != text + digits)
			return false;
		while (units[unit].name && strncmp(end, units[unit].name, strlen(units[unit].name)) != 0)
			unit++;
		if (!units[unit].name)
			return false;
		total += number * units[unit].ms;
		text = end + strlen(units[unit].name);
	}
	if (total > 9e15)
		return false;
	*ret_ms = (int64_t)total;
	return true;
}
