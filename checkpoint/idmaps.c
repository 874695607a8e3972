#include "checkpoint/idmaps.h"

#include "checkpoint/images.h"
#include "runtime/base/str.h"

#include <fcntl.h>

static bool has(Img__Extent *const *extents, size_t count, const struct rt_id_map *map)
{
	for (size_t i = 0; i < count; i++)
		if (extents[i]->first == map->container_id && extents[i]->lower_first == map->host_id && extents[i]->count == map->size)
			return true;
	return false;
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

static struct rt_error *compare_image(int image_fd, const char *name, const struct rt_spec *spec)
{
	Img__UserNamespace *image = NULL;
	struct rt_error *err = rt_image_read_one(image_fd, name, RT_IMAGE_USERNS, (ProtobufCMessage **)&image);

	if (err || !image)
		return err;
	err = compare("uidMappings", &spec->uid_mappings, image->uid_map, image->n_uid_map);
	if (!err)
		err = compare("gidMappings", &spec->gid_mappings, image->gid_map, image->n_gid_map);
	rt_unpack_free(&image->base);
	return err;
}

/* *ret is empty where no task had one of its own. */
static struct rt_error *find_image(int image_fd, char *ret, size_t room)
{
	int own = openat(image_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = own < 0 ? NULL : fdopendir(own);
	struct dirent *entry;
	enum rt_image_kind kind;
	uint64_t number;

	*ret = '\0';
	if (!dir) {
		rt_closep(&own);
		return rt_fail_errno("cannot read the image directory");
	}
	while (!*ret && (entry = readdir(dir)))
		if (rt_image_kind_of(entry->d_name, &kind, &number) && kind == RT_IMAGE_USERNS)
			snprintf(ret, room, "%s", entry->d_name);
	return NULL;
}

struct rt_error *rt_idmaps_check(int image_fd, const struct rt_spec *spec)
{
	const struct rt_spec_namespace *user = &spec->namespaces[RT_NS_USER];
	bool wanted = user->wanted && !user->path;
	char name[NAME_MAX + 1];
	struct rt_error *err = find_image(image_fd, name, sizeof(name));

	if (err)
		return err;
	if (!*name && wanted)
		return rt_fail(RT_CONFIG, "'linux.namespaces' wants a user namespace, but the checkpointed container had none");
	if (*name && !wanted)
		return rt_fail(RT_CONFIG, "'linux.namespaces' wants no user namespace, but the checkpointed container had one of its own");
	return *name ? compare_image(image_fd, name, spec) : NULL;
}
