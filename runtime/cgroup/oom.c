/* Word of the OOM killer: an eventfd on memory.oom_control in v1, inotify on memory.events in v2. */
#include "runtime/base/str.h"
#include "runtime/cgroup/private.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

static struct rt_error *watch_v1(const struct rt_cgroup_place *place, int *ret)
{
	_cleanup_close_ int event = -1, control = -1;
	char path[PATH_MAX], text[32];
	struct rt_error *err;

	snprintf(path, sizeof(path), "%s/memory.oom_control", place->directory);
	control = open(path, O_RDONLY | O_CLOEXEC);
	if (control < 0)
		return rt_fail_errno("cannot open '%s'", path);
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event < 0)
		return rt_fail_errno("cannot make an eventfd");
	snprintf(text, sizeof(text), "%d %d", event, control);
	err = rt_place_write(place, "cgroup.event_control", text);
	if (err)
		return err;
	*ret = rt_take_fd(event);
	return NULL;
}

static struct rt_error *watch_v2(const struct rt_cgroup_place *place, int *ret)
{
	_cleanup_close_ int watch = -1;
	char path[PATH_MAX];

	if (!rt_place_has(place, "memory.events"))
		return NULL;
	snprintf(path, sizeof(path), "%s/memory.events", place->directory);
	watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0)
		return rt_fail_errno("cannot watch '%s'", path);
	*ret = rt_take_fd(watch);
	return NULL;
}

struct rt_error *rt_cgroup_oom_watch(const struct rt_cgroup *cgroup, int *ret_fd)
{
	const struct rt_cgroup_place *place = rt_cgroup_place_for(cgroup, "memory");

	*ret_fd = -1;
	if (!place)
		return NULL;
	return place->v2 ? watch_v2(place, ret_fd) : watch_v1(place, ret_fd);
}

struct rt_error *rt_cgroup_oom_read(const struct rt_cgroup *cgroup, int fd, uint64_t *count, bool *ret_oom)
{
	const struct rt_cgroup_place *place = rt_cgroup_place_for(cgroup, "memory");
	_cleanup_free_ char *text = NULL;
	struct rt_error *err;
	uint64_t kills = 0;
	char events[4096];
	bool fired;

	*ret_oom = false;
	if (!place)
		return NULL;
	fired = read(fd, events, place->v2 ? sizeof(events) : sizeof(uint64_t)) > 0;
	while (fired && place->v2 && read(fd, events, sizeof(events)) > 0)
		;
	/* Both also fire when the cgroup goes away; v1's fires before the killer has counted. */
	err = rt_place_read(place, place->v2 ? "memory.events" : "memory.oom_control", &text);
	if (err || !text)
		return err;
	if (!place->v2)
		*ret_oom = fired;
	if (rt_flat_value(text, "oom_kill", &kills)) {
		if (place->v2)
			*ret_oom = fired && kills > *count;
		*count = kills;
	}
	return NULL;
}
