#include "runtime/spec/loader.h"

static void load_device_rule(struct rt_loader *loader, const struct rt_json *entry, struct rt_spec_device_rule *rule)
{
	static const struct rt_word types[] = {{"a", 'a'}, {"b", 'b'}, {"c", 'c'}, {NULL, 0}};
	const char *access = NULL;
	uint64_t type = 'a';

	*rule = (struct rt_spec_device_rule){.major = -1, .minor = -1};
	rt_load_needs(loader, entry, "allow");
	rt_load_bool(loader, entry, "allow", &rule->allow);
	rt_load_word(loader, entry, "type", types, &type);
	rule->type = (char)type;
	rt_load_i64(loader, entry, "major", &rule->major);
	rt_load_i64(loader, entry, "minor", &rule->minor);
	if (rule->major < -1 || rule->major > UINT32_MAX)
		rt_load_fail(loader, entry, "major", "must be a device number, or -1 for any");
	if (rule->minor < -1 || rule->minor > UINT32_MAX)
		rt_load_fail(loader, entry, "minor", "must be a device number, or -1 for any");
	/* The specification calls it optional without saying what its absence means; runc refuses. */
	rt_load_needs(loader, entry, "access");
	rt_load_string(loader, entry, "access", &access);
	for (; access && *access; access++) {
		rule->read |= *access == 'r';
		rule->write |= *access == 'w';
		rule->mknod |= *access == 'm';
		if (!strchr("rwm", *access)) {
			rt_load_fail(loader, entry, "access", "must be made of r, w and m");
			break;
		}
	}
}

static void load_device_rules(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_spec_resources *ret = &loader->spec->resources;
	struct rt_json array = {.key = NULL};
	struct rt_spec_device_rule *list =
		rt_load_array(loader, resources, "devices", sizeof(*list), &array, &ret->device_count);

	for (size_t i = 0; i < ret->device_count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);

		if (entry.value)
			load_device_rule(loader, &entry, &list[i]);
	}
	ret->devices = list;
}

static void load_limit(struct rt_loader *loader, const struct rt_json *object, const char *key, const int64_t **ret)
{
	rt_load_i64_at(loader, object, key, ret);
	if (*ret && **ret < -1)
		rt_load_fail(loader, object, key, "must be a number of bytes, or -1 for no limit");
}

static void load_memory(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_spec_memory *ret = &loader->spec->resources.memory;
	struct rt_json object = rt_load_object(loader, resources, "memory");

	load_limit(loader, &object, "limit", &ret->limit);
	load_limit(loader, &object, "reservation", &ret->reservation);
	load_limit(loader, &object, "swap", &ret->swap);
	load_limit(loader, &object, "kernel", &ret->kernel);
	load_limit(loader, &object, "kernelTCP", &ret->kernel_tcp);
	rt_load_u64_at(loader, &object, "swappiness", &ret->swappiness);
	if (ret->swappiness && *ret->swappiness > 100)
		rt_load_fail(loader, &object, "swappiness", "must be between 0 and 100");
	rt_load_bool_at(loader, &object, "disableOOMKiller", &ret->disable_oom_killer);
	rt_load_bool_at(loader, &object, "useHierarchy", &ret->use_hierarchy);
	rt_load_bool(loader, &object, "checkBeforeUpdate", &ret->check_before_update);
	/* `swap` is memory and swap together. */
	if (ret->limit && ret->swap && *ret->limit > 0 && *ret->swap > 0 && *ret->swap < *ret->limit)
		rt_load_fail(loader, &object, "swap", "is memory and swap together, and must not be below the limit");
}

/* runc and the kernel take every negative number for "no limit"; from here on it is -1. */
static void load_unlimited(struct rt_loader *loader, const struct rt_json *object, const char *key, const int64_t **ret)
{
	static const int64_t unlimited = -1;

	rt_load_i64_at(loader, object, key, ret);
	if (*ret && **ret < 0)
		*ret = &unlimited;
}

/* Cpusets: what the kernel's own parser of lists may know beyond "0-3,7" (strides, "all") is left to it. */
static void load_cpuset(struct rt_loader *loader, const struct rt_json *object, const char *key, const char **ret)
{
	const char *list = NULL;

	rt_load_string(loader, object, key, &list);
	if (list && list[strspn(list, "0123456789,-:/allN")])
		rt_load_fail(loader, object, key, "must be a list such as '0-3,7', not '%s'", list);
	*ret = list;
}

static void load_cpu(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_spec_cpu *ret = &loader->spec->resources.cpu;
	struct rt_json object = rt_load_object(loader, resources, "cpu");

	rt_load_u64_at(loader, &object, "shares", &ret->shares);
	load_unlimited(loader, &object, "quota", &ret->quota);
	rt_load_u64_at(loader, &object, "period", &ret->period);
	rt_load_u64_at(loader, &object, "burst", &ret->burst);
	rt_load_i64_at(loader, &object, "realtimeRuntime", &ret->realtime_runtime);
	rt_load_u64_at(loader, &object, "realtimePeriod", &ret->realtime_period);
	rt_load_i64_at(loader, &object, "idle", &ret->idle);
	if (ret->idle && *ret->idle != 0 && *ret->idle != 1)
		rt_load_fail(loader, &object, "idle", "must be 0 or 1");
	load_cpuset(loader, &object, "cpus", &ret->cpus);
	load_cpuset(loader, &object, "mems", &ret->mems);
}

/* 0 is what Docker writes for "not set". */
static void load_weight(struct rt_loader *loader, const struct rt_json *object, const char *key, const uint16_t **ret)
{
	uint32_t weight = 0;
	uint16_t *memory;

	rt_load_u32(loader, object, key, &weight);
	if (weight == 0)
		return;
	if (weight < 10 || weight > 1000) {
		rt_load_fail(loader, object, key, "must be between 10 and 1000");
		return;
	}
	memory = rt_load_memory(loader, 1, sizeof(*memory));
	if (memory)
		*memory = (uint16_t)weight;
	*ret = memory;
}

static void load_device_number(struct rt_loader *loader, const struct rt_json *entry, const char *key, int64_t *ret)
{
	rt_load_needs(loader, entry, key);
	rt_load_i64(loader, entry, key, ret);
	if (*ret < 0 || *ret > UINT32_MAX)
		rt_load_fail(loader, entry, key, "must be a device number");
}

static void load_weight_devices(struct rt_loader *loader, const struct rt_json *block_io)
{
	struct rt_spec_block_io *ret = &loader->spec->resources.block_io;
	struct rt_json array = {.key = NULL};
	struct rt_spec_weight_device *list =
		rt_load_array(loader, block_io, "weightDevice", sizeof(*list), &array, &ret->weight_device_count);

	for (size_t i = 0; i < ret->weight_device_count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);

		if (!entry.value)
			continue;
		load_device_number(loader, &entry, "major", &list[i].major);
		load_device_number(loader, &entry, "minor", &list[i].minor);
		load_weight(loader, &entry, "weight", &list[i].weight);
		load_weight(loader, &entry, "leafWeight", &list[i].leaf_weight);
		if (!rt_json_field(&entry, "weight").value && !rt_json_field(&entry, "leafWeight").value)
			rt_load_fail(loader, &entry, NULL, "must have a weight or a leafWeight");
	}
	ret->weight_devices = list;
}

static struct rt_spec_throttle load_throttle(struct rt_loader *loader, const struct rt_json *block_io, const char *key)
{
	struct rt_spec_throttle ret = {.count = 0};
	struct rt_json array = {.key = NULL};
	struct rt_spec_throttle_device *list = rt_load_array(loader, block_io, key, sizeof(*list), &array, &ret.count);

	for (size_t i = 0; i < ret.count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);

		if (!entry.value)
			continue;
		load_device_number(loader, &entry, "major", &list[i].major);
		load_device_number(loader, &entry, "minor", &list[i].minor);
		rt_load_needs(loader, &entry, "rate");
		rt_load_u64(loader, &entry, "rate", &list[i].rate);
	}
	ret.entries = list;
	return ret;
}

static void load_block_io(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_spec_block_io *ret = &loader->spec->resources.block_io;
	struct rt_json object = rt_load_object(loader, resources, "blockIO");

	load_weight(loader, &object, "weight", &ret->weight);
	load_weight(loader, &object, "leafWeight", &ret->leaf_weight);
	load_weight_devices(loader, &object);
	ret->read_bps = load_throttle(loader, &object, "throttleReadBpsDevice");
	ret->write_bps = load_throttle(loader, &object, "throttleWriteBpsDevice");
	ret->read_iops = load_throttle(loader, &object, "throttleReadIOPSDevice");
	ret->write_iops = load_throttle(loader, &object, "throttleWriteIOPSDevice");
}

/* "2MB", "1GB": as the kernel names the files. */
static bool page_size_valid(const char *size)
{
	size_t digits = strspn(size, "0123456789");

	return digits > 0 && size[0] != '0' && size[digits] && strchr("KMG", size[digits]) && size[digits + 1] == 'B' &&
	       size[digits + 2] == '\0';
}

static void load_hugepages(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_spec_resources *ret = &loader->spec->resources;
	struct rt_json array = {.key = NULL};
	struct rt_spec_hugepage_limit *list =
		rt_load_array(loader, resources, "hugepageLimits", sizeof(*list), &array, &ret->hugepage_limit_count);

	for (size_t i = 0; i < ret->hugepage_limit_count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);

		if (!entry.value)
			continue;
		rt_load_needs(loader, &entry, "pageSize");
		rt_load_needs(loader, &entry, "limit");
		rt_load_string(loader, &entry, "pageSize", &list[i].page_size);
		rt_load_u64(loader, &entry, "limit", &list[i].limit);
		if (list[i].page_size && !page_size_valid(list[i].page_size))
			rt_load_fail(loader, &entry, "pageSize", "must be a size such as '2MB', not '%s'",
				     list[i].page_size);
	}
	ret->hugepage_limits = list;
}

static void load_network(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_spec_resources *ret = &loader->spec->resources;
	struct rt_json object = rt_load_object(loader, resources, "network");
	struct rt_json array = {.key = NULL};
	struct rt_spec_interface_priority *list =
		rt_load_array(loader, &object, "priorities", sizeof(*list), &array, &ret->network_priority_count);

	rt_load_u32_at(loader, &object, "classID", &ret->network_class_id);
	for (size_t i = 0; i < ret->network_priority_count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);

		if (!entry.value)
			continue;
		rt_load_needs(loader, &entry, "name");
		rt_load_needs(loader, &entry, "priority");
		rt_load_string(loader, &entry, "name", &list[i].name);
		rt_load_u32(loader, &entry, "priority", &list[i].priority);
	}
	ret->network_priorities = list;
}

static void load_rdma(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_spec_resources *ret = &loader->spec->resources;
	struct rt_json map = rt_load_object(loader, resources, "rdma");
	size_t count = map.value ? json_object_size(map.value) : 0, kept = 0;
	struct rt_spec_rdma *list = count > 0 ? rt_load_memory(loader, count, sizeof(*list)) : NULL;

	if (!list)
		return;
	for (void *at = json_object_iter(map.value); at; at = json_object_iter_next(map.value, at)) {
		const char *device = json_object_iter_key(at);
		struct rt_json entry = rt_load_object(loader, &map, device);

		rt_load_u32_at(loader, &entry, "hcaHandles", &list[kept].handles);
		rt_load_u32_at(loader, &entry, "hcaObjects", &list[kept].objects);
		if (!list[kept].handles && !list[kept].objects)
			rt_load_fail(loader, &entry, NULL, "must have hcaHandles or hcaObjects");
		if (!*device || strpbrk(device, " \n"))
			rt_load_fail(loader, &entry, NULL, "isn't the name of a device");
		list[kept++].device = device;
	}
	ret->rdma = list;
	ret->rdma_count = kept;
}

/* A key is the name of a file in the cgroup, and nothing but that (runc says the same). */
static void load_unified(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_spec_resources *ret = &loader->spec->resources;
	struct rt_json map = rt_json_field(resources, "unified");

	rt_load_map(loader, resources, "unified", &ret->unified, &ret->unified_count);
	for (size_t i = 0; i < ret->unified_count; i++) {
		const char *key = ret->unified[i].key, *dot = strchr(key, '.');

		if (strchr(key, '/') || !dot || dot == key || !dot[1])
			rt_load_fail(loader, &map, key, "must be the name of a cgroup file such as 'memory.high'");
	}
}

void rt_load_spec_resources(struct rt_loader *loader, const struct rt_json *resources)
{
	struct rt_json pids = rt_load_object(loader, resources, "pids");

	load_device_rules(loader, resources);
	load_memory(loader, resources);
	load_cpu(loader, resources);
	load_unlimited(loader, &pids, "limit", &loader->spec->resources.pids_limit);
	load_block_io(loader, resources);
	load_hugepages(loader, resources);
	load_network(loader, resources);
	load_rdma(loader, resources);
	load_unified(loader, resources);
}
