#include "runtime/netns/hook.h"

#include "tests/unit/netns/expect.h"

static struct rt_error *parse(const char *text, struct rt_hook_state *ret)
{
	return rt_hook_state_parse(text, strlen(text), ret);
}

static void the_status_says_what_to_do(void **state)
{
	static const struct {
		const char *text;
		bool stopped;
		int pid;
	} known[] = {
		{ "{\"id\": \"web\", \"status\": \"creating\", \"pid\": 7, \"bundle\": \"/b\"}", false, 7 },
		{ "{\"id\": \"web\", \"status\": \"created\", \"pid\": 7, \"bundle\": \"/b\"}", false, 7 },
		{ "{\"id\": \"web\", \"status\": \"running\", \"pid\": 7, \"bundle\": \"/b\"}", false, 7 },
		{ "{\"id\": \"web\", \"status\": \"stopped\", \"bundle\": \"/b\"}", true, 0 },
		{ "{\"id\": \"web\", \"status\": \"stopped\", \"pid\": 7, \"bundle\": \"/b\", \"x\": 1}", true, 0 },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(known); i++) {
		_cleanup_(rt_hook_state_deinit) struct rt_hook_state read = { .id = NULL };

		assert_null(parse(known[i].text, &read));
		assert_int_equal(read.stopped, known[i].stopped);
		assert_int_equal(read.pid, known[i].pid);
		assert_string_equal(read.id, "web");
		assert_string_equal(read.bundle, "/b");
	}
}

static void a_bad_state_names_the_field(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "", "the container's state" },
		{ "7", "must be an object" },
		{ "{}", "'id' is missing" },
		{ "{\"id\": 7}", "'id' must be a string" },
		{ "{\"id\": \"a\"}", "'status' is missing" },
		{ "{\"id\": \"a\", \"status\": \"created\"}", "'bundle' is missing" },
		{ "{\"id\": \"a\", \"status\": \"created\", \"bundle\": \"/\"}", "'pid' is missing" },
		{ "{\"id\": \"a\", \"status\": \"created\", \"bundle\": \"/\", \"pid\": -3}", "'pid' is missing" },
		{ "{\"id\": \"a\", \"status\": \"asleep\", \"bundle\": \"/\", \"pid\": 3}", "'status' is 'asleep'" },
	};
	struct rt_hook_state read;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_error(parse(bad[i].text, &read), bad[i].words);
}

static void the_annotation_is_json_in_a_string(void **state)
{
	static const char with[] = "{\"annotations\": {\"org.rt.netns\": \"{\\\"mac\\\": \\\"02:00:00:00:00:01\\\"}\", \"x\": \"y\"}}";
	static const char *const without[] = { "{}", "{\"annotations\": {}}", "{\"annotations\": null}", "{\"annotations\": {\"x\": \"{\"}}" };
	static const char held[] = "{\"annotations\": {\"org.rt.netns\": \"{\\\"hold\\\": true}\"}}";
	struct rt_hook_config config;

	assert_null(rt_hook_config_parse(with, strlen(with), &config));
	assert_true(config.annotation.there);
	assert_false(config.annotation.hold);
	assert_string_equal(rt_mac_text(&config.annotation.network.mac).text, "02:00:00:00:00:01");
	assert_null(rt_hook_config_parse(held, strlen(held), &config));
	assert_true(config.annotation.there && config.annotation.hold);
	for (size_t i = 0; i < RT_ARRAY_SIZE(without); i++) {
		assert_null(rt_hook_config_parse(without[i], strlen(without[i]), &config));
		assert_false(config.annotation.there);
	}
}

/* The configuration that counts may be another than the bundle's. */
static void the_state_may_have_it_too(void **state)
{
	_cleanup_(rt_hook_state_deinit) struct rt_hook_state read = { .id = NULL };

	assert_null(parse("{\"id\": \"web\", \"status\": \"creating\", \"pid\": 7, \"bundle\": \"/b\", "
			  "\"annotations\": {\"org.rt.netns\": \"{\\\"mac\\\": \\\"02:00:00:00:00:01\\\", \\\"hold\\\": true}\"}}", &read));
	assert_true(read.annotation.there && read.annotation.hold);
	assert_string_equal(rt_mac_text(&read.annotation.network.mac).text, "02:00:00:00:00:01");
}

static void a_bad_annotation_is_named(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "{", "config.json" },
		{ "{\"annotations\": 7}", "'annotations' must be an object" },
		{ "{\"annotations\": {\"org.rt.netns\": 7}}", "must be a string" },
		{ "{\"annotations\": {\"org.rt.netns\": \"\"}}", "reading annotation 'org.rt.netns'" },
		{ "{\"annotations\": {\"org.rt.netns\": \"[]\"}}", "must be an object" },
		{ "{\"annotations\": {\"org.rt.netns\": \"{\\\"hold\\\": 7}\"}}", "'hold' must be" },
	};
	struct rt_hook_config config;

	for (size_t i = 0; i < RT_ARRAY_SIZE(bad); i++)
		expect_error(rt_hook_config_parse(bad[i].text, strlen(bad[i].text), &config), bad[i].words);
}

static void a_namespace_that_is_joined_is_known_by_its_path(void **state)
{
	static const char joined[] = "{\"linux\": {\"namespaces\": [{\"type\": \"pid\", \"path\": \"/x\"}, {\"type\": \"network\", \"path\": "
				     "\"/run/netns/a\"}]}}";
	static const char own[] = "{\"linux\": {\"namespaces\": [{\"type\": \"network\"}]}}";
	_cleanup_(rt_hook_config_deinit) struct rt_hook_config config = { .netns = NULL };

	assert_null(rt_hook_config_parse(own, strlen(own), &config));
	assert_null(config.netns);
	assert_null(rt_hook_config_parse(joined, strlen(joined), &config));
	assert_string_equal(config.netns, "/run/netns/a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_status_says_what_to_do),
		cmocka_unit_test(a_bad_state_names_the_field),
		cmocka_unit_test(the_annotation_is_json_in_a_string),
		cmocka_unit_test(the_state_may_have_it_too),
		cmocka_unit_test(a_bad_annotation_is_named),
		cmocka_unit_test(a_namespace_that_is_joined_is_known_by_its_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
