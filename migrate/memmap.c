#include "migrate/memmap.h"

#include "runtime/base/str.h"

#include <fcntl.h>
#include <stdio.h>

/* A process can have vm.max_map_count mappings, and each a path of 4 KiB. */
#define MAPS_LIMIT (256u << 20)

static struct rt_error *add(struct rt_memmap *map, const struct rt_mapping *mapping)
{
	if (map->count == map->room) {
		size_t room = map->room ? map->room * 2 : 64;
		struct rt_mapping *larger = reallocarray(map->mappings, room, sizeof(*larger));

		if (!larger)
			return rt_error_oom();
		map->mappings = larger;
		map->room = room;
	}
	map->mappings[map->count++] = *mapping;
	return NULL;
}

static bool take_hex(const char **at, char stop, uint64_t *ret)
{
	char *end;

	if (**at == '-' || **at == ' ' || **at == '+')
		return false;
	errno = 0;
	*ret = strtoull(*at, &end, 16);
	if (errno || end == *at || *end != stop)
		return false;
	*at = end + 1;
	return true;
}

/* start-end rwxp offset major:minor inode    path */
static bool parse_line(const char *line, struct rt_mapping *ret)
{
	struct rt_mapping mapping = { 0 };
	const char *at = line, *name;
	uint64_t offset, major, minor, inode;
	char *end;

	if (!take_hex(&at, '-', &mapping.start) || !take_hex(&at, ' ', &mapping.end) || mapping.start >= mapping.end)
		return false;
	if (strnlen(at, 5) < 5 || at[4] != ' ')
		return false;
	mapping.readable = at[0] == 'r';
	mapping.writable = at[1] == 'w';
	mapping.executable = at[2] == 'x';
	mapping.shared = at[3] == 's';
	at += 5;
	if (!take_hex(&at, ' ', &offset) || !take_hex(&at, ':', &major) || !take_hex(&at, ' ', &minor))
		return false;
	errno = 0;
	inode = strtoull(at, &end, 10);
	if (errno || end == at || (*end && *end != ' '))
		return false;
	mapping.file = inode || major || minor;
	name = end + strspn(end, " ");
	/* Names in brackets are the kernel's; a process can only make "[anon:...]", and paths begin with a slash. */
	mapping.vdso = rt_str_equal(name, "[vdso]");
	mapping.special = rt_str_starts(name, "[v") || rt_str_equal(name, "[uprobes]");
	mapping.stack = rt_str_equal(name, "[stack]");
	*ret = mapping;
	return true;
}

struct rt_error *rt_memmap_parse(char *text, struct rt_memmap *map)
{
	char *rest = text, *line;

	map->count = 0;
	while ((line = strsep(&rest, "\n"))) {
		struct rt_mapping mapping;
		struct rt_error *err;

		if (!*line)
			continue;
		if (!parse_line(line, &mapping))
			return rt_fail(RT_SYSTEM, "'%.80s' is not a line of /proc/PID/maps", line);
		err = add(map, &mapping);
		if (err)
			return err;
	}
	return NULL;
}

/* *ret_size is 0 where there is nothing to read. */
static struct rt_error *read_text(int fd, struct rt_memmap *map, size_t *ret_size)
{
	size_t size = 0;

	for (;;) {
		ssize_t got;

		if (map->text_room - size < 8192) {
			size_t room = map->text_room ? map->text_room * 2 : 65536;
			char *larger;

			if (room > MAPS_LIMIT)
				return rt_fail_with(EFBIG, "reading");
			larger = realloc(map->text, room);
			if (!larger)
				return rt_error_oom();
			map->text = larger;
			map->text_room = room;
		}
		got = read(fd, map->text + size, map->text_room - size - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno != ESRCH)
			return rt_fail_errno("reading");
		if (got <= 0)
			break;
		size += (size_t)got;
	}
	map->text[size] = '\0';
	*ret_size = size;
	return NULL;
}

struct rt_error *rt_memmap_read(pid_t pid, struct rt_memmap *map, bool *ret_found)
{
	_cleanup_close_ int fd = -1;
	struct rt_error *err;
	char path[48];
	size_t size = 0;

	map->count = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT && errno != ESRCH)
		return rt_fail_errno("cannot open '%s'", path);
	if (fd < 0) {
		*ret_found = false;
		return NULL;
	}
	err = read_text(fd, map, &size);
	if (!err)
		err = rt_memmap_parse(map->text, map);
	if (err)
		return rt_while(err, "reading '%s'", path);
	*ret_found = size > 0;
	return NULL;
}

void rt_memmap_free(struct rt_memmap *map)
{
	free(map->mappings);
	free(map->text);
	*map = (struct rt_memmap){ 0 };
}

struct rt_error *rt_memmap_count_flag(pid_t pid, const char *flag, size_t *ret)
{
	_cleanup_fclose_ FILE *file = NULL;
	_cleanup_free_ char *line = NULL;
	size_t room = 0, count = 0;
	char path[48], word[8];

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	snprintf(word, sizeof(word), " %.2s ", flag);
	file = fopen(path, "re");
	if (!file)
		return rt_fail_errno("cannot open '%s'", path);
	while (getline(&line, &room, file) > 0)
		if (rt_str_starts(line, "VmFlags:") && strstr(line, word))
			count++;
	if (ferror(file))
		return rt_fail_errno("cannot read '%s'", path);
	*ret = count;
	return NULL;
}
