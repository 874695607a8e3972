#include "runtime/bundle/users.h"

#include "runtime/base/str.h"

#define FIELDS_MAX 7
#define GROUPS_MAX 65536

/* The next line, taken apart at colons in a copy; false at the end. Lines that have too few fields are passed over. */
struct lines {
	const char *at;
	char line[4096];
	char *fields[FIELDS_MAX];
};

static bool next_line(struct lines *lines, size_t least)
{
	while (*lines->at) {
		size_t length = strcspn(lines->at, "\n"), count = 0;
		const char *start = lines->at;
		char *rest = lines->line;

		lines->at += length + (lines->at[length] == '\n');
		if (length >= sizeof(lines->line))
			continue;
		memcpy(lines->line, start, length);
		lines->line[length] = '\0';
		while (count < FIELDS_MAX && rest)
			lines->fields[count++] = strsep(&rest, ":");
		if (count >= least)
			return true;
	}
	return false;
}

/* An id, and no more than one: 2^32 - 1 means "none" to the kernel. */
static bool to_id(const char *text, uint32_t *ret)
{
	uint64_t value;

	if (!rt_str_to_u64(text, &value) || value >= UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

/* A name goes before a number: "1000" may be somebody's name. */
static bool find_user(const char *passwd, const char *wanted, bool by_name, struct rt_arena *arena, struct rt_image_user *ret,
		      const char **ret_name)
{
	struct lines lines = { .at = passwd };
	uint32_t number = 0, uid, gid;

	if (!by_name && !to_id(wanted, &number))
		return false;
	while (next_line(&lines, 4)) {
		if (!to_id(lines.fields[2], &uid) || !to_id(lines.fields[3], &gid))
			continue;
		if (by_name ? !rt_str_equal(lines.fields[0], wanted) : uid != number)
			continue;
		ret->uid = uid;
		ret->gid = gid;
		*ret_name = rt_arena_printf(arena, "%s", lines.fields[0]);
		return true;
	}
	return false;
}

static const char *find_home(const char *passwd, const char *name, struct rt_arena *arena)
{
	struct lines lines = { .at = passwd };

	while (next_line(&lines, 6))
		if (rt_str_equal(lines.fields[0], name) && lines.fields[5][0] == '/')
			return rt_arena_printf(arena, "%s", lines.fields[5]);
	return NULL;
}

static bool find_group(const char *group, const char *wanted, uint32_t *ret)
{
	struct lines lines = { .at = group };

	while (next_line(&lines, 3))
		if (rt_str_equal(lines.fields[0], wanted) && to_id(lines.fields[2], ret))
			return true;
	return to_id(wanted, ret);
}

static bool is_member(char *members, const char *name)
{
	char *member;

	while ((member = strsep(&members, ",")))
		if (rt_str_equal(member, name))
			return true;
	return false;
}

static struct rt_error *find_groups_of(const char *group, const char *name, struct rt_arena *arena, struct rt_image_user *ret)
{
	struct lines lines = { .at = group };
	uint32_t *list = NULL, gid;
	size_t count = 0, room = 0;

	while (next_line(&lines, 4) && count < GROUPS_MAX) {
		if (!is_member(lines.fields[3], name) || !to_id(lines.fields[2], &gid))
			continue;
		if (count == room) {
			uint32_t *grown = rt_arena_calloc(arena, room ? room * 2 : 16, sizeof(*grown));

			if (!grown)
				return rt_error_oom();
			if (count)
				memcpy(grown, list, count * sizeof(*grown));
			list = grown;
			room = room ? room * 2 : 16;
		}
		list[count++] = gid;
	}
	ret->additional_gids = list;
	ret->additional_gid_count = count;
	return NULL;
}

struct rt_error *rt_image_user_find(const char *user, const char *passwd, const char *group, struct rt_arena *arena,
				    struct rt_image_user *ret)
{
	char *copy = rt_arena_printf(arena, "%s", user ? user : ""), *rest = copy;
	const char *wanted, *wanted_group, *name = NULL;

	if (!copy)
		return rt_error_oom();
	*ret = (struct rt_image_user){ 0 };
	wanted = strsep(&rest, ":");
	wanted_group = rest && *rest ? rest : NULL;
	if (!*wanted)
		wanted = "0";
	if (!find_user(passwd, wanted, true, arena, ret, &name) && !find_user(passwd, wanted, false, arena, ret, &name) &&
	    !to_id(wanted, &ret->uid))
		return rt_fail(RT_CONFIG, "the image's user '%s' is not in its /etc/passwd", wanted);
	if (name)
		ret->home = find_home(passwd, name, arena);
	if (wanted_group)
		return find_group(group, wanted_group, &ret->gid)
			       ? NULL
			       : rt_fail(RT_CONFIG, "the image's group '%s' is not in its /etc/group", wanted_group);
	return name ? find_groups_of(group, name, arena, ret) : NULL;
}
