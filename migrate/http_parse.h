/* The parts of HTTP that are ours to read: addresses to listen on, paths against routes, the token of a request, sentences from the peer. Pure: no I/O. */
#pragma once

#include "runtime/base/error.h"

#define RT_HTTP_WORD_MAX 128
#define RT_HTTP_TOKEN_MIN 16
#define RT_HTTP_TOKEN_MAX 512

struct rt_http_listen {
	char host[256]; /* without brackets */
	char port[6]; /* decimal, 0 to 65535 */
};

/* "ADDRESS:PORT" or "[V6]:PORT"; RT_USAGE otherwise. */
struct rt_error *rt_http_parse_listen(const char *text, struct rt_http_listen *ret) _must_check_;

/* [A-Za-z0-9_.-]{1,128}, not beginning with '.'. */
bool rt_http_word_valid(const char *word, size_t length);

/* Whether `path`, as it came (nothing is unescaped), is what `route` describes; the part that its '*' stands for goes to `ret_word`, else "". */
bool rt_http_path_match(const char *route, const char *path, char ret_word[RT_HTTP_WORD_MAX + 1]);

/* A token that can be sent: RT_HTTP_TOKEN_MIN to _MAX printable characters without blanks. */
bool rt_http_token_valid(const char *token);

/* Whether the value of an Authorization header (NULL: there was none) is "Bearer" and this token. Takes the same time whichever byte differs. */
bool rt_http_bearer_matches(const char *header, const char *token);

/* One line of at most room - 1 bytes for people, from bytes of a peer: without control characters, which could steer a terminal. */
void rt_http_sentence(const char *bytes, size_t size, char *ret, size_t room);

/* How much of a path may be shown, for "%.*s": not its query, in which signatures and tokens travel. */
int rt_http_path_shown(const char *path);

/* "localhost", 127.0.0.0/8, ::1: by its text, nothing is looked up. */
bool rt_http_host_is_loopback(const char *host);
