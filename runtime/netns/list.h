/* What rt-netns prints on standard output: the list of networks, and JSON. */
#pragma once

#include "runtime/base/error.h"

/* `format` is "table" or "json". */
struct rt_error *rt_list(const char *state_directory, const char *format, bool quiet) _must_check_;

struct rt_error *rt_list_print_json(const json_t *json) _must_check_;
/* Flushes; a full disk is an error like any other. */
struct rt_error *rt_list_finish(void) _must_check_;
