#include "runtime/spec/loader.h"

static void load_console_size(struct rt_loader *loader, const struct rt_json *process)
{
	struct rt_spec_box *box = &loader->spec->process.console_size;
	struct rt_json size = rt_load_object(loader, process, "consoleSize");

	if (!size.value)
		return;
	rt_load_needs(loader, &size, "height");
	rt_load_needs(loader, &size, "width");
	rt_load_u32(loader, &size, "height", &box->height);
	rt_load_u32(loader, &size, "width", &box->width);
	/* The kernel keeps sizes in 16 bits. */
	if (box->height > UINT16_MAX || box->width > UINT16_MAX)
		rt_load_fail(loader, &size, NULL, "must be at most %d characters high and wide", UINT16_MAX);
}

/* The kernel takes -1 for "leave it as it is": the process would stay root. */
static void load_id(struct rt_loader *loader, const struct rt_json *user, const char *key, uint32_t *id)
{
	rt_load_u32(loader, user, key, id);
	if (*id == UINT32_MAX)
		rt_load_fail(loader, user, key, "must be at most %u", UINT32_MAX - 1);
}

static void load_user(struct rt_loader *loader, const struct rt_json *process)
{
	struct rt_spec_user *user = &loader->spec->process.user;
	struct rt_json object = rt_load_object(loader, process, "user"), gids = {.key = NULL};
	uint32_t *list;

	if (!rt_json_field(&object, "uid").value)
		rt_load_remark(loader, &object, "uid", "is required by the specification; taken as 0");
	if (!rt_json_field(&object, "gid").value)
		rt_load_remark(loader, &object, "gid", "is required by the specification; taken as 0");
	load_id(loader, &object, "uid", &user->uid);
	load_id(loader, &object, "gid", &user->gid);
	user->has_umask = rt_json_field(&object, "umask").value != NULL;
	rt_load_u32(loader, &object, "umask", &user->umask);
	if (user->umask > 0777)
		rt_load_fail(loader, &object, "umask", "must be at most 0777");

	list = rt_load_array(loader, &object, "additionalGids", sizeof(*list), &gids, &user->additional_gid_count);
	for (size_t i = 0; i < user->additional_gid_count && !loader->err; i++) {
		struct rt_json gid = rt_json_element(&gids, i);
		uint64_t value = 0;

		rt_load_reject(loader, rt_json_as_u64(&gid, &value));
		if (value >= UINT32_MAX)
			rt_load_fail(loader, &gid, NULL, "must be at most %u", UINT32_MAX - 1);
		list[i] = (uint32_t)value;
	}
	user->additional_gids = list;
}

static uint64_t load_cap_set(struct rt_loader *loader, const struct rt_json *capabilities, const char *key)
{
	struct rt_json array = {.key = NULL};
	uint64_t set = 0;

	if (loader->err)
		return 0;
	rt_load_reject(loader, rt_json_get_array(capabilities, key, &array));
	for (size_t i = 0; !loader->err && i < rt_json_count(&array); i++) {
		struct rt_json element = rt_json_element(&array, i);
		const char *name = NULL;
		int cap;

		rt_load_reject(loader, rt_json_as_string(&element, &name));
		if (!name)
			continue;
		if (rt_cap_from_name(name, &cap))
			set |= UINT64_C(1) << cap;
		else
			/* config.md: must be logged, should not fail. */
			rt_load_warn(loader, &element, NULL,
				     "is a capability this runtime doesn't know, '%s', ignoring", name);
	}
	return set;
}

static void load_capabilities(struct rt_loader *loader, const struct rt_json *process)
{
	struct rt_spec_caps *caps = &loader->spec->process.capabilities;
	struct rt_json object = rt_load_object(loader, process, "capabilities");

	if (!object.value)
		return;
	caps->present = true;
	caps->bounding = load_cap_set(loader, &object, "bounding");
	caps->effective = load_cap_set(loader, &object, "effective");
	caps->inheritable = load_cap_set(loader, &object, "inheritable");
	caps->permitted = load_cap_set(loader, &object, "permitted");
	caps->ambient = load_cap_set(loader, &object, "ambient");
}

static void load_rlimits(struct rt_loader *loader, const struct rt_json *process)
{
	struct rt_spec_process *ret = &loader->spec->process;
	struct rt_json array = {.key = NULL};
	struct rt_spec_rlimit *list =
		rt_load_array(loader, process, "rlimits", sizeof(*list), &array, &ret->rlimit_count);
	uint64_t seen = 0;

	for (size_t i = 0; i < ret->rlimit_count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);
		uint64_t resource;

		if (!entry.value)
			continue;
		rt_load_needs(loader, &entry, "type");
		rt_load_needs(loader, &entry, "soft");
		rt_load_needs(loader, &entry, "hard");
		rt_load_u64(loader, &entry, "soft", &list[i].soft);
		rt_load_u64(loader, &entry, "hard", &list[i].hard);
		if (list[i].soft > list[i].hard)
			rt_load_fail(loader, &entry, "soft", "must not be above the hard limit");
		if (!rt_load_word(loader, &entry, "type", rt_words_rlimit, &resource))
			continue;
		rt_load_string(loader, &entry, "type", &list[i].name);
		list[i].resource = (int)resource;
		if (seen & (UINT64_C(1) << resource))
			rt_load_fail(loader, &entry, "type", "is given twice, %s", list[i].name);
		seen |= UINT64_C(1) << resource;
	}
	ret->rlimits = list;
}

/* The kernel's own rules (sched_setattr(2)), told before anything is made. */
static void check_scheduler(struct rt_loader *loader, const struct rt_json *object, const char *name)
{
	const struct rt_spec_scheduler *want = &loader->spec->process.scheduler;
	bool timeshared = rt_str_equal(name, "SCHED_OTHER") || rt_str_equal(name, "SCHED_BATCH");
	bool realtime = rt_str_equal(name, "SCHED_FIFO") || rt_str_equal(name, "SCHED_RR");
	bool deadline = rt_str_equal(name, "SCHED_DEADLINE");

	if (timeshared && (want->nice < -20 || want->nice > 19))
		rt_load_fail(loader, object, "nice", "must be between -20 and 19");
	if (realtime && (want->priority < 1 || want->priority > 99))
		rt_load_fail(loader, object, "priority", "must be between 1 and 99 for %s", name);
	if (!realtime && want->priority != 0)
		rt_load_fail(loader, object, "priority", "is only for SCHED_FIFO and SCHED_RR");
	if (!deadline && (want->runtime || want->deadline || want->period))
		rt_load_fail(loader, object, NULL,
			     "has runtime, deadline or period, which are only for SCHED_DEADLINE");
	if (deadline && want->runtime > want->deadline)
		rt_load_fail(loader, object, "runtime", "must not be above the deadline");
	if (deadline && want->period && want->deadline > want->period)
		rt_load_fail(loader, object, "deadline", "must not be above the period");
}

static void load_scheduler(struct rt_loader *loader, const struct rt_json *process)
{
	struct rt_spec_scheduler *ret = &loader->spec->process.scheduler;
	struct rt_json object = rt_load_object(loader, process, "scheduler");
	const char *name = NULL;
	uint64_t policy = 0;

	if (!object.value)
		return;
	ret->present = true;
	rt_load_needs(loader, &object, "policy");
	rt_load_i32(loader, &object, "nice", &ret->nice);
	rt_load_i32(loader, &object, "priority", &ret->priority);
	rt_load_word_set(loader, &object, "flags", rt_words_scheduler_flag, &ret->flags);
	rt_load_u64(loader, &object, "runtime", &ret->runtime);
	rt_load_u64(loader, &object, "deadline", &ret->deadline);
	rt_load_u64(loader, &object, "period", &ret->period);
	if (!rt_load_word(loader, &object, "policy", rt_words_scheduler_policy, &policy))
		return;
	ret->policy = (int)policy;
	rt_load_string(loader, &object, "policy", &name);
	if (name)
		check_scheduler(loader, &object, name);
}

static void load_io_priority(struct rt_loader *loader, const struct rt_json *process)
{
	struct rt_spec_process *ret = &loader->spec->process;
	struct rt_json object = rt_load_object(loader, process, "ioPriority");
	uint64_t class = 0;
	int32_t priority = 0;

	if (!object.value)
		return;
	ret->has_io_priority = true;
	rt_load_needs(loader, &object, "class");
	rt_load_needs(loader, &object, "priority");
	rt_load_word(loader, &object, "class", rt_words_io_class, &class);
	rt_load_i32(loader, &object, "priority", &priority);
	if (priority < 0 || priority > 7)
		rt_load_fail(loader, &object, "priority", "must be between 0 and 7");
	ret->io_priority_class = (int)class;
	ret->io_priority = priority;
}

static void load_cpu_list(struct rt_loader *loader, const struct rt_json *object, const char *key, const char **ret)
{
	const char *list = NULL;

	rt_load_string(loader, object, key, &list);
	if (!list)
		return;
	if (!rt_number_list_valid(list))
		rt_load_fail(loader, object, key, "must be a list of CPUs such as '0-3,7', not '%s'", list);
	*ret = list;
}

static void load_env(struct rt_loader *loader, const struct rt_json *process)
{
	static const char *const none[] = {NULL};
	struct rt_spec_process *ret = &loader->spec->process;
	struct rt_json field = rt_json_field(process, "env");

	ret->env = none;
	rt_load_strings(loader, process, "env", &ret->env, &ret->env_count);
	for (size_t i = 0; i < ret->env_count && !loader->err; i++) {
		struct rt_json entry = {.parent = &field, .index = i};

		if (ret->env[i][0] == '=' || !strchr(ret->env[i], '='))
			rt_load_fail(loader, &entry, NULL, "must be of the form NAME=value");
	}
}

static void load_oom_score_adj(struct rt_loader *loader, const struct rt_json *process)
{
	int32_t value = 0;
	int32_t *memory;

	if (!rt_json_field(process, "oomScoreAdj").value)
		return;
	rt_load_i32(loader, process, "oomScoreAdj", &value);
	if (value < -1000 || value > 1000)
		rt_load_fail(loader, process, "oomScoreAdj", "must be between -1000 and 1000");
	memory = rt_load_memory(loader, 1, sizeof(*memory));
	if (memory)
		*memory = value;
	loader->spec->process.oom_score_adj = memory;
}

void rt_load_spec_process(struct rt_loader *loader, const struct rt_json *process)
{
	struct rt_spec_process *ret = &loader->spec->process;
	struct rt_json affinity = rt_load_object(loader, process, "execCPUAffinity");

	rt_load_bool(loader, process, "terminal", &ret->terminal);
	load_console_size(loader, process);
	load_user(loader, process);
	rt_load_strings(loader, process, "args", &ret->args, &ret->arg_count);
	if (ret->args && ret->arg_count == 0)
		rt_load_fail(loader, process, "args", "must not be empty");
	load_env(loader, process);
	rt_load_needs(loader, process, "cwd");
	rt_load_string(loader, process, "cwd", &ret->cwd);
	if (ret->cwd && ret->cwd[0] != '/')
		rt_load_fail(loader, process, "cwd", "must be an absolute path, not '%s'", ret->cwd);
	load_capabilities(loader, process);
	load_rlimits(loader, process);
	rt_load_bool(loader, process, "noNewPrivileges", &ret->no_new_privileges);
	rt_load_string(loader, process, "apparmorProfile", &ret->apparmor_profile);
	rt_load_string(loader, process, "selinuxLabel", &ret->selinux_label);
	load_oom_score_adj(loader, process);
	load_scheduler(loader, process);
	load_io_priority(loader, process);
	load_cpu_list(loader, &affinity, "initial", &ret->cpu_affinity_initial);
	load_cpu_list(loader, &affinity, "final", &ret->cpu_affinity_final);
}
