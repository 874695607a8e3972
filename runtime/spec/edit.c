#include "runtime/spec/edit.h"

void rt_edit_deinit(struct rt_edit *edit)
{
	edit->err = rt_error_free(edit->err);
	rt_arena_deinit(&edit->arena);
}

void rt_edit_reject(struct rt_edit *edit, struct rt_error *err)
{
	if (edit->err)
		rt_error_free(err);
	else
		edit->err = err;
}

/* The value of the first `length` bytes of a path. */
static json_t *walk(json_t *at, const char *path, size_t length)
{
	const char *end = path + length;

	while (at && path < end) {
		size_t size = strcspn(path, ".");
		char key[64];

		if (path + size > end)
			size = (size_t)(end - path);
		snprintf(key, sizeof(key), "%.*s", (int)size, path);
		at = json_object_get(at, key);
		path += size + (path[size] == '.');
	}
	return at;
}

json_t *rt_edit_peek(const struct rt_edit *edit, const char *path)
{
	json_t *value = walk(edit->config, path, strlen(path));

	return json_is_null(value) ? NULL : value;
}

/* The object that holds the last key of a path, made with all that is missing on the way. */
static json_t *parent_of(struct rt_edit *edit, const char *path, const char **ret_key)
{
	json_t *at = edit->config;

	for (const char *from = path, *dot; !edit->err; from = dot + 1) {
		char key[64];
		json_t *next;

		dot = strchr(from, '.');
		*ret_key = from;
		if (!dot)
			return at;
		snprintf(key, sizeof(key), "%.*s", (int)(dot - from), from);
		next = json_object_get(at, key);
		if (!next || json_is_null(next)) {
			next = json_object();
			if (json_object_set_new(at, key, next) < 0)
				rt_edit_reject(edit, rt_error_oom());
		} else if (!json_is_object(next)) {
			rt_edit_fail(edit, RT_CONFIG, "'%.*s' must be an object", (int)(dot - path), path);
		}
		at = next;
	}
	return NULL;
}

static json_t *container(struct rt_edit *edit, const char *path, bool array)
{
	const char *key;
	json_t *parent = parent_of(edit, path, &key), *value = parent ? json_object_get(parent, key) : NULL;

	if (!parent)
		return NULL;
	if (!value || json_is_null(value)) {
		value = array ? json_array() : json_object();
		if (json_object_set_new(parent, key, value) < 0)
			rt_edit_reject(edit, rt_error_oom());
	} else if (array ? !json_is_array(value) : !json_is_object(value)) {
		rt_edit_fail(edit, RT_CONFIG, "'%s' must be an %s", path, array ? "array" : "object");
	}
	return edit->err ? NULL : value;
}

json_t *rt_edit_object(struct rt_edit *edit, const char *path)
{
	return container(edit, path, false);
}

json_t *rt_edit_array(struct rt_edit *edit, const char *path)
{
	return container(edit, path, true);
}

void rt_edit_set(struct rt_edit *edit, const char *path, json_t *value)
{
	const char *key;
	json_t *parent = parent_of(edit, path, &key);

	if (!parent)
		json_decref(value);
	else if (json_object_set_new(parent, key, value) < 0)
		rt_edit_reject(edit, rt_error_oom());
}

/* What isn't UTF-8 can't be said in JSON. */
static json_t *string(struct rt_edit *edit, const char *text)
{
	json_t *value = json_string(text);

	if (!value)
		rt_edit_fail(edit, RT_USAGE, "'%s' is not text in UTF-8", text);
	return value;
}

void rt_edit_set_string(struct rt_edit *edit, const char *path, const char *text)
{
	json_t *value = string(edit, text);

	if (value)
		rt_edit_set(edit, path, value);
}

void rt_edit_remove(struct rt_edit *edit, const char *path)
{
	const char *dot = strrchr(path, '.');

	if (!edit->err)
		json_object_del(dot ? walk(edit->config, path, (size_t)(dot - path)) : edit->config, dot ? dot + 1 : path);
}

void rt_edit_put(struct rt_edit *edit, const char *path, const char *key, json_t *value)
{
	json_t *object = rt_edit_object(edit, path);

	if (!object)
		json_decref(value);
	else if (!value || json_object_set_new(object, key, value) < 0)
		rt_edit_fail(edit, RT_USAGE, "'%s' is not text in UTF-8", key);
}

void rt_edit_append(struct rt_edit *edit, const char *path, json_t *value)
{
	json_t *array = rt_edit_array(edit, path);

	if (!array)
		json_decref(value);
	else if (json_array_append_new(array, value) < 0)
		rt_edit_reject(edit, rt_error_oom());
}

static bool find_word(const json_t *array, const char *word, size_t *ret)
{
	for (*ret = 0; *ret < json_array_size(array); ++*ret) {
		const char *text = json_string_value(json_array_get(array, *ret));

		if (text && rt_str_equal(text, word))
			return true;
	}
	return false;
}

void rt_edit_add_word(struct rt_edit *edit, const char *path, const char *word)
{
	json_t *array = rt_edit_array(edit, path), *value;
	size_t index;

	if (!array || find_word(array, word, &index))
		return;
	value = string(edit, word);
	if (value)
		rt_edit_append(edit, path, value);
}

void rt_edit_remove_word(struct rt_edit *edit, const char *path, const char *word)
{
	json_t *array = rt_edit_peek(edit, path);
	size_t index;

	while (!edit->err && find_word(array, word, &index))
		json_array_remove(array, index);
}

static bool find_entry(const json_t *array, const char *key, const char *text, size_t *ret)
{
	for (*ret = 0; *ret < json_array_size(array); ++*ret) {
		const char *value = json_string_value(json_object_get(json_array_get(array, *ret), key));

		if (value && text && rt_str_equal(value, text))
			return true;
	}
	return false;
}

json_t *rt_edit_find(const struct rt_edit *edit, const char *path, const char *key, const char *text)
{
	json_t *array = rt_edit_peek(edit, path);
	size_t index;

	return find_entry(array, key, text, &index) ? json_array_get(array, index) : NULL;
}

void rt_edit_replace(struct rt_edit *edit, const char *path, const char *key, json_t *entry)
{
	json_t *array = rt_edit_array(edit, path);
	size_t index;

	if (!array)
		json_decref(entry);
	else if (!find_entry(array, key, json_string_value(json_object_get(entry, key)), &index))
		rt_edit_append(edit, path, entry);
	else if (json_array_set_new(array, index, entry) < 0)
		rt_edit_reject(edit, rt_error_oom());
}

void rt_edit_remove_entry(struct rt_edit *edit, const char *path, const char *key, const char *text)
{
	json_t *array = rt_edit_peek(edit, path);
	size_t index;

	while (!edit->err && find_entry(array, key, text, &index))
		json_array_remove(array, index);
}

size_t rt_edit_split(struct rt_edit *edit, const char *text, char separator, const char **words, size_t room)
{
	char *copy = rt_arena_printf(&edit->arena, "%s", text);
	size_t count = 0;

	if (!copy)
		rt_edit_reject(edit, rt_error_oom());
	while (copy && count < room) {
		char *end = count + 1 < room ? strchr(copy, separator) : NULL;

		words[count++] = copy;
		copy = end ? end + 1 : NULL;
		if (end)
			*end = '\0';
	}
	return count;
}
