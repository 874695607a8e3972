#include "migrate/registry_reference.h"

#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void a_place_is_taken_apart(void **state)
{
	static const struct {
		const char *text, *host, *repository, *tag;
	} cases[] = {
		{ "registry.example/web:warm", "registry.example", "web", "warm" },
		{ "registry.example:5000/team/web__x.y-z--1:V1.0_2-x", "registry.example:5000", "team/web__x.y-z--1", "V1.0_2-x" },
		{ "localhost/a/b/c:1", "localhost", "a/b/c", "1" },
		{ "[2001:db8::1]:5000/web:warm", "[2001:db8::1]:5000", "web", "warm" },
		{ "host:80/w@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "host:80", "w",
		  "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rt_registry_reference reference;

		assert_null(rt_registry_parse_reference(cases[i].text, &reference));
		assert_string_equal(reference.host, cases[i].host);
		assert_string_equal(reference.repository, cases[i].repository);
		assert_string_equal(reference.tag, cases[i].tag);
		assert_int_equal(reference.by_digest, strchr(cases[i].text, '@') != NULL);
	}
}

static void anything_else_is_refused(void **state)
{
	static const char *const cases[] = {
		"", "/", "web", "web:tag", "team/web:tag", "host.x", "host.x/", "host.x/web", "host.x/:tag", "host.x/web:", "host.x/Web:tag",
		"host.x//web:tag", "host.x/web/:tag", "host.x/../web:tag", "host.x/.web:tag", "host.x/web.:tag", "host.x/a___b:tag", "host.x/a..b:tag",
		"host.x/web:-tag", "host.x/web:.tag", "host.x/web:t/ag", "host.x/web:t ag", "host.x/web:t\nag", "host.x:0/web:tag", "host.x:65536/web:tag",
		"host.x:/web:tag", "host.x:8o/web:tag", "ho st.x/web:tag", "me@host.x/web:tag", "[::1/web:tag", "[::1]x/web:tag", "[x]/web:tag",
		"https://host.x/web:tag", "host.x/web@sha256:00", "host.x/web@md5:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"host.x/web:tag@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeF", "host.x/w%2eb:tag", "host.x/web?x:tag",
	};
	char text[1024];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rt_registry_reference reference;
		struct rt_error *err = rt_registry_parse_reference(cases[i], &reference);

		if (!err)
			fail_msg("'%s' was taken", cases[i]);
		assert_int_equal(err->code, RT_USAGE);
		assert_null(strchr(err->message, '\n'));
		rt_error_free(err);
	}
	for (size_t length = 100; length < sizeof(text); length += 50) {
		struct rt_registry_reference reference;
		struct rt_error *err;

		snprintf(text, sizeof(text), "host.x/web:%0*d", (int)length, 1);
		err = rt_registry_parse_reference(text, &reference);
		assert_true(length <= 128 ? !err : err && err->code == RT_USAGE);
		rt_error_free(err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_taken_apart),
		cmocka_unit_test(anything_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
