#include "runtime/cgroup/devices.h"

#include "runtime/base/str.h"

#include <inttypes.h>

static const struct rt_spec_device_rule defaults[] = {
	{ .allow = true, .type = 'c', .major = -1, .minor = -1, .mknod = true },
	{ .allow = true, .type = 'b', .major = -1, .minor = -1, .mknod = true },
	{ .allow = true, .type = 'c', .major = 1, .minor = 3, .read = true, .write = true, .mknod = true }, /* null */
	{ .allow = true, .type = 'c', .major = 1, .minor = 5, .read = true, .write = true, .mknod = true }, /* zero */
	{ .allow = true, .type = 'c', .major = 1, .minor = 7, .read = true, .write = true, .mknod = true }, /* full */
	{ .allow = true, .type = 'c', .major = 1, .minor = 8, .read = true, .write = true, .mknod = true }, /* random */
	{ .allow = true, .type = 'c', .major = 1, .minor = 9, .read = true, .write = true, .mknod = true }, /* urandom */
	{ .allow = true, .type = 'c', .major = 5, .minor = 0, .read = true, .write = true, .mknod = true }, /* tty */
	{ .allow = true, .type = 'c', .major = 5, .minor = 1, .read = true, .write = true, .mknod = true }, /* console */
	{ .allow = true, .type = 'c', .major = 5, .minor = 2, .read = true, .write = true, .mknod = true }, /* ptmx */
	{ .allow = true, .type = 'c', .major = 136, .minor = -1, .read = true, .write = true, .mknod = true }, /* pts */
};

static bool is_full(const struct rt_spec_device_rule *rule)
{
	return rule->read && rule->write && rule->mknod;
}

/* Everything said before such a rule is forgotten. */
static bool is_reset(const struct rt_spec_device_rule *rule)
{
	return rule->type == 'a' && rule->major < 0 && rule->minor < 0 && is_full(rule);
}

struct rt_error *rt_devices_all(const struct rt_spec_resources *resources, struct rt_arena *arena,
				struct rt_spec_device_rule **ret, size_t *ret_count)
{
	size_t own = resources ? resources->device_count : 0;
	struct rt_spec_device_rule *rules = rt_arena_calloc(arena, own + RT_ARRAY_SIZE(defaults), sizeof(*rules));

	if (!rules)
		return rt_error_oom();
	if (own)
		memcpy(rules, resources->devices, own * sizeof(*rules));
	memcpy(rules + own, defaults, sizeof(defaults));
	*ret = rules;
	*ret_count = own + RT_ARRAY_SIZE(defaults);
	return NULL;
}

const char *rt_device_text(const struct rt_spec_device_rule *rule, char text[RT_DEVICE_TEXT_ROOM])
{
	char major[24] = "*", minor[24] = "*";

	if (rule->major >= 0)
		snprintf(major, sizeof(major), "%" PRId64, rule->major);
	if (rule->minor >= 0)
		snprintf(minor, sizeof(minor), "%" PRId64, rule->minor);
	snprintf(text, RT_DEVICE_TEXT_ROOM, "%c %s:%s %s%s%s", rule->type, major, minor, rule->read ? "r" : "",
		 rule->write ? "w" : "", rule->mknod ? "m" : "");
	return text;
}

static bool covers(int64_t wide, int64_t narrow)
{
	return wide < 0 || wide == narrow;
}

static bool overlaps(int64_t a, int64_t b)
{
	return a < 0 || b < 0 || a == b;
}

/* A rule that says what the default says takes back what earlier rules said otherwise. */
static struct rt_error *take_back(const struct rt_spec_device_rule *rule, struct rt_device_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct rt_spec_device_rule *entry = &list->entries[i];
		char wide[RT_DEVICE_TEXT_ROOM], part[RT_DEVICE_TEXT_ROOM];

		if (entry->type != rule->type || !overlaps(entry->major, rule->major) || !overlaps(entry->minor, rule->minor))
			continue;
		if (!(entry->read & rule->read) && !(entry->write & rule->write) && !(entry->mknod & rule->mknod))
			continue;
		if (!covers(rule->major, entry->major) || !covers(rule->minor, entry->minor))
			return rt_fail(RT_CONFIG, "'linux.resources.devices': cgroup v1 cannot %s '%s' once '%s' is %s",
				       rule->allow ? "allow" : "deny", rt_device_text(rule, part),
				       rt_device_text(entry, wide), rule->allow ? "denied" : "allowed");
		entry->read &= !rule->read;
		entry->write &= !rule->write;
		entry->mknod &= !rule->mknod;
		if (!entry->read && !entry->write && !entry->mknod)
			list->entries[i--] = list->entries[--list->count];
	}
	return NULL;
}

static void except(const struct rt_spec_device_rule *rule, struct rt_device_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		struct rt_spec_device_rule *entry = &list->entries[i];

		if (entry->type != rule->type || entry->major != rule->major || entry->minor != rule->minor)
			continue;
		entry->read |= rule->read;
		entry->write |= rule->write;
		entry->mknod |= rule->mknod;
		return;
	}
	list->entries[list->count++] = *rule;
}

static struct rt_error *list_add(const struct rt_spec_device_rule *rule, struct rt_device_list *list)
{
	static const char both[] = { 'b', 'c' };

	if (is_reset(rule)) {
		list->default_allow = rule->allow;
		list->count = 0;
		return NULL;
	}
	for (size_t i = 0; i < sizeof(both); i++) {
		struct rt_spec_device_rule one = *rule;
		struct rt_error *err = NULL;

		if (rule->type != 'a' && rule->type != both[i])
			continue;
		one.type = both[i];
		if (one.allow == list->default_allow)
			err = take_back(&one, list);
		else
			except(&one, list);
		if (err)
			return err;
	}
	return NULL;
}

struct rt_error *rt_devices_list(const struct rt_spec_device_rule *rules, size_t count, struct rt_arena *arena,
				 struct rt_device_list *ret)
{
	struct rt_device_list list = { .default_allow = false };

	list.entries = rt_arena_calloc(arena, 2 * count + 1, sizeof(*list.entries));
	if (!list.entries)
		return rt_error_oom();
	for (size_t i = 0; i < count; i++) {
		struct rt_error *err = list_add(&rules[i], &list);

		if (err)
			return err;
	}
	*ret = list;
	return NULL;
}

static bool parse_number(const char **at, int64_t *ret)
{
	uint64_t value;
	char *end;

	if (**at == '*') {
		*ret = -1;
		++*at;
		return true;
	}
	value = strtoull(*at, &end, 10);
	if (end == *at || value > UINT32_MAX)
		return false;
	*ret = (int64_t)value;
	*at = end;
	return true;
}

static bool parse_entry(const char *at, struct rt_spec_device_rule *ret)
{
	*ret = (struct rt_spec_device_rule){ .type = at[0] };
	if ((at[0] != 'a' && at[0] != 'b' && at[0] != 'c') || at[1] != ' ')
		return false;
	at += 2;
	if (!parse_number(&at, &ret->major) || *at++ != ':' || !parse_number(&at, &ret->minor) || *at++ != ' ')
		return false;
	for (; *at && *at != '\n'; at++) {
		ret->read |= *at == 'r';
		ret->write |= *at == 'w';
		ret->mknod |= *at == 'm';
	}
	return true;
}

struct rt_error *rt_devices_parse(const char *text, struct rt_arena *arena, struct rt_device_list *ret)
{
	size_t room = 1;
	struct rt_device_list list = { .default_allow = false };

	for (const char *at = text; *at; at++)
		room += *at == '\n';
	list.entries = rt_arena_calloc(arena, room + 1, sizeof(*list.entries));
	if (!list.entries)
		return rt_error_oom();
	while (*text) {
		struct rt_spec_device_rule rule;

		if (!parse_entry(text, &rule))
			return rt_fail(RT_SYSTEM, "cannot read 'devices.list': '%.*s'", (int)strcspn(text, "\n"), text);
		if (rule.type == 'a') {
			/* The kernel shows only this where everything is allowed by default; exceptions aren't to be seen. */
			list.default_allow = true;
			list.count = 0;
			break;
		}
		rule.allow = true;
		list.entries[list.count++] = rule;
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	*ret = list;
	return NULL;
}
