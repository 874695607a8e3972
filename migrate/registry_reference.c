#include "migrate/registry_reference.h"

#include "migrate/http_parse.h"
#include "runtime/base/digest.h"
#include "runtime/base/str.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define PREFIX "sha256:"

static struct rt_error *bad(const char *text, const char *why)
{
	char shown[200];

	rt_http_sentence(text, strlen(text), shown, sizeof(shown));
	return rt_fail(RT_USAGE, "'%s' is no place in a registry: %s", shown, why);
}

bool rt_registry_digest_valid(const char *text)
{
	return rt_str_starts(text, PREFIX) && strlen(text) == strlen(PREFIX) + RT_DIGEST_TEXT_ROOM - 1 &&
	       strspn(text + strlen(PREFIX), DIGITS "abcdef") == RT_DIGEST_TEXT_ROOM - 1;
}

/* Words of small letters and digits with ".", "_", "__" or any number of "-" between them; returns where it ends. */
static const char *skip_component(const char *at)
{
	for (;;) {
		size_t word = strspn(at, LOWER DIGITS), dashes;

		if (word == 0)
			return NULL;
		at += word;
		dashes = strspn(at, "-");
		if (dashes > 0)
			at += dashes;
		else if (*at == '.' || *at == '_')
			at += at[0] == '_' && at[1] == '_' ? 2 : 1;
		else
			return at;
	}
}

static bool repository_valid(const char *repository)
{
	const char *at = repository;

	while ((at = skip_component(at)) && *at == '/')
		at++;
	return at && !*at;
}

static bool tag_valid(const char *tag)
{
	size_t length = strlen(tag);

	return length > 0 && length <= RT_REGISTRY_TAG_MAX && strspn(tag, LOWER UPPER DIGITS "_.-") == length && *tag != '.' && *tag != '-';
}

/* A name, an IPv4 address or an IPv6 address in brackets, and maybe a port. */
static bool host_valid(const char *host)
{
	const char *end = host[0] == '[' ? strchr(host, ']') : host + strspn(host, LOWER UPPER DIGITS ".-");
	uint64_t port;

	if (!end || end == host)
		return false;
	if (host[0] == '[') {
		if (strspn(host + 1, DIGITS "abcdefABCDEF:.") != (size_t)(end - host) - 1)
			return false;
		end++;
	}
	return !*end || (*end == ':' && rt_str_to_u64(end + 1, &port) && port > 0 && port < 65536);
}

/* So that "team/web:warm" is not taken for a registry called "team". */
static bool names_host(const char *host)
{
	return strpbrk(host, ".:[") || rt_str_equal(host, "localhost");
}

static struct rt_error *take_tag(const char *text, char *rest, struct rt_registry_reference *ret)
{
	char *at = strchr(rest, '@'), *colon = strrchr(at ? at : rest, ':');

	if (at) {
		*at = '\0';
		if (!rt_registry_digest_valid(at + 1))
			return bad(text, "behind the '@' must stand sha256: and 64 hexadecimal digits");
		strcpy(ret->tag, at + 1);
		ret->by_digest = true;
		return NULL;
	}
	if (!colon)
		return bad(text, "it has no tag, as in REGISTRY/REPO:TAG");
	*colon = '\0';
	if (!tag_valid(colon + 1))
		return bad(text, "a tag has 1 to 128 letters, digits, '_', '.' and '-', and begins with a letter, a digit or '_'");
	strcpy(ret->tag, colon + 1);
	return NULL;
}

struct rt_error *rt_registry_parse_reference(const char *text, struct rt_registry_reference *ret)
{
	struct rt_registry_reference reference = { .by_digest = false };
	char copy[sizeof(reference)], *slash;
	struct rt_error *err;

	if (strstr(text, "://"))
		return bad(text, "it begins with the name of the registry, without 'https://'");
	if (strlen(text) >= sizeof(copy))
		return bad(text, "it is too long");
	strcpy(copy, text);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	if (!slash || !names_host(copy))
		return bad(text, "it must name the registry, as in REGISTRY/REPO:TAG");
	if (strlen(copy) >= sizeof(reference.host) || !host_valid(copy))
		return bad(text, "its registry is no HOST or HOST:PORT");
	strcpy(reference.host, copy);
	err = take_tag(text, slash + 1, &reference);
	if (err)
		return err;
	if (strlen(slash + 1) > RT_REGISTRY_REPOSITORY_MAX || !repository_valid(slash + 1))
		return bad(text, "a repository is made of small letters and digits, with single '.', '_' and '/' or '-' between them");
	strcpy(reference.repository, slash + 1);
	*ret = reference;
	return NULL;
}
