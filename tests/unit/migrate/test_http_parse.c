#include "migrate/http_parse.h"
#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void addresses_to_listen_on(void **state)
{
	static const struct {
		const char *text, *host, *port; /* host NULL: refused */
	} cases[] = {
		{ "127.0.0.1:7443", "127.0.0.1", "7443" }, { "0.0.0.0:0", "0.0.0.0", "0" }, { "[::1]:65535", "::1", "65535" },
		{ "[::]:007", "::", "7" }, { "hosta:1", "hosta", "1" },
		{ "" }, { ":" }, { "7443" }, { ":7443" }, { "127.0.0.1" }, { "127.0.0.1:" }, { "127.0.0.1:65536" }, { "127.0.0.1:-1" },
		{ "127.0.0.1: 1" }, { "127.0.0.1:1x" }, { "::1:7443" }, { "[::1]" }, { "[::1]7443" }, { "[::1" }, { "[]:1" }, { "[" },
		{ "127.0.0.1:99999999999999999999" },
	};
	char long_host[400];
	size_t i;

	for (i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		struct rt_http_listen listen;
		_cleanup_error_ struct rt_error *err = rt_http_parse_listen(cases[i].text, &listen);

		assert_int_equal(!err, !!cases[i].host);
		if (err) {
			assert_int_equal(err->code, RT_USAGE);
			continue;
		}
		assert_string_equal(listen.host, cases[i].host);
		assert_string_equal(listen.port, cases[i].port);
	}
	memset(long_host, 'a', sizeof(long_host));
	strcpy(long_host + sizeof(long_host) - 3, ":1");
	{
		struct rt_http_listen listen;
		_cleanup_error_ struct rt_error *err = rt_http_parse_listen(long_host, &listen);

		assert_non_null(err);
	}
}

static void paths_match_whole_or_not_at_all(void **state)
{
	static const struct {
		const char *route, *path, *word; /* word NULL: no match */
	} cases[] = {
		{ "/v1/health", "/v1/health", "" }, { "/v1/x/*", "/v1/x/abc", "abc" }, { "/v1/x/*/y", "/v1/x/a.b-c_9/y", "a.b-c_9" },
		{ "/v1/x/*/y", "/v1/x/y/y", "y" },
		{ "/v1/health", "/v1/healthy" }, { "/v1/health", "/v1/healt" }, { "/v1/health", "" }, { "/v1/x/*", "/v1/x/" }, { "/v1/x/*", "/v1/x" },
		{ "/v1/x/*/y", "/v1/x//y" }, { "/v1/x/*/y", "/v1/x/y" }, { "/v1/x/*", "/v1/x/." }, { "/v1/x/*", "/v1/x/.." }, { "/v1/x/*", "/v1/x/.a" },
		{ "/v1/x/*", "/v1/x/a/b" }, { "/v1/x/*", "/v1/x/a%2fb" }, { "/v1/x/*", "/v1/x/a b" }, { "/v1/x/*", "/v1/x/a\\b" },
		{ "/v1/x/*", "/v1/x/\xc3\xa4" }, { "/v1/x/*", "/v1/x/*:" },
	};
	char word[RT_HTTP_WORD_MAX + 1], path[300] = "/v1/x/";
	size_t i;

	for (i = 0; i < RT_ARRAY_SIZE(cases); i++) {
		assert_int_equal(rt_http_path_match(cases[i].route, cases[i].path, word), cases[i].word != NULL);
		assert_string_equal(word, cases[i].word ? cases[i].word : "");
	}
	memset(path + 6, 'w', RT_HTTP_WORD_MAX);
	assert_true(rt_http_path_match("/v1/x/*", path, word));
	assert_int_equal(strlen(word), RT_HTTP_WORD_MAX);
	path[6 + RT_HTTP_WORD_MAX] = 'w';
	assert_false(rt_http_path_match("/v1/x/*", path, word));
}

static void tokens_match_byte_by_byte(void **state)
{
	static const char token[] = "0123456789abcdef";

	assert_true(rt_http_bearer_matches("Bearer 0123456789abcdef", token));
	assert_true(rt_http_bearer_matches("bearer   0123456789abcdef", token));
	assert_false(rt_http_bearer_matches(NULL, token));
	assert_false(rt_http_bearer_matches("", token));
	assert_false(rt_http_bearer_matches("Bearer", token));
	assert_false(rt_http_bearer_matches("Bearer ", token));
	assert_false(rt_http_bearer_matches("0123456789abcdef", token));
	assert_false(rt_http_bearer_matches("Basic 0123456789abcdef", token));
	assert_false(rt_http_bearer_matches("Bearer 0123456789abcde", token));
	assert_false(rt_http_bearer_matches("Bearer 0123456789abcdeg", token));
	assert_false(rt_http_bearer_matches("Bearer 1123456789abcdef", token));
	assert_false(rt_http_bearer_matches("Bearer 0123456789abcdef ", token));
	/* Twice the token has its bytes at every place, but not its length. */
	assert_false(rt_http_bearer_matches("Bearer 0123456789abcdef0123456789abcdef", token));
}

static void sentences_hold_nothing_that_steers_a_terminal(void **state)
{
	char text[16];

	rt_http_sentence("fine", 4, text, sizeof(text));
	assert_string_equal(text, "fine");
	rt_http_sentence("one\ntwo", 7, text, sizeof(text));
	assert_string_equal(text, "one");
	rt_http_sentence("a\033[2J\x7f\tb", 8, text, sizeof(text));
	assert_string_equal(text, "a?[2J??b");
	rt_http_sentence("x\xc2\x9b" "1m", 5, text, sizeof(text));
	assert_string_equal(text, "x??1m");
	rt_http_sentence("gr\xc3\xbc\xc3\x9f", 6, text, sizeof(text));
	assert_string_equal(text, "gr\xc3\xbc\xc3\x9f");
	rt_http_sentence("a sentence that is too long", 27, text, sizeof(text));
	assert_string_equal(text, "a sentence that");
	rt_http_sentence("", 0, text, sizeof(text));
	assert_string_equal(text, "");
}

static void of_a_path_the_query_is_not_shown(void **state)
{
	char path[2000];

	assert_int_equal(rt_http_path_shown("/a/b?token=x?y"), 4);
	assert_int_equal(rt_http_path_shown("/a"), 2);
	assert_int_equal(rt_http_path_shown("?x"), 0);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(rt_http_path_shown(path), 256);
}

static void loopback_is_told_by_its_text(void **state)
{
	static const char *const loopback[] = { "localhost", "LOCALHOST", "127.0.0.1", "127.255.0.9", "::1", "0:0::1" };
	static const char *const others[] = { "", "localhost.example", "127.0.0.1.example", "128.0.0.1", "::", "::2", "0.0.0.0", "127.1", "2130706433" };
	size_t i;

	for (i = 0; i < RT_ARRAY_SIZE(loopback); i++)
		assert_true(rt_http_host_is_loopback(loopback[i]));
	for (i = 0; i < RT_ARRAY_SIZE(others); i++)
		assert_false(rt_http_host_is_loopback(others[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_to_listen_on),
		cmocka_unit_test(paths_match_whole_or_not_at_all),
		cmocka_unit_test(tokens_match_byte_by_byte),
		cmocka_unit_test(sentences_hold_nothing_that_steers_a_terminal),
		cmocka_unit_test(of_a_path_the_query_is_not_shown),
		cmocka_unit_test(loopback_is_told_by_its_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
