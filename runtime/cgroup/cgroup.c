/* The choice of driver, and what all of them share. */
#include "runtime/cgroup/cgroup.h"

#include "runtime/base/io.h"
#include "runtime/base/log.h"
#include "runtime/base/str.h"
#include "runtime/cgroup/layout.h"
#include "runtime/cgroup/path.h"
#include "runtime/cgroup/private.h"
#include "runtime/cgroup/systemd.h"

#include <fcntl.h>

static struct rt_cgroup *new_cgroup(void)
{
	struct rt_cgroup *cgroup = calloc(1, sizeof(*cgroup));

	if (cgroup)
		*cgroup = (struct rt_cgroup){ .layout = RT_CGROUP_NONE, .v2_fd = -1 };
	return cgroup;
}

void rt_cgroup_free(struct rt_cgroup *cgroup)
{
	if (!cgroup)
		return;
	for (size_t i = 0; i < cgroup->count; i++)
		rt_closep(&cgroup->places[i].entry_fd);
	rt_closep(&cgroup->v2_fd);
	rt_arena_deinit(&cgroup->arena);
	free(cgroup);
}

struct rt_error *rt_cgroup_make_room(struct rt_cgroup *cgroup, size_t count)
{
	cgroup->hierarchies = rt_arena_calloc(&cgroup->arena, count + 1, sizeof(*cgroup->hierarchies));
	cgroup->places = rt_arena_calloc(&cgroup->arena, count + 1, sizeof(*cgroup->places));
	return cgroup->hierarchies && cgroup->places ? NULL : rt_error_oom();
}

struct rt_error *rt_place_move(struct rt_cgroup *cgroup, struct rt_cgroup_place *place, const char *path)
{
	place->hierarchy->path = path;
	place->directory = rt_arena_printf(&cgroup->arena, "%s%s", place->hierarchy->mount_point, path);
	return place->directory ? NULL : rt_error_oom();
}

struct rt_error *rt_cgroup_add_place(struct rt_cgroup *cgroup, const char *controllers, const char *mount_point, const char *path)
{
	struct rt_cgroup_hierarchy *hierarchy = &cgroup->hierarchies[cgroup->hierarchy_count++];
	struct rt_cgroup_place *place = &cgroup->places[cgroup->count++];
	const char *slash = strrchr(mount_point, '/');

	*hierarchy = (struct rt_cgroup_hierarchy){
		.controllers = controllers, .mount_point = mount_point, .mount_name = slash ? slash + 1 : mount_point,
	};
	*place = (struct rt_cgroup_place){ .hierarchy = hierarchy, .v2 = !*controllers, .entry_fd = -1 };
	return rt_place_move(cgroup, place, path);
}

bool rt_has_controller(const char *controllers, const char *name)
{
	size_t length = strlen(name);

	if (length == 0)
		return !*controllers;
	for (;;) {
		size_t word = strcspn(controllers, ",");

		if (word == length && strncmp(controllers, name, word) == 0)
			return true;
		if (!controllers[word])
			return false;
		controllers += word + 1;
	}
}

struct rt_cgroup_place *rt_cgroup_place(const struct rt_cgroup *cgroup, const char *controller)
{
	for (size_t i = 0; i < cgroup->count; i++)
		if (rt_has_controller(cgroup->places[i].hierarchy->controllers, controller))
			return &cgroup->places[i];
	return NULL;
}

struct rt_cgroup_place *rt_cgroup_place_for(const struct rt_cgroup *cgroup, const char *controller)
{
	struct rt_cgroup_place *place = rt_cgroup_place(cgroup, controller);

	return place ? place : rt_cgroup_v2_place(cgroup);
}

struct rt_cgroup_view rt_cgroup_view(const struct rt_cgroup *cgroup)
{
	return (struct rt_cgroup_view){ .layout = cgroup->layout, .hierarchies = cgroup->hierarchies,
				       .count = cgroup->hierarchy_count };
}

const char *rt_cgroup_directory(const struct rt_cgroup *cgroup, const char *controller)
{
	const struct rt_cgroup_place *place = rt_cgroup_place(cgroup, controller);

	return place ? place->directory : NULL;
}

/* What an ordinary user may not make is left out, as long as no limit depends on it. */
static bool may_skip(const struct rt_cgroup_request *request, const struct rt_error *err)
{
	if (!request->rootless || (request->resources && rt_limits_any(request->resources)))
		return false;
	return err->errnum == EACCES || err->errnum == EPERM || err->errnum == EROFS;
}

static struct rt_error *make_v1(const struct rt_cgroup_request *request, struct rt_cgroup_place *place)
{
	struct rt_error *err = rt_place_make(place);

	if (!err && place->fresh && rt_has_controller(place->hierarchy->controllers, "cpuset"))
		err = rt_place_fill_cpuset(place, request->resources ? request->resources->cpu.cpus : NULL,
					   request->resources ? request->resources->cpu.mems : NULL);
	return err;
}

static struct rt_error *make_v2(const struct rt_cgroup_request *request, struct rt_cgroup *cgroup, struct rt_cgroup_place *place)
{
	struct rt_error *err = rt_place_make(place);

	if (!err && request->rootless && place->own && !rt_v2_may_enter(place, place->own))
		err = rt_fail_with(EACCES, "cannot enter cgroup '%s' from '%s'", place->directory, place->own);
	if (!err)
		err = rt_v2_enable(cgroup, request->resources);
	if (!err && request->owner != (uid_t)-1)
		err = rt_v2_delegate(place, request->owner);
	if (err)
		return err;
	cgroup->v2_fd = open(place->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return cgroup->v2_fd < 0 ? rt_fail_errno("cannot open cgroup '%s'", place->directory) : NULL;
}

/* The process then stays in our own cgroup there, so that is what a cgroup mount shows. */
static void drop_place(struct rt_cgroup *cgroup, size_t index)
{
	struct rt_cgroup_place *place = &cgroup->places[index];

	if (place->own)
		place->hierarchy->path = place->own;
	cgroup->count--;
	memmove(place, place + 1, (cgroup->count - index) * sizeof(*place));
}

/* *ret_skipped: it can't be had, and needn't. */
static struct rt_error *make_place(const struct rt_cgroup_request *request, struct rt_cgroup *cgroup, struct rt_cgroup_place *place,
				   bool *ret_skipped)
{
	struct rt_error *err = place->v2 ? make_v2(request, cgroup, place) : make_v1(request, place);

	*ret_skipped = false;
	if (!err && !place->fresh && request->must_be_new)
		err = rt_place_check_unused(place);
	if (!err || !may_skip(request, err))
		return err;
	rt_debug("no cgroup in '%s': %s", place->hierarchy->mount_point, err->message);
	rt_error_free(err);
	rt_place_undo(place);
	*ret_skipped = true;
	return NULL;
}

static struct rt_error *apply_fresh(const struct rt_cgroup *cgroup, const struct rt_spec_resources *resources)
{
	struct rt_error *err = NULL;

	if (resources)
		err = rt_limits_apply_v1(cgroup, resources);
	if (!err && resources)
		err = rt_limits_apply_v2(cgroup, resources);
	return err ? err : rt_devices_apply(cgroup, resources);
}

/* Relative paths count from our own cgroup, as in runc. In pure v2 from the one above it: one with processes, and we are in
 * ours, may not hand controllers on. */
static const char *start_of(const struct rt_layout *layout, const struct rt_cgroup_mount *mount, struct rt_arena *arena)
{
	const char *slash = strrchr(mount->own, '/');

	if (layout->kind != RT_CGROUP_V2 || !slash)
		return mount->own;
	return rt_arena_printf(arena, "%.*s", (int)(slash - mount->own), mount->own);
}

static struct rt_error *plan_places(const struct rt_layout *layout, const char *path, struct rt_cgroup *cgroup)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && i < layout->count; i++) {
		const struct rt_cgroup_mount *mount = &layout->mounts[i];
		const char *start = start_of(layout, mount, &cgroup->arena);
		char *full;

		if (!start)
			return rt_error_oom();
		err = rt_cgroup_path(path, start, &cgroup->arena, &full);
		if (!err)
			err = rt_cgroup_add_place(cgroup, mount->controllers, mount->mount_point, full);
		if (!err)
			cgroup->places[i].own = mount->own;
	}
	return err;
}

static struct rt_error *no_cgroups(const struct rt_cgroup_request *request)
{
	if (request->rootless && (!request->resources || !rt_limits_any(request->resources)))
		return NULL;
	return rt_fail(RT_SYSTEM, "no cgroup file system is mounted (--cgroup-manager=disabled does without)");
}

static struct rt_error *plan_cgroupfs(const struct rt_cgroup_request *request, struct rt_cgroup *cgroup)
{
	const char *path = request->path && *request->path ? request->path : NULL;
	struct rt_layout layout;
	struct rt_error *err;

	/* An ordinary user has nothing at the top. */
	if (!path)
		path = rt_arena_printf(&cgroup->arena, "%s%s", request->rootless ? "" : "/", request->id);
	if (!path)
		return rt_error_oom();
	err = rt_layout_find(*path != '/' || request->rootless ? RT_LAYOUT_NEED_OWN : 0, &cgroup->arena, &layout);
	if (err)
		return err;
	cgroup->layout = layout.kind;
	if (layout.kind == RT_CGROUP_NONE)
		return no_cgroups(request);
	err = rt_cgroup_make_room(cgroup, layout.count);
	return err ? err : plan_places(&layout, path, cgroup);
}

static struct rt_error *plan_systemd(const struct rt_cgroup_request *request, struct rt_cgroup *cgroup)
{
	struct rt_layout layout;
	const char *path;
	struct rt_error *err = rt_layout_find(0, &cgroup->arena, &layout);

	if (err)
		return err;
	cgroup->layout = layout.kind;
	err = rt_cgroup_make_room(cgroup, layout.count);
	if (!err)
		err = rt_systemd_plan(request, cgroup, &path);
	for (size_t i = 0; !err && i < layout.count; i++)
		err = rt_cgroup_add_place(cgroup, layout.mounts[i].controllers, layout.mounts[i].mount_point, path);
	return err;
}

struct rt_error *rt_cgroup_plan(const struct rt_cgroup_request *request, struct rt_cgroup **ret)
{
	_cleanup_(rt_cgroup_freep) struct rt_cgroup *cgroup = new_cgroup();
	struct rt_error *err = NULL;

	if (!cgroup)
		return rt_error_oom();
	cgroup->manager = request->manager;
	cgroup->rootless = request->rootless;
	switch (request->manager) {
	case RT_CGROUP_CGROUPFS:
		err = plan_cgroupfs(request, cgroup);
		break;
	case RT_CGROUP_SYSTEMD:
		err = plan_systemd(request, cgroup);
		break;
	case RT_CGROUP_DISABLED:
		break;
	}
	if (err)
		return rt_while(err, "planning the cgroup");
	*ret = rt_take_ptr(cgroup);
	return NULL;
}

/* Also makes the cgroup forget its places: what stands there now is somebody else's, or nothing. */
static void undo(struct rt_cgroup *cgroup)
{
	for (size_t i = 0; i < cgroup->count; i++)
		rt_place_undo(&cgroup->places[i]);
	cgroup->count = 0;
	rt_closep(&cgroup->v2_fd);
	cgroup->v2_fd = -1;
}

struct rt_error *rt_cgroup_create(struct rt_cgroup *cgroup, const struct rt_cgroup_request *request)
{
	struct rt_error *err = NULL;

	if (cgroup->unit)
		return NULL; /* systemd makes it around the process: rt_cgroup_adopt() */
	for (size_t i = 0; !err && i < cgroup->count;) {
		bool skipped;

		err = make_place(request, cgroup, &cgroup->places[i], &skipped);
		if (!err && skipped)
			drop_place(cgroup, i);
		else
			i++;
	}
	if (!err && cgroup->count > 0)
		err = apply_fresh(cgroup, request->resources);
	if (err) {
		undo(cgroup);
		return rt_while(err, "making the cgroup");
	}
	cgroup->created = true;
	return NULL;
}

/* The answer stays the same over the adoption: who made the child wait by it also lets it go on by it. */
bool rt_cgroup_needs_adopt(const struct rt_cgroup *cgroup)
{
	return cgroup->systemd;
}

/* Where systemd really put the process: below a user's manager, or in a container, paths don't start at the top. */
static struct rt_error *learn_path(struct rt_cgroup *cgroup, pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	struct rt_error *err = NULL;
	const char *path = NULL;
	char file[64];

	snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	err = rt_read_file_at(AT_FDCWD, file, 1 << 20, &text, NULL);
	if (err)
		return err;
	if (cgroup->layout != RT_CGROUP_V2)
		path = rt_layout_path_of(text, "name=systemd", &cgroup->arena);
	if (!path)
		path = rt_layout_path_of(text, "", &cgroup->arena);
	if (!path || !strstr(path, cgroup->unit))
		return rt_fail(RT_SYSTEM, "systemd made '%s', but process %d is in cgroup '%s'", cgroup->unit, pid, path ? path : "?");
	for (size_t i = 0; !err && i < cgroup->count; i++)
		err = rt_place_move(cgroup, &cgroup->places[i], path);
	return err;
}

/* systemd moves the process only in the hierarchies it uses: the others are ours, as are limits it has no property for. */
static struct rt_error *complete(struct rt_cgroup *cgroup, const struct rt_cgroup_request *request, pid_t pid)
{
	struct rt_error *err = NULL;

	for (size_t i = 0; !err && i < cgroup->count;) {
		struct rt_cgroup_place *place = &cgroup->places[i];

		err = place->v2 ? make_v2(request, cgroup, place) : make_v1(request, place);
		if (err && may_skip(request, err)) {
			err = rt_error_free(err);
			drop_place(cgroup, i);
		} else {
			i++;
		}
	}
	if (!err)
		err = apply_fresh(cgroup, request->resources);
	return err ? err : rt_cgroup_add(cgroup, pid);
}

struct rt_error *rt_cgroup_adopt(struct rt_cgroup *cgroup, pid_t pid)
{
	struct rt_error *err;

	if (!cgroup->systemd || cgroup->created)
		return NULL;
	err = rt_systemd_start(cgroup, pid);
	if (err) {
		/* The unit's name may be somebody else's: nothing of it is ours to undo. */
		undo(cgroup);
		return rt_while(err, "making the cgroup");
	}
	if (!rt_systemd_is_slice(cgroup))
		err = learn_path(cgroup, pid);
	if (!err)
		err = complete(cgroup, rt_systemd_request(cgroup), pid);
	if (err) {
		rt_error_free(rt_systemd_stop(cgroup));
		undo(cgroup);
		return rt_while(err, "making the cgroup");
	}
	cgroup->created = true;
	return NULL;
}

struct rt_error *rt_cgroup_apply(struct rt_cgroup *cgroup, const struct rt_spec_resources *resources)
{
	struct rt_error *err = NULL;

	if (cgroup->count == 0 && (rt_limits_any(resources) || resources->device_count > 0))
		return rt_fail(RT_SYSTEM, "the container has no cgroup to limit");
	if (cgroup->unit)
		err = rt_systemd_update(cgroup, resources);
	if (!err && rt_cgroup_v2_place(cgroup))
		err = rt_v2_enable(cgroup, resources);
	if (!err)
		err = rt_limits_apply_v1(cgroup, resources);
	if (!err)
		err = rt_limits_apply_v2(cgroup, resources);
	if (!err && resources->device_count > 0)
		err = rt_devices_apply(cgroup, resources);
	return err;
}

struct rt_error *rt_cgroup_stats(const struct rt_cgroup *cgroup, json_t **ret)
{
	_cleanup_json_ json_t *stats = json_object();
	struct rt_error *err;

	if (!stats)
		return rt_error_oom();
	err = rt_stats_v1(cgroup, stats);
	if (!err)
		err = rt_stats_v2(cgroup, stats);
	if (err)
		return err;
	*ret = rt_take_ptr(stats);
	return NULL;
}
