/* Stopping all tasks of the container and letting them go on. */
#include "runtime/base/str.h"
#include "runtime/base/clock.h"
#include "runtime/cgroup/private.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <time.h>

#define PATIENCE_MS 10000

static void pause_us(long us)
{
	struct timespec time = { .tv_nsec = us * 1000 };

	nanosleep(&time, NULL);
}

static struct rt_error *find(const struct rt_cgroup *cgroup, struct rt_cgroup_place **ret)
{
	*ret = rt_cgroup_place_for(cgroup, "freezer");
	if (!*ret)
		return rt_fail(RT_SYSTEM, "the container has no cgroup that could be frozen");
	return NULL;
}

static struct rt_error *gone(const struct rt_cgroup_place *place)
{
	return rt_fail(RT_SYSTEM, "cgroup '%s' is not there, or this kernel can't freeze it", place->directory);
}

/* *ret: what the kernel says; a freezing that is still under way counts as frozen where `asked` is set. */
static struct rt_error *is_frozen(const struct rt_cgroup_place *place, bool asked, bool *ret)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = rt_place_read(place, place->v2 ? "cgroup.events" : "freezer.state", &text);
	uint64_t frozen = 0;

	if (err)
		return err;
	if (!text)
		*ret = false; /* no cgroup, nothing frozen */
	else if (place->v2)
		*ret = rt_flat_value(text, "frozen", &frozen) && frozen;
	else
		*ret = rt_str_equal(text, "FROZEN") || (asked && rt_str_equal(text, "FREEZING"));
	/* In v2 the events tell only of what is done, for all tasks at once. */
	if (text && place->v2 && asked && !*ret) {
		err = rt_place_read_u64(place, "cgroup.freeze", &frozen, NULL);
		*ret = !err && frozen;
	}
	return err;
}

struct rt_error *rt_cgroup_is_frozen(const struct rt_cgroup *cgroup, bool *ret)
{
	const struct rt_cgroup_place *place = rt_cgroup_place_for(cgroup, "freezer");

	*ret = false;
	return place ? is_frozen(place, true, ret) : NULL;
}

/* cgroup.events tells of changes by poll(). */
static struct rt_error *wait_v2(const struct rt_cgroup_place *place, bool frozen, bool *ret_late)
{
	int64_t deadline = (int64_t)(rt_now_us() / 1000) + PATIENCE_MS;
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX], text[256];

	snprintf(path, sizeof(path), "%s/cgroup.events", place->directory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return rt_fail_errno("cannot open '%s'", path);
	for (;;) {
		struct pollfd wait = { .fd = fd, .events = POLLPRI };
		ssize_t size = pread(fd, text, sizeof(text) - 1, 0);
		int64_t left = deadline - (int64_t)(rt_now_us() / 1000);
		uint64_t value = 0;

		if (size < 0)
			return rt_fail_errno("cannot read '%s'", path);
		text[size] = '\0';
		if (rt_flat_value(text, "frozen", &value) && (value != 0) == frozen)
			return NULL;
		*ret_late = left <= 0;
		if (*ret_late)
			return NULL;
		if (poll(&wait, 1, (int)left) < 0 && errno != EINTR)
			return rt_fail_errno("cannot poll");
	}
}

static struct rt_error *freeze_v2(const struct rt_cgroup_place *place, bool frozen)
{
	bool late = false;
	struct rt_error *err;

	if (!rt_place_has(place, "cgroup.freeze"))
		return gone(place);
	err = rt_place_write(place, "cgroup.freeze", frozen ? "1" : "0");
	if (!err)
		err = wait_v2(place, frozen, &late);
	if (err || !late)
		return err;
	if (!frozen)
		return rt_fail(RT_SYSTEM, "cgroup '%s' does not thaw: is one above it frozen?", place->directory);
	rt_error_free(rt_place_write(place, "cgroup.freeze", "0"));
	return rt_fail(RT_SYSTEM, "cgroup '%s' did not freeze within %d s", place->directory, PATIENCE_MS / 1000);
}

static struct rt_error *check_parent_v1(const struct rt_cgroup_place *place)
{
	uint64_t frozen = 0;
	struct rt_error *err = rt_place_read_u64(place, "freezer.parent_freezing", &frozen, NULL);

	if (!err && frozen)
		return rt_fail(RT_SYSTEM, "cgroup '%s' cannot thaw, one above it is frozen", place->directory);
	return err;
}

/* The v1 freezer gives up on tasks that fork while it walks: to write again makes it walk again, and now and then to let
 * everything run for a moment helps it over a task that waits for another one already frozen. */
static struct rt_error *freeze_v1(const struct rt_cgroup_place *place)
{
	int64_t deadline = (int64_t)(rt_now_us() / 1000) + PATIENCE_MS;
	struct rt_error *err = NULL;
	bool frozen = false;

	for (unsigned round = 0; !err && !frozen && (int64_t)(rt_now_us() / 1000) < deadline; round++) {
		if (round % 50 == 49) {
			err = rt_place_write(place, "freezer.state", "THAWED");
			pause_us(100);
		}
		if (!err)
			err = rt_place_write(place, "freezer.state", "FROZEN");
		if (!err)
			err = is_frozen(place, false, &frozen);
		if (!err && !frozen)
			pause_us(round < 20 ? 50 : 2000);
	}
	if (!err && frozen)
		return NULL;
	rt_error_free(rt_place_write(place, "freezer.state", "THAWED"));
	return err ? err : rt_fail(RT_SYSTEM, "cgroup '%s' did not freeze within %d s", place->directory, PATIENCE_MS / 1000);
}

static struct rt_error *thaw_v1(const struct rt_cgroup_place *place)
{
	struct rt_error *err = rt_place_write(place, "freezer.state", "THAWED");
	bool frozen = false;

	if (!err)
		err = is_frozen(place, true, &frozen);
	return err || !frozen ? err : check_parent_v1(place);
}

struct rt_error *rt_cgroup_freeze(struct rt_cgroup *cgroup, bool frozen)
{
	struct rt_cgroup_place *place;
	struct rt_error *err = find(cgroup, &place);

	if (err)
		return err;
	if (place->v2)
		return freeze_v2(place, frozen);
	if (!rt_place_has(place, "freezer.state"))
		return gone(place);
	return frozen ? freeze_v1(place) : thaw_v1(place);
}
