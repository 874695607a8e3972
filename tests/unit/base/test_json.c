#include "runtime/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static json_t *parse(const char *text)
{
	json_t *value = NULL;

	assert_null(rt_json_parse(text, strlen(text), "test", &value));
	return value;
}

static void assert_says(struct rt_error *err, const char *message)
{
	assert_non_null(err);
	assert_int_equal(err->code, RT_CONFIG);
	assert_string_equal(err->message, message);
	rt_error_free(err);
}

static void a_failure_names_the_way_to_the_field(void **state)
{
	_cleanup_json_ json_t *document = parse("{\"a\":{\"b\":[{},{\"c\":\"x\"}]}}");
	struct rt_json root = rt_json_root(document), a, b, element;
	uint32_t value = 5;

	assert_null(rt_json_get_object(&root, "a", &a));
	assert_null(rt_json_get_array(&a, "b", &b));
	assert_int_equal(rt_json_count(&b), 2);
	element = rt_json_element(&b, 1);
	assert_says(rt_json_get_u32(&element, "c", &value), "'a.b[1].c' must be a whole number");
	assert_says(rt_json_fail(&element, NULL, "is %s", "odd"), "'a.b[1]' is odd");
	assert_says(rt_json_fail(&root, NULL, "is odd"), "the document is odd");
	assert_int_equal(value, 5);
}

static void a_long_way_is_cut_not_overrun(void **state)
{
	char key[600];
	struct rt_json root = {.value = NULL}, one = {.parent = &root, .key = key}, two = {.parent = &one, .key = key};
	char path[RT_JSON_PATH_ROOM];

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	assert_int_equal(strlen(rt_json_path(&two, path, sizeof(path))), sizeof(path) - 1);
}

static void absent_and_null_leave_the_output(void **state)
{
	_cleanup_json_ json_t *document = parse("{\"n\":null}");
	struct rt_json root = rt_json_root(document), object = {.value = document};
	const char *text = "before";
	bool flag = true;
	int64_t number = 9;

	assert_null(rt_json_get_string(&root, "n", &text));
	assert_null(rt_json_get_string(&root, "other", &text));
	assert_null(rt_json_get_bool(&root, "n", &flag));
	assert_null(rt_json_get_i64(&root, "n", &number));
	assert_string_equal(text, "before");
	assert_true(flag);
	assert_int_equal(number, 9);
	assert_null(rt_json_get_object(&root, "n", &object));
	assert_null(object.value);
	assert_null(rt_json_get_i64(&object, "below", &number));
	assert_int_equal(rt_json_count(&object), 0);
}

static void wrong_kinds_are_refused(void **state)
{
	_cleanup_json_ json_t *document = parse("{\"s\":\"x\",\"n\":1,\"o\":{},\"a\":[]}");
	struct rt_json root = rt_json_root(document), cursor;
	const char *text;
	bool flag;

	assert_says(rt_json_get_string(&root, "n", &text), "'n' must be a string");
	assert_says(rt_json_get_bool(&root, "n", &flag), "'n' must be true or false");
	assert_says(rt_json_get_object(&root, "a", &cursor), "'a' must be an object");
	assert_says(rt_json_get_array(&root, "o", &cursor), "'o' must be an array");
}

static void numbers_keep_to_their_range(void **state)
{
	_cleanup_json_ json_t *document =
		parse("{\"a\":-1,\"b\":4294967296,\"c\":2147483648,\"d\":1.5,\"e\":1e3,\"f\":-2147483648}");
	struct rt_json root = rt_json_root(document);
	uint32_t u32;
	uint64_t u64;
	int32_t i32;
	int64_t i64;

	assert_says(rt_json_get_u64(&root, "a", &u64), "'a' must not be negative");
	assert_says(rt_json_get_u32(&root, "b", &u32), "'b' must be at most 4294967295");
	assert_says(rt_json_get_i32(&root, "c", &i32), "'c' must be between -2147483648 and 2147483647");
	assert_says(rt_json_get_i64(&root, "d", &i64), "'d' must be a whole number");
	assert_null(rt_json_get_i64(&root, "e", &i64));
	assert_int_equal(i64, 1000);
	assert_null(rt_json_get_i32(&root, "f", &i32));
	assert_int_equal(i32, INT32_MIN);
}

static void numbers_above_signed_ones_are_exact(void **state)
{
	_cleanup_json_ json_t *document =
		parse("{\"max\":18446744073709551615,\"mid\":[9223372036854775808],\"more\":18446744073709551616,"
		      "\"in \\\"18446744073709551615 text\":\"18446744073709551615\",\"real\":18446744073709551615.5}");
	struct rt_json root = rt_json_root(document), mid, first;
	const char *text = NULL;
	uint64_t u64 = 0;
	int64_t i64;

	assert_null(rt_json_get_u64(&root, "max", &u64));
	assert_true(u64 == UINT64_MAX);
	assert_null(rt_json_get_array(&root, "mid", &mid));
	first = rt_json_element(&mid, 0);
	assert_null(rt_json_as_u64(&first, &u64));
	assert_true(u64 == UINT64_C(1) << 63);
	assert_says(rt_json_get_u64(&root, "more", &u64), "'more' must be at most 18446744073709551615");
	assert_says(rt_json_get_i64(&root, "max", &i64),
		    "'max' must be between -9223372036854775808 and 9223372036854775807");
	assert_says(rt_json_get_string(&root, "max", &text), "'max' must be a string");
	assert_null(rt_json_get_string(&root, "in \"18446744073709551615 text", &text));
	assert_string_equal(text, "18446744073709551615");
	assert_says(rt_json_get_u64(&root, "real", &u64), "'real' must be a whole number");
}

static void numbers_beyond_any_type_are_refused(void **state)
{
	static const char *const list[] = {"{\"a\":-9223372036854775809}", "{\"a\":999999999999999999999}",
					   "{\"a\":1e999}", "{\"a\":018446744073709551615}", "[18446744073709551615"};

	for (size_t i = 0; i < RT_ARRAY_SIZE(list); i++) {
		json_t *value = NULL;
		struct rt_error *err = rt_json_parse(list[i], strlen(list[i]), "test", &value);

		assert_non_null(err);
		assert_null(value);
		rt_error_free(err);
	}
}

static void a_string_with_a_zero_byte_is_refused(void **state)
{
	_cleanup_json_ json_t *document = json_pack("{s:s%}", "a", "x\0y", (size_t)3);
	struct rt_json root = rt_json_root(document);
	const char *text;

	assert_says(rt_json_get_string(&root, "a", &text), "'a' must not contain a NUL byte");
}

static void a_document_is_refused_by_line(void **state)
{
	json_t *value = NULL;
	struct rt_error *err = rt_json_parse("{\n\n\"a\" 1}", 9, "x.json", &value);

	assert_non_null(err);
	assert_non_null(strstr(err->message, "'x.json' is not valid JSON: line 3: "));
	rt_error_free(err);
	err = rt_json_parse("{\"a\":1,\"a\":2}", 13, "x.json", &value);
	assert_non_null(err);
	rt_error_free(err);
}

static void numbers_of_any_size_are_written_as_they_were_read(void **state)
{
	static const char text[] = "{\"a\":18446744073709551615,\"b\":[9223372036854775808,-1,1.5],\"c\":\"\\\"18446744073709551615\\\"\"}";
	_cleanup_json_ json_t *value = NULL, *made = rt_json_number(UINT64_MAX), *small = rt_json_number(5);
	_cleanup_free_ char *again = NULL;

	assert_null(rt_json_parse(text, strlen(text), "test", &value));
	again = rt_json_dump(value, JSON_COMPACT);
	assert_string_equal(again, text);
	assert_true(json_equal(json_object_get(value, "a"), made));
	assert_int_equal(json_integer_value(small), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_names_the_way_to_the_field),
		cmocka_unit_test(a_long_way_is_cut_not_overrun),
		cmocka_unit_test(absent_and_null_leave_the_output),
		cmocka_unit_test(wrong_kinds_are_refused),
		cmocka_unit_test(numbers_keep_to_their_range),
		cmocka_unit_test(numbers_above_signed_ones_are_exact),
		cmocka_unit_test(numbers_beyond_any_type_are_refused),
		cmocka_unit_test(a_string_with_a_zero_byte_is_refused),
		cmocka_unit_test(a_document_is_refused_by_line),
		cmocka_unit_test(numbers_of_any_size_are_written_as_they_were_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
