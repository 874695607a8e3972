/* Ways into the cgroup. On the start path a task only ever moves itself by a v1 `tasks` file, or is cloned into the v2
 * directory: moving a whole process by cgroup.procs waits for an RCU grace period. */
#include "runtime/base/io.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/layout.h"
#include "runtime/cgroup/path.h"
#include "runtime/cgroup/private.h"

#include <fcntl.h>
#include <limits.h>
#include <time.h>

int rt_cgroup_clone_fd(const struct rt_cgroup *cgroup)
{
	return cgroup->v2_fd;
}

/* True where the kernel refuses processes in the place: it hands controllers on to cgroups below. */
static bool refuses_processes(const struct rt_cgroup_place *place)
{
	_cleanup_free_ char *handed_on = NULL;

	rt_error_free(rt_place_read(place, "cgroup.subtree_control", &handed_on));
	return handed_on && *handed_on;
}

/* An init such as systemd moves itself further down and hands controllers on: there is room beside it. */
static struct rt_error *follow_init(struct rt_cgroup *cgroup, struct rt_cgroup_place *place, pid_t init_pid)
{
	_cleanup_free_ char *text = NULL;
	const char *path;
	struct rt_error *err;
	char file[32];

	snprintf(file, sizeof(file), "/proc/%d/cgroup", init_pid);
	err = rt_read_file_at(AT_FDCWD, file, 1 << 20, &text, NULL);
	if (err)
		return err;
	path = rt_layout_path_of(text, "", &cgroup->arena);
	/* Only below the container's own: elsewhere somebody else has put it. */
	if (!path || strncmp(path, place->hierarchy->path, strlen(place->hierarchy->path)) != 0)
		return NULL;
	return rt_place_move(cgroup, place, path);
}

static struct rt_error *move_below(struct rt_cgroup *cgroup, struct rt_cgroup_place *place, const char *below)
{
	char *path;
	struct rt_error *err;

	below += strspn(below, "/");
	if (!*below)
		return NULL;
	err = rt_cgroup_path(below, place->hierarchy->path, &cgroup->arena, &path);
	if (!err)
		err = rt_place_move(cgroup, place, path);
	if (!err && access(place->directory, F_OK) < 0)
		err = rt_fail_errno("cannot use cgroup '%s'", place->directory);
	return err ? rt_while(err, "--cgroup '%s'", below) : NULL;
}

/* `wanted` has a path for each place; NULL: it stays the container's own. */
static struct rt_error *wish(const struct rt_cgroup *cgroup, const char *controller, const char *path, const char **wanted)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		if (!rt_has_controller(cgroup->places[i].hierarchy->controllers, controller))
			continue;
		/* Controllers of one hierarchy have one cgroup between them. */
		if (wanted[i] && !rt_str_equal(wanted[i], path))
			return rt_fail(RT_USAGE, "--cgroup: '%s' and '%s' for the hierarchy of controller '%s'", wanted[i], path,
				       controller);
		wanted[i] = path;
		return NULL;
	}
	return rt_fail(RT_USAGE, "--cgroup: the container has no cgroup of controller '%s'", controller);
}

static struct rt_error *wish_of_controllers(const struct rt_cgroup *cgroup, const char *below, const char *colon,
					    const char **wanted)
{
	_cleanup_free_ char *controllers = strndup(below, (size_t)(colon - below));
	struct rt_error *err = NULL;
	char *rest = controllers, *name;

	if (!controllers)
		return rt_error_oom();
	while (!err && (name = strsep(&rest, ",")))
		err = wish(cgroup, name, colon + 1, wanted);
	return err;
}

static struct rt_error *choose_below(struct rt_cgroup *cgroup, const char *const *below)
{
	_cleanup_free_ const char **wanted = calloc(cgroup->count + 1, sizeof(*wanted));
	struct rt_error *err = NULL;

	if (!wanted)
		return rt_error_oom();
	for (size_t n = 0; !err && below[n]; n++) {
		const char *colon = strchr(below[n], ':');

		if (colon) {
			err = wish_of_controllers(cgroup, below[n], colon, wanted);
		} else {
			if (below[1])
				return rt_fail(RT_USAGE, "--cgroup '%s' must begin with a controller and a colon beside another one",
					       below[n]);
			for (size_t i = 0; i < cgroup->count; i++)
				wanted[i] = below[n];
		}
	}
	for (size_t i = 0; !err && i < cgroup->count; i++)
		if (wanted[i])
			err = move_below(cgroup, &cgroup->places[i], wanted[i]);
	return err;
}

struct rt_error *rt_cgroup_enter_below(struct rt_cgroup *cgroup, const char *const *below, pid_t init_pid)
{
	struct rt_cgroup_place *place = rt_cgroup_v2_place(cgroup);
	struct rt_error *err = NULL;

	if (below && *below)
		err = choose_below(cgroup, below);
	else if (place && refuses_processes(place))
		err = follow_init(cgroup, place, init_pid);
	if (err || !place)
		return err;
	cgroup->v2_fd = open(place->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return cgroup->v2_fd < 0 ? rt_fail_errno("cannot open cgroup '%s'", place->directory) : NULL;
}

struct rt_error *rt_cgroup_open_entries(struct rt_cgroup *cgroup)
{
	char path[PATH_MAX];

	/* What systemd is still to make can't be opened; rt_cgroup_adopt() moves the process. */
	if (cgroup->unit && !cgroup->created)
		return NULL;
	for (size_t i = 0; i < cgroup->count; i++) {
		struct rt_cgroup_place *place = &cgroup->places[i];

		if (place->entry_fd >= 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", place->directory, place->v2 ? "cgroup.procs" : "tasks");
		place->entry_fd = open(path, O_WRONLY | O_CLOEXEC);
		if (place->entry_fd < 0)
			return rt_fail_errno("cannot open '%s'", path);
	}
	return NULL;
}

/* Right after a clone the kernel may find a task too new to move. */
static int enter(int fd, const char *text)
{
	struct timespec moment = { .tv_nsec = 1000000 };

	for (int attempt = 0;; attempt++) {
		if (write(fd, text, strlen(text)) >= 0)
			return 0;
		if (errno != EINTR && (errno != EINVAL || attempt == 30))
			return -1;
		if (errno == EINVAL)
			nanosleep(&moment, NULL);
	}
}

static struct rt_error *cannot_enter(const struct rt_cgroup_place *place, const char *who)
{
	int errnum = errno;
	const char *why = "";

	if (place->v2 && errnum == EBUSY)
		why = " (it has controllers enabled for cgroups below it)";
	else if (place->v2 && errnum == EOPNOTSUPP)
		why = " (it is threaded, or below a threaded one)";
	else if (!place->v2 && errnum == ENOSPC)
		why = " (its cpuset is empty)";
	return rt_fail_with(errnum, "cannot move %s into cgroup '%s'%s", who, place->directory, why);
}

struct rt_error *rt_cgroup_enter_self(const struct rt_cgroup *cgroup, bool cloned_into)
{
	for (size_t i = 0; i < cgroup->count; i++) {
		const struct rt_cgroup_place *place = &cgroup->places[i];

		if (place->entry_fd < 0 || (place->v2 && cloned_into))
			continue;
		if (enter(place->entry_fd, "0") < 0)
			return cannot_enter(place, "the container's process");
	}
	return NULL;
}

struct rt_error *rt_cgroup_add(struct rt_cgroup *cgroup, pid_t pid)
{
	char path[PATH_MAX], text[24];

	snprintf(text, sizeof(text), "%d", pid);
	for (size_t i = 0; i < cgroup->count; i++) {
		const struct rt_cgroup_place *place = &cgroup->places[i];
		_cleanup_close_ int fd = -1;

		snprintf(path, sizeof(path), "%s/cgroup.procs", place->directory);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || enter(fd, text) < 0)
			return cannot_enter(place, text);
	}
	return NULL;
}
