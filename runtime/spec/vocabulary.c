/* The words the loader knows, as features.md wants them: made of the loader's own tables, so the two can't differ. */
#include "runtime/spec/loader.h"

#include <assert.h>

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* NULL without memory, as all of these; json_object_set_new() passes that on. */
static json_t *sorted(const struct rt_word *words)
{
	const char *names[32];
	json_t *list = json_array();
	size_t count = 0;

	for (; words[count].name; count++) {
		assert(count < RT_ARRAY_SIZE(names));
		names[count] = words[count].name;
	}
	qsort(names, count, sizeof(names[0]), by_name);
	for (size_t i = 0; list && i < count; i++) {
		if (json_array_append_new(list, json_string(names[i])) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static json_t *list_of(const char *(*name_of)(int index), int count)
{
	json_t *list = json_array();

	for (int i = 0; list && i < count; i++) {
		if (json_array_append_new(list, json_string(name_of(i))) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static const char *hook_name(int index)
{
	return rt_hook_kind_name((enum rt_hook_kind)index);
}

static int cap_count(void)
{
	int count = 0;

	while (rt_cap_name(count))
		count++;
	return count;
}

static int fill_linux(json_t *object)
{
	json_t *seccomp = json_object(), *policy = json_object();
	int failed = 0;

	failed |= json_object_set_new(object, "namespaces", sorted(rt_words_namespace));
	failed |= json_object_set_new(object, "capabilities", list_of(rt_cap_name, cap_count()));
	failed |= json_object_set_new(seccomp, "enabled", json_true());
	failed |= json_object_set_new(seccomp, "actions", sorted(rt_words_seccomp_action));
	failed |= json_object_set_new(seccomp, "operators", sorted(rt_words_seccomp_op));
	failed |= json_object_set_new(seccomp, "archs", sorted(rt_words_seccomp_arch));
	failed |= json_object_set_new(seccomp, "knownFlags", sorted(rt_words_seccomp_flag));
	failed |= json_object_set_new(policy, "modes", sorted(rt_words_memory_mode));
	failed |= json_object_set_new(policy, "flags", sorted(rt_words_memory_flag));
	failed |= json_object_set_new(object, "seccomp", seccomp);
	failed |= json_object_set_new(object, "memoryPolicy", policy);
	return failed;
}

struct rt_error *rt_spec_vocabulary(json_t **ret)
{
	_cleanup_json_ json_t *features = json_object();
	json_t *linux_object = json_object();
	int failed = 0;

	failed |= json_object_set_new(features, "ociVersionMin", json_string("1.0.0"));
	failed |= json_object_set_new(features, "ociVersionMax", json_string(RT_SPEC_VERSION));
	failed |= json_object_set_new(features, "hooks", list_of(hook_name, RT_HOOK_KINDS));
	failed |= fill_linux(linux_object);
	failed |= json_object_set_new(features, "linux", linux_object);
	if (failed)
		return rt_error_oom();
	*ret = rt_take_ptr(features);
	return NULL;
}
