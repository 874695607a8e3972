#include "runtime/container/in_force.h"
#include "runtime/container/private.h"

/* A restore elsewhere must set these limits, not the old ones. */
static struct rt_error *store_resources(struct rt_container *container, json_t *update)
{
	_cleanup_json_ json_t *resources = NULL;
	struct rt_error *err;

	err = rt_in_force_load(container, &resources);
	if (!err)
		err = rt_in_force_merge(resources, update);
	return err ? err : rt_in_force_store(container->dir_fd, resources);
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
