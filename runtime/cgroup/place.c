#include "runtime/base/str.h"
#include "runtime/cgroup/private.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

/* Others may remove a parent as empty between our making it and our making what goes into it. */
#define MAKE_ATTEMPTS 64

/* Makes the directory whose path ends at `end`, parents first where they are missing. */
static int make_up_to(const char *path, size_t end, size_t floor, unsigned *made)
{
	char dir[PATH_MAX];
	size_t parent = end;

	memcpy(dir, path, end);
	dir[end] = '\0';
	if (mkdir(dir, 0755) == 0) {
		++*made;
		return 0;
	}
	if (errno == EEXIST)
		return 0;
	while (parent > floor && path[parent - 1] != '/')
		parent--;
	if (errno != ENOENT || parent <= floor + 1)
		return -errno;
	return make_up_to(path, parent - 1, floor, made);
}

struct rt_error *rt_place_make(struct rt_cgroup_place *place)
{
	size_t floor = strlen(place->hierarchy->mount_point), length = strlen(place->directory);

	if (length >= PATH_MAX)
		return rt_fail_with(ENAMETOOLONG, "cannot create cgroup '%s'", place->directory);
	for (int attempt = 0; attempt < MAKE_ATTEMPTS; attempt++) {
		int result;

		if (mkdir(place->directory, 0755) == 0) {
			place->made++;
			place->fresh = true;
			return NULL;
		}
		if (errno == EEXIST)
			return NULL;
		if (errno != ENOENT)
			break;
		/* One level a round, so that `made` counts the directories at the end of the path without a gap. */
		result = make_up_to(place->directory, length, floor, &place->made);
		if (result < 0) {
			errno = -result;
			break;
		}
	}
	return rt_fail_errno("cannot create cgroup '%s'", place->directory);
}

void rt_place_undo(const struct rt_cgroup_place *place)
{
	char dir[PATH_MAX];
	int saved = errno;

	if (snprintf(dir, sizeof(dir), "%s", place->directory) < (int)sizeof(dir)) {
		/* The last ones may never have come to be. */
		for (unsigned left = place->made; left > 0 && strlen(dir) > strlen(place->hierarchy->mount_point);) {
			if (rmdir(dir) == 0)
				left--;
			else if (errno != ENOENT)
				break;
			*strrchr(dir, '/') = '\0';
		}
	}
	errno = saved;
}

static struct rt_error *copy_file(const char *from, const char *to, const char *file, bool *ret_empty)
{
	char path[PATH_MAX], value[1024];
	ssize_t size;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", from, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, value, sizeof(value));
	rt_closep(&fd);
	if (size < 0)
		return rt_fail_errno("cannot read '%s'", path);
	*ret_empty = size == 0 || value[0] == '\n';
	if (*ret_empty)
		return NULL;
	snprintf(path, sizeof(path), "%s/%s", to, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : write(fd, value, (size_t)size);
	rt_closep(&fd);
	if (size < 0)
		return rt_fail_errno("cannot write '%s'", path);
	return NULL;
}

/* Fills the directory that ends at `end` from the one above, which is seen to first where it is as empty. */
static struct rt_error *inherit(const char *directory, size_t end, size_t floor, const char *file)
{
	char to[PATH_MAX], from[PATH_MAX];
	size_t parent = end;
	struct rt_error *err;
	bool empty;

	while (parent > floor && directory[parent - 1] != '/')
		parent--;
	if (parent <= floor)
		return NULL;
	snprintf(to, sizeof(to), "%.*s", (int)end, directory);
	snprintf(from, sizeof(from), "%.*s", (int)(parent - 1), directory);
	err = copy_file(from, to, file, &empty);
	if (err || !empty)
		return err;
	if (parent - 1 <= floor)
		return rt_fail(RT_SYSTEM, "'%s/%s' is empty, there is nothing to inherit", from, file);
	err = inherit(directory, parent - 1, floor, file);
	return err ? err : copy_file(from, to, file, &empty);
}

struct rt_error *rt_place_fill_cpuset(const struct rt_cgroup_place *place, const char *cpus, const char *mems)
{
	size_t floor = strlen(place->hierarchy->mount_point), length = strlen(place->directory);
	struct rt_error *err = NULL;

	/* With parents that are as new, even a value of our own needs theirs to be there. */
	if (!cpus || place->made > 1)
		err = inherit(place->directory, length, floor, "cpuset.cpus");
	if (!err && (!mems || place->made > 1))
		err = inherit(place->directory, length, floor, "cpuset.mems");
	return err;
}

static struct rt_error *check_thawed(const struct rt_cgroup_place *place)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_place_read(place, place->v2 ? "cgroup.events" : "freezer.state", &text);
	uint64_t frozen = 0;

	if (err || !text)
		return err;
	if (place->v2 ? rt_flat_value(text, "frozen", &frozen) && frozen : !rt_str_equal(text, "THAWED"))
		return rt_fail(RT_SYSTEM, "the container's cgroup '%s' is frozen", place->directory);
	return NULL;
}

struct rt_error *rt_place_check_unused(const struct rt_cgroup_place *place)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = check_thawed(place);

	if (!err)
		err = rt_place_read(place, "cgroup.procs", &text);
	if (err)
		return err;
	if (text && *text)
		return rt_fail(RT_SYSTEM, "the container's cgroup '%s' is not empty: process %.*s is in it", place->directory,
			       (int)strcspn(text, "\n"), text);
	return NULL;
}
