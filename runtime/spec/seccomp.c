#include "runtime/spec/loader.h"

/* Errno and trace numbers travel in the low 16 bits of a filter's answer; the kernel caps errnos at 4095. */
enum { MOST_ERRNO = 4095, MOST_TRACE = 65535 };

static bool load_action(struct rt_loader *loader, const struct rt_json *object, const char *key,
			enum rt_seccomp_action *ret)
{
	uint64_t action;

	rt_load_needs(loader, object, key);
	if (!rt_load_word(loader, object, key, rt_words_seccomp_action, &action))
		return false;
	*ret = (enum rt_seccomp_action)action;
	return true;
}

static void load_errno(struct rt_loader *loader, const struct rt_json *object, const char *key,
		       enum rt_seccomp_action action, bool *ret_has, uint32_t *ret)
{
	if (!rt_json_field(object, key).value)
		return;
	*ret_has = true;
	rt_load_u32(loader, object, key, ret);
	if (action != RT_SECCOMP_ERRNO && action != RT_SECCOMP_TRACE)
		rt_load_fail(loader, object, key, "is only for SCMP_ACT_ERRNO and SCMP_ACT_TRACE");
	else if (*ret > (action == RT_SECCOMP_ERRNO ? MOST_ERRNO : MOST_TRACE))
		rt_load_fail(loader, object, key, "must be at most %d",
			     action == RT_SECCOMP_ERRNO ? MOST_ERRNO : MOST_TRACE);
}

static void load_args(struct rt_loader *loader, const struct rt_json *entry, struct rt_seccomp_rule *rule)
{
	struct rt_json array = {.key = NULL};
	struct rt_seccomp_arg *list = rt_load_array(loader, entry, "args", sizeof(*list), &array, &rule->arg_count);

	for (size_t i = 0; i < rule->arg_count && !loader->err; i++) {
		struct rt_json arg = rt_load_element(loader, &array, i);
		uint64_t op = 0;

		if (!arg.value)
			continue;
		rt_load_needs(loader, &arg, "index");
		rt_load_needs(loader, &arg, "value");
		rt_load_needs(loader, &arg, "op");
		rt_load_u32(loader, &arg, "index", &list[i].index);
		if (list[i].index > 5)
			rt_load_fail(loader, &arg, "index", "must be between 0 and 5");
		rt_load_u64(loader, &arg, "value", &list[i].value);
		rt_load_u64(loader, &arg, "valueTwo", &list[i].value_two);
		rt_load_word(loader, &arg, "op", rt_words_seccomp_op, &op);
		list[i].op = (enum rt_seccomp_op)op;
	}
	rule->args = list;
}

static void load_rule(struct rt_loader *loader, const struct rt_json *entry, struct rt_seccomp_rule *rule)
{
	rt_load_needs(loader, entry, "names");
	rt_load_strings(loader, entry, "names", &rule->names, &rule->name_count);
	if (rule->names && rule->name_count == 0)
		rt_load_fail(loader, entry, "names", "must not be empty");
	if (load_action(loader, entry, "action", &rule->action))
		load_errno(loader, entry, "errnoRet", rule->action, &rule->has_errno, &rule->errno_ret);
	load_args(loader, entry, rule);
	if (rule->action != RT_SECCOMP_NOTIFY)
		return;
	/* Whoever loads the filter still has to write to hand the listener over, and nobody would answer (runc refuses
	 * too). */
	for (size_t i = 0; i < rule->name_count; i++) {
		if (rt_str_equal(rule->names[i], "write"))
			rt_load_fail(loader, entry, "action", "must not be SCMP_ACT_NOTIFY for the syscall 'write'");
	}
}

/* Strings that the next layer takes as they are, once they are known to be of a set. */
static void load_names(struct rt_loader *loader, const struct rt_json *object, const char *key,
		       const struct rt_word *words, const char *const **ret, size_t *ret_count)
{
	struct rt_json array = rt_json_field(object, key);
	uint64_t unused;

	rt_load_strings(loader, object, key, ret, ret_count);
	for (size_t i = 0; i < *ret_count && !loader->err; i++) {
		struct rt_json entry = {.parent = &array, .index = i};

		if (!rt_word_find(words, (*ret)[i], &unused))
			rt_load_fail(loader, &entry, NULL, "has an unknown value '%s'", (*ret)[i]);
	}
}

static void check_listener(struct rt_loader *loader, const struct rt_json *object)
{
	const struct rt_spec_seccomp *seccomp = &loader->spec->seccomp;
	bool notifies = false;

	if (seccomp->default_action == RT_SECCOMP_NOTIFY)
		rt_load_fail(loader, object, "defaultAction", "must not be SCMP_ACT_NOTIFY");
	for (size_t i = 0; i < seccomp->rule_count; i++)
		notifies |= seccomp->rules[i].action == RT_SECCOMP_NOTIFY;
	if (notifies && !seccomp->listener_path)
		rt_load_fail(loader, object, "listenerPath", "is required for SCMP_ACT_NOTIFY");
	if (seccomp->listener_metadata && !seccomp->listener_path)
		rt_load_fail(loader, object, "listenerMetadata", "must not be given without a listenerPath");
}

void rt_load_spec_seccomp(struct rt_loader *loader, const struct rt_json *linux_object)
{
	struct rt_spec_seccomp *ret = &loader->spec->seccomp;
	struct rt_json object = rt_load_object(loader, linux_object, "seccomp");
	struct rt_json array = {.key = NULL}, rules = rt_json_field(&object, "syscalls");
	struct rt_seccomp_rule *list;

	/* An object that says nothing is no filter at all, as for runc. */
	if (!object.value || (!rt_json_field(&object, "defaultAction").value && json_array_size(rules.value) == 0))
		return;
	ret->present = true;
	ret->json = object.value;
	if (load_action(loader, &object, "defaultAction", &ret->default_action))
		load_errno(loader, &object, "defaultErrnoRet", ret->default_action, &ret->has_default_errno,
			   &ret->default_errno);
	load_names(loader, &object, "architectures", rt_words_seccomp_arch, &ret->architectures,
		   &ret->architecture_count);
	load_names(loader, &object, "flags", rt_words_seccomp_flag, &ret->flags, &ret->flag_count);
	rt_load_string(loader, &object, "listenerPath", &ret->listener_path);
	rt_load_string(loader, &object, "listenerMetadata", &ret->listener_metadata);

	list = rt_load_array(loader, &object, "syscalls", sizeof(*list), &array, &ret->rule_count);
	for (size_t i = 0; i < ret->rule_count && !loader->err; i++) {
		struct rt_json entry = rt_load_element(loader, &array, i);

		if (entry.value)
			load_rule(loader, &entry, &list[i]);
	}
	ret->rules = list;
	check_listener(loader, &object);
}
