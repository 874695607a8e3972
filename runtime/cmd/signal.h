/* Names of signals as people and engines write them. */
#pragma once

#include <stdbool.h>

/* "TERM", "sigterm", "15", "RTMIN+3", "RTMAX-1"; 0 is allowed, as in kill(2). False: no such signal. */
bool rt_signal_parse(const char *text, int *ret);
