#include "runtime/cmd/resources.h"

#include "runtime/base/str.h"

#include <strings.h>

/* The factor of "", "b", "k", "kb", "kib" and so on; 0: no such suffix. */
static double size_factor(const char *suffix)
{
	static const char units[] = "kmgtp";
	double factor = 1;

	if (!*suffix || strcasecmp(suffix, "b") == 0)
		return 1;
	for (const char *unit = units; *unit; unit++) {
		factor *= 1024;
		if ((*suffix | 0x20) != *unit)
			continue;
		suffix++;
		return !*suffix || strcasecmp(suffix, "b") == 0 || strcasecmp(suffix, "ib") == 0 ? factor : 0;
	}
	return 0;
}

bool rt_size_parse(const char *text, int64_t *ret)
{
	size_t length = strspn(text, "0123456789.");
	double number, factor;
	char *end;

	if (rt_str_to_i64(text, ret))
		return *ret >= -1;
	if (length == 0 || text[0] == '.')
		return false;
	number = strtod(text, &end);
	if (end != text + length)
		return false;
	while (*end == ' ')
		end++;
	factor = size_factor(end);
	/* 2^63 is exact in a double, and the first that does not fit. */
	if (factor == 0 || number * factor >= 9223372036854775808.0)
		return false;
	*ret = (int64_t)(number * factor);
	return true;
}

static const char *kind_name(enum rt_resource_kind kind)
{
	switch (kind) {
	case RT_RESOURCE_COUNT:
	case RT_RESOURCE_NUMBER:
		return "number";
	case RT_RESOURCE_SIZE:
		return "size";
	case RT_RESOURCE_TEXT:
		return "text in UTF-8";
	}
	return "value";
}

/* NULL without memory, or where `text` is not of the kind; *ret_fits tells them apart. */
static json_t *make_value(enum rt_resource_kind kind, const char *text, bool *ret_fits)
{
	int64_t number = 0;

	switch (kind) {
	case RT_RESOURCE_COUNT:
		*ret_fits = rt_str_to_i64(text, &number) && number >= 0;
		break;
	case RT_RESOURCE_NUMBER:
		*ret_fits = rt_str_to_i64(text, &number);
		break;
	case RT_RESOURCE_SIZE:
		*ret_fits = rt_size_parse(text, &number);
		break;
	case RT_RESOURCE_TEXT:
		*ret_fits = true;
		return json_string(text);
	}
	return *ret_fits ? json_integer(number) : NULL;
}

struct rt_error *rt_resource_set(json_t *resources, const struct rt_resource_word *word, const char *text)
{
	json_t *section = json_object_get(resources, word->section);
	bool fits = false;
	_cleanup_json_ json_t *value = make_value(word->kind, text, &fits);

	if (!value && (!fits || word->kind == RT_RESOURCE_TEXT))
		return rt_fail(RT_USAGE, "option '--%s' takes a %s, not '%s'", word->option,
			       kind_name(word->kind), text);
	if (!value)
		return rt_error_oom();
	if (!section) {
		section = json_object();
		if (json_object_set_new(resources, word->section, section) < 0)
			return rt_error_oom();
	}
	if (json_object_set(section, word->key, value) < 0)
		return rt_error_oom();
	return NULL;
}
