/* What a registry answers with to who has not said who they are: the value of a WWW-Authenticate header, taken apart (RFC 9110, 11.6.1). Pure. */
#pragma once

#include <stdbool.h>

#define RT_REGISTRY_WORD_MAX 1024

enum rt_registry_scheme {
	RT_REGISTRY_BASIC,
	RT_REGISTRY_BEARER, /* a token, to be had at the realm for this service */
};

struct rt_registry_challenge {
	enum rt_registry_scheme scheme;
	char realm[RT_REGISTRY_WORD_MAX], service[RT_REGISTRY_WORD_MAX]; /* empty: not given */
};

/* The first challenge in the header of a scheme we know; false: there is none, or it is malformed. */
bool rt_registry_parse_challenge(const char *header, struct rt_registry_challenge *ret);
