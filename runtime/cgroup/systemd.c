#include "runtime/cgroup/systemd.h"

#include "runtime/base/helper.h"
#include "runtime/base/proc.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/path.h"
#include "runtime/cgroup/systemd_properties.h"


#include <stdio.h>

#define HELPER "rt-systemd"
/* The helper itself waits 30 s for a job; this is for a bus that doesn't answer. */
#define HELPER_TIMEOUT_MS 45000

struct rt_systemd_plan {
	struct rt_cgroup_request request; /* its pointers are borrowed until the unit has started */
	struct rt_unit_name name;
};

/* A text that grows, for the helper's standard input. */
struct lines {
	FILE *stream;
	char *text;
	size_t size;
};

static struct rt_error *lines_open(struct lines *lines)
{
	lines->stream = open_memstream(&lines->text, &lines->size);
	return lines->stream ? NULL : rt_error_oom();
}

static struct rt_error *lines_finish(struct lines *lines)
{
	FILE *stream = rt_take_ptr(lines->stream);

	return fclose(stream) == 0 ? NULL : rt_error_oom();
}

static void lines_deinit(struct lines *lines)
{
	rt_fclosep(&lines->stream);
	rt_freep(&lines->text);
}

const struct rt_cgroup_request *rt_systemd_request(const struct rt_cgroup *cgroup)
{
	return &cgroup->systemd->request;
}

bool rt_systemd_is_slice(const struct rt_cgroup *cgroup)
{
	return cgroup->systemd->name.is_slice;
}

static bool is_v2(const struct rt_cgroup *cgroup)
{
	return cgroup->layout == RT_CGROUP_V2;
}

static struct rt_error *run_helper(const struct rt_cgroup *cgroup, const char *verb, const struct lines *lines)
{
	static const char *const kept[] = { "DBUS_SESSION_BUS_ADDRESS=", "DBUS_SYSTEM_BUS_ADDRESS=", "XDG_RUNTIME_DIR=" };
	const char *argv[] = { HELPER, cgroup->rootless ? "--user" : "--system", verb, cgroup->unit, NULL };
	const char *envp[RT_ARRAY_SIZE(kept) + 1];
	struct rt_run_options options = {
		.argv = argv, .envp = envp, .input = lines ? lines->text : NULL, .input_size = lines ? lines->size : 0,
		.timeout_ms = HELPER_TIMEOUT_MS,
	};
	size_t count = 0;
	_cleanup_free_ char *path = NULL;
	struct rt_error *err = rt_helper_find(HELPER, "runtime", "cgroups of systemd", &path);

	if (err)
		return err;
	for (char **at = environ; *at; at++)
		for (size_t i = 0; i < RT_ARRAY_SIZE(kept) && count < RT_ARRAY_SIZE(kept); i++)
			if (rt_str_starts(*at, kept[i]))
				envp[count++] = *at;
	envp[count] = NULL;
	options.path = path;
	err = rt_run_program(&options);
	return err ? rt_while(err, "systemd unit '%s'", cgroup->unit) : NULL;
}

struct rt_error *rt_systemd_plan(const struct rt_cgroup_request *request, struct rt_cgroup *cgroup, const char **ret_path)
{
	struct rt_systemd_plan *plan = rt_arena_calloc(&cgroup->arena, 1, sizeof(*plan));
	_cleanup_(lines_deinit) struct lines checked = { NULL };
	struct rt_error *err;

	if (!plan)
		return rt_error_oom();
	plan->request = *request;
	err = rt_cgroup_unit_name(request->path, request->id, request->rootless, &cgroup->arena, &plan->name);
	if (!err)
		err = lines_open(&checked);
	/* A bad annotation should fail before there is a process. */
	for (size_t i = 0; !err && i < request->annotation_count; i++)
		err = rt_properties_annotation(checked.stream, &request->annotations[i]);
	if (err)
		return err;
	cgroup->systemd = plan;
	cgroup->unit = plan->name.unit;
	*ret_path = plan->name.path;
	return NULL;
}

static void put_ordinary(FILE *out, const struct rt_systemd_plan *plan, bool v2, pid_t pid)
{
	static const char *const accounting[] = { "CPUAccounting", "MemoryAccounting", "TasksAccounting" };

	fprintf(out, "Description\ts\t0\trt container %s\n", plan->request.id);
	if (plan->name.is_slice) {
		fprintf(out, "Wants\tas\t0\t%s\n", plan->name.slice);
	} else {
		fprintf(out, "Slice\ts\t0\t%s\n", plan->name.slice);
		fprintf(out, "Delegate\tb\t0\t1\n");
		fprintf(out, "PIDs\tau\t0\t%d\n", pid);
	}
	/* Else the container would be stopped early in a shutdown, before those who depend on it. */
	fputs("DefaultDependencies\tb\t0\t0\n", out);
	for (size_t i = 0; i < RT_ARRAY_SIZE(accounting); i++)
		fprintf(out, "%s\tb\t0\t1\n", accounting[i]);
	fprintf(out, "%s\tb\t0\t1\n", v2 ? "IOAccounting" : "BlockIOAccounting");
}

struct rt_error *rt_systemd_start(const struct rt_cgroup *cgroup, pid_t pid)
{
	const struct rt_systemd_plan *plan = cgroup->systemd;
	_cleanup_(lines_deinit) struct lines lines = { NULL };
	struct rt_error *err = lines_open(&lines);

	if (err)
		return err;
	put_ordinary(lines.stream, plan, is_v2(cgroup), pid);
	if (plan->request.resources)
		err = rt_properties_limits(lines.stream, plan->request.resources, is_v2(cgroup));
	if (!err && !cgroup->rootless)
		err = rt_properties_devices(lines.stream, plan->request.resources);
	for (size_t i = 0; !err && i < plan->request.annotation_count; i++)
		err = rt_properties_annotation(lines.stream, &plan->request.annotations[i]);
	if (!err)
		err = lines_finish(&lines);
	return err ? err : run_helper(cgroup, "start", &lines);
}

struct rt_error *rt_systemd_update(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources)
{
	_cleanup_(lines_deinit) struct lines lines = { NULL };
	struct rt_error *err = lines_open(&lines);

	if (!err)
		err = rt_properties_limits(lines.stream, resources, is_v2(cgroup));
	if (!err && !cgroup->rootless && resources->device_count > 0)
		err = rt_properties_devices(lines.stream, resources);
	if (!err)
		err = lines_finish(&lines);
	if (err || lines.size == 0)
		return err;
	return run_helper(cgroup, "set", &lines);
}

struct rt_error *rt_systemd_stop(const struct rt_cgroup *cgroup)
{
	return run_helper(cgroup, "stop", NULL);
}
