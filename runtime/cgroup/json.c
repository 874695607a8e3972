/* The cgroup as state.json keeps it: enough to find it again without looking at the machine. */
#include "runtime/base/str.h"
#include "runtime/cgroup/private.h"

static const char *const layouts[] = {
	[RT_CGROUP_V1] = "v1", [RT_CGROUP_HYBRID] = "hybrid", [RT_CGROUP_V2] = "v2", [RT_CGROUP_NONE] = "none",
};
static const char *const managers[] = {
	[RT_CGROUP_CGROUPFS] = "cgroupfs", [RT_CGROUP_SYSTEMD] = "systemd", [RT_CGROUP_DISABLED] = "disabled",
};

static json_t *place_to_json(const struct rt_cgroup_place *place)
{
	return json_pack("{s:s, s:s, s:s, s:i}", "controllers", place->hierarchy->controllers, "mountPoint",
			 place->hierarchy->mount_point, "path", place->hierarchy->path, "made", (int)place->made);
}

struct rt_error *rt_cgroup_to_json(const struct rt_cgroup *cgroup, json_t **ret)
{
	_cleanup_json_ json_t *list = json_array();
	json_t *object;

	if (!list)
		return rt_error_oom();
	for (size_t i = 0; i < cgroup->count; i++)
		if (json_array_append_new(list, place_to_json(&cgroup->places[i])) < 0)
			return rt_error_oom();
	object = json_pack("{s:s, s:s, s:b, s:b, s:s*, s:O}", "layout", layouts[cgroup->layout], "manager", managers[cgroup->manager],
			   "rootless", cgroup->rootless, "created", cgroup->created, "unit", cgroup->unit, "hierarchies", list);
	if (!object)
		return rt_error_oom();
	*ret = object;
	return NULL;
}

static struct rt_error *get_name(const struct rt_json *json, const char *key, const char *const *names, size_t count, unsigned *ret)
{
	const char *name = NULL;
	struct rt_error *err = rt_json_get_string(json, key, &name);

	for (size_t i = 0; !err && name && i < count; i++) {
		if (rt_str_equal(names[i], name)) {
			*ret = (unsigned)i;
			return NULL;
		}
	}
	return err ? err : rt_json_fail(json, key, "is not one we know");
}

static struct rt_error *place_from_json(const struct rt_json *json, struct rt_cgroup *cgroup)
{
	const char *controllers = NULL, *mount_point = NULL, *path = NULL;
	struct rt_arena *arena = &cgroup->arena;
	uint32_t made = 0;
	struct rt_error *err = rt_json_get_string(json, "controllers", &controllers);

	if (!err)
		err = rt_json_get_string(json, "mountPoint", &mount_point);
	if (!err)
		err = rt_json_get_string(json, "path", &path);
	if (!err)
		err = rt_json_get_u32(json, "made", &made);
	if (err)
		return err;
	/* Never the root of a hierarchy, whatever the file says: it would be killed and removed with the container. */
	if (!controllers || !mount_point || mount_point[0] != '/' || !path || path[0] != '/' || path[1] == '\0')
		return rt_json_fail(json, NULL, "must have controllers, a mount point and a path");
	controllers = rt_arena_printf(arena, "%s", controllers);
	mount_point = rt_arena_printf(arena, "%s", mount_point);
	path = rt_arena_printf(arena, "%s", path);
	if (!controllers || !mount_point || !path)
		return rt_error_oom();
	err = rt_cgroup_add_place(cgroup, controllers, mount_point, path);
	if (!err)
		cgroup->places[cgroup->count - 1].made = made;
	return err;
}

struct rt_error *rt_cgroup_from_json(const struct rt_json *json, struct rt_cgroup **ret)
{
	_cleanup_(rt_cgroup_freep) struct rt_cgroup *cgroup = calloc(1, sizeof(*cgroup));
	unsigned layout = 0, manager = 0;
	const char *unit = NULL;
	struct rt_json list;
	struct rt_error *err;

	if (!cgroup)
		return rt_error_oom();
	cgroup->v2_fd = -1;
	err = get_name(json, "layout", layouts, RT_ARRAY_SIZE(layouts), &layout);
	if (!err)
		err = get_name(json, "manager", managers, RT_ARRAY_SIZE(managers), &manager);
	if (!err)
		err = rt_json_get_bool(json, "rootless", &cgroup->rootless);
	if (!err)
		err = rt_json_get_bool(json, "created", &cgroup->created);
	if (!err)
		err = rt_json_get_string(json, "unit", &unit);
	if (!err)
		err = rt_json_get_array(json, "hierarchies", &list);
	if (err)
		return err;
	cgroup->layout = (enum rt_cgroup_layout)layout;
	cgroup->manager = (enum rt_cgroup_manager)manager;
	cgroup->unit = unit ? rt_arena_printf(&cgroup->arena, "%s", unit) : NULL;
	if (unit && !cgroup->unit)
		return rt_error_oom();
	err = rt_cgroup_make_room(cgroup, rt_json_count(&list));
	for (size_t i = 0; !err && i < rt_json_count(&list); i++) {
		struct rt_json element = rt_json_element(&list, i);

		err = place_from_json(&element, cgroup);
	}
	if (err)
		return err;
	*ret = rt_take_ptr(cgroup);
	return NULL;
}
