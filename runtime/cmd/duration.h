/* Lengths of time as Go programs write them, because engines do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* "5s", "1m30s", "1.5h", "250ms" to milliseconds; false: it is none. A number without a unit is none, but for 0. */
bool rt_duration_parse(const char *text, int64_t *ret_ms);
