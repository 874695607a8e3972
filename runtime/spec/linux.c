#include "runtime/spec/loader.h"

#include <sys/stat.h>

static void load_namespaces(struct rt_loader *loader, const struct rt_json *object)
{
	struct rt_json array = rt_json_field(object, "namespaces");

	rt_load_reject(loader, loader->err ? NULL : rt_json_get_array(object, "namespaces", &array));
	for (size_t i = 0; !loader->err && i < rt_json_count(&array); i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);
		struct rt_spec_namespace *namespace;
		uint64_t kind;

		if (!entry.value)
			continue;
		rt_load_needs(loader, &entry, "type");
		if (!rt_load_word(loader, &entry, "type", rt_words_namespace, &kind))
			continue;
		namespace = &loader->spec->namespaces[kind];
		if (namespace->wanted)
			rt_load_fail(loader, &entry, "type", "is given twice, '%s'",
				     rt_namespace_name((enum rt_namespace_kind)kind));
		namespace->wanted = true;
		rt_load_string(loader, &entry, "path", &namespace->path);
		if (namespace->path && namespace->path[0] != '/')
			rt_load_fail(loader, &entry, "path", "must be an absolute path, not '%s'", namespace->path);
	}
}

static void load_offset(struct rt_loader *loader, const struct rt_json *offsets, const char *clock,
			struct rt_spec_time_offset *ret)
{
	struct rt_json object = rt_load_object(loader, offsets, clock);

	if (!object.value)
		return;
	ret->present = true;
	rt_load_i64(loader, &object, "secs", &ret->secs);
	rt_load_u32(loader, &object, "nanosecs", &ret->nanosecs);
	if (ret->nanosecs > 999999999)
		rt_load_fail(loader, &object, "nanosecs", "must be below one second");
}

static void load_offsets(struct rt_loader *loader, const struct rt_json *object)
{
	struct rt_json offsets = rt_load_object(loader, object, "timeOffsets");

	if (loader->err || !offsets.value)
		return;
	for (void *at = json_object_iter(offsets.value); at; at = json_object_iter_next(offsets.value, at)) {
		const char *clock = json_object_iter_key(at);

		if (!rt_str_equal(clock, "monotonic") && !rt_str_equal(clock, "boottime"))
			rt_load_fail(loader, &offsets, clock,
				     "is no clock of a time namespace; they are monotonic and boottime");
	}
	load_offset(loader, &offsets, "monotonic", &loader->spec->offset_monotonic);
	load_offset(loader, &offsets, "boottime", &loader->spec->offset_boottime);
}

/* What the kernel can tell apart: 12 bits of major, 20 of minor. More would silently be another device. */
static void load_device_number(struct rt_loader *loader, const struct rt_json *entry, const char *key, int64_t most,
			       int64_t *ret)
{
	rt_load_needs(loader, entry, key);
	rt_load_i64(loader, entry, key, ret);
	if (*ret < 0 || *ret > most)
		rt_load_fail(loader, entry, key, "must be between 0 and %lld", (long long)most);
}

static void load_device(struct rt_loader *loader, const struct rt_json *entry, struct rt_spec_device *device)
{
	static const struct rt_word types[] = {{"c", 'c'}, {"b", 'b'}, {"u", 'c'}, {"p", 'p'}, {NULL, 0}};
	uint64_t type = 0;

	rt_load_needs(loader, entry, "type");
	rt_load_word(loader, entry, "type", types, &type);
	device->type = (char)type;
	rt_load_needs(loader, entry, "path");
	rt_load_string(loader, entry, "path", &device->path);
	if (device->path && device->path[0] != '/')
		rt_load_fail(loader, entry, "path", "must be an absolute path, not '%s'", device->path);
	if (type == 'c' || type == 'b') {
		load_device_number(loader, entry, "major", 4095, &device->major);
		load_device_number(loader, entry, "minor", 1048575, &device->minor);
	}
	device->mode = 0666;
	device->has_mode = rt_json_field(entry, "fileMode").value != NULL;
	rt_load_u32(loader, entry, "fileMode", &device->mode);
	/* Some writers add the type bits of st_mode; the type is said elsewhere. */
	if (device->mode & ~(uint32_t)(S_IFMT | 07777))
		rt_load_fail(loader, entry, "fileMode", "must be a file mode");
	device->mode &= 07777;
	rt_load_u32(loader, entry, "uid", &device->uid);
	rt_load_u32(loader, entry, "gid", &device->gid);
}

static void load_devices(struct rt_loader *loader, const struct rt_json *object)
{
	struct rt_spec *spec = loader->spec;
	struct rt_json array = {.key = NULL};
	struct rt_spec_device *list =
		rt_load_array(loader, object, "devices", sizeof(*list), &array, &spec->device_count);

	for (size_t i = 0; i < spec->device_count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);

		if (entry.value)
			load_device(loader, &entry, &list[i]);
	}
	spec->devices = list;
}

/* The kernel's rules for names of interfaces (dev_valid_name()), and no '%', which would make it number them. */
static bool interface_name_valid(const char *name)
{
	if (!*name || strlen(name) > 15 || rt_str_equal(name, ".") || rt_str_equal(name, ".."))
		return false;
	return !strpbrk(name, "/:% \t\n\v\f\r");
}

/* In the container it may be a template: "eth%d" is the first of eth0, eth1, ... that is free. */
static bool interface_template_valid(const char *name)
{
	char stem[16];
	size_t length = strcspn(name, "%");

	if (!name[length])
		return interface_name_valid(name);
	if (!rt_str_equal(name + length, "%d") || length >= sizeof(stem))
		return false;
	memcpy(stem, name, length);
	stem[length] = '\0';
	return interface_name_valid(stem);
}

static void load_net_devices(struct rt_loader *loader, const struct rt_json *object)
{
	struct rt_spec *spec = loader->spec;
	struct rt_json map = rt_load_object(loader, object, "netDevices");
	size_t count = map.value ? json_object_size(map.value) : 0, kept = 0;
	struct rt_spec_net_device *list = count > 0 ? rt_load_memory(loader, count, sizeof(*list)) : NULL;

	if (!list)
		return;
	for (void *at = json_object_iter(map.value); at; at = json_object_iter_next(map.value, at)) {
		struct rt_spec_net_device *device = &list[kept++];
		struct rt_json entry;

		device->host_name = json_object_iter_key(at);
		entry = rt_load_object(loader, &map, device->host_name);
		if (!interface_name_valid(device->host_name))
			rt_load_fail(loader, &map, device->host_name, "isn't a valid name of a network interface");
		rt_load_string(loader, &entry, "name", &device->name);
		if (device->name && !interface_template_valid(device->name))
			rt_load_fail(loader, &entry, "name", "isn't a valid name of a network interface");
	}
	spec->net_devices = list;
	spec->net_device_count = kept;
}

static void load_paths(struct rt_loader *loader, const struct rt_json *object, const char *key, const char *const **ret,
		       size_t *ret_count)
{
	struct rt_json array = rt_json_field(object, key);

	rt_load_strings(loader, object, key, ret, ret_count);
	for (size_t i = 0; i < *ret_count && !loader->err; i++) {
		struct rt_json entry = {.parent = &array, .index = i};

		if ((*ret)[i][0] != '/')
			rt_load_fail(loader, &entry, NULL, "must be an absolute path, not '%s'", (*ret)[i]);
	}
}

static void load_intel_rdt(struct rt_loader *loader, const struct rt_json *object)
{
	struct rt_spec_intel_rdt *ret = &loader->spec->intel_rdt;
	struct rt_json rdt = rt_load_object(loader, object, "intelRdt");
	bool cmt = false, mbm = false;

	if (!rdt.value)
		return;
	ret->present = true;
	rt_load_string(loader, &rdt, "closID", &ret->clos_id);
	/* It becomes a directory of resctrl. */
	if (ret->clos_id &&
	    (strchr(ret->clos_id, '/') || rt_str_equal(ret->clos_id, ".") || rt_str_equal(ret->clos_id, "..")))
		rt_load_fail(loader, &rdt, "closID", "must be the name of a directory, not '%s'", ret->clos_id);
	rt_load_string(loader, &rdt, "l3CacheSchema", &ret->l3_schema);
	rt_load_string(loader, &rdt, "memBwSchema", &ret->mem_bw_schema);
	rt_load_strings(loader, &rdt, "schemata", &ret->schemata, &ret->schema_count);
	rt_load_bool(loader, &rdt, "enableMonitoring", &ret->enable_monitoring);
	rt_load_bool(loader, &rdt, "enableCMT", &cmt);
	rt_load_bool(loader, &rdt, "enableMBM", &mbm);
	ret->enable_monitoring |= cmt || mbm;
}

static void load_memory_policy(struct rt_loader *loader, const struct rt_json *object)
{
	struct rt_spec_memory_policy *ret = &loader->spec->memory_policy;
	struct rt_json policy = rt_load_object(loader, object, "memoryPolicy");
	uint64_t mode = 0, flags = 0;

	if (!policy.value)
		return;
	ret->present = true;
	rt_load_needs(loader, &policy, "mode");
	rt_load_word(loader, &policy, "mode", rt_words_memory_mode, &mode);
	rt_load_word_set(loader, &policy, "flags", rt_words_memory_flag, &flags);
	rt_load_string(loader, &policy, "nodes", &ret->nodes);
	if (ret->nodes && !rt_number_list_valid(ret->nodes))
		rt_load_fail(loader, &policy, "nodes", "must be a list of nodes such as '0-3,7', not '%s'", ret->nodes);
	ret->mode = (int)mode;
	ret->flags = (uint32_t)flags;
}

static void load_personality(struct rt_loader *loader, const struct rt_json *object)
{
	struct rt_spec_personality *ret = &loader->spec->personality;
	struct rt_json personality = rt_load_object(loader, object, "personality");
	const char *const *flags = NULL;
	size_t count = 0;
	uint64_t domain = 0;

	if (!personality.value)
		return;
	ret->present = true;
	rt_load_needs(loader, &personality, "domain");
	rt_load_word(loader, &personality, "domain", rt_words_personality, &domain);
	ret->domain = domain;
	rt_load_strings(loader, &personality, "flags", &flags, &count);
	if (count > 0)
		rt_load_warn(loader, &personality, "flags", "has flags, but the specification defines none, ignoring");
}

static void load_propagation(struct rt_loader *loader, const struct rt_json *object)
{
	uint64_t unused;

	if (rt_load_word(loader, object, "rootfsPropagation", rt_words_propagation, &unused))
		rt_load_string(loader, object, "rootfsPropagation", &loader->spec->rootfs_propagation);
}

void rt_load_spec_linux(struct rt_loader *loader, const struct rt_json *root)
{
	struct rt_spec *spec = loader->spec;
	struct rt_json object = rt_load_object(loader, root, "linux");
	struct rt_json resources = rt_load_object(loader, &object, "resources");

	if (!object.value)
		return;
	load_namespaces(loader, &object);
	spec->uid_mappings = rt_load_id_maps(loader, &object, "uidMappings");
	spec->gid_mappings = rt_load_id_maps(loader, &object, "gidMappings");
	load_offsets(loader, &object);
	load_devices(loader, &object);
	load_net_devices(loader, &object);
	rt_load_map(loader, &object, "sysctl", &spec->sysctl, &spec->sysctl_count);
	rt_load_string(loader, &object, "cgroupsPath", &spec->cgroups_path);
	rt_load_spec_resources(loader, &resources);
	rt_load_spec_seccomp(loader, &object);
	load_propagation(loader, &object);
	load_paths(loader, &object, "maskedPaths", &spec->masked_paths, &spec->masked_path_count);
	load_paths(loader, &object, "readonlyPaths", &spec->readonly_paths, &spec->readonly_path_count);
	rt_load_string(loader, &object, "mountLabel", &spec->mount_label);
	load_intel_rdt(loader, &object);
	load_memory_policy(loader, &object);
	load_personality(loader, &object);
}
