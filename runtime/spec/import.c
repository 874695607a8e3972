#include "runtime/spec/import_private.h"

#include "runtime/base/log.h"

/* ---- reading ---- */

const char *rt_import_text(struct rt_import *import, const struct rt_json *object, const char *key)
{
	const char *text = NULL;

	if (!import->edit.err)
		rt_edit_reject(&import->edit, rt_json_get_string(object, key, &text));
	return text && *text ? text : NULL;
}

int64_t rt_import_number(struct rt_import *import, const struct rt_json *object, const char *key)
{
	int64_t number = 0;

	if (!import->edit.err)
		rt_edit_reject(&import->edit, rt_json_get_i64(object, key, &number));
	return number;
}

bool rt_import_flag(struct rt_import *import, const struct rt_json *object, const char *key)
{
	bool flag = false;

	if (!import->edit.err)
		rt_edit_reject(&import->edit, rt_json_get_bool(object, key, &flag));
	return flag;
}

struct rt_json rt_import_object(struct rt_import *import, const struct rt_json *object, const char *key)
{
	struct rt_json field = { .parent = object, .key = key };

	if (!import->edit.err)
		rt_edit_reject(&import->edit, rt_json_get_object(object, key, &field));
	return field;
}

struct rt_json rt_import_array(struct rt_import *import, const struct rt_json *object, const char *key)
{
	struct rt_json field = { .parent = object, .key = key };

	if (!import->edit.err)
		rt_edit_reject(&import->edit, rt_json_get_array(object, key, &field));
	return field;
}

const char *rt_import_element(struct rt_import *import, const struct rt_json *array, size_t index)
{
	struct rt_json element = rt_json_element(array, index);
	const char *text = NULL;

	if (!import->edit.err)
		rt_edit_reject(&import->edit, rt_json_as_string(&element, &text));
	return text;
}

/* Up to the image's name: what follows is the container's command. */
const char *rt_import_created_with(struct rt_import *import, const char *option, size_t n)
{
	struct rt_json words = rt_import_array(import, &import->config, "CreateCommand");
	const char *image = rt_import_text(import, &import->config, "Image");
	size_t length = strlen(option);

	for (size_t i = 0; i < rt_json_count(&words) && import->podman; i++) {
		const char *word = rt_import_element(import, &words, i), *value = NULL;

		if (!word || (image && rt_str_equal(word, image)))
			return NULL;
		if (strncmp(word, option, length) != 0)
			continue;
		if (word[length] == '=')
			value = word + length + 1;
		else if (!word[length] && i + 1 < rt_json_count(&words))
			value = rt_import_element(import, &words, ++i);
		if (value && n-- == 0)
			return value;
	}
	return NULL;
}

void rt_import_set(struct rt_import *import, const char *path, json_t *value)
{
	rt_edit_set(&import->edit, path, value);
}

void rt_import_put(struct rt_import *import, json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) < 0)
		rt_edit_reject(&import->edit, rt_error_oom());
}

/* ---- the rest of the container ---- */

static bool is_engines_own(const char *annotation)
{
	static const char *const prefixes[] = { "io.podman.", "io.container.manager", "io.kubernetes.cri-o." };

	for (size_t i = 0; i < RT_ARRAY_SIZE(prefixes); i++)
		if (rt_str_starts(annotation, prefixes[i]))
			return true;
	return false;
}

static void import_annotations(struct rt_import *import, const char *field)
{
	struct rt_json labels = rt_import_object(import, &import->config, field);

	for (void *at = json_object_iter(labels.value); at; at = json_object_iter_next(labels.value, at))
		if (!is_engines_own(json_object_iter_key(at)) && json_is_string(json_object_iter_value(at)))
			rt_edit_put(&import->edit, "annotations", json_object_iter_key(at), json_incref(json_object_iter_value(at)));
}

static void add_hook(struct rt_import *import, const char *kind, const char *const *words, size_t count)
{
	json_t *hook = json_object(), *args = json_array();
	char path[64];

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(args, json_string(words[i])) < 0)
			rt_edit_reject(&import->edit, rt_error_oom());
	rt_import_put(import, hook, "path", json_string(words[0]));
	rt_import_put(import, hook, "args", args);
	snprintf(path, sizeof(path), "hooks.%s", kind);
	rt_edit_append(&import->edit, path, hook);
}

/* "poststop:/bin/hook:argument" */
static void import_hook(struct rt_import *import, const char *text)
{
	const char *words[64];
	size_t count = rt_edit_split(&import->edit, text, ':', words, RT_ARRAY_SIZE(words));

	for (int kind = 0; kind < RT_HOOK_KINDS && count > 1; kind++) {
		if (!rt_str_equal(words[0], rt_hook_kind_name((enum rt_hook_kind)kind)))
			continue;
		add_hook(import, words[0], words + 1, count - 1);
		return;
	}
	rt_edit_fail(&import->edit, RT_USAGE,
		     "option '--hook' takes KIND:PATH[:ARG...] where KIND is prestart, createRuntime, createContainer, startContainer, "
		     "poststart or poststop, not '%s'",
		     text);
}

static void import_hooks(struct rt_import *import)
{
	const struct rt_import_options *options = import->options;

	if (options->netns_hook) {
		const char *const words[] = { options->netns_hook, "hook" };

		add_hook(import, "createRuntime", words, RT_ARRAY_SIZE(words));
		add_hook(import, "poststop", words, RT_ARRAY_SIZE(words));
	}
	for (const char *const *hook = options->hooks; hook && *hook; hook++)
		import_hook(import, *hook);
}

static void import_all(struct rt_import *import)
{
	struct rt_edit *edit = &import->edit;
	const char *parent = rt_import_text(import, &import->host, "CgroupParent");

	rt_edit_set_string(edit, "ociVersion", RT_SPEC_VERSION);
	rt_import_process(import);
	rt_edit_set_string(edit, "root.path", import->options->rootfs);
	rt_edit_set(edit, "root.readonly", json_boolean(rt_import_flag(import, &import->host, "ReadonlyRootfs")));
	rt_import_namespaces(import);
	rt_import_mounts(import);
	import_hooks(import);
	import_annotations(import, "Labels");
	import_annotations(import, "Annotations");
	rt_import_limits(import);
	rt_import_devices(import);
	rt_import_security(import);
	if (parent)
		rt_warn("'HostConfig.CgroupParent' is '%s'; the container gets a cgroup of its own, ignoring", parent);
}

/* ---- which container ---- */

static bool is_called(const json_t *container, const char *wanted)
{
	const char *id = json_string_value(json_object_get(container, "Id"));
	const char *name = json_string_value(json_object_get(container, "Name"));

	/* Docker's names begin with a slash. */
	return (id && *wanted && rt_str_starts(id, wanted)) || (name && rt_str_equal(name + (name[0] == '/'), wanted));
}

json_t *rt_import_find(const json_t *document, const char *wanted)
{
	for (size_t i = 0; i < json_array_size(document); i++)
		if (is_called(json_array_get(document, i), wanted))
			return json_array_get(document, i);
	return NULL;
}

static void choose(struct rt_import *import, struct rt_json *first)
{
	const char *wanted = import->options->container;
	size_t count = rt_json_count(&import->document), i = 0;

	while (wanted && i < count && !is_called(json_array_get(import->document.value, i), wanted))
		i++;
	if (i >= count) {
		if (wanted)
			rt_edit_fail(&import->edit, RT_CONFIG, "the document has no container '%s'", wanted);
		else
			rt_edit_fail(&import->edit, RT_CONFIG, "the document has no container in it");
		return;
	}
	*first = rt_json_element(&import->document, i);
	import->container = *first;
	/* Messages then name the field within the container. */
	import->container.parent = NULL;
	if (!json_is_object(first->value)) {
		rt_edit_fail(&import->edit, RT_CONFIG, "the document must be an object, or an array of objects, as inspect prints them");
		return;
	}
	import->config = rt_import_object(import, &import->container, "Config");
	import->host = rt_import_object(import, &import->container, "HostConfig");
	if (!import->edit.err && (!import->config.value || !import->host.value))
		rt_edit_fail(&import->edit, RT_CONFIG,
			     "the document is not of a container: it has no '%s'; was it printed by 'docker inspect' or 'podman inspect'?",
			     import->config.value ? "HostConfig" : "Config");
	import->podman = rt_json_field(&import->container, "OCIRuntime").value || rt_json_field(&import->container, "BoundingCaps").value;
	import->privileged = rt_import_flag(import, &import->host, "Privileged");
}

struct rt_error *rt_spec_import(json_t *document, const struct rt_import_options *options, json_t **ret)
{
	_cleanup_json_ json_t *config = json_object(), *list = json_is_array(document) ? json_incref(document) : json_pack("[O]", document);
	struct rt_import import = { .edit.config = config, .options = options };
	struct rt_json first = { .value = NULL };
	struct rt_error *err;

	if (!config || !list)
		return rt_error_oom();
	import.document = rt_json_root(list);
	choose(&import, &first);
	if (!import.edit.err)
		import_all(&import);
	err = rt_take_ptr(import.edit.err);
	rt_edit_deinit(&import.edit);
	if (err)
		return err;
	*ret = rt_take_ptr(config);
	return NULL;
}
