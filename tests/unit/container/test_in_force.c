#include "runtime/container/in_force.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static json_t *parse(const char *text)
{
	json_t *value = text ? json_loads(text, 0, NULL) : NULL;

	assert_true(!text || value);
	return value;
}

static void assert_carried(const char *created, const char *in_force, const char *wanted, const char *expected)
{
	json_t *from[] = { parse(created), parse(in_force), parse(wanted), parse(expected) }, *got;

	assert_null(rt_in_force_carry(from[0], from[1], from[2], &got));
	if (!json_equal(got, from[3])) {
		char *text = json_dumps(got, 0);

		print_error("%s instead of %s\n", text, expected);
		free(text);
	}
	assert_true(json_equal(got, from[3]));
	json_decref(got);
	for (size_t i = 0; i < 4; i++)
		json_decref(from[i]);
}

static void what_nobody_asks_for_anew_stays_in_force(void **state)
{
	const char *config = "{\"memory\":{\"limit\":5,\"swap\":9},\"cpu\":{\"shares\":3}}";

	(void)state;
	assert_carried(config, "{\"memory\":{\"limit\":7,\"swap\":9},\"cpu\":{\"shares\":3}}", config,
		       "{\"memory\":{\"limit\":7,\"swap\":9},\"cpu\":{\"shares\":3}}");
	assert_carried(config, config, config, config);
}

static void what_was_added_stays_even_where_no_config_has_it(void **state)
{
	(void)state;
	assert_carried(NULL, "{\"pids\":{\"limit\":7}}", NULL, "{\"pids\":{\"limit\":7}}");
	assert_carried("{\"cpu\":{}}", "{\"cpu\":{\"shares\":7}}", "{\"cpu\":{}}", "{\"cpu\":{\"shares\":7}}");
}

static void what_the_new_config_changes_is_its_own(void **state)
{
	(void)state;
	assert_carried("{\"memory\":{\"limit\":5}}", "{\"memory\":{\"limit\":7,\"swap\":8}}", "{\"memory\":{\"limit\":6}}",
		       "{\"memory\":{\"limit\":6,\"swap\":8}}");
	assert_carried("{}", "{\"pids\":{\"limit\":7}}", "{\"pids\":{\"limit\":3}}", "{\"pids\":{\"limit\":3}}");
}

static void what_the_new_config_drops_is_gone(void **state)
{
	(void)state;
	assert_carried("{\"memory\":{\"limit\":5},\"pids\":{\"limit\":2}}", "{\"memory\":{\"limit\":5},\"pids\":{\"limit\":2}}",
		       "{\"pids\":{\"limit\":2}}", "{\"pids\":{\"limit\":2}}");
}

static void lists_are_one_value(void **state)
{
	(void)state;
	assert_carried("{\"l\":[1]}", "{\"l\":[2]}", "{\"l\":[1]}", "{\"l\":[2]}");
	assert_carried("{\"l\":[1]}", "{\"l\":[2]}", "{\"l\":[3]}", "{\"l\":[3]}");
	assert_carried("{\"l\":[1]}", "{\"l\":[1]}", "{\"l\":{\"a\":1}}", "{\"l\":{\"a\":1}}");
}

static void an_update_replaces_only_what_it_names(void **state)
{
	json_t *into = parse("{\"memory\":{\"limit\":5,\"swap\":9},\"l\":[1,2]}");
	json_t *update = parse("{\"memory\":{\"limit\":6},\"l\":[3],\"pids\":{\"limit\":1}}");
	json_t *expected = parse("{\"memory\":{\"limit\":6,\"swap\":9},\"l\":[3],\"pids\":{\"limit\":1}}");

	(void)state;
	assert_null(rt_in_force_merge(into, update));
	assert_true(json_equal(into, expected));
	json_decref(into);
	json_decref(update);
	json_decref(expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_nobody_asks_for_anew_stays_in_force),
		cmocka_unit_test(what_was_added_stays_even_where_no_config_has_it),
		cmocka_unit_test(what_the_new_config_changes_is_its_own),
		cmocka_unit_test(what_the_new_config_drops_is_gone),
		cmocka_unit_test(lists_are_one_value),
		cmocka_unit_test(an_update_replaces_only_what_it_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
