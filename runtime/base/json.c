#include "runtime/base/json.h"

#include <stdarg.h>
#include <string.h>

struct rt_error *rt_json_parse(const char *text, size_t size, const char *name, json_t **ret)
{
	json_error_t why;
	json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);

	if (!value)
		return rt_fail(RT_CONFIG, "'%s' is not valid JSON: line %d: %s", name, why.line, why.text);
	*ret = value;
	return NULL;
}

static size_t path_append(const struct rt_json *at, char *text, size_t room, size_t used)
{
	int length;

	if (!at->parent)
		return used;
	used = path_append(at->parent, text, room, used);
	if (used >= room)
		return used;
	if (at->key)
		length = snprintf(text + used, room - used, "%s%s", used ? "." : "", at->key);
	else
		length = snprintf(text + used, room - used, "[%zu]", at->index);
	return length < 0 ? used : used + (size_t)length;
}

const char *rt_json_path(const struct rt_json *at, char *text, size_t room)
{
	text[0] = '\0';
	path_append(at, text, room, 0);
	return text;
}

struct rt_error *rt_json_fail(const struct rt_json *at, const char *key, const char *what, ...)
{
	struct rt_json field = { .parent = at, .key = key };
	char path[RT_JSON_PATH_ROOM];
	_cleanup_free_ char *text = NULL;
	va_list args;
	int length;

	va_start(args, what);
	length = vasprintf(&text, what, args);
	va_end(args);
	if (length < 0) {
		text = NULL;
		return rt_error_oom();
	}
	rt_json_path(key ? &field : at, path, sizeof(path));
	if (!*path)
		return rt_fail(RT_CONFIG, "the document %s", text);
	return rt_fail(RT_CONFIG, "'%s' %s", path, text);
}

struct rt_json rt_json_field(const struct rt_json *object, const char *key)
{
	json_t *value = object->value ? json_object_get(object->value, key) : NULL;

	if (json_is_null(value))
		value = NULL;
	return (struct rt_json){ .value = value, .parent = object, .key = key };
}

struct rt_json rt_json_element(const struct rt_json *array, size_t index)
{
	return (struct rt_json){ .value = json_array_get(array->value, index), .parent = array, .index = index };
}

size_t rt_json_count(const struct rt_json *array)
{
	return array->value ? json_array_size(array->value) : 0;
}

struct rt_error *rt_json_get_object(const struct rt_json *object, const char *key, struct rt_json *ret)
{
	struct rt_json field = rt_json_field(object, key);

	if (field.value && !json_is_object(field.value))
		return rt_json_fail(&field, NULL, "must be an object");
	*ret = field;
	return NULL;
}

struct rt_error *rt_json_get_array(const struct rt_json *object, const char *key, struct rt_json *ret)
{
	struct rt_json field = rt_json_field(object, key);

	if (field.value && !json_is_array(field.value))
		return rt_json_fail(&field, NULL, "must be an array");
	*ret = field;
	return NULL;
}

struct rt_error *rt_json_as_string(const struct rt_json *at, const char **ret)
{
	if (!json_is_string(at->value))
		return rt_json_fail(at, NULL, "must be a string");
	if (strlen(json_string_value(at->value)) != json_string_length(at->value))
		return rt_json_fail(at, NULL, "must not contain a NUL byte");
	*ret = json_string_value(at->value);
	return NULL;
}

struct rt_error *rt_json_as_i64(const struct rt_json *at, int64_t *ret)
{
	if (json_is_integer(at->value)) {
		*ret = json_integer_value(at->value);
		return NULL;
	}
	if (json_is_real(at->value)) {
		double value = json_real_value(at->value);

		/* The bounds are exact in a double; the upper one is outside of the type. */
		if (value >= -9223372036854775808.0 && value < 9223372036854775808.0 && value == (double)(int64_t)value) {
			*ret = (int64_t)value;
			return NULL;
		}
	}
	return rt_json_fail(at, NULL, "must be a whole number");
}

struct rt_error *rt_json_as_u64(const struct rt_json *at, uint64_t *ret)
{
	if (json_is_integer(at->value)) {
		if (json_integer_value(at->value) < 0)
			return rt_json_fail(at, NULL, "must not be negative");
		*ret = (uint64_t)json_integer_value(at->value);
		return NULL;
	}
	if (json_is_real(at->value)) {
		double value = json_real_value(at->value);

		if (value >= 0 && value < 18446744073709551616.0 && value == (double)(uint64_t)value) {
			*ret = (uint64_t)value;
			return NULL;
		}
	}
	return rt_json_fail(at, NULL, "must be a whole number");
}

struct rt_error *rt_json_get_string(const struct rt_json *object, const char *key, const char **ret)
{
	struct rt_json field = rt_json_field(object, key);

	return field.value ? rt_json_as_string(&field, ret) : NULL;
}

struct rt_error *rt_json_get_bool(const struct rt_json *object, const char *key, bool *ret)
{
	struct rt_json field = rt_json_field(object, key);

	if (!field.value)
		return NULL;
	if (!json_is_boolean(field.value))
		return rt_json_fail(&field, NULL, "must be true or false");
	*ret = json_is_true(field.value);
	return NULL;
}

struct rt_error *rt_json_get_i64(const struct rt_json *object, const char *key, int64_t *ret)
{
	struct rt_json field = rt_json_field(object, key);

	return field.value ? rt_json_as_i64(&field, ret) : NULL;
}

struct rt_error *rt_json_get_u64(const struct rt_json *object, const char *key, uint64_t *ret)
{
	struct rt_json field = rt_json_field(object, key);

	return field.value ? rt_json_as_u64(&field, ret) : NULL;
}

struct rt_error *rt_json_get_i32(const struct rt_json *object, const char *key, int32_t *ret)
{
	struct rt_json field = rt_json_field(object, key);
	struct rt_error *err;
	int64_t value;

	if (!field.value)
		return NULL;
	err = rt_json_as_i64(&field, &value);
	if (err)
		return err;
	if (value < INT32_MIN || value > INT32_MAX)
		return rt_json_fail(&field, NULL, "must be between %d and %d", INT32_MIN, INT32_MAX);
	*ret = (int32_t)value;
	return NULL;
}

struct rt_error *rt_json_get_u32(const struct rt_json *object, const char *key, uint32_t *ret)
{
	struct rt_json field = rt_json_field(object, key);
	struct rt_error *err;
	uint64_t value;

	if (!field.value)
		return NULL;
	err = rt_json_as_u64(&field, &value);
	if (err)
		return err;
	if (value > UINT32_MAX)
		return rt_json_fail(&field, NULL, "must be at most %u", UINT32_MAX);
	*ret = (uint32_t)value;
	return NULL;
}
