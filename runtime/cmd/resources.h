/* Limits given as words of a command line -> a resources object as in config.json, so that one parser checks both. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>
#include <stdint.h>

enum rt_resource_kind {
	RT_RESOURCE_COUNT, /* whole number, not negative */
	RT_RESOURCE_NUMBER, /* whole number */
	RT_RESOURCE_SIZE, /* bytes, or with a suffix k, m, g, t or p; -1: unlimited */
	RT_RESOURCE_TEXT,
};

struct rt_resource_word {
	const char *option; /* for messages: "memory-swap" */
	enum rt_resource_kind kind;
	const char *section, *key; /* where it belongs: "memory", "swap" */
};

/* Puts one word into the object, making the section where it is not there yet. RT_USAGE names the option. */
struct rt_error *rt_resource_set(json_t *resources, const struct rt_resource_word *word, const char *text) _must_check_;

/* "512", "512m", "1.5GiB" to bytes, by powers of 1024; "-1" stays. False: it is no size. */
bool rt_size_parse(const char *text, int64_t *ret);
