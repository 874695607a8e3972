#include "migrate/registry_challenge.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t"
#define TOKEN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"

/* A token or a quoted string into `ret`; returns what stands behind it, NULL where it is neither, or too long. */
static const char *take_value(const char *at, char ret[RT_REGISTRY_WORD_MAX])
{
	size_t used = 0;

	if (*at != '"') {
		used = strspn(at, TOKEN);
		if (used == 0 || used >= RT_REGISTRY_WORD_MAX)
			return NULL;
		memcpy(ret, at, used);
		ret[used] = '\0';
		return at + used;
	}
	for (at++; *at && *at != '"'; at++) {
		if (*at == '\\' && at[1])
			at++;
		if (used + 1 >= RT_REGISTRY_WORD_MAX)
			return NULL;
		ret[used++] = *at;
	}
	ret[used] = '\0';
	return *at == '"' ? at + 1 : NULL;
}

/* Where `name=` stands, behind it; NULL: what stands there is something else, as the scheme of the next challenge. */
static const char *parameter(const char *at, size_t *ret_length)
{
	const char *end = at + (*ret_length = strspn(at, TOKEN));

	end += strspn(end, BLANKS);
	if (*ret_length == 0 || *end != '=')
		return NULL;
	return end + 1 + strspn(end + 1, BLANKS);
}

static bool is(const char *word, size_t length, const char *name)
{
	return length == strlen(name) && strncasecmp(word, name, length) == 0;
}

/* The parameters of one challenge; returns where they end, NULL where they are malformed. */
static const char *take_parameters(const char *at, struct rt_registry_challenge *challenge)
{
	char other[RT_REGISTRY_WORD_MAX];

	for (;;) {
		const char *value;
		size_t length;
		char *to = other;

		at += strspn(at, BLANKS ",");
		value = parameter(at, &length);
		if (!value)
			return at;
		if (is(at, length, "realm"))
			to = challenge->realm;
		else if (is(at, length, "service"))
			to = challenge->service;
		at = take_value(value, to);
		if (!at)
			return NULL;
	}
}

bool rt_registry_parse_challenge(const char *header, struct rt_registry_challenge *ret)
{
	struct rt_registry_challenge challenge;

	while (header && *(header += strspn(header, BLANKS ","))) {
		size_t length = strspn(header, TOKEN);
		bool basic = is(header, length, "Basic"), bearer = is(header, length, "Bearer");

		if (length == 0)
			return false;
		challenge = (struct rt_registry_challenge){ .scheme = basic ? RT_REGISTRY_BASIC : RT_REGISTRY_BEARER };
		header = take_parameters(header + length, &challenge);
		if (header && (basic || (bearer && *challenge.realm))) {
			*ret = challenge;
			return true;
		}
	}
	return false;
}
