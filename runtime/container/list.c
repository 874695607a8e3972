/* The state of one container, or of all, as the specification and runc print it. */
#include "runtime/container/private.h"

#include "runtime/base/log.h"
#include "runtime/base/str.h"

#include <fcntl.h>

static struct rt_error *annotations_json(const struct rt_spec *spec, json_t **ret)
{
	_cleanup_json_ json_t *object = json_object();

	if (!object)
		return rt_error_oom();
	for (size_t i = 0; spec && i < spec->annotation_count; i++)
		if (json_object_set_new(object, spec->annotations[i].key, json_string(spec->annotations[i].value)) < 0)
			return rt_error_oom();
	*ret = rt_take_ptr(object);
	return NULL;
}

struct rt_error *rt_container_state_json(const struct rt_state *state, const struct rt_spec *spec, enum rt_status status,
					 pid_t pid, json_t **ret)
{
	_cleanup_json_ json_t *annotations = NULL;
	struct rt_error *err = annotations_json(spec, &annotations);

	if (err)
		return err;
	*ret = json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s*, s:s*}", "ociVersion", RT_SPEC_VERSION, "id", state->id, "status",
			 rt_status_name(status), "bundle", state->bundle ? state->bundle : "", "rootfs", state->rootfs, "created",
			 state->created, "owner", state->owner);
	if (!*ret)
		return rt_error_oom();
	if ((pid > 0 && json_object_set_new(*ret, "pid", json_integer(pid)) < 0) ||
	    (json_object_size(annotations) > 0 && json_object_set(*ret, "annotations", annotations) < 0)) {
		json_decref(rt_take_ptr(*ret));
		return rt_error_oom();
	}
	return NULL;
}

struct rt_error *rt_container_state(const struct rt_context *context, const char *id, json_t **ret)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	const struct rt_spec *spec = NULL;
	enum rt_status status;
	struct rt_error *err;
	bool alive;

	err = rt_container_lookup(context, id, 0, &container, &status);
	if (err)
		return err;
	/* A create that is still at it, or died, may not have written it yet. */
	if (!container.state.creating)
		err = rt_container_spec(&container, &spec);
	if (err)
		return err;
	alive = status != RT_STATUS_STOPPED && status != RT_STATUS_CREATING;
	err = rt_container_state_json(&container.state, spec, status, 0, ret);
	/* Here, unlike for hooks, a stopped container has pid 0, as engines expect the field. */
	if (!err && json_object_set_new(*ret, "pid", json_integer(alive ? container.state.pid : 0)) < 0) {
		json_decref(rt_take_ptr(*ret));
		err = rt_error_oom();
	}
	return err;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A container that vanishes while we look is not one any more. */
static struct rt_error *append_state(const struct rt_context *context, const char *id, json_t *array)
{
	json_t *state;
	struct rt_error *err = rt_container_state(context, id, &state);

	if (err && err->code == RT_NOT_FOUND) {
		rt_error_free(err);
		return NULL;
	}
	if (err) {
		rt_warn_ignored(rt_while(err, "container '%s'", id));
		return NULL;
	}
	return json_array_append_new(array, state) < 0 ? rt_error_oom() : NULL;
}

struct ids {
	char **entries;
	size_t count;
};

static void ids_deinit(struct ids *ids)
{
	for (size_t i = 0; i < ids->count; i++)
		free(ids->entries[i]);
	free(ids->entries);
}

static struct rt_error *add_id(struct ids *ids, const char *name)
{
	char **larger = realloc(ids->entries, (ids->count + 1) * sizeof(*larger));

	if (!larger)
		return rt_error_oom();
	ids->entries = larger;
	larger[ids->count] = strdup(name);
	if (!larger[ids->count])
		return rt_error_oom();
	ids->count++;
	return NULL;
}

static struct rt_error *read_ids(const struct rt_context *context, struct ids *ids)
{
	_cleanup_closedir_ DIR *dir = opendir(context->root);
	struct dirent *entry;

	if (!dir && errno == ENOENT)
		return NULL;
	if (!dir)
		return rt_fail_errno("cannot read '%s'", context->root);
	while ((entry = readdir(dir))) {
		struct rt_error *err = rt_container_check_id(entry->d_name);

		if (err || (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)) {
			rt_error_free(err); /* not one of ours: ".", "..", the cache of filters */
			continue;
		}
		err = add_id(ids, entry->d_name);
		if (err)
			return err;
	}
	if (ids->count > 1)
		qsort(ids->entries, ids->count, sizeof(*ids->entries), by_id);
	return NULL;
}

struct rt_error *rt_container_list(const struct rt_context *context, json_t **ret)
{
	_cleanup_(ids_deinit) struct ids ids = { .count = 0 };
	_cleanup_json_ json_t *array = json_array();
	struct rt_error *err;

	if (!array)
		return rt_error_oom();
	err = read_ids(context, &ids);
	for (size_t i = 0; i < ids.count && !err; i++)
		err = append_state(context, ids.entries[i], array);
	if (err)
		return err;
	*ret = rt_take_ptr(array);
	return NULL;
}
