#include "runtime/spec/loader.h"

#include "runtime/base/log.h"

#include <stdarg.h>

/* Messages start with the field in single quotes (rt_json_fail()), so the path needs no second way through the layers.
 */
static void tell(struct rt_loader *loader, enum rt_spec_severity severity, const char *message)
{
	struct rt_spec_finding finding = {.severity = severity, .message = message};
	const char *end = message[0] == '\'' ? strchr(message + 1, '\'') : NULL;
	char path[RT_JSON_PATH_ROOM] = "";

	if (end && (size_t)(end - message) <= sizeof(path)) {
		memcpy(path, message + 1, (size_t)(end - message) - 1);
		path[end - message - 1] = '\0';
	}
	finding.path = path;
	finding.section = rt_spec_section(path);
	loader->visitor->found(loader->visitor->userdata, &finding);
}

void rt_load_reject(struct rt_loader *loader, struct rt_error *err)
{
	if (!err)
		return;
	if (loader->err) {
		rt_error_free(err);
	} else if (loader->visitor && err->code == RT_CONFIG) {
		tell(loader, RT_SPEC_VIOLATION, err->message);
		rt_error_free(err);
	} else {
		loader->err = err;
	}
}

void rt_load_warn(struct rt_loader *loader, const struct rt_json *at, const char *key, const char *what, ...)
{
	struct rt_error *err;
	char text[512];
	va_list args;

	if (loader->err)
		return;
	va_start(args, what);
	vsnprintf(text, sizeof(text), what, args);
	va_end(args);
	err = rt_json_fail(at, key, "%s", text);
	if (loader->visitor)
		tell(loader, RT_SPEC_WARNING, err->message);
	else
		rt_warn("%s", err->message);
	rt_error_free(err);
}

void rt_load_remark(struct rt_loader *loader, const struct rt_json *at, const char *key, const char *what)
{
	if (loader->visitor)
		rt_load_warn(loader, at, key, "%s", what);
}

void *rt_load_memory(struct rt_loader *loader, size_t count, size_t size)
{
	void *memory = rt_arena_calloc(&loader->spec->arena, count, size);

	if (!memory)
		rt_load_reject(loader, rt_error_oom());
	return memory;
}

bool rt_load_needs(struct rt_loader *loader, const struct rt_json *object, const char *key)
{
	struct rt_json field = rt_json_field(object, key);

	if (loader->err)
		return false;
	if (field.value && !(json_is_string(field.value) && json_string_length(field.value) == 0))
		return true;
	rt_load_fail(loader, object, key, "is required");
	return false;
}

struct rt_json rt_load_object(struct rt_loader *loader, const struct rt_json *object, const char *key)
{
	struct rt_json field = {.parent = object, .key = key};

	if (!loader->err)
		rt_load_reject(loader, rt_json_get_object(object, key, &field));
	return field;
}

void rt_load_bool(struct rt_loader *loader, const struct rt_json *object, const char *key, bool *ret)
{
	if (!loader->err)
		rt_load_reject(loader, rt_json_get_bool(object, key, ret));
}

void rt_load_string(struct rt_loader *loader, const struct rt_json *object, const char *key, const char **ret)
{
	const char *text = NULL;

	if (loader->err)
		return;
	rt_load_reject(loader, rt_json_get_string(object, key, &text));
	if (text && *text)
		*ret = text;
}

void rt_load_i32(struct rt_loader *loader, const struct rt_json *object, const char *key, int32_t *ret)
{
	if (!loader->err)
		rt_load_reject(loader, rt_json_get_i32(object, key, ret));
}

void rt_load_u32(struct rt_loader *loader, const struct rt_json *object, const char *key, uint32_t *ret)
{
	if (!loader->err)
		rt_load_reject(loader, rt_json_get_u32(object, key, ret));
}

void rt_load_i64(struct rt_loader *loader, const struct rt_json *object, const char *key, int64_t *ret)
{
	if (!loader->err)
		rt_load_reject(loader, rt_json_get_i64(object, key, ret));
}

void rt_load_u64(struct rt_loader *loader, const struct rt_json *object, const char *key, uint64_t *ret)
{
	if (!loader->err)
		rt_load_reject(loader, rt_json_get_u64(object, key, ret));
}

/* Memory for a number that is there; NULL where it is absent, of the wrong kind, or the loader has stopped. */
#define READ_AT(loader, object, key, ret, type, get)                                                                   \
	do {                                                                                                           \
		struct rt_error *err_;                                                                                 \
		type value_ = 0;                                                                                       \
		type *memory_;                                                                                         \
		if ((loader)->err || !rt_json_field((object), (key)).value)                                            \
			break;                                                                                         \
		err_ = get((object), (key), &value_);                                                                  \
		if (err_) {                                                                                            \
			rt_load_reject((loader), err_);                                                                \
			break;                                                                                         \
		}                                                                                                      \
		memory_ = rt_load_memory((loader), 1, sizeof(type));                                                   \
		if (!memory_)                                                                                          \
			break;                                                                                         \
		*memory_ = value_;                                                                                     \
		*(ret) = memory_;                                                                                      \
	} while (0)

void rt_load_bool_at(struct rt_loader *loader, const struct rt_json *object, const char *key, const bool **ret)
{
	READ_AT(loader, object, key, ret, bool, rt_json_get_bool);
}

void rt_load_i64_at(struct rt_loader *loader, const struct rt_json *object, const char *key, const int64_t **ret)
{
	READ_AT(loader, object, key, ret, int64_t, rt_json_get_i64);
}

void rt_load_u64_at(struct rt_loader *loader, const struct rt_json *object, const char *key, const uint64_t **ret)
{
	READ_AT(loader, object, key, ret, uint64_t, rt_json_get_u64);
}

void rt_load_u32_at(struct rt_loader *loader, const struct rt_json *object, const char *key, const uint32_t **ret)
{
	READ_AT(loader, object, key, ret, uint32_t, rt_json_get_u32);
}

void *rt_load_array(struct rt_loader *loader, const struct rt_json *object, const char *key, size_t size,
		    struct rt_json *array, size_t *ret_count)
{
	void *entries;
	size_t count;

	*array = (struct rt_json){.parent = object, .key = key};
	*ret_count = 0;
	if (loader->err)
		return NULL;
	rt_load_reject(loader, rt_json_get_array(object, key, array));
	count = loader->err ? 0 : rt_json_count(array);
	entries = count > 0 ? rt_load_memory(loader, count, size) : NULL;
	if (entries)
		*ret_count = count;
	return entries;
}

struct rt_json rt_load_element(struct rt_loader *loader, const struct rt_json *array, size_t index)
{
	struct rt_json element = rt_json_element(array, index);

	if (json_is_object(element.value))
		return element;
	rt_load_fail(loader, &element, NULL, "must be an object");
	element.value = NULL;
	return element;
}

void rt_load_strings(struct rt_loader *loader, const struct rt_json *object, const char *key, const char *const **ret,
		     size_t *ret_count)
{
	struct rt_json array = {.parent = object, .key = key};
	const char **entries;
	size_t kept = 0;

	if (loader->err)
		return;
	rt_load_reject(loader, rt_json_get_array(object, key, &array));
	if (loader->err || !array.value)
		return;
	entries = rt_load_memory(loader, rt_json_count(&array) + 1, sizeof(*entries));
	if (!entries)
		return;
	for (size_t i = 0; i < rt_json_count(&array) && !loader->err; i++) {
		struct rt_json element = rt_json_element(&array, i);

		rt_load_reject(loader, rt_json_as_string(&element, &entries[kept]));
		if (entries[kept])
			kept++;
	}
	*ret = entries;
	*ret_count = kept;
}

void rt_load_map(struct rt_loader *loader, const struct rt_json *object, const char *key,
		 const struct rt_spec_key_value **ret, size_t *ret_count)
{
	struct rt_json map = rt_load_object(loader, object, key);
	struct rt_spec_key_value *entries;
	size_t kept = 0;

	if (loader->err || !map.value || json_object_size(map.value) == 0)
		return;
	entries = rt_load_memory(loader, json_object_size(map.value), sizeof(*entries));
	if (!entries)
		return;
	for (void *at = json_object_iter(map.value); at; at = json_object_iter_next(map.value, at)) {
		struct rt_json value = {json_object_iter_value(at), &map, json_object_iter_key(at), 0};

		entries[kept].key = value.key;
		rt_load_reject(loader, rt_json_as_string(&value, &entries[kept].value));
		if (entries[kept].value)
			kept++;
	}
	*ret = entries;
	*ret_count = kept;
}

bool rt_word_find(const struct rt_word *words, const char *name, uint64_t *ret)
{
	for (; words->name; words++) {
		if (rt_str_equal(words->name, name)) {
			*ret = words->value;
			return true;
		}
	}
	return false;
}

/* "must be one of a, b or c, not 'x'". Long sets are cut short: the reader knows where to look. */
static void reject_word(struct rt_loader *loader, const struct rt_json *at, const struct rt_word *words,
			const char *name)
{
	char set[256] = "";
	size_t used = 0;

	for (size_t i = 0; words[i].name && used < sizeof(set); i++)
		used += (size_t)snprintf(set + used, sizeof(set) - used, "%s%s",
					 i == 0 ? "" : (words[i + 1].name ? ", " : " or "), words[i].name);
	if (used < sizeof(set))
		rt_load_fail(loader, at, NULL, "must be %s, not '%s'", set, name);
	else
		rt_load_fail(loader, at, NULL, "has an unknown value '%s'", name);
}

static bool word_at(struct rt_loader *loader, const struct rt_json *at, const struct rt_word *words, uint64_t *ret)
{
	const char *name = NULL;

	rt_load_reject(loader, rt_json_as_string(at, &name));
	if (loader->err || !name)
		return false;
	if (rt_word_find(words, name, ret))
		return true;
	reject_word(loader, at, words, name);
	return false;
}

bool rt_load_word(struct rt_loader *loader, const struct rt_json *object, const char *key, const struct rt_word *words,
		  uint64_t *ret)
{
	struct rt_json field = rt_json_field(object, key);

	if (loader->err || !field.value)
		return false;
	if (json_is_string(field.value) && json_string_length(field.value) == 0)
		return false;
	return word_at(loader, &field, words, ret);
}

void rt_load_word_set(struct rt_loader *loader, const struct rt_json *object, const char *key,
		      const struct rt_word *words, uint64_t *ret)
{
	struct rt_json array = {.parent = object, .key = key};

	if (loader->err)
		return;
	rt_load_reject(loader, rt_json_get_array(object, key, &array));
	for (size_t i = 0; !loader->err && i < rt_json_count(&array); i++) {
		struct rt_json element = rt_json_element(&array, i);
		uint64_t value;

		if (word_at(loader, &element, words, &value))
			*ret |= value;
	}
}

bool rt_number_list_valid(const char *list)
{
	for (;;) {
		unsigned long long first, last;
		char *end;

		if (*list < '0' || *list > '9')
			return false;
		errno = 0;
		first = last = strtoull(list, &end, 10);
		if (*end == '-') {
			if (end[1] < '0' || end[1] > '9')
				return false;
			last = strtoull(end + 1, &end, 10);
		}
		/* No machine has more; a bound keeps whoever makes a mask of it safe. */
		if (errno || first > last || last > 65535)
			return false;
		if (!*end)
			return true;
		if (*end != ',')
			return false;
		list = end + 1;
	}
}
