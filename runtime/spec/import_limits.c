/* Limits of the container's cgroup, and its devices. Engines write 0, and podman -1 too, for "not set". */
#include "runtime/spec/import_private.h"

#include "runtime/base/log.h"

#define RESOURCES "linux.resources."

/* A number that is a limit of its own. */
static void import_number(struct rt_import *import, const char *key, const char *path, bool negative)
{
	int64_t value = rt_import_number(import, &import->host, key);

	if (value > 0 || (negative && value < 0))
		rt_edit_set(&import->edit, path, json_integer(value));
}

/* "--cpus 0.5" is half of each tenth of a second. */
static void import_cpu(struct rt_import *import)
{
	const int64_t period = 100000;
	int64_t nano = rt_import_number(import, &import->host, "NanoCpus");
	const char *cpus = rt_import_text(import, &import->host, "CpusetCpus"), *mems = rt_import_text(import, &import->host, "CpusetMems");

	if (nano > 0 && nano < INT64_MAX / period) {
		rt_edit_set(&import->edit, RESOURCES "cpu.quota", json_integer(nano * period / 1000000000));
		rt_edit_set(&import->edit, RESOURCES "cpu.period", json_integer(period));
	}
	import_number(import, "CpuShares", RESOURCES "cpu.shares", false);
	import_number(import, "CpuPeriod", RESOURCES "cpu.period", false);
	import_number(import, "CpuQuota", RESOURCES "cpu.quota", true);
	import_number(import, "CpuRealtimePeriod", RESOURCES "cpu.realtimePeriod", false);
	import_number(import, "CpuRealtimeRuntime", RESOURCES "cpu.realtimeRuntime", false);
	if (cpus)
		rt_edit_set_string(&import->edit, RESOURCES "cpu.cpus", cpus);
	if (mems)
		rt_edit_set_string(&import->edit, RESOURCES "cpu.mems", mems);
}

static void import_memory(struct rt_import *import)
{
	struct rt_json swappiness = rt_json_field(&import->host, "MemorySwappiness");
	int64_t value = rt_import_number(import, &import->host, "MemorySwappiness");

	import_number(import, "Memory", RESOURCES "memory.limit", false);
	import_number(import, "MemoryReservation", RESOURCES "memory.reservation", false);
	import_number(import, "MemorySwap", RESOURCES "memory.swap", true);
	import_number(import, "KernelMemory", RESOURCES "memory.kernel", false);
	import_number(import, "KernelMemoryTCP", RESOURCES "memory.kernelTCP", false);
	/* podman says 0 for what nobody said. */
	if (swappiness.value && (value > 0 || (value == 0 && !import->podman)))
		rt_edit_set(&import->edit, RESOURCES "memory.swappiness", json_integer(value));
	if (rt_import_flag(import, &import->host, "OomKillDisable"))
		rt_edit_set(&import->edit, RESOURCES "memory.disableOOMKiller", json_true());
}

/* ---- block devices, which engines name by path ---- */

struct numbers {
	bool found;
	uint32_t major, minor;
};

static void note_numbers(void *visitor, const struct rt_import_device *device)
{
	struct numbers *numbers = visitor;

	*numbers = (struct numbers){ true, device->major, device->minor };
}

static void import_block_devices(struct rt_import *import, const char *key, const char *value_key, const char *path, const char *field)
{
	struct rt_json list = rt_import_array(import, &import->host, key);

	for (size_t i = 0; i < rt_json_count(&list) && !import->edit.err; i++) {
		struct rt_json entry = rt_json_element(&list, i);
		const char *device = rt_import_text(import, &entry, "Path");
		const struct rt_import_host *host = &import->options->host;
		struct numbers numbers = { .found = false };
		struct rt_error *err = device ? host->find_devices(host->userdata, device, note_numbers, &numbers) : NULL;
		json_t *made;

		if (err) {
			rt_edit_reject(&import->edit, rt_while(err, "reading 'HostConfig.%s'", key));
			return;
		}
		if (!numbers.found)
			continue;
		made = json_object();
		rt_import_put(import, made, "major", json_integer(numbers.major));
		rt_import_put(import, made, "minor", json_integer(numbers.minor));
		rt_import_put(import, made, field, json_integer(rt_import_number(import, &entry, value_key)));
		rt_edit_append(&import->edit, path, made);
	}
}

static void import_block_io(struct rt_import *import)
{
	import_number(import, "BlkioWeight", RESOURCES "blockIO.weight", false);
	import_block_devices(import, "BlkioWeightDevice", "Weight", RESOURCES "blockIO.weightDevice", "weight");
	import_block_devices(import, "BlkioDeviceReadBps", "Rate", RESOURCES "blockIO.throttleReadBpsDevice", "rate");
	import_block_devices(import, "BlkioDeviceWriteBps", "Rate", RESOURCES "blockIO.throttleWriteBpsDevice", "rate");
	import_block_devices(import, "BlkioDeviceReadIOps", "Rate", RESOURCES "blockIO.throttleReadIOPSDevice", "rate");
	import_block_devices(import, "BlkioDeviceWriteIOps", "Rate", RESOURCES "blockIO.throttleWriteIOPSDevice", "rate");
}

void rt_import_limits(struct rt_import *import)
{
	import_memory(import);
	import_cpu(import);
	import_number(import, "PidsLimit", RESOURCES "pids.limit", true);
	import_block_io(import);
}

/* ---- devices ---- */

static void add_rule(struct rt_import *import, bool allow, char type, int64_t major, int64_t minor, const char *access)
{
	json_t *rule = json_object();

	rt_import_put(import, rule, "allow", json_boolean(allow));
	if (type != 'a') {
		rt_import_put(import, rule, "type", json_stringn(&type, 1));
		rt_import_put(import, rule, "major", json_integer(major));
		rt_import_put(import, rule, "minor", json_integer(minor));
	}
	rt_import_put(import, rule, "access", json_string(access));
	rt_edit_append(&import->edit, RESOURCES "devices", rule);
}

/* A device, or a directory of them, of the host at a path of the container. */
struct placing {
	struct rt_import *import;
	const char *from, *to, *access;
};

static void place_device(void *visitor, const struct rt_import_device *found)
{
	const struct placing *placing = visitor;
	struct rt_import *import = placing->import;
	size_t prefix = strlen(placing->from);
	const char *rest = strncmp(found->path, placing->from, prefix) == 0 ? found->path + prefix : "";
	json_t *device = json_object();
	char *path = rt_arena_printf(&import->edit.arena, "%s%s", placing->to, rest);

	rt_import_put(import, device, "path", path ? json_string(path) : NULL);
	rt_import_put(import, device, "type", json_stringn(&found->type, 1));
	rt_import_put(import, device, "major", json_integer(found->major));
	rt_import_put(import, device, "minor", json_integer(found->minor));
	rt_import_put(import, device, "fileMode", json_integer(found->mode));
	rt_import_put(import, device, "uid", json_integer(found->uid));
	rt_import_put(import, device, "gid", json_integer(found->gid));
	rt_edit_replace(&import->edit, "linux.devices", "path", device);
	if (placing->access)
		add_rule(import, true, found->type, found->major, found->minor, placing->access);
}

/* podman doesn't show "/dev/fuse:/dev/fuse:r", but in its command line. */
static const char *access_of(struct rt_import *import, const char *shown, const char *path)
{
	const char *text;

	if (shown)
		return shown;
	for (size_t i = 0; (text = rt_import_created_with(import, "--device", i)); i++) {
		const char *colon = strrchr(text, ':');

		if (rt_str_starts(text, path) && colon && colon[1] && !colon[1 + strspn(colon + 1, "rwm")])
			return colon + 1;
	}
	return "rwm";
}

static void import_device(struct rt_import *import, const struct rt_json *entry)
{
	const char *from = rt_import_text(import, entry, "PathOnHost"), *to = rt_import_text(import, entry, "PathInContainer");
	const char *access = rt_import_text(import, entry, "CgroupPermissions");
	struct placing placing = { import, from, to ? to : from, NULL };
	const struct rt_import_host *host = &import->options->host;
	struct rt_error *err;

	if (!from)
		return;
	placing.access = access_of(import, access, from);
	err = host->find_devices(host->userdata, from, place_device, &placing);
	if (err)
		rt_edit_reject(&import->edit, rt_while(err, "reading 'HostConfig.Devices'"));
}

/* "c 10:* rwm" */
static void import_rule(struct rt_import *import, const char *text)
{
	char type, major[16], minor[16], access[8];
	uint64_t numbers[2] = { 0, 0 };

	if (sscanf(text, "%c %15[0-9*]:%15[0-9*] %7s", &type, major, minor, access) != 4 || !strchr("abc", type) ||
	    (!rt_str_equal(major, "*") && !rt_str_to_u64(major, &numbers[0])) ||
	    (!rt_str_equal(minor, "*") && !rt_str_to_u64(minor, &numbers[1]))) {
		rt_edit_fail(&import->edit, RT_CONFIG, "'HostConfig.DeviceCgroupRules' has '%s', which is no rule such as 'c 10:* rwm'", text);
		return;
	}
	add_rule(import, true, type, rt_str_equal(major, "*") ? -1 : (int64_t)numbers[0], rt_str_equal(minor, "*") ? -1 : (int64_t)numbers[1],
		 access);
}

void rt_import_devices(struct rt_import *import)
{
	struct rt_json list = rt_import_array(import, &import->host, "Devices");
	struct rt_json rules = rt_import_array(import, &import->host, "DeviceCgroupRules");
	const struct rt_import_host *host = &import->options->host;
	struct placing all = { import, "/dev", "/dev", NULL };
	const char *text;

	add_rule(import, import->privileged, 'a', -1, -1, "rwm");
	/* In a user namespace nobody can make them. */
	if (import->privileged && !import->user_namespace) {
		struct rt_error *err = host->find_devices(host->userdata, "/dev", place_device, &all);

		if (err)
			rt_edit_reject(&import->edit, rt_while(err, "listing the devices of the host for 'HostConfig.Privileged'"));
	}
	for (size_t i = 0; i < rt_json_count(&list) && !import->edit.err; i++) {
		struct rt_json entry = rt_json_element(&list, i);

		import_device(import, &entry);
	}
	for (size_t i = 0; i < rt_json_count(&rules) && !import->edit.err; i++) {
		text = rt_import_element(import, &rules, i);
		if (text)
			import_rule(import, text);
	}
	for (size_t i = 0; (text = rt_import_created_with(import, "--device-cgroup-rule", i)); i++)
		import_rule(import, text);
}
