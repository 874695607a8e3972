#include "checkpoint/mountinfo.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

/* A host with tens of thousands of mounts has some megabytes of them. */
#define MOUNTINFO_LIMIT (64u << 20)

void rt_mountinfo_deinit(struct rt_mountinfo *mounts)
{
	rt_arena_deinit(&mounts->arena);
	*mounts = RT_MOUNTINFO_NULL;
}

/* The kernel writes space, tab, newline and backslash as \ooo. Decoded in place. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *at = text; *at; at++) {
		if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] >= '0' && at[2] <= '7' && at[3] >= '0' && at[3] <= '7') {
			*to++ = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
			at += 3;
		} else {
			*to++ = *at;
		}
	}
	*to = '\0';
}

static const char *word(char **rest)
{
	char *text = strsep(rest, " ");

	if (text)
		unescape(text);
	return text ? text : "";
}

/* "36 35 98:0 /root /point options shared:1 - type source superoptions" */
static bool parse_line(char *line, struct rt_mountinfo_entry *entry)
{
	unsigned major_number, minor_number;
	const char *text;

	text = word(&line);
	entry->id = atoi(text);
	entry->parent = atoi(word(&line));
	if (sscanf(word(&line), "%u:%u", &major_number, &minor_number) != 2)
		return false;
	entry->device = makedev(major_number, minor_number);
	entry->root = word(&line);
	entry->point = word(&line);
	do
		text = word(&line);
	while (line && !rt_str_equal(text, "-"));
	entry->type = word(&line);
	entry->source = word(&line);
	entry->options = word(&line);
	return entry->id > 0 && *entry->point == '/';
}

struct rt_error *rt_mountinfo_parse(const char *text, struct rt_mountinfo *ret)
{
	_cleanup_(rt_mountinfo_deinit) struct rt_mountinfo mounts = RT_MOUNTINFO_NULL;
	char *copy = rt_arena_printf(&mounts.arena, "%s", text);
	size_t lines = 0;
	char *line;

	for (const char *at = text; *at; at++)
		lines += *at == '\n';
	mounts.entries = rt_arena_calloc(&mounts.arena, lines + 1, sizeof(*mounts.entries));
	if (!copy || !mounts.entries)
		return rt_error_oom();
	while ((line = strsep(&copy, "\n"))) {
		if (!*line)
			continue;
		if (!parse_line(line, &mounts.entries[mounts.count]))
			return rt_fail(RT_SYSTEM, "cannot understand line %zu of mountinfo", mounts.count + 1);
		mounts.count++;
	}
	*ret = mounts;
	mounts = RT_MOUNTINFO_NULL;
	return NULL;
}

struct rt_error *rt_mountinfo_load(pid_t pid, struct rt_mountinfo *ret)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	char path[32] = "/proc/self/mountinfo";

	if (pid > 0)
		snprintf(path, sizeof(path), "/proc/%d/mountinfo", pid);
	err = rt_read_file_at(AT_FDCWD, path, MOUNTINFO_LIMIT, &text, NULL);
	return err ? err : rt_mountinfo_parse(text, ret);
}

const struct rt_mountinfo_entry *rt_mountinfo_by_id(const struct rt_mountinfo *mounts, int id)
{
	for (size_t i = 0; i < mounts->count; i++)
		if (mounts->entries[i].id == id)
			return &mounts->entries[i];
	return NULL;
}

const struct rt_mountinfo_entry *rt_mountinfo_by_point(const struct rt_mountinfo *mounts, const char *point)
{
	for (size_t i = mounts->count; i > 0; i--)
		if (rt_str_equal(mounts->entries[i - 1].point, point))
			return &mounts->entries[i - 1];
	return NULL;
}

bool rt_mountinfo_has_device(const struct rt_mountinfo *mounts, dev_t device)
{
	for (size_t i = 0; i < mounts->count; i++)
		if (mounts->entries[i].device == device)
			return true;
	return false;
}
