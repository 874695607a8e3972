/* What a peer may send as a path, a token or a sentence, and a person as an address to listen on: two strings, with a NUL between them. */
#include "migrate/http_parse.h"

#include "runtime/base/str.h"

#include <assert.h>
#include <stdint.h>

static void check_path(const char *route, const char *path)
{
	char word[RT_HTTP_WORD_MAX + 1], again[1024];

	memset(word, 'x', sizeof(word));
	if (!rt_http_path_match(route, path, word)) {
		assert(word[0] == 0);
		return;
	}
	/* What matched is the route with the word in it, and the word is one. */
	if (strchr(route, '*')) {
		assert(rt_http_word_valid(word, strlen(word)));
		assert(!strchr(word, '/') && !strchr(word, '%') && word[0] != '.');
		snprintf(again, sizeof(again), "%.*s%s%s", (int)(strchr(route, '*') - route), route, word, strchr(route, '*') + 1);
		assert(rt_str_equal(again, path));
	} else {
		assert(rt_str_equal(route, path));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 2);
	struct rt_http_listen listen;
	const char *second;
	struct rt_error *err;
	char sentence[64];
	size_t i;

	if (!text)
		return 0;
	if (size > 0)
		memcpy(text, bytes, size);
	text[size] = text[size + 1] = 0;
	second = strlen(text) < size ? text + strlen(text) + 1 : text + size;

	check_path("/v1/health", text);
	check_path("/v1/migrations/*", text);
	check_path("/v1/migrations/*/stream", text);

	err = rt_http_parse_listen(text, &listen);
	if (!err)
		assert(listen.host[0] && strlen(listen.port) >= 1 && strlen(listen.port) <= 5);
	rt_error_free(err);

	if (rt_http_token_valid(second)) {
		_cleanup_free_ char *header = NULL;

		err = rt_format(&header, "Bearer %s", second);
		assert(!err && rt_http_bearer_matches(header, second));
		if (rt_http_bearer_matches(text, second))
			assert(strlen(text) >= strlen(second) && rt_str_equal(text + strlen(text) - strlen(second), second));
	}

	rt_http_sentence((const char *)bytes, size, sentence, sizeof(sentence));
	for (i = 0; sentence[i]; i++)
		assert((unsigned char)sentence[i] >= ' ' && sentence[i] != 0x7f);
	rt_http_host_is_loopback(text);
	return 0;
}
