/* Puts the device rules where the kernel wants them: devices.allow and devices.deny in v1, a program on the directory in v2. */
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/devices.h"
#include "runtime/cgroup/private.h"
#include "runtime/sys/bpf.h"

#include <fcntl.h>
#include <limits.h>

#define FIELD "linux.resources.devices"

/* One of the two files, open for many writes. */
struct sink {
	const struct rt_cgroup_place *place;
	const char *file;
	int fd; /* -1: not opened yet */
};

static void sink_close(struct sink *sink)
{
	rt_closep(&sink->fd);
}

static struct rt_error *put(struct sink *sink, const char *text)
{
	char path[PATH_MAX];

	if (sink->fd < 0) {
		snprintf(path, sizeof(path), "%s/%s", sink->place->directory, sink->file);
		sink->fd = open(path, O_WRONLY | O_CLOEXEC);
	}
	if (sink->fd < 0 || write(sink->fd, text, strlen(text)) < 0)
		return rt_place_refused(sink->place, FIELD, sink->file, text);
	return NULL;
}

/* The bits of `rule` that the list doesn't have already; false: none. */
static bool missing_in(const struct rt_device_list *list, const struct rt_spec_device_rule *rule, struct rt_spec_device_rule *ret)
{
	*ret = *rule;
	for (size_t i = 0; i < list->count; i++) {
		const struct rt_spec_device_rule *entry = &list->entries[i];

		if (entry->type != rule->type || entry->major != rule->major || entry->minor != rule->minor)
			continue;
		ret->read &= !entry->read;
		ret->write &= !entry->write;
		ret->mknod &= !entry->mknod;
	}
	return ret->read || ret->write || ret->mknod;
}

/* From the list as it is to the list as it should be, first what is to be had, then what is no longer: a running container
 * that may open /dev/null before and after may do so in between. */
static struct rt_error *change(const struct rt_cgroup_place *place, const struct rt_device_list *now, const struct rt_device_list *then)
{
	_cleanup_(sink_close) struct sink add = { place, then->default_allow ? "devices.deny" : "devices.allow", -1 };
	_cleanup_(sink_close) struct sink take = { place, then->default_allow ? "devices.allow" : "devices.deny", -1 };
	struct rt_spec_device_rule rule;
	char text[RT_DEVICE_TEXT_ROOM];
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && i < then->count; i++)
		if (missing_in(now, &then->entries[i], &rule))
			err = put(&add, rt_device_text(&rule, text));
	for (size_t i = 0; !err && i < now->count; i++)
		if (missing_in(then, &now->entries[i], &rule))
			err = put(&take, rt_device_text(&rule, text));
	return err;
}

static struct rt_error *apply_v1(const struct rt_cgroup_place *place, const struct rt_spec_device_rule *rules, size_t count,
				 struct rt_arena *arena)
{
	struct rt_device_list now = { .default_allow = true }, then;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_devices_list(rules, count, arena, &then);

	if (!err && !place->fresh)
		err = rt_place_read(place, "devices.list", &text);
	if (!err && text)
		err = rt_devices_parse(text, arena, &now);
	if (err)
		return err;
	if (place->fresh || now.default_allow || then.default_allow) {
		/* A new list from nothing. When allowing all, writing "a" also takes back exceptions we can't see. */
		err = rt_place_set(place, FIELD, then.default_allow ? "devices.allow" : "devices.deny", "a");
		now.count = 0;
	}
	return err ? err : change(place, &now, &then);
}

static struct rt_error *apply_v2(const struct rt_cgroup_place *place, const struct rt_spec_device_rule *rules, size_t count,
				 struct rt_arena *arena)
{
	_cleanup_close_ int fd = open(place->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bpf_insn *code;
	struct rt_error *err;
	size_t size;

	if (fd < 0)
		return rt_fail_errno("cannot open cgroup '%s'", place->directory);
	err = rt_devices_program(rules, count, arena, &code, &size);
	if (!err)
		err = rt_sys_attach_device_filter(fd, code, size, !place->fresh);
	return err ? rt_while(err, "'" FIELD "'") : NULL;
}

struct rt_error *rt_devices_apply(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources)
{
	_cleanup_(rt_arena_deinit) struct rt_arena arena = RT_ARENA_NULL;
	const struct rt_cgroup_place *place = rt_cgroup_place_for(cgroup, "devices");
	struct rt_spec_device_rule *rules;
	struct rt_error *err;
	size_t count;

	/* Without rights in the initial user namespace the rules can't be set, nor could device nodes be made. */
	if (cgroup->rootless)
		return NULL;
	if (!place)
		return rt_cgroup_no_controller(FIELD, "devices");
	err = rt_devices_all(resources, &arena, &rules, &count);
	if (err)
		return err;
	return place->v2 ? apply_v2(place, rules, count, &arena) : apply_v1(place, rules, count, &arena);
}
