#include "runtime/spec/generate_private.h"

#include "runtime/spec/seccomp_default.h"

#include <linux/capability.h>

/* What engines leave to root of a container. */
#define ENGINE_CAPS                                                                                                    \
	(1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FSETID | 1ULL << CAP_FOWNER | 1ULL << CAP_MKNOD |   \
	 1ULL << CAP_NET_RAW | 1ULL << CAP_SETGID | 1ULL << CAP_SETUID | 1ULL << CAP_SETFCAP | 1ULL << CAP_SETPCAP |    \
	 1ULL << CAP_NET_BIND_SERVICE | 1ULL << CAP_SYS_CHROOT | 1ULL << CAP_KILL | 1ULL << CAP_AUDIT_WRITE)

static const struct rt_flag flags[] = {
#define FLAG(stage, kind, name, argument, function, data, help)                                                        \
	{ RT_GENERATE_##stage, name, argument, rt_flag_##function, data },
#include "runtime/spec/generate_flags.h"
};

void rt_flag_reject(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_fail(&generator->edit, RT_USAGE, "option '--%s' takes %s, not '%s'", flag->name, flag->argument, text);
}

json_t *rt_flag_number(struct rt_generator *generator, const struct rt_flag *flag, const char *text, bool negative)
{
	json_t *value = NULL;
	uint64_t number = 0;
	int64_t below = 0;

	if (rt_str_to_u64(text, &number))
		value = rt_json_number(number);
	else if (negative && rt_str_to_i64(text, &below))
		value = json_integer(below);
	else
		rt_flag_reject(generator, flag, text);
	if (!value)
		rt_edit_reject(&generator->edit, generator->edit.err ? NULL : rt_error_oom());
	return value;
}

void rt_flag_set(struct rt_generator *generator, const char *path, json_t *value)
{
	if (value)
		rt_edit_set(&generator->edit, path, value);
}

void rt_flag_field(struct rt_generator *generator, json_t *object, const char *key, json_t *value)
{
	if (!object)
		json_decref(value);
	else if (json_object_set_new(object, key, value) < 0 && !generator->edit.err)
		rt_edit_reject(&generator->edit, rt_error_oom());
}

json_t *rt_flag_json(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	_cleanup_json_ json_t *value = NULL;
	_cleanup_free_ char *name = NULL;
	struct rt_error *err = rt_format(&name, "--%s", flag->name);

	if (!err)
		err = rt_json_parse(text, strlen(text), name, &value);
	if (!err && !json_is_object(value))
		err = rt_fail(RT_USAGE, "option '--%s' takes a JSON object, not '%s'", flag->name, text);
	if (!err)
		return rt_take_ptr(value);
	rt_edit_reject(&generator->edit, err);
	return NULL;
}

json_t *rt_flag_new_object(struct rt_generator *generator)
{
	json_t *object = json_object();

	if (!object)
		rt_edit_reject(&generator->edit, rt_error_oom());
	return object;
}

/* ---- flags that set one field: `data` is its path ---- */

void rt_flag_string(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_set_string(&generator->edit, flag->data, text);
}

void rt_flag_boolean(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_set(&generator->edit, flag->data, json_boolean(rt_str_equal(text, "true")));
}

void rt_flag_whole(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_flag_set(generator, flag->data, rt_flag_number(generator, flag, text, true));
}

/* Bytes, or with k, m, g or t by powers of 1024. */
void rt_flag_size(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	static const char units[] = "kmgt";
	size_t digits = strspn(text, "0123456789");
	const char *unit = text[digits] && digits > 0 && !text[digits + 1] ? strchr(units, text[digits] | 0x20) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	_cleanup_free_ char *number = strndup(text, unit ? digits : strlen(text));
	uint64_t value;

	if (!number)
		rt_edit_reject(&generator->edit, rt_error_oom());
	else if (!unit)
		rt_flag_whole(generator, flag, text);
	else if (!rt_str_to_u64(number, &value) || value > (uint64_t)INT64_MAX >> shift)
		rt_flag_reject(generator, flag, text);
	else
		rt_edit_set(&generator->edit, flag->data, json_integer((json_int_t)(value << shift)));
}

void rt_flag_octal(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	char *end;
	unsigned long mask = strtoul(text, &end, 8);

	if (!*text || *end || strlen(text) > 5 || text[0] == '-')
		rt_flag_reject(generator, flag, text);
	else
		rt_edit_set(&generator->edit, flag->data, json_integer((json_int_t)mask));
}

void rt_flag_remove(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	if (rt_str_equal(text, "true"))
		rt_edit_remove(&generator->edit, flag->data);
}

/* Of an array of strings. */
void rt_flag_word(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	rt_edit_add_word(&generator->edit, flag->data, text);
}

/* Of an object of strings. */
void rt_flag_name_value(struct rt_generator *generator, const struct rt_flag *flag, const char *text)
{
	const char *parts[2];

	if (rt_edit_split(&generator->edit, text, '=', parts, 2) < 2 || !*parts[0])
		rt_flag_reject(generator, flag, text);
	else
		rt_edit_put(&generator->edit, flag->data, parts[0], json_string(parts[1]));
}

/* ---- the whole ---- */

struct rt_error *rt_generate_base(json_t **ret)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	_cleanup_json_ json_t *config = NULL;
	struct rt_edit edit = { .config = NULL };
	struct rt_error *err = rt_spec_template(false, 0, 0, &config);

	if (err)
		return err;
	edit.config = config;
	rt_edit_set(&edit, "process.terminal", json_false());
	rt_edit_set(&edit, "root.readonly", json_false());
	rt_edit_set_string(&edit, "hostname", "rt");
	for (size_t i = 0; i < RT_ARRAY_SIZE(sets); i++)
		rt_edit_set_caps(&edit, sets[i], ENGINE_CAPS);
	err = rt_take_ptr(edit.err);
	rt_edit_deinit(&edit);
	if (err)
		return err;
	*ret = rt_take_ptr(config);
	return NULL;
}

static bool lifts_the_profile(const struct rt_generate_flag *given, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (rt_str_equal(flags[given[i].flag].name, "privileged") && rt_str_equal(given[i].argument, "true"))
			return true;
	return false;
}

struct rt_error *rt_generate(json_t *config, bool fresh, const struct rt_generate_flag *given, size_t count)
{
	struct rt_generator generator = { .edit.config = config };
	struct rt_error *err;

	for (int stage = 0; stage < RT_GENERATE_STAGES; stage++) {
		if (stage == RT_GENERATE_SECCOMP_CLEAR && fresh && !lifts_the_profile(given, count))
			rt_edit_default_seccomp(&generator.edit);
		for (size_t i = 0; i < count && !generator.edit.err; i++) {
			const struct rt_flag *flag = &flags[given[i].flag];

			if ((int)flag->stage == stage)
				flag->apply(&generator, flag, given[i].argument);
		}
	}
	err = rt_take_ptr(generator.edit.err);
	rt_edit_deinit(&generator.edit);
	return err;
}
