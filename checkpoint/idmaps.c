#include "checkpoint/idmaps.h"

#include "checkpoint/images.h"
#include "runtime/base/str.h"

static bool has(Img__Extent *const *extents, size_t count, const struct rt_id_map *map)
{
	for (size_t i = 0; i < count; i++)
		if (extents[i]->first == map->container_id && extents[i]->lower_first == map->host_id && extents[i]->count == map->size)
			return true;
	return false;
}

static bool wants_own(const struct rt_spec *spec)
{
	const struct rt_spec_namespace *user = &spec->namespaces[RT_NS_USER];

	return user->wanted && !user->path;
}

/* Extents do not overlap: as many, and each one there, is all of them. */
static struct rt_error *compare(const char *field, const struct rt_id_maps *maps, Img__Extent *const *extents, size_t count)
{
	for (size_t i = 0; i < maps->count; i++)
		if (!has(extents, count, &maps->entries[i]))
			return rt_fail(RT_CONFIG, "'linux.%s[%zu]' maps %u ids from %u to %u of the host, but the checkpointed container's were mapped otherwise", field, i,
				       maps->entries[i].size, maps->entries[i].container_id, maps->entries[i].host_id);
	if (count != maps->count)
		return rt_fail(RT_CONFIG, "'linux.%s' has %zu entries, but the checkpointed container had %zu", field, maps->count, count);
	return NULL;
}

struct images {
	int dir_fd;
	const struct rt_spec *spec;
	bool found; /* a task had maps of its own */
};

static struct rt_error *compare_image(void *userdata, const char *name)
{
	struct images *images = userdata;
	Img__UserNamespace *image = NULL;
	struct rt_error *err = rt_image_read_one(images->dir_fd, name, RT_IMAGE_USERNS, (ProtobufCMessage **)&image);

	if (err || !image)
		return err;
	images->found = true;
	if (wants_own(images->spec)) {
		err = compare("uidMappings", &images->spec->uid_mappings, image->uid_map, image->n_uid_map);
		if (!err)
			err = compare("gidMappings", &images->spec->gid_mappings, image->gid_map, image->n_gid_map);
	}
	rt_unpack_free(&image->base);
	return err;
}

struct rt_error *rt_idmaps_check(int image_fd, const struct rt_spec *spec)
{
	struct images images = { .dir_fd = image_fd, .spec = spec };
	struct rt_error *err = rt_image_names(image_fd, RT_IMAGE_USERNS, compare_image, &images);

	if (err || images.found == wants_own(spec))
		return err;
	if (images.found)
		return rt_fail(RT_CONFIG, "'linux.namespaces' wants no user namespace, but the checkpointed container had one of its own");
	return rt_fail(RT_CONFIG, "'linux.namespaces' wants a user namespace, but the checkpointed container had none");
}
