#include "runtime/base/json.h"

#include "runtime/base/str.h"

#include <stdarg.h>
#include <string.h>

/* Before a whole number that jansson can't hold, as a string: nobody writes this control character. */
#define BIG_NUMBER "\x1f"

/* A number token of only digits that is above INT64_MAX: RLIM_INFINITY, or a mask of seccomp, as every engine writes them. */
static size_t big_number(const char *at, const char *end)
{
	static const char most[] = "9223372036854775807";
	size_t digits = 0;

	while (at + digits < end && at[digits] >= '0' && at[digits] <= '9')
		digits++;
	if (digits != 20 && (digits != 19 || strncmp(at, most, 19) <= 0))
		return 0;
	if (at[0] == '0' || (at + digits < end && strchr(".eE", at[digits]) && at[digits]))
		return 0;
	return digits;
}

/* The document with such numbers as marked strings. Strings are skipped, so nothing in them is touched; a number of JSON
 * starts after anything but a character of a number. */
static char *mark_big_numbers(const char *text, size_t size, size_t *ret_size)
{
	const char *end = text + size;
	/* Each number of at least 19 characters grows by 8: the marker, escaped, and two quotes. */
	char *copy = malloc(size + size / 19 * 8 + 1), *to = copy;
	bool in_string = false;

	for (const char *at = text; copy && at < end; at++) {
		size_t digits = in_string || (at > text && strchr("0123456789.+-eE", at[-1]) && at[-1]) ? 0 : big_number(at, end);

		if (digits) {
			memcpy(to, "\"\\u001f", 7);
			memcpy(to + 7, at, digits);
			to[7 + digits] = '"';
			to += digits + 8;
			at += digits - 1;
			continue;
		}
		if (in_string && *at == '\\' && at + 1 < end)
			*to++ = *at++;
		else if (*at == '"')
			in_string = !in_string;
		*to++ = *at;
	}
	*ret_size = copy ? (size_t)(to - copy) : 0;
	return copy;
}

struct rt_error *rt_json_parse(const char *text, size_t size, const char *name, json_t **ret)
{
	const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY;
	json_error_t why;
	json_t *value = json_loadb(text, size, flags, &why);

	if (!value && json_error_code(&why) == json_error_numeric_overflow) {
		_cleanup_free_ char *marked = mark_big_numbers(text, size, &size);

		if (!marked)
			return rt_error_oom();
		value = json_loadb(marked, size, flags, &why);
	}
	if (!value)
		return rt_fail(RT_CONFIG, "'%s' is not valid JSON: line %d: %s", name, why.line, why.text);
	*ret = value;
	return NULL;
}

/* Within a string the marker stands as this escape, and nobody else's text begins with it: see rt_json_parse(). */
char *rt_json_dump(const json_t *value, size_t flags)
{
	static const char marked[] = "\"\\u001F";
	char *text = json_dumps(value, flags), *to = text;
	bool in_string = false;

	for (const char *at = text; text && *at; at++) {
		const char *number = at + sizeof(marked) - 1;
		size_t digits = !in_string && strncmp(at, marked, sizeof(marked) - 1) == 0 ? strspn(number, "0123456789") : 0;

		if (digits > 0 && number[digits] == '"') {
			memmove(to, number, digits);
			to += digits;
			at = number + digits;
			continue;
		}
		if (in_string && *at == '\\')
			*to++ = *at++;
		else if (*at == '"')
			in_string = !in_string;
		*to++ = *at;
	}
	if (text)
		*to = '\0';
	return text;
}

json_t *rt_json_number(uint64_t number)
{
	char text[24];

	if (number <= INT64_MAX)
		return json_integer((json_int_t)number);
	snprintf(text, sizeof(text), BIG_NUMBER "%llu", (unsigned long long)number);
	return json_string(text);
}

json_t *rt_json_visible(const char *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	_cleanup_json_ json_t *probe = json_stringn(bytes, size);
	_cleanup_free_ char *text = malloc(4 * size + 1);
	size_t length = 0;

	if (!text)
		return NULL;
	for (size_t i = 0; i < size; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		/* jansson refuses what is no UTF-8; what it refuses is shown byte by byte. */
		if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !probe)) {
			text[length++] = '\\';
			text[length++] = 'x';
			text[length++] = digits[byte >> 4];
			text[length++] = digits[byte & 15];
		} else {
			text[length++] = (char)byte;
		}
	}
	return json_stringn(text, length);
}

static bool is_big_number(const json_t *value)
{
	return json_is_string(value) && strncmp(json_string_value(value), BIG_NUMBER, 1) == 0;
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
	if (!json_is_string(at->value) || is_big_number(at->value))
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
	if (is_big_number(at->value))
		return rt_json_fail(at, NULL, "must be between %lld and %lld", (long long)INT64_MIN, (long long)INT64_MAX);
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
	if (is_big_number(at->value)) {
		if (rt_str_to_u64(json_string_value(at->value) + 1, ret))
			return NULL;
		return rt_json_fail(at, NULL, "must be at most %llu", (unsigned long long)UINT64_MAX);
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
	int64_t value = 0;

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
	uint64_t value = 0;

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
