/* What people write for a place in a registry, "registry.example:5000/team/web:warm", taken apart. Pure. */
#pragma once

#include "runtime/base/error.h"

#define RT_REGISTRY_REPOSITORY_MAX 255
#define RT_REGISTRY_TAG_MAX 128

struct rt_registry_reference {
	char host[262]; /* as it was written, with the port where one was given; IPv6 in brackets */
	char repository[RT_REGISTRY_REPOSITORY_MAX + 1];
	char tag[RT_REGISTRY_TAG_MAX + 1]; /* or "sha256:..." where a digest was given */
	bool by_digest;
};

/* RT_USAGE says what is wrong with it. The registry must be named: there is no default one. */
struct rt_error *rt_registry_parse_reference(const char *text, struct rt_registry_reference *ret) _must_check_;

/* "sha256:" and 64 digits, lower case. */
bool rt_registry_digest_valid(const char *text);
