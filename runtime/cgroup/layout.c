#include "runtime/cgroup/layout.h"

#include "runtime/base/io.h"
#include "runtime/base/str.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#define ROOT_OF_ALL "/sys/fs/cgroup"
/* mountinfo of a host with thousands of containers has megabytes. */
#define MOUNTINFO_LIMIT (64 << 20)

/* One line of mountinfo, cut up in place. */
struct mount_line {
	long id, parent;
	char *root, *point, *type, *super_options;
};

/* "\040" and its like, which stand for white space in a path. */
static void unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' && in[3] >= '0' && in[3] <= '7') {
			*out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = '\0';
}

static bool parse_line(char *line, struct mount_line *ret)
{
	char *save = NULL, *fields[6], *rest = strstr(line, " - ");

	if (!rest)
		return false;
	*rest = '\0';
	for (size_t i = 0; i < RT_ARRAY_SIZE(fields); i++) {
		fields[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!fields[i])
			return false;
	}
	*ret = (struct mount_line){
		.id = strtol(fields[0], NULL, 10), .parent = strtol(fields[1], NULL, 10), .root = fields[3], .point = fields[4],
	};
	ret->type = strtok_r(rest + 3, " ", &save);
	if (!ret->type || !strtok_r(NULL, " ", &save))
		return false;
	ret->super_options = strtok_r(NULL, " ", &save);
	if (!ret->super_options)
		ret->super_options = rest;
	unescape(ret->root);
	unescape(ret->point);
	return true;
}

static bool is_below(const char *path, const char *above)
{
	size_t length = strlen(above);

	if (rt_str_equal(above, "/"))
		return true;
	return strncmp(path, above, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool descends_from(const struct mount_line *lines, size_t count, const struct mount_line *mount, long ancestor)
{
	long parent = mount->parent;

	for (size_t hops = 0; hops < count; hops++) {
		size_t i = 0;

		if (parent == ancestor)
			return true;
		while (i < count && lines[i].id != parent)
			i++;
		if (i == count || lines[i].parent == parent)
			return false;
		parent = lines[i].parent;
	}
	return false;
}

/* A mount is out of sight when another one covers its mount point and it doesn't stand on that one. */
static bool is_hidden(const struct mount_line *lines, size_t count, const struct mount_line *mount)
{
	for (size_t i = 0; i < count; i++)
		if (lines[i].id != mount->id && is_below(mount->point, lines[i].point) &&
		    !descends_from(lines, count, mount, lines[i].id))
			return true;
	return false;
}

/* What the hierarchy is called: the super block options without those that every file system has. */
static char *controllers_of(const struct mount_line *mount, struct rt_arena *arena)
{
	static const char *const flags[] = { "rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "none", "seclabel" };
	char *out = rt_arena_calloc(arena, strlen(mount->super_options) + 1, 1), *save = NULL;

	if (!out)
		return NULL;
	for (char *word = strtok_r(mount->super_options, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		bool flag = rt_str_starts(word, "release_agent=");

		for (size_t i = 0; i < RT_ARRAY_SIZE(flags); i++)
			flag |= rt_str_equal(word, flags[i]);
		if (flag)
			continue;
		if (*out)
			strcat(out, ",");
		strcat(out, word);
	}
	return out;
}

/* The kernel lists controllers in its own order in both files, but joins "name=" differently: compare as sets. */
static bool same_controllers(const char *a, size_t a_length, const char *b)
{
	const char *end = a + a_length;
	size_t b_length = strlen(b);

	if (a_length != b_length)
		return false;
	while (a < end) {
		size_t word = strcspn(a, ",:");
		const char *at = b;
		bool found = false;

		while (!found && *at) {
			size_t other = strcspn(at, ",");

			found = other == word && strncmp(a, at, word) == 0;
			at += other + (at[other] == ',');
		}
		if (!found)
			return false;
		a += word + 1;
	}
	return true;
}

/* One of /proc/PID/cgroup, "2:cpu,cpuacct:/a/b". */
struct cgroup_line {
	const char *controllers, *path;
	size_t controllers_length, path_length;
};

/* *text goes on to the next one; false: there is none. */
static bool next_line(const char **text, struct cgroup_line *ret)
{
	while (**text) {
		const char *line = *text;
		size_t length = strcspn(line, "\n");
		const char *first = memchr(line, ':', length);
		const char *second = first ? memchr(first + 1, ':', length - (size_t)(first + 1 - line)) : NULL;

		*text += length + (line[length] == '\n');
		if (!second)
			continue;
		*ret = (struct cgroup_line){
			.controllers = first + 1, .controllers_length = (size_t)(second - first - 1),
			.path = second + 1, .path_length = length - (size_t)(second + 1 - line),
		};
		return true;
	}
	return false;
}

static bool find_line(const char *cgroups, const char *controllers, struct cgroup_line *ret)
{
	while (next_line(&cgroups, ret))
		if (same_controllers(ret->controllers, ret->controllers_length, controllers))
			return true;
	return false;
}

char *rt_layout_path_of(const char *cgroups, const char *controllers, struct rt_arena *arena)
{
	struct cgroup_line line;

	return find_line(cgroups, controllers, &line) ? rt_arena_printf(arena, "%.*s", (int)line.path_length, line.path) : NULL;
}

/* A bind mount of a part of the hierarchy shows that part alone. What lies outside of it has no name there, so we
 * count as being at its top. */
static const char *own_below(const char *own, const char *root)
{
	if (!own || !is_below(own, root))
		return "/";
	if (!rt_str_equal(root, "/"))
		own += strlen(root);
	return *own == '/' ? own : "/";
}

static struct rt_cgroup_mount *find_mount(struct rt_layout *layout, const char *controllers)
{
	for (size_t i = 0; i < layout->count; i++)
		if (rt_str_equal(layout->mounts[i].controllers, controllers))
			return &layout->mounts[i];
	return NULL;
}

static struct rt_error *add_mount(const struct mount_line *mount, const char *own_cgroups, struct rt_arena *arena,
				  struct rt_layout *layout)
{
	bool v2 = rt_str_equal(mount->type, "cgroup2");
	const char *controllers = v2 ? "" : controllers_of(mount, arena);
	struct rt_cgroup_mount *at;
	struct cgroup_line line;
	char *point, *own;

	if (!controllers)
		return rt_error_oom();
	at = find_mount(layout, controllers);
	if (at && (is_below(at->mount_point, ROOT_OF_ALL) || !is_below(mount->point, ROOT_OF_ALL)))
		return NULL; /* a second mount of one hierarchy: the usual place wins, else the first */
	if (!at)
		at = &layout->mounts[layout->count++];
	point = rt_arena_printf(arena, "%s", mount->point);
	own = rt_layout_path_of(own_cgroups, controllers, arena);
	if (!point)
		return rt_error_oom();
	*at = (struct rt_cgroup_mount){
		.controllers = controllers, .mount_point = point, .own = own_below(own, mount->root), .v2 = v2, .whole = rt_str_equal(mount->root, "/"),
	};
	if (find_line(own_cgroups, controllers, &line)) {
		at->spelling = rt_arena_printf(arena, "%.*s", (int)line.controllers_length, line.controllers);
		return at->spelling ? NULL : rt_error_oom();
	}
	return NULL;
}

static bool shows_all(const struct rt_layout *layout, const char *own_cgroups)
{
	struct cgroup_line line;
	size_t lines = 0, shown = 0;

	while (next_line(&own_cgroups, &line))
		lines++;
	for (size_t i = 0; i < layout->count; i++)
		shown += layout->mounts[i].whole && layout->mounts[i].spelling;
	return lines > 0 && shown == lines;
}

static void put_v2_last(struct rt_layout *layout)
{
	for (size_t i = 0; i + 1 < layout->count; i++) {
		struct rt_cgroup_mount mount = layout->mounts[i];

		if (!mount.v2)
			continue;
		memmove(&layout->mounts[i], &layout->mounts[i + 1], (layout->count - i - 1) * sizeof(mount));
		layout->mounts[layout->count - 1] = mount;
		return;
	}
}

static struct rt_error *parse_mountinfo(const char *mountinfo, struct rt_arena *arena, struct mount_line **ret_lines, size_t *ret_count)
{
	char *copy = rt_arena_printf(arena, "%s", mountinfo), *save = NULL;
	size_t room = 1;
	struct mount_line *lines;

	if (!copy)
		return rt_error_oom();
	for (const char *at = mountinfo; *at; at++)
		room += *at == '\n';
	lines = rt_arena_calloc(arena, room, sizeof(*lines));
	if (!lines)
		return rt_error_oom();
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (parse_line(line, &lines[*ret_count]))
			++*ret_count;
	*ret_lines = lines;
	return NULL;
}

struct rt_error *rt_layout_parse(const char *mountinfo, const char *own_cgroups, struct rt_arena *arena, struct rt_layout *ret)
{
	_cleanup_(rt_arena_deinit) struct rt_arena scratch = RT_ARENA_NULL;
	struct rt_layout layout = { .kind = RT_CGROUP_NONE };
	struct mount_line *lines = NULL;
	size_t count = 0, cgroups = 0;
	struct rt_error *err = parse_mountinfo(mountinfo, &scratch, &lines, &count);

	if (err)
		return err;
	for (size_t i = 0; i < count; i++)
		cgroups += rt_str_starts(lines[i].type, "cgroup");
	layout.mounts = rt_arena_calloc(arena, cgroups + 1, sizeof(*layout.mounts));
	if (!layout.mounts)
		return rt_error_oom();
	for (size_t i = 0; !err && i < count; i++) {
		if (!rt_str_equal(lines[i].type, "cgroup") && !rt_str_equal(lines[i].type, "cgroup2"))
			continue;
		if (!is_hidden(lines, count, &lines[i]))
			err = add_mount(&lines[i], own_cgroups, arena, &layout);
	}
	if (err)
		return err;
	put_v2_last(&layout);
	layout.whole = shows_all(&layout, own_cgroups);
	if (layout.count > 0) {
		bool v2 = layout.mounts[layout.count - 1].v2;

		layout.kind = !v2 ? RT_CGROUP_V1 : layout.count > 1 ? RT_CGROUP_HYBRID : RT_CGROUP_V2;
	}
	*ret = layout;
	return NULL;
}

/* Where cgroup2 itself is at the usual place, mountinfo has nothing to add. */
static struct rt_error *pure_v2(struct rt_arena *arena, struct rt_layout *ret)
{
	struct rt_cgroup_mount *mount = rt_arena_calloc(arena, 1, sizeof(*mount));

	if (!mount)
		return rt_error_oom();
	*mount = (struct rt_cgroup_mount){ .controllers = "", .mount_point = ROOT_OF_ALL, .own = "/", .v2 = true };
	*ret = (struct rt_layout){ .kind = RT_CGROUP_V2, .mounts = mount, .count = 1 };
	return NULL;
}

static bool is_pure_v2(void)
{
	struct statfs fs;

	return statfs(ROOT_OF_ALL, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

struct rt_error *rt_layout_find(unsigned flags, struct rt_arena *arena, struct rt_layout *ret)
{
	_cleanup_free_ char *mountinfo = NULL, *own = NULL;
	struct rt_error *err;

	if (!(flags & RT_LAYOUT_NEED_OWN) && is_pure_v2())
		return pure_v2(arena, ret);
	err = rt_read_file_at(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_LIMIT, &mountinfo, NULL);
	if (!err && (flags & RT_LAYOUT_NEED_OWN))
		err = rt_read_file_at(AT_FDCWD, "/proc/self/cgroup", 1 << 20, &own, NULL);
	if (!err)
		err = rt_layout_parse(mountinfo, own ? own : "", arena, ret);
	if (err)
		return rt_while(err, "looking for cgroups");
	if ((flags & RT_LAYOUT_NEED_OWN) && ret->kind == RT_CGROUP_HYBRID && is_pure_v2()) {
		/* A stray v1 mount elsewhere does not make the machine a hybrid one. */
		ret->mounts += ret->count - 1;
		ret->count = 1;
		ret->kind = RT_CGROUP_V2;
		ret->whole = false;
	}
	return NULL;
}

struct rt_error *rt_cgroup_detect_layout(enum rt_cgroup_layout *ret)
{
	_cleanup_(rt_arena_deinit) struct rt_arena arena = RT_ARENA_NULL;
	struct rt_layout layout = { .kind = RT_CGROUP_NONE };
	struct rt_error *err = rt_layout_find(0, &arena, &layout);

	if (err)
		return err;
	*ret = layout.kind;
	return NULL;
}
