/* Any bytes at all give a spec or one sentence, by every way into the loader, and leave nothing behind.
 *
 * What loads is walked the way the next layers do: a count that lies, or a required string that is NULL, crashes here.
 */
#include "runtime/base/log.h"
#include "runtime/spec/spec.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct rt_log_options quiet = {.path = "/dev/null"};

	rt_error_free(rt_log_open(&quiet));
	return 0;
}

static size_t weigh(const char *const *strings, size_t count)
{
	size_t weight = 0;

	for (size_t i = 0; i < count; i++)
		weight += strlen(strings[i]);
	assert(count == 0 || strings[count] == NULL);
	return weight;
}

static size_t walk_process(const struct rt_spec_process *process)
{
	size_t weight = weigh(process->args, process->arg_count) + weigh(process->env, process->env_count);

	assert(process->cwd[0] == '/');
	for (size_t i = 0; i < process->rlimit_count; i++)
		weight += strlen(process->rlimits[i].name);
	for (size_t i = 0; i < process->user.additional_gid_count; i++)
		weight += process->user.additional_gids[i];
	return weight;
}

static size_t walk_resources(const struct rt_spec_resources *resources)
{
	size_t weight = 0;

	for (size_t i = 0; i < resources->device_count; i++)
		assert(strchr("abc", resources->devices[i].type));
	for (size_t i = 0; i < resources->hugepage_limit_count; i++)
		weight += strlen(resources->hugepage_limits[i].page_size);
	for (size_t i = 0; i < resources->network_priority_count; i++)
		weight += strlen(resources->network_priorities[i].name);
	for (size_t i = 0; i < resources->rdma_count; i++)
		weight += strlen(resources->rdma[i].device);
	for (size_t i = 0; i < resources->unified_count; i++)
		assert(!strchr(resources->unified[i].key, '/') && resources->unified[i].value);
	return weight;
}

static size_t walk_linux(const struct rt_spec *spec)
{
	size_t weight = weigh(spec->masked_paths, spec->masked_path_count) +
			weigh(spec->readonly_paths, spec->readonly_path_count) +
			weigh(spec->seccomp.architectures, spec->seccomp.architecture_count) +
			weigh(spec->seccomp.flags, spec->seccomp.flag_count);

	for (size_t i = 0; i < spec->device_count; i++)
		assert(spec->devices[i].type && spec->devices[i].path[0] == '/');
	for (size_t i = 0; i < spec->net_device_count; i++)
		assert(strlen(spec->net_devices[i].host_name) < 16);
	for (size_t i = 0; i < spec->sysctl_count; i++)
		assert(!strstr(spec->sysctl[i].key, "/../") && spec->sysctl[i].value);
	for (size_t i = 0; i < spec->seccomp.rule_count; i++)
		weight += weigh(spec->seccomp.rules[i].names, spec->seccomp.rules[i].name_count);
	assert(!spec->namespaces[RT_NS_USER].wanted || spec->namespaces[RT_NS_USER].path ||
	       spec->uid_mappings.count > 0);
	return weight;
}

static size_t walk(const struct rt_spec *spec)
{
	size_t weight = strlen(spec->oci_version) + strlen(spec->root_path);

	if (spec->has_process)
		weight += walk_process(&spec->process);
	for (size_t i = 0; i < spec->mount_count; i++)
		weight += strlen(spec->mounts[i].destination) +
			  weigh(spec->mounts[i].options, spec->mounts[i].option_count);
	for (int kind = 0; kind < RT_HOOK_KINDS; kind++)
		for (size_t i = 0; i < spec->hooks[kind].count; i++)
			assert(spec->hooks[kind].entries[i].path[0] == '/');
	for (size_t i = 0; i < spec->annotation_count; i++)
		weight += strlen(spec->annotations[i].key) + strlen(spec->annotations[i].value);
	return weight + walk_linux(spec) + walk_resources(&spec->resources);
}

struct audit {
	size_t violations;
};

static void count(void *userdata, const struct rt_spec_finding *finding)
{
	struct audit *audit = userdata;

	assert(finding->message[0] && finding->section[0] && finding->path);
	audit->violations += finding->severity == RT_SPEC_VIOLATION;
}

/* The audit finds a violation where the loader refuses, and only there. */
static void compare_with_audit(const char *text, size_t size, const struct rt_error *err)
{
	struct audit audit = {.violations = 0};
	const struct rt_spec_visitor visitor = {count, &audit};
	struct rt_error *no_document = rt_spec_audit(text, size, "fuzz", &visitor);

	assert(!no_document || err);
	assert(no_document || (err != NULL) == (audit.violations > 0));
	rt_error_free(no_document);
}

static volatile size_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct rt_spec *spec = NULL, *process = NULL, *resources = NULL;
	struct rt_error *err = rt_spec_load_text(text, size, "fuzz", &spec);

	assert((err == NULL) == (spec != NULL));
	assert(!err || err->code == RT_CONFIG);
	if (spec)
		sink = walk(spec);
	compare_with_audit(text, size, err);
	rt_error_free(err);
	rt_spec_free(spec);

	rt_error_free(rt_spec_load_process(text, size, "fuzz", &process));
	if (process)
		sink = walk_process(&process->process);
	rt_spec_free(process);

	rt_error_free(rt_spec_load_resources(text, size, "fuzz", &resources));
	if (resources)
		sink = walk_resources(&resources->resources);
	rt_spec_free(resources);
	return 0;
}
