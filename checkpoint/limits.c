#include "checkpoint/limits.h"

#include "runtime/container/in_force.h"

/* Which devices a container may use is for the config alone to say, whatever a checkpoint from elsewhere brings along. */
static struct rt_error *keep_devices(json_t *limits, const json_t *wanted)
{
	json_t *devices = json_object_get(wanted, "devices");

	json_object_del(limits, "devices");
	return devices && json_object_set(limits, "devices", devices) < 0 ? rt_error_oom() : NULL;
}

static struct rt_error *parse(const ProtobufCBinaryData *bytes, const char *name, json_t **ret)
{
	struct rt_error *err = rt_json_parse((const char *)bytes->data, bytes->len, name, ret);

	if (!err && !json_is_object(*ret))
		err = rt_fail(RT_CONFIG, "%s of the checkpoint must be a JSON object", name);
	return err;
}

struct rt_error *rt_limits_for_restore(const Rt__Container *described, struct rt_birth *birth)
{
	_cleanup_json_ json_t *config = NULL, *in_force = NULL, *limits = NULL;
	const json_t *wanted = rt_in_force_of_config(birth->container.spec->json);
	struct rt_error *err;

	if (!described->cgroup || described->cgroup->resources.len == 0)
		return NULL;
	err = parse(&described->config, "the config", &config);
	if (!err)
		err = parse(&described->cgroup->resources, "the limits", &in_force);
	if (!err)
		err = rt_in_force_carry(rt_in_force_of_config(config), in_force, wanted, &limits);
	if (!err)
		err = keep_devices(limits, wanted);
	return err ? err : rt_birth_set_limits(birth, limits);
}
