#include "runtime/bundle/config.h"
#include "runtime/bundle/shift_private.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/stat.h>

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

/* A bundle that is closed to others, as we make them, must let the container's root through to its root filesystem. */
static struct rt_error *let_in(int dir_fd, const struct rt_id_shift *shift)
{
	struct stat st;
	uint32_t gid;

	if (fstat(dir_fd, &st) < 0)
		return rt_fail_errno("cannot look at the bundle");
	if ((st.st_mode & 0001) || !rt_id_map(&shift->gids, 0, &gid))
		return NULL;
	if (fchown(dir_fd, (uid_t)-1, gid) < 0 || fchmod(dir_fd, (st.st_mode & 07777) | 0010) < 0)
		return rt_fail_errno("cannot give the bundle to the container's root");
	return NULL;
}

static struct rt_error *store(const char *directory, json_t *config, const struct rt_id_shift *shift)
{
	_cleanup_close_ int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = json_dumps(config, JSON_INDENT(4));
	struct rt_error *err;

	if (dir_fd < 0)
		return rt_fail_errno("cannot open '%s'", directory);
	err = shift ? let_in(dir_fd, shift) : NULL;
	if (err)
		return err;
	return text ? rt_replace_file_at(dir_fd, CONFIG_NAME, text, strlen(text), 0644) : rt_error_oom();
}

struct rt_error *rt_shift_config(const char *directory, const struct rt_id_shift *shift)
{
	_cleanup_json_ json_t *config = NULL;
	struct rt_error *err = rt_shift_config_load(directory, &config);

	if (err)
		return err;
	if (!config)
		return rt_fail(RT_NOT_FOUND, "'%s' has no " CONFIG_NAME, directory);
	if (shift)
		err = rt_bundle_config_map(config, &shift->uids, &shift->gids);
	else
		remove_user_namespace(config);
	return err ? err : store(directory, config, shift);
}
