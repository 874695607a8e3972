#include "runtime/container/in_force.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>

#define FILE_NAME "limits.json"
#define FILE_LIMIT (16u << 20)

json_t *rt_in_force_of_config(const json_t *config)
{
	json_t *resources = json_object_get(json_object_get(config, "linux"), "resources");

	return json_is_object(resources) ? resources : NULL;
}

bool rt_in_force_differs(const struct rt_container *container)
{
	return faccessat(container->dir_fd, FILE_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

struct rt_error *rt_in_force_load(struct rt_container *container, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	const struct rt_spec *spec;
	struct rt_error *err;
	size_t size;

	if (rt_in_force_differs(container)) {
		err = rt_read_file_at(container->dir_fd, FILE_NAME, FILE_LIMIT, &text, &size);
		return err ? err : rt_json_parse(text, size, FILE_NAME, ret);
	}
	err = rt_container_spec(container, &spec);
	if (err)
		return err;
	*ret = rt_in_force_of_config(spec->json) ? json_deep_copy(rt_in_force_of_config(spec->json)) : json_object();
	return *ret ? NULL : rt_error_oom();
}

struct rt_error *rt_in_force_store(int dir_fd, const json_t *resources)
{
	_cleanup_free_ char *text = json_dumps(resources, JSON_COMPACT);

	return text ? rt_replace_file_at(dir_fd, FILE_NAME, text, strlen(text), 0600) : rt_error_oom();
}

struct rt_error *rt_in_force_merge(json_t *into, json_t *update)
{
	const char *key;
	json_t *value;

	json_object_foreach(update, key, value) {
		json_t *old = json_object_get(into, key);
		struct rt_error *err = NULL;

		if (json_is_object(old) && json_is_object(value))
			err = rt_in_force_merge(old, value);
		else if (json_object_set(into, key, value) < 0)
			err = rt_error_oom();
		if (err)
			return err;
	}
	return NULL;
}

static bool same(const json_t *a, const json_t *b)
{
	return a == b || (a && b && json_equal(a, b));
}

static bool object_or_nothing(const json_t *value)
{
	return !value || json_is_object(value);
}

static struct rt_error *carry_value(json_t *into, const char *key, const json_t *created, const json_t *in_force, const json_t *wanted)
{
	const json_t *value = same(created, wanted) ? in_force : wanted;
	json_t *copy = NULL;
	struct rt_error *err;

	if (object_or_nothing(created) && object_or_nothing(in_force) && object_or_nothing(wanted)) {
		err = rt_in_force_carry(created, in_force, wanted, &copy);
		if (err)
			return err;
		if (json_object_size(copy) == 0 && !value) {
			json_decref(copy);
			return NULL;
		}
	} else if (value) {
		copy = json_deep_copy(value);
	} else {
		return NULL;
	}
	return json_object_set_new(into, key, copy) < 0 ? rt_error_oom() : NULL;
}

struct rt_error *rt_in_force_carry(const json_t *created, const json_t *in_force, const json_t *wanted, json_t **ret)
{
	_cleanup_json_ json_t *made = json_object();
	const json_t *const sources[] = { in_force, wanted };
	struct rt_error *err = NULL;

	if (!made)
		return rt_error_oom();
	for (size_t i = 0; i < RT_ARRAY_SIZE(sources); i++) {
		const char *key;
		json_t *value;

		json_object_foreach((json_t *)sources[i], key, value) {
			if (json_object_get(made, key))
				continue;
			err = carry_value(made, key, json_object_get(created, key), json_object_get(in_force, key),
					  json_object_get(wanted, key));
			if (err)
				return err;
		}
	}
	*ret = rt_take_ptr(made);
	return NULL;
}
