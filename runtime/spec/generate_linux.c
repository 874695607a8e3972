#include "runtime/spec/generate_private.h"

/* ---- namespaces ---- */

/* runtime-tools and the kernel's files say "mnt" and "net". */
static const char *namespace_type(const char *text)
{
	if (rt_str_equal(text, "mnt"))
		return "mount";
	return rt_str_equal(text, "net") ? "network" : text;
}

void rt_flag_namespace(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[2];
	size_t count = rt_edit_split(&generator->edit, text, ':', parts, 2);
	json_t *entry = rt_flag_new_object(generator);

	if (count == 0 || !*parts[0])
		rt_flag_reject(generator, flag, text);
	else
		rt_flag_field(generator, entry, "type", json_string(namespace_type(parts[0])));
	if (count == 2 && *parts[1])
		rt_flag_field(generator, entry, "path", json_string(parts[1]));
	rt_edit_replace(&generator->edit, "linux.namespaces", "type", entry);
}

void rt_flag_namespace_remove(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_remove_entry(&generator->edit, "linux.namespaces", "type", namespace_type(text));
}

/* `data` is the array. A map of the same first id in the container is replaced. There must be a user namespace for it. */
void rt_flag_id_map(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[3];
	json_t *entry = rt_flag_new_object(generator), *maps;

	if (rt_edit_split(&generator->edit, text, ':', parts, 3) < 3) {
		rt_flag_reject(generator, flag, text);
		json_decref(entry);
		return;
	}
	rt_flag_field(generator, entry, "containerID", rt_flag_number(generator, flag, parts[1], false));
	rt_flag_field(generator, entry, "hostID", rt_flag_number(generator, flag, parts[0], false));
	rt_flag_field(generator, entry, "size", rt_flag_number(generator, flag, parts[2], false));
	maps = rt_edit_array(&generator->edit, flag->data);
	for (size_t i = json_array_size(maps); i > 0; i--)
		if (json_equal(json_object_get(json_array_get(maps, i - 1), "containerID"), json_object_get(entry, "containerID")))
			json_array_remove(maps, i - 1);
	rt_edit_append(&generator->edit, flag->data, entry);
	if (!rt_edit_find(&generator->edit, "linux.namespaces", "type", "user"))
		rt_edit_append(&generator->edit, "linux.namespaces", json_pack("{s:s}", "type", "user"));
}

void rt_flag_time_offset(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[3];
	size_t count = rt_edit_split(&generator->edit, text, ':', parts, 3);
	json_t *offset = rt_flag_new_object(generator);

	if (count < 2) {
		rt_flag_reject(generator, flag, text);
		json_decref(offset);
		return;
	}
	rt_flag_field(generator, offset, "secs", rt_flag_number(generator, flag, parts[1], true));
	if (count == 3)
		rt_flag_field(generator, offset, "nanosecs", rt_flag_number(generator, flag, parts[2], false));
	rt_edit_put(&generator->edit, "linux.timeOffsets", parts[0], offset);
	if (!rt_edit_find(&generator->edit, "linux.namespaces", "type", "time"))
		rt_edit_append(&generator->edit, "linux.namespaces", json_pack("{s:s}", "type", "time"));
}

/* ---- devices ---- */

/* "fileMode=438", "uid=0": the value after the name; NULL: another field. */
static const char *field_value(const char *text, const char *name)
{
	size_t length = strlen(name);

	return strncmp(text, name, length) == 0 && text[length] == '=' ? text + length + 1 : NULL;
}

static void device_option(struct rt_generator *generator, const struct rt_flag *flag, json_t *entry, const char *text)
{
	static const char *const fields[] = { "fileMode", "uid", "gid" };

	for (size_t i = 0; i < RT_ARRAY_SIZE(fields); i++) {
		const char *value = field_value(text, fields[i]);

		if (!value)
			continue;
		rt_flag_field(generator, entry, fields[i], rt_flag_number(generator, flag, value, false));
		return;
	}
	rt_flag_reject(generator, flag, text);
}

void rt_flag_device(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[7];
	size_t count = rt_edit_split(&generator->edit, text, ':', parts, RT_ARRAY_SIZE(parts));
	json_t *entry = rt_flag_new_object(generator);

	if (count < 4) {
		rt_flag_reject(generator, flag, text);
		json_decref(entry);
		return;
	}
	rt_flag_field(generator, entry, "type", json_string(parts[0]));
	rt_flag_field(generator, entry, "path", json_string(parts[3]));
	if (!rt_str_equal(parts[0], "p")) {
		rt_flag_field(generator, entry, "major", rt_flag_number(generator, flag, parts[1], false));
		rt_flag_field(generator, entry, "minor", rt_flag_number(generator, flag, parts[2], false));
	}
	for (size_t i = 4; i < count; i++)
		device_option(generator, flag, entry, parts[i]);
	rt_edit_replace(&generator->edit, "linux.devices", "path", entry);
}

void rt_flag_device_remove(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_remove_entry(&generator->edit, "linux.devices", "path", text);
}

/* "allow,type=c,major=10,minor=229,access=rwm" */
static json_t *device_rule(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[6];
	size_t count = rt_edit_split(&generator->edit, text, ',', parts, RT_ARRAY_SIZE(parts));
	json_t *rule = rt_flag_new_object(generator);

	if (count == 0 || (!rt_str_equal(parts[0], "allow") && !rt_str_equal(parts[0], "deny")))
		rt_flag_reject(generator, flag, text);
	else
		rt_flag_field(generator, rule, "allow", json_boolean(rt_str_equal(parts[0], "allow")));
	for (size_t i = 1; i < count && !generator->edit.err; i++) {
		const char *type = field_value(parts[i], "type"), *access = field_value(parts[i], "access");
		const char *major = field_value(parts[i], "major"), *minor = field_value(parts[i], "minor");

		if (type || access)
			rt_flag_field(generator, rule, type ? "type" : "access", json_string(type ? type : access));
		else if (major || minor)
			rt_flag_field(generator, rule, major ? "major" : "minor",
				      rt_flag_number(generator, flag, major ? major : minor, true));
		else
			rt_flag_reject(generator, flag, text);
	}
	/* Everything, where nothing is said: a rule without would not be valid. */
	if (!json_object_get(rule, "access"))
		rt_flag_field(generator, rule, "access", json_string("rwm"));
	return rule;
}

void rt_flag_device_rule(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_append(&generator->edit, "linux.resources.devices", device_rule(generator, flag, text));
}

void rt_flag_device_rule_remove(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	_cleanup_json_ json_t *rule = device_rule(generator, flag, text);
	json_t *rules = rt_edit_peek(&generator->edit, "linux.resources.devices");

	for (size_t i = json_array_size(rules); i > 0 && !generator->edit.err; i--)
		if (json_equal(json_array_get(rules, i - 1), rule))
			json_array_remove(rules, i - 1);
}

/* ---- resources ---- */

void rt_flag_hugepages(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[2];
	json_t *entry = rt_flag_new_object(generator);

	if (rt_edit_split(&generator->edit, text, ':', parts, 2) < 2) {
		rt_flag_reject(generator, flag, text);
		json_decref(entry);
		return;
	}
	rt_flag_field(generator, entry, "pageSize", json_string(parts[0]));
	rt_flag_field(generator, entry, "limit", rt_flag_number(generator, flag, parts[1], false));
	rt_edit_replace(&generator->edit, "linux.resources.hugepageLimits", "pageSize", entry);
}

void rt_flag_hugepages_remove(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_remove_entry(&generator->edit, "linux.resources.hugepageLimits", "pageSize", text);
}

void rt_flag_network_priority(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	static const char path[] = "linux.resources.network.priorities";
	const char *parts[2];
	json_t *entry;

	if (rt_edit_split(&generator->edit, text, ':', parts, 2) < 2) {
		rt_flag_reject(generator, flag, text);
		return;
	}
	if (rt_str_equal(parts[1], "-1")) {
		rt_edit_remove_entry(&generator->edit, path, "name", parts[0]);
		return;
	}
	entry = rt_flag_new_object(generator);
	rt_flag_field(generator, entry, "name", json_string(parts[0]));
	rt_flag_field(generator, entry, "priority", rt_flag_number(generator, flag, parts[1], false));
	rt_edit_replace(&generator->edit, path, "name", entry);
}

void rt_flag_rdma(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[3];
	json_t *entry = rt_flag_new_object(generator);

	if (rt_edit_split(&generator->edit, text, ':', parts, 3) < 3) {
		rt_flag_reject(generator, flag, text);
		json_decref(entry);
		return;
	}
	if (*parts[1])
		rt_flag_field(generator, entry, "hcaHandles", rt_flag_number(generator, flag, parts[1], false));
	if (*parts[2])
		rt_flag_field(generator, entry, "hcaObjects", rt_flag_number(generator, flag, parts[2], false));
	rt_edit_put(&generator->edit, "linux.resources.rdma", parts[0], entry);
}

/* The entry of a device in an array of blockIO; at its size where there is none. */
static size_t find_device(const json_t *array, const json_t *major, const json_t *minor)
{
	size_t i = 0;

	while (i < json_array_size(array) && !(json_equal(json_object_get(json_array_get(array, i), "major"), major) &&
					       json_equal(json_object_get(json_array_get(array, i), "minor"), minor)))
		i++;
	return i;
}

/* `data` is the name of an array of throttles, or of one of the two weights, which share an array. */
void rt_flag_block_device(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	bool weight = !rt_str_starts(flag->data, "throttle");
	const char *field = weight ? flag->data : "rate", *parts[3];
	_cleanup_json_ json_t *major = NULL, *minor = NULL;
	char path[64];
	json_t *array, *entry;
	size_t at;

	if (rt_edit_split(&generator->edit, text, ':', parts, 3) < 3) {
		rt_flag_reject(generator, flag, text);
		return;
	}
	snprintf(path, sizeof(path), "linux.resources.blockIO.%s", weight ? "weightDevice" : flag->data);
	major = rt_flag_number(generator, flag, parts[0], false);
	minor = rt_flag_number(generator, flag, parts[1], false);
	array = rt_edit_array(&generator->edit, path);
	if (!array)
		return;
	at = find_device(array, major, minor);
	entry = json_array_get(array, at);
	if (rt_str_equal(parts[2], "-1")) {
		json_object_del(entry, field);
		if (entry && !json_object_get(entry, "weight") && !json_object_get(entry, "leafWeight"))
			json_array_remove(array, at);
		return;
	}
	if (!entry) {
		entry = rt_flag_new_object(generator);
		rt_flag_field(generator, entry, "major", json_incref(major));
		rt_flag_field(generator, entry, "minor", json_incref(minor));
		rt_edit_append(&generator->edit, path, entry);
	}
	if (!generator->edit.err)
		rt_flag_field(generator, entry, field, rt_flag_number(generator, flag, parts[2], false));
}
