#include "runtime/spec/loader.h"

struct rt_id_maps rt_load_id_maps(struct rt_loader *loader, const struct rt_json *object, const char *key)
{
	struct rt_json array = {.key = NULL};
	struct rt_id_maps maps = {.count = 0};
	struct rt_id_map *list = rt_load_array(loader, object, key, sizeof(*list), &array, &maps.count);

	for (size_t i = 0; i < maps.count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);
		struct rt_id_map *map = &list[i];

		if (!entry.value)
			continue;
		rt_load_needs(loader, &entry, "containerID");
		rt_load_needs(loader, &entry, "hostID");
		rt_load_needs(loader, &entry, "size");
		rt_load_u32(loader, &entry, "containerID", &map->container_id);
		rt_load_u32(loader, &entry, "hostID", &map->host_id);
		rt_load_u32(loader, &entry, "size", &map->size);
		if (rt_json_field(&entry, "size").value && map->size == 0)
			rt_load_fail(loader, &entry, "size", "must not be 0");
		/* The last id, 2^32 - 1, stands for "no id" in the kernel and can't be mapped. */
		if (map->size > UINT32_MAX - map->container_id || map->size > UINT32_MAX - map->host_id)
			rt_load_fail(loader, &entry, "size", "goes beyond the last id");
	}
	maps.entries = list;
	return maps;
}

static void load_mount(struct rt_loader *loader, const struct rt_json *entry, struct rt_spec_mount *mount)
{
	rt_load_needs(loader, entry, "destination");
	rt_load_string(loader, entry, "destination", &mount->destination);
	if (mount->destination && mount->destination[0] != '/')
		rt_load_warn(loader, entry, "destination", "should be an absolute path; '%s' is taken from the root",
			     mount->destination);
	rt_load_string(loader, entry, "type", &mount->type);
	rt_load_string(loader, entry, "source", &mount->source);
	rt_load_strings(loader, entry, "options", &mount->options, &mount->option_count);
	mount->uid_mappings = rt_load_id_maps(loader, entry, "uidMappings");
	mount->gid_mappings = rt_load_id_maps(loader, entry, "gidMappings");
	if (mount->uid_mappings.count > 0 && mount->gid_mappings.count == 0)
		rt_load_fail(loader, entry, "gidMappings", "is required where there are uidMappings");
	if (mount->gid_mappings.count > 0 && mount->uid_mappings.count == 0)
		rt_load_fail(loader, entry, "uidMappings", "is required where there are gidMappings");
}

void rt_load_spec_mounts(struct rt_loader *loader, const struct rt_json *root)
{
	struct rt_spec *spec = loader->spec;
	struct rt_json array = {.key = NULL};
	struct rt_spec_mount *list = rt_load_array(loader, root, "mounts", sizeof(*list), &array, &spec->mount_count);

	for (size_t i = 0; i < spec->mount_count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);

		if (entry.value)
			load_mount(loader, &entry, &list[i]);
	}
	spec->mounts = list;
}
