#include "runtime/spec/generate_private.h"

#include "runtime/spec/loader.h"

#include <errno.h>
#include <strings.h>

#define RULES "linux.seccomp.syscalls"

void rt_flag_seccomp_profile(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	if (rt_str_equal(text, "default"))
		rt_edit_default_seccomp(&generator->edit);
	else if (rt_str_equal(text, "unconfined"))
		rt_edit_remove(&generator->edit, "linux.seccomp");
	else
		rt_flag_reject(generator, flag, text);
}

/* ---- the default ---- */

/* "kill-process" or "SCMP_ACT_KILL_PROCESS", as config.json has it; NULL: no such action. */
static const char *action_name(const char *text)
{
	char name[40] = "SCMP_ACT_";
	size_t length = strncasecmp(text, name, 9) == 0 ? 0 : 9;

	snprintf(name + length, sizeof(name) - length, "%s", text);
	for (char *at = name; *at; at++)
		*at = *at == '-' ? '_' : *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
	for (const struct rt_word *word = rt_words_seccomp_action; word->name; word++)
		if (rt_str_equal(word->name, name))
			return word->name;
	return NULL;
}

static const char *rule_action(const json_t *rule)
{
	const char *action = json_string_value(json_object_get(rule, "action"));

	return action ? action : "";
}

void rt_flag_seccomp_default_force(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *action = action_name(text);

	if (!action) {
		rt_edit_fail(&generator->edit, RT_USAGE,
			     "option '--%s' takes allow, errno, kill, kill-process, log, trace or trap, not '%s'", flag->name, text);
		return;
	}
	rt_edit_set_string(&generator->edit, "linux.seccomp.defaultAction", action);
	/* A number for another action would be refused. */
	if (!rt_str_equal(action, "SCMP_ACT_ERRNO") && !rt_str_equal(action, "SCMP_ACT_TRACE"))
		rt_edit_remove(&generator->edit, "linux.seccomp.defaultErrnoRet");
}

void rt_flag_seccomp_default(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *action = action_name(text);
	json_t *rules = rt_edit_peek(&generator->edit, RULES);

	rt_flag_seccomp_default_force(generator, flag, text);
	/* A rule with an errno of its own says something else than a default without. */
	for (size_t i = json_array_size(rules); i > 0 && action; i--)
		if (rt_str_equal(rule_action(json_array_get(rules, i - 1)), action) &&
		    !json_object_get(json_array_get(rules, i - 1), "errnoRet"))
			json_array_remove(rules, i - 1);
}

void rt_flag_seccomp_remove_all(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	if (rt_str_equal(text, "true"))
		rt_edit_remove(&generator->edit, RULES);
}

void rt_flag_seccomp_arch(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	char name[40] = "SCMP_ARCH_";
	size_t length = strncasecmp(text, name, 10) == 0 ? 0 : 10;
	uint64_t unused;

	snprintf(name + length, sizeof(name) - length, "%s", text);
	for (char *at = name; *at; at++)
		*at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
	if (rt_str_equal(name, "SCMP_ARCH_AMD64"))
		strcpy(name, "SCMP_ARCH_X86_64");
	if (!rt_word_find(rt_words_seccomp_arch, name, &unused))
		rt_edit_fail(&generator->edit, RT_USAGE, "option '--%s' takes an architecture such as x86_64, not '%s'", flag->name, text);
	else
		rt_edit_add_word(&generator->edit, "linux.seccomp.architectures", name);
}

/* ---- rules ---- */

/* Takes a name out of every rule without conditions, or out of all; rules without names go. */
static void drop_name(struct rt_edit *edit, const char *name, bool conditional_too)
{
	json_t *rules = rt_edit_peek(edit, RULES);

	for (size_t i = json_array_size(rules); i > 0; i--) {
		json_t *rule = json_array_get(rules, i - 1), *names = json_object_get(rule, "names");

		if (!conditional_too && json_array_size(json_object_get(rule, "args")) > 0)
			continue;
		for (size_t k = json_array_size(names); k > 0; k--) {
			const char *other = json_string_value(json_array_get(names, k - 1));

			if (other && rt_str_equal(other, name))
				json_array_remove(names, k - 1);
		}
		if (names && json_array_size(names) == 0)
			json_array_remove(rules, i - 1);
	}
}

/* With a default so that a filter is one at all. */
static void need_default(struct rt_edit *edit)
{
	if (!rt_edit_peek(edit, "linux.seccomp.defaultAction"))
		rt_edit_set_string(edit, "linux.seccomp.defaultAction", "SCMP_ACT_ALLOW");
}

/* What happens to a call that no rule names; a rule that says it again would be none. */
static bool is_default(const struct rt_edit *edit, const char *action)
{
	const char *other = json_string_value(rt_edit_peek(edit, "linux.seccomp.defaultAction"));
	json_t *number = rt_edit_peek(edit, "linux.seccomp.defaultErrnoRet");

	return other && rt_str_equal(other, action) && (!number || json_integer_value(number) == EPERM);
}

static bool plain_name(const char *name)
{
	return *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")];
}

/* Into the rule of the same action that has no conditions, or a new one. */
static void add_plain(struct rt_generator *generator, const char *action, const char *name)
{
	json_t *rules = rt_edit_array(&generator->edit, RULES), *rule, *names;

	for (size_t i = 0; i < json_array_size(rules); i++) {
		rule = json_array_get(rules, i);
		names = json_object_get(rule, "names");
		if (!json_is_array(names) || !rt_str_equal(rule_action(rule), action) || json_object_get(rule, "args") || json_object_get(rule, "errnoRet"))
			continue;
		if (json_array_append_new(names, json_string(name)) < 0)
			rt_edit_reject(&generator->edit, rt_error_oom());
		return;
	}
	rule = rt_flag_new_object(generator);
	names = json_array();
	if (json_array_append_new(names, json_string(name)) < 0)
		rt_edit_reject(&generator->edit, rt_error_oom());
	rt_flag_field(generator, rule, "names", names);
	rt_flag_field(generator, rule, "action", json_string(action));
	rt_edit_append(&generator->edit, RULES, rule);
}

/* NULL: no such comparison. */
static const char *comparison(const char *text)
{
	static const char *const names[][2] = {
		{ "NE", "SCMP_CMP_NE" }, { "LT", "SCMP_CMP_LT" }, { "LE", "SCMP_CMP_LE" }, { "EQ", "SCMP_CMP_EQ" },
		{ "GE", "SCMP_CMP_GE" }, { "GT", "SCMP_CMP_GT" }, { "ME", "SCMP_CMP_MASKED_EQ" },
	};

	for (size_t i = 0; i < RT_ARRAY_SIZE(names); i++)
		if (strcasecmp(text, names[i][0]) == 0 || strcasecmp(text, names[i][1]) == 0)
			return names[i][1];
	return NULL;
}

static void add_conditional(struct rt_generator *generator, const struct rt_flag *flag, const char *const parts[5], const char *op)
{
	json_t *rule = rt_flag_new_object(generator), *names = json_array(), *args = json_array();
	json_t *arg = rt_flag_new_object(generator);

	rt_flag_field(generator, arg, "index", rt_flag_number(generator, flag, parts[1], false));
	rt_flag_field(generator, arg, "value", rt_flag_number(generator, flag, parts[2], false));
	rt_flag_field(generator, arg, "valueTwo", rt_flag_number(generator, flag, parts[3], false));
	rt_flag_field(generator, arg, "op", json_string(op));
	if (json_array_append_new(names, json_string(parts[0])) < 0 || json_array_append_new(args, arg) < 0)
		rt_edit_reject(&generator->edit, generator->edit.err ? NULL : rt_error_oom());
	rt_flag_field(generator, rule, "names", names);
	rt_flag_field(generator, rule, "action", json_string(flag->data));
	rt_flag_field(generator, rule, "args", args);
	rt_edit_append(&generator->edit, RULES, rule);
}

void rt_flag_seccomp_rule(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[5], *names[64];
	const char *op = NULL;
	size_t count;

	need_default(&generator->edit);
	if (strchr(text, ':')) {
		count = rt_edit_split(&generator->edit, text, ':', parts, 5);
		op = count == 5 ? comparison(parts[4]) : NULL;
		if (!op || !plain_name(parts[0])) {
			rt_flag_reject(generator, flag, text);
			return;
		}
		drop_name(&generator->edit, parts[0], false);
		add_conditional(generator, flag, parts, op);
		return;
	}
	count = rt_edit_split(&generator->edit, text, ',', names, RT_ARRAY_SIZE(names));
	for (size_t i = 0; i < count && !generator->edit.err; i++) {
		if (!plain_name(names[i])) {
			rt_flag_reject(generator, flag, text);
			return;
		}
		/* What was said of it before would win in the kernel where it is milder. */
		drop_name(&generator->edit, names[i], true);
		if (!is_default(&generator->edit, flag->data))
			add_plain(generator, flag->data, names[i]);
	}
}

void rt_flag_seccomp_remove(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *names[64];
	size_t count = rt_edit_split(&generator->edit, text, ',', names, RT_ARRAY_SIZE(names));

	for (size_t i = 0; i < count && !generator->edit.err; i++) {
		if (plain_name(names[i]))
			drop_name(&generator->edit, names[i], true);
		else
			rt_flag_reject(generator, flag, text);
	}
}
