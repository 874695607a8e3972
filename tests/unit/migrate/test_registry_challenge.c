#include "migrate/registry_challenge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void what_registries_send_is_understood(void **state)
{
	static const struct {
		const char *header;
		struct rt_registry_challenge challenge;
	} cases[] = {
		{ "Basic realm=\"here\"", { RT_REGISTRY_BASIC, "here", "" } },
		{ "basic", { RT_REGISTRY_BASIC, "", "" } },
		{ "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",scope=\"repository:a/b:pull,push\"",
		  { RT_REGISTRY_BEARER, "https://auth.example/token", "registry.example" } },
		{ "bearer  REALM = \"x\" , error=\"invalid_token\", service=y", { RT_REGISTRY_BEARER, "x", "y" } },
		{ "Bearer realm=\"a \\\"b\\\" \\\\c\"", { RT_REGISTRY_BEARER, "a \"b\" \\c", "" } },
		/* Several in one header; what is unknown is passed over. */
		{ "Digest realm=\"r\", nonce=\"n, Basic\", Bearer realm=\"x\", Basic realm=\"y\"", { RT_REGISTRY_BEARER, "x", "" } },
		{ "Negotiate, Basic realm=\"y\"", { RT_REGISTRY_BASIC, "y", "" } },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rt_registry_challenge challenge;

		assert_true(rt_registry_parse_challenge(cases[i].header, &challenge));
		assert_int_equal(challenge.scheme, cases[i].challenge.scheme);
		assert_string_equal(challenge.realm, cases[i].challenge.realm);
		assert_string_equal(challenge.service, cases[i].challenge.service);
	}
}

static void what_is_malformed_is_no_challenge(void **state)
{
	static const char *const cases[] = { "", " ,, ", "Negotiate", "Bearer", "Bearer realm", "Bearer realm=", "Bearer realm=\"x", "Bearer realm=\"x\\", "=",
					     "\"Basic\"", "Bearer realm=\"\"", "Bearer service=\"x\"" };
	char text[2 * RT_REGISTRY_WORD_MAX];
	struct rt_registry_challenge challenge;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (rt_registry_parse_challenge(cases[i], &challenge))
			fail_msg("'%s' was taken", cases[i]);
	for (int length = RT_REGISTRY_WORD_MAX - 2; length < RT_REGISTRY_WORD_MAX + 2; length++) {
		snprintf(text, sizeof(text), "Bearer realm=\"%0*d\"", length, 1);
		assert_int_equal(rt_registry_parse_challenge(text, &challenge), length < RT_REGISTRY_WORD_MAX);
		snprintf(text, sizeof(text), "Bearer realm=%0*d", length, 1);
		assert_int_equal(rt_registry_parse_challenge(text, &challenge), length < RT_REGISTRY_WORD_MAX);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_registries_send_is_understood),
		cmocka_unit_test(what_is_malformed_is_no_challenge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
