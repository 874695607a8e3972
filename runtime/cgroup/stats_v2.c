#include "runtime/base/str.h"
#include "runtime/cgroup/stats.h"

static bool in_v1(const struct rt_cgroup *cgroup, const char *controller)
{
	return rt_cgroup_place(cgroup, controller) != NULL;
}

/* v2 counts in microseconds, the JSON in nanoseconds. */
static struct rt_error *add_us(json_t *object, const char *key, const char *text, const char *line)
{
	uint64_t value;

	return rt_flat_value(text, line, &value) ? rt_stats_add(object, key, value * 1000) : NULL;
}

static struct rt_error *add_cpu(json_t *stats, const struct rt_cgroup_place *place)
{
	json_t *cpu = rt_stats_object(stats, "cpu");
	json_t *usage = cpu ? rt_stats_object(cpu, "usage") : NULL, *throttling = cpu ? rt_stats_object(cpu, "throttling") : NULL;
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_place_read(place, "cpu.stat", &text);
	uint64_t value;

	if (!usage || !throttling)
		return err ? err : rt_error_oom();
	if (!err)
		err = add_us(usage, "total", text, "usage_usec");
	if (!err)
		err = add_us(usage, "user", text, "user_usec");
	if (!err)
		err = add_us(usage, "kernel", text, "system_usec");
	if (!err && rt_flat_value(text, "nr_periods", &value))
		err = rt_stats_add(throttling, "periods", value);
	if (!err && rt_flat_value(text, "nr_throttled", &value))
		err = rt_stats_add(throttling, "throttledPeriods", value);
	return err ? err : add_us(throttling, "throttledTime", text, "throttled_usec");
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", and "full". */
static struct rt_error *add_pressure(json_t *stats, const char *key, const struct rt_cgroup_place *place, const char *file)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_place_read(place, file, &text);
	json_t *object, *psi;

	/* Where the kernel was told not to measure, reading says EOPNOTSUPP. */
	if (err || !text) {
		rt_error_free(err);
		return NULL;
	}
	object = rt_stats_object(stats, key);
	psi = object ? rt_stats_object(object, "psi") : NULL;
	for (const char *line = text; psi && line && *line;) {
		const char *newline = strchr(line, '\n');
		double avg10, avg60, avg300;
		unsigned long long total;
		char kind[8];

		if (sscanf(line, "%7s avg10=%lf avg60=%lf avg300=%lf total=%llu", kind, &avg10, &avg60, &avg300, &total) == 5 &&
		    json_object_set_new(psi, kind, json_pack("{s:f, s:f, s:f, s:I}", "avg10", avg10, "avg60", avg60, "avg300",
							     avg300, "total", (json_int_t)total)) < 0)
			return rt_error_oom();
		line = newline ? newline + 1 : NULL;
	}
	return psi ? NULL : rt_error_oom();
}

static uint64_t line_of(const char *text, const char *key)
{
	uint64_t value = 0;

	rt_flat_value(text, key, &value);
	return value;
}

/* runc's "swap" is memory and swap, as v1 counts them. */
static struct rt_error *add_swap(json_t *swap, const struct rt_cgroup_place *place, uint64_t usage, uint64_t limit)
{
	uint64_t swap_usage = 0, swap_limit = 0;
	bool found;
	struct rt_error *err = rt_place_read_u64(place, "memory.swap.current", &swap_usage, &found);

	if (!err && found)
		err = rt_place_read_u64(place, "memory.swap.max", &swap_limit, NULL);
	if (err || !found)
		return err;
	if (limit == UINT64_MAX || swap_limit == UINT64_MAX)
		swap_limit = UINT64_MAX;
	else
		swap_limit += limit;
	err = rt_stats_add(swap, "usage", usage + swap_usage);
	return err ? err : rt_stats_add(swap, "limit", swap_limit);
}

static struct rt_error *add_memory(json_t *stats, const struct rt_cgroup_place *place)
{
	json_t *memory = rt_stats_object(stats, "memory");
	json_t *usage = memory ? rt_stats_object(memory, "usage") : NULL, *raw = memory ? rt_stats_object(memory, "raw") : NULL;
	json_t *swap = memory ? rt_stats_object(memory, "swap") : NULL;
	_cleanup_free_ char *text = NULL, *events = NULL;
	uint64_t now = 0, limit = UINT64_MAX;
	struct rt_error *err;
	bool found;

	if (!usage || !raw || !swap)
		return rt_error_oom();
	err = rt_place_read_u64(place, "memory.current", &now, &found);
	if (err || !found)
		return err;
	err = rt_place_read_u64(place, "memory.max", &limit, NULL);
	if (!err)
		err = rt_place_read(place, "memory.stat", &text);
	if (!err)
		err = rt_place_read(place, "memory.events", &events);
	if (!err)
		err = rt_stats_add(usage, "usage", now);
	if (!err)
		err = rt_stats_add(usage, "limit", limit);
	if (!err)
		err = rt_stats_add_file(usage, "max", place, "memory.peak");
	if (!err)
		err = rt_stats_add(usage, "failcnt", line_of(events, "max"));
	if (!err)
		err = rt_stats_add(memory, "cache", line_of(text, "file"));
	if (!err)
		err = add_swap(swap, place, now, limit);
	return err ? err : rt_stats_add_lines(raw, text);
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
	return err || limit == UINT64_MAX ? err : rt_stats_add(pids, "limit", limit);
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6". */
static struct rt_error *add_io_line(json_t *blkio, char *line)
{
	static const struct {
		const char *name, *key, *op;
	} kinds[] = {
		{ "rbytes=", "ioServiceBytesRecursive", "Read" },   { "wbytes=", "ioServiceBytesRecursive", "Write" },
		{ "dbytes=", "ioServiceBytesRecursive", "Discard" }, { "rios=", "ioServicedRecursive", "Read" },
		{ "wios=", "ioServicedRecursive", "Write" },         { "dios=", "ioServicedRecursive", "Discard" },
	};
	struct rt_error *err = NULL;
	unsigned major, minor;
	char *save = NULL;

	if (sscanf(line, "%u:%u", &major, &minor) != 2)
		return NULL;
	for (char *word = strtok_r(line, " ", &save); !err && word; word = strtok_r(NULL, " ", &save))
		for (size_t i = 0; !err && i < RT_ARRAY_SIZE(kinds); i++)
			if (rt_str_starts(word, kinds[i].name))
				err = rt_stats_add_io(blkio, kinds[i].key, major, minor, kinds[i].op,
						      strtoull(word + strlen(kinds[i].name), NULL, 10));
	return err;
}

static struct rt_error *add_io(json_t *stats, const struct rt_cgroup_place *place)
{
	json_t *blkio = rt_stats_object(stats, "blkio");
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_place_read(place, "io.stat", &text);
	char *save = NULL;

	if (!blkio)
		return err ? err : rt_error_oom();
	if (err || !text)
		return err;
	for (char *line = strtok_r(text, "\n", &save); !err && line; line = strtok_r(NULL, "\n", &save))
		err = add_io_line(blkio, line);
	return err;
}

static struct rt_error *add_cpuset(json_t *stats, const struct rt_cgroup_place *place)
{
	_cleanup_free_ char *cpus = NULL, *mems = NULL;
	struct rt_error *err = rt_place_read(place, "cpuset.cpus.effective", &cpus);
	json_t *cpuset;

	if (!err)
		err = rt_place_read(place, "cpuset.mems.effective", &mems);
	if (err || !cpus)
		return err;
	cpuset = rt_stats_object(stats, "cpuset");
	if (!cpuset)
		return rt_error_oom();
	err = rt_stats_add_list(cpuset, "cpus", cpus);
	return err || !mems ? err : rt_stats_add_list(cpuset, "mems", mems);
}

struct rt_error *rt_stats_v2(const struct rt_cgroup *cgroup, json_t *stats)
{
	const struct rt_cgroup_place *place = rt_cgroup_v2_place(cgroup);
	struct rt_error *err = NULL;

	if (!place)
		return NULL;
	if (!in_v1(cgroup, "cpuacct"))
		err = add_cpu(stats, place);
	if (!err)
		err = add_pressure(stats, "cpu", place, "cpu.pressure");
	if (!err && !in_v1(cgroup, "cpuset"))
		err = add_cpuset(stats, place);
	if (!err && !in_v1(cgroup, "memory"))
		err = add_memory(stats, place);
	if (!err)
		err = add_pressure(stats, "memory", place, "memory.pressure");
	if (!err && !in_v1(cgroup, "pids"))
		err = add_pids(stats, place);
	if (!err && !in_v1(cgroup, "blkio"))
		err = add_io(stats, place);
	if (!err)
		err = add_pressure(stats, "blkio", place, "io.pressure");
	if (!err && !in_v1(cgroup, "hugetlb"))
		err = rt_stats_add_hugepages(place, "current", NULL, NULL, stats);
	return err;
}
