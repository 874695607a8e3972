#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cmd/command.h"
#include "runtime/cmd/resources.h"

#include <fcntl.h>

/* One row a limit: name, option, kind, its place in a resources object, and what the help says of it. */
#define LIMITS(ROW)											\
	ROW(blkio_weight, "blkio-weight", COUNT, "blockIO", "weight", "N",				\
	    "share of block I/O, 10 to 1000")								\
	ROW(cpu_burst, "cpu-burst", COUNT, "cpu", "burst", "USEC",					\
	    "CPU time saved up to use beyond the quota")						\
	ROW(cpu_idle, "cpu-idle", NUMBER, "cpu", "idle", "0|1",						\
	    "1: run only when nobody else wants the CPU")						\
	ROW(cpu_period, "cpu-period", COUNT, "cpu", "period", "USEC",					\
	    "period in which the quota counts")								\
	ROW(cpu_quota, "cpu-quota", NUMBER, "cpu", "quota", "USEC",					\
	    "CPU time in a period; -1: unlimited")							\
	ROW(cpu_rt_period, "cpu-rt-period", COUNT, "cpu", "realtimePeriod", "USEC",			\
	    "period in which the real-time quota counts")						\
	ROW(cpu_rt_runtime, "cpu-rt-runtime", NUMBER, "cpu", "realtimeRuntime", "USEC",			\
	    "CPU time of real-time tasks in a period")							\
	ROW(cpu_share, "cpu-share", COUNT, "cpu", "shares", "N", "CPU weight against other containers")	\
	ROW(cpuset_cpus, "cpuset-cpus", TEXT, "cpu", "cpus", "LIST", "CPUs to run on, such as 0-3,7")	\
	ROW(cpuset_mems, "cpuset-mems", TEXT, "cpu", "mems", "LIST", "NUMA nodes to take memory from")	\
	ROW(memory, "memory", SIZE, "memory", "limit", "BYTES",						\
	    "memory, also as 512m or 2g; -1: unlimited")						\
	ROW(memory_reservation, "memory-reservation", SIZE, "memory", "reservation", "BYTES",		\
	    "memory to keep when others need it")							\
	ROW(memory_swap, "memory-swap", SIZE, "memory", "swap", "BYTES",				\
	    "memory and swap together; -1: unlimited")							\
	ROW(pids_limit, "pids-limit", NUMBER, "pids", "limit", "N",					\
	    "number of processes and threads; -1: unlimited")

#define AS_INDEX(name, ...) LIMIT_##name,
enum { LIMITS(AS_INDEX) LIMIT_COUNT };

#define AS_WORD(name, option, kind, section, key, ...) { option, RT_RESOURCE_##kind, section, key },
static const struct rt_resource_word words[LIMIT_COUNT] = { LIMITS(AS_WORD) };

struct update_values {
	const char *resources;
	const char *l3_cache_schema, *mem_bw_schema;
	const char *limits[LIMIT_COUNT];
};

enum { RESOURCES_LIMIT = 1 << 20 }; /* bytes of a resources file: far more than all limits there are */

static struct rt_error *read_resources(const char *path, char **ret, size_t *ret_size)
{
	struct rt_error *err;

	if (rt_str_equal(path, "-"))
		err = rt_read_all(STDIN_FILENO, RESOURCES_LIMIT, ret, ret_size);
	else
		err = rt_read_file_at(AT_FDCWD, path, RESOURCES_LIMIT, ret, ret_size);
	return err ? rt_while(err, "reading resources") : NULL;
}

/* The options as one resources object, in JSON. */
static struct rt_error *write_resources(const struct update_values *values, char **ret, size_t *ret_size)
{
	_cleanup_json_ json_t *resources = json_object();
	char *text;

	if (!resources)
		return rt_error_oom();
	for (size_t i = 0; i < LIMIT_COUNT; i++) {
		struct rt_error *err = NULL;

		if (values->limits[i] && *values->limits[i])
			err = rt_resource_set(resources, &words[i], values->limits[i]);
		if (err)
			return err;
	}
	text = json_dumps(resources, JSON_COMPACT);
	if (!text)
		return rt_error_oom();
	*ret_size = strlen(text);
	*ret = text;
	return NULL;
}

static void warn_unused_limits(const struct update_values *values)
{
	for (size_t i = 0; i < LIMIT_COUNT; i++)
		if (values->limits[i])
			rt_warn("option '--%s' has no effect beside '--resources', ignoring", words[i].option);
}

static struct rt_error *run_update(const struct rt_invocation *invocation, int *ret_status)
{
	static const int64_t unlimited = -1;
	const struct update_values *values = invocation->values;
	_cleanup_(rt_spec_freep) struct rt_spec *spec = NULL;
	_cleanup_free_ char *text = NULL;
	const char *source = "resources";
	struct rt_error *err;
	size_t size;

	if (values->resources) {
		source = rt_str_equal(values->resources, "-") ? "standard input" : values->resources;
		warn_unused_limits(values);
		err = read_resources(values->resources, &text, &size);
	} else {
		err = write_resources(values, &text, &size);
	}
	if (err)
		return err;
	err = rt_spec_load_resources(text, size, source, &spec);
	if (err)
		return err;
	/* Memory without a limit and swap with one contradict each other on v1: the first means both, as in runc. */
	if (spec->resources.memory.limit && *spec->resources.memory.limit == -1 && !spec->resources.memory.swap) {
		spec->resources.memory.swap = &unlimited;
		if (json_object_set_new(json_object_get(spec->json, "memory"), "swap", json_integer(unlimited)) < 0)
			return rt_error_oom();
	}
	return rt_container_update(invocation->context, invocation->operands[0], spec,
				   values->l3_cache_schema, values->mem_bw_schema);
}

#define AS_OPTION(name, option, kind, section, key, what, sentence) \
	{ option, 0, RT_OPTION_STRING, .argument = what,            \
	  .offset = offsetof(struct update_values, limits[LIMIT_##name]), .help = sentence },

static const struct rt_option options[] = {
	LIMITS(AS_OPTION)
	{ "kernel-memory", 0, RT_OPTION_STRING, RT_OPTION_HIDDEN | RT_OPTION_IGNORED, .argument = "BYTES",
	  .help = "no kernel has this limit any more" },
	{ "kernel-memory-tcp", 0, RT_OPTION_STRING, RT_OPTION_HIDDEN | RT_OPTION_IGNORED, .argument = "BYTES",
	  .help = "no kernel has this limit any more" },
	{ "l3-cache-schema", 0, RT_OPTION_STRING, .argument = "SCHEMA",
	  .offset = offsetof(struct update_values, l3_cache_schema), .help = "L3 cache schema of Intel RDT" },
	{ "mem-bw-schema", 0, RT_OPTION_STRING, .argument = "SCHEMA",
	  .offset = offsetof(struct update_values, mem_bw_schema), .help = "memory bandwidth schema of Intel RDT" },
	{ "resources", 'r', RT_OPTION_STRING, .argument = "FILE", .offset = offsetof(struct update_values, resources),
	  .help = "resources object, as in config.json; '-': from standard input" },
	{ NULL },
};

const struct rt_command rt_cmd_update = {
	.name = "update",
	.operands = "<container-id>",
	.min_operands = 1,
	.max_operands = 1,
	.summary = "change the limits of a container",
	.description =
		"Limits that are not named stay as they are.\n"
		"\n"
		"    rt update --memory 512m --pids-limit 100 web1\n"
		"    echo '{\"cpu\":{\"quota\":50000}}' | rt update --resources - web1",
	.options = options,
	.values_size = sizeof(struct update_values),
	.run = run_update,
};
