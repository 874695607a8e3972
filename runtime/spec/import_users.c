#include "runtime/spec/import_private.h"

/* One line of passwd or group in its fields; the text stays whole, so fields are pointers and lengths. */
struct line {
	const char *fields[7];
	size_t lengths[7];
	size_t count;
};

/* *at moves to the next line; false at the end. */
static bool next_line(const char **at, struct line *ret)
{
	const char *from = *at, *end;

	if (!from || !*from)
		return false;
	end = from + strcspn(from, "\n");
	*at = end + (*end == '\n');
	for (ret->count = 0; ret->count < RT_ARRAY_SIZE(ret->fields); ret->count++) {
		const char *colon = memchr(from, ':', (size_t)(end - from));

		ret->fields[ret->count] = from;
		ret->lengths[ret->count] = (size_t)((colon ? colon : end) - from);
		if (!colon) {
			ret->count++;
			break;
		}
		from = colon + 1;
	}
	return true;
}

static bool field_is(const struct line *line, size_t index, const char *text, size_t length)
{
	return index < line->count && line->lengths[index] == length && memcmp(line->fields[index], text, length) == 0;
}

/* Ids stop below the one that means "none". */
static bool parse_id(const char *text, size_t length, uint32_t *ret)
{
	char copy[16];
	uint64_t id;

	if (length == 0 || length >= sizeof(copy))
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (!rt_str_to_u64(copy, &id) || id >= UINT32_MAX)
		return false;
	*ret = (uint32_t)id;
	return true;
}

static bool field_id(const struct line *line, size_t index, uint32_t *ret)
{
	return index < line->count && parse_id(line->fields[index], line->lengths[index], ret);
}

static void add_group(struct rt_import_user *user, uint32_t gid)
{
	for (size_t i = 0; i < user->group_count; i++)
		if (user->groups[i] == gid)
			return;
	if (gid != user->gid && user->group_count < RT_ARRAY_SIZE(user->groups))
		user->groups[user->group_count++] = gid;
}

/* In the fourth field, with commas between. */
static bool has_member(const struct line *line, const char *name, size_t length)
{
	const char *at = line->count > 3 ? line->fields[3] : "", *end = line->count > 3 ? at + line->lengths[3] : at;

	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		size_t size = (size_t)((comma ? comma : end) - at);

		if (size == length && memcmp(at, name, length) == 0)
			return true;
		at += size + (comma != NULL);
	}
	return false;
}

static struct rt_error *find_group(const char *text, size_t length, const char *group, uint32_t *ret)
{
	uint32_t gid = 0;
	bool number = parse_id(text, length, &gid);
	const char *at = group;
	struct line line;

	while (next_line(&at, &line)) {
		uint32_t other;

		if (!field_id(&line, 2, &other))
			continue;
		if (field_is(&line, 0, text, length)) {
			*ret = other;
			return NULL;
		}
	}
	*ret = gid;
	if (number)
		return NULL;
	if (!group)
		return rt_fail(RT_CONFIG, "there is no /etc/group of the container (--rootfs) to find group '%.*s' in", (int)length, text);
	return rt_fail(RT_CONFIG, "the container's /etc/group has no group '%.*s'", (int)length, text);
}

struct rt_error *rt_import_find_group(const char *text, const char *group, uint32_t *ret)
{
	return find_group(text, strlen(text), group, ret);
}

/* A name first; then a number, which need not be in the file. *ret_name is the name in the file, NULL where it isn't there. */
static struct rt_error *find_in_passwd(const char *text, size_t length, const char *passwd, struct rt_import_user *user,
				       const char **ret_name, size_t *ret_length)
{
	uint32_t wanted = 0, uid, gid;
	bool number = parse_id(text, length, &wanted);
	const char *at = passwd;
	struct line line;

	*ret_name = NULL;
	while (next_line(&at, &line)) {
		if (!field_id(&line, 2, &uid) || !field_id(&line, 3, &gid))
			continue;
		if (!field_is(&line, 0, text, length) && !(number && uid == wanted))
			continue;
		user->uid = uid;
		user->gid = gid;
		*ret_name = line.fields[0];
		*ret_length = line.lengths[0];
		return NULL;
	}
	user->uid = wanted;
	if (number)
		return NULL;
	if (!passwd)
		return rt_fail(RT_CONFIG, "there is no /etc/passwd of the container (--rootfs) to find user '%.*s' in", (int)length, text);
	return rt_fail(RT_CONFIG, "the container's /etc/passwd has no user '%.*s'", (int)length, text);
}

struct rt_error *rt_import_find_user(const char *text, const char *passwd, const char *group, struct rt_import_user *ret)
{
	const char *who = text && *text && *text != ':' ? text : "0", *colon = text ? strchr(text, ':') : NULL, *name;
	size_t length = strcspn(who, ":"), name_length = 0;
	struct rt_import_user user = { .uid = 0 };
	struct rt_error *err = find_in_passwd(who, length, passwd, &user, &name, &name_length);
	const char *at = group;
	struct line line;

	if (err)
		return err;
	/* A group that is named is the only one; else it is those of which the user is a member. */
	if (colon && colon[1]) {
		err = find_group(colon + 1, strlen(colon + 1), group, &user.gid);
		if (err)
			return err;
	} else {
		while (name && next_line(&at, &line)) {
			uint32_t gid;

			if (field_id(&line, 2, &gid) && has_member(&line, name, name_length))
				add_group(&user, gid);
		}
	}
	*ret = user;
	return NULL;
}
