/* What was done to a tree: [{"uids": [[from, to, size], ...], "gids": [...], "others": false}, ...] */
#include "runtime/bundle/shift_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"

#include <fcntl.h>
#include <string.h>

#define RECORD_MAX ((size_t)1 << 20)
#define RANGES_MAX 340 /* as many as a user namespace takes */

struct rt_error *rt_shift_record_load(int dir_fd, const char *name, json_t **ret)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	struct rt_error *err = rt_read_file_at(dir_fd, name, RECORD_MAX, &text, &size);

	if (err && err->errnum == ENOENT) {
		rt_error_free(err);
		*ret = json_array();
		return *ret ? NULL : rt_error_oom();
	}
	if (!err)
		err = rt_json_parse(text, size, name, ret);
	if (!err && !json_is_array(*ret))
		err = rt_fail(RT_CONFIG, "'%s' is no record of shifts", name);
	return err;
}

struct rt_error *rt_shift_record_store(int dir_fd, const char *name, json_t *record)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	struct rt_error *err;

	if (json_array_size(record) == 0) {
		if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
			return rt_fail_errno("cannot remove '%s'", name);
	} else {
		text = json_dumps(record, JSON_COMPACT);
		err = text ? rt_replace_file_at(dir_fd, name, text, strlen(text), 0644) : rt_error_oom();
		if (err)
			return err;
		fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || fsync(fd) < 0)
			return rt_fail_errno("cannot write '%s' to the disk", name);
	}
	/* Before the journal goes. */
	return fsync(dir_fd) < 0 ? rt_fail_errno("cannot write '%s' to the disk", name) : NULL;
}

static json_t *make_ranges(const struct rt_id_maps *maps)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < maps->count; i++) {
		const struct rt_id_map *map = &maps->entries[i];

		if (json_array_append_new(list, json_pack("[I,I,I]", (json_int_t)map->container_id, (json_int_t)map->host_id,
							  (json_int_t)map->size)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *rt_shift_record_entry(const struct rt_id_shift *shift)
{
	json_t *uids = make_ranges(&shift->uids), *gids = make_ranges(&shift->gids);

	if (!uids || !gids) {
		json_decref(uids);
		json_decref(gids);
		return NULL;
	}
	return json_pack("{s:o,s:o,s:b}", "uids", uids, "gids", gids, "others", shift->keep_others);
}

static struct rt_error *read_ranges(const struct rt_json *entry, const char *key, struct rt_id_maps *ret)
{
	struct rt_json array;
	struct rt_error *err = rt_json_get_array(entry, key, &array);
	size_t count = err ? 0 : rt_json_count(&array);
	struct rt_id_map *list;

	if (err)
		return err;
	if (count == 0 || count > RANGES_MAX)
		return rt_json_fail(&array, NULL, "must be up to %d ranges", RANGES_MAX);
	list = calloc(count, sizeof(*list));
	if (!list)
		return rt_error_oom();
	*ret = (struct rt_id_maps){ list, count };
	for (size_t i = 0; i < count; i++) {
		struct rt_json range = rt_json_element(&array, i);
		uint32_t *const fields[] = { &list[i].container_id, &list[i].host_id, &list[i].size };

		if (!json_is_array(range.value) || rt_json_count(&range) != RT_ARRAY_SIZE(fields))
			return rt_json_fail(&range, NULL, "must be three numbers");
		for (size_t j = 0; j < RT_ARRAY_SIZE(fields); j++) {
			struct rt_json number = rt_json_element(&range, j);
			uint64_t value;

			err = rt_json_as_u64(&number, &value);
			if (!err && value > UINT32_MAX)
				err = rt_json_fail(&number, NULL, "is no id");
			if (err)
				return err;
			*fields[j] = (uint32_t)value;
		}
	}
	return NULL;
}

struct rt_error *rt_shift_record_ranges(json_t *json, struct rt_id_shift *ret)
{
	struct rt_json entry = rt_json_root(json);
	struct rt_error *err;

	*ret = (struct rt_id_shift){ 0 };
	if (!json_is_object(json))
		return rt_fail(RT_CONFIG, "the record of shifts is damaged");
	err = read_ranges(&entry, "uids", &ret->uids);
	if (!err)
		err = read_ranges(&entry, "gids", &ret->gids);
	return err ? err : rt_json_get_bool(&entry, "others", &ret->keep_others);
}

void rt_shift_ranges_free(struct rt_id_shift *shift)
{
	free((void *)shift->uids.entries);
	free((void *)shift->gids.entries);
}
