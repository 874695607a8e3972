#include "runtime/container/state.h"

#include "runtime/base/fs.h"
#include "runtime/base/io.h"
#include "runtime/base/json.h"
#include "runtime/base/str.h"

/* No state is anywhere near this; what is larger was not written by us. */
#define STATE_LIMIT (4u << 20)

void rt_state_deinit(struct rt_state *state)
{
	free(state->id);
	free(state->bundle);
	free(state->rootfs);
	free(state->created);
	free(state->owner);
	json_decref(state->cgroup);
	json_decref(state->extra);
	*state = RT_STATE_NULL;
}

struct rt_error *rt_state_store(int dir_fd, const struct rt_state *state)
{
	_cleanup_json_ json_t *json = NULL, *hold = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;

	if (state->hold.pid > 0)
		hold = json_pack("{s:i, s:I, s:I}", "pid", (int)state->hold.pid, "startTime", (json_int_t)state->hold.start_time, "counter",
				 (json_int_t)state->hold.counter);
	json = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:O*, s:O*, s:O*}",
			 "ociVersion", RT_SPEC_VERSION, "id", state->id, "pid", (int)state->pid, "bundle", state->bundle,
			 "rootfs", state->rootfs, "created", state->created, "owner", state->owner,
			 "startTime", (json_int_t)state->start_time, "creating", state->creating, "restored", state->restored,
			 "rootless", state->rootless, "systemdCgroup", state->systemd_cgroup, "rdtCreated", state->rdt_created,
			 "selfContained", state->self_contained, "ownPidNamespace", state->own_pid_namespace,
			 "cgroup", state->cgroup, "extra", state->extra, "hold", hold);
	if (!json)
		return rt_fail(RT_SYSTEM, "cannot write the state of '%s' as JSON (is every name UTF-8?)", state->id);
	text = json_dumps(json, JSON_COMPACT);
	if (!text)
		return rt_error_oom();
	err = rt_replace_file_at(dir_fd, "state.json", text, strlen(text), 0600);
	if (err)
		return rt_while(err, "storing the state of '%s'", state->id);
	return NULL;
}

static struct rt_error *take_string(const struct rt_json *json, const char *key, char **ret)
{
	const char *text = "";
	struct rt_error *err = rt_json_get_string(json, key, &text);

	if (err)
		return err;
	*ret = strdup(text);
	return *ret ? NULL : rt_error_oom();
}

static struct rt_error *parse_hold(const struct rt_json *json, struct rt_state_hold *hold)
{
	struct rt_json object;
	struct rt_error *err = rt_json_get_object(json, "hold", &object);
	int32_t pid = 0;

	if (err || !object.value)
		return err;
	err = rt_json_get_i32(&object, "pid", &pid);
	if (!err)
		err = rt_json_get_u64(&object, "startTime", &hold->start_time);
	if (!err)
		err = rt_json_get_u64(&object, "counter", &hold->counter);
	hold->pid = pid;
	return err;
}

static struct rt_error *parse_state(const struct rt_json *json, struct rt_state *state)
{
	const struct {
		const char *key;
		char **to;
	} strings[] = {
		{ "id", &state->id }, { "bundle", &state->bundle }, { "rootfs", &state->rootfs },
		{ "created", &state->created }, { "owner", &state->owner },
	};
	const struct {
		const char *key;
		bool *to;
	} flags[] = {
		{ "creating", &state->creating }, { "restored", &state->restored }, { "rootless", &state->rootless },
		{ "systemdCgroup", &state->systemd_cgroup }, { "rdtCreated", &state->rdt_created },
		{ "selfContained", &state->self_contained }, { "ownPidNamespace", &state->own_pid_namespace },
	};
	struct rt_error *err;
	int32_t pid = 0;

	if (!json_is_object(json->value))
		return rt_json_fail(json, NULL, "must be an object");
	for (size_t i = 0; i < RT_ARRAY_SIZE(strings); i++) {
		err = take_string(json, strings[i].key, strings[i].to);
		if (err)
			return err;
	}
	for (size_t i = 0; i < RT_ARRAY_SIZE(flags); i++) {
		err = rt_json_get_bool(json, flags[i].key, flags[i].to);
		if (err)
			return err;
	}
	err = rt_json_get_i32(json, "pid", &pid);
	if (!err)
		err = rt_json_get_u64(json, "startTime", &state->start_time);
	if (!err)
		err = parse_hold(json, &state->hold);
	if (err)
		return err;
	state->pid = pid;
	state->cgroup = json_incref(rt_json_field(json, "cgroup").value);
	state->extra = json_incref(rt_json_field(json, "extra").value);
	return NULL;
}

struct rt_error *rt_state_load(int dir_fd, struct rt_state *ret, bool *ret_found)
{
	_cleanup_(rt_state_deinit) struct rt_state state = RT_STATE_NULL;
	_cleanup_json_ json_t *json = NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_json root;
	struct rt_error *err;
	size_t size;

	err = rt_read_file_at(dir_fd, "state.json", STATE_LIMIT, &text, &size);
	if (err && err->errnum == ENOENT) {
		rt_error_free(err);
		*ret_found = false;
		return NULL;
	}
	if (!err)
		err = rt_json_parse(text, size, "state.json", &json);
	if (err)
		return err;
	root = rt_json_root(json);
	err = parse_state(&root, &state);
	if (err)
		return rt_while(err, "reading 'state.json'");
	*ret = state;
	state = RT_STATE_NULL;
	*ret_found = true;
	return NULL;
}
