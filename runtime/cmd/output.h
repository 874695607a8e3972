/* What commands print on standard output: JSON documents and tables. A full disk is an error like any other. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>

/* `flags` are jansson's (JSON_INDENT(2), JSON_COMPACT). Ends the line. */
struct rt_error *rt_output_json(const json_t *json, size_t flags) _must_check_;

/* Flushes what was printed by stdio; fails where any of it could not be written. */
struct rt_error *rt_output_finish(void) _must_check_;
