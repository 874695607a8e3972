#include "runtime/bundle/config.h"

#include "runtime/base/str.h"

#define PREFIX "org.opencontainers.image."
#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Images are made for engines, and their servers start as root and become somebody else: what the template of `rt spec` leaves a
 * process is not enough for that. These are podman's. */
static const char *const capabilities[] = { "CAP_CHOWN",	    "CAP_DAC_OVERRIDE", "CAP_FOWNER",  "CAP_FSETID",
					    "CAP_KILL",		    "CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID",
					    "CAP_SETPCAP",	    "CAP_SETUID",	"CAP_SYS_CHROOT" };

static int set_string(json_t *object, const char *key, const char *text)
{
	return json_object_set_new(object, key, json_string(text));
}

static json_t *string_list(const char *const *list, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < count; i++) {
		if (json_array_append_new(array, json_string(list[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static size_t length_of(const char *const *list)
{
	size_t count = 0;

	while (list[count])
		count++;
	return count;
}

static int set_capabilities(json_t *process, bool is_root)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	json_t *object = json_object();

	/* Another user gets them only from files that have them. */
	for (size_t i = 0; object && i < (is_root ? RT_ARRAY_SIZE(sets) : 1); i++)
		if (json_object_set_new(object, sets[i], string_list(capabilities, RT_ARRAY_SIZE(capabilities))) < 0)
			return -1;
	return json_object_set_new(process, "capabilities", object);
}

/* ---- environment ---- */

static bool has_variable(const char *const *env, const char *name)
{
	size_t length = strcspn(name, "=");

	for (; *env; env++)
		if (strncmp(*env, name, length) == 0 && (*env)[length] == '=')
			return true;
	return false;
}

/* The image's own as it stands; ours only where it says nothing. */
static int set_environment(json_t *process, const struct rt_bundle_config *options)
{
	const char *const *env = options->image->env;
	json_t *list = string_list(env, length_of(env));
	_cleanup_free_ char *home = NULL;

	if (!list || json_object_set_new(process, "env", list) < 0)
		return -1;
	if (!has_variable(env, "PATH=") && json_array_append_new(list, json_string(DEFAULT_PATH)) < 0)
		return -1;
	if (options->terminal && !has_variable(env, "TERM=") && json_array_append_new(list, json_string("TERM=xterm")) < 0)
		return -1;
	if (has_variable(env, "HOME="))
		return 0;
	if (asprintf(&home, "HOME=%s", options->user && options->user->home ? options->user->home : "/") < 0) {
		home = NULL;
		return -1;
	}
	return json_array_append_new(list, json_string(home));
}

static int set_user(json_t *process, const struct rt_image_user *user)
{
	json_t *object = json_pack("{s:I,s:I}", "uid", (json_int_t)user->uid, "gid", (json_int_t)user->gid), *groups;

	if (!object || json_object_set_new(process, "user", object) < 0)
		return -1;
	if (user->additional_gid_count == 0)
		return 0;
	groups = json_array();
	for (size_t i = 0; groups && i < user->additional_gid_count; i++)
		if (json_array_append_new(groups, json_integer(user->additional_gids[i])) < 0)
			return -1;
	return json_object_set_new(object, "additionalGids", groups);
}

/* The entry point, then its arguments. An image with neither is a root filesystem: the template's shell. */
static int set_arguments(json_t *process, const struct rt_image_config *image)
{
	size_t entry = length_of(image->entrypoint), command = length_of(image->cmd);
	json_t *list;

	if (entry + command == 0)
		return 0;
	list = string_list(image->entrypoint, entry);
	if (!list || json_object_set_new(process, "args", list) < 0)
		return -1;
	for (size_t i = 0; i < command; i++)
		if (json_array_append_new(list, json_string(image->cmd[i])) < 0)
			return -1;
	return 0;
}

/* ---- annotations ---- */

static int annotate(json_t *annotations, const char *key, const char *value)
{
	return value && *value ? set_string(annotations, key, value) : 0;
}

static int annotate_list(json_t *annotations, const char *key, const char *const *list)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 1, used = 0;

	for (size_t i = 0; list[i]; i++)
		size += strlen(list[i]) + 1;
	text = calloc(1, size);
	if (!text)
		return -1;
	for (size_t i = 0; list[i]; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "," : "", list[i]);
	return annotate(annotations, key, text);
}

/* What follows from fields first, so that labels of the same name win. */
static json_t *make_annotations(const struct rt_image_config *image)
{
	json_t *annotations = json_object();

	if (!annotations || annotate(annotations, PREFIX "os", image->platform.os) < 0 ||
	    annotate(annotations, PREFIX "architecture", image->platform.architecture) < 0 ||
	    annotate(annotations, PREFIX "variant", image->platform.variant) < 0 ||
	    annotate(annotations, PREFIX "os.version", image->os_version) < 0 ||
	    annotate_list(annotations, PREFIX "os.features", image->os_features) < 0 ||
	    annotate(annotations, PREFIX "author", image->author) < 0 ||
	    annotate(annotations, PREFIX "created", image->created) < 0 ||
	    annotate(annotations, PREFIX "stopSignal", image->stop_signal) < 0 ||
	    annotate_list(annotations, PREFIX "exposedPorts", image->ports) < 0)
		goto failed;
	for (size_t i = 0; i < image->label_count; i++)
		if (*image->labels[i].key && set_string(annotations, image->labels[i].key, image->labels[i].value) < 0)
			goto failed;
	return annotations;
failed:
	json_decref(annotations);
	return NULL;
}

/* Volumes: a tmpfs each, with what the image has there, so that what is written does not end in the bundle's root. */
static int add_volumes(json_t *config, const struct rt_image_config *image)
{
	json_t *mounts = json_object_get(config, "mounts");

	for (size_t i = 0; image->volumes[i]; i++) {
		json_t *mount = image->volumes[i][0] != '/'
					? NULL
					: json_pack("{s:s,s:s,s:s,s:[s,s,s,s]}", "destination", image->volumes[i], "type", "tmpfs",
						    "source", "tmpfs", "options", "nosuid", "nodev", "rprivate", "tmpcopyup");

		if (mount && json_array_append_new(mounts, mount) < 0)
			return -1;
	}
	return 0;
}

/* ---- the whole ---- */

static json_t *make_map_list(const struct rt_id_maps *maps)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < maps->count; i++) {
		const struct rt_id_map *map = &maps->entries[i];

		if (json_array_append_new(list, json_pack("{s:I,s:I,s:I}", "containerID", (json_int_t)map->container_id, "hostID",
							  (json_int_t)map->host_id, "size", (json_int_t)map->size)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

struct rt_error *rt_bundle_config_map(json_t *config, const struct rt_id_maps *uids, const struct rt_id_maps *gids)
{
	json_t *linux_object = json_object_get(config, "linux"), *namespaces, *namespace;
	bool has_one = false;
	size_t i;

	if (!json_is_object(linux_object)) {
		linux_object = json_object();
		if (json_object_set_new(config, "linux", linux_object) < 0)
			return rt_error_oom();
	}
	namespaces = json_object_get(linux_object, "namespaces");
	if (!json_is_array(namespaces)) {
		namespaces = json_array();
		if (json_object_set_new(linux_object, "namespaces", namespaces) < 0)
			return rt_error_oom();
	}
	json_array_foreach(namespaces, i, namespace)
	{
		const char *type = json_string_value(json_object_get(namespace, "type"));

		has_one = has_one || (type && rt_str_equal(type, "user"));
	}
	if (!has_one && json_array_append_new(namespaces, json_pack("{s:s}", "type", "user")) < 0)
		return rt_error_oom();
	if (json_object_set_new(linux_object, "uidMappings", make_map_list(uids)) < 0 ||
	    json_object_set_new(linux_object, "gidMappings", make_map_list(gids)) < 0)
		return rt_error_oom();
	return NULL;
}

static int apply_image(json_t *config, const struct rt_bundle_config *options)
{
	json_t *process = json_object_get(config, "process");
	const struct rt_image_config *image = options->image;

	if (set_environment(process, options) < 0 || set_arguments(process, image) < 0 || add_volumes(config, image) < 0)
		return -1;
	if (image->working_dir && *image->working_dir == '/' && set_string(process, "cwd", image->working_dir) < 0)
		return -1;
	/* In a user's own container there is one id, and it is root's. */
	if (!options->rootless && options->user && set_user(process, options->user) < 0)
		return -1;
	return json_object_set_new(config, "annotations", make_annotations(image));
}

struct rt_error *rt_bundle_config(const struct rt_bundle_config *options, json_t **ret)
{
	_cleanup_json_ json_t *config = NULL;
	bool is_root = options->rootless || !options->user || options->user->uid == 0;
	const struct rt_id_maps maps = { options->ids, 1 };
	struct rt_error *err = rt_spec_template(options->rootless, options->uid, options->gid, &config);
	json_t *process;

	if (err)
		return err;
	process = json_object_get(config, "process");
	if (json_object_set_new(process, "terminal", json_boolean(options->terminal)) < 0 ||
	    json_object_set_new(process, "noNewPrivileges", json_false()) < 0 || set_capabilities(process, is_root) < 0 ||
	    json_object_set_new(json_object_get(config, "root"), "readonly", json_false()) < 0)
		return rt_error_oom();
	if (options->image && apply_image(config, options) < 0)
		return rt_error_oom();
	if (options->ids)
		err = rt_bundle_config_map(config, &maps, &maps);
	if (!err)
		*ret = rt_take_ptr(config);
	return err;
}
