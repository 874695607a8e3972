#include "runtime/bundle/config.h"
#include "runtime/bundle/shift_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>

#define CONFIG_MAX ((size_t)16 << 20)
#define CONFIG_NAME "config.json"

struct rt_error *rt_shift_config_load(const char *directory, json_t **ret)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct rt_error *err = rt_format(&path, "%s/" CONFIG_NAME, directory);
	size_t size;

	*ret = NULL;
	if (!err)
		err = rt_read_file_at(AT_FDCWD, path, CONFIG_MAX, &text, &size);
	if (err && err->errnum == ENOENT)
		return rt_error_free(err);
	return err ? err : rt_json_parse(text, size, path, ret);
}

static void remove_user_namespace(json_t *config)
{
	json_t *linux_object = json_object_get(config, "linux"), *namespaces = json_object_get(linux_object, "namespaces");

	json_object_del(linux_object, "uidMappings");
	json_object_del(linux_object, "gidMappings");
	for (size_t i = json_array_size(namespaces); i-- > 0;) {
		const char *type = json_string_value(json_object_get(json_array_get(namespaces, i), "type"));

		if (type && rt_str_equal(type, "user"))
			json_array_remove(namespaces, i);
	}
}

static bool is_root_mount(const json_t *mount)
{
	const char *destination = json_string_value(json_object_get(mount, "destination"));

	return destination && rt_str_equal(destination, "/");
}

static void remove_root_mount(json_t *config)
{
	json_t *mounts = json_object_get(config, "mounts");

	for (size_t i = json_array_size(mounts); i-- > 0;)
		if (is_root_mount(json_array_get(mounts, i)))
			json_array_remove(mounts, i);
}

/* First of all mounts: it is what the others are mounted on. */
static struct rt_error *add_root_mount(json_t *config)
{
	json_t *root = json_object_get(json_object_get(config, "root"), "path"), *mounts, *mount;

	remove_root_mount(config);
	mounts = json_object_get(config, "mounts");
	if (!json_is_array(mounts)) {
		mounts = json_array();
		if (json_object_set_new(config, "mounts", mounts) < 0)
			return rt_error_oom();
	}
	mount = json_pack("{s:s,s:s,s:O,s:[s,s]}", "destination", "/", "type", "bind", "source", root, "options", "rbind", "idmap");
	return mount && json_array_insert_new(mounts, 0, mount) == 0 ? NULL : rt_error_oom();
}

static struct rt_error *store(const char *directory, json_t *config)
{
	_cleanup_close_ int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = json_dumps(config, JSON_INDENT(4));

	if (dir_fd < 0)
		return rt_fail_errno("cannot open '%s'", directory);
	return text ? rt_replace_file_at(dir_fd, CONFIG_NAME, text, strlen(text), 0644) : rt_error_oom();
}

struct rt_error *rt_shift_no_config(const char *directory)
{
	return rt_fail(RT_NOT_FOUND, "'%s' has no " CONFIG_NAME, directory);
}

struct rt_error *rt_shift_config(const char *directory, const struct rt_id_shift *shift, bool mapped)
{
	_cleanup_json_ json_t *config = NULL;
	struct rt_error *err = rt_shift_config_load(directory, &config);

	if (err)
		return err;
	if (!config)
		return rt_shift_no_config(directory);
	if (shift)
		err = rt_bundle_config_map(config, &shift->uids, &shift->gids);
	else
		remove_user_namespace(config);
	if (!err && mapped && shift)
		err = add_root_mount(config);
	else if (mapped)
		remove_root_mount(config);
	return err ? err : store(directory, config);
}
