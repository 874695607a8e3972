#include "runtime/cmd/signal.h"

#include "runtime/base/str.h"

#include <signal.h>
#include <strings.h>

/* Older names of signals that glibc knows by another one. */
static const struct {
	const char *name;
	int number;
} aliases[] = {
	{ "IOT", SIGIOT },
	{ "CLD", SIGCHLD },
	{ "IO", SIGIO },
	{ "POLL", SIGPOLL },
	{ "PWR", SIGPWR },
};

/* Counted from glibc's SIGRTMIN (34), as kill(1) does, not from the kernel's 32: threads keep the first two. */
static bool parse_realtime(const char *name, int *ret)
{
	bool from_end = strncasecmp(name, "RTMAX", 5) == 0;
	uint64_t distance = 0;

	if (!from_end && strncasecmp(name, "RTMIN", 5) != 0)
		return false;
	if (name[5]) {
		if (name[5] != (from_end ? '-' : '+') || !rt_str_to_u64(name + 6, &distance))
			return false;
		if (distance > (uint64_t)(SIGRTMAX - SIGRTMIN))
			return false;
	}
	*ret = from_end ? SIGRTMAX - (int)distance : SIGRTMIN + (int)distance;
	return true;
}

bool rt_signal_parse(const char *text, int *ret)
{
	uint64_t number;

	if (rt_str_to_u64(text, &number)) {
		if (number >= _NSIG)
			return false;
		*ret = (int)number;
		return true;
	}
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (int i = 1; i < SIGRTMIN; i++) {
		const char *name = sigabbrev_np(i);

		if (name && strcasecmp(name, text) == 0) {
			*ret = i;
			return true;
		}
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(aliases); i++)
		if (strcasecmp(aliases[i].name, text) == 0) {
			*ret = aliases[i].number;
			return true;
		}
	return parse_realtime(text, ret);
}
