#include "migrate/http_parse.h"

#include "runtime/base/str.h"

#include <arpa/inet.h>
#include <strings.h>

#define PATH_SHOWN_MAX 256

static struct rt_error *bad_listen(const char *text)
{
	char shown[128];

	rt_http_sentence(text, strlen(text), shown, sizeof(shown));
	return rt_fail(RT_USAGE, "'%s' is not an address to listen on: it must be ADDRESS:PORT or [V6ADDRESS]:PORT", shown);
}

static bool parse_port(const char *text, char ret[6])
{
	uint64_t port;

	if (!rt_str_to_u64(text, &port) || port > 65535)
		return false;
	snprintf(ret, 6, "%u", (unsigned)port);
	return true;
}

struct rt_error *rt_http_parse_listen(const char *text, struct rt_http_listen *ret)
{
	struct rt_http_listen listen = { 0 };
	const char *host = text, *host_end, *port;
	size_t length;

	if (text[0] == '[') {
		host = text + 1;
		host_end = strchr(host, ']');
		if (!host_end || host_end[1] != ':')
			return bad_listen(text);
		port = host_end + 2;
	} else {
		host_end = strrchr(text, ':');
		/* An IPv6 address without brackets: which colon begins the port can't be told. */
		if (!host_end || memchr(text, ':', (size_t)(host_end - text)))
			return bad_listen(text);
		port = host_end + 1;
	}
	length = (size_t)(host_end - host);
	if (length == 0 || length >= sizeof(listen.host) || !parse_port(port, listen.port))
		return bad_listen(text);
	memcpy(listen.host, host, length);
	*ret = listen;
	return NULL;
}

/* By hand: what is a letter must not depend on the locale. */
static bool word_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

bool rt_http_word_valid(const char *word, size_t length)
{
	size_t i;

	if (length == 0 || length > RT_HTTP_WORD_MAX || word[0] == '.')
		return false;
	for (i = 0; i < length; i++) {
		if (!word_character(word[i]))
			return false;
	}
	return true;
}

bool rt_http_path_match(const char *route, const char *path, char ret_word[RT_HTTP_WORD_MAX + 1])
{
	const char *star = strchr(route, '*');
	size_t path_length = strlen(path), before, after, word;

	ret_word[0] = 0;
	if (!star)
		return rt_str_equal(route, path);
	before = (size_t)(star - route);
	after = strlen(star + 1);
	if (path_length < before + after || strncmp(route, path, before) != 0 || !rt_str_equal(star + 1, path + path_length - after))
		return false;
	word = path_length - before - after;
	if (!rt_http_word_valid(path + before, word))
		return false;
	memcpy(ret_word, path + before, word);
	ret_word[word] = 0;
	return true;
}

bool rt_http_token_valid(const char *token)
{
	size_t length = strlen(token), i;

	if (length < RT_HTTP_TOKEN_MIN || length > RT_HTTP_TOKEN_MAX)
		return false;
	for (i = 0; i < length; i++) {
		if (token[i] <= ' ' || token[i] > '~')
			return false;
	}
	return true;
}

bool rt_http_bearer_matches(const char *header, const char *token)
{
	size_t length = strlen(token), given, i;
	unsigned char difference = 0;

	if (!header || strncasecmp(header, "Bearer ", 7) != 0)
		return false;
	header += 7;
	while (*header == ' ')
		header++;
	/* The length of the token is no secret, its bytes are: all of what was given is looked at, whatever differs first. */
	given = strlen(header);
	for (i = 0; i < given; i++)
		difference |= (unsigned char)header[i] ^ (unsigned char)token[i % length];
	return given == length && difference == 0;
}

void rt_http_sentence(const char *bytes, size_t size, char *ret, size_t room)
{
	size_t used = 0, i;

	for (i = 0; i < size && used + 1 < room; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\n' || c == '\r' || c == 0)
			break;
		ret[used++] = c < ' ' || c == 0x7f ? '?' : (char)c;
	}
	/* 0x80 to 0x9f as a character of its own would be control characters too; in UTF-8 they come behind 0xc2. */
	for (i = 0; i + 1 < used; i++) {
		if ((unsigned char)ret[i] == 0xc2 && (unsigned char)ret[i + 1] < 0xa0)
			ret[i] = ret[i + 1] = '?';
	}
	ret[used] = 0;
}

int rt_http_path_shown(const char *path)
{
	size_t length = strcspn(path, "?");

	return length < PATH_SHOWN_MAX ? (int)length : PATH_SHOWN_MAX;
}

bool rt_http_host_is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
