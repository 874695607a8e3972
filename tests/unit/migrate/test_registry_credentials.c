#include "migrate/registry_credentials.h"

#include "runtime/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

/* "me:a", "me:b", "me:c" */
#define A "bWU6YQ=="
#define B "bWU6Yg=="
#define C "bWU6Yw=="

/* The password of HOST/REPOSITORY, or "". */
static const char *found(const char *text, const char *host, const char *repository)
{
	static char basic[64];
	struct rt_registry_credentials credentials = { 0 };

	assert_null(rt_registry_read_credentials(text, strlen(text), host, repository, &credentials));
	snprintf(basic, sizeof(basic), "%s", credentials.basic ? credentials.basic : "");
	rt_registry_credentials_deinit(&credentials);
	return basic;
}

static void the_most_specific_entry_counts(void **state)
{
	static const char text[] = "{\"auths\": {\"host.x\": {\"auth\": \"" A "\"}, \"host.x/team\": {\"auth\": \"" B "\"}, \"host.x/team/web\": {\"auth\": \"" C "\"}}}";

	assert_string_equal(found(text, "host.x", "web"), A);
	assert_string_equal(found(text, "host.x", "team/api"), B);
	assert_string_equal(found(text, "host.x", "team/web"), C);
	assert_string_equal(found(text, "host.x", "teams/web"), A);
	assert_string_equal(found(text, "host.xy", "team/web"), "");
	assert_string_equal(found(text, "host", "x/team/web"), "");
	assert_string_equal(found("{}", "host.x", "web"), "");
	assert_string_equal(found("{\"auths\": {\"host.x\": {}}}", "host.x", "web"), "");
	assert_string_equal(found("{\"auths\": {\"\": {\"auth\": \"" A "\"}}}", "host.x", "web"), "");
}

static void keys_may_be_urls(void **state)
{
	assert_string_equal(found("{\"auths\": {\"https://host.x/v1/\": {\"auth\": \"" A "\"}}}", "host.x", "web"), A);
	assert_string_equal(found("{\"auths\": {\"host.x/\": {\"auth\": \"" A "\"}}}", "host.x", "web"), A);
}

static void what_is_wrong_is_told_without_the_secret(void **state)
{
	static const char *const cases[] = {
		"", "[]", "\"swordfish\"", "{\"auths\": 1}", "{\"auths\": {\"host.x\": \"swordfish\"}}", "{\"auths\": {\"host.x\": {\"auth\": 1}}}",
		"{\"auths\": {\"host.x\": {\"auth\": \"swordfish!\"}}}", "{\"auths\": {\"host.x\": {\"auth\": \"c3dvcmRmaXNo\"}}}",
		"{\"auths\": {\"host.x\": {\"auth\": \"" A "\\r\\nX: swordfish\"}}}", "{\"auths\": {\"host.x\": {\"identitytoken\": [\"swordfish\"]}}}",
		"{\"auths\": {\"host.x\": {\"auth\": \"swordfish", "{\"credHelpers\": {\"host.x\": 7}}",
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct rt_registry_credentials credentials = { 0 };
		struct rt_error *err = rt_registry_read_credentials(cases[i], strlen(cases[i]), "host.x", "web", &credentials);
		_cleanup_free_ char *text = NULL;

		if (!err)
			fail_msg("%s was taken", cases[i]);
		text = rt_error_text(err);
		assert_int_equal(err->code, RT_CONFIG);
		assert_null(strstr(text, "swordfish"));
		rt_error_free(err);
		rt_registry_credentials_deinit(&credentials);
	}
}

static void who_keeps_the_password_elsewhere_is_named(void **state)
{
	static const char text[] = "{\"credsStore\": \"all\", \"credHelpers\": {\"host.x\": \"one\"}, \"auths\": {\"host.y\": {\"auth\": \"" A "\"}}}";
	struct rt_registry_credentials credentials = { 0 };

	assert_null(rt_registry_read_credentials(text, strlen(text), "host.x", "web", &credentials));
	assert_string_equal(credentials.helper, "one");
	rt_registry_credentials_deinit(&credentials);
	assert_null(rt_registry_read_credentials(text, strlen(text), "host.z", "web", &credentials));
	assert_string_equal(credentials.helper, "all");
	rt_registry_credentials_deinit(&credentials);
	assert_null(rt_registry_read_credentials(text, strlen(text), "host.y", "web", &credentials));
	assert_null(credentials.helper);
	assert_string_equal(credentials.basic, A);
	rt_registry_credentials_deinit(&credentials);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_specific_entry_counts),
		cmocka_unit_test(keys_may_be_urls),
		cmocka_unit_test(what_is_wrong_is_told_without_the_secret),
		cmocka_unit_test(who_keeps_the_password_elsewhere_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
