/* Typed access to a JSON document, where every failure names the field: "'process.user.uid' must be a number".
 *
 * A cursor (struct rt_json) is a value and the way to it; it lives on the caller's stack, its parents above it. Strings
 * it gives out belong to the document. A field that is absent, or null, leaves the output as it was. */
#pragma once

#include "runtime/base/error.h"

#include <jansson.h>
#include <stdint.h>
#include <string.h>

struct rt_json {
	json_t *value; /* borrowed; NULL where the field is absent */
	const struct rt_json *parent; /* NULL at the root */
	const char *key; /* in an object, else NULL */
	size_t index; /* in an array */
};

static inline struct rt_json rt_json_root(json_t *value)
{
	return (struct rt_json){ .value = value };
}

/* Parses a document; duplicate keys, trailing bytes and depth beyond jansson's limit are errors that say the line.
 * `name` is for the message. *ret is the caller's to json_decref(). Whole numbers above INT64_MAX, which jansson has no room
 * for, stand in the document as marked strings that rt_json_as_u64() reads and rt_json_as_string() refuses. */
struct rt_error *rt_json_parse(const char *text, size_t size, const char *name, json_t **ret) _must_check_;

/* The document as text, such numbers as numbers again; `flags` are jansson's. The caller frees it; NULL without memory. */
char *rt_json_dump(const json_t *value, size_t flags);

/* A whole number of any size, as rt_json_parse() would have made it. NULL without memory. */
json_t *rt_json_number(uint64_t number);

/* Text of somebody else: printable ASCII and valid UTF-8 stay, all else becomes \xNN. NULL without memory. */
json_t *rt_json_visible(const char *bytes, size_t size);
static inline json_t *rt_json_visible_string(const char *text)
{
	return rt_json_visible(text ? text : "", text ? strlen(text) : 0);
}

/* The way to a value, "linux.resources.devices[2].access", into `room` bytes; returns `text`. */
#define RT_JSON_PATH_ROOM 256
const char *rt_json_path(const struct rt_json *at, char *text, size_t room);

/* An RT_CONFIG error "'<path of the field>' <what>"; key may be NULL for `at` itself. */
struct rt_error *rt_json_fail(const struct rt_json *at, const char *key, const char *what, ...) _must_check_
	__attribute__((format(printf, 3, 4)));

/* The field of an object. ret->value is NULL where it is absent or null. */
struct rt_json rt_json_field(const struct rt_json *object, const char *key);
/* The element of an array; index must be below rt_json_count(). */
struct rt_json rt_json_element(const struct rt_json *array, size_t index);
size_t rt_json_count(const struct rt_json *array);

/* Fields that must be of a kind where they are there; ret->value is NULL where they are absent. */
struct rt_error *rt_json_get_object(const struct rt_json *object, const char *key, struct rt_json *ret) _must_check_;
struct rt_error *rt_json_get_array(const struct rt_json *object, const char *key, struct rt_json *ret) _must_check_;
struct rt_error *rt_json_get_string(const struct rt_json *object, const char *key, const char **ret) _must_check_;
struct rt_error *rt_json_get_bool(const struct rt_json *object, const char *key, bool *ret) _must_check_;
struct rt_error *rt_json_get_i64(const struct rt_json *object, const char *key, int64_t *ret) _must_check_;
struct rt_error *rt_json_get_u64(const struct rt_json *object, const char *key, uint64_t *ret) _must_check_;
struct rt_error *rt_json_get_i32(const struct rt_json *object, const char *key, int32_t *ret) _must_check_;
struct rt_error *rt_json_get_u32(const struct rt_json *object, const char *key, uint32_t *ret) _must_check_;

/* The value itself must be a string without NUL bytes, or a whole number in range. */
struct rt_error *rt_json_as_string(const struct rt_json *at, const char **ret) _must_check_;
struct rt_error *rt_json_as_i64(const struct rt_json *at, int64_t *ret) _must_check_;
/* Up to UINT64_MAX, exactly; also as a real that is whole, as other writers make them. */
struct rt_error *rt_json_as_u64(const struct rt_json *at, uint64_t *ret) _must_check_;
