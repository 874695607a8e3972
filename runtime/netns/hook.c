#include "runtime/netns/hook.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/netns/defaults.h"
#include "runtime/netns/endpoint.h"

#include <fcntl.h>

#define MOST_STATE (1 << 20)
#define MOST_CONFIG (16 << 20)

void rt_hook_state_deinit(struct rt_hook_state *state)
{
	rt_freep(&state->id);
	rt_freep(&state->bundle);
}

static struct rt_error *copy_string(const struct rt_json *object, const char *key, char **ret)
{
	const char *text = NULL;
	struct rt_error *err = rt_json_get_string(object, key, &text);

	if (err)
		return err;
	if (!text)
		return rt_json_fail(object, key, "is missing");
	*ret = strdup(text);
	return *ret ? NULL : rt_error_oom();
}

static struct rt_error *read_annotation(const struct rt_json *root, struct rt_hook_annotation *ret)
{
	_cleanup_json_ json_t *json = NULL;
	struct rt_json annotations, inner;
	const char *text = NULL;
	struct rt_error *err;

	err = rt_json_get_object(root, "annotations", &annotations);
	if (!err && annotations.value)
		err = rt_json_get_string(&annotations, RT_NETNS_ANNOTATION, &text);
	if (err || !text)
		return err;
	ret->there = true;
	err = rt_json_parse(text, strlen(text), "it", &json);
	if (err)
		return rt_while(err, "reading annotation '" RT_NETNS_ANNOTATION "'");
	inner = rt_json_root(json);
	err = rt_network_from_json(&inner, &ret->network);
	if (!err)
		err = rt_json_get_bool(&inner, "hold", &ret->hold);
	return err ? rt_while(err, "reading annotation '" RT_NETNS_ANNOTATION "'") : NULL;
}

static struct rt_error *read_state(const struct rt_json *root, struct rt_hook_state *state)
{
	_cleanup_free_ char *status = NULL;
	struct rt_error *err;
	int32_t pid = 0;

	if (!json_is_object(root->value))
		return rt_json_fail(root, NULL, "must be an object");
	err = copy_string(root, "id", &state->id);
	if (!err)
		err = copy_string(root, "status", &status);
	if (!err)
		err = copy_string(root, "bundle", &state->bundle);
	if (!err)
		err = rt_json_get_i32(root, "pid", &pid);
	if (err)
		return err;
	state->stopped = rt_str_equal(status, "stopped");
	if (!state->stopped && !rt_str_equal(status, "creating") && !rt_str_equal(status, "created") && !rt_str_equal(status, "running"))
		return rt_json_fail(root, "status", "is '%s', of which a network hook knows nothing", status);
	if (!state->stopped && pid <= 0)
		return rt_json_fail(root, "pid", "is missing");
	state->pid = state->stopped ? 0 : pid;
	return state->stopped ? NULL : read_annotation(root, &state->annotation);
}

struct rt_error *rt_hook_state_parse(const char *text, size_t size, struct rt_hook_state *ret)
{
	_cleanup_(rt_hook_state_deinit) struct rt_hook_state state = { .id = NULL };
	_cleanup_json_ json_t *json = NULL;
	struct rt_error *err = rt_json_parse(text, size, "the container's state", &json);
	struct rt_json root;

	if (err)
		return err;
	root = rt_json_root(json);
	err = read_state(&root, &state);
	if (err)
		return rt_while(err, "reading the container's state");
	*ret = state;
	state = (struct rt_hook_state){ .id = NULL };
	return NULL;
}

void rt_hook_config_deinit(struct rt_hook_config *config)
{
	rt_freep(&config->netns);
}

static struct rt_error *read_namespace(const struct rt_json *root, struct rt_hook_config *config)
{
	struct rt_json linux_part, namespaces;
	struct rt_error *err;

	err = rt_json_get_object(root, "linux", &linux_part);
	if (err || !linux_part.value)
		return err;
	err = rt_json_get_array(&linux_part, "namespaces", &namespaces);
	for (size_t i = 0; !err && i < rt_json_count(&namespaces); i++) {
		struct rt_json one = rt_json_element(&namespaces, i);
		const char *type = NULL, *path = NULL;

		err = rt_json_get_string(&one, "type", &type);
		if (!err)
			err = rt_json_get_string(&one, "path", &path);
		if (err || !type || !rt_str_equal(type, "network") || !path || !*path || config->netns)
			continue;
		config->netns = strdup(path);
		err = config->netns ? NULL : rt_error_oom();
	}
	return err;
}

struct rt_error *rt_hook_config_parse(const char *text, size_t size, struct rt_hook_config *ret)
{
	_cleanup_(rt_hook_config_deinit) struct rt_hook_config config = { .netns = NULL };
	_cleanup_json_ json_t *json = NULL;
	struct rt_json root;
	struct rt_error *err;

	err = rt_json_parse(text, size, "config.json", &json);
	if (err)
		return err;
	root = rt_json_root(json);
	err = read_namespace(&root, &config);
	if (err)
		return err;
	err = read_annotation(&root, &config.annotation);
	if (err)
		return err;
	*ret = config;
	config.netns = NULL;
	return NULL;
}

static struct rt_error *load_config(const char *bundle, struct rt_hook_config *ret)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	struct rt_error *err;
	size_t size;

	err = rt_format(&path, "%s/config.json", bundle);
	if (!err)
		err = rt_read_file_at(AT_FDCWD, path, MOST_CONFIG, &text, &size);
	if (!err)
		err = rt_hook_config_parse(text, size, ret);
	return err ? rt_while(err, "looking into '%s'", path ? path : bundle) : NULL;
}

static struct rt_error *make(const char *state_directory, const struct rt_request_words *words, const char *netns, const struct rt_hook_state *state)
{
	_cleanup_(rt_hook_config_deinit) struct rt_hook_config config = { .netns = NULL };
	const struct rt_hook_annotation *annotation = &state->annotation;
	struct rt_endpoint_target target = { .pid = state->pid };
	struct rt_request request;
	struct rt_error *err;

	err = rt_request_make(words, NULL, &request);
	if (!err)
		err = load_config(state->bundle, &config);
	if (err)
		return rt_while(err, "making the network of '%s'", state->id);
	target.path = config.netns ? config.netns : netns;
	if (!annotation->there)
		annotation = &config.annotation;
	if (annotation->there) {
		rt_request_follow(&request, &annotation->network);
		request.hold = request.hold || annotation->hold;
	}
	return rt_endpoint_make(state_directory, state->id, &target, &request, RT_ENDPOINT_AGAIN);
}

struct rt_error *rt_hook_run(const char *state_directory, const struct rt_request_words *words, const char *netns)
{
	_cleanup_(rt_hook_state_deinit) struct rt_hook_state state = { .id = NULL };
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	size_t size;
	bool found;

	err = rt_read_all(STDIN_FILENO, MOST_STATE, &text, &size);
	if (err)
		return rt_while(err, "reading the container's state from standard input");
	err = rt_hook_state_parse(text, size, &state);
	if (err)
		return err;
	return state.stopped ? rt_endpoint_remove(state_directory, state.id, &found) : make(state_directory, words, netns, &state);
}
