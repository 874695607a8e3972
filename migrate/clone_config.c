#include "migrate/clone_config.h"

#include "runtime/base/json.h"
#include "runtime/base/str.h"

#define NETNS_ANNOTATION "org.rt.netns"

const json_t *rt_clone_root_mount(const json_t *config)
{
	const json_t *mounts = json_object_get(config, "mounts");

	for (size_t i = 0; i < json_array_size(mounts); i++) {
		const json_t *mount = json_array_get(mounts, i);
		const char *destination = json_string_value(json_object_get(mount, "destination"));

		if (destination && rt_str_equal(destination, "/"))
			return mount;
	}
	return NULL;
}

/* The object's member, made where it is missing. Borrowed. */
static json_t *member(json_t *object, const char *key, json_t *fresh)
{
	json_t *found = json_object_get(object, key);

	if (found) {
		json_decref(fresh);
		return found;
	}
	return json_object_set_new(object, key, fresh) < 0 ? NULL : json_object_get(object, key);
}

/* "/a/b" ends in the id; so does "slice:prefix:name" of systemd. */
static struct rt_error *set_cgroup(json_t *config, const char *id)
{
	json_t *linux_part = json_object_get(config, "linux");
	const char *path = json_string_value(json_object_get(linux_part, "cgroupsPath"));
	_cleanup_free_ char *own = NULL;
	const char *end;
	struct rt_error *err;

	if (!path || !*path)
		return NULL;
	end = strrchr(path, strchr(path, ':') ? ':' : '/');
	err = rt_format(&own, "%.*s%s", end ? (int)(end - path) + 1 : 0, path, id);
	if (!err && json_object_set_new(linux_part, "cgroupsPath", json_string(own)) < 0)
		err = rt_error_oom();
	return err;
}

static struct rt_error *add_hook(json_t *config, const struct rt_clone_config *clone)
{
	json_t *hooks = member(config, "hooks", json_object());
	json_t *poststop = hooks ? member(hooks, "poststop", json_array()) : NULL;
	json_t *args = json_array();

	for (const char *const *word = clone->hook_args; *word; word++)
		json_array_append_new(args, json_string(*word));
	if (!poststop || json_array_append_new(poststop, json_pack("{s:s, s:o}", "path", clone->hook, "args", args)) < 0)
		return rt_error_oom();
	return NULL;
}

/* The clone's root is an overlay, for which the kernel has no other ids: the layer below it has them (clone_rootfs.h). */
static void remove_root_mount(const json_t *config)
{
	json_t *mounts = json_object_get(config, "mounts");
	const json_t *found = rt_clone_root_mount(config);

	for (size_t i = json_array_size(mounts); found && i-- > 0;)
		if (json_array_get(mounts, i) == found)
			json_array_remove(mounts, i);
}

struct rt_error *rt_clone_config_apply(json_t *config, const struct rt_clone_config *clone)
{
	json_t *root = json_object_get(config, "root");
	json_t *annotations = json_object_get(config, "annotations");
	struct rt_error *err;

	if (!json_is_object(root))
		return rt_fail(RT_CONFIG, "'root' must be an object");
	remove_root_mount(config);
	if (json_object_set_new(root, "path", json_string(clone->rootfs)) < 0)
		return rt_error_oom();
	if (clone->hostname && json_object_set_new(config, "hostname", json_string(clone->hostname)) < 0)
		return rt_error_oom();
	if (json_is_object(annotations))
		json_object_del(annotations, NETNS_ANNOTATION);
	err = set_cgroup(config, clone->id);
	return err ? err : add_hook(config, clone);
}

void rt_clone_command_free(char **command)
{
	for (char **word = command; word && *word; word++)
		free(*word);
	free(command);
}

static struct rt_error *take_words(const json_t *list, char ***ret)
{
	char **words = calloc(json_array_size(list) + 1, sizeof(*words));

	for (size_t i = 0; words && i < json_array_size(list); i++) {
		const char *word = json_string_value(json_array_get(list, i));

		if (!word) {
			rt_clone_command_free(words);
			return rt_fail(RT_CONFIG, "it must be a JSON array of strings");
		}
		words[i] = strdup(word);
		if (!words[i]) {
			rt_clone_command_free(words);
			return rt_error_oom();
		}
	}
	*ret = words;
	return words ? NULL : rt_error_oom();
}

struct rt_error *rt_clone_resume_command(const json_t *config, char ***ret)
{
	const char *text = json_string_value(json_object_get(json_object_get(config, "annotations"), RT_CLONE_RESUME));
	_cleanup_json_ json_t *list = NULL;
	struct rt_error *err;

	*ret = NULL;
	if (!text)
		return NULL;
	err = rt_json_parse(text, strlen(text), RT_CLONE_RESUME, &list);
	if (!err && (!json_is_array(list) || json_array_size(list) == 0))
		err = rt_fail(RT_CONFIG, "it must be a JSON array of strings");
	if (!err)
		err = take_words(list, ret);
	return err ? rt_while(err, "annotation '" RT_CLONE_RESUME "'") : NULL;
}
