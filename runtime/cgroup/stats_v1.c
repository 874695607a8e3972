#include "runtime/base/str.h"
#include "runtime/cgroup/stats.h"

#include <ctype.h>

/* Ticks of cpuacct.stat: USER_HZ is 100 on every architecture but alpha and ia64. */
#define NS_PER_TICK 10000000

struct file_of_key {
	const char *key, *file;
};

static struct rt_error *add_files(json_t *object, const struct rt_cgroup_place *place, const struct file_of_key *files, size_t count)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && i < count; i++)
		err = rt_stats_add_file(object, files[i].key, place, files[i].file);
	return err;
}

/* Numbers in a row, or one column of cpuacct.usage_all's table. */
static struct rt_error *add_percpu(json_t *usage, const struct rt_cgroup_place *place)
{
	_cleanup_free_ char *all = NULL, *row = NULL;
	json_t *user = json_array(), *kernel = json_array(), *total = json_array();
	struct rt_error *err = NULL;
	char *save = NULL;

	if (json_object_set_new(usage, "percpu", total) < 0 || json_object_set_new(usage, "percpu_kernel", kernel) < 0 ||
	    json_object_set_new(usage, "percpu_user", user) < 0)
		return rt_error_oom();
	err = rt_place_read(place, "cpuacct.usage_percpu", &row);
	if (!err)
		err = rt_place_read(place, "cpuacct.usage_all", &all);
	if (err)
		return err;
	for (char *word = row ? strtok_r(row, " \n", &save) : NULL; word; word = strtok_r(NULL, " \n", &save))
		json_array_append_new(total, json_integer((json_int_t)strtoull(word, NULL, 10)));
	for (char *line = all ? strtok_r(all, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long long u, s;

		if (sscanf(line, "%*u %llu %llu", &u, &s) != 2)
			continue;
		json_array_append_new(user, json_integer((json_int_t)u));
		json_array_append_new(kernel, json_integer((json_int_t)s));
	}
	return NULL;
}

static struct rt_error *add_cpuacct(json_t *cpu, const struct rt_cgroup_place *place)
{
	json_t *usage = rt_stats_object(cpu, "usage");
	_cleanup_free_ char *text = NULL;
	uint64_t user = 0, kernel = 0;
	struct rt_error *err;

	if (!usage)
		return rt_error_oom();
	err = rt_stats_add_file(usage, "total", place, "cpuacct.usage");
	if (!err)
		err = add_percpu(usage, place);
	if (!err)
		err = rt_place_read(place, "cpuacct.stat", &text);
	if (err)
		return err;
	rt_flat_value(text, "user", &user);
	rt_flat_value(text, "system", &kernel);
	err = rt_stats_add(usage, "user", user * NS_PER_TICK);
	return err ? err : rt_stats_add(usage, "kernel", kernel * NS_PER_TICK);
}

static struct rt_error *add_throttling(json_t *cpu, const struct rt_cgroup_place *place)
{
	static const struct file_of_key lines[] = {
		{ "periods", "nr_periods" }, { "throttledPeriods", "nr_throttled" }, { "throttledTime", "throttled_time" },
	};
	json_t *throttling = rt_stats_object(cpu, "throttling");
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_place_read(place, "cpu.stat", &text);

	if (!throttling)
		return err ? err : rt_error_oom();
	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(lines); i++) {
		uint64_t value = 0;

		if (rt_flat_value(text, lines[i].file, &value))
			err = rt_stats_add(throttling, lines[i].key, value);
	}
	return err;
}

static struct rt_error *add_cpuset(json_t *stats, const struct rt_cgroup_place *place)
{
	static const struct file_of_key files[] = {
		{ "cpu_exclusive", "cpuset.cpu_exclusive" }, { "mem_exclusive", "cpuset.mem_exclusive" },
		{ "mem_hardwall", "cpuset.mem_hardwall" }, { "memory_migrate", "cpuset.memory_migrate" },
		{ "memory_spread_page", "cpuset.memory_spread_page" }, { "memory_spread_slab", "cpuset.memory_spread_slab" },
		{ "memory_pressure", "cpuset.memory_pressure" }, { "sched_load_balance", "cpuset.sched_load_balance" },
	};
	json_t *cpuset = rt_stats_object(stats, "cpuset");
	_cleanup_free_ char *cpus = NULL, *mems = NULL, *level = NULL;
	struct rt_error *err;

	if (!cpuset)
		return rt_error_oom();
	err = rt_place_read(place, "cpuset.cpus", &cpus);
	if (!err)
		err = rt_place_read(place, "cpuset.mems", &mems);
	if (!err)
		err = rt_place_read(place, "cpuset.sched_relax_domain_level", &level);
	if (!err && cpus)
		err = rt_stats_add_list(cpuset, "cpus", cpus);
	if (!err && mems)
		err = rt_stats_add_list(cpuset, "mems", mems);
	if (!err && level && json_object_set_new(cpuset, "sched_relax_domain_level", json_integer(atoi(level))) < 0)
		err = rt_error_oom();
	return err ? err : add_files(cpuset, place, files, RT_ARRAY_SIZE(files));
}

static struct rt_error *add_memory_kind(json_t *memory, const char *key, const struct rt_cgroup_place *place, const char *prefix)
{
	static const struct file_of_key files[] = {
		{ "limit", "limit_in_bytes" }, { "usage", "usage_in_bytes" }, { "max", "max_usage_in_bytes" }, { "failcnt", "failcnt" },
	};
	json_t *object = rt_stats_object(memory, key);
	struct rt_error *err = NULL;

	if (!object)
		return rt_error_oom();
	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(files); i++) {
		char file[64];

		snprintf(file, sizeof(file), "%s.%s", prefix, files[i].file);
		err = rt_stats_add_file(object, files[i].key, place, file);
	}
	return err;
}

static struct rt_error *add_memory(json_t *stats, const struct rt_cgroup_place *place)
{
	static const struct file_of_key kinds[] = {
		{ "usage", "memory" }, { "swap", "memory.memsw" }, { "kernel", "memory.kmem" }, { "kernelTCP", "memory.kmem.tcp" },
	};
	json_t *memory = rt_stats_object(stats, "memory"), *raw = memory ? rt_stats_object(memory, "raw") : NULL;
	_cleanup_free_ char *text = NULL;
	uint64_t cache = 0;
	struct rt_error *err = rt_place_read(place, "memory.stat", &text);

	if (!raw)
		return err ? err : rt_error_oom();
	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(kinds); i++)
		err = add_memory_kind(memory, kinds[i].key, place, kinds[i].file);
	if (!err)
		err = rt_stats_add_lines(raw, text);
	if (!err && rt_flat_value(text, "cache", &cache))
		err = rt_stats_add(memory, "cache", cache);
	return err;
}

static struct rt_error *add_pids(json_t *stats, const struct rt_cgroup_place *place)
{
	json_t *pids = rt_stats_object(stats, "pids");
	uint64_t limit = UINT64_MAX;
	struct rt_error *err;

	if (!pids)
		return rt_error_oom();
	err = rt_stats_add_file(pids, "current", place, "pids.current");
	if (!err)
		err = rt_place_read_u64(place, "pids.max", &limit, NULL);
	/* runc leaves "max" out. */
	return err || limit == UINT64_MAX ? err : rt_stats_add(pids, "limit", limit);
}

/* "8:0 Read 4096" lines; the "Total" at the end has no device. */
static struct rt_error *add_io_file(json_t *blkio, const char *key, const char *text)
{
	struct rt_error *err = NULL;

	for (const char *line = text; !err && line && *line;) {
		const char *newline = strchr(line, '\n');
		unsigned major, minor;
		unsigned long long value;
		char op[32];

		if (isdigit((unsigned char)*line) && sscanf(line, "%u:%u %31s %llu", &major, &minor, op, &value) == 4)
			err = rt_stats_add_io(blkio, key, major, minor, op, value);
		line = newline ? newline + 1 : NULL;
	}
	return err;
}

/* Counters of BFQ where it has any, else the throttling layer's, which sees every device. */
static struct rt_error *add_blkio(json_t *stats, const struct rt_cgroup_place *place)
{
	static const struct {
		const char *key, *files[2];
	} kinds[] = {
		{ "ioServiceBytesRecursive", { "blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive" } },
		{ "ioServicedRecursive", { "blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive" } },
		{ "ioQueueRecursive", { "blkio.bfq.io_queued_recursive", NULL } },
		{ "ioServiceTimeRecursive", { "blkio.bfq.io_service_time_recursive", NULL } },
		{ "ioWaitTimeRecursive", { "blkio.bfq.io_wait_time_recursive", NULL } },
		{ "ioMergedRecursive", { "blkio.bfq.io_merged_recursive", NULL } },
	};
	json_t *blkio = rt_stats_object(stats, "blkio");
	struct rt_error *err = NULL;

	if (!blkio)
		return rt_error_oom();
	for (size_t i = 0; !err && i < RT_ARRAY_SIZE(kinds); i++) {
		for (size_t j = 0; !err && j < 2 && kinds[i].files[j] && !json_object_get(blkio, kinds[i].key); j++) {
			_cleanup_free_ char *text = NULL;

			err = rt_place_read(place, kinds[i].files[j], &text);
			if (!err)
				err = add_io_file(blkio, kinds[i].key, text);
		}
	}
	return err;
}

struct rt_error *rt_stats_v1(const struct rt_cgroup *cgroup, json_t *stats)
{
	const struct rt_cgroup_place *place;
	json_t *cpu = rt_stats_object(stats, "cpu");
	struct rt_error *err = NULL;

	if (!cpu)
		return rt_error_oom();
	if ((place = rt_cgroup_place(cgroup, "cpuacct")))
		err = add_cpuacct(cpu, place);
	if (!err && (place = rt_cgroup_place(cgroup, "cpu")))
		err = add_throttling(cpu, place);
	if (!err && (place = rt_cgroup_place(cgroup, "cpuset")))
		err = add_cpuset(stats, place);
	if (!err && (place = rt_cgroup_place(cgroup, "memory")))
		err = add_memory(stats, place);
	if (!err && (place = rt_cgroup_place(cgroup, "pids")))
		err = add_pids(stats, place);
	if (!err && (place = rt_cgroup_place(cgroup, "blkio")))
		err = add_blkio(stats, place);
	if (!err && (place = rt_cgroup_place(cgroup, "hugetlb")))
		err = rt_stats_add_hugepages(place, "usage_in_bytes", "max_usage_in_bytes", "failcnt", stats);
	return err;
}
