#include "runtime/container/private.h"

#include "runtime/base/fs.h"
#include "runtime/base/str.h"

/* Objects are merged, everything else is replaced: what update leaves out stays as it was. */
static struct rt_error *merge(json_t *into, json_t *from)
{
	const char *key;
	json_t *value;

	json_object_foreach(from, key, value) {
		json_t *old = json_object_get(into, key);
		struct rt_error *err = NULL;

		if (json_is_object(old) && json_is_object(value))
			err = merge(old, value);
		else if (json_object_set(into, key, value) < 0)
			err = rt_error_oom();
		if (err)
			return err;
	}
	return NULL;
}

static json_t *make_object(json_t *parent, const char *key)
{
	json_t *object = json_object_get(parent, key);

	if (json_is_object(object))
		return object;
	object = json_object();
	return json_object_set_new(parent, key, object) < 0 ? NULL : object;
}

/* The limits in force are part of the configuration from now on: a restore elsewhere must set these, not the old ones. */
static struct rt_error *store_resources(struct rt_container *container, json_t *update)
{
	const struct rt_spec *spec;
	_cleanup_json_ json_t *config = NULL;
	_cleanup_free_ char *text = NULL;
	json_t *linux_object, *resources;
	struct rt_error *err;

	err = rt_container_spec(container, &spec);
	if (err)
		return err;
	config = json_deep_copy(spec->json);
	linux_object = config ? make_object(config, "linux") : NULL;
	resources = linux_object ? make_object(linux_object, "resources") : NULL;
	if (!resources)
		return rt_error_oom();
	err = merge(resources, update);
	if (err)
		return err;
	text = json_dumps(config, JSON_COMPACT);
	if (!text)
		return rt_error_oom();
	return rt_replace_file_at(container->dir_fd, "config.json", text, strlen(text), 0600);
}

static struct rt_error *update_rdt(struct rt_container *container, const char *l3_schema, const char *mem_bw_schema)
{
	struct rt_spec_intel_rdt rdt = { .present = true, .l3_schema = l3_schema, .mem_bw_schema = mem_bw_schema };
	const struct rt_spec *spec;
	struct rt_error *err;
	bool created;

	if (!l3_schema && !mem_bw_schema)
		return NULL;
	err = rt_container_spec(container, &spec);
	if (err)
		return err;
	rdt.clos_id = spec->intel_rdt.clos_id;
	err = rt_intel_rdt_update(&rdt, container->state.id, container->state.pid, &created);
	if (!err && created && !container->state.rdt_created) {
		container->state.rdt_created = true;
		err = rt_state_store(container->dir_fd, &container->state);
	}
	return err;
}

struct rt_error *rt_container_update(const struct rt_context *context, const char *id, const struct rt_spec *update,
				     const char *l3_schema, const char *mem_bw_schema)
{
	_cleanup_(rt_container_deinit) struct rt_container container = RT_CONTAINER_NULL;
	enum rt_status status;
	struct rt_error *err;

	err = rt_container_lookup(context, id, RT_OPEN_LOCKED, &container, &status);
	if (err)
		return err;
	if (status == RT_STATUS_STOPPED || status == RT_STATUS_CREATING)
		return rt_fail(RT_WRONG_STATE, "cannot update '%s': container not running: it is %s", id, rt_status_name(status));
	if (!container.cgroup)
		return rt_fail(RT_WRONG_STATE, "cannot update '%s': it has no cgroup", id);
	err = rt_cgroup_apply(container.cgroup, &update->resources);
	if (!err)
		err = update_rdt(&container, l3_schema, mem_bw_schema);
	if (!err)
		err = store_resources(&container, update->json);
	if (err)
		return rt_while(err, "cannot update '%s'", id);
	return NULL;
}
